package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
	"github.com/countersign/countersign/schemas"
)

const (
	opRead = "read the teams"
	opList = "list what the organisation has"
)

type reader struct {
	c      *client
	invite bool
	roles  bool // those of the organisation are read and assigned
	closed bool
	// custom are the organisation's own repository roles, exact that GraphQL would not show them. Both are known once described is set.
	custom           []string
	exact, described bool
	version          string
	// viewer is who the credential speaks for; bot that it is an App. Known once a team was read.
	viewer string
	// listed is the list that the last page was cut from.
	listed     []connectors.Item
	listedType string
}

func (r *reader) bot() bool { return strings.HasSuffix(r.viewer, "[bot]") }

// Close forgets the connection. There is no session to end.
func (r *reader) Close() error {
	r.closed = true
	return nil
}

func (r *reader) ready(ctx context.Context, op string) error {
	if r.closed {
		return &connectors.Error{Code: connectors.Invalid, Op: op, Message: "the connection was closed"}
	}
	return connectors.Stopped(ctx, op)
}

// Describe adds the organisation's custom roles.
func (r *reader) Describe(ctx context.Context) (connectors.Description, error) {
	const op = "read the custom roles"
	if err := r.ready(ctx, op); err != nil {
		return connectors.Description{}, err
	}
	if err := r.customRoles(ctx); err != nil {
		return connectors.Description{}, err
	}
	d := describe(r.custom, r.roles)
	d.Version = r.version
	return d, nil
}

// customRoles learns which custom roles there are on repositories. Where GitHub does not know such a call, there are none; where we may
// not ask, there may be some, and only REST shows them.
func (r *reader) customRoles(ctx context.Context) error {
	if r.described {
		return nil
	}
	const op = "read the custom roles"
	var answer struct {
		Total *int `json:"total_count"`
		Roles []struct {
			Name string `json:"name"`
		} `json:"custom_roles"`
	}
	resp, _, err := r.c.send(ctx, op, http.MethodGet, path("orgs", r.c.organisation, "custom-repository-roles"), nil, nil, &answer)
	var refused *rest.StatusError
	if errors.As(err, &refused) {
		r.version = refused.Header.Get("X-Github-Enterprise-Version")
	}
	switch {
	case refused != nil && refused.Status == http.StatusNotFound:
	case refused != nil && refused.Status == http.StatusForbidden && connectors.CodeOf(err) == connectors.Denied && refused.Header.Get("X-Github-Sso") == "":
		r.exact = true
	case err != nil:
		return err
	case answer.Total == nil || *answer.Total != len(answer.Roles):
		return strange(op)
	default:
		r.version = resp.Header.Get("X-Github-Enterprise-Version")
		for _, role := range answer.Roles {
			if role.Name == "" || level(role.Name) >= 0 {
				return strange(op)
			}
			r.custom = append(r.custom, role.Name)
		}
		slices.Sort(r.custom)
		r.exact = len(r.custom) > 0
	}
	r.described = true
	return nil
}

// team is a team as it is.
type team struct {
	id            int64
	slug          string
	description   string
	privacy       string
	notifications bool
	parent        *parent
	members       map[string]person // by login in lower case
	invited       map[string]person
	repositories  map[string]*holding // by name in lower case
	// doubt says why the team may not be known whole; "" when it is. hidden says that it is the credential's fault.
	doubt  string
	hidden bool

	gotMembers, gotRepositories, gotInvitations int
}

type parent struct {
	id   int64
	slug string
}

type person struct {
	id         int64
	maintainer bool
}

// holding is a team's role on a repository: a level or a custom role.
type holding struct {
	id   int64
	role string
	// inherited is the parent's role on it, "" when it has none.
	inherited string
	// direct says that the team was given the repository itself.
	direct bool
}

// teams are what was loaded.
type teams struct {
	bySlug map[string]*team
	// doubt says what the credential does not see of the whole.
	doubt string
}

