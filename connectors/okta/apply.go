package okta

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
	"github.com/countersign/countersign/schemas"
)

type writer struct{ *reader }

// Apply carries out one operation after the other: no call of Okta changes more than one membership.
func (w *writer) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	checker, err := connectors.NewChecker(description(w.settings.AdminRoles))
	if err != nil {
		return err
	}
	r := newRun(w)
	return connectors.Each(ctx, ops, checker, w.settings.now, report, func(ctx context.Context, o *schemas.Operation) (int, error) {
		w.api.attempts = 0
		err := connectors.During(o, r.early(o, r.do(ctx, o)))
		return w.api.attempts, err
	})
}

// run is one Apply: it caches lookups, so that an operation takes one or two requests.
type run struct {
	*writer
	all        []*group // nil until listed
	groupsByID map[string]*group
	made       map[string]bool // ids of the groups that it created
	logins     map[string]*user
	usersByID  map[string]*user
	apps       []*application
	appsKnown  bool
	rulesRead  []rule
	rulesKnown bool
}

func newRun(w *writer) *run {
	return &run{writer: w, groupsByID: map[string]*group{}, made: map[string]bool{}, logins: map[string]*user{}, usersByID: map[string]*user{}}
}

func refuse(code connectors.Code, message string, dependents ...string) error {
	return &connectors.Error{Code: code, Message: message, Dependents: dependents}
}

func (r *run) do(ctx context.Context, o *schemas.Operation) error {
	g, err := r.resolve(ctx, o)
	if err != nil {
		return err
	}
	switch {
	case o.Kind == schemas.OperationCreate:
	case g == nil && o.Removes():
		return nil // the group is deleted, with all of its entitlements
	case g == nil:
		return refuse(connectors.NotFound, "group not found, or not visible to the credential")
	}
	if g != nil {
		if why := r.protected(g); why != "" {
			return refuse(connectors.Denied, "the group is protected: "+why)
		}
	}
	switch o.Kind {
	case schemas.OperationCreate:
		return r.create(ctx, o, g)
	case schemas.OperationUpdate:
		return r.update(ctx, o, g)
	case schemas.OperationDelete:
		return r.delete(ctx, g)
	}
	switch grant := o.Kind == schemas.OperationGrant; o.Target.Type {
	case typeUser:
		return r.member(ctx, o, g, grant)
	case typeApplication:
		return r.assign(ctx, o, g, grant)
	case typeAdminRole:
		return r.role(ctx, o, g, grant)
	}
	return refuse(connectors.Unsupported, "a group can't be granted that")
}

// early returns the error of a change in a new group that isn't visible in all parts of Okta yet: it is retried.
func (r *run) early(o *schemas.Operation, err error) error {
	if _, answered := failureOf(err); !answered || !absent(err) {
		return err
	}
	for id := range r.made {
		if g := r.groupsByID[id]; g != nil && g.Profile.Name == o.Connection.SourceName {
			return recode(err, connectors.Unavailable)
		}
	}
	return err
}

// ids matches Okta's ids, which can be used in a path.
var ids = regexp.MustCompile(`\A[A-Za-z0-9_-]{1,100}\z`)

// resolve finds the connection of an operation: by id where there is one, under the same name; else by name.
func (r *run) resolve(ctx context.Context, o *schemas.Operation) (*group, error) {
	name := o.Connection.SourceName
	if o.NativeID != "" && ids.MatchString(o.NativeID) {
		g := r.groupsByID[o.NativeID]
		if g == nil && r.settings.AdminRoles {
			var err error
			if g, err = r.api.group(ctx, o.NativeID); err != nil {
				return nil, err
			}
			if g != nil {
				r.groupsByID[g.ID] = g
			}
		} else if g == nil {
			// Only the list shows which groups hold administrator roles.
			all, err := r.groups(ctx)
			if err != nil {
				return nil, err
			}
			if i := slices.IndexFunc(all, func(g *group) bool { return g.ID == o.NativeID }); i >= 0 {
				g = all[i]
			}
		}
		if g != nil {
			return connectors.Resolve("group", name, o.NativeID, []*group{g}, (*group).key)
		}
	}
	all, err := r.groups(ctx)
	if err != nil {
		return nil, err
	}
	return connectors.Resolve("group", name, o.NativeID, all, (*group).key)
}

