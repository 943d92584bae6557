package scim

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
	"github.com/countersign/countersign/schemas"
)

// writer changes an application.
type writer struct{ *reader }

var _ connectors.Writer = (*writer)(nil)

// Apply carries out creations, updates and deletions one by one, and the membership changes of a group together.
func (w *writer) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	d, err := w.describe(ctx)
	if err != nil {
		return err
	}
	checker, err := connectors.NewChecker(d)
	if err != nil {
		return err
	}
	a := applying{writer: w, session: newSession(w.reader), checker: checker, report: report, failed: connectors.Failures{}}
	for i := 0; i < len(ops); {
		n := together(ops[i:])
		if err := a.run(ctx, ops[i:i+n]); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// together returns how many leading operations can be sorted by group: membership changes of distinct members that
// don't depend on each other.
func together(ops []schemas.Operation) int {
	type edge struct{ connection, target schemas.Name }
	ids, edges := map[string]bool{}, map[edge]bool{}
	for i := range ops {
		o := &ops[i]
		if o.Kind != schemas.OperationGrant && o.Kind != schemas.OperationRevoke || o.Target == nil {
			return max(i, 1)
		}
		e := edge{o.Connection, *o.Target}
		if edges[e] || slices.ContainsFunc(o.DependsOn, func(id string) bool { return ids[id] }) {
			return i
		}
		ids[o.ID], edges[e] = true, true
	}
	return len(ops)
}

// applying is one Apply.
type applying struct {
	writer  *writer
	session *session
	checker *connectors.Checker
	report  func(connectors.Outcome)
	failed  connectors.Failures
}

// step is an operation in progress.
type step struct {
	*schemas.Operation
	started  time.Time
	attempts int
	err      error
	done     bool // it has an outcome or an error

	id string // the member's
}

func (s *step) fail(err error) { s.err, s.done = err, true }

// refuse returns an error about one operation.
func (s *step) refuse(code connectors.Code, format string, args ...any) *connectors.Error {
	return &connectors.Error{Code: code, Op: connectors.Title(s.Operation), Message: fmt.Sprintf(format, args...)}
}

// reportAll reports outcomes. It returns an error if the context ended or the application is unavailable: requests
// that were sent may have been carried out, and the remaining operations aren't tried.
func (a *applying) reportAll(ctx context.Context, steps ...*step) error {
	var unavailable error
	for _, s := range steps {
		if s.err != nil && ctx.Err() != nil {
			return connectors.Stopped(ctx, "apply")
		}
		if connectors.IsWhole(s.err) {
			unavailable = s.err
			continue
		}
		a.failed[s.ID] = s.err != nil
		attempts := max(s.attempts, 1)
		if connectors.CodeOf(s.err) == connectors.Blocked {
			attempts = 0
		}
		a.report(connectors.Outcome{Operation: s.ID, Attempts: attempts, Started: s.started, Finished: a.writer.settings.now(), Err: s.err})
	}
	return unavailable
}

func (a *applying) run(ctx context.Context, ops []schemas.Operation) error {
	var order []schemas.Name
	byGroup := map[schemas.Name][]*step{}
	for i := range ops {
		if err := connectors.Stopped(ctx, "apply"); err != nil {
			return err
		}
		s := &step{Operation: &ops[i], started: a.writer.settings.now()}
		if s.err = a.failed.Blocked(s.Operation); s.err == nil {
			s.err = a.checker.Check(s.Operation)
		}
		member := s.Kind == schemas.OperationGrant || s.Kind == schemas.OperationRevoke
		if s.err == nil && !member {
			s.attempts, s.err = a.one(ctx, s)
		}
		if s.err != nil || !member {
			if err := a.reportAll(ctx, s); err != nil {
				return err
			}
			continue
		}
		if byGroup[s.Connection] == nil {
			order = append(order, s.Connection)
		}
		byGroup[s.Connection] = append(byGroup[s.Connection], s)
	}
	a.prepare(ctx, byGroup)
	for _, n := range order {
		if err := connectors.Stopped(ctx, "apply"); err != nil {
			return err
		}
		steps := byGroup[n]
		for _, s := range steps {
			s.started = a.writer.settings.now()
		}
		a.memberships(ctx, n.SourceName, steps)
		if err := a.reportAll(ctx, steps...); err != nil {
			return err
		}
	}
	return nil
}

// prepare reads complete lists where many names are needed. It ignores errors: they're reported when a name is needed.
func (a *applying) prepare(ctx context.Context, byGroup map[schemas.Name][]*step) {
	if a.writer.settings.profile.paging == pagingNoLists {
		return
	}
	names := map[string]map[string]bool{typeUser: {}, typeGroup: {}, typePrincipal: {}}
	for n, steps := range byGroup {
		names[typeGroup][n.SourceName] = true
		for _, s := range steps {
			if names[s.Target.Type] != nil {
				names[s.Target.Type][s.Target.SourceName] = true
			}
		}
	}
	for typ, of := range names {
		if len(of) > few {
			_, _ = a.session.all(ctx, typ) // read again where it matters
		}
	}
}

// pick finds the group of an operation. The second result is false if there is none.
func (a *applying) pick(ctx context.Context, s *step, name, id string) (string, bool, error) {
	list, err := a.session.named(ctx, typeGroup, name)
	if err != nil {
		return "", false, err
	}
	g, err := connectors.Resolve(typeGroup, name, id, list, account.key)
	if err != nil || g.id != "" || id == "" {
		return g.id, g.id != "", connectors.During(s.Operation, err)
	}
	found, there, err := a.writer.group(ctx, id)
	if err != nil && connectors.CodeOf(err) != connectors.Unsupported {
		return "", false, err
	}
	if there && found.name != name {
		return "", false, s.refuse(connectors.Conflict, "the group with id %s is now named %s", strconv.QuoteToASCII(id), strconv.QuoteToASCII(found.name))
	}
	return id, there, nil
}

func (s *step) guard(r *reader) error {
	if why := r.protected(s.Connection.SourceName); why != "" {
		return s.refuse(connectors.Denied, "the group is protected: %s", why)
	}
	return nil
}

// one carries out a creation, an update or a deletion.
func (a *applying) one(ctx context.Context, s *step) (attempts int, err error) {
	if err := s.guard(a.writer.reader); err != nil {
		return 1, err
	}
	id, there, err := a.pick(ctx, s, s.Connection.SourceName, s.NativeID)
	switch {
	case err != nil:
		return 1, err
	case s.Kind == schemas.OperationDelete && !there:
		return 1, nil
	case s.Kind == schemas.OperationDelete:
		return a.remove(ctx, s, id)
	case there:
		return a.writer.update(ctx, s, id)
	case s.Kind == schemas.OperationCreate && s.NativeID == "":
		return a.create(ctx, s)
	}
	return 1, s.refuse(connectors.NotFound, "group not found")
}

func (a *applying) remove(ctx context.Context, s *step, id string) (int, error) {
	_, n, err := a.writer.http.Do(ctx, rest.Request{Op: connectors.Title(s.Operation), Method: http.MethodDelete, Path: endGroups + "/" + url.PathEscape(id)})
	a.session.forget(s.Connection.SourceName)
	if connectors.CodeOf(err) == connectors.NotFound {
		err = nil // another writer deleted it first
	}
	return n, err
}

func (a *applying) create(ctx context.Context, s *step) (int, error) {
	name := s.Connection.SourceName
	body := map[string]any{"schemas": []string{groupSchema}, "displayName": name}
	if v, ok := s.After["external_id"].(string); ok && v != "" {
		body["externalId"] = v
	}
	// Members are never sent: some applications ignore them silently.
	resp, n, err := a.writer.http.Do(ctx, rest.Request{Op: connectors.Title(s.Operation), Method: http.MethodPost, Path: endGroups, Body: body})
	a.session.forget(name)
	switch code := connectors.CodeOf(err); {
	case err == nil:
		made, bad := decodeGroup(resp.Body)
		switch {
		case bad == nil && made.id != "" && made.name == name:
			a.session.found[s.Connection] = []account{{id: made.id, name: name}}
			return n, nil
		case bad == nil && made.id != "" && made.name != "":
			return n, s.refuse(connectors.Invalid, "the application renamed the group to %s (id %s); request a name that it keeps, and delete this group",
				strconv.QuoteToASCII(made.name), strconv.QuoteToASCII(made.id))
		}
		// The answer lacks the group: it is looked up when needed.
		return n, nil
	case code == connectors.Conflict, code == connectors.Unavailable && ctx.Err() == nil:
		// Another writer created it in the meantime, or we did and the answer was lost.
		id, there, again := a.pick(ctx, s, name, "")
		switch {
		case again == nil && there:
			m, err := a.writer.update(ctx, s, id)
			return n + m, err
		case code == connectors.Conflict && again == nil:
			return n, connectors.Obstruct(s.Operation, "the other group", "the application reports that the name is taken but shows no such group; there may be one that differs in case or is hidden from this credential")
		}
	}
	return n, err
}

// update sets the attributes of a group.
func (w *writer) update(ctx context.Context, s *step, id string) (attempts int, err error) {
	want, ok := s.After["external_id"].(string)
	if !ok {
		return 1, nil
	}
	g, there, err := w.group(ctx, id)
	switch {
	case err != nil:
		return 1, err
	case !there || g.name != s.Connection.SourceName:
		return 1, s.refuse(connectors.Conflict, "the group was deleted or renamed in the meantime")
	case g.external == want:
		return 1, nil
	}
	return w.commit(ctx, connectors.Title(s.Operation), g, change{external: &want})
}

// fieldOf finds an attribute by its name, which is case-insensitive (RFC 7643, 2.1).
func fieldOf(raw map[string]json.RawMessage, name string) string {
	for k := range raw {
		if strings.EqualFold(k, name) {
			return k
		}
	}
	return name
}
