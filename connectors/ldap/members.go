package ldap

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// change carries out grants and revokes in one group.
func (w *writer) change(ctx context.Context, ops []*schemas.Operation) []result {
	results := make([]result, len(ops))
	all := func(n int, err error) []result {
		for i := range results {
			if results[i].err == nil {
				results[i] = result{n, err}
			}
		}
		return results
	}
	var last string
	for n := 1; ; n++ {
		clear(results)
		g, err := w.find(ctx, ops[0])
		if err != nil {
			for i, o := range ops {
				results[i] = result{n, retitle(err, o)}
			}
			return results
		}
		if g == nil {
			for i, o := range ops {
				results[i].attempts = n
				if o.Kind == schemas.OperationGrant {
					results[i].err = connectors.Refuse(o, connectors.NotFound, "group not found below base_dn")
				}
			}
			return results
		}
		if !w.root.ad {
			why, err := w.unseen(ctx, []*group{g}, []string{g.name})
			if err == nil && why != "" {
				err = connectors.Refuse(ops[0], connectors.Denied, "%s", why)
			}
			if err != nil {
				for i, o := range ops {
					results[i] = result{n, retitle(err, o)}
				}
				return results
			}
		}
		m, err := w.work(ctx, g, ops)
		if err != nil {
			return all(n, err)
		}
		for i := range ops {
			results[i] = result{n, m.errs[i]}
		}
		if len(m.changes) == 0 {
			return all(n, nil)
		}
		op := connectors.Title(ops[0])
		err = w.send(ctx, op, g, m.changes)
		if err == nil {
			return all(n, nil)
		}
		now := fmt.Sprint(g.id, m.changes)
		if stale(err) && n < attempts && (now != last || n < 3) && ctx.Err() == nil {
			last = now
			continue // another writer was faster: read again
		}
		if len(m.touched) > 1 && ctx.Err() == nil && connectors.CodeOf(err) != connectors.Unavailable {
			// One of them is rejected: try each by itself.
			for _, i := range m.touched {
				one := w.change(ctx, ops[i:i+1])[0]
				results[i] = result{one.attempts + n, one.err}
				if gone(one.err) {
					break // the others would fail too
				}
			}
			return all(n, nil)
		}
		for _, i := range m.touched {
			results[i].err = retitle(err, ops[i])
		}
		return all(n, nil)
	}
}

// retitle gives an error of several operations the title of one.
func retitle(err error, o *schemas.Operation) error {
	if e, ok := err.(*connectors.Error); ok { //nolint:errorlint // exactly what was returned
		copied := *e
		copied.Op = connectors.Title(o)
		return &copied
	}
	return err
}

// modification is the change of a group that carries out operations.
type modification struct {
	changes []goldap.Change
	touched []int   // the operations that it carries out
	errs    []error // by operation
}

// work computes the modification.
func (w *writer) work(ctx context.Context, g *group, ops []*schemas.Operation) (*modification, error) {
	t, err := w.targets(ctx, g, ops)
	if err != nil {
		return nil, err
	}
	m := &modification{errs: make([]error, len(ops))}
	adds, dels := map[string][]string{}, map[string][]string{}
	for i, o := range ops {
		var add, del []value
		if o.Kind == schemas.OperationGrant {
			add, m.errs[i] = w.add(g, o, t)
		} else {
			del, m.errs[i] = w.take(g, o, t)
		}
		if m.errs[i] != nil {
			continue
		}
		for _, v := range add {
			adds[v.attr] = append(adds[v.attr], v.raw)
		}
		for _, v := range del {
			dels[v.attr] = append(dels[v.attr], v.raw)
		}
		if len(add)+len(del) > 0 {
			m.touched = append(m.touched, i)
		}
	}
	if len(m.touched) > 0 && w.hold(g, adds, dels) {
		taken, err := w.exists(ctx, w.settings.PlaceholderDN)
		if err != nil {
			return nil, err
		}
		if taken {
			for _, i := range m.touched {
				m.errs[i] = connectors.Refuse(ops[i], connectors.Denied, "%s", w.placeholderTaken())
			}
			return &modification{errs: m.errs}, nil
		}
	}
	m.changes = changes(adds, dels)
	return m, nil
}

// placeholderTaken explains why no group gets the placeholder.
func (r *reader) placeholderTaken() string {
	return "the group would get " + strconv.QuoteToASCII(r.settings.PlaceholderDN.text) + " as its placeholder, and an entry has this DN, which would become a member; delete the entry, or set another placeholder_dn"
}

// changes adds and deletes single values by attribute, so that other writers' values are kept. Additions come first,
// so that no attribute is empty in between.
func changes(adds, dels map[string][]string) []goldap.Change {
	var out []goldap.Change
	for _, step := range []struct {
		operation uint
		values    map[string][]string
	}{{goldap.AddAttribute, adds}, {goldap.DeleteAttribute, dels}} {
		for _, attr := range slices.Sorted(maps.Keys(step.values)) {
			values := slices.Compact(slices.Sorted(slices.Values(step.values[attr])))
			out = append(out, goldap.Change{Operation: step.operation, Modification: goldap.PartialAttribute{Type: attr, Vals: values}})
		}
	}
	return out
}

