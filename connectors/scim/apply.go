package scim

import (
	"context"
	"encoding/json"
	"errors"
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

// session is what is known within one Apply or List: names that were looked up are not looked up again, but for the
// groups, which are read anew before each write.
type session struct {
	r     *reader
	found map[schemas.Name][]account
	whole map[string][]account // by type, where the whole list was read
}

func newSession(r *reader) *session {
	return &session{r: r, found: map[schemas.Name][]account{}, whole: map[string][]account{}}
}

// all reads everything of a type. What is not whole is an error: a name that is missing in it may be there.
func (s *session) all(ctx context.Context, typ string) ([]account, error) {
	if list, ok := s.whole[typ]; ok {
		return list, nil
	}
	op := "list each " + typ
	if s.r.s.profile.paging == pagingNoLists {
		return nil, &connectors.Error{Code: connectors.Unsupported, Op: op, Message: s.r.s.profile.title + " lists nothing over SCIM: ask for names"}
	}
	var list []account
	var why string
	var err error
	if typ == typeGroup {
		var raws []json.RawMessage
		raws, why, err = s.r.list(ctx, endGroups, "")
		for _, raw := range raws {
			g, err := decodeGroup(raw)
			if err != nil {
				return nil, s.r.strange(op, err)
			}
			list = append(list, account{id: g.id, name: g.name})
		}
	} else {
		list, why, err = s.r.accounts(ctx, typ)
	}
	if err != nil {
		return nil, err
	}
	if why != "" {
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: why}
	}
	s.whole[typ] = list
	return list, nil
}

// named finds all that have a name, to the letter (users: as the profile folds).
func (s *session) named(ctx context.Context, typ, name string) ([]account, error) {
	if typ == typeUser {
		name = s.r.fold(name)
	}
	key := schemas.Name{Type: typ, SourceName: name}
	if list, ok := s.found[key]; ok {
		return list, nil
	}
	if _, ok := s.whole[typ]; !ok {
		list, usable, err := s.byFilter(ctx, typ, name)
		if err != nil {
			return nil, err
		}
		// Where names are folded, a filter that is not may have missed the name.
		if usable && (len(list) > 0 || typ != typeUser || !s.r.s.profile.foldUsers || s.r.s.profile.paging == pagingNoLists) {
			s.found[key] = list
			return list, nil
		}
	}
	all, err := s.all(ctx, typ)
	if err != nil {
		return nil, err
	}
	var list []account
	for _, a := range all {
		if a.name == name {
			list = append(list, a)
		}
	}
	s.found[key] = list
	return list, nil
}

func (s *session) byFilter(ctx context.Context, typ, name string) (list []account, usable bool, err error) {
	endpoint, attribute := endUsers, "userName"
	switch typ {
	case typeGroup:
		endpoint, attribute = endGroups, "displayName"
	case typePrincipal:
		endpoint, attribute = endPrincipals, "applicationId"
	}
	raws, usable, err := s.r.find(ctx, endpoint, attribute, name)
	if err != nil || !usable {
		return nil, false, err
	}
	for _, raw := range raws {
		var a account
		switch typ {
		case typeGroup:
			var g group
			g, err = decodeGroup(raw)
			a = account{id: g.id, name: g.name}
		case typePrincipal:
			a, err = decodePrincipal(raw)
		default:
			a, err = decodeUser(raw)
		}
		if err != nil {
			return nil, false, s.r.strange("look a "+typ+" up", err)
		}
		if a = s.r.named(typ, a); a.name == name {
			list = append(list, a)
		}
	}
	return list, true, nil
}

// forget drops what is known of a group's name.
func (s *session) forget(name string) {
	delete(s.found, schemas.Name{Type: typeGroup, SourceName: name})
	delete(s.whole, typeGroup)
}