// load reads teams, and those around them. all reads every one; else those of the slugs. of says of which teams
// it has to be known exactly what they hold.
func (r *reader) load(ctx context.Context, op string, all bool, slugs []string, of func(*team) bool) (*teams, error) {
	if err := r.customRoles(ctx); err != nil {
		return nil, err
	}
	t := &teams{bySlug: map[string]*team{}}
	var next []part
	var err error
	if all {
		next, err = r.everything(ctx, op, t)
	} else {
		next, err = r.named(ctx, op, t, slugs)
	}
	if err != nil {
		return nil, err
	}
	asked := map[string]bool{}
	for range maxPages {
		// What a team inherits is known from those around it.
		var above []string
		for _, x := range t.bySlug {
			if x.parent != nil && t.bySlug[x.parent.slug] == nil && !asked[x.parent.slug] {
				above, asked[x.parent.slug] = append(above, x.parent.slug), true
			}
		}
		if len(next) == 0 && len(above) == 0 {
			break
		}
		slices.Sort(above)
		for _, slug := range above {
			next = append(next, part{slug: slug, whole: true})
		}
		if next, err = r.fetch(ctx, op, t, next); err != nil {
			return nil, err
		}
	}
	if len(next) > 0 {
		return nil, tooMany(op)
	}
	for _, x := range t.bySlug {
		x.count()
		if x.parent != nil && t.bySlug[x.parent.slug] == nil {
			x.doubt = "its parent " + x.parent.slug + " is not there"
		}
	}
	if r.exact {
		if err := r.exactRoles(ctx, op, t); err != nil {
			return nil, err
		}
	}
	if err := r.inherit(ctx, op, t, of); err != nil {
		return nil, err
	}
	if err := r.invitations(ctx, op, t, of); err != nil {
		return nil, err
	}
	return t, r.sight(ctx, op, t)
}

// everything reads all teams, with the first page of each list.
func (r *reader) everything(ctx context.Context, op string, t *teams) ([]part, error) {
	const text = `query($org: String!, $after: String) { ` + head + `organization(login: $org) { ` + organisationHead +
		`teams(first: 50, after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes { ...whole } } } } fragment whole on Team { `
	var next []part
	nodes, err := collect(op, func(after any) (*connection[teamNode], error) {
		var data struct {
			Viewer       *account
			Organization *struct {
				organisationNode
				Teams *connection[teamNode]
			}
		}
		if err := r.c.query(ctx, op, text+teamPart()+"}", map[string]any{"org": r.c.organisation, "after": after}, nil, &data); err != nil {
			return nil, err
		}
		if data.Organization == nil || data.Viewer == nil {
			return nil, strange(op)
		}
		return data.Organization.Teams, r.look(op, t, data.Viewer, &data.Organization.organisationNode)
	})
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		p, err := t.add(op, n, true)
		if err != nil {
			return nil, err
		}
		if p != nil {
			next = append(next, *p)
		}
	}
	if len(t.bySlug) != len(nodes) {
		return nil, strange(op)
	}
	return next, nil
}

// named reads the teams of the slugs, with the first page of each list.
func (r *reader) named(ctx context.Context, op string, t *teams, slugs []string) ([]part, error) {
	const text = `query($org: String!) { ` + head + `organization(login: $org) { ` + organisationHead + `} }`
	var data struct {
		Viewer       *account
		Organization *organisationNode
	}
	if err := r.c.query(ctx, op, text, map[string]any{"org": r.c.organisation}, nil, &data); err != nil {
		return nil, err
	}
	if data.Organization == nil || data.Viewer == nil {
		return nil, strange(op)
	}
	if err := r.look(op, t, data.Viewer, data.Organization); err != nil {
		return nil, err
	}
	var next []part
	for _, slug := range slices.Compact(slices.Sorted(slices.Values(slugs))) {
		next = append(next, part{slug: slug, whole: true})
	}
	return r.fetch(ctx, op, t, next)
}

