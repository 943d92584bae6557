package github

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
	"github.com/countersign/countersign/schemas"
)

type writer struct{ *reader }

// Apply reads the operations' teams, and carries out the operations one after the other: GitHub doesn't have
// transactions. Several operations on one team's role on one repository take one call.
func (w *writer) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	const op = "apply"
	d, err := w.Describe(ctx)
	if err != nil {
		return err
	}
	checker, err := connectors.NewChecker(d)
	if err != nil {
		return err
	}
	var slugs []string
	about := map[string]bool{}
	want := func(n *schemas.Name) {
		if n != nil && n.Type == TypeTeam && (teamNames().Check(n.SourceName) == nil || strings.HasPrefix(n.SourceName, enterprise)) {
			slugs = append(slugs, n.SourceName)
		}
	}
	for i := range ops {
		want(&ops[i].Connection)
		want(ops[i].Target)
		if ops[i].Connection.Type == TypeTeam {
			about[ops[i].Connection.SourceName] = true
		}
	}
	t, err := w.load(ctx, op, false, slugs, func(x *team) bool { return about[x.slug] })
	if err != nil {
		return err
	}
	b := &batch{writer: w, teams: t, ops: ops, checker: checker, failed: map[string]bool{}, done: map[string]bool{}, people: map[string]*membership{}, known: map[int64]bool{}}
	return connectors.Each(ctx, ops, checker, w.client.now, func(o connectors.Outcome) {
		b.failed[o.Operation], b.done[o.Operation] = o.Err != nil, true
		report(o)
	}, b.do)
}

// batch is one Apply.
type batch struct {
	*writer
	*teams
	ops          []schemas.Operation
	checker      *connectors.Checker
	failed, done map[string]bool
	people       map[string]*membership // of the organisation, by login
	tries        int
	all          []schemas.Item // all teams of the organisation; nil until listed
	roles        []*orgRole     // of the organisation; nil until read
	known        map[int64]bool // roles whose assignments have been read
}

// call is one call of REST that belongs to an operation.
func (b *batch) call(ctx context.Context, o *schemas.Operation, method, path string, body, v any) error {
	_, n, err := b.client.send(ctx, connectors.Title(o), method, path, nil, body, v)
	b.tries = max(b.tries, n)
	return err
}

// status returns the status of the answer that caused an error, or 0.
func status(err error) int {
	var answer *rest.StatusError
	if errors.As(err, &answer) {
		return answer.Status
	}
	return 0
}

func (b *batch) do(ctx context.Context, o *schemas.Operation) (int, error) {
	b.tries = 1
	err := b.one(ctx, o)
	return b.tries, err
}

func (b *batch) one(ctx context.Context, o *schemas.Operation) error {
	if o.Connection.Type == TypeOrganisationRole {
		return b.assign(ctx, o)
	}
	x := b.bySlug[o.Connection.SourceName]
	switch {
	case x == nil && o.Removes() && b.doubt != "" && !b.bot(): // Apps see all teams
		return connectors.Refuse(o, connectors.Denied, "the team's existence is unknown: %s", b.doubt)
	case x == nil && o.Removes():
		return b.gone(ctx, o)
	case x == nil && o.Kind != schemas.OperationCreate:
		return connectors.Refuse(o, connectors.NotFound, "team not found")
	case x != nil && x.protected() != "":
		return connectors.Refuse(o, connectors.Denied, "%s", x.protected())
	case x != nil && o.NativeID != "" && o.NativeID != id(x.id):
		return connectors.Refuse(o, connectors.Conflict, "the slug now belongs to another team (id %d)", x.id)
	case x != nil && x.hidden:
		return connectors.Refuse(o, connectors.Denied, "%s", x.doubt)
	case x != nil && x.doubt != "":
		return connectors.Refuse(o, connectors.Unavailable, "the team could not be read completely: %s", x.doubt)
	}
	switch o.Kind {
	case schemas.OperationCreate:
		return b.create(ctx, o, x)
	case schemas.OperationUpdate:
		return b.update(ctx, o, x)
	case schemas.OperationDelete:
		return b.delete(ctx, o, x)
	}
	grant := o.Kind == schemas.OperationGrant
	switch o.Target.Type {
	case TypeUser:
		if grant {
			return b.addMember(ctx, o, x)
		}
		return b.removeMember(ctx, o, x)
	case TypeRepository:
		if grant {
			return b.give(ctx, o, x)
		}
		return b.take(ctx, o, x)
	}
	if grant {
		return b.nest(ctx, o, x)
	}
	return b.unnest(ctx, o, x)
}