// Apply carries creations, updates and deletions out one by one, and memberships of a group together.
func (w *writer) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	const op = "apply"
	if err := w.use(op); err != nil {
		return err
	}
	if err := connectors.Stopped(ctx, op); err != nil {
		return err
	}
	d, err := w.describe(ctx)
	if err != nil {
		return err
	}
	checker, err := connectors.NewChecker(d)
	if err != nil {
		return err
	}
	a := applying{w: w, s: newSession(w.reader), checker: checker, report: report, failed: connectors.Failures{}}
	for i := 0; i < len(ops); {
		n := together(ops[i:])
		if err := a.run(ctx, ops[i:i+n]); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// together is how many operations from the first on may be sorted by group: memberships of which none depends on
// another, and none is about the same member.
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
	w       *writer
	s       *session
	checker *connectors.Checker
	report  func(connectors.Outcome)
	failed  connectors.Failures
}

// step is an operation under way.
type step struct {
	*schemas.Operation
	started  time.Time
	attempts int
	err      error
	done     bool // there is an outcome, or err says why not

	id string // the member's
}

func (s *step) fail(err error) { s.err, s.done = err, true }

// refuse is an error about one operation.
func (s *step) refuse(code connectors.Code, format string, args ...any) *connectors.Error {
	return &connectors.Error{Code: code, Op: connectors.Title(s.Operation), Message: fmt.Sprintf(format, args...)}
}

// tell reports outcomes. It returns an error when the context ended, or the application as a whole is not to be had:
// what was sent may have been done, and those after it need not be tried.
func (a *applying) tell(ctx context.Context, steps ...*step) error {
	var whole error
	for _, s := range steps {
		if s.err != nil && ctx.Err() != nil {
			return connectors.Stopped(ctx, "apply")
		}
		if connectors.IsWhole(s.err) {
			whole = s.err
			continue
		}
		a.failed[s.ID] = s.err != nil
		attempts := max(s.attempts, 1)
		if connectors.CodeOf(s.err) == connectors.Blocked {
			attempts = 0
		}
		a.report(connectors.Outcome{Operation: s.ID, Attempts: attempts, Started: s.started, Finished: a.w.s.now(), Err: s.err})
	}
	return whole
}

func (a *applying) run(ctx context.Context, ops []schemas.Operation) error {
	var order []schemas.Name
	byGroup := map[schemas.Name][]*step{}
	for i := range ops {
		if err := connectors.Stopped(ctx, "apply"); err != nil {
			return err
		}
		s := &step{Operation: &ops[i], started: a.w.s.now()}
		if s.err = a.failed.Blocked(s.Operation); s.err == nil {
			s.err = a.checker.Check(s.Operation)
		}
		member := s.Kind == schemas.OperationGrant || s.Kind == schemas.OperationRevoke
		if s.err == nil && !member {
			s.attempts, s.err = a.one(ctx, s)
		}
		if s.err != nil || !member {
			if err := a.tell(ctx, s); err != nil {
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
			s.started = a.w.s.now()
		}
		a.memberships(ctx, n.SourceName, steps)
		if err := a.tell(ctx, steps...); err != nil {
			return err
		}
	}
	return nil
}

// prepare reads whole lists where many names are needed. That they cannot be read is said when a name is needed.
func (a *applying) prepare(ctx context.Context, byGroup map[schemas.Name][]*step) {
	if a.w.s.profile.paging == pagingNoLists {
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
			_, _ = a.s.all(ctx, typ) // asked again where it matters
		}
	}
}

// pick finds the one group that an operation is about. ok is false where there is none.
func (a *applying) pick(ctx context.Context, s *step, name, id string) (string, bool, error) {
	list, err := a.s.named(ctx, typeGroup, name)
	if err != nil {
		return "", false, err
	}
	switch {
	case id != "" && slices.ContainsFunc(list, func(g account) bool { return g.id == id }):
		return id, true, nil
	case id != "" && len(list) > 0:
		return "", false, s.refuse(connectors.Conflict, "the group of this name is another one than the group with the id %s: look at both, and ask anew", strconv.QuoteToASCII(id))
	case id != "":
		g, there, err := a.w.group(ctx, id)
		if err != nil && connectors.CodeOf(err) != connectors.Unsupported {
			return "", false, err
		}
		if there && g.name != name {
			return "", false, s.refuse(connectors.Conflict, "the group with the id %s is now named %s", strconv.QuoteToASCII(id), strconv.QuoteToASCII(g.name))
		}
		return id, there, nil
	case len(list) > 1:
		e := s.refuse(connectors.Conflict, "there are %d groups of this name: say which by source_id", len(list))
		for _, g := range list {
			e.Dependents = append(e.Dependents, g.id)
		}
		return "", false, e
	case len(list) == 1:
		return list[0].id, true, nil
	}
	return "", false, nil
}

