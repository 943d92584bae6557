package ldap

import (
	"context"
	"maps"
	"slices"
	"strconv"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

type reader struct {
	session
	description schemas.Description
	class       class
	// own has the DNs of the accounts that the config logs in with, by key; ownUIDs has their names in posixGroups.
	own     map[string]string
	ownUIDs map[string]bool
}

// The attributes with members.
const (
	attrMember    = "member"
	attrUnique    = "uniqueMember"
	attrMemberUID = "memberUid"
)

// The attributes with an entry's id: that of RFC 4530, and that of 389 Directory Server, whose older entries lack the
// former.
const (
	attrUUID     = "entryUUID"
	attrUniqueID = "nsUniqueId"
)

func open(ctx context.Context, cfg connectors.Config, apply bool) (*reader, error) {
	s, err := configure(cfg, apply)
	if err != nil {
		return nil, err
	}
	r := &reader{session: session{settings: s}}
	if err := r.discover(ctx); err != nil {
		r.session.close()
		return nil, err
	}
	if err := r.classify(); err != nil {
		r.session.close()
		return nil, err
	}
	if err := r.identify(ctx); err != nil {
		r.session.close()
		return nil, err
	}
	for _, base := range []dn{s.BaseDN, s.UserBaseDN} {
		if _, err := r.under(ctx, query{op: "look up the bases", base: base.text, scope: goldap.ScopeBaseObject, filter: "(objectClass=*)", attributes: []string{"1.1"}}); err != nil {
			r.session.close()
			return nil, err
		}
	}
	return r, nil
}

// Close ends the session.
func (r *reader) Close() error {
	r.session.close()
	return nil
}

// Describe describes this directory.
func (r *reader) Describe(ctx context.Context) (schemas.Description, error) {
	return r.description, nil
}

// Normalize spells names as Read does.
func (r *reader) Normalize(s schemas.State) (schemas.State, error) {
	return connectors.NormalizeWith(r.description, s, func(c *schemas.Connection) error {
		c.SourceName = fold(c.SourceName)
		for i := range c.Entitlements {
			c.Entitlements[i].Target.SourceName = fold(c.Entitlements[i].Target.SourceName)
		}
		return nil
	})
}

// From manyTerms search terms on, reading all accounts may be faster, if there are at most manyTimes as many.
const (
	manyTerms = 200
	manyTimes = 20
)

// Bits of groupType ([MS-ADTS] 2.2.12) and userAccountControl (2.2.16).
const (
	typeBuiltin     = 0x1
	typeGlobal      = 0x2
	typeDomainLocal = 0x4
	typeUniversal   = 0x8
	typeSecurity    = -0x80000000
	accountDisabled = 0x2
)

// groups returns the groups below the base: all if names is nil, otherwise those with the names or ids.
func (r *reader) groups(ctx context.Context, names, ids []string) ([]*group, error) {
	const op = "read the groups"
	var found []*goldap.Entry
	var err error
	if names == nil {
		found, err = r.below(ctx, op, r.settings.BaseDN, r.class.groupFilter, r.class.groupAttributes)
	} else {
		found, err = r.anyOf(ctx, op, r.settings.BaseDN, r.class.groupFilter, append(terms(r.class.groupName, names), r.idTerms(ids)...), r.class.groupAttributes)
	}
	if err != nil {
		return nil, err
	}
	wanted, wantedIDs := folded(names), folded(ids)
	out := make([]*group, 0, len(found))
	for _, e := range found {
		g, err := r.readGroup(e)
		if err != nil {
			return nil, err
		}
		if !g.dn.below(r.settings.BaseDN) || names != nil && !wanted[g.name] && !wantedIDs[g.id] {
			continue
		}
		out = append(out, g)
	}
	return out, nil
}

// holdsOwn protects groups that give countersign its own rights.
const holdsOwn = "countersign's own account is a member"

// usersBy returns the accounts that match one of the terms.
func (r *reader) usersBy(ctx context.Context, terms []string) ([]*user, error) {
	found, err := r.anyOf(ctx, "read the accounts", r.settings.UserBaseDN, r.class.userFilter, terms, r.class.userAttributes)
	if err != nil {
		return nil, err
	}
	return r.readUsers(found)
}

func (r *reader) readUsers(found []*goldap.Entry) ([]*user, error) {
	out := make([]*user, 0, len(found))
	for _, e := range found {
		u, err := r.readUser(e)
		if err != nil {
			return nil, err
		}
		// A request can't name an account without a name: as a member, it is shown by its DN.
		if u.name != "" && u.dn.below(r.settings.UserBaseDN) {
			out = append(out, u)
		}
	}
	return out, nil
}

// Read returns the groups that the selection names, with their members.
func (r *reader) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
	var names []string
	if sel.Scope != nil {
		scope := make(map[string][]string, len(sel.Scope))
		for typ, patterns := range sel.Scope {
			scope[typ] = nil
			for _, p := range patterns {
				scope[typ] = append(scope[typ], fold(p))
			}
		}
		sel.Scope = scope
	}
	if !sel.Everything() && len(sel.Scope[typeGroup]) == 0 {
		names = []string{}
		for _, n := range sel.Names {
			if n.Type == typeGroup && n.SourceName != "" {
				names = append(names, n.SourceName)
			}
		}
	}
	ids := sel.IDs[typeGroup]
	all, err := r.groups(ctx, names, ids)
	if err != nil {
		return schemas.State{}, err
	}
	selected := sel.Selector(func(n schemas.Name) schemas.Name {
		n.SourceName = fold(n.SourceName)
		return n
	})
	var state schemas.State
	var chosen []*group
	wantedIDs := folded(ids)
	for _, g := range all {
		if selected(schemas.Name{Type: typeGroup, SourceName: g.name}) || wantedIDs[g.id] {
			chosen = append(chosen, g)
			if g.broken != "" {
				state.Incomplete = g.broken
			}
		}
	}
	if state.Incomplete == "" {
		if state.Incomplete, err = r.unseen(ctx, chosen, names); err != nil {
			return schemas.State{}, err
		}
	}
	known := all
	if names != nil {
		known = nil
	}
	who, err := r.members(ctx, chosen, known)
	if err != nil {
		return schemas.State{}, err
	}
	if who.unseen {
		state.Incomplete = "no account found below user_base_dn; check user_base_dn, and that countersign's account can read it"
	}
	for _, g := range chosen {
		state.Connections = append(state.Connections, schemas.Connection{Name: schemas.Name{Type: typeGroup, SourceName: g.name}, NativeID: g.id,
			Payload: g.payload, Protected: g.protected, Entitlements: who.of(g)})
	}
	state.Sort()
	return state, nil
}

