package github

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
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
	if err := w.ready(ctx, op); err != nil {
		return err
	}
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
	return connectors.Each(ctx, ops, checker, w.c.now, func(o connectors.Outcome) {
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
	all          []connectors.Item     // each team of the organisation; nil before they were listed
	roles        map[string][]*orgRole // of the organisation, by name; nil before they were read
	known        map[int64]bool        // of which of them it was read whom they were assigned to
}

// standing is what an account is in the organisation.
type standing struct {
	id    int64
	there bool // a member, or invited to be one
	// pending says that the invitation was not taken up.
	pending, owner bool
}

func refuse(code connectors.Code, o *schemas.Operation, format string, args ...any) error {
	return &connectors.Error{Code: code, Op: connectors.Title(o), Message: fmt.Sprintf(format, args...)}
}

// call is one call of REST that belongs to an operation.
func (b *batch) call(ctx context.Context, o *schemas.Operation, method, path string, body, v any) error {
	_, n, err := b.c.send(ctx, connectors.Title(o), method, path, nil, body, v)
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
		return refuse(connectors.Denied, o, "whether the team is there is not known: %s", b.doubt)
	case x == nil && o.Removes():
		return b.gone(ctx, o)
	case x == nil && o.Kind != schemas.OperationCreate:
		return refuse(connectors.NotFound, o, "the team is not there")
	case x != nil && x.protected() != "":
		return refuse(connectors.Denied, o, "%s", x.protected())
	case x != nil && o.NativeID != "" && o.NativeID != id(x.id):
		return refuse(connectors.Conflict, o, "the slug stands for another team now (id %d)", x.id)
	case x != nil && x.hidden:
		return refuse(connectors.Denied, o, "%s", x.doubt)
	case x != nil && x.doubt != "":
		return refuse(connectors.Unavailable, o, "the team is not known whole: %s", x.doubt)
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
			return refuse(connectors.Conflict, o, "the team with the id %s has the slug %s now", o.NativeID, i.SourceName)
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
	err := b.call(ctx, o, http.MethodPost, path("orgs", b.c.organisation, "teams"), body, &made)
	if connectors.CodeOf(err) == connectors.Unavailable {
		// Nothing says whether it was made.
		if again := b.call(ctx, o, http.MethodGet, b.c.team(slug), nil, &made); again != nil {
			return err
		}
		if made.Slug != slug {
			return strange(connectors.Title(o)) // that is none of what we asked for, so none of ours to delete
		}
		err = nil
	}
	if err != nil {
		if status(err) == http.StatusUnprocessableEntity && strings.Contains(strings.ToLower(err.Error()), "unique") {
			return refuse(connectors.Conflict, o, "GitHub has a team of that name under another slug, or one that the credential does not see")
		}
		return err
	}
	if made.ID == nil || made.Slug == "" {
		return strange(connectors.Title(o))
	}
	if made.Slug != slug {
		if err := b.call(ctx, o, http.MethodDelete, b.c.team(made.Slug), nil, nil); err != nil {
			return refuse(connectors.Conflict, o, "GitHub gave the team the slug %s, and it could not be deleted again: delete it", strconv.QuoteToASCII(made.Slug))
		}
		return refuse(connectors.Conflict, o, "GitHub would give the team the slug %s: ask for that name", strconv.QuoteToASCII(made.Slug))
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
	if err := b.call(ctx, o, http.MethodDelete, b.c.team(x.slug, "memberships", login), nil, nil); err != nil && connectors.CodeOf(err) != connectors.NotFound {
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
		return refuse(connectors.Conflict, o, "the team lies in %s, and a team in or around another cannot be secret", x.parent.slug)
	}
	var changed answered
	if err := b.call(ctx, o, http.MethodPatch, b.c.team(x.slug), body, &changed); err != nil {
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
	}](ctx, b.c, connectors.Title(o), b.c.team(x.slug, "teams"), nil)
	if connectors.CodeOf(err) == connectors.NotFound {
		if again := b.call(ctx, o, http.MethodGet, b.c.team(x.slug), nil, &answered{}); connectors.CodeOf(again) == connectors.NotFound {
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
		if err := b.call(ctx, o, http.MethodPatch, b.c.team(c.Slug), map[string]any{"parent_team_id": nil}, &answered{}); err != nil {
			return err
		}
		if child := b.bySlug[c.Slug]; child != nil {
			child.parent = nil
		}
	}
	if err := b.call(ctx, o, http.MethodDelete, b.c.team(x.slug), nil, nil); err != nil && connectors.CodeOf(err) != connectors.NotFound {
		return err
	}
	delete(b.bySlug, x.slug)
	return nil
}

// stands is what an account is in the organisation.
func (b *batch) stands(ctx context.Context, o *schemas.Operation, login string) (*standing, error) {
	if s := b.people[login]; s != nil {
		return s, nil
	}
	var m struct {
		State string `json:"state"`
		Role  string `json:"role"`
		User  *struct {
			ID int64 `json:"id"`
		} `json:"user"`
	}
	s := &standing{}
	err := b.call(ctx, o, http.MethodGet, path("orgs", b.c.organisation, "memberships", login), nil, &m)
	switch {
	case connectors.CodeOf(err) == connectors.NotFound:
	case err != nil:
		return nil, err
	case m.State != "active" && m.State != "pending" || m.User == nil:
		return nil, strange(connectors.Title(o))
	default:
		s.there, s.pending, s.owner, s.id = true, m.State == "pending", m.Role == "admin", m.User.ID
	}
	b.people[login] = s
	return s, nil
}

// sameTarget refuses an operation that was planned for another target of that name. An id of 0 is not known.
func sameTarget(o *schemas.Operation, now int64) error {
	if o.TargetID != "" && now != 0 && o.TargetID != id(now) {
		return refuse(connectors.Conflict, o, "the name stands for another %s now (id %d)", o.Target.Type, now)
	}
	return nil
}

func (b *batch) addMember(ctx context.Context, o *schemas.Operation, x *team) error {
	login := strings.ToLower(o.Target.SourceName)
	p, in := x.members[login]
	list := x.members
	if !in {
		if p, in = x.invited[login]; in {
			list = x.invited
		}
	}
	if in {
		if err := sameTarget(o, p.id); err != nil {
			return err
		}
		if o.Privilege == member && (p.id != 0 || o.TargetID == "") {
			return nil
		}
	}
	s, err := b.stands(ctx, o, login)
	if err != nil {
		return err
	}
	if err := sameTarget(o, s.id); err != nil {
		return err
	}
	switch {
	case in && o.Privilege == member:
		return nil
	case s.owner && o.Privilege == maintainer:
		return refuse(connectors.Conflict, o, "an owner of the organisation maintains each team that they are in: grant %s", member)
	case in && p.maintainer:
		return nil
	case !s.there && !b.invite:
		return refuse(connectors.NotFound, o, "no such account is in the organisation %s. To add it to a team would invite it to the organisation: have an owner do that, or set invite: true in the application's config", b.c.organisation)
	case !s.there && o.TargetID != "":
		found, err := b.accounts(ctx, []string{login})
		if err != nil {
			return err
		}
		if len(found) != 1 || found[0].NativeID != o.TargetID {
			return refuse(connectors.Conflict, o, "the name stands for another account now, or for none")
		}
	}
	role := map[string]string{member: "member", maintainer: "maintainer"}[o.Privilege]
	var m struct {
		Role  string `json:"role"`
		State string `json:"state"`
	}
	if err := b.call(ctx, o, http.MethodPut, b.c.team(x.slug, "memberships", login), map[string]any{"role": role}, &m); err != nil {
		return b.synced(ctx, o, x, err)
	}
	switch {
	case in:
	case m.State == "active":
		list = x.members
	case m.State == "pending":
		list = x.invited
	default:
		return strange(connectors.Title(o))
	}
	list[login] = person{id: s.id, maintainer: o.Privilege == maintainer || s.owner}
	if !s.there {
		delete(b.people, login) // now that it is invited, GitHub says who it is
	}
	return nil
}

// otherName refuses to take a login for the account: with another login, the account that was meant is still in.
func otherName(o *schemas.Operation, lists ...map[string]person) error {
	for _, list := range lists {
		for login, p := range list {
			if o.TargetID != "" && id(p.id) == o.TargetID {
				return refuse(connectors.Conflict, o, "the account with the id %s has the login %s now", o.TargetID, login)
			}
		}
	}
	return nil
}

func (b *batch) removeMember(ctx context.Context, o *schemas.Operation, x *team) error {
	login := strings.ToLower(o.Target.SourceName)
	list := x.members
	p, in := list[login]
	if !in {
		list = x.invited
		if p, in = list[login]; !in {
			return otherName(o, x.members, x.invited)
		}
	}
	if err := sameTarget(o, p.id); err != nil {
		return err
	}
	if o.Privilege != member {
		if !p.maintainer {
			return nil
		}
		s, err := b.stands(ctx, o, login)
		if err != nil {
			return err
		}
		if s.owner {
			return nil // as an owner they maintain it, and are shown as MEMBER
		}
		if err := b.call(ctx, o, http.MethodPut, b.c.team(x.slug, "memberships", login), map[string]any{"role": "member"}, &answered{}); err != nil {
			return b.synced(ctx, o, x, err)
		}
		list[login] = person{id: p.id}
		return nil
	}
	if err := b.call(ctx, o, http.MethodDelete, b.c.team(x.slug, "memberships", login), nil, nil); err != nil && connectors.CodeOf(err) != connectors.NotFound {
		return b.synced(ctx, o, x, err)
	}
	delete(list, login)
	return nil
}

// synced tells a team whose members an identity provider keeps from a credential that lacks the right: GitHub
// refuses both alike.
func (b *batch) synced(ctx context.Context, o *schemas.Operation, x *team, err error) error {
	if status(err) != http.StatusForbidden || connectors.CodeOf(err) != connectors.Denied {
		return err
	}
	for _, kind := range [][]string{{"external-groups"}, {"team-sync", "group-mappings"}} {
		var answer struct {
			Groups []struct {
				Name string `json:"group_name"`
			} `json:"groups"`
		}
		// Where GitHub does not say, the first refusal stands.
		if again := b.call(ctx, o, http.MethodGet, b.c.team(x.slug, kind...), nil, &answer); again != nil || len(answer.Groups) == 0 {
			continue
		}
		return &connectors.Error{Code: connectors.Unsupported, Op: connectors.Title(o), Err: err, Message: fmt.Sprintf(
			"the identity provider keeps the team's members in step with its group %s: change them there", strconv.QuoteToASCII(answer.Groups[0].Name))}
	}
	return err
}

// alike are the operations of the same kind, about the same team and repository, that would be carried out by now, of the custom
// roles only o's own: one call does them all.
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

// sameRepository holds the id of an operation to the repository that has the name.
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
	if err := b.call(ctx, o, http.MethodGet, path("repos", b.c.organisation, o.Target.SourceName), nil, &r); err != nil {
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
			return refuse(connectors.Conflict, o, "the team has the role %s on the repository, and has one at a time: revoke that first", strconv.QuoteToASCII(h.role))
		}
	}
	all := b.alike(o)
	return b.put(ctx, o, x, name, all[len(all)-1])
}