func (s *step) guard(r *reader) error {
	if why := r.protected(s.Connection.SourceName); why != "" {
		return s.refuse(connectors.Denied, "the group is protected: %s", why)
	}
	return nil
}

// one carries out a creation, an update or a deletion.
func (a *applying) one(ctx context.Context, s *step) (attempts int, err error) {
	if err := s.guard(a.w.reader); err != nil {
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
		return a.w.update(ctx, s, id)
	case s.Kind == schemas.OperationCreate && s.NativeID == "":
		return a.create(ctx, s)
	}
	return 1, s.refuse(connectors.NotFound, "there is no such group")
}

func (a *applying) remove(ctx context.Context, s *step, id string) (int, error) {
	_, n, err := a.w.http.Do(ctx, rest.Request{Op: connectors.Title(s.Operation), Method: http.MethodDelete, Path: endGroups + "/" + url.PathEscape(id)})
	a.s.forget(s.Connection.SourceName)
	if connectors.CodeOf(err) == connectors.NotFound {
		err = nil // it was there a moment ago
	}
	return n, err
}

func (a *applying) create(ctx context.Context, s *step) (int, error) {
	name := s.Connection.SourceName
	body := map[string]any{"schemas": []string{groupSchema}, "displayName": name}
	if v, ok := s.After["external_id"].(string); ok && v != "" {
		body["externalId"] = v
	}
	// Members are never sent: some applications leave them out without a word.
	resp, n, err := a.w.http.Do(ctx, rest.Request{Op: connectors.Title(s.Operation), Method: http.MethodPost, Path: endGroups, Body: body})
	a.s.forget(name)
	switch code := connectors.CodeOf(err); {
	case err == nil:
		made, bad := decodeGroup(resp.Body)
		switch {
		case bad == nil && made.id != "" && made.name == name:
			a.s.found[s.Connection] = []account{{id: made.id, name: name}}
			return n, nil
		case bad == nil && made.id != "" && made.name != "":
			return n, s.refuse(connectors.Invalid, "the application named the group %s instead (its id is %s): ask for a name that it keeps, and delete this one",
				strconv.QuoteToASCII(made.name), strconv.QuoteToASCII(made.id))
		}
		// No group in the answer: it is looked up when it is needed.
		return n, nil
	case code == connectors.Conflict, code == connectors.Unavailable && ctx.Err() == nil:
		// Somebody made it meanwhile, or we did and the answer was lost.
		id, there, again := a.pick(ctx, s, name, "")
		switch {
		case again == nil && there:
			m, err := a.w.update(ctx, s, id)
			return n + m, err
		case code == connectors.Conflict && again == nil:
			return n, s.refuse(connectors.Conflict, "the application says that the name is taken, and shows no group of it: perhaps one that differs in case, or one that is hidden from us")
		}
	}
	return n, err
}

// update brings the attributes of a group to what is asked for.
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
		return 1, s.refuse(connectors.Conflict, "the group went, or was renamed, in this moment")
	case g.external == want:
		return 1, nil
	}
	return w.commit(ctx, connectors.Title(s.Operation), g, change{external: &want})
}

// target finds who is to be, or to be no more, a member. ok is false where nobody of that name is there.
func (a *applying) target(ctx context.Context, s *step) (id string, ok bool, err error) {
	list, err := a.s.named(ctx, s.Target.Type, s.Target.SourceName)
	if err != nil {
		return "", false, err
	}
	switch {
	case s.TargetID != "" && slices.ContainsFunc(list, func(t account) bool { return t.id == s.TargetID }):
		return s.TargetID, true, nil
	case s.TargetID != "" && len(list) > 0:
		return "", false, s.refuse(connectors.Conflict, "the %s of this name is another one than the one with the id %s", s.Target.Type, strconv.QuoteToASCII(s.TargetID))
	case len(list) > 1:
		e := s.refuse(connectors.Conflict, "there are %d of this name: say which by source_id", len(list))
		for _, t := range list {
			e.Dependents = append(e.Dependents, t.id)
		}
		return "", false, e
	case s.TargetID != "":
		return "", false, a.renamed(ctx, s)
	case len(list) == 1:
		return list[0].id, true, nil
	}
	return "", false, nil
}