// unseen reports the first group without members whose attribute can't be read, or "". A filter on a hidden attribute is
// neither true nor false, so its negation finds only groups that are really empty. names are the names by which the
// groups were read, nil for all.
func (r *reader) unseen(ctx context.Context, groups []*group, names []string) (string, error) {
	const op = "read the groups"
	empty := map[string][]*group{}
	for _, g := range groups {
		for _, attr := range g.holds {
			if !g.musts[attr] && !slices.ContainsFunc(g.values, func(v value) bool { return v.attr == attr }) {
				empty[attr] = append(empty[attr], g)
			}
		}
	}
	for _, attr := range slices.Sorted(maps.Keys(empty)) {
		filter := both(r.class.groupFilter, "(!("+attr+"=*))")
		var found []*goldap.Entry
		var err error
		if names == nil {
			found, err = r.below(ctx, op, r.settings.BaseDN, filter, []string{"1.1"})
		} else {
			found, err = r.anyOf(ctx, op, r.settings.BaseDN, filter, terms(r.class.groupName, names), []string{"1.1"})
		}
		if err != nil {
			return "", err
		}
		sure := make(map[string]bool, len(found))
		for _, e := range found {
			if d, err := parseDN(e.DN); err == nil {
				sure[d.key()] = true
			}
		}
		for _, g := range empty[attr] {
			if sure[g.dn.key()] {
				continue
			}
			// Perhaps it got a member in the meantime, or was deleted.
			found, err := r.search(ctx, query{op: op, base: g.dn.text, scope: goldap.ScopeBaseObject, filter: "(objectClass=*)", attributes: []string{attr}})
			switch {
			case connectors.CodeOf(err) == connectors.NotFound:
			case err != nil:
				return "", err
			case len(found) == 1 && len(found[0].GetEqualFoldAttributeValues(attr)) == 0:
				return "can't see the members of " + strconv.QuoteToASCII(g.name) + ": the account lacks the right to read or search its attribute " + attr, nil
			}
		}
	}
	return "", nil
}

// List returns accounts and groups. Foreign members can't be granted, so none are listed.
func (r *reader) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	const op = "list the directory"
	names := slices.DeleteFunc(slices.Clone(q.Names), func(n string) bool { return n == "" })
	if q.Names != nil && names == nil {
		names = []string{}
	}
	var items []schemas.Item
	switch q.Type {
	case typeGroup:
		found, err := r.groups(ctx, names, q.IDs)
		if err != nil {
			return connectors.Page{}, err
		}
		for _, g := range found {
			if g.name == "" {
				return connectors.Page{}, &connectors.Error{Code: connectors.Denied, Op: op, Message: g.broken}
			}
			items = append(items, schemas.Item{Name: schemas.Name{Type: typeGroup, SourceName: g.name}, NativeID: g.id, Protected: g.protected, Connection: true})
		}
	case typeUser:
		found, err := r.listUsers(ctx, names, q.IDs)
		if err != nil {
			return connectors.Page{}, err
		}
		for _, u := range found {
			item := schemas.Item{Name: schemas.Name{Type: typeUser, SourceName: u.name}, NativeID: u.id, State: u.state, Protected: u.protected}
			items = append(items, item)
		}
	case typeForeign:
	default:
		return connectors.Page{}, &connectors.Error{Code: connectors.Unsupported, Op: op, Message: "unknown type " + strconv.QuoteToASCII(q.Type) + " (expected user or group)"}
	}
	return connectors.PageOf(items, q), nil
}

// listUsers returns all accounts if names is nil, otherwise those with the names or ids.
func (r *reader) listUsers(ctx context.Context, names, ids []string) ([]*user, error) {
	if names == nil {
		found, err := r.below(ctx, "read the accounts", r.settings.UserBaseDN, r.class.userFilter, r.class.userAttributes)
		if err != nil {
			return nil, err
		}
		return r.readUsers(found)
	}
	found, err := r.usersBy(ctx, append(terms(r.class.userName, names), r.idTerms(ids)...))
	if err != nil {
		return nil, err
	}
	wanted, wantedIDs := folded(names), folded(ids)
	return slices.DeleteFunc(found, func(u *user) bool { return !wanted[u.name] && !wantedIDs[u.id] }), nil
}
