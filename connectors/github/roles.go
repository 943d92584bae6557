package github

import (
	"context"
	"net/http"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// orgRole is a role of the organisation, built-in or custom, with its assignments.
type orgRole struct {
	id   int64
	name string
	// users are by login in lower case, teams by slug: only direct assignments.
	users, teams map[string]int64
}

// assignment is a user or team that has a role. It tells direct from inherited ones.
type assignment struct {
	ID         int64  `json:"id"`
	Login      string `json:"login"`
	Slug       string `json:"slug"`
	Assignment string `json:"assignment"`
}

// orgRoles lists the roles, without assignments.
func (r *reader) orgRoles(ctx context.Context, op string) ([]*orgRole, error) {
	var answer struct {
		Total *int `json:"total_count"`
		Roles []struct {
			ID   int64  `json:"id"`
			Name string `json:"name"`
		} `json:"roles"`
	}
	if _, _, err := r.client.send(ctx, op, http.MethodGet, path("orgs", r.client.organisation, "organization-roles"), nil, nil, &answer); err != nil {
		return nil, err
	}
	if answer.Total == nil || *answer.Total != len(answer.Roles) {
		return nil, strange(op)
	}
	var out []*orgRole
	for _, a := range answer.Roles {
		if a.ID == 0 || a.Name == "" {
			return nil, strange(op)
		}
		out = append(out, &orgRole{id: a.ID, name: a.Name, users: map[string]int64{}, teams: map[string]int64{}})
	}
	return out, nil
}

// assigned reads a role's assignments.
func (r *reader) assigned(ctx context.Context, op string, x *orgRole) error {
	for kind, to := range map[string]map[string]int64{"users": x.users, "teams": x.teams} {
		found, err := list[assignment](ctx, r.client, op, path("orgs", r.client.organisation, "organization-roles", id(x.id), kind), nil)
		if err != nil {
			return err
		}
		for _, a := range found {
			name := a.Slug
			if kind == "users" {
				name = strings.ToLower(a.Login)
			}
			switch {
			case name == "" || a.ID == 0:
				return strange(op)
			case a.Assignment != "indirect":
				to[name] = a.ID
			}
		}
	}
	return nil
}

func (x *orgRole) connection() schemas.Connection {
	c := schemas.Connection{Name: schemas.Name{Type: TypeOrganisationRole, SourceName: x.name}, NativeID: id(x.id)}
	for typ, list := range map[string]map[string]int64{TypeUser: x.users, TypeTeam: x.teams} {
		for name, target := range list {
			c.Entitlements = append(c.Entitlements, schemas.Entitlement{Target: schemas.Name{Type: typ, SourceName: name}, TargetID: id(target), Privilege: member})
		}
	}
	return c
}

// role finds the role that an operation is about.
func (b *batch) role(ctx context.Context, o *schemas.Operation) (*orgRole, error) {
	if b.roles == nil {
		all, err := b.orgRoles(ctx, connectors.Title(o))
		if err != nil {
			return nil, err
		}
		b.roles = append([]*orgRole{}, all...)
	}
	x, err := connectors.Resolve("role", o.Connection.SourceName, o.NativeID, b.roles, func(x *orgRole) (name, native string) { return x.name, id(x.id) })
	switch {
	case err != nil:
		return nil, connectors.During(o, err)
	case x == nil && o.Removes():
		return nil, nil
	case x == nil:
		return nil, connectors.Refuse(o, connectors.NotFound, "unknown role of the organisation")
	}
	if !b.known[x.id] {
		if err := b.assigned(ctx, connectors.Title(o), x); err != nil {
			return nil, err
		}
		b.known[x.id] = true
	}
	return x, nil
}

// assign assigns a role to a user or team, or removes it.
func (b *batch) assign(ctx context.Context, o *schemas.Operation) error {
	x, err := b.role(ctx, o)
	if err != nil || x == nil {
		return err
	}
	kind, name, holders := "teams", o.Target.SourceName, x.teams
	if o.Target.Type == TypeUser {
		kind, name, holders = "users", strings.ToLower(name), x.users
	}
	at := path("orgs", b.client.organisation, "organization-roles", kind, name, id(x.id))
	has, holds := holders[name]
	if holds {
		if err := sameTarget(o, has); err != nil {
			return err
		}
	}
	grant := o.Kind == schemas.OperationGrant
	if holds == grant {
		for now, other := range holders {
			if !grant && o.TargetID == id(other) {
				return connectors.Refuse(o, connectors.Conflict, "the %s with the id %s is now named %s", o.Target.Type, o.TargetID, now)
			}
		}
		return nil
	}
	if !grant {
		if err := b.call(ctx, o, http.MethodDelete, at, nil, nil); err != nil && connectors.CodeOf(err) != connectors.NotFound {
			return err
		}
		delete(holders, name)
		return nil
	}
	var target int64
	if o.Target.Type == TypeUser {
		s, err := b.membershipOf(ctx, o, name)
		switch {
		case err != nil:
			return err
		case !s.there:
			return connectors.Refuse(o, connectors.NotFound, "unknown account in the organisation %s", b.client.organisation)
		case s.pending:
			return connectors.Obstruct(o, "the pending invitation", "the account hasn't accepted its invitation to the organisation yet, and can't have roles until then")
		}
		target = s.id
	} else {
		t := b.bySlug[name]
		if t == nil {
			return connectors.Refuse(o, connectors.NotFound, "team not found")
		}
		target = t.id
	}
	if err := sameTarget(o, target); err != nil {
		return err
	}
	if err := b.call(ctx, o, http.MethodPut, at, nil, nil); err != nil {
		return err
	}
	holders[name] = target
	return nil
}

// readRoles adds the selected roles to a state.
func (r *reader) readRoles(ctx context.Context, selected func(schemas.Name, string) bool, state *schemas.State) error {
	all, err := r.orgRoles(ctx, opRead)
	if err != nil {
		return err
	}
	for _, x := range all {
		if !selected(schemas.Name{Type: TypeOrganisationRole, SourceName: x.name}, id(x.id)) {
			continue
		}
		if err := r.assigned(ctx, opRead, x); err != nil {
			return err
		}
		state.Connections = append(state.Connections, x.connection())
	}
	return nil
}

func (r *reader) listRoles(ctx context.Context) ([]schemas.Item, error) {
	all, err := r.orgRoles(ctx, opList)
	if err != nil {
		return nil, err
	}
	var items []schemas.Item
	for _, x := range all {
		items = append(items, schemas.Item{Name: schemas.Name{Type: TypeOrganisationRole, SourceName: x.name}, NativeID: id(x.id), Connection: true})
	}
	return items, nil
}
