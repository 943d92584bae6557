package faults

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

// scene is an application with contents and operations to apply.
type scene struct {
	*harness.Fixture
	h     Harness
	ops   []schemas.Operation
	want  map[schemas.Name][]schemas.Entitlement // the connections' final entitlements
	gone  []schemas.Name
	other schemas.Connection // must not change
	truth []schemas.Connection
	// between is called before each call with a new client, which doesn't know earlier answers.
	between func()
}

// patience bounds the time of a call, far above the time limits of Harness.Through with all retries; in real time a
// loaded machine uses some of it.
func (h Harness) patience() time.Duration {
	if h.Network != nil {
		return 90 * time.Second
	}
	return 10 * time.Minute
}

// at returns the scene for another case, with a writer of that case.
func (s *scene) at(t harness.T) *scene {
	t.Helper()
	again, f := *s, *s.Fixture
	f.T, again.Fixture = t, &f
	again.Writer = again.Open()
	return &again
}

func newScene(t harness.T, h Harness) *scene {
	t.Helper()
	s := &scene{Fixture: harness.Start(t, h.Harness), h: h, between: func() {}, want: map[schemas.Name][]schemas.Entitlement{}}
	i := slices.IndexFunc(s.Description.Types, func(typ schemas.ConnectionType) bool {
		return typ.Create && slices.ContainsFunc(typ.Grantable, func(g schemas.GrantableType) bool { return g.Grant && g.Revoke })
	})
	if i < 0 {
		t.Skip("no connection can be created and granted")
	}
	typ := s.Description.Types[i]
	other, kept, loser, doomed, made := s.Make(typ, "other"), s.Make(typ, "kept"), s.Make(typ, "loser"), schemas.Name{}, s.Name(typ.Name, "made")
	s.Must(s.Grant(s.Somebody(typ, other, "stranger")))
	stranger := s.Somebody(typ, kept, "stranger")
	s.App.Grant(t, stranger)
	old, stays := s.Somebody(typ, loser, "old"), s.Somebody(typ, loser, "stays")
	s.Must(s.Grant(old), s.Grant(stays))
	if typ.Delete {
		doomed = s.Make(typ, "doomed")
		s.Must(s.Grant(s.Somebody(typ, doomed, "stranger")))
	}
	s.other = *s.There(other)

	create := s.Create(made, s.Payload(typ.Name, 0))
	s.ops = append(s.ops, create)
	s.want[loser] = []schemas.Entitlement{harness.Entitlement(stays)}
	s.want[kept] = []schemas.Entitlement{harness.Entitlement(stranger)}
	if typ.Update {
		s.ops = append(s.ops, s.Update(kept, s.Payload(typ.Name, 1)))
	}
	s.ops = append(s.ops, s.Revoke(old))
	for n := range 3 {
		for _, c := range []schemas.Name{made, kept} {
			k := s.Somebody(typ, c, fmt.Sprintf("new_%d", n))
			op := s.Grant(k)
			if c == made {
				op.DependsOn = []string{create.ID}
			}
			s.ops = append(s.ops, op)
			s.want[c] = append(s.want[c], harness.Entitlement(k))
		}
	}
	if typ.Delete {
		s.ops = append(s.ops, s.Delete(doomed))
		s.gone = append(s.gone, doomed)
	}
	s.truth = s.Read(s.Scope())
	return s
}

// opened opens a connector before the fault strikes. In real time a loaded machine may exceed the config's short time
// limits: that isn't a fault, and it is retried.
func opened(ctx context.Context, t harness.TB, open func() (connectors.Reader, error)) connectors.Reader {
	t.Helper()
	for {
		s, err := open()
		if err == nil {
			return s
		}
		if connectors.CodeOf(err) != connectors.Unavailable || ctx.Err() != nil {
			t.Fatalf("open before the fault: %v", err)
		}
	}
}

