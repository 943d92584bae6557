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
	if len(m.touched) > 0 {
		w.hold(g, adds, dels)
	}
	m.changes = changes(adds, dels)
	return m, nil
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

// hold adds the placeholder to a group that would be empty and must not be, and removes it from a group with members.
func (w *writer) hold(g *group, adds, dels map[string][]string) {
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
		case members > 0 && held != "":
			dels[attr] = append(dels[attr], held)
		}
	}
}

// targets are the entries that operations name, and for Active Directory which of them are members.
type targets struct {
	users  map[string][]*user
	groups map[string][]*group
	held   map[string]bool // by key of DN; nil where the group's values are known
	uids   map[string]int  // the number of accounts with each uid, for groups with memberUid
}

func (w *writer) targets(ctx context.Context, g *group, ops []*schemas.Operation) (*targets, error) {
	names := map[string][]string{}
	for _, o := range ops {
		if o.Target.SourceName != "" {
			names[o.Target.Type] = append(names[o.Target.Type], o.Target.SourceName)
		}
	}
	t := &targets{users: map[string][]*user{}, groups: map[string][]*group{}}
	users, err := w.listUsers(ctx, append([]string{}, names[typeUser]...))
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		t.users[u.name] = append(t.users[u.name], u)
	}
	groups, err := w.groups(ctx, append([]string{}, names[typeGroup]...))
	if err != nil {
		return nil, err
	}
	for _, x := range groups {
		t.groups[x.name] = append(t.groups[x.name], x)
	}
	if len(g.holds) > 0 && g.holds[0] == attrMemberUID {
		if err := w.countUIDs(ctx, t, users); err != nil {
			return nil, err
		}
	}
	if !w.root.ad {
		return t, nil
	}
	t.held = map[string]bool{}
	within := equals("memberOf", g.dn.text)
	var found []*goldap.Entry
	for _, part := range []struct {
		base   dn
		filter string
		terms  []string
	}{
		{w.settings.UserBaseDN, both(w.class.userFilter, within), terms(w.class.userName, names[typeUser])},
		{w.settings.BaseDN, both(w.class.groupFilter, within), terms(w.class.groupName, names[typeGroup])},
	} {
		list, err := w.anyOf(ctx, "look up members", part.base, part.filter, part.terms, []string{"1.1"})
		if err != nil {
			return nil, err
		}
		found = append(found, list...)
	}
	for _, e := range found {
		if d, err := parseDN(e.DN); err == nil {
			t.held[d.key()] = true
		}
	}
	var others []dn
	for _, u := range users {
		others = append(others, u.dn)
	}
	for _, x := range groups {
		others = append(others, x.dn)
	}
	for _, name := range names[typeForeign] {
		if d, err := parseDN(name); err == nil {
			others = append(others, d)
		}
	}
	others = slices.DeleteFunc(others, func(d dn) bool { return t.held[d.key()] })
	for part := range slices.Chunk(others, maxTerms) {
		if err := w.holds(ctx, g, part, t.held); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// holds asks the group which of some entries are its members. An entry without memberOf may still be a member: the
// attribute may be hidden from us, or the entry may be in another domain. A filter on a hidden attribute is neither
// true nor false, so only the negated filter proves that an entry isn't a member.
func (w *writer) holds(ctx context.Context, g *group, entries []dn, held map[string]bool) error {
	const op = "look up members"
	var terms []string
	for _, d := range entries {
		terms = append(terms, equals(attrMember, d.text))
	}
	is := func(filter string) (bool, error) {
		target, _ := w.handle(g)
		found, err := w.search(ctx, query{op: op, base: target, scope: goldap.ScopeBaseObject, filter: filter, attributes: []string{"1.1"}})
		return len(found) > 0, err
	}
	either := "(|" + strings.Join(terms, "") + ")"
	if none, err := is("(!" + either + ")"); err != nil || none {
		return err
	}
	if len(entries) > 1 {
		for i := range entries {
			if err := w.holds(ctx, g, entries[i:i+1], held); err != nil {
				return err
			}
		}
		return nil
	}
	in, err := is(either)
	if err == nil && !in {
		err = &connectors.Error{Code: connectors.Denied, Op: op, Message: "can't see the members of " + strconv.QuoteToASCII(g.name) + ": the account lacks the right to read its attribute member"}
	}
	held[entries[0].key()] = in
	return err
}

// countUIDs counts the accounts that have the uids of the users.
func (w *writer) countUIDs(ctx context.Context, t *targets, users []*user) error {
	var uids []string
	for _, u := range users {
		uids = append(uids, u.uids...)
	}
	all, err := w.usersBy(ctx, terms("uid", uids))
	if err != nil {
		return err
	}
	t.uids = map[string]int{}
	for _, u := range all {
		for _, uid := range u.uids {
			t.uids[uid]++
		}
	}
	return nil
}

// entry is the account or group that an operation grants or revokes; its dn is empty if there is none.
type entry struct {
	dn        dn
	id        string
	uids      []string
	primary   bool // it is a member by its own attribute
	protected string
}

func (t *targets) one(g *group, o *schemas.Operation) (entry, error) {
	var list []entry
	name := fold(o.Target.SourceName)
	if o.Target.Type == typeUser {
		for _, u := range t.users[name] {
			list = append(list, entry{dn: u.dn, id: u.id, uids: u.uids, primary: g.number != "" && u.primary == g.number, protected: u.protected})
		}
	} else {
		for _, x := range t.groups[name] {
			list = append(list, entry{dn: x.dn, id: x.id, protected: x.protected})
		}
	}
	e, err := connectors.Resolve("entry", name, strings.ToLower(o.TargetID), list, func(e entry) (string, string) { return name, e.id })
	return e, connectors.During(o, err)
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
			return nil, connectors.Refuse(o, connectors.Conflict, "%d accounts have the uid %s, and all of them would become members of the posixGroup", n, strconv.QuoteToASCII(v.raw))
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
		return nil, connectors.Refuse(o, connectors.Conflict, "it is the account's primary group; set another primary group at the account")
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
