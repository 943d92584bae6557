package ldap

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/schemas"
)

// people is the result of looking up the members of groups.
type people struct {
	reader  *reader
	users   map[string]*user  // by key of DN
	groups  map[string]*group // by key of DN
	byUID   map[string][]*user
	others  map[string]string  // ids of entries that are neither accounts nor groups, by key of DN
	taken   map[string]bool    // keys of the placeholder and of ignored members that have an entry
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
	p := &people{reader: r, users: map[string]*user{}, groups: map[string]*group{}, byUID: map[string][]*user{}, others: map[string]string{}, primary: map[string][]*user{},
		taken: map[string]bool{}}
	for _, g := range known {
		p.groups[g.dn.key()] = g
	}
	if err := p.findTaken(ctx, groups); err != nil {
		return nil, err
	}
	pending, outside := map[string]dn{}, map[string]dn{}
	var uids, numbers []string
	numbered := map[string]bool{}
	for _, g := range groups {
		for _, v := range g.values {
			switch {
			case v.attr == attrMemberUID:
				uids = append(uids, v.raw)
			case v.dn.text == "" || p.hidden(v) || p.groups[v.dn.key()] != nil:
			case v.dn.below(r.settings.UserBaseDN) || v.dn.below(r.settings.BaseDN):
				pending[v.dn.key()] = v.dn
			default:
				outside[v.dn.key()] = v.dn
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
	// The others are entries of another kind, or can't be found.
	for _, base := range []dn{r.settings.UserBaseDN, r.settings.BaseDN} {
		search = nil
		for _, d := range pending {
			if d.below(base) {
				search = append(search, equals(d.attr, d.name))
			}
		}
		there, err := r.anyOf(ctx, lookUpMembers, base, "(objectClass=*)", search, r.idAttributes())
		if err != nil {
			return nil, err
		}
		p.addOthers(there, pending)
	}
	return p, p.findOutside(ctx, outside)
}

const lookUpMembers = "look up members"

// addOthers adds those of the entries that are pending, and removes them from pending.
func (p *people) addOthers(entries []*goldap.Entry, pending map[string]dn) {
	for _, e := range entries {
		if d, err := parseDN(e.DN); err == nil && pending[d.key()].text != "" {
			p.others[d.key()] = p.reader.idOf(e)
			delete(pending, d.key())
		}
	}
}

// findTaken looks up the entries that have the DN of the placeholder or of an ignored member. Such an entry is a member
// like any other.
func (p *people) findTaken(ctx context.Context, groups []*group) error {
	looked := map[string]bool{}
	for _, g := range groups {
		for _, v := range g.values {
			if !p.reader.hidden(v) || looked[v.dn.key()] {
				continue
			}
			looked[v.dn.key()] = true
			there, err := p.reader.exists(ctx, v.dn)
			if err != nil {
				return err
			}
			p.taken[v.dn.key()] = there
		}
	}
	return nil
}

// findOutside looks up members outside the bases, for their ids: an account that was moved away is still a member. Entries
// that the account can't see, and those of other servers, stay unresolved.
func (p *people) findOutside(ctx context.Context, members map[string]dn) error {
	siblings := map[string][]string{}
	for _, d := range members {
		parent := strings.Join(d.rdns[1:], ",")
		siblings[parent] = append(siblings[parent], equals(d.attr, d.name))
	}
	for _, parent := range slices.Sorted(maps.Keys(siblings)) {
		terms := slices.Sorted(slices.Values(siblings[parent]))
		for part := range slices.Chunk(terms, maxTerms) {
			found, err := p.reader.search(ctx, query{op: lookUpMembers, base: parent, scope: goldap.ScopeSingleLevel,
				filter: "(|" + strings.Join(part, "") + ")", attributes: p.reader.idAttributes(), partial: true})
			if notThere(err) {
				continue
			}
			if err != nil {
				return err
			}
			p.addOthers(found, members)
		}
	}
	return nil
}

// hidden reports whether a value is the placeholder or an ignored member, and no entry has its DN.
func (p *people) hidden(v value) bool { return p.reader.hidden(v) && !p.taken[v.dn.key()] }

// of returns the entitlements of a group.
func (p *people) of(g *group) []schemas.Entitlement {
	var out []schemas.Entitlement
	for _, v := range g.values {
		switch {
		case p.hidden(v):
		case v.attr != attrMemberUID:
			out = append(out, p.who(v))
		case p.byUID[v.raw] == nil:
			// The account is deleted, hidden from ours, or known to hosts only.
			typ := typeForeign
			if canonicalType(p.reader.class.userName) == "uid" {
				typ = typeUser
			}
			out = append(out, unresolved(typ, fold(v.raw)))
		default:
			for _, u := range p.byUID[v.raw] {
				out = append(out, member(typeUser, u.name, u.id, u.state))
			}
		}
	}
	for _, u := range p.primary[g.number] {
		out = append(out, member(typeUser, u.name, u.id, u.state))
	}
	return out
}

func member(typ, name, id string, state schemas.EntitlementState) schemas.Entitlement {
	return schemas.Entitlement{Target: schemas.Name{Type: typ, SourceName: name}, TargetID: id, Privilege: schemas.PrivilegeMember, State: state}
}

// who returns the entitlement of a value that is a DN.
func (p *people) who(v value) schemas.Entitlement {
	k := v.dn.key()
	id, other := p.others[k]
	switch {
	case v.dn.text == "":
		return unresolved(typeForeign, fold(v.raw))
	case p.users[k] != nil:
		u := p.users[k]
		return member(typeUser, u.name, u.id, u.state)
	case p.groups[k] != nil && p.reader.class.nested:
		return member(typeGroup, p.groups[k].name, p.groups[k].id, "")
	case p.groups[k] != nil:
		return member(typeForeign, fold(v.dn.text), p.groups[k].id, "")
	case other:
		return member(typeForeign, fold(v.dn.text), id, "")
	}
	// The entry is deleted, hidden from our account, or on another server. The value stays in the group in each case.
	user, group := p.reader.named(v.dn)
	switch {
	case user && !group:
		return unresolved(typeUser, fold(v.dn.name))
	case group && !user && p.reader.class.nested:
		return unresolved(typeGroup, fold(v.dn.name))
	}
	return unresolved(typeForeign, fold(v.dn.text))
}

// unresolved returns the entitlement of a member whose entry can't be found.
func unresolved(typ, name string) schemas.Entitlement {
	e := member(typ, name, "", schemas.StateUnresolved)
	e.Foreign = true
	return e
}

// named reports whether a DN has the name of an account in it, or that of a group, so that a request can name a member
// whose entry can't be found.
func (r *reader) named(d dn) (user, group bool) {
	attr := canonicalType(d.attr)
	return attr == canonicalType(r.class.userName) && d.below(r.settings.UserBaseDN), attr == canonicalType(r.class.groupName) && d.below(r.settings.BaseDN)
}
