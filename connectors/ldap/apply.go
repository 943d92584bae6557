package ldap

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

type writer struct {
	*reader
	checker *connectors.Checker
}

// attempts is how often a change is worked out anew when somebody else was quicker.
const attempts = 10

// maxBatch bounds how many memberships one modification changes.
const maxBatch = 500

// Apply carries the operations out in order. Neighbouring grants and revokes in one group become one modification.
func (w *writer) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	const op = "apply"
	if err := w.usable(ctx, op); err != nil {
		return err
	}
	if w.checker == nil {
		var err error
		if w.checker, err = connectors.NewChecker(w.d); err != nil {
			return err
		}
	}
	failed := connectors.Failures{}
	for len(ops) > 0 {
		if err := connectors.Stopped(ctx, op); err != nil {
			return err
		}
		n := together(ops)
		results := make([]result, n)
		started := w.s.now()
		var todo []*schemas.Operation
		at := map[*schemas.Operation]int{}
		for i := range n {
			o := &ops[i]
			if err := failed.Blocked(o); err != nil {
				results[i] = result{0, err}
			} else if err := w.checker.Check(o); err != nil {
				results[i] = result{1, err}
			} else {
				at[o] = i
				todo = append(todo, o)
			}
		}
		if len(todo) > 0 {
			for i, res := range w.carryOut(ctx, todo) {
				results[at[todo[i]]] = res
			}
		}
		if ctx.Err() != nil {
			return connectors.Stopped(ctx, op) // what was sent may have been done: reading back tells
		}
		if i := slices.IndexFunc(results, func(res result) bool { return gone(res.err) }); i >= 0 {
			// The server is gone, or silent. To wait for it at each operation would take for ever.
			return results[i].err
		}
		finished := w.s.now()
		for i, res := range results {
			failed[ops[i].ID] = res.err != nil
			report(connectors.Outcome{Operation: ops[i].ID, Attempts: res.attempts, Started: started, Finished: finished, Err: res.err})
		}
		ops = ops[n:]
	}
	return nil
}

// gone says whether an operation ended because the server could not be reached, and not by its answer.
func gone(err error) bool {
	var e *connectors.Error
	return errors.As(err, &e) && e.Code == connectors.Unavailable && e.Err != nil && lost(e.Err)
}

// result is what became of an operation.
type result struct {
	attempts int
	err      error
}

func membershipChange(o *schemas.Operation) bool {
	return o.Kind == schemas.OperationGrant || o.Kind == schemas.OperationRevoke
}

// together is how many operations at the head of the list are changes of the members of one group, no two of the
// same member and none depending on another of them. At least 1.
func together(ops []schemas.Operation) int {
	first := &ops[0]
	if !membershipChange(first) || first.Target == nil {
		return 1
	}
	ids, targets := map[string]bool{}, map[schemas.Name]bool{}
	for i := range ops {
		o := &ops[i]
		if i == maxBatch || !membershipChange(o) || o.Target == nil || o.Connection.Type != first.Connection.Type ||
			fold(o.Connection.SourceName) != fold(first.Connection.SourceName) || o.NativeID != first.NativeID ||
			slices.ContainsFunc(o.DependsOn, func(id string) bool { return ids[id] }) {
			return i
		}
		target := schemas.Name{Type: o.Target.Type, SourceName: fold(o.Target.SourceName)}
		if targets[target] {
			return i
		}
		ids[o.ID], targets[target] = true, true
	}
	return len(ops)
}

func (w *writer) carryOut(ctx context.Context, ops []*schemas.Operation) []result {
	if membershipChange(ops[0]) {
		return w.change(ctx, ops)
	}
	var n int
	var err error
	switch o := ops[0]; o.Kind {
	case schemas.OperationCreate:
		n, err = w.make(ctx, o)
	case schemas.OperationUpdate:
		n, err = w.update(ctx, o)
	case schemas.OperationDelete:
		n, err = w.remove(ctx, o)
	}
	return []result{{n, err}}
}