// hold adds the placeholder to a group that would be empty and must not be, and removes it from a group with members. It
// reports whether it adds one.
func (w *writer) hold(g *group, adds, dels map[string][]string) (added bool) {
	for attr := range g.musts {
		going := map[string]bool{}
		for _, raw := range dels[attr] {
			going[raw] = true
		}
		members, held := len(adds[attr]), ""
		for _, v := range g.values {
			switch {
			case v.attr != attr || going[v.raw]:
			case v.dn.text != "" && v.dn.key() == w.settings.PlaceholderDN.key():
				held = v.raw
			default:
				members++
			}
		}
		switch {
		case members == 0 && held == "":
			adds[attr] = append(adds[attr], w.settings.PlaceholderDN.text)
			added = true
		case members > 0 && held != "":
			dels[attr] = append(dels[attr], held)
		}
	}
	return added
}

// add returns the values that a grant adds to the group, none if it is a member already.
func (w *writer) add(g *group, o *schemas.Operation, t *targets) ([]value, error) {
	e, err := t.one(g, o)
	switch {
	case err != nil:
		return nil, err
	case e.dn.text == "" && o.Target.Type == typeUser:
		return nil, connectors.Refuse(o, connectors.NotFound, "account not found below user_base_dn")
	case e.dn.text == "":
		return nil, connectors.Refuse(o, connectors.NotFound, "group not found below base_dn")
	case e.protected != "":
		return nil, connectors.Refuse(o, connectors.Denied, "can't grant it: %s", e.protected)
	case e.dn.key() == g.dn.key():
		return nil, connectors.Refuse(o, connectors.Invalid, "a group can't be a member of itself")
	case len(g.holds) == 0:
		return nil, connectors.Refuse(o, connectors.Unsupported, "its object classes have no attribute for members")
	case e.primary:
		return nil, nil
	}
	v := value{attr: g.holds[0], raw: e.dn.text, dn: e.dn}
	if v.attr == attrMemberUID {
		if o.Target.Type == typeGroup {
			return nil, connectors.Refuse(o, connectors.Unsupported, "a posixGroup can't have groups as members")
		}
		if len(e.uids) == 0 {
			return nil, connectors.Refuse(o, connectors.Invalid, "the account lacks a uid, which a posixGroup needs")
		}
		v.raw, v.dn = e.uids[0], dn{}
		if strings.EqualFold(e.dn.attr, "uid") && slices.Contains(e.uids, e.dn.name) {
			v.raw = e.dn.name
		}
		if n := t.uids[v.raw]; n > 1 {
			return nil, connectors.Obstruct(o, "the other accounts with that uid", "%d accounts have the uid %s, and all of them would become members of the posixGroup", n, strconv.QuoteToASCII(v.raw))
		}
	}
	if t.held != nil {
		if t.held[e.dn.key()] {
			return nil, nil
		}
		return []value{v}, nil
	}
	if slices.ContainsFunc(g.values, func(have value) bool { return have.is(e) && (have.attr != attrMemberUID || have.raw == v.raw) }) {
		return nil, nil
	}
	return []value{v}, nil
}

// is reports whether a value refers to an entry.
func (v value) is(e entry) bool {
	if v.attr == attrMemberUID {
		return slices.ContainsFunc(e.uids, func(uid string) bool { return strings.EqualFold(uid, v.raw) })
	}
	return v.dn.text != "" && v.dn.key() == e.dn.key()
}

// take returns the values that a revoke removes from the group, none if it isn't a member.
func (w *writer) take(g *group, o *schemas.Operation, t *targets) ([]value, error) {
	name := fold(o.Target.SourceName)
	if e, ok := t.byID[strings.ToLower(o.TargetID)]; ok {
		if t.held == nil {
			return g.those(func(v value) bool { return v.is(e) }), nil
		}
		if !t.held[e.dn.key()] {
			return nil, nil
		}
		return []value{{attr: attrMember, raw: e.dn.text}}, nil
	}
	if o.Target.Type == typeForeign {
		if t.held != nil {
			d, err := parseDN(o.Target.SourceName)
			if err != nil || !t.held[d.key()] {
				return nil, nil
			}
			return []value{{attr: attrMember, raw: d.text}}, nil
		}
		return g.those(func(v value) bool { return fold(v.raw) == name || v.dn.text != "" && fold(v.dn.text) == name }), nil
	}
	e, err := t.one(g, o)
	switch {
	case err != nil:
		return nil, err
	case e.primary:
		return nil, connectors.Obstruct(o, "the account's primary group", "it is the account's primary group; set another primary group at the account")
	case e.dn.text != "" && t.held != nil:
		if !t.held[e.dn.key()] {
			return nil, nil
		}
		return []value{{attr: attrMember, raw: e.dn.text}}, nil
	case e.dn.text != "":
		return g.those(func(v value) bool { return v.is(e) }), nil
	}
	// The account may be gone and its value still in the group: a new account of the name would be a member.
	base, attribute := w.settings.UserBaseDN, w.class.userName
	if o.Target.Type == typeGroup {
		base, attribute = w.settings.BaseDN, w.class.groupName
	}
	return g.those(func(v value) bool {
		if v.attr == attrMemberUID {
			return o.Target.Type == typeUser && fold(v.raw) == name
		}
		return v.dn.text != "" && !w.hidden(v) && v.dn.below(base) && canonicalType(v.dn.attr) == canonicalType(attribute) && fold(v.dn.name) == name
	}), nil
}

func (g *group) those(which func(value) bool) []value {
	var out []value
	for _, v := range g.values {
		if which(v) {
			out = append(out, v)
		}
	}
	return out
}
