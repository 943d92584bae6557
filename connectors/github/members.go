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

// membership is an account's membership of the organisation.
type membership struct {
	id    int64
	there bool // a member, or invited to be one
	// pending means that the invitation hasn't been accepted.
	pending, owner bool
}

// membershipOf returns an account's membership of the organisation.
func (b *batch) membershipOf(ctx context.Context, o *schemas.Operation, login string) (*membership, error) {
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
	s := &membership{}
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
	s, err := b.membershipOf(ctx, o, login)
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
		return connectors.Refuse(o, connectors.Unsupported, "an owner of the organisation maintains each of their teams: grant %s", member)
	case in && p.maintainer:
		return nil
	case !s.there && !b.invite:
		return connectors.Refuse(o, connectors.NotFound, "unknown account in the organisation %s. Adding it to a team would invite it to the organisation: ask an owner to do that, or set invite: true in the application's config", b.client.organisation)
	case !s.there && o.TargetID != "":
		found, err := b.accounts(ctx, []string{login})
		if err != nil {
			return err
		}
		if len(found) != 1 || found[0].NativeID != o.TargetID {
			return connectors.Refuse(o, connectors.Conflict, "the name now belongs to another account, or to none")
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
		delete(b.people, login) // after the invitation, GitHub returns the account
	}
	return nil
}

// otherName refuses to conclude from a missing login that the account is gone: it may be a member under another login.
func otherName(o *schemas.Operation, lists ...map[string]person) error {
	for _, list := range lists {
		for login, p := range list {
			if o.TargetID != "" && id(p.id) == o.TargetID {
				return connectors.Refuse(o, connectors.Conflict, "the account with the id %s now has the login %s", o.TargetID, login)
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
		s, err := b.membershipOf(ctx, o, login)
		if err != nil {
			return err
		}
		if s.owner {
			return nil // an owner maintains it anyway, and is shown as MEMBER
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

// synced distinguishes a team that an identity provider synchronises from a credential without the right: GitHub
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
		// If GitHub doesn't tell, the first refusal is returned.
		if again := b.call(ctx, o, http.MethodGet, b.client.team(x.slug, kind...), nil, &answer); again != nil || len(answer.Groups) == 0 {
			continue
		}
		return &connectors.Error{Code: connectors.Unsupported, Op: connectors.Title(o), Err: err, Message: fmt.Sprintf(
			"the identity provider synchronises the team's members with its group %s: change them there", strconv.QuoteToASCII(answer.Groups[0].Name))}
	}
	return err
}