func refuse(o *schemas.Operation, code connectors.Code, format string, args ...any) error {
	return &connectors.Error{Code: code, Op: connectors.Title(o), Message: fmt.Sprintf(format, args...)}
}

// find returns the group that an operation is about, nil when it is not there.
func (w *writer) find(ctx context.Context, o *schemas.Operation) (*group, error) {
	op := connectors.Title(o)
	if o.Connection.SourceName == "" {
		return nil, nil
	}
	attributes := w.c.groupAttributes
	if w.root.ad {
		// A group may have very many members, and none of them has to be known.
		attributes = slices.DeleteFunc(slices.Clone(attributes), func(a string) bool { return a == attrMember })
	}
	find := func(term string) ([]*group, error) {
		found, err := w.below(ctx, op, w.s.base, both(w.c.groupFilter, term), attributes)
		if err != nil {
			return nil, err
		}
		var out []*group
		for _, e := range found {
			g, err := w.readGroup(e)
			if err != nil {
				return nil, err
			}
			if g.dn.below(w.s.base) {
				out = append(out, g)
			}
		}
		return out, nil
	}
	list, err := find(equals(w.c.groupName, o.Connection.SourceName))
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(g *group) bool { return g.name != fold(o.Connection.SourceName) })
	if o.NativeID != "" {
		var other string
		i := slices.IndexFunc(list, func(g *group) bool { return g.id == strings.ToLower(o.NativeID) })
		switch {
		case i >= 0:
			list = list[i : i+1]
		case len(list) > 0:
			return nil, refuse(o, connectors.Conflict, "the name stands for another group now (%s), and %s was meant", list[0].id, strconv.QuoteToASCII(o.NativeID))
		default:
			if other, err = w.renamed(o, find); err != nil {
				return nil, err
			}
			if other != "" {
				return nil, refuse(o, connectors.Conflict, "the group is called %s now", strconv.QuoteToASCII(other))
			}
		}
	}
	switch len(list) {
	case 0:
		return nil, nil
	case 1:
	default:
		ids := make([]string, len(list))
		for i, g := range list {
			ids[i] = g.id
		}
		return nil, refuse(o, connectors.Conflict, "there are %d groups of that name (%s): say in source_id which is meant", len(list), strings.Join(ids, ", "))
	}
	g := list[0]
	if w.root.ad && g.protected == "" {
		var own []string
		for _, text := range slices.Sorted(maps.Values(w.own)) {
			own = append(own, equals(attrMember, text))
		}
		if len(own) > 0 {
			found, err := w.search(ctx, query{op: op, base: g.dn.text, scope: goldap.ScopeBaseObject, filter: "(|" + strings.Join(own, "") + ")", attributes: []string{"1.1"}})
			if err != nil {
				return nil, err
			}
			if len(found) > 0 {
				g.protected = holdsOwn
			}
		}
	}
	if g.protected != "" {
		return nil, refuse(o, connectors.Denied, "the group is never changed: %s", g.protected)
	}
	if g.broken != "" {
		return nil, refuse(o, connectors.Denied, "%s", g.broken)
	}
	return g, nil
}

// renamed is the name that the group with the operation's id has now, "" when it is not there. To take something
// from a group that only goes by another name must not pass for done.
func (w *writer) renamed(o *schemas.Operation, find func(string) ([]*group, error)) (string, error) {
	term := or2(equals(attrUUID, o.NativeID), equals(attrUniqueID, o.NativeID))
	if w.root.ad {
		b, ok := guidBytes(o.NativeID)
		if !ok {
			return "", nil
		}
		term = equals("objectGUID", b)
	}
	list, err := find(term)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0].name, nil
}

