package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
	"github.com/countersign/countersign/schemas"
)

var _ connectors.Reader = (*reader)(nil)

// few is how many resources are looked up one by one; for more, the complete list is read.
const few = 10

// Describe narrows Connector.Describe to the profile and the application's ServiceProviderConfig.
func (r *reader) Describe(ctx context.Context) (schemas.Description, error) {
	return r.describe(ctx)
}

func (r *reader) describe(ctx context.Context) (schemas.Description, error) {
	m, err := r.manner(ctx)
	if err != nil {
		return schemas.Description{}, err
	}
	can := m.patch || m.put && r.settings.profile.members != membersByFilter
	d := describe(r.settings.profile, rights{members: can, update: can})
	d.Server = connectors.Server(string(r.settings.URL))
	return d, nil
}

// Close ends the connections.
func (r *reader) Close() error {
	r.settings.transport.CloseIdleConnections()
	return nil
}

// Normalize folds user names if the application does. It is pure.
func (r *reader) Normalize(s schemas.State) (schemas.State, error) {
	return connectors.NormalizeWith(describe(r.settings.profile, rights{members: true, update: true}), s, func(c *schemas.Connection) error {
		for i := range c.Entitlements {
			if t := &c.Entitlements[i].Target; t.Type == typeUser {
				t.SourceName = r.fold(t.SourceName)
			}
		}
		return nil
	})
}

// fold returns a user's name as it is shown.
func (r *reader) fold(name string) string {
	if r.settings.profile.foldUsers {
		return strings.ToLower(name)
	}
	return name
}

// Read reads the groups and their members from lists, and with single requests whatever lists don't show.
func (r *reader) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
	v := view{reader: r, users: map[string]account{}, principals: map[string]account{}, names: map[string]string{}, asked: map[string]bool{}}
	groups, err := v.groups(ctx, sel)
	if err != nil {
		return schemas.State{}, err
	}
	if groups, err = v.members(ctx, groups); err != nil {
		return schemas.State{}, err
	}
	if err := v.resolve(ctx, groups); err != nil {
		return schemas.State{}, err
	}
	var state schemas.State
	for _, g := range groups {
		state.Connections = append(state.Connections, v.connection(g))
	}
	state.Incomplete = v.incomplete
	if v.nameless > 0 {
		state.NotRead = []schemas.NotRead{{What: "group without a displayName", Count: v.nameless}}
	}
	state.Sort()
	return state, nil
}

// view is the state of one read.
type view struct {
	reader     *reader
	incomplete string // the first reason
	nameless   int    // groups that no request can name
	lookups    int
	byName     bool // groups were looked up by name, so the others are unknown
	listsShow  bool // the list shows the members of some group

	users, principals       map[string]account // by id
	allUsers, allPrincipals bool
	names                   map[string]string // of groups, by id
	asked                   map[string]bool   // ids that were looked up one by one
	forbidden               bool              // some of them can't be read with this credential
}

func (v *view) lack(reason string) {
	if v.incomplete == "" {
		v.incomplete = reason
	}
}

// single counts a single request. It returns false beyond config.max_lookups.
func (v *view) single() bool {
	if v.lookups++; v.lookups > v.reader.settings.MaxLookups {
		v.lack(fmt.Sprintf("reading the members of these groups takes more than %d single requests; narrow the scope or raise config.max_lookups", v.reader.settings.MaxLookups))
		return false
	}
	return true
}

