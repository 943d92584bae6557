package github

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// standing is what an account is in the organisation.
type standing struct {
	id    int64
	there bool // a member, or invited to be one
	// pending says that the invitation was not taken up.
	pending, owner bool
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
	err := b.call(ctx, o, http.MethodGet, path("orgs", b.client.organisation, "memberships", login), nil, &m)
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
		return connectors.Refuse(o, connectors.Conflict, "an owner of the organisation maintains each team that they are in: grant %s", member)
	case in && p.maintainer:
		return nil
	case !s.there && !b.invite:
		return connectors.Refuse(o, connectors.NotFound, "no such account is in the organisation %s. To add it to a team would invite it to the organisation: have an owner do that, or set invite: true in the application's config", b.client.organisation)
	case !s.there && o.TargetID != "":
		found, err := b.accounts(ctx, []string{login})
		if err != nil {
			return err
		}
		if len(found) != 1 || found[0].NativeID != o.TargetID {
			return connectors.Refuse(o, connectors.Conflict, "the name stands for another account now, or for none")
		}
	}
	role := map[string]string{member: "member", maintainer: "maintainer"}[o.Privilege]
	var m struct {
		Role  string `json:"role"`
		State string `json:"state"`
	}
	if err := b.call(ctx, o, http.MethodPut, b.client.team(x.slug, "memberships", login), map[string]any{"role": role}, &m); err != nil {
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
				return connectors.Refuse(o, connectors.Conflict, "the account with the id %s has the login %s now", o.TargetID, login)
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
		if err := b.call(ctx, o, http.MethodPut, b.client.team(x.slug, "memberships", login), map[string]any{"role": "member"}, &answered{}); err != nil {
			return b.synced(ctx, o, x, err)
		}
		list[login] = person{id: p.id}
		return nil
	}
	if err := b.call(ctx, o, http.MethodDelete, b.client.team(x.slug, "memberships", login), nil, nil); err != nil && connectors.CodeOf(err) != connectors.NotFound {
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
		if again := b.call(ctx, o, http.MethodGet, b.client.team(x.slug, kind...), nil, &answer); again != nil || len(answer.Groups) == 0 {
			continue
		}
		return &connectors.Error{Code: connectors.Unsupported, Op: connectors.Title(o), Err: err, Message: fmt.Sprintf(
			"the identity provider keeps the team's members in step with its group %s: change them there", strconv.QuoteToASCII(answer.Groups[0].Name))}
	}
	return err
}