// gone refuses to conclude from a missing slug that the team is deleted: it may exist under another slug.
func (b *batch) gone(ctx context.Context, o *schemas.Operation) error {
	if o.NativeID == "" {
		return nil
	}
	if b.all == nil {
		var err error
		if b.all, err = b.items(ctx, TypeTeam); err != nil {
			return err
		}
	}
	for _, i := range b.all {
		if i.NativeID == o.NativeID {
			return connectors.Refuse(o, connectors.Conflict, "the team with the id %s now has the slug %s", o.NativeID, i.SourceName)
		}
	}
	return nil
}

// answered is GitHub's answer about a created or changed team.
type answered struct {
	ID   *int64 `json:"id"`
	Slug string `json:"slug"`
}

// attributes returns an operation's attributes in GitHub's terms, if they differ from the live ones.
func attributes(o *schemas.Operation, have map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range o.After {
		if v == nil || v == have[k] {
			continue
		}
		if k == "notifications" {
			k = "notification_setting"
			v = map[any]string{true: "notifications_enabled", false: "notifications_disabled"}[v]
		}
		out[k] = v
	}
	return out
}

func (b *batch) create(ctx context.Context, o *schemas.Operation, x *team) error {
	if x != nil {
		// It was created already, perhaps with a lost answer, so its attributes may be missing.
		if b.onlyMaker(x) {
			if err := b.leave(ctx, o, x); err != nil {
				return err
			}
		}
		return b.update(ctx, o, x)
	}
	slug := o.Connection.SourceName
	fresh := &team{slug: slug, privacy: "closed", notifications: true, members: map[string]person{}, invited: map[string]person{}, repositories: map[string]*holding{}}
	body := map[string]any{"name": slug, "description": "", "privacy": "closed", "notification_setting": "notifications_enabled"}
	maps.Copy(body, attributes(o, nil))
	var made answered
	err := b.call(ctx, o, http.MethodPost, path("orgs", b.client.organisation, "teams"), body, &made)
	if connectors.CodeOf(err) == connectors.Unavailable {
		// Whether it was created is unknown.
		if again := b.call(ctx, o, http.MethodGet, b.client.team(slug), nil, &made); again != nil {
			return err
		}
		if made.Slug != slug {
			return strange(connectors.Title(o)) // it isn't the requested one, so it isn't ours to delete
		}
		err = nil
	}
	if err != nil {
		if status(err) == http.StatusUnprocessableEntity && strings.Contains(strings.ToLower(err.Error()), "unique") {
			return connectors.Obstruct(o, "the other team", "GitHub has a team of that name under another slug, or one that isn't visible to the credential")
		}
		return err
	}
	if made.ID == nil || made.Slug == "" {
		return strange(connectors.Title(o))
	}
	if made.Slug != slug {
		if err := b.call(ctx, o, http.MethodDelete, b.client.team(made.Slug), nil, nil); err != nil {
			return connectors.Obstruct(o, "team "+made.Slug, "GitHub gave the new team the slug %s, and deleting it failed: delete it", strconv.QuoteToASCII(made.Slug))
		}
		return connectors.Obstruct(o, "slug "+made.Slug, "GitHub would give the team the slug %s: request that name", strconv.QuoteToASCII(made.Slug))
	}
	fresh.id = *made.ID
	fresh.set(o.After)
	b.bySlug[slug] = fresh
	if b.bot() {
		return nil
	}
	fresh.members[strings.ToLower(b.viewer)] = person{maintainer: true}
	return b.leave(ctx, o, fresh)
}

// onlyMaker reports whether a team looks as it does right after its creation by us.
func (b *batch) onlyMaker(x *team) bool {
	return len(x.members) == 1 && x.members[strings.ToLower(b.viewer)].maintainer && len(x.invited) == 0 && len(x.repositories) == 0 && x.parent == nil
}

// leave removes the account that created a team from it: GitHub makes it the maintainer, which wasn't requested.
func (b *batch) leave(ctx context.Context, o *schemas.Operation, x *team) error {
	login := strings.ToLower(b.viewer)
	if err := b.call(ctx, o, http.MethodDelete, b.client.team(x.slug, "memberships", login), nil, nil); err != nil && connectors.CodeOf(err) != connectors.NotFound {
		return fmt.Errorf("remove %s, who created the team, from it: %w", b.viewer, err)
	}
	delete(x.members, login)
	return nil
}

// set stores the attributes of a successful operation.
func (x *team) set(after map[string]any) {
	for k, v := range after {
		switch v := v.(type) {
		case bool:
			x.notifications = v
		case string:
			if k == "privacy" {
				x.privacy = v
			} else {
				x.description = v
			}
		}
	}
}

