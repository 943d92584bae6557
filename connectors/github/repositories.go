package github

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// alike returns the operations of the same kind on the same team and repository that are ready, of the custom roles
// only o's own: one call carries out all of them.
func (b *batch) alike(o *schemas.Operation) []string {
	out := []string{o.Privilege}
	if level(o.Privilege) < 0 {
		return out
	}
	for i := range b.ops {
		n := &b.ops[i]
		if n.Kind != o.Kind || n.Connection != o.Connection || n.Target == nil || n.Target.Type != TypeRepository || level(n.Privilege) < 0 ||
			!strings.EqualFold(n.Target.SourceName, o.Target.SourceName) || n.NativeID != o.NativeID || n.TargetID != o.TargetID || b.done[n.ID] {
			continue
		}
		free := func(id string) bool {
			listed := slices.ContainsFunc(b.ops, func(d schemas.Operation) bool { return d.ID == id })
			return !b.failed[id] && (b.done[id] || !listed)
		}
		if b.checker.Check(n) == nil && !slices.ContainsFunc(n.DependsOn, func(id string) bool { return !free(id) }) {
			out = append(out, n.Privilege)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return level(a) - level(b) })
	return out
}

// sameRepository compares an operation's id with the repository that has the name.
func (b *batch) sameRepository(ctx context.Context, o *schemas.Operation, h *holding) error {
	if o.TargetID == "" || h != nil && h.id != 0 {
		if h == nil {
			return nil
		}
		return sameTarget(o, h.id)
	}
	var r struct {
		ID int64 `json:"id"`
	}
	if err := b.call(ctx, o, http.MethodGet, path("repos", b.client.organisation, o.Target.SourceName), nil, &r); err != nil {
		return err
	}
	if r.ID == 0 {
		return strange(connectors.Title(o))
	}
	return sameTarget(o, r.ID)
}

func (b *batch) give(ctx context.Context, o *schemas.Operation, x *team) error {
	name := strings.ToLower(o.Target.SourceName)
	h := x.repositories[name]
	if err := b.sameRepository(ctx, o, h); err != nil {
		return err
	}
	if h != nil && h.direct {
		switch have, want := level(h.role), level(o.Privilege); {
		case h.role == o.Privilege, have >= want && want >= 0:
			return nil
		case have < 0 || want < 0:
			return connectors.Obstruct(o, "role "+h.role, "the team has the role %s on the repository, and can have only one: revoke that first", strconv.QuoteToASCII(h.role))
		}
	}
	all := b.alike(o)
	return b.put(ctx, o, x, name, all[len(all)-1])
}

func (b *batch) take(ctx context.Context, o *schemas.Operation, x *team) error {
	name := strings.ToLower(o.Target.SourceName)
	h := x.repositories[name]
	if h == nil && b.doubt != "" {
		switch err := b.call(ctx, o, http.MethodGet, path("repos", b.client.organisation, name), nil, nil); {
		case connectors.CodeOf(err) == connectors.NotFound:
			return connectors.Refuse(o, connectors.Denied, "the team's role on the repository is unknown: %s", b.doubt)
		case err != nil:
			return err
		}
	}
	if h == nil && o.TargetID != "" {
		for now, other := range x.repositories {
			if other.direct && id(other.id) == o.TargetID {
				return connectors.Refuse(o, connectors.Conflict, "the repository with the id %s is now named %s", o.TargetID, now)
			}
		}
	}
	if h == nil || !h.direct {
		return nil
	}
	if err := sameTarget(o, h.id); err != nil {
		return err
	}
	have, gone := level(h.role), level(o.Privilege)
	switch {
	case have < 0 && h.role != o.Privilege, have >= 0 && (gone < 0 || gone > have):
		return nil // not held
	case have < 0:
		return b.put(ctx, o, x, name, "")
	}
	lowest := level(b.alike(o)[0])
	if lowest == 0 {
		return b.put(ctx, o, x, name, "")
	}
	if level(h.inherited) >= gone || h.inherited != "" && level(h.inherited) < 0 {
		return connectors.Obstruct(o, "team "+x.parent.slug, "the team also inherits it from its parent %s: revoke it there, or remove the team from that", x.parent.slug)
	}
	return b.put(ctx, o, x, name, levels()[lowest-1])
}

// put sets a team's role on a repository; "" removes the repository.
func (b *batch) put(ctx context.Context, o *schemas.Operation, x *team, name, role string) error {
	at := b.client.team(x.slug, "repos", b.client.organisation, name)
	h := x.repositories[name]
	if role == "" {
		if err := b.call(ctx, o, http.MethodDelete, at, nil, nil); err != nil && connectors.CodeOf(err) != connectors.NotFound {
			return err
		}
		if h.direct = false; h.inherited == "" {
			delete(x.repositories, name)
		}
		return nil
	}
	err := b.call(ctx, o, http.MethodPut, at, map[string]any{"permission": role}, nil)
	if connectors.CodeOf(err) == connectors.NotFound {
		return connectors.Refuse(o, connectors.NotFound, "repository not found in the organisation %s, or not visible to the credential", b.client.organisation)
	}
	if err != nil {
		return err
	}
	if h == nil {
		h = &holding{}
		if n, err := strconv.ParseInt(o.TargetID, 10, 64); err == nil {
			h.id = n
		}
		x.repositories[name] = h
	}
	h.direct = true
	if h.role = role; level(h.inherited) > level(role) && level(role) >= 0 {
		h.role = h.inherited
	}
	return nil
}