// fetch reads parts of teams, and says what is still to come.
func (r *reader) fetch(ctx context.Context, op string, t *teams, parts []part) ([]part, error) {
	nodes, err := r.c.ask(ctx, op, parts)
	if err != nil {
		return nil, err
	}
	var next []part
	for _, p := range parts {
		n := nodes[p.slug]
		if n == nil {
			if p.whole {
				continue
			}
			return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "the team " + p.slug + " went while it was read"}
		}
		more, err := t.add(op, n, p.whole)
		if err != nil {
			return nil, err
		}
		if more == nil {
			continue
		}
		if more.members != "" && more.members == p.members || more.repositories != "" && more.repositories == p.repositories ||
			more.invitations != "" && more.invitations == p.invitations {
			return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "GitHub's pages go in a circle"}
		}
		next = append(next, *more)
	}
	return next, nil
}

// look remembers who asks, and what they do not see.
func (r *reader) look(op string, t *teams, viewer *account, n *organisationNode) error {
	if viewer.Login == "" || n.ViewerCanAdminister == nil || n.ViewerIsAMember == nil || !strings.EqualFold(n.Login, r.c.organisation) {
		return strange(op)
	}
	r.viewer = viewer.Login
	if !r.bot() && !*n.ViewerCanAdminister {
		t.doubt = "the token is of no owner of the organisation, so it sees no secret teams but its own"
	}
	return nil
}

// sight finds out what an App was not let see.
func (r *reader) sight(ctx context.Context, op string, t *teams) error {
	if !r.bot() {
		return nil
	}
	var answer struct {
		Selection string `json:"repository_selection"`
	}
	if _, _, err := r.c.send(ctx, op, http.MethodGet, "installation/repositories", url.Values{"per_page": {"1"}}, nil, &answer); err != nil {
		return err
	}
	switch answer.Selection {
	case "all":
	case "selected":
		t.doubt = "the App is installed on selected repositories only, so it does not see what teams hold on others"
	default:
		return strange(op)
	}
	return nil
}

// add takes in what was read of a team. It returns what is still to be read, nil when that was all.
func (t *teams) add(op string, n *teamNode, whole bool) (*part, error) {
	x := t.bySlug[n.Slug]
	if whole {
		if n.DatabaseID == nil || n.Slug == "" || x != nil {
			return nil, strange(op)
		}
		x = &team{id: *n.DatabaseID, slug: n.Slug, members: map[string]person{}, invited: map[string]person{}, repositories: map[string]*holding{}}
		if n.Description != nil {
			x.description = *n.Description
		}
		privacy, ok := map[string]string{"SECRET": "secret", "VISIBLE": "closed"}[n.Privacy]
		notifications, known := map[string]bool{"NOTIFICATIONS_ENABLED": true, "NOTIFICATIONS_DISABLED": false}[n.NotificationSetting]
		if !ok || !known || n.Members == nil || n.Repositories == nil {
			return nil, strange(op)
		}
		x.privacy, x.notifications = privacy, notifications
		if n.ParentTeam != nil {
			if n.ParentTeam.DatabaseID == nil || n.ParentTeam.Slug == "" {
				return nil, strange(op)
			}
			x.parent = &parent{id: *n.ParentTeam.DatabaseID, slug: n.ParentTeam.Slug}
		}
		if n.Invitations == nil {
			x.doubt, x.hidden = "the credential does not see the invitations of "+x.slug, true
		}
		t.bySlug[x.slug] = x
	}
	if x == nil {
		return nil, strange(op)
	}
	next := part{slug: x.slug}
	if n.Members != nil {
		edges, after, err := rows(op, n.Members)
		if err != nil {
			return nil, err
		}
		for _, e := range edges {
			if e.Node == nil || e.Node.Login == "" || e.Node.DatabaseID == nil || e.Role != "MEMBER" && e.Role != "MAINTAINER" {
				return nil, strange(op)
			}
			x.members[strings.ToLower(e.Node.Login)] = person{id: *e.Node.DatabaseID, maintainer: e.Role == "MAINTAINER"}
		}
		x.gotMembers, next.members = *n.Members.TotalCount, after
	}
	if n.Repositories != nil {
		edges, after, err := rows(op, n.Repositories)
		if err != nil {
			return nil, err
		}
		for _, e := range edges {
			role, ok := map[string]string{"READ": "pull", "TRIAGE": "triage", "WRITE": "push", "MAINTAIN": "maintain", "ADMIN": "admin"}[e.Permission]
			if e.Node == nil || e.Node.Name == "" || e.Node.DatabaseID == nil || !ok {
				return nil, strange(op)
			}
			x.repositories[strings.ToLower(e.Node.Name)] = &holding{id: *e.Node.DatabaseID, role: role}
		}
		x.gotRepositories, next.repositories = *n.Repositories.TotalCount, after
	}
	if n.Invitations != nil {
		nodes, after, err := rows(op, n.Invitations)
		if err != nil {
			return nil, err
		}
		for _, i := range nodes {
			key := "\x00" + strconv.Itoa(len(x.invited)) // to an address of e-mail: nobody that could be named, but counted
			p := person{}
			if i.Invitee != nil {
				if i.Invitee.Login == "" || i.Invitee.DatabaseID == nil {
					return nil, strange(op)
				}
				key, p.id = strings.ToLower(i.Invitee.Login), *i.Invitee.DatabaseID
			}
			x.invited[key] = p
		}
		x.gotInvitations, next.invitations = *n.Invitations.TotalCount, after
	}
	if next.members == "" && next.repositories == "" && next.invitations == "" {
		return nil, nil
	}
	return &next, nil
}