func (b *batch) update(ctx context.Context, o *schemas.Operation, x *team) error {
	body := attributes(o, x.payload())
	if len(body) == 0 {
		return nil
	}
	if body["privacy"] == "secret" && x.parent != nil {
		return connectors.Obstruct(o, "team "+x.parent.slug, "the team is a child of %s, and nested teams can't be secret", x.parent.slug)
	}
	var changed answered
	if err := b.call(ctx, o, http.MethodPatch, b.client.team(x.slug), body, &changed); err != nil {
		return err
	}
	if changed.ID == nil || *changed.ID != x.id {
		return strange(connectors.Title(o))
	}
	x.set(o.After)
	return nil
}

// delete removes the children from the team first: GitHub would delete them with it.
func (b *batch) delete(ctx context.Context, o *schemas.Operation, x *team) error {
	children, err := list[struct {
		ID     int64    `json:"id"`
		Slug   string   `json:"slug"`
		Parent answered `json:"parent"`
	}](ctx, b.client, connectors.Title(o), b.client.team(x.slug, "teams"), nil)
	if connectors.CodeOf(err) == connectors.NotFound {
		if again := b.call(ctx, o, http.MethodGet, b.client.team(x.slug), nil, &answered{}); connectors.CodeOf(again) == connectors.NotFound {
			delete(b.bySlug, x.slug)
			return nil // deleted meanwhile
		}
	}
	if err != nil {
		return err // unknown children must not be deleted
	}
	for _, c := range children {
		if c.Parent.ID == nil || *c.Parent.ID != x.id {
			continue // a child of a child
		}
		if err := b.call(ctx, o, http.MethodPatch, b.client.team(c.Slug), map[string]any{"parent_team_id": nil}, &answered{}); err != nil {
			return err
		}
		if child := b.bySlug[c.Slug]; child != nil {
			child.parent = nil
		}
	}
	if err := b.call(ctx, o, http.MethodDelete, b.client.team(x.slug), nil, nil); err != nil && connectors.CodeOf(err) != connectors.NotFound {
		return err
	}
	delete(b.bySlug, x.slug)
	return nil
}

// sameTarget refuses an operation that was planned for another target of that name. An id of 0 is unknown.
func sameTarget(o *schemas.Operation, now int64) error {
	if o.TargetID != "" && now != 0 && o.TargetID != id(now) {
		return connectors.Refuse(o, connectors.Conflict, "the name now belongs to another %s (id %d)", o.Target.Type, now)
	}
	return nil
}

func (b *batch) nest(ctx context.Context, o *schemas.Operation, x *team) error {
	above := b.bySlug[o.Target.SourceName]
	switch {
	case above == nil:
		return connectors.Refuse(o, connectors.NotFound, "team %s not found", o.Target.SourceName)
	case above.protected() != "":
		return connectors.Refuse(o, connectors.Denied, "%s: %s", above.slug, above.protected())
	case above == x:
		return connectors.Refuse(o, connectors.Invalid, "a team can't be a member of itself")
	}
	if err := sameTarget(o, above.id); err != nil {
		return err
	}
	switch {
	case x.parent != nil && x.parent.id == above.id:
		return nil
	case x.parent != nil:
		return connectors.Obstruct(o, "team "+x.parent.slug, "the team is a child of %s, and a team has one parent: revoke that first", x.parent.slug)
	case x.privacy == "secret", above.privacy == "secret":
		return connectors.Obstruct(o, "privacy: secret", "nested teams can't be secret: set the privacy of both to closed")
	}
	var changed answered
	if err := b.call(ctx, o, http.MethodPatch, b.client.team(x.slug), map[string]any{"parent_team_id": above.id}, &changed); err != nil {
		return err
	}
	x.parent = &parent{id: above.id, slug: above.slug}
	return nil
}

func (b *batch) unnest(ctx context.Context, o *schemas.Operation, x *team) error {
	if x.parent != nil && x.parent.slug != o.Target.SourceName && o.TargetID == id(x.parent.id) {
		return connectors.Refuse(o, connectors.Conflict, "the team with the id %s now has the slug %s", o.TargetID, x.parent.slug)
	}
	if x.parent == nil || x.parent.slug != o.Target.SourceName {
		return nil
	}
	if err := sameTarget(o, x.parent.id); err != nil {
		return err
	}
	if err := b.call(ctx, o, http.MethodPatch, b.client.team(x.slug), map[string]any{"parent_team_id": nil}, &answered{}); err != nil {
		return err
	}
	x.parent = nil
	return nil
}