func (r *run) groups(ctx context.Context) ([]*group, error) {
	if r.all != nil {
		return r.all, nil
	}
	list, err := r.api.groups(ctx, !r.settings.AdminRoles)
	if err != nil {
		return nil, err
	}
	r.all = make([]*group, 0, len(list))
	for i := range list {
		r.all = append(r.all, &list[i])
		r.groupsByID[list[i].ID] = &list[i]
	}
	return r.all, nil
}

func (r *run) changing(ctx context.Context, op, method, path string, body any) error {
	return r.api.change(ctx, rest.Request{Op: op, Method: method, Path: path, Body: body})
}

// removing is like changing, for objects that may be gone already.
func (r *run) removing(ctx context.Context, op, path string) error {
	if err := r.changing(ctx, op, http.MethodDelete, path, nil); !absent(err) {
		return err
	}
	return nil
}

func (r *run) create(ctx context.Context, o *schemas.Operation, g *group) error {
	wanted, says := o.After["description"].(string)
	if g != nil {
		if have, _ := connection(g).Payload["description"].(string); says && have != wanted {
			return refuse(connectors.Conflict, "somebody created a group of that name meanwhile, with another description")
		}
		return nil
	}
	profile := map[string]any{"name": o.Connection.SourceName}
	if says {
		profile["description"] = wanted
	}
	var made group
	_, err := r.api.do(ctx, rest.Request{Op: "create a group", Method: http.MethodPost, Path: "/api/v1/groups", Body: map[string]any{"profile": profile}}, &made)
	switch {
	case err != nil:
		return err
	case !made.whole():
		return refuse(connectors.Unavailable, "Okta's answer isn't a group")
	}
	if !r.settings.AdminRoles {
		// A new group doesn't hold a role, and the answer lacks statistics.
		no := false
		made.Embedded.Stats.Admin = &no
	}
	if r.all != nil {
		r.all = append(r.all, &made)
	}
	r.groupsByID[made.ID], r.made[made.ID] = &made, true
	return nil
}

// update replaces the profile, and sends other attributes back unchanged.
func (r *run) update(ctx context.Context, o *schemas.Operation, g *group) error {
	wanted, says := o.After["description"].(string)
	if !says {
		return nil
	}
	const op = "read a group"
	var whole struct {
		Profile map[string]json.RawMessage `json:"profile"`
	}
	if _, err := r.api.do(ctx, rest.Request{Op: op, Method: http.MethodGet, Path: groupPath(g.ID)}, &whole); err != nil {
		return err
	}
	var have struct{ Name, Description string }
	if json.Unmarshal(whole.Profile["name"], &have.Name) != nil || have.Name != o.Connection.SourceName {
		return refuse(connectors.Conflict, "the group with that id now has another name")
	}
	if raw, ok := whole.Profile["description"]; ok {
		if err := json.Unmarshal(raw, &have.Description); err != nil { // null leaves it empty
			return refuse(connectors.Unavailable, "Okta's answer isn't a group")
		}
	}
	if have.Description == wanted {
		return nil
	}
	encoded, err := json.Marshal(wanted)
	if err != nil {
		return refuse(connectors.Invalid, "invalid description: can't be encoded")
	}
	whole.Profile["description"] = encoded
	if err := r.changing(ctx, "replace a group", http.MethodPut, groupPath(g.ID), map[string]any{"profile": whole.Profile}); err != nil {
		return err
	}
	g.Profile.Description = &wanted
	return nil
}

