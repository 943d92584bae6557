package github

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/connectors"
)

// team is the live state of a team.
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
	// doubt is the reason why the team may be incomplete, or "". hidden means that the credential doesn't see all.
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
	// inherited is the parent's role on it, or "".
	inherited string
	// direct means that the team was granted the repository itself.
	direct bool
}

// teams are loaded teams.
type teams struct {
	bySlug map[string]*team
	// doubt describes the part that the credential doesn't see.
	doubt string
}

// load reads teams and their ancestors. all reads every team; else those of the slugs. of selects the teams whose
// access must be exact.
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
		// A team's inherited access is known from its ancestors.
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
			x.doubt = "its parent " + x.parent.slug + " was not found"
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
		if err := r.client.query(ctx, op, text+teamPart()+"}", map[string]any{"org": r.client.organisation, "after": after}, nil, &data); err != nil {
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
	if err := r.client.query(ctx, op, text, map[string]any{"org": r.client.organisation}, nil, &data); err != nil {
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

// fetch reads parts of teams, and returns the remaining ones.
func (r *reader) fetch(ctx context.Context, op string, t *teams, parts []part) ([]part, error) {
	nodes, err := r.client.ask(ctx, op, parts)
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
			return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "team " + p.slug + " was deleted during the read"}
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
			return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "GitHub's pages form a cycle"}
		}
		next = append(next, *more)
	}
	return next, nil
}

// look remembers the credential's account, and what it doesn't see.
func (r *reader) look(op string, t *teams, viewer *account, n *organisationNode) error {
	if viewer.Login == "" || n.ViewerCanAdminister == nil || n.ViewerIsAMember == nil || !strings.EqualFold(n.Login, r.client.organisation) {
		return strange(op)
	}
	r.viewer = viewer.Login
	if !r.bot() && !*n.ViewerCanAdminister {
		t.doubt = "the token's account isn't an owner of the organisation, so it sees only its own secret teams"
	}
	return nil
}

// sight finds out what an App doesn't see.
func (r *reader) sight(ctx context.Context, op string, t *teams) error {
	if !r.bot() {
		return nil
	}
	var answer struct {
		Selection string `json:"repository_selection"`
	}
	if _, _, err := r.client.send(ctx, op, http.MethodGet, "installation/repositories", url.Values{"per_page": {"1"}}, nil, &answer); err != nil {
		return err
	}
	switch answer.Selection {
	case "all":
	case "selected":
		t.doubt = "the App is installed on selected repositories only, so it doesn't see teams' roles on others"
	default:
		return strange(op)
	}
	return nil
}

// add stores the read part of a team. It returns the part that remains to be read, or nil.
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
			x.doubt, x.hidden = "the credential doesn't see the invitations of "+x.slug, true
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
			key := "\x00" + strconv.Itoa(len(x.invited)) // to an e-mail address: without an account, but counted
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

// count compares the read entries with GitHub's count, and drops those without a name.
func (x *team) count() {
	for _, c := range []struct {
		what      string
		got, want int
	}{{"members", len(x.members), x.gotMembers}, {"repositories", len(x.repositories), x.gotRepositories}, {"invitations", len(x.invited), x.gotInvitations}} {
		if c.got != c.want && x.doubt == "" {
			x.doubt = fmt.Sprintf("GitHub counts %d %s of %s and sent %d: somebody is changing the team, or the credential doesn't see all", c.want, c.what, x.slug, c.got)
		}
	}
	maps.DeleteFunc(x.invited, func(login string, _ person) bool { return strings.HasPrefix(login, "\x00") })
}

// exactRoles replaces roles from GraphQL by roles from REST, which names custom roles.
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
		}](ctx, r.client, op, r.client.team(slug, "repos"), nil)
		if err != nil {
			return err
		}
		if len(found) != len(x.repositories) && x.doubt == "" {
			x.doubt = "the access of " + slug + " changed during the read"
		}
		for _, f := range found {
			h := x.repositories[strings.ToLower(f.Name)]
			if f.Role == "" {
				return strange(op)
			}
			if h == nil || h.id != f.ID {
				x.doubt = "the access of " + slug + " changed during the read"
				continue
			}
			h.role = cmp.Or(map[string]string{"read": "pull", "write": "push"}[f.Role], f.Role)
		}
	}
	return nil
}

// inherit finds out which repositories were granted to teams directly.
func (r *reader) inherit(ctx context.Context, op string, t *teams, of func(*team) bool) error {
	unsure := map[string][]*team{}
	for _, x := range t.bySlug {
		around := t.around(x)
		for name, h := range x.repositories {
			// An ancestor's own list includes inherited repositories, so the nearest ancestor that has it decides.
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
		}](ctx, r.client, op, path("repos", r.client.organisation, name, "teams"), nil)
		if connectors.CodeOf(err) == connectors.NotFound {
			for _, x := range unsure[name] {
				x.doubt = "the repository " + name + " was deleted during the read, or the credential doesn't see its teams"
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

// around returns the ancestors of a team, the nearest first.
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
			_, _, err := r.client.send(ctx, op, http.MethodGet, r.client.team(slug, "memberships", login), nil, nil, &m)
			switch {
			case connectors.CodeOf(err) == connectors.NotFound:
				delete(x.invited, login) // withdrawn meanwhile
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
