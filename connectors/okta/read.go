package okta

import (
	"context"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

type reader struct {
	settings settings
	api      *api
	lister   connectors.Lister
}

// Close forgets the credential. A session doesn't exist.
func (r *reader) Close() error {
	if r.api.tokens != nil {
		r.api.tokens.forget()
	}
	return nil
}

// Describe marks the groups that hold administrator roles as privileged: their members become administrators.
func (r *reader) Describe(ctx context.Context) (schemas.Description, error) {
	d := description(r.settings.AdminRoles)
	d.Server = connectors.Server(string(r.settings.URL))
	groups, err := r.api.groups(ctx, true)
	if err != nil {
		return schemas.Description{}, err
	}
	var powerful []string
	for i := range groups {
		holds, known := groups[i].admin()
		if !known {
			powerful = []string{"*"}
			break
		}
		if holds {
			powerful = append(powerful, literal(groups[i].Profile.Name))
		}
	}
	slices.Sort(powerful)
	d.Types[0].Privileged = slices.Compact(powerful)
	return d, nil
}

// literal returns the glob pattern that matches only a name.
func literal(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(name)
}

// Normalize puts logins into lower case.
func (r *reader) Normalize(s schemas.State) (schemas.State, error) {
	return connectors.NormalizeWith(description(r.settings.AdminRoles), s, func(c *schemas.Connection) error {
		for i := range c.Entitlements {
			if t := &c.Entitlements[i].Target; t.Type == typeUser {
				t.SourceName = fold(t.SourceName)
			}
		}
		return nil
	})
}

// Read lists the groups and asks about each selected one.
func (r *reader) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
	groups, err := r.api.groups(ctx, !r.settings.AdminRoles)
	if err != nil {
		return schemas.State{}, err
	}
	selected := connectors.Selected(sel, nil)
	groups = slices.DeleteFunc(groups, func(g group) bool {
		return !selected(schemas.Name{Type: typeGroup, SourceName: g.Profile.Name}, g.ID)
	})
	state := schemas.State{Connections: make([]schemas.Connection, 0, len(groups))}
	if len(groups) == 0 {
		return state, nil
	}
	applications, err := r.assigned(ctx, groups)
	if err != nil {
		return schemas.State{}, err
	}
	for i := range groups {
		g := &groups[i]
		c := connection(g)
		c.Protected = r.protected(g)
		c.Entitlements = applications[g.ID]
		if err := r.complete(ctx, g, &c); absent(err) {
			// It was deleted after the listing, or else it is unknown.
			if still, err := r.api.group(ctx, g.ID); err != nil {
				return schemas.State{}, err
			} else if still == nil {
				continue
			}
			return schemas.State{}, &connectors.Error{Code: connectors.Unavailable, Op: "read a group", Err: err,
				Message: "Okta shows the group " + c.String() + " in the list, but its members were not found"}
		} else if err != nil {
			return schemas.State{}, err
		}
		state.Connections = append(state.Connections, c)
	}
	state.Sort()
	return state, nil
}

func connection(g *group) schemas.Connection {
	description := ""
	if g.Profile.Description != nil {
		description = *g.Profile.Description
	}
	return schemas.Connection{Name: schemas.Name{Type: typeGroup, SourceName: g.Profile.Name}, NativeID: g.ID,
		Payload: map[string]any{"description": description}}
}

// protected returns the reason why the group is never changed, or "".
func (r *reader) protected(g *group) string {
	switch g.Type {
	case oktaGroup:
	case builtIn:
		return "a group of Okta's own"
	default:
		return "fed by a directory or application (" + g.Type + "): change it there"
	}
	if r.settings.AdminRoles {
		return ""
	}
	switch holds, known := g.admin(); {
	case !known:
		return "Okta doesn't show whether it holds administrator roles: set admin_roles: true in the config"
	case holds:
		return "it holds administrator roles, which the config leaves out (admin_roles: false)"
	}
	return ""
}

// complete adds members and roles.
func (r *reader) complete(ctx context.Context, g *group, c *schemas.Connection) error {
	members, err := r.api.members(ctx, g.ID)
	if err != nil {
		return err
	}
	for i := range members {
		u := &members[i]
		c.Entitlements = append(c.Entitlements, schemas.Entitlement{Target: schemas.Name{Type: typeUser, SourceName: u.name()},
			TargetID: u.ID, Privilege: privilegeMember, State: u.state()})
	}
	if !r.settings.AdminRoles {
		return nil
	}
	roles, err := r.api.roles(ctx, g.ID)
	if err != nil {
		return err
	}
	for i := range roles {
		c.Entitlements = append(c.Entitlements, schemas.Entitlement{Target: schemas.Name{Type: typeAdminRole, SourceName: roles[i].name()},
			TargetID: roles[i].key(), Privilege: privilegeAssigned})
	}
	return nil
}