// renamed refuses an operation whose target lives on under another name.
func (a *applying) renamed(ctx context.Context, s *step) error {
	endpoint := map[string]string{typeUser: endUsers, typeGroup: endGroups, typePrincipal: endPrincipals}[s.Target.Type]
	_, _, there, err := a.w.get(ctx, endpoint, s.TargetID)
	if err == nil && there {
		return s.refuse(connectors.Conflict, "the %s with the id %s has another name now", s.Target.Type, strconv.QuoteToASCII(s.TargetID))
	}
	return err
}

// memberships carries out grants and revokes in the groups of one name, which is one group but for ambiguous names.
func (a *applying) memberships(ctx context.Context, name string, steps []*step) {
	byID := map[string][]*step{}
	var ids []string
	for _, s := range steps {
		if err := s.guard(a.w.reader); err != nil {
			s.fail(err)
			continue
		}
		id, there, err := a.pick(ctx, s, name, s.NativeID)
		switch {
		case err != nil:
			s.fail(err)
			continue
		case !there && s.Kind == schemas.OperationGrant:
			s.fail(s.refuse(connectors.NotFound, "there is no such group"))
			continue
		case !there:
			s.fail(nil) // what cannot be held is held by nobody
			continue
		}
		member, known, err := a.target(ctx, s)
		switch {
		case err != nil:
			s.fail(err)
		case !known && s.Kind == schemas.OperationGrant:
			s.fail(s.refuse(connectors.NotFound, "there is no %s of this name", s.Target.Type))
		case !known && s.TargetID == "":
			s.fail(nil)
		case s.Kind == schemas.OperationGrant && member == id:
			s.fail(s.refuse(connectors.Invalid, "a group cannot be a member of itself"))
		default:
			if s.id = member; !known {
				s.id = s.TargetID // gone from the application, but perhaps not from the group
			}
			if byID[id] == nil {
				ids = append(ids, id)
			}
			byID[id] = append(byID[id], s)
		}
	}
	for _, id := range ids {
		a.w.inGroup(ctx, id, name, byID[id])
	}
}

// inGroup carries out what is to be done in one group, in as few requests as the application lets.
func (w *writer) inGroup(ctx context.Context, id, name string, steps []*step) {
	limit := w.s.profile.changes
	for round := 1; ; round++ {
		g, err := w.current(ctx, id, steps)
		if err == nil && g.name != name {
			err = &connectors.Error{Code: connectors.Conflict, Op: "change the group " + strconv.QuoteToASCII(name), Message: "the group was renamed, or went, in this moment"}
			if g.id == "" {
				err = &connectors.Error{Code: connectors.NotFound, Op: "change the group " + strconv.QuoteToASCII(name), Message: "there is no such group"}
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
			for _, s := range open { // none of them can go better
				s.fail(err)
			}
		case code == connectors.Unavailable:
			// It may have been done: the next round looks. Once more where it was not.
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
			limit = 1 // one of them is at fault: which one?
			round = 0
		}
	}
}

// unknown says that the application does not know the credential, whatever is asked.
func unknown(err error) bool {
	var status *rest.StatusError
	return errors.As(err, &status) && status.Status == http.StatusUnauthorized
}

// settled takes an error back where the group shows that the thing is done.
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

// current reads a group with those of its members that matter. The zero group is one that is not there.
func (w *writer) current(ctx context.Context, id string, steps []*step) (group, error) {
	g, there, err := w.group(ctx, id)
	if err != nil || !there {
		return group{}, err
	}
	if w.s.profile.members != membersByFilter {
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

// fieldOf finds an attribute, whose name has no case (RFC 7643, 2.1).
func fieldOf(raw map[string]json.RawMessage, name string) string {
	for k := range raw {
		if strings.EqualFold(k, name) {
			return k
		}
	}
	return name
}
