package ldap

import (
	"context"
	"errors"
	"strconv"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// people is the result of looking up the members of groups.
type people struct {
	reader  *reader
	users   map[string]*user  // by key of DN
	groups  map[string]*group // by key of DN
	byUID   map[string][]*user
	others  map[string]bool    // keys of entries that are neither accounts nor groups
	primary map[string][]*user // by the number of the group
	unseen  bool
}

// hidden reports whether a value is the placeholder or one of ignored_members.
func (r *reader) hidden(v value) bool { return v.dn.text != "" && r.nobody(v.dn) }

// nobody reports whether a name is the placeholder's or one of ignored_members. An entry with such a name would be an
// invisible member of groups, so none is created or granted.
func (r *reader) nobody(d dn) bool {
	return d.key() == r.settings.PlaceholderDN.key() || r.settings.ignored[d.key()]
}

const reservedName = "its name is reserved by placeholder_dn or ignored_members"

// members looks up the members of groups. known are all groups below the base, nil if they weren't read.
func (r *reader) members(ctx context.Context, groups, known []*group) (*people, error) {
	p := &people{reader: r, users: map[string]*user{}, groups: map[string]*group{}, byUID: map[string][]*user{}, others: map[string]bool{}, primary: map[string][]*user{}}
	for _, g := range known {
		p.groups[g.dn.key()] = g
	}
	pending := map[string]dn{}
	var uids, numbers []string
	numbered := map[string]bool{}
	for _, g := range groups {
		for _, v := range g.values {
			switch {
			case v.attr == attrMemberUID:
				uids = append(uids, v.raw)
			case v.dn.text == "" || r.hidden(v) || p.groups[v.dn.key()] != nil:
			case v.dn.below(r.settings.UserBaseDN) || v.dn.below(r.settings.BaseDN):
				pending[v.dn.key()] = v.dn
			}
		}
		if _, err := strconv.ParseUint(g.number, 10, 32); err == nil && g.protected == "" {
			numbers = append(numbers, g.number)
			numbered[g.number] = true
		}
	}
	add := func(list []*user) {
		for _, u := range list {
			if p.users[u.dn.key()] != nil {
				continue
			}
			p.users[u.dn.key()] = u
			delete(pending, u.dn.key())
			for _, uid := range u.uids {
				p.byUID[uid] = append(p.byUID[uid], u)
			}
		}
	}
	var search []string
	for _, d := range pending {
		if d.below(r.settings.UserBaseDN) {
			search = append(search, equals(d.attr, d.name))
		}
	}
	search = append(search, terms("uid", uids)...)
	attribute := "gidNumber"
	if r.root.ad {
		attribute = "primaryGroupID"
	}
	var found []*user
	more := len(search) <= manyTerms
	if !more {
		entries, err := r.under(ctx, query{op: "read the accounts", base: r.settings.UserBaseDN.text, scope: goldap.ScopeWholeSubtree,
			filter: r.class.userFilter, attributes: r.class.userAttributes, most: manyTimes * len(search)})
		if more = errors.Is(err, errMore); err != nil && !more {
			return nil, err
		}
		if found, err = r.readUsers(entries); err != nil {
			return nil, err
		}
	}
	inPrimary := found
	if more {
		var err error
		if found, err = r.usersBy(ctx, search); err != nil {
			return nil, err
		}
		if inPrimary, err = r.usersBy(ctx, terms(attribute, numbers)); err != nil {
			return nil, err
		}
	}
	add(found)
	for _, u := range inPrimary {
		if numbered[u.primary] {
			p.primary[u.primary] = append(p.primary[u.primary], u)
		}
	}
	if len(search) > 0 && len(p.users) == 0 {
		// No account was found: perhaps the credential can't see any.
		some, err := r.some(ctx, "read the accounts", r.settings.UserBaseDN, r.class.userFilter)
		if err != nil {
			return nil, err
		}
		p.unseen = !some
	}
	if known == nil {
		search = nil
		for _, d := range pending {
			if d.below(r.settings.BaseDN) {
				search = append(search, equals(d.attr, d.name))
			}
		}
		inner, err := r.anyOf(ctx, "read the groups", r.settings.BaseDN, r.class.groupFilter, search, r.class.groupAttributes)
		if err != nil {
			return nil, err
		}
		for _, e := range inner {
			g, err := r.readGroup(e)
			if err != nil {
				return nil, err
			}
			p.groups[g.dn.key()] = g
			delete(pending, g.dn.key())
		}
	}
	// The others are entries of another kind, or don't exist.
	for _, base := range []dn{r.settings.UserBaseDN, r.settings.BaseDN} {
		search = nil
		for _, d := range pending {
			if d.below(base) {
				search = append(search, equals(d.attr, d.name))
			}
		}
		there, err := r.anyOf(ctx, "look up members", base, "(objectClass=*)", search, []string{"1.1"})
		if err != nil {
			return nil, err
		}
		for _, e := range there {
			if d, err := parseDN(e.DN); err == nil && pending[d.key()].text != "" {
				p.others[d.key()] = true
				delete(pending, d.key())
			}
		}
	}
	return p, nil
}

// of returns the entitlements of a group.
func (p *people) of(g *group) []connectors.Entitlement {
	var out []connectors.Entitlement
	give := func(typ, name, id string, state connectors.EntitlementState) {
		out = append(out, connectors.Entitlement{Target: schemas.Name{Type: typ, SourceName: name}, TargetID: id, Privilege: schemas.PrivilegeMember, State: state})
	}
	for _, v := range g.values {
		if p.reader.hidden(v) {
			continue
		}
		if v.attr == attrMemberUID {
			for _, u := range p.byUID[v.raw] {
				give(typeUser, u.name, u.id, u.state)
			}
			if p.byUID[v.raw] == nil {
				// Hosts look up the name by themselves, so it may be an account that we don't know.
				give(typeForeign, fold(v.raw), "", "")
			}
			continue
		}
		typ, name, id, state, ok := p.who(v)
		if ok {
			give(typ, name, id, state)
		}
	}
	for _, u := range p.primary[g.number] {
		give(typeUser, u.name, u.id, u.state)
	}
	return out
}

// who returns the target of a value. It returns false for an entry that no longer exists.
func (p *people) who(v value) (typ, name, id string, state connectors.EntitlementState, ok bool) {
	k := v.dn.key()
	switch {
	case v.dn.text == "":
		return typeForeign, fold(v.raw), "", "", true
	case p.users[k] != nil:
		u := p.users[k]
		return typeUser, u.name, u.id, u.state, true
	case p.groups[k] != nil && p.reader.class.nested:
		return typeGroup, p.groups[k].name, p.groups[k].id, "", true
	case p.groups[k] != nil, p.others[k]:
		return typeForeign, fold(v.dn.text), "", "", true
	case !v.dn.below(p.reader.settings.UserBaseDN) && !v.dn.below(p.reader.settings.BaseDN), p.reader.root.ad:
		// Active Directory removes deleted entries from groups, so an unknown member is one that we can't see.
		return typeForeign, fold(v.dn.text), "", "", true
	}
	return "", "", "", "", false
}