// assigned returns the applications of groups, by the group's id, by the way with fewer calls.
func (r *reader) assigned(ctx context.Context, groups []group) (map[string][]schemas.Entitlement, error) {
	applications, err := r.api.applications(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]schemas.Entitlement, len(groups))
	add := func(id string, a *application) {
		out[id] = append(out[id], schemas.Entitlement{Target: schemas.Name{Type: typeApplication, SourceName: a.Label}, TargetID: a.ID, Privilege: privilegeAccess})
	}
	if len(applications) > len(groups) {
		for i := range groups {
			has, err := r.api.groupApplications(ctx, groups[i].ID)
			if err != nil && !absent(err) { // a deleted group is noticed when its members are read
				return nil, err
			}
			for j := range has {
				add(groups[i].ID, &has[j])
			}
		}
		return out, nil
	}
	wanted := make(map[string]bool, len(groups))
	for i := range groups {
		wanted[groups[i].ID] = true
	}
	for i := range applications {
		has, err := r.api.applicationGroups(ctx, applications[i].ID)
		if err != nil && !absent(err) { // deleted after the listing, with its assignments
			return nil, err
		}
		for _, g := range has {
			if wanted[g.ID] {
				add(g.ID, &applications[i])
			}
		}
	}
	return out, nil
}

// fewNames is the largest number of users that are requested one by one instead of listing all.
const fewNames = 50

// List answers from a complete list or, for a few users, from a request for each.
func (r *reader) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	const op = "list objects"
	d := description(r.settings.AdminRoles)
	if _, ok := d.Types[0].Target(q.Type); !ok && q.Type != typeGroup {
		return connectors.Page{}, &connectors.Error{Code: connectors.Unsupported, Op: op, Message: "unknown type"}
	}
	same := func(name string) string { return name }
	if q.Type == typeUser {
		same = fold
	}
	return r.lister.Page(q, same, func() ([]schemas.Item, error) { return r.items(ctx, q) })
}

// items returns all items of a type, or at least those that the query names.
func (r *reader) items(ctx context.Context, q connectors.Query) ([]schemas.Item, error) {
	var items []schemas.Item
	add := func(name, id string, state schemas.EntitlementState, protected string) {
		items = append(items, schemas.Item{Name: schemas.Name{Type: q.Type, SourceName: name}, NativeID: id, State: state,
			Protected: protected, Connection: q.Type == typeGroup})
	}
	switch q.Type {
	case typeGroup:
		groups, err := r.api.groups(ctx, !r.settings.AdminRoles)
		if err != nil {
			return nil, err
		}
		for i := range groups {
			add(groups[i].Profile.Name, groups[i].ID, "", r.protected(&groups[i]))
		}
	case typeApplication:
		applications, err := r.api.applications(ctx)
		if err != nil {
			return nil, err
		}
		for i := range applications {
			add(applications[i].Label, applications[i].ID, "", applications[i].protected())
		}
	case typeAdminRole:
		for _, name := range standardRoles() {
			add(name, name, "", "")
		}
	case typeUser:
		users, err := r.someUsers(ctx, q.Names, q.IDs)
		if err != nil {
			return nil, err
		}
		for i := range users {
			add(users[i].name(), users[i].ID, users[i].state(), "")
		}
	}
	return items, nil
}

// someUsers returns the users of a few names and ids, or all.
func (r *reader) someUsers(ctx context.Context, names, userIDs []string) ([]user, error) {
	logins := map[string]bool{}
	for _, n := range names {
		logins[fold(n)] = true
	}
	all := names == nil || len(logins)+len(userIDs) > fewNames
	for n := range logins {
		all = all || !fetchable(n)
	}
	if all {
		return r.api.users(ctx)
	}
	var users []user
	for n := range logins {
		u, err := r.api.byLogin(ctx, n)
		if err != nil {
			return nil, err
		}
		if u != nil {
			users = append(users, *u)
		}
	}
	for _, id := range userIDs {
		if !ids.MatchString(id) {
			continue // Okta has no such id, and it could be a login or a part of a path
		}
		u, err := r.api.user(ctx, id)
		if err != nil {
			return nil, err
		}
		if u != nil && u.ID == id {
			users = append(users, *u)
		}
	}
	return users, nil
}