// guidBytes is the value of objectGUID for the usual form: the inverse of guid.
func guidBytes(s string) (string, bool) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != 16 {
		return "", false
	}
	slices.Reverse(b[:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	return string(b), guid(b) == strings.ToLower(s)
}

// handle is how a change addresses a group, so that it reaches this very entry or none: in Active Directory by its
// id, elsewhere by its name with an assertion of the id where the server knows that (RFC 4528).
func (w *writer) handle(g *group) (string, []goldap.Control) {
	switch {
	case g.id == "":
	case w.root.ad:
		return "<GUID=" + g.id + ">", nil
	case w.root.controls[controlAssertion]:
		filter, err := goldap.CompileFilter(equals(g.idAttr, g.id))
		if err == nil {
			return g.dn.text, []goldap.Control{goldap.NewControlString(controlAssertion, true, string(filter.Bytes()))}
		}
	}
	return g.dn.text, nil
}

// send sends a modification. The error is the server's own, wrapped.
func (w *writer) send(ctx context.Context, op string, g *group, changes []goldap.Change) error {
	if !g.dn.below(w.s.base) {
		return &connectors.Error{Code: connectors.Denied, Op: op, Message: "the group is not below base_dn"}
	}
	target, controls := w.handle(g)
	return w.do(ctx, op, func(conn *goldap.Conn) error {
		w.calls++
		return conn.Modify(&goldap.ModifyRequest{DN: target, Changes: changes, Controls: controls})
	})
}

// stale says whether a refusal may come from what was read being so no more.
func stale(err error) bool {
	return goldap.IsErrorAnyOf(err, goldap.LDAPResultNoSuchAttribute, goldap.LDAPResultAttributeOrValueExists, goldap.LDAPResultObjectClassViolation,
		goldap.LDAPResultAssertionFailed, goldap.LDAPResultNoSuchObject, goldap.LDAPResultEntryAlreadyExists, goldap.LDAPResultUnwillingToPerform)
}

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
					results[i].err = refuse(o, connectors.NotFound, "there is no such group below base_dn")
				}
			}
			return results
		}
		if !w.root.ad {
			why, err := w.unseen(ctx, []*group{g}, []string{g.name})
			if err == nil && why != "" {
				err = refuse(ops[0], connectors.Denied, "%s", why)
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
			continue // read again: somebody else was quicker
		}
		if len(m.touched) > 1 && ctx.Err() == nil && connectors.CodeOf(err) != connectors.Unavailable {
			// One of them is refused: each by itself.
			for _, i := range m.touched {
				one := w.change(ctx, ops[i:i+1])[0]
				results[i] = result{one.attempts + n, one.err}
				if gone(one.err) {
					break // the others have nothing to hope for
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

// modification is what leads a group to where the operations want it.
type modification struct {
	changes []goldap.Change
	touched []int   // the operations that it carries out
	errs    []error // by operation
}

// work finds out what is to be changed.
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

// changes adds and deletes single values by attribute: nothing that somebody else has put there is lost. What is
// added comes first, so that no attribute is empty in between.
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

// hold puts the placeholder into a group that would be empty and may not be, and takes it out of one that is not.
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
			case v.dn.text != "" && v.dn.key() == w.s.placeholder.key():
				held = v.raw
			default:
				members++
			}
		}
		switch {
		case members == 0 && held == "":
			adds[attr] = append(adds[attr], w.s.placeholder.text)
		case members > 0 && held != "":
			dels[attr] = append(dels[attr], held)
		}
	}
}

// targets are the entries that operations name, and in Active Directory which of them are members.
type targets struct {
	users  map[string][]*user
	groups map[string][]*group
	held   map[string]bool // by key of DN; nil where the group's values are known
	uids   map[string]int  // how many accounts have each, where the group names its members so
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
		{w.s.userBase, both(w.c.userFilter, within), terms(w.c.userName, names[typeUser])},
		{w.s.base, both(w.c.groupFilter, within), terms(w.c.groupName, names[typeGroup])},
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

// holds finds out by the group which of some entries are in it. That an entry does not say it is in the group tells
// nothing: it may not show that to us, or be one of another domain. A filter on what we may not see is neither true nor
// false, so that only the one on the contrary is sure.
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
		err = &connectors.Error{Code: connectors.Denied, Op: op, Message: "the members of " + strconv.QuoteToASCII(g.name) + " cannot be seen: the account may not read its attribute member"}
	}
	held[entries[0].key()] = in
	return err
}

