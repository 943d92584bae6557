package connectortest_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/schemas"
)

// TestMemory runs the suite on an application in memory that has what files have not: ids, states of
// identities, ownership, protected connections, one server for all tests, and names without case.
func TestMemory(t *testing.T) {
	t.Parallel()
	s := newServer()
	connectortest.Run(t, connectortest.Harness{
		Connector: memory{s},
		Payloads:  map[string][2]map[string]any{"team": {{"comment": "", "secret": false}, {"comment": "x", "secret": true}}},
		Start: func(t connectortest.TB) connectortest.Application {
			prefix := strings.ToLower(regexp.MustCompile(`\W+`).ReplaceAllString(t.Name(), "-")) + "."
			return &tenant{s: s, prefix: prefix}
		},
		Faulty: []connectortest.Faulty{{Name: "wrong token", Code: connectors.Denied, Config: func(_ connectortest.TB, cfg connectors.Config) connectors.Config {
			cfg.Values = map[string]any{"token": connectors.NewSecret(connectortest.Canary)}
			return cfg
		}}},
	})
}

// server is the application; all tests share it.
type server struct {
	mu    sync.Mutex
	next  int
	teams map[string]*team
	users map[string]schemas.EntitlementState // name to state
	repos map[string]bool
	ids   map[schemas.Name]string // of users and repos
	// hidden are users that the connector can't name.
	hidden map[string]bool
	// exact means that names which differ in case are different.
	exact bool
	// flaw is what is wrong with the connector.
	flaw string
}

func newServer() *server {
	owners := &team{id: "team-0", protected: "the organisation's owners", entries: map[schemas.Entitlement]bool{}}
	return &server{teams: map[string]*team{"owners": owners}, users: map[string]schemas.EntitlementState{}, repos: map[string]bool{}, ids: map[schemas.Name]string{}, hidden: map[string]bool{}}
}

// fold returns a name in the form in which the application compares it.
func (s *server) fold(name string) string {
	if s.exact {
		return name
	}
	return strings.ToLower(name)
}

// id returns the native id of a target.
func (s *server) id(n schemas.Name) string {
	if n.Type == "team" {
		if t := s.teams[n.SourceName]; t != nil {
			return t.id
		}
		return ""
	}
	if s.ids[n] == "" {
		s.next++
		s.ids[n] = fmt.Sprintf("%s-%d", n.Type, s.next)
	}
	return s.ids[n]
}

// called returns the name of today of a native id, "" if it doesn't exist.
func (s *server) called(typ, id string) string {
	for n, t := range s.teams {
		if typ == "team" && t.id == id {
			return n
		}
	}
	for n, other := range s.ids {
		if n.Type == typ && other == id {
			return n.SourceName
		}
	}
	return ""
}

type team struct {
	id, comment, protected string
	secret                 bool
	entries                map[schemas.Entitlement]bool
	owns                   []string
}

func refuse(code connectors.Code, format string, args ...any) *connectors.Error {
	return &connectors.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// memory is the connector of a server.
type memory struct{ s *server }

func (m memory) Describe() schemas.Description {
	rule := schemas.NameRule{MaxBytes: 120, Pattern: `[^\p{C}/]+`, Reserved: []string{"owners"}, FoldCase: m.s == nil || !m.s.exact || m.s.flaw == "folds"}
	target := func(typ string, edge schemas.Edge, privileges ...string) schemas.GrantableType {
		return schemas.GrantableType{Type: typ, Edge: edge, Privileges: privileges, Default: privileges[:1], Names: rule, Grant: true, Revoke: true}
	}
	return schemas.Description{
		Name: "memory", Title: "Memory", NativeIDs: true, PlanScript: "none", ApplyScript: "none",
		Config: json.RawMessage(`{"type": "object", "properties": {"token": {"x-secret": true, "description": "t"}}, "additionalProperties": false}`),
		Types: []schemas.ConnectionType{{
			Name: "team", Title: "Team", Create: true, Update: true, Delete: true, Reassign: true, Names: rule, PrivilegedFields: []string{"secret"},
			Payload:   json.RawMessage(`{"type": "object", "properties": {"comment": {"type": "string", "default": "", "description": "c"}, "secret": {"type": "boolean", "default": false, "description": "s"}}, "additionalProperties": false}`),
			Grantable: []schemas.GrantableType{target("user", schemas.EdgeIdentity, "MEMBER", "ADMIN"), target("repo", schemas.EdgeResource, "pull", "push"), target("team", schemas.EdgeMember, "MEMBER")},
		}},
	}
}

func (m memory) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	w, err := m.OpenWriter(ctx, cfg)
	if err != nil || m.s.flaw == "a reader that is a writer" {
		return w, err
	}
	return reading{w, m.s}, nil
}