// unruled refuses to delete a group that rules name.
func (r *run) unruled(ctx context.Context, g *group) error {
	rules, err := r.rules(ctx)
	if err != nil {
		return err
	}
	if named := r.naming(rules, func(u *rule) bool { return u.mentions(g) }); len(named) > 0 {
		return refuse(connectors.Conflict, "group rules name the group, and a rule becomes permanently invalid when its group is deleted: change the rules first", named...)
	}
	return nil
}

func (r *run) delete(ctx context.Context, g *group) error {
	if err := r.unruled(ctx, g); err != nil {
		return err
	}
	if err := r.removing(ctx, "delete a group", groupPath(g.ID)); err != nil {
		return err
	}
	r.all = slices.DeleteFunc(r.all, func(other *group) bool { return other.ID == g.ID })
	delete(r.groupsByID, g.ID)
	return nil
}

func (r *run) rules(ctx context.Context) ([]rule, error) {
	if !r.rulesKnown {
		var err error
		if r.rulesRead, err = r.api.rules(ctx); err != nil {
			return nil, err
		}
		r.rulesKnown = true
	}
	return r.rulesRead, nil
}

func (r *run) naming(rules []rule, which func(*rule) bool) []string {
	var names []string
	for i := range rules {
		if which(&rules[i]) {
			names = append(names, "group rule "+rules[i].Name+" ("+rules[i].ID+")")
		}
	}
	slices.Sort(names)
	return names
}

// who finds the user of an operation, or nil.
func (r *run) who(ctx context.Context, o *schemas.Operation) (*user, error) {
	login := fold(o.Target.SourceName)
	if o.TargetID != "" && ids.MatchString(o.TargetID) {
		u, known := r.usersByID[o.TargetID]
		if !known {
			var err error
			if u, err = r.api.user(ctx, o.TargetID); err != nil {
				return nil, err
			}
			if u != nil && u.ID != o.TargetID {
				u = nil // the id was somebody's login
			}
			r.usersByID[o.TargetID] = u
		}
		if u != nil {
			return connectors.Resolve("user", login, o.TargetID, []*user{u}, (*user).key)
		}
	}
	u, known := r.logins[login]
	if !known {
		var err error
		if u, err = r.api.byLogin(ctx, login); err != nil {
			return nil, err
		}
		r.logins[login] = u
	}
	if u == nil {
		return nil, nil
	}
	return connectors.Resolve("user", login, o.TargetID, []*user{u}, (*user).key)
}

func (r *run) member(ctx context.Context, o *schemas.Operation, g *group, grant bool) error {
	u, err := r.who(ctx, o)
	switch {
	case err != nil:
		return err
	case u == nil && grant:
		return refuse(connectors.NotFound, "unknown login")
	case u == nil:
		return nil
	}
	path := groupPath(g.ID) + "/users/" + url.PathEscape(u.ID)
	if grant {
		return r.changing(ctx, "add a member", http.MethodPut, path, nil)
	}
	if r.settings.OnRule != "remove" {
		if err := r.ruled(ctx, g, u); err != nil {
			return err
		}
	}
	return r.removing(ctx, "remove a member", path)
}

// ruled refuses to remove a member who is, or may be, in the group by a rule.
func (r *run) ruled(ctx context.Context, g *group, u *user) error {
	rules, err := r.rules(ctx)
	if err != nil {
		return err
	}
	feeding := r.naming(rules, func(u *rule) bool { return u.feeds(g) })
	if len(feeding) == 0 {
		return nil
	}
	members, err := r.api.members(ctx, g.ID)
	if err != nil {
		return err
	}
	told := slices.ContainsFunc(members, func(m user) bool { return m.Rule != nil && *m.Rule != "" })
	i := slices.IndexFunc(members, func(m user) bool { return m.ID == u.ID })
	switch {
	case i < 0:
		return nil
	case members[i].Rule != nil && *members[i].Rule != "":
		by := r.naming(rules, func(u *rule) bool { return u.ID == *members[i].Rule })
		if len(by) == 0 {
			by = []string{"group rule " + *members[i].Rule}
		}
		return refuse(connectors.Conflict, "the member is in the group by "+strings.Join(by, ", ")+
			", and removing a member by hand changes the rule: change the rule or the user's profile, or set on_rule: remove in the config", by...)
	case !told:
		return refuse(connectors.Conflict, "the group is fed by "+strings.Join(feeding, ", ")+
			", and Okta doesn't show whether that rule added the member: remove the member in Okta, or set on_rule: remove in the config", feeding...)
	}
	return nil
}

