package scim

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
	"github.com/countersign/countersign/schemas"
)

// target finds the member to add or remove. ok is false if it doesn't exist.
func (a *applying) target(ctx context.Context, s *step) (id string, ok bool, err error) {
	if s.Kind == schemas.OperationRevoke && s.TargetID != "" {
		return s.TargetID, true, nil // a member is its id, whatever its name is now, and whether or not it can be seen
	}
	list, err := a.session.named(ctx, s.Target.Type, s.Target.SourceName)
	if err != nil {
		return "", false, err
	}
	name := s.Target.SourceName
	if s.Target.Type == typeUser {
		name = a.writer.fold(name)
	}
	t, err := connectors.Resolve(s.Target.Type, name, s.TargetID, list, account.key)
	switch {
	case err != nil:
		return "", false, connectors.During(s.Operation, err)
	case t.id == "" && s.TargetID != "":
		return "", false, a.renamed(ctx, s)
	}
	return t.id, t.id != "", nil
}

// renamed returns an error if the operation's target exists under another name.
func (a *applying) renamed(ctx context.Context, s *step) error {
	endpoint := map[string]string{typeUser: endUsers, typeGroup: endGroups, typePrincipal: endPrincipals}[s.Target.Type]
	_, _, there, err := a.writer.get(ctx, endpoint, s.TargetID)
	if err == nil && there {
		return s.refuse(connectors.Conflict, "the %s with id %s has another name now", s.Target.Type, strconv.QuoteToASCII(s.TargetID))
	}
	return err
}

// memberships carries out grants and revokes in the groups of one name, usually a single group.
func (a *applying) memberships(ctx context.Context, name string, steps []*step) {
	byID := map[string][]*step{}
	var ids []string
	for _, s := range steps {
		if err := s.guard(a.writer.reader); err != nil {
			s.fail(err)
			continue
		}
		id, there, err := a.pick(ctx, s, name, s.NativeID)
		switch {
		case err != nil:
			s.fail(err)
			continue
		case !there && s.Kind == schemas.OperationGrant:
			s.fail(s.refuse(connectors.NotFound, "group not found"))
			continue
		case !there:
			s.fail(nil) // no group, no membership
			continue
		}
		member, known, err := a.target(ctx, s)
		switch {
		case err != nil:
			s.fail(err)
		case !known && s.Kind == schemas.OperationGrant:
			s.fail(s.refuse(connectors.NotFound, "%s not found", s.Target.Type))
		case !known:
			s.fail(nil)
		case s.Kind == schemas.OperationGrant && member == id:
			s.fail(s.refuse(connectors.Invalid, "a group cannot be a member of itself"))
		default:
			s.id = member
			if byID[id] == nil {
				ids = append(ids, id)
			}
			byID[id] = append(byID[id], s)
		}
	}
	for _, id := range ids {
		a.writer.inGroup(ctx, id, name, byID[id])
	}
}

// inGroup carries out the changes of one group, in as few requests as the application allows.
func (w *writer) inGroup(ctx context.Context, id, name string, steps []*step) {
	limit := w.settings.profile.changes
	for round := 1; ; round++ {
		g, err := w.current(ctx, id, steps)
		if err == nil && g.name != name {
			err = &connectors.Error{Code: connectors.Conflict, Op: "change the group " + strconv.QuoteToASCII(name), Message: "the group was renamed or deleted in the meantime"}
			if g.id == "" {
				err = &connectors.Error{Code: connectors.NotFound, Op: "change the group " + strconv.QuoteToASCII(name), Message: "group not found"}
			}
		}
		var open []*step
		for _, s := range steps {
			switch {
			case s.done:
			case err != nil && connectors.CodeOf(err) == connectors.NotFound && s.Kind == schemas.OperationRevoke:
				s.fail(nil)
			case err != nil:
				s.fail(err)
			case g.has(s.id) == (s.Kind == schemas.OperationGrant):
				s.fail(nil)
			default:
				open = append(open, s)
			}
		}
		if len(open) == 0 {
			return
		}
		batch := open[:min(limit, len(open))]
		var c change
		for _, s := range batch {
			if s.Kind == schemas.OperationGrant {
				c.add = append(c.add, entry{s.id, s.Target.Type})
			} else {
				c.remove = append(c.remove, s.id)
			}
		}
		attempts, err := w.commit(ctx, "change members of the group "+strconv.QuoteToASCII(name), g, c)
		for _, s := range batch {
			s.attempts += attempts
		}
		var typed *connectors.Error
		switch code := connectors.CodeOf(err); {
		case err == nil:
			for _, s := range batch {
				s.fail(nil)
			}
			round = 0
		case ctx.Err() != nil || errors.As(err, &typed) && typed.RetryAfter > 0 || code == connectors.Unsupported || unknown(err):
			for _, s := range open { // the others would fail too
				s.fail(err)
			}
		case code == connectors.Unavailable:
			// It may have been carried out: the next round reads the group, and retries once.
			if round >= 2 {
				for _, s := range open {
					s.fail(err)
				}
				w.settled(ctx, id, open)
				return
			}
		case len(batch) == 1:
			batch[0].fail(err)
			round = 0
		default:
			limit = 1 // find the one that is rejected
			round = 0
		}
	}
}

// unknown reports whether the application rejects the credential itself.
func unknown(err error) bool {
	var status *rest.StatusError
	return errors.As(err, &status) && status.Status == http.StatusUnauthorized
}

// settled clears the error of steps that the group shows as done.
func (w *writer) settled(ctx context.Context, id string, steps []*step) {
	g, err := w.current(ctx, id, steps)
	if err != nil || g.id == "" {
		return
	}
	for _, s := range steps {
		if g.has(s.id) == (s.Kind == schemas.OperationGrant) {
			s.err = nil
		}
	}
}

// current reads a group with the members that the steps concern. It returns the zero group if there is none.
func (w *writer) current(ctx context.Context, id string, steps []*step) (group, error) {
	g, there, err := w.group(ctx, id)
	if err != nil || !there {
		return group{}, err
	}
	if w.settings.profile.members != membersByFilter {
		return g, nil
	}
	g.members = nil
	for _, s := range steps {
		if s.done {
			continue
		}
		in, err := w.holds(ctx, id, s.id)
		if err != nil {
			return group{}, err
		}
		if in {
			g.members = append(g.members, member{Value: text(s.id)})
		}
	}
	return g, nil
}