// reading is a session that can't write.
type reading struct {
	connectors.Reader
	s *server
}

// Foresee finds nothing.
func (r reading) Foresee(ctx context.Context, ops []schemas.Operation) ([]schemas.Finding, error) {
	if r.s.flaw == "writes in read mode" {
		for _, o := range ops {
			if err := r.s.one(memory{}.Describe(), o); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

func (m memory) OpenWriter(_ context.Context, cfg connectors.Config) (connectors.Writer, error) {
	if token, _ := cfg.Values["token"].(connectors.Secret); token.Reveal() != "good" {
		return nil, refuse(connectors.Denied, "the token is not accepted")
	}
	cut, _ := cfg.Values["cut"].(bool)
	w := &session{s: m.s, d: m.Describe(), cut: cut, cached: map[string]map[schemas.Entitlement]bool{}}
	if m.s.flaw == "takes no lock" {
		m.s.mu.Lock()
		defer m.s.mu.Unlock()
		for _, t := range m.s.teams {
			w.cached[t.id] = maps.Clone(t.entries)
		}
	}
	return w, nil
}

type session struct {
	s      *server
	d      schemas.Description
	closed bool
	// cut means that the application's answers end too early. cached are the entries of teams as a session without a lock
	// takes them to be.
	cut    bool
	cached map[string]map[schemas.Entitlement]bool
}

// overwrite puts a team's entries back as the session knows them, without a look at what others wrote meanwhile.
func (w *session) overwrite(op schemas.Operation) {
	if w.s.flaw != "takes no lock" || op.Target == nil {
		return
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	t := w.s.teams[w.s.fold(op.Connection.SourceName)]
	if t == nil {
		return
	}
	known := w.cached[t.id]
	if known == nil {
		known = maps.Clone(t.entries)
		w.cached[t.id] = known
	}
	e := schemas.Entitlement{Target: *op.Target, Privilege: op.Privilege}
	delete(known, e)
	if op.Kind == schemas.OperationGrant {
		known[e] = true
	}
	t.entries = maps.Clone(known)
}

func (w *session) Close() error { w.closed = true; return nil }

func (w *session) begin(ctx context.Context) error {
	if w.closed || ctx.Err() != nil {
		return refuse(connectors.Unavailable, "closed or stopped")
	}
	return nil
}

func (w *session) Describe(ctx context.Context) (schemas.Description, error) {
	return w.d, w.begin(ctx)
}

func (w *session) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
	if err := w.begin(ctx); err != nil {
		return schemas.State{}, err
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	var out schemas.State
	if w.cut && w.s.flaw != "accepts a truncated answer" {
		return out, refuse(connectors.Unavailable, "the answer is cut")
	}
	for _, n := range slices.Sorted(maps.Keys(w.s.teams)) {
		if w.cut && len(out.Connections) > 0 {
			break
		}
		full := schemas.Name{Type: "team", SourceName: n}
		t := w.s.teams[n]
		if (sel.Names != nil || sel.Scope != nil || sel.IDs != nil) && !schemas.Match(sel.Scope["team"], n) && !slices.ContainsFunc(sel.Names, func(s schemas.Name) bool {
			return s.Type == "team" && w.s.fold(s.SourceName) == n
		}) && !slices.Contains(sel.IDs["team"], t.id) {
			continue
		}
		c := schemas.Connection{Name: full, NativeID: t.id, Protected: t.protected, Payload: map[string]any{"comment": t.comment, "secret": t.secret}}
		for e := range t.entries {
			e.TargetID = w.s.id(e.Target)
			if e.Target.Type == "user" {
				e.State = w.s.users[e.Target.SourceName]
			}
			if e.Target.Type == "user" && w.s.hidden[e.Target.SourceName] {
				if w.s.flaw == "drops unknown members" {
					continue
				}
				e.State, e.Foreign, e.Target.SourceName = schemas.StateUnresolved, true, e.TargetID
			}
			c.Entitlements = append(c.Entitlements, e)
		}
		slices.SortFunc(c.Entitlements, order)
		out.Connections = append(out.Connections, c)
		if len(out.Connections) == 500 && w.s.flaw == "stops at 500 groups" {
			break
		}
	}
	return out, nil
}

func order(a, b schemas.Entitlement) int {
	return cmp.Or(a.Target.Compare(b.Target), strings.Compare(a.Privilege, b.Privilege))
}

func (w *session) List(ctx context.Context, q connectors.Query) (connectors.Page, error) {
	if err := w.begin(ctx); err != nil {
		return connectors.Page{}, err
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	var names []string
	switch q.Type {
	case "team":
		names = slices.Sorted(maps.Keys(w.s.teams))
	case "user":
		names = slices.Sorted(maps.Keys(w.s.users))
	case "repo":
		names = slices.Sorted(maps.Keys(w.s.repos))
	default:
		return connectors.Page{}, refuse(connectors.Unsupported, "no such type")
	}
	if len(names) > 500 && w.s.flaw == "lists 500 groups" {
		names = names[:500]
	}
	names = slices.DeleteFunc(names, func(n string) bool {
		asked := q.Names == nil && q.IDs == nil || slices.Contains(q.Names, n) || slices.Contains(q.IDs, w.s.id(schemas.Name{Type: q.Type, SourceName: n}))
		return !asked || n <= q.Cursor
	})
	var p connectors.Page
	for i, n := range names {
		if q.Limit > 0 && i == q.Limit {
			p.Next = names[i-1]
			break
		}
		item := schemas.Item{Name: schemas.Name{Type: q.Type, SourceName: n}}
		item.NativeID = w.s.id(item.Name)
		if q.Type == "user" {
			item.State = w.s.users[n]
		}
		p.Items = append(p.Items, item)
	}
	return p, nil
}

func (w *session) Normalize(in schemas.State) (schemas.State, error) {
	var out schemas.State
	for _, c := range in.Connections {
		typ, ok := w.d.Type(c.Type)
		if !ok || c.SourceName == "" || typ.Names.Check(c.SourceName) != nil {
			return out, refuse(connectors.Invalid, "refused name")
		}
		if err := check(c.Payload); err != nil {
			return out, err
		}
		c.SourceName = w.s.fold(c.SourceName)
		c.Entitlements = slices.Clone(c.Entitlements)
		for i := range c.Entitlements {
			if _, ok := typ.Target(c.Entitlements[i].Target.Type); !ok {
				return out, refuse(connectors.Unsupported, "refused target")
			}
			c.Entitlements[i].Target.SourceName = w.s.fold(c.Entitlements[i].Target.SourceName)
		}
		slices.SortFunc(c.Entitlements, order)
		out.Connections = append(out.Connections, c)
	}
	slices.SortFunc(out.Connections, func(a, b schemas.Connection) int { return a.Compare(b.Name) })
	return out, nil
}

func check(payload map[string]any) error {
	for k, v := range payload {
		_, text := v.(string)
		_, truth := v.(bool)
		if v != nil && (k != "comment" || !text) && (k != "secret" || !truth) {
			return refuse(connectors.Invalid, "refused attribute")
		}
	}
	return nil
}

func (w *session) Apply(ctx context.Context, ops []schemas.Operation, report func(connectors.Outcome)) error {
	failed := map[string]bool{}
	for _, op := range ops {
		if err := w.begin(ctx); err != nil {
			return err
		}
		o := connectors.Outcome{Operation: op.ID, Attempts: 1, Started: time.Now()}
		for _, id := range op.DependsOn {
			if failed[id] {
				o.Err = &connectors.Error{Code: connectors.Blocked, Message: "blocked", Dependents: []string{id}}
			}
		}
		if o.Err == nil {
			if err := w.s.one(w.d, w.s.spoil(op)); err != nil {
				o.Err = err
			} else {
				w.overwrite(op)
			}
		}
		failed[op.ID] = o.Err != nil
		o.Finished = time.Now()
		report(o)
	}
	return nil
}

// one carries out an operation. It returns a *connectors.Error, so that nil is nil.
func (s *server) one(d schemas.Description, op schemas.Operation) *connectors.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	typ, ok := d.Type(op.Connection.Type)
	if !ok {
		return refuse(connectors.Unsupported, "no such type")
	}
	name := s.fold(op.Connection.SourceName)
	t := s.teams[name]
	switch {
	case t == nil && op.NativeID != "" && s.called("team", op.NativeID) != "":
		return refuse(connectors.Conflict, "the team has another name now")
	case t != nil && t.protected != "":
		return refuse(connectors.Denied, "protected")
	case t != nil && op.NativeID != "" && op.NativeID != t.id:
		return refuse(connectors.Conflict, "another id")
	case check(op.After) != nil:
		return refuse(connectors.Invalid, "refused attribute")
	}
	set := func() {
		if v, ok := op.After["comment"].(string); ok {
			t.comment = v
		}
		if v, ok := op.After["secret"].(bool); ok {
			t.secret = v
		}
	}
	switch op.Kind {
	case schemas.OperationCreate:
		if err := typ.Names.Check(op.Connection.SourceName); err != nil || name == "" {
			return refuse(connectors.Invalid, "refused name")
		}
		if t == nil {
			s.next++
			t = &team{id: fmt.Sprintf("team-%d", s.next), entries: map[schemas.Entitlement]bool{}}
			s.teams[name] = t
		}
		set()
		return nil
	case schemas.OperationUpdate:
		if t == nil {
			return refuse(connectors.NotFound, "no such team")
		}
		set()
		return nil
	case schemas.OperationDelete:
		if t != nil && len(t.owns) > 0 {
			heir := s.teams[s.fold(op.ReassignTo)]
			if heir == nil {
				return &connectors.Error{Code: connectors.Conflict, Message: "it owns things", Dependents: t.owns}
			}
			heir.owns = append(heir.owns, t.owns...)
		}
		s.drop(name)
		return nil
	case schemas.OperationGrant, schemas.OperationRevoke:
	default:
		return refuse(connectors.Unsupported, "no such kind")
	}
	if op.Target == nil {
		return refuse(connectors.Invalid, "no target")
	}
	g, ok := typ.Target(op.Target.Type)
	if !ok || !slices.Contains(g.Privileges, op.Privilege) {
		return refuse(connectors.Unsupported, "no such target or privilege")
	}
	e := schemas.Entitlement{Target: schemas.Name{Type: op.Target.Type, SourceName: s.fold(op.Target.SourceName)}, Privilege: op.Privilege}
	if op.TargetID != "" {
		switch now := s.called(e.Target.Type, op.TargetID); {
		case now == e.Target.SourceName || e.Target.SourceName == op.TargetID && s.hidden[now]:
			e.Target.SourceName = now
		case now != "":
			return refuse(connectors.Conflict, "the target has another name now")
		}
	}
	if op.Kind == schemas.OperationRevoke {
		if t != nil {
			delete(t.entries, e)
		}
		return nil
	}
	_, user := s.users[e.Target.SourceName]
	if t == nil || (e.Target.Type == "user" && !user) || (e.Target.Type == "repo" && !s.repos[e.Target.SourceName]) || (e.Target.Type == "team" && s.teams[e.Target.SourceName] == nil) {
		return refuse(connectors.NotFound, "not there")
	}
	t.entries[e] = true
	return nil
}

// spoil is an operation as a connector with a flaw carries it out.
func (s *server) spoil(op schemas.Operation) schemas.Operation {
	if s.flaw == "ignores native ids" {
		if op.NativeID != "no-such-id" { // which the suite has always asked about
			op.NativeID = ""
		}
		op.TargetID = ""
	}
	if op.Target == nil {
		return op
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	target := *op.Target
	for e := range s.entries(op.Connection) {
		if s.flaw == "folds names in a revoke" && op.Kind == schemas.OperationRevoke && e.Target.Type == target.Type && strings.EqualFold(e.Target.SourceName, target.SourceName) && !s.holds(op) {
			target.SourceName = e.Target.SourceName
		}
	}
	op.Target = &target
	return op
}

func (s *server) entries(c schemas.Name) map[schemas.Entitlement]bool {
	if t := s.teams[s.fold(c.SourceName)]; t != nil {
		return t.entries
	}
	return nil
}

func (s *server) holds(op schemas.Operation) bool {
	return s.entries(op.Connection)[schemas.Entitlement{Target: *op.Target, Privilege: op.Privilege}]
}

func (s *server) drop(name string) {
	delete(s.teams, name)
	for _, t := range s.teams {
		maps.DeleteFunc(t.entries, func(e schemas.Entitlement, _ bool) bool {
			return e.Target == schemas.Name{Type: "team", SourceName: name}
		})
	}
}

// tenant is one test's part of the server.
type tenant struct {
	s      *server
	prefix string
}

var (
	_ connectortest.Application    = (*tenant)(nil)
	_ connectortest.IdentityStater = (*tenant)(nil)
	_ connectortest.Owner          = (*tenant)(nil)
	_ connectortest.Protector      = (*tenant)(nil)
	_ connectortest.Renamer        = (*tenant)(nil)
	_ connectortest.Hider          = (*tenant)(nil)
)

func (a *tenant) Config() connectors.Config {
	return connectors.Config{Application: "memory", Values: map[string]any{"token": connectors.NewSecret("good")}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
}

func (a *tenant) Name(word string) string { return a.prefix + word }

func (a *tenant) locked(f func()) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	f()
}

func (a *tenant) AddIdentity(_ connectortest.TB, typ, word string) schemas.Name {
	n := schemas.Name{Type: typ, SourceName: a.Name("u-" + word)}
	a.locked(func() {
		if _, ok := a.s.users[n.SourceName]; !ok {
			a.s.users[n.SourceName] = ""
		}
	})
	return n
}

func (a *tenant) RemoveIdentity(_ connectortest.TB, n schemas.Name) {
	a.locked(func() {
		delete(a.s.users, n.SourceName)
		for _, t := range a.s.teams {
			maps.DeleteFunc(t.entries, func(e schemas.Entitlement, _ bool) bool { return e.Target == n })
		}
	})
}

func (a *tenant) AddResource(_ connectortest.TB, typ, word string) (schemas.Name, bool) {
	n := schemas.Name{Type: typ, SourceName: a.Name("r-" + word)}
	a.locked(func() { a.s.repos[n.SourceName] = true })
	return n, true
}

func (a *tenant) hand(t connectortest.TB, kind schemas.OperationKind, k schemas.Key) {
	t.Helper()
	op := schemas.Operation{Kind: kind, Connection: k.Connection, Privilege: k.Privilege}
	if k.Target.Type != "" {
		op.Target = &k.Target
	}
	if err := a.s.one(memory{}.Describe(), op); err != nil {
		t.Fatal(err)
	}
}

func (a *tenant) AddConnection(t connectortest.TB, n schemas.Name) {
	a.hand(t, schemas.OperationCreate, schemas.Key{Connection: n})
}

func (a *tenant) DropConnection(t connectortest.TB, n schemas.Name) {
	a.hand(t, schemas.OperationDelete, schemas.Key{Connection: n})
}

func (a *tenant) Grant(t connectortest.TB, k schemas.Key)  { a.hand(t, schemas.OperationGrant, k) }
func (a *tenant) Revoke(t connectortest.TB, k schemas.Key) { a.hand(t, schemas.OperationRevoke, k) }

func (a *tenant) SetIdentityState(_ connectortest.TB, n schemas.Name, state schemas.EntitlementState) bool {
	a.locked(func() { a.s.users[n.SourceName] = state })
	return true
}

func (a *tenant) Own(_ connectortest.TB, n schemas.Name) {
	a.locked(func() { a.s.teams[n.SourceName].owns = []string{"repo x"} })
}

func (a *tenant) Protected(connectortest.TB) schemas.Name {
	return schemas.Name{Type: "team", SourceName: "owners"}
}

func (a *tenant) Rename(_ connectortest.TB, n schemas.Name, word string) (schemas.Name, bool) {
	to := schemas.Name{Type: n.Type, SourceName: a.Name(word)}
	a.locked(func() {
		id := a.s.id(n)
		switch n.Type {
		case "team":
			a.s.teams[to.SourceName] = a.s.teams[n.SourceName]
			delete(a.s.teams, n.SourceName)
		case "user":
			a.s.users[to.SourceName] = a.s.users[n.SourceName]
			delete(a.s.users, n.SourceName)
		case "repo":
			a.s.repos[to.SourceName] = true
			delete(a.s.repos, n.SourceName)
		}
		if n.Type != "team" {
			a.s.ids[to] = id
			delete(a.s.ids, n)
		}
		for _, t := range a.s.teams {
			for e := range t.entries {
				if e.Target == n {
					delete(t.entries, e)
					e.Target = to
					t.entries[e] = true
				}
			}
		}
	})
	return to, true
}

func (a *tenant) Hide(_ connectortest.TB, n schemas.Name, hidden bool) bool {
	a.locked(func() { a.s.hidden[n.SourceName] = hidden })
	return n.Type == "user"
}