func (b *batch) take(ctx context.Context, o *schemas.Operation, x *team) error {
	name := strings.ToLower(o.Target.SourceName)
	h := x.repositories[name]
	if h == nil && b.doubt != "" {
		switch err := b.call(ctx, o, http.MethodGet, path("repos", b.c.organisation, name), nil, nil); {
		case connectors.CodeOf(err) == connectors.NotFound:
			return refuse(connectors.Denied, o, "whether the team has the repository is not known: %s", b.doubt)
		case err != nil:
			return err
		}
	}
	if h == nil && o.TargetID != "" {
		for now, other := range x.repositories {
			if other.direct && id(other.id) == o.TargetID {
				return refuse(connectors.Conflict, o, "the repository with the id %s is named %s now", o.TargetID, now)
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
		return nil // it is not held
	case have < 0:
		return b.put(ctx, o, x, name, "")
	}
	lowest := level(b.alike(o)[0])
	if lowest == 0 {
		return b.put(ctx, o, x, name, "")
	}
	if level(h.inherited) >= gone || h.inherited != "" && level(h.inherited) < 0 {
		return refuse(connectors.Conflict, o, "the team has it from its parent %s as well: revoke it there, or take the team out of that", x.parent.slug)
	}
	return b.put(ctx, o, x, name, levels()[lowest-1])
}

// put gives a team its role on a repository; "" takes the repository away.
func (b *batch) put(ctx context.Context, o *schemas.Operation, x *team, name, role string) error {
	at := b.c.team(x.slug, "repos", b.c.organisation, name)
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
		return refuse(connectors.NotFound, o, "the organisation %s has no such repository, or the credential does not see it", b.c.organisation)
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

func (b *batch) nest(ctx context.Context, o *schemas.Operation, x *team) error {
	above := b.bySlug[o.Target.SourceName]
	switch {
	case above == nil:
		return refuse(connectors.NotFound, o, "the team %s is not there", o.Target.SourceName)
	case above.protected() != "":
		return refuse(connectors.Denied, o, "%s: %s", above.slug, above.protected())
	case above == x:
		return refuse(connectors.Invalid, o, "it would be a member of itself")
	}
	if err := sameTarget(o, above.id); err != nil {
		return err
	}
	switch {
	case x.parent != nil && x.parent.id == above.id:
		return nil
	case x.parent != nil:
		return refuse(connectors.Conflict, o, "the team lies in %s, and has one parent at a time: revoke that first", x.parent.slug)
	case x.privacy == "secret", above.privacy == "secret":
		return refuse(connectors.Conflict, o, "a team in or around another cannot be secret: set the privacy of both to closed")
	}
	var changed answered
	if err := b.call(ctx, o, http.MethodPatch, b.c.team(x.slug), map[string]any{"parent_team_id": above.id}, &changed); err != nil {
		return err
	}
	x.parent = &parent{id: above.id, slug: above.slug}
	return nil
}

func (b *batch) unnest(ctx context.Context, o *schemas.Operation, x *team) error {
	if x.parent != nil && x.parent.slug != o.Target.SourceName && o.TargetID == id(x.parent.id) {
		return refuse(connectors.Conflict, o, "the team with the id %s has the slug %s now", o.TargetID, x.parent.slug)
	}
	if x.parent == nil || x.parent.slug != o.Target.SourceName {
		return nil
	}
	if err := sameTarget(o, x.parent.id); err != nil {
		return err
	}
	if err := b.call(ctx, o, http.MethodPatch, b.c.team(x.slug), map[string]any{"parent_team_id": nil}, &answered{}); err != nil {
		return err
	}
	x.parent = nil
	return nil
}