// countUIDs finds out how many accounts have the uids of those that are named.
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

// entry is the one account or group that an operation gives or takes; its dn is empty when there is none.
type entry struct {
	dn        dn
	id        string
	uids      []string
	primary   bool // it is in the group by its own attribute
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
	if o.TargetID != "" && len(list) > 0 {
		i := slices.IndexFunc(list, func(e entry) bool { return e.id == strings.ToLower(o.TargetID) })
		if i < 0 {
			return entry{}, refuse(o, connectors.Conflict, "the name stands for another entry now (%s), and %s was meant", list[0].id, strconv.QuoteToASCII(o.TargetID))
		}
		list = list[i : i+1]
	}
	switch len(list) {
	case 0:
		return entry{}, nil
	case 1:
		return list[0], nil
	}
	ids := make([]string, len(list))
	for i, e := range list {
		ids[i] = e.id
	}
	return entry{}, refuse(o, connectors.Conflict, "there are %d entries of that name (%s): say in source_id which is meant", len(list), strings.Join(ids, ", "))
}

// add is what a grant puts into the group, nothing when it is there.
func (w *writer) add(g *group, o *schemas.Operation, t *targets) ([]value, error) {
	e, err := t.one(g, o)
	switch {
	case err != nil:
		return nil, err
	case e.dn.text == "" && o.Target.Type == typeUser:
		return nil, refuse(o, connectors.NotFound, "there is no such account below user_base_dn")
	case e.dn.text == "":
		return nil, refuse(o, connectors.NotFound, "there is no such group below base_dn")
	case e.protected != "":
		return nil, refuse(o, connectors.Denied, "it is never given: %s", e.protected)
	case e.dn.key() == g.dn.key():
		return nil, refuse(o, connectors.Invalid, "a group cannot be in itself")
	case len(g.holds) == 0:
		return nil, refuse(o, connectors.Unsupported, "its object classes name no attribute that holds members")
	case e.primary:
		return nil, nil
	}
	v := value{attr: g.holds[0], raw: e.dn.text, dn: e.dn}
	if v.attr == attrMemberUID {
		if o.Target.Type == typeGroup {
			return nil, refuse(o, connectors.Unsupported, "a posixGroup holds no groups")
		}
		if len(e.uids) == 0 {
			return nil, refuse(o, connectors.Invalid, "the account has no uid, by which a posixGroup names its members")
		}
		v.raw, v.dn = e.uids[0], dn{}
		if strings.EqualFold(e.dn.attr, "uid") && slices.Contains(e.uids, e.dn.name) {
			v.raw = e.dn.name
		}
		if n := t.uids[v.raw]; n > 1 {
			return nil, refuse(o, connectors.Conflict, "%d accounts have the uid %s, and a posixGroup would have all of them in it", n, strconv.QuoteToASCII(v.raw))
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

// is says whether a value stands for an entry.
func (v value) is(e entry) bool {
	if v.attr == attrMemberUID {
		return slices.ContainsFunc(e.uids, func(uid string) bool { return strings.EqualFold(uid, v.raw) })
	}
	return v.dn.text != "" && v.dn.key() == e.dn.key()
}

// take is what a revoke takes out of the group, nothing when it is not there.
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
		return nil, refuse(o, connectors.Conflict, "the group is the account's primary one: give it another there")
	case e.dn.text != "" && t.held != nil:
		if !t.held[e.dn.key()] {
			return nil, nil
		}
		return []value{{attr: attrMember, raw: e.dn.text}}, nil
	case e.dn.text != "":
		return g.those(func(v value) bool { return v.is(e) }), nil
	}
	// Whoever has left may have left the name behind, and an account made anew would find itself a member.
	base, attribute := w.s.userBase, w.c.userName
	if o.Target.Type == typeGroup {
		base, attribute = w.s.base, w.c.groupName
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

// make makes a group, or brings one that is there to the payload.
func (w *writer) make(ctx context.Context, o *schemas.Operation) (int, error) {
	op := connectors.Title(o)
	for n := 1; ; n++ {
		g, err := w.find(ctx, o)
		if err != nil {
			return n, err
		}
		if g != nil {
			tried, err := w.set(ctx, o, g)
			// Whoever made it may have been stopped before it was sure of the number.
			if number, bad := strconv.Atoi(g.number); err == nil && bad == nil && number >= w.s.create.gidMin && number <= w.s.create.gidMax {
				err = w.settle(ctx, o, number)
			}
			return n + tried - 1, err
		}
		req, number, err := w.entry(ctx, o)
		if err != nil {
			return n, err
		}
		err = w.do(ctx, op, func(conn *goldap.Conn) error {
			w.calls++
			return conn.Add(req)
		})
		switch {
		case err == nil && number > 0:
			return n, w.settle(ctx, o, number)
		case err == nil:
			return n, nil
		case goldap.IsErrorWithCode(err, goldap.LDAPResultEntryAlreadyExists) && n < 3:
			// Somebody was quicker, or an answer was lost: find it.
		case goldap.IsErrorWithCode(err, goldap.LDAPResultEntryAlreadyExists):
			return n, refuse(o, connectors.Conflict, "something else has that name in the directory, or one that the directory takes for the same")
		case connectors.CodeOf(err) == connectors.NotFound:
			return n, refuse(o, connectors.Invalid, "the entry that new groups are put below (config.create.parent_dn) is not there")
		default:
			return n, err
		}
	}
}

// entry is a new group, with the gidNumber that it has when it is a posixGroup.
func (w *writer) entry(ctx context.Context, o *schemas.Operation) (*goldap.AddRequest, int, error) {
	name := o.Connection.SourceName
	rdn := w.c.groupName
	if w.root.ad {
		rdn = "cn"
	}
	req := &goldap.AddRequest{DN: w.s.create.parent.child(rdn, name)}
	if d, err := parseDN(req.DN); err == nil && w.nobody(d) {
		return nil, 0, refuse(o, connectors.Denied, "it is never made: %s", standsForNobody)
	}
	req.Attribute("objectClass", w.c.newClasses)
	req.Attribute(rdn, []string{name})
	if rdn != "cn" {
		req.Attribute("cn", []string{name})
	}
	for _, attr := range slices.Sorted(maps.Keys(w.s.create.attributes)) {
		req.Attribute(attr, w.s.create.attributes[attr])
	}
	if text, _ := o.After[keyDescription].(string); text != "" {
		req.Attribute(keyDescription, []string{text})
	}
	if w.root.ad {
		req.Attribute("sAMAccountName", []string{name})
		req.Attribute("groupType", []string{strconv.FormatInt(groupType(typeGlobal|typeSecurity, o.After), 10)})
		return req, 0, nil
	}
	number := 0
	for _, attr := range w.membership(w.c.newClasses) {
		switch {
		case attr == attrMemberUID:
			var err error
			if number, err = w.free(ctx, o); err != nil {
				return nil, 0, err
			}
			req.Attribute("gidNumber", []string{strconv.Itoa(number)})
		case fit(w.c.newClasses, "groupOfNames") && attr == attrMember, attr == attrUnique:
			req.Attribute(attr, []string{w.s.placeholder.text})
		}
	}
	return req, number, nil
}

// groupType is a groupType with what a payload says of it.
func groupType(t int64, after map[string]any) int64 {
	if scope, ok := after[keyScope].(string); ok {
		t &^= typeGlobal | typeDomainLocal | typeUniversal
		t |= map[string]int64{"global": typeGlobal, "domain_local": typeDomainLocal, "universal": typeUniversal}[scope]
	}
	if security, ok := after[keySecurity].(bool); ok {
		t &^= typeSecurity
		if security {
			t |= typeSecurity
		}
	}
	return t
}

// numbers are the gidNumbers in use below the base, with how many groups have each.
func (w *writer) numbers(ctx context.Context, op string) (map[int]int, error) {
	found, err := w.below(ctx, op, w.s.base, "(gidNumber=*)", []string{"gidNumber"})
	if err != nil {
		return nil, err
	}
	used := map[int]int{}
	for _, e := range found {
		for _, text := range e.GetEqualFoldAttributeValues("gidNumber") {
			if n, err := strconv.Atoi(text); err == nil {
				used[n]++
			}
		}
	}
	return used, nil
}

// free is a number of the range that nobody has. Where it looks first follows from the name, so that two writers
// who make two groups do not meet.
func (w *writer) free(ctx context.Context, o *schemas.Operation) (int, error) {
	used, err := w.numbers(ctx, connectors.Title(o))
	if err != nil {
		return 0, err
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(fold(o.Connection.SourceName))) // never fails
	size := w.s.create.gidMax - w.s.create.gidMin + 1
	start := int(h.Sum32() % uint32(size)) //nolint:gosec // a positive int32
	for i := range size {
		n := w.s.create.gidMin + (start+i)%size
		if used[n] > 0 {
			continue
		}
		// Accounts may have it as that of a group that is gone: they would be in the new one.
		taken, err := w.some(ctx, connectors.Title(o), w.s.userBase, equals("gidNumber", strconv.Itoa(n)))
		if err != nil {
			return 0, err
		}
		if !taken {
			return n, nil
		}
	}
	return 0, refuse(o, connectors.Conflict, "no number of config.create.gid_numbers is free")
}

// settle gives a new group another number when somebody else took the same at the same time: to hosts, two groups
// of one number are one group.
func (w *writer) settle(ctx context.Context, o *schemas.Operation, number int) error {
	op := connectors.Title(o)
	for range attempts {
		found, err := w.below(ctx, op, w.s.base, equals("gidNumber", strconv.Itoa(number)), []string{"1.1"})
		if err != nil {
			return err
		}
		if len(found) < 2 {
			return nil
		}
		g, err := w.find(ctx, o)
		if err != nil || g == nil {
			return err
		}
		next, err := w.free(ctx, o)
		if err != nil {
			return err
		}
		err = w.send(ctx, op, g, []goldap.Change{
			{Operation: goldap.DeleteAttribute, Modification: goldap.PartialAttribute{Type: "gidNumber", Vals: []string{strconv.Itoa(number)}}},
			{Operation: goldap.AddAttribute, Modification: goldap.PartialAttribute{Type: "gidNumber", Vals: []string{strconv.Itoa(next)}}}})
		if err != nil {
			return err
		}
		number = next
	}
	return refuse(o, connectors.Conflict, "somebody else gives out the numbers of config.create.gid_numbers")
}

func (w *writer) update(ctx context.Context, o *schemas.Operation) (int, error) {
	g, err := w.find(ctx, o)
	if err != nil {
		return 1, err
	}
	if g == nil {
		return 1, refuse(o, connectors.NotFound, "there is no such group below base_dn")
	}
	return w.set(ctx, o, g)
}

// set brings a group to the attributes of an operation, each by deleting the value that was read and adding the
// new one: what somebody else has changed meanwhile is read again first.
func (w *writer) set(ctx context.Context, o *schemas.Operation, g *group) (int, error) {
	op := connectors.Title(o)
	for n := 1; ; n++ {
		steps := w.steps(g, o.After)
		if len(steps) == 0 {
			return max(n-1, 1), nil
		}
		err := w.send(ctx, op, g, steps)
		switch {
		case err != nil && (!stale(err) || n == attempts):
			return n, err
		case err != nil && n > 2 && goldap.IsErrorWithCode(err, goldap.LDAPResultUnwillingToPerform):
			return n, err
		}
		// Some changes take more than one step: read, and go on.
		var ferr error
		if g, ferr = w.find(ctx, o); ferr != nil {
			return n, ferr
		}
		if g == nil {
			return n, refuse(o, connectors.NotFound, "the group is gone")
		}
		if n == attempts {
			return n, refuse(o, connectors.Conflict, "somebody else changes the group all the time")
		}
	}
}

// steps are the changes of one modification that lead a group towards what a payload says.
func (w *writer) steps(g *group, after map[string]any) []goldap.Change {
	var out []goldap.Change
	swap := func(attr string, old []string, to string) {
		if len(old) > 0 {
			out = append(out, goldap.Change{Operation: goldap.DeleteAttribute, Modification: goldap.PartialAttribute{Type: attr, Vals: old}})
		}
		if to != "" {
			out = append(out, goldap.Change{Operation: goldap.AddAttribute, Modification: goldap.PartialAttribute{Type: attr, Vals: []string{to}}})
		}
	}
	if text, ok := after[keyDescription].(string); ok && text != g.payload[keyDescription] {
		swap(keyDescription, g.descriptions, text)
	}
	if !w.root.ad {
		return out
	}
	if to := groupType(g.groupType, after); to != g.groupType {
		// Between global and domain local the way leads over universal.
		if from := g.groupType; from&typeUniversal == 0 && to&typeUniversal == 0 && scopeOf(from) != scopeOf(to) {
			to = groupType(from, map[string]any{keyScope: "universal"})
		}
		swap("groupType", []string{strconv.FormatInt(g.groupType, 10)}, strconv.FormatInt(to, 10))
	}
	return out
}

// remove deletes a group: first its memberships in others, which not every server takes away with it, and a group
// made anew under the name would have; then itself.
func (w *writer) remove(ctx context.Context, o *schemas.Operation) (int, error) {
	op := connectors.Title(o)
	for n := 1; ; n++ {
		g, err := w.find(ctx, o)
		if err != nil || g == nil {
			return n, err
		}
		if err := w.leave(ctx, o, g); err != nil {
			return n, err
		}
		target, controls := w.handle(g)
		err = w.do(ctx, op, func(conn *goldap.Conn) error {
			w.calls++
			return conn.Del(goldap.NewDelRequest(target, controls))
		})
		switch {
		case err == nil:
			return n, nil
		case goldap.IsErrorWithCode(err, goldap.LDAPResultNotAllowedOnNonLeaf):
			return n, refuse(o, connectors.Conflict, "there are entries below the group's own")
		case !goldap.IsErrorAnyOf(err, goldap.LDAPResultNoSuchObject, goldap.LDAPResultAssertionFailed) || n == attempts:
			return n, err
		}
	}
}

// leave takes a group out of the groups that it is in. In Active Directory a link goes with its end.
func (w *writer) leave(ctx context.Context, o *schemas.Operation, g *group) error {
	if w.root.ad {
		return nil
	}
	op := connectors.Title(o)
	for n := 1; ; n++ {
		found, err := w.below(ctx, op, w.s.base, or2(equals(attrMember, g.dn.text), equals(attrUnique, g.dn.text)), w.c.groupAttributes)
		if err != nil {
			return err
		}
		again := false
		for _, e := range found {
			outer, err := w.readGroup(e)
			if err != nil {
				return err
			}
			if !outer.dn.below(w.s.base) || outer.protected != "" {
				continue
			}
			adds, dels := map[string][]string{}, map[string][]string{}
			for _, v := range outer.those(func(v value) bool { return v.is(entry{dn: g.dn}) }) {
				dels[v.attr] = append(dels[v.attr], v.raw)
			}
			w.hold(outer, adds, dels)
			switch err := w.send(ctx, op, outer, changes(adds, dels)); {
			case err == nil:
			case stale(err) && n < attempts:
				again = true
			default:
				return err
			}
		}
		if !again {
			return nil
		}
	}
}