// count holds what was read against what GitHub counts, and forgets who has no name.
func (x *team) count() {
	for _, c := range []struct {
		what      string
		got, want int
	}{{"members", len(x.members), x.gotMembers}, {"repositories", len(x.repositories), x.gotRepositories}, {"invitations", len(x.invited), x.gotInvitations}} {
		if c.got != c.want && x.doubt == "" {
			x.doubt = fmt.Sprintf("GitHub counts %d %s of %s and gave %d: somebody changes it now, or the credential does not see all", c.want, c.what, x.slug, c.got)
		}
	}
	maps.DeleteFunc(x.invited, func(login string, _ person) bool { return strings.HasPrefix(login, "\x00") })
}

// exactRoles replaces what GraphQL says of roles by what REST says, which names custom roles.
func (r *reader) exactRoles(ctx context.Context, op string, t *teams) error {
	for _, slug := range slices.Sorted(maps.Keys(t.bySlug)) {
		x := t.bySlug[slug]
		if len(x.repositories) == 0 {
			continue
		}
		found, err := list[struct {
			ID   int64  `json:"id"`
			Name string `json:"name"`
			Role string `json:"role_name"`
		}](ctx, r.c, op, r.c.team(slug, "repos"), nil)
		if err != nil {
			return err
		}
		if len(found) != len(x.repositories) && x.doubt == "" {
			x.doubt = "what " + slug + " holds changed while it was read"
		}
		for _, f := range found {
			h := x.repositories[strings.ToLower(f.Name)]
			if f.Role == "" {
				return strange(op)
			}
			if h == nil || h.id != f.ID {
				x.doubt = "what " + slug + " holds changed while it was read"
				continue
			}
			h.role = cmp.Or(map[string]string{"read": "pull", "write": "push"}[f.Role], f.Role)
		}
	}
	return nil
}