// app finds the application of an operation, or nil.
func (r *run) app(ctx context.Context, o *schemas.Operation) (*application, error) {
	if !r.appsKnown {
		list, err := r.api.applications(ctx)
		if err != nil {
			return nil, err
		}
		for i := range list {
			r.apps = append(r.apps, &list[i])
		}
		r.appsKnown = true
	}
	return connectors.Resolve("application", o.Target.SourceName, o.TargetID, r.apps, (*application).key)
}

func (r *run) assign(ctx context.Context, o *schemas.Operation, g *group, grant bool) error {
	a, err := r.app(ctx, o)
	switch {
	case err != nil:
		return err
	case a == nil && grant:
		return refuse(connectors.NotFound, "application not found, or not visible to the credential")
	case a == nil:
		return r.unlisted(ctx, o, g)
	case a.protected() != "":
		return refuse(connectors.Denied, "the application is "+a.protected())
	}
	path := applicationPath(a.ID) + "/" + url.PathEscape(g.ID)
	if !grant {
		return r.removing(ctx, "take an application from a group", path)
	}
	// Assigning again would reset the priority and profile of the assignment.
	var have assignment
	switch _, err := r.api.do(ctx, rest.Request{Op: "read an assignment", Method: http.MethodGet, Path: path}, &have); {
	case err == nil && have.ID == g.ID:
		return nil
	case err == nil:
		return refuse(connectors.Unavailable, "Okta's answer is another assignment than the requested one")
	case !absent(err):
		return err
	}
	return r.changing(ctx, "assign an application to a group", http.MethodPut, path, map[string]any{})
}

// unlisted refuses to conclude from the list that an application is gone: the list has only those that the
// credential's administrator role may see.
func (r *run) unlisted(ctx context.Context, o *schemas.Operation, g *group) error {
	if !ids.MatchString(o.TargetID) {
		return nil
	}
	_, err := r.api.do(ctx, rest.Request{Op: "read an assignment", Method: http.MethodGet, Path: applicationPath(o.TargetID) + "/" + url.PathEscape(g.ID)}, nil)
	switch {
	case absent(err):
		return nil
	case err != nil:
		return err
	}
	return refuse(connectors.Denied, "the group has the application, but the credential's administrator role doesn't see that")
}

func (r *run) role(ctx context.Context, o *schemas.Operation, g *group, grant bool) error {
	name := o.Target.SourceName
	if grant && !slices.Contains(standardRoles(), name) {
		return refuse(connectors.Unsupported, "only Okta's standard administrator roles can be granted: "+strings.Join(standardRoles(), ", "))
	}
	path := groupPath(g.ID) + "/roles"
	roles, err := r.api.roles(ctx, g.ID)
	if err != nil {
		return err
	}
	held := slices.DeleteFunc(roles, func(h role) bool {
		return h.name() != name || (o.TargetID != "" && h.key() != o.TargetID)
	})
	if !grant {
		for _, h := range held {
			if err := r.removing(ctx, "take an administrator role from a group", path+"/"+url.PathEscape(h.ID)); err != nil {
				return err
			}
		}
		return nil
	}
	if len(held) > 0 {
		return nil
	}
	err = r.changing(ctx, "give an administrator role to a group", http.MethodPost, path, map[string]any{"type": name})
	if f, ok := failureOf(err); ok && f.Code == codeDuplicateRole {
		return nil // somebody else assigned it meanwhile
	}
	return err
}
