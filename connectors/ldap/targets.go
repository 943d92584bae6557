package ldap

import (
	"context"
	"slices"
	"strconv"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// targets are the entries that operations name, and for Active Directory which of them are members.
type targets struct {
	users  map[string][]*user
	groups map[string][]*group
	held   map[string]bool  // by key of DN; nil where the group's values are known
	uids   map[string]int   // the number of accounts with each uid, for groups with memberUid
	byID   map[string]entry // entries to revoke that have another name or place now, by id
}

func (w *writer) targets(ctx context.Context, g *group, ops []*schemas.Operation) (*targets, error) {
	names := map[string][]string{}
	for _, o := range ops {
		if o.Target.SourceName != "" {
			names[o.Target.Type] = append(names[o.Target.Type], o.Target.SourceName)
		}
	}
	t := &targets{users: map[string][]*user{}, groups: map[string][]*group{}}
	users, err := w.listUsers(ctx, append([]string{}, names[typeUser]...), nil)
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		t.users[u.name] = append(t.users[u.name], u)
	}
	groups, err := w.groups(ctx, append([]string{}, names[typeGroup]...), nil)
	if err != nil {
		return nil, err
	}
	for _, x := range groups {
		t.groups[x.name] = append(t.groups[x.name], x)
	}
	if err := w.elsewhere(ctx, t, ops); err != nil {
		return nil, err
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
		list, err := w.anyOf(ctx, lookUpMembers, part.base, part.filter, part.terms, []string{"1.1"})
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
	for _, e := range t.byID {
		others = append(others, e.dn)
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

// elsewhere finds the entries of revokes whose id isn't found under the operation's name: a member that was renamed, or
// moved out of the base, still is one.
func (w *writer) elsewhere(ctx context.Context, t *targets, ops []*schemas.Operation) error {
	t.byID = map[string]entry{}
	var ids []string
	for _, o := range ops {
		if o.Kind != schemas.OperationRevoke || o.TargetID == "" {
			continue
		}
		id, name := strings.ToLower(o.TargetID), fold(o.Target.SourceName)
		if !slices.ContainsFunc(t.users[name], func(u *user) bool { return u.id == id }) && !slices.ContainsFunc(t.groups[name], func(g *group) bool { return g.id == id }) {
			ids = append(ids, id)
		}
	}
	found, err := w.reader.byID(ctx, lookUpMembers, ids)
	if err != nil {
		return err
	}
	for _, e := range found {
		if d, err := parseDN(e.DN); err == nil {
			t.byID[w.idOf(e)] = entry{dn: d, id: w.idOf(e), uids: e.GetEqualFoldAttributeValues("uid")}
		}
	}
	return nil
}

// holds asks the group which of some entries are its members. An entry without memberOf may still be a member: the
// attribute may be hidden from us, or the entry may be in another domain. A filter on a hidden attribute is neither
// true nor false, so only the negated filter proves that an entry isn't a member.
func (w *writer) holds(ctx context.Context, g *group, entries []dn, held map[string]bool) error {
	const op = lookUpMembers
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