// inherit finds out which repositories teams were given themselves.
func (r *reader) inherit(ctx context.Context, op string, t *teams, of func(*team) bool) error {
	unsure := map[string][]*team{}
	for _, x := range t.bySlug {
		around := t.around(x)
		for name, h := range x.repositories {
			// An ancestor's own list has what it inherits, so that the nearest one that has it tells.
			for _, a := range around {
				if from := a.repositories[name]; from != nil {
					h.inherited = from.role
					break
				}
			}
			switch {
			case h.inherited == "", level(h.role) > level(h.inherited) && level(h.inherited) >= 0:
				h.direct = true
			case of(x):
				unsure[name] = append(unsure[name], x)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unsure)) {
		given, err := list[struct {
			ID     int64  `json:"id"`
			Source string `json:"access_source"`
		}](ctx, r.c, op, path("repos", r.c.organisation, name, "teams"), nil)
		if connectors.CodeOf(err) == connectors.NotFound {
			for _, x := range unsure[name] {
				x.doubt = "the repository " + name + " went while it was read, or the credential does not see which teams it was given to"
			}
			continue
		}
		if err != nil {
			return err
		}
		direct := map[int64]bool{}
		for _, g := range given {
			direct[g.ID] = g.Source == "" || g.Source == "direct"
		}
		for _, x := range unsure[name] {
			x.repositories[name].direct = direct[x.id]
		}
	}
	return nil
}

// around are the teams that a team lies in, the nearest first.
func (t *teams) around(x *team) []*team {
	var out []*team
	for range len(t.bySlug) {
		if x.parent == nil {
			break
		}
		if x = t.bySlug[x.parent.slug]; x == nil {
			break
		}
		out = append(out, x)
	}
	return out
}

// invitations finds out who was invited as maintainer.
func (r *reader) invitations(ctx context.Context, op string, t *teams, of func(*team) bool) error {
	for _, slug := range slices.Sorted(maps.Keys(t.bySlug)) {
		x := t.bySlug[slug]
		if !of(x) {
			continue
		}
		for _, login := range slices.Sorted(maps.Keys(x.invited)) {
			var m struct {
				Role string `json:"role"`
			}
			_, _, err := r.c.send(ctx, op, http.MethodGet, r.c.team(slug, "memberships", login), nil, nil, &m)
			switch {
			case connectors.CodeOf(err) == connectors.NotFound:
				delete(x.invited, login) // it was taken back meanwhile
			case err != nil:
				return err
			case m.Role != "member" && m.Role != "maintainer":
				return strange(op)
			default:
				x.invited[login] = person{id: x.invited[login].id, maintainer: m.Role == "maintainer"}
			}
		}
	}
	return nil
}

// owners are the logins of the organisation's owners, in lower case.
func (r *reader) owners(ctx context.Context, op string) (map[string]bool, error) {
	found, err := list[struct {
		Login string `json:"login"`
	}](ctx, r.c, op, path("orgs", r.c.organisation, "members"), url.Values{"role": {"admin"}})
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, f := range found {
		out[strings.ToLower(f.Login)] = true
	}
	return out, nil
}

// Read returns the teams that the selection names. Where a pattern may match any team, all are read.
func (r *reader) Read(ctx context.Context, sel connectors.Selection) (connectors.State, error) {
	if err := r.ready(ctx, opRead); err != nil {
		return connectors.State{}, err
	}
	all := sel.Everything()
	var slugs []string
	for _, n := range sel.Names {
		if n.Type == TypeTeam && n.SourceName != "" {
			slugs = append(slugs, n.SourceName)
		}
	}
	for _, p := range sel.Scope[TypeTeam] {
		if strings.ContainsAny(p, `*?\`) {
			all = true
		}
		slugs = append(slugs, p)
	}
	selected := sel.Selector(nil)
	state := connectors.State{}
	roles := sel.Everything() || len(sel.Scope[TypeOrganisationRole]) > 0 ||
		slices.ContainsFunc(sel.Names, func(n schemas.Name) bool { return n.Type == TypeOrganisationRole })
	if r.roles && roles {
		if err := r.readRoles(ctx, selected, &state); err != nil {
			return connectors.State{}, err
		}
	}
	if !all && len(slugs) == 0 {
		state.Sort()
		return state, nil
	}
	wanted := func(x *team) bool { return selected(schemas.Name{Type: TypeTeam, SourceName: x.slug}) }
	names := connectors.Names{}
	slugs = slices.DeleteFunc(slugs, func(s string) bool {
		return names.Check(teamNames(), s) != nil && !strings.HasPrefix(s, enterprise)
	})
	t, err := r.load(ctx, opRead, all, slugs, wanted)
	if err != nil {
		return connectors.State{}, err
	}
	owners, err := r.owners(ctx, opRead)
	if err != nil {
		return connectors.State{}, err
	}
	state.Incomplete = t.doubt
	for _, slug := range slices.Sorted(maps.Keys(t.bySlug)) {
		x := t.bySlug[slug]
		if !wanted(x) {
			continue
		}
		if state.Incomplete == "" {
			state.Incomplete = x.doubt
		}
		state.Connections = append(state.Connections, x.connection(owners))
	}
	state.Sort()
	return state, nil
}

// enterprise begins the slugs of teams that the enterprise manages.
const enterprise = "ent:"

func (x *team) protected() string {
	if strings.HasPrefix(x.slug, enterprise) {
		return "it is a team of the enterprise"
	}
	return ""
}

func (x *team) payload() map[string]any {
	return map[string]any{"description": x.description, "privacy": x.privacy, "notifications": x.notifications}
}

func id(n int64) string { return strconv.FormatInt(n, 10) }

func (x *team) connection(owners map[string]bool) connectors.Connection {
	c := connectors.Connection{Name: schemas.Name{Type: TypeTeam, SourceName: x.slug}, NativeID: id(x.id), Payload: x.payload(), Protected: x.protected()}
	hold := func(typ, name string, target int64, privilege string, state connectors.EntitlementState) {
		c.Entitlements = append(c.Entitlements, connectors.Entitlement{Target: schemas.Name{Type: typ, SourceName: name}, TargetID: id(target),
			Privilege: privilege, State: state})
	}
	people := func(list map[string]person, state connectors.EntitlementState) {
		for login, p := range list {
			hold(TypeUser, login, p.id, member, state)
			if p.maintainer && !owners[login] {
				hold(TypeUser, login, p.id, maintainer, state)
			}
		}
	}
	people(x.members, "")
	people(x.invited, connectors.StateInvited)
	for name, h := range x.repositories {
		if h.direct {
			for _, role := range included(h.role) {
				hold(TypeRepository, name, h.id, role, "")
			}
		}
	}
	if x.parent != nil {
		hold(TypeTeam, x.parent.slug, x.parent.id, member, "")
	}
	return c
}

// List returns teams, repositories, or the organisation's members and those who are invited to it. Where the config
// lets granting invite, an account outside of it is found by its name.
func (r *reader) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	if err := r.ready(ctx, opList); err != nil {
		return connectors.Page{}, err
	}
	if q.Cursor == "" || r.listedType != q.Type || r.listed == nil {
		items, err := r.items(ctx, q.Type)
		if err != nil {
			return connectors.Page{}, err
		}
		r.listed, r.listedType = items, q.Type
	}
	items := slices.Clone(r.listed)
	if q.Names != nil {
		named := map[string]bool{}
		for _, n := range q.Names {
			if q.Type != TypeOrganisationRole { // their names alone are told apart by case
				n = strings.ToLower(n)
			}
			named[n] = true
		}
		items = slices.DeleteFunc(items, func(i connectors.Item) bool { return !named[i.SourceName] })
		if r.invite && q.Type == TypeUser {
			for _, i := range items {
				delete(named, i.SourceName)
			}
			strangers, err := r.accounts(ctx, slices.Sorted(maps.Keys(named)))
			if err != nil {
				return connectors.Page{}, err
			}
			items = append(items, strangers...)
		}
	}
	page := connectors.PageOf(items, q)
	if page.Next == "" {
		r.listed = nil
	}
	return page, nil
}

func (r *reader) items(ctx context.Context, typ string) ([]connectors.Item, error) {
	switch typ {
	case TypeTeam:
		return r.lookUp(ctx, typ, "teams", "name: slug databaseId", "")
	case TypeOrganisationRole:
		if r.roles {
			return r.listRoles(ctx)
		}
	case TypeRepository:
		return r.lookUp(ctx, typ, "repositories", "name databaseId", "")
	case TypeUser:
		members, err := r.lookUp(ctx, typ, "membersWithRole", "name: login databaseId", "")
		if err != nil {
			return nil, err
		}
		invited, err := r.lookUp(ctx, typ, "pendingMembers", "name: login databaseId", connectors.StateInvited)
		if err != nil {
			return nil, err
		}
		return append(members, invited...), nil
	}
	return nil, &connectors.Error{Code: connectors.Unsupported, Op: opList, Message: "GitHub has no " + strconv.QuoteToASCII(typ) + " that could be listed"}
}

// lookUp lists one of the organisation's lists.
func (r *reader) lookUp(ctx context.Context, typ, field, fields string, state connectors.EntitlementState) ([]connectors.Item, error) {
	text := `query($org: String!, $after: String) { organization(login: $org) { list: ` + field +
		`(first: 100, after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes { ` + fields + ` } } } }`
	nodes, err := collect(opList, func(after any) (*connection[repository], error) {
		var data struct {
			Organization *struct{ List *connection[repository] }
		}
		if err := r.c.query(ctx, opList, text, map[string]any{"org": r.c.organisation, "after": after}, nil, &data); err != nil {
			return nil, err
		}
		if data.Organization == nil {
			return nil, strange(opList)
		}
		return data.Organization.List, nil
	})
	if err != nil {
		return nil, err
	}
	items := make([]connectors.Item, 0, len(nodes))
	for _, n := range nodes {
		if n.Name == "" || n.DatabaseID == nil {
			return nil, strange(opList)
		}
		i := connectors.Item{Name: schemas.Name{Type: typ, SourceName: strings.ToLower(n.Name)}, NativeID: id(*n.DatabaseID), State: state, Connection: typ == TypeTeam}
		if typ == TypeTeam {
			i.Protected = (&team{slug: n.Name}).protected()
		}
		items = append(items, i)
	}
	return items, nil
}

// accounts finds accounts of GitHub by their logins. Those that nobody has are left out.
func (r *reader) accounts(ctx context.Context, logins []string) ([]connectors.Item, error) {
	names := connectors.Names{}
	logins = slices.DeleteFunc(slices.Clone(logins), func(l string) bool { return names.Check(userNames(), l) != nil })
	var items []connectors.Item
	for batch := range slices.Chunk(logins, perPage) {
		var declare []string
		var fields strings.Builder
		variables := map[string]any{}
		for i, login := range batch {
			declare = append(declare, fmt.Sprintf("$u%d: String!", i))
			fmt.Fprintf(&fields, "u%d: user(login: $u%d) { login databaseId }\n", i, i)
			variables[fmt.Sprintf("u%d", i)] = login
		}
		var data map[string]*account
		absent := func(f fault) bool { return f.Type == "NOT_FOUND" && len(f.Path) == 1 }
		if err := r.c.query(ctx, opList, "query("+strings.Join(declare, ", ")+") { "+fields.String()+"}", variables, absent, &data); err != nil {
			return nil, err
		}
		for i := range batch {
			a, ok := data[fmt.Sprintf("u%d", i)]
			if !ok {
				return nil, strange(opList)
			}
			if a == nil {
				continue
			}
			if a.DatabaseID == nil {
				return nil, strange(opList)
			}
			items = append(items, connectors.Item{Name: schemas.Name{Type: TypeUser, SourceName: strings.ToLower(a.Login)}, NativeID: id(*a.DatabaseID)})
		}
	}
	return items, nil
}

// Normalize folds the names of accounts and repositories, and gives each level with those that it includes.
func (r *reader) Normalize(s connectors.State) (connectors.State, error) {
	return connectors.NormalizeWith(describe(r.custom, r.roles), s, func(c *connectors.Connection) error {
		var more []connectors.Entitlement
		for i := range c.Entitlements {
			e := &c.Entitlements[i]
			if e.Target.Type != TypeTeam {
				e.Target.SourceName = strings.ToLower(e.Target.SourceName)
			}
			implied := included(e.Privilege)
			if e.Target.Type == TypeUser && e.Privilege == maintainer {
				implied = []string{member}
			}
			for _, p := range implied {
				if p != e.Privilege {
					with := *e
					with.Privilege = p
					more = append(more, with)
				}
			}
		}
		c.Entitlements = append(c.Entitlements, more...)
		return nil
	})
}
