package github

import (
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
	opList = "list the organisation's objects"
)

type reader struct {
	client *client
	invite bool
	roles  bool // those of the organisation are read and assigned
	// custom are the organisation's own repository roles; exact means that GraphQL wouldn't show them. Both are known
	// once described is set.
	custom           []string
	exact, described bool
	version, server  string
	// viewer is the credential's account; bot means that it is an App. Both are known once a team was read.
	viewer string
	lister connectors.Lister
}

func (r *reader) bot() bool { return strings.HasSuffix(r.viewer, "[bot]") }

// Close does nothing: a session doesn't exist.
func (r *reader) Close() error { return nil }

// Describe adds the organisation's custom roles.
func (r *reader) Describe(ctx context.Context) (schemas.Description, error) {
	if err := r.customRoles(ctx); err != nil {
		return schemas.Description{}, err
	}
	d := describe(r.custom, r.roles)
	d.Version = r.version
	d.Server = r.server
	return d, nil
}

// customRoles reads the custom roles on repositories. If GitHub doesn't know the call, they don't exist; if the call
// is denied, they may exist, and only REST shows them.
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
	resp, _, err := r.client.send(ctx, op, http.MethodGet, path("orgs", r.client.organisation, "custom-repository-roles"), nil, nil, &answer)
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

// owners returns the logins of the organisation's owners, in lower case.
func (r *reader) owners(ctx context.Context, op string) (map[string]bool, error) {
	found, err := list[struct {
		Login string `json:"login"`
	}](ctx, r.client, op, path("orgs", r.client.organisation, "members"), url.Values{"role": {"admin"}})
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for _, f := range found {
		out[strings.ToLower(f.Login)] = true
	}
	return out, nil
}

// Read returns the teams that the selection names. If a pattern may match any team, all are read.
func (r *reader) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
	all := sel.Everything() || len(sel.IDs[TypeTeam]) > 0 // GraphQL doesn't find teams by their numeric id
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
	selected := connectors.Selected(sel, nil)
	state := schemas.State{}
	roles := sel.Everything() || len(sel.Scope[TypeOrganisationRole]) > 0 || len(sel.IDs[TypeOrganisationRole]) > 0 ||
		slices.ContainsFunc(sel.Names, func(n schemas.Name) bool { return n.Type == TypeOrganisationRole })
	if r.roles && roles {
		if err := r.readRoles(ctx, selected, &state); err != nil {
			return schemas.State{}, err
		}
	}
	if !all && len(slugs) == 0 {
		state.Sort()
		return state, nil
	}
	wanted := func(x *team) bool { return selected(schemas.Name{Type: TypeTeam, SourceName: x.slug}, id(x.id)) }
	slugs = slices.DeleteFunc(slugs, func(s string) bool {
		return teamNames().Check(s) != nil && !strings.HasPrefix(s, enterprise)
	})
	t, err := r.load(ctx, opRead, all, slugs, wanted)
	if err != nil {
		return schemas.State{}, err
	}
	owners, err := r.owners(ctx, opRead)
	if err != nil {
		return schemas.State{}, err
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

// enterprise is the prefix of slugs of enterprise teams.
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

func (x *team) connection(owners map[string]bool) schemas.Connection {
	c := schemas.Connection{Name: schemas.Name{Type: TypeTeam, SourceName: x.slug}, NativeID: id(x.id), Payload: x.payload(), Protected: x.protected()}
	hold := func(typ, name string, target int64, privilege string, state schemas.EntitlementState) {
		c.Entitlements = append(c.Entitlements, schemas.Entitlement{Target: schemas.Name{Type: typ, SourceName: name}, TargetID: id(target),
			Privilege: privilege, State: state})
	}
	people := func(list map[string]person, state schemas.EntitlementState) {
		for login, p := range list {
			hold(TypeUser, login, p.id, member, state)
			if p.maintainer && !owners[login] {
				hold(TypeUser, login, p.id, maintainer, state)
			}
		}
	}
	people(x.members, "")
	people(x.invited, schemas.StateInvited)
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

// List returns teams, repositories, or the organisation's members and invited accounts. If the config allows
// invitations, an account outside the organisation is found by its name.
func (r *reader) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	same := strings.ToLower
	if q.Type == TypeOrganisationRole { // only their names are case-sensitive
		same = nil
	}
	return r.lister.Page(q, same, func() ([]schemas.Item, error) {
		items, err := r.items(ctx, q.Type)
		if err != nil || !r.invite || q.Type != TypeUser {
			return items, err
		}
		strangers := map[string]bool{}
		for _, n := range q.Names {
			strangers[strings.ToLower(n)] = true
		}
		for _, i := range items {
			delete(strangers, i.SourceName)
		}
		found, err := r.accounts(ctx, slices.Sorted(maps.Keys(strangers)))
		return append(items, found...), err
	})
}

func (r *reader) items(ctx context.Context, typ string) ([]schemas.Item, error) {
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
		invited, err := r.lookUp(ctx, typ, "pendingMembers", "name: login databaseId", schemas.StateInvited)
		if err != nil {
			return nil, err
		}
		return append(members, invited...), nil
	}
	return nil, &connectors.Error{Code: connectors.Unsupported, Op: opList, Message: "GitHub has no " + strconv.QuoteToASCII(typ) + " to list"}
}

// lookUp lists one of the organisation's lists.
func (r *reader) lookUp(ctx context.Context, typ, field, fields string, state schemas.EntitlementState) ([]schemas.Item, error) {
	text := `query($org: String!, $after: String) { organization(login: $org) { list: ` + field +
		`(first: 100, after: $after) { totalCount pageInfo { hasNextPage endCursor } nodes { ` + fields + ` } } } }`
	nodes, err := collect(opList, func(after any) (*connection[repository], error) {
		var data struct {
			Organization *struct{ List *connection[repository] }
		}
		if err := r.client.query(ctx, opList, text, map[string]any{"org": r.client.organisation, "after": after}, nil, &data); err != nil {
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
	items := make([]schemas.Item, 0, len(nodes))
	for _, n := range nodes {
		if n.Name == "" || n.DatabaseID == nil {
			return nil, strange(opList)
		}
		i := schemas.Item{Name: schemas.Name{Type: typ, SourceName: strings.ToLower(n.Name)}, NativeID: id(*n.DatabaseID), State: state, Connection: typ == TypeTeam}
		if typ == TypeTeam {
			i.Protected = (&team{slug: n.Name}).protected()
		}
		items = append(items, i)
	}
	return items, nil
}

// accounts finds accounts of GitHub by their logins. Unknown logins are left out.
func (r *reader) accounts(ctx context.Context, logins []string) ([]schemas.Item, error) {
	logins = slices.DeleteFunc(slices.Clone(logins), func(l string) bool { return userNames().Check(l) != nil })
	var items []schemas.Item
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
		if err := r.client.query(ctx, opList, "query("+strings.Join(declare, ", ")+") { "+fields.String()+"}", variables, absent, &data); err != nil {
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
			items = append(items, schemas.Item{Name: schemas.Name{Type: TypeUser, SourceName: strings.ToLower(a.Login)}, NativeID: id(*a.DatabaseID)})
		}
	}
	return items, nil
}

// Normalize folds the names of accounts and repositories, and adds the levels that each level includes.
func (r *reader) Normalize(s schemas.State) (schemas.State, error) {
	return connectors.NormalizeWith(describe(r.custom, r.roles), s, func(c *schemas.Connection) error {
		var more []schemas.Entitlement
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
