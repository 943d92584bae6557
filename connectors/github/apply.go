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

// Apply reads the teams that the operations are about, and carries them out one after the other: GitHub has
// no transactions. What several operations want of one team's role on one repository is done by one call.
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
	names := connectors.Names{}
	about := map[string]bool{}
	want := func(n *schemas.Name) {
		if n != nil && n.Type == TypeTeam && (names.Check(teamNames(), n.SourceName) == nil || strings.HasPrefix(n.SourceName, enterprise)) {
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
	b := &batch{writer: w, teams: t, ops: ops, checker: checker, failed: map[string]bool{}, done: map[string]bool{}, people: map[string]*standing{}, known: map[int64]bool{}}
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
	people       map[string]*standing // of the organisation, by login
	tries        int
	all          []connectors.Item // each team of the organisation; nil before they were listed
	roles        []*orgRole        // of the organisation; nil before they were read
	known        map[int64]bool    // of which of them it was read whom they were assigned to
}

// call is one call of REST that belongs to an operation.
func (b *batch) call(ctx context.Context, o *schemas.Operation, method, path string, body, v any) error {
	_, n, err := b.client.send(ctx, connectors.Title(o), method, path, nil, body, v)
	b.tries = max(b.tries, n)
	return err
}

// status is that of the answer that an error came as, 0 when there was none.
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
		return connectors.Refuse(o, connectors.Denied, "whether the team is there is not known: %s", b.doubt)
	case x == nil && o.Removes():
		return b.gone(ctx, o)
	case x == nil && o.Kind != schemas.OperationCreate:
		return connectors.Refuse(o, connectors.NotFound, "the team is not there")
	case x != nil && x.protected() != "":
		return connectors.Refuse(o, connectors.Denied, "%s", x.protected())
	case x != nil && o.NativeID != "" && o.NativeID != id(x.id):
		return connectors.Refuse(o, connectors.Conflict, "the slug stands for another team now (id %d)", x.id)
	case x != nil && x.hidden:
		return connectors.Refuse(o, connectors.Denied, "%s", x.doubt)
	case x != nil && x.doubt != "":
		return connectors.Refuse(o, connectors.Unavailable, "the team is not known whole: %s", x.doubt)
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

// gone refuses to take a team's slug for the team: with another slug, the team that was meant lives on.
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
			return connectors.Refuse(o, connectors.Conflict, "the team with the id %s has the slug %s now", o.NativeID, i.SourceName)
		}
	}
	return nil
}

// answered is what GitHub says of a team that was made or changed.
type answered struct {
	ID   *int64 `json:"id"`
	Slug string `json:"slug"`
}

// attributes are those of an operation in GitHub's words, where they differ from what is there.
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
		// It was made already, perhaps with its answer lost, so not with all that belongs to it.
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
		// Nothing says whether it was made.
		if again := b.call(ctx, o, http.MethodGet, b.client.team(slug), nil, &made); again != nil {
			return err
		}
		if made.Slug != slug {
			return strange(connectors.Title(o)) // that is none of what we asked for, so none of ours to delete
		}
		err = nil
	}
	if err != nil {
		if status(err) == http.StatusUnprocessableEntity && strings.Contains(strings.ToLower(err.Error()), "unique") {
			return connectors.Refuse(o, connectors.Conflict, "GitHub has a team of that name under another slug, or one that the credential does not see")
		}
		return err
	}
	if made.ID == nil || made.Slug == "" {
		return strange(connectors.Title(o))
	}
	if made.Slug != slug {
		if err := b.call(ctx, o, http.MethodDelete, b.client.team(made.Slug), nil, nil); err != nil {
			return connectors.Refuse(o, connectors.Conflict, "GitHub gave the team the slug %s, and it could not be deleted again: delete it", strconv.QuoteToASCII(made.Slug))
		}
		return connectors.Refuse(o, connectors.Conflict, "GitHub would give the team the slug %s: ask for that name", strconv.QuoteToASCII(made.Slug))
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

// onlyMaker says whether a team looks as it does right after we made it.
func (b *batch) onlyMaker(x *team) bool {
	return len(x.members) == 1 && x.members[strings.ToLower(b.viewer)].maintainer && len(x.invited) == 0 && len(x.repositories) == 0 && x.parent == nil
}

// leave takes the account that made a team out of it: GitHub makes it the maintainer, and nobody asked for that.
func (b *batch) leave(ctx context.Context, o *schemas.Operation, x *team) error {
	login := strings.ToLower(b.viewer)
	if err := b.call(ctx, o, http.MethodDelete, b.client.team(x.slug, "memberships", login), nil, nil); err != nil && connectors.CodeOf(err) != connectors.NotFound {
		return fmt.Errorf("take %s, who made the team, out of it: %w", b.viewer, err)
	}
	delete(x.members, login)
	return nil
}

// set takes over the attributes of an operation that was carried out.
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
		return connectors.Refuse(o, connectors.Conflict, "the team lies in %s, and a team in or around another cannot be secret", x.parent.slug)
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

// delete takes the children out of the team first: GitHub would delete them with it.
func (b *batch) delete(ctx context.Context, o *schemas.Operation, x *team) error {
	children, err := list[struct {
		ID     int64    `json:"id"`
		Slug   string   `json:"slug"`
		Parent answered `json:"parent"`
	}](ctx, b.client, connectors.Title(o), b.client.team(x.slug, "teams"), nil)
	if connectors.CodeOf(err) == connectors.NotFound {
		if again := b.call(ctx, o, http.MethodGet, b.client.team(x.slug), nil, &answered{}); connectors.CodeOf(again) == connectors.NotFound {
			delete(b.bySlug, x.slug)
			return nil // it went meanwhile
		}
	}
	if err != nil {
		return err // whoever does not know the children must not delete them
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

// sameTarget refuses an operation that was planned for another target of that name. An id of 0 is not known.
func sameTarget(o *schemas.Operation, now int64) error {
	if o.TargetID != "" && now != 0 && o.TargetID != id(now) {
		return connectors.Refuse(o, connectors.Conflict, "the name stands for another %s now (id %d)", o.Target.Type, now)
	}
	return nil
}

func (b *batch) nest(ctx context.Context, o *schemas.Operation, x *team) error {
	above := b.bySlug[o.Target.SourceName]
	switch {
	case above == nil:
		return connectors.Refuse(o, connectors.NotFound, "the team %s is not there", o.Target.SourceName)
	case above.protected() != "":
		return connectors.Refuse(o, connectors.Denied, "%s: %s", above.slug, above.protected())
	case above == x:
		return connectors.Refuse(o, connectors.Invalid, "it would be a member of itself")
	}
	if err := sameTarget(o, above.id); err != nil {
		return err
	}
	switch {
	case x.parent != nil && x.parent.id == above.id:
		return nil
	case x.parent != nil:
		return connectors.Refuse(o, connectors.Conflict, "the team lies in %s, and has one parent at a time: revoke that first", x.parent.slug)
	case x.privacy == "secret", above.privacy == "secret":
		return connectors.Refuse(o, connectors.Conflict, "a team in or around another cannot be secret: set the privacy of both to closed")
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
		return connectors.Refuse(o, connectors.Conflict, "the team with the id %s has the slug %s now", o.TargetID, x.parent.slug)
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