// readAll reads through a fault: the result is true, incomplete, or an error with a code.
func (s *scene) readAll(cfg connectors.Config, arm func()) {
	t := s.T
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), s.h.patience())
	defer cancel()
	r := opened(ctx, t, func() (connectors.Reader, error) { return s.h.Connector.OpenReader(ctx, cfg) })
	arm()
	state, err := r.Read(ctx, s.Scope())
	s.judgeRead(ctx, state, err)
	page, err := r.List(ctx, connectors.Query{Type: s.other.Type, Names: []string{s.other.SourceName}})
	if err != nil {
		s.judgeError(err)
	} else if len(page.Items) != 1 {
		t.Errorf("List through the fault has %d items and no error, want 1 or an error", len(page.Items))
	}
	if err := r.Close(); err != nil {
		s.judgeError(err)
	}
	s.between()
	// Opening works the same way.
	r, err = s.h.Connector.OpenReader(ctx, cfg)
	if err != nil {
		s.judgeError(err)
	} else {
		state, err = r.Read(ctx, s.Scope())
		s.judgeRead(ctx, state, err)
		if err := r.Close(); err != nil {
			s.judgeError(err)
		}
	}
	if ctx.Err() != nil {
		t.Errorf("it took longer than %v: the connector has no time limit of its own", s.h.patience())
	}
	if diff := cmp.Diff(s.truth, s.Read(s.Scope()), harness.Compare()...); diff != "" {
		t.Errorf("reading changed something (-before +after):\n%s", diff)
	}
}

func (s *scene) judgeRead(_ context.Context, state schemas.State, err error) {
	s.T.Helper()
	switch {
	case err != nil:
		s.judgeError(err)
	case state.Incomplete == "":
		if diff := cmp.Diff(s.truth, state.Connections, harness.Compare()...); diff != "" {
			s.T.Errorf("Read through the fault is complete by its own account, but isn't true (-truth +read):\n%s", diff)
		}
	}
}

func (s *scene) judgeError(err error) {
	s.T.Helper()
	for _, fault := range harness.ErrorFaults(err) {
		s.T.Error(fault)
	}
	if code := connectors.CodeOf(err); code != connectors.Unavailable {
		s.T.Errorf("the code is %s (%v), want %s: a network fault is retried", code, err, connectors.Unavailable)
	}
}

// applyAll applies through a fault, then directly, and compares both with the outcomes and the goal.
func (s *scene) applyAll(cfg connectors.Config, arm, disarm func()) {
	t := s.T
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), s.h.patience())
	defer cancel()
	var w connectors.Writer
	opened(ctx, t, func() (_ connectors.Reader, err error) {
		w, err = s.h.Connector.OpenWriter(ctx, cfg)
		return w, err
	})
	arm()
	out, err := harness.Apply(ctx, w, s.ops)
	if err != nil {
		s.judgeError(err)
	} else {
		for _, fault := range harness.OutcomeFaults(s.ops, out) {
			t.Error(fault)
		}
	}
	if ctx.Err() != nil {
		t.Errorf("Apply took longer than %v: the connector has no time limit of its own", s.h.patience())
	}
	disarm()
	if err := w.Close(); err != nil {
		s.judgeError(err)
	}
	for _, o := range out {
		switch connectors.CodeOf(o.Err) {
		case "", connectors.Blocked:
		default:
			s.judgeError(o.Err)
		}
	}
	applied := harness.ByOperation(out)
	for _, op := range s.ops {
		o, ok := applied[op.ID]
		if ok && o.Err == nil && !s.done(op) {
			t.Errorf("%s was reported as applied, but has no effect", harness.Label(op))
		}
	}
	s.unharmed()
	// The next run completes the work, and leaves nothing to do.
	s.Twice(s.ops...)
	for c, want := range s.want {
		s.Holds(c, want...)
	}
	for _, c := range s.gone {
		s.Fixture.Gone(c)
	}
	s.unharmed()
}

// done reports whether the application shows the effect of an operation.
func (s *scene) done(op schemas.Operation) bool {
	s.T.Helper()
	c := s.One(op.Connection)
	switch op.Kind {
	case schemas.OperationDelete:
		return c == nil
	case schemas.OperationCreate:
		return c != nil
	case schemas.OperationUpdate:
		return c != nil && cmp.Equal(op.After, subset(c.Payload, op.After), harness.Compare()...)
	}
	if c == nil {
		return false
	}
	held := slices.ContainsFunc(c.Entitlements, func(e schemas.Entitlement) bool {
		return s.Same(e.Target, *op.Target) && e.Privilege == op.Privilege
	})
	return held == (op.Kind == schemas.OperationGrant)
}

// subset returns the attributes of payload that of has too.
func subset(payload, of map[string]any) map[string]any {
	out := maps.Clone(payload)
	maps.DeleteFunc(out, func(k string, _ any) bool { _, ok := of[k]; return !ok })
	return out
}

func (s *scene) unharmed() {
	s.T.Helper()
	if diff := cmp.Diff(s.other, *s.There(s.other.Name), harness.Compare()...); diff != "" {
		s.T.Errorf("a connection without operations has changed (-before +after):\n%s", diff)
	}
}

// words returns the words for the names of a scene.
func words() []string {
	return []string{"other", "kept", "loser", "doomed", "made", "stranger", "old", "stays", "new"}
}