// exact returns the group names of a selection, and whether it has names only.
func exact(sel schemas.Selection) ([]string, bool) {
	var names []string
	for _, n := range sel.Names {
		if n.Type == typeGroup {
			names = append(names, n.SourceName)
		}
	}
	for _, p := range sel.Scope[typeGroup] {
		if strings.ContainsAny(p, `*?\`) {
			return nil, false
		}
		names = append(names, p)
	}
	slices.Sort(names)
	return slices.Compact(names), !sel.Everything()
}

func (v *view) groups(ctx context.Context, sel schemas.Selection) ([]group, error) {
	selected := sel.Selector(nil)
	names, only := exact(sel)
	ids := sel.IDs[typeGroup]
	lists := v.reader.settings.profile.paging != pagingNoLists
	var raws []json.RawMessage
	switch {
	case !lists && !only:
		v.lack(v.reader.settings.profile.title + " doesn't list groups over SCIM; use the groups' full names in the scope, without patterns")
		return nil, nil
	case only && (len(names)+len(ids) <= few || !lists):
		v.byName = true
		for _, n := range names {
			if n == "" {
				continue
			}
			found, usable, err := v.reader.find(ctx, endGroups, "displayName", n)
			if !lists && connectors.CodeOf(err) == connectors.Unsupported {
				v.lack(err.Error())
				continue
			}
			if err != nil {
				return nil, err
			}
			if !usable {
				v.byName = false
				break
			}
			raws = append(raws, found...)
		}
		for _, id := range ids {
			body, _, ok, err := v.reader.get(ctx, endGroups, id)
			if err != nil {
				return nil, err
			}
			if ok {
				raws = append(raws, body)
			}
		}
	}
	if !v.byName && lists {
		var why string
		var err error
		if raws, why, err = v.reader.list(ctx, endGroups, ""); err != nil {
			return nil, err
		}
		v.lack(why)
	}
	var out []group
	seen := map[string]bool{}
	for _, raw := range raws {
		g, err := decodeGroup(raw)
		if err != nil {
			return nil, v.reader.strange("read the groups", err)
		}
		v.listsShow = v.listsShow || len(g.members) > 0
		v.names[g.id] = g.name
		if g.name == "" && !seen[g.id] {
			seen[g.id] = true
			v.nameless++
		}
		if !seen[g.id] && g.name != "" && (selected(schemas.Name{Type: typeGroup, SourceName: g.name}) || slices.Contains(ids, g.id)) {
			seen[g.id] = true
			out = append(out, g)
		}
	}
	return out, nil
}

// manyMembers is from how many members on a list isn't trusted to show all of them.
const manyMembers = 50

// members reads the members that the list doesn't show. A list that shows members may still leave those of some groups
// out, or show only some of a large group, so such groups are read by themselves.
func (v *view) members(ctx context.Context, groups []group) ([]group, error) {
	mode := v.reader.settings.profile.members
	if mode == membersByFilter {
		return groups, v.byFilter(ctx, groups)
	}
	var out []group
	for _, g := range groups {
		if mode == membersInLists || mode == membersDetect && v.listsShow && len(g.members) > 0 && len(g.members) < manyMembers && !g.nameless {
			if err := v.reader.complete(g); err != nil {
				v.lack(err.Error())
			}
			out = append(out, g)
			continue
		}
		if !v.single() {
			return out, nil
		}
		full, ok, err := v.reader.group(ctx, g.id)
		if connectors.CodeOf(err) == connectors.Unsupported {
			v.lack(err.Error())
			err = nil
		}
		if err != nil {
			return nil, err
		}
		if !ok || full.name != g.name {
			v.lack("the group " + strconv.QuoteToASCII(g.name) + " was deleted or renamed while the groups were read")
			continue
		}
		out = append(out, full)
	}
	return out, nil
}

func (v *view) byFilter(ctx context.Context, groups []group) error {
	if len(groups) == 0 {
		return nil
	}
	if err := v.allOf(ctx, typeUser); err != nil {
		return err
	}
	ids := make([]string, 0, len(v.users))
	for id := range v.users {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for i := range groups {
		groups[i].members, groups[i].nameless = nil, false
		for _, id := range ids {
			if !v.single() {
				return nil
			}
			in, err := v.reader.holds(ctx, groups[i].id, id)
			if err != nil {
				return err
			}
			if in {
				groups[i].members = append(groups[i].members, member{Value: text(id), Type: "User"})
			}
		}
	}
	return nil
}

// accounts reads all users or service principals.
func (r *reader) accounts(ctx context.Context, typ string) (out []account, incomplete string, err error) {
	endpoint, decode := endUsers, decodeUser
	if typ == typePrincipal {
		endpoint, decode = endPrincipals, decodePrincipal
	}
	raws, incomplete, err := r.list(ctx, endpoint, "")
	if err != nil {
		return nil, "", err
	}
	for _, raw := range raws {
		a, err := decode(raw)
		if err != nil {
			return nil, "", r.strange("read the "+strings.ToLower(endpoint), err)
		}
		out = append(out, r.named(typ, a))
	}
	return out, incomplete, nil
}

func (r *reader) named(typ string, a account) account {
	if typ == typeUser {
		a.name = r.fold(a.name)
	}
	return a
}

// allOf reads all accounts of a type, once.
func (v *view) allOf(ctx context.Context, typ string) error {
	done, into := &v.allUsers, v.users
	if typ == typePrincipal {
		done, into = &v.allPrincipals, v.principals
	}
	if *done {
		return nil
	}
	*done = true
	list, why, err := v.reader.accounts(ctx, typ)
	if err != nil {
		return err
	}
	v.lack(why)
	for _, a := range list {
		into[a.id] = a
	}
	return nil
}

// resolve finds the names of the members.
func (v *view) resolve(ctx context.Context, groups []group) error {
	unknown := func() map[string]member {
		out := map[string]member{}
		for _, g := range groups {
			for _, m := range g.members {
				if _, known := v.who(m); !known {
					out[string(m.Value)] = m
				}
			}
		}
		return out
	}
	left := unknown()
	lists := v.reader.settings.profile.paging != pagingNoLists
	if lists && (!v.byName || len(left) > few) {
		for _, typ := range []string{typeUser, typePrincipal} {
			if typ == typePrincipal && !v.reader.settings.profile.principals {
				continue
			}
			if len(left) > 0 {
				if err := v.allOf(ctx, typ); err != nil {
					return err
				}
				left = unknown()
			}
		}
	}
	ids := make([]string, 0, len(left))
	for id := range left {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if !v.single() {
			return nil
		}
		if err := v.lookUp(ctx, id, left[id].kind()); err != nil {
			return err
		}
	}
	if v.forbidden && len(v.users) == 0 {
		v.lack("no member can be looked up: the credential lacks the right to read users")
	}
	return nil
}

// lookUp reads one id.
func (v *view) lookUp(ctx context.Context, id, kind string) error {
	v.asked[id] = true
	for _, typ := range []string{typeUser, typeGroup, typePrincipal} {
		if kind != "" && kind != typ || typ == typePrincipal && !v.reader.settings.profile.principals {
			continue
		}
		body, _, ok, err := v.reader.get(ctx, endpointOf(typ), id)
		var status *rest.StatusError
		if errors.As(err, &status) && status.Status == http.StatusForbidden {
			v.forbidden = true
			continue // hidden from the credential
		}
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		a, err := v.reader.decode(typ, body)
		if err != nil || a.id != id {
			return v.reader.strange("read one of the "+strings.ToLower(endpointOf(typ)), err)
		}
		switch typ {
		case typeGroup:
			v.names[id] = a.name
		case typePrincipal:
			v.principals[id] = a
		default:
			v.users[id] = a
		}
		return nil
	}
	return nil
}

// who returns a member's entitlement; known is false if it has to be looked up. A member that was looked up and not found
// is unresolved: it is deactivated, hidden from the credential, or deleted, and still in the group.
func (v *view) who(m member) (e schemas.Entitlement, known bool) {
	id, kind := string(m.Value), m.kind()
	entitlement := func(typ, name string, state schemas.EntitlementState) schemas.Entitlement {
		if name == "" { // a request can't name it
			typ, name = typeOther, id
		}
		return schemas.Entitlement{Target: schemas.Name{Type: typ, SourceName: name}, TargetID: id, Privilege: privilegeMember, State: state}
	}
	user, isUser := v.users[id]
	principal, isPrincipal := v.principals[id]
	name, isGroup := v.names[id]
	if kind == typeOther {
		return entitlement(typeOther, id, ""), true
	}
	if kind == "" && isGroup && (isUser || isPrincipal) {
		v.lack("duplicate id " + strconv.QuoteToASCII(id) + " of a user and a group, and a member without type has it")
	}
	switch {
	case isUser && (kind == "" || kind == typeUser):
		return entitlement(typeUser, user.name, user.state), true
	case isGroup && (kind == "" && (v.allUsers || v.asked[id]) || kind == typeGroup):
		return entitlement(typeGroup, name, ""), true
	case isPrincipal && (kind == "" || kind == typePrincipal):
		return entitlement(typePrincipal, principal.name, principal.state), true
	case v.asked[id]:
		e := entitlement(typeUser, id, schemas.StateUnresolved)
		if e.Foreign = true; kind == typeGroup && v.reader.settings.profile.nested || kind == typePrincipal && v.reader.settings.profile.principals {
			e.Target.Type = kind
		}
		return e, true
	case kind == typePrincipal && !v.reader.settings.profile.principals:
		return entitlement(typeOther, id, ""), true
	}
	return schemas.Entitlement{}, false
}

func (v *view) connection(g group) schemas.Connection {
	c := schemas.Connection{Name: schemas.Name{Type: typeGroup, SourceName: g.name}, NativeID: g.id, Protected: v.reader.protected(g.name)}
	if v.reader.settings.profile.external != externalNone {
		c.Payload = map[string]any{"external_id": g.external}
	}
	if g.nameless {
		v.lack("members of the group " + strconv.QuoteToASCII(g.name) + " lack an id, so they are unknown")
	}
	for _, m := range g.members {
		e, known := v.who(m)
		if !known {
			e = schemas.Entitlement{Target: schemas.Name{Type: typeOther, SourceName: string(m.Value)}, TargetID: string(m.Value), Privilege: privilegeMember,
				State: schemas.StateUnresolved, Foreign: true}
			v.lack("could not look up the names of all members")
		}
		c.Entitlements = append(c.Entitlements, e)
	}
	return c
}

// protected returns why a group is never changed, or "".
func (r *reader) protected(name string) string {
	switch {
	case schemas.Match(r.settings.Protected, name):
		return "config.protected lists it"
	case schemas.Match(r.settings.profile.names.Reserved, name):
		return "the application reserves its name"
	}
	return ""
}
