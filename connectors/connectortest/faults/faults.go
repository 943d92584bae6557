// Package faults holds connectors to what they promise where the way to their application fails: a proxy between the two
// refuses, hangs, breaks off, loses answers, and answers as something else.
package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

// Harness is what the fault table needs of a connector that speaks to its application over a network.
type Harness struct {
	harness.Harness
	// Address is host:port of the real server behind an application.
	Address func(t harness.TB, app harness.Application) string
	// Through is a config that reaches the same application by way of proxy (host:port), with time limits short
	// enough for a test (a second or two).
	Through func(t harness.TB, cfg connectors.Config, proxy string) connectors.Config
	// HTTP says that the protocol is HTTP without TLS: the faults of answers are played too.
	HTTP bool
}

// Run puts a proxy between a connector and its real server, and lets it refuse, hang, break off, lose
// answers after the change was made, and answer as something else, at many points of a read and of an Apply, once
// and for good. Whatever happens:
//
//   - a read is whole and true, or says that it is not;
//   - what is reported as applied is there, and what is not reported as applied can be applied again;
//   - a failure is Unavailable, so that it is tried again, and comes without waiting for ever;
//   - nothing of others is lost, and no secret is told.
func Run(t harness.T, h Harness) {
	t.Run("stream", func(t harness.T) {
		parallel(t, h)
		for _, kind := range []streamKind{faultRefuse, faultHang, faultCut, faultGarbage} {
			for _, once := range []bool{true, false} {
				name := string(kind) + " for good"
				if once {
					name = string(kind) + " once"
				}
				t.Run("read/"+name, func(t harness.T) { parallel(t, h); readThroughStream(t, h, kind, once) })
				t.Run("apply/"+name, func(t harness.T) { parallel(t, h); applyThroughStream(t, h, kind, once) })
			}
		}
	})
	if !h.HTTP {
		return
	}
	t.Run("http", func(t harness.T) {
		parallel(t, h)
		for _, kind := range []answerKind{answerTooMany, answerBusy, answerFailed, answerTruncated, answerPage, answerObject, answerNull, answerEmpty, answerRedirect} {
			t.Run("read/"+string(kind), func(t harness.T) { parallel(t, h); readThroughHTTP(t, h, kind) })
			if kind == answerObject || kind == answerNull || kind == answerEmpty {
				continue // to a change, an application may well answer so
			}
			t.Run("apply/"+string(kind), func(t harness.T) { parallel(t, h); applyThroughHTTP(t, h, kind) })
		}
		t.Run("a rate limit for an hour", func(t harness.T) { parallel(t, h); longLimit(t, h) })
	})
}

func parallel(t harness.T, h Harness) {
	if !h.Serial {
		t.Parallel()
	}
}

// scene is an application with something in it, and something to do.
type scene struct {
	*harness.Fixture
	h     Harness
	ops   []schemas.Operation
	want  map[schemas.Name][]connectors.Entitlement // what the connections hold in the end
	gone  []schemas.Name
	other connectors.Connection // what nobody asked to change
	truth []connectors.Connection
	// between is called before each call that has a client of its own, which knows nothing of earlier answers.
	between func()
}

// patience is how long a call may take, far above the time limits of Harness.Through with all repetitions.
const patience = 90 * time.Second

func newScene(t harness.T, h Harness) *scene {
	t.Helper()
	s := &scene{Fixture: harness.Start(t, h.Harness), h: h, between: func() {}, want: map[schemas.Name][]connectors.Entitlement{}}
	i := slices.IndexFunc(s.Description.Types, func(typ connectors.ConnectionType) bool {
		return typ.Create && slices.ContainsFunc(typ.Grantable, func(g connectors.GrantableType) bool { return g.Grant && g.Revoke })
	})
	if i < 0 {
		t.Skip("nothing can be made and given")
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
	s.want[loser] = []connectors.Entitlement{harness.Entitlement(stays)}
	s.want[kept] = []connectors.Entitlement{harness.Entitlement(stranger)}
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

// readAll reads through a faulty way: true, incomplete, or an error with a code.
func (s *scene) readAll(cfg connectors.Config, arm func()) {
	t := s.T
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := s.h.Connector.OpenReader(ctx, cfg)
	if err != nil {
		t.Fatalf("OpenReader before the fault: %v", err)
	}
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
	// To open it is no different.
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
		t.Errorf("it took longer than %v: the connector has no time limit of its own", patience)
	}
	if diff := cmp.Diff(s.truth, s.Read(s.Scope()), harness.Compare()...); diff != "" {
		t.Errorf("reading changed something (-before +after):\n%s", diff)
	}
}

func (s *scene) judgeRead(_ context.Context, state connectors.State, err error) {
	s.T.Helper()
	switch {
	case err != nil:
		s.judgeError(err)
	case state.Incomplete == "":
		if diff := cmp.Diff(s.truth, state.Connections, harness.Compare()...); diff != "" {
			s.T.Errorf("Read through the fault says that it is whole, and is not true (-truth +read):\n%s", diff)
		}
	}
}

func (s *scene) judgeError(err error) {
	s.T.Helper()
	for _, fault := range harness.ErrorFaults(err) {
		s.T.Error(fault)
	}
	if code := connectors.CodeOf(err); code != connectors.Unavailable {
		s.T.Errorf("the code is %s (%v), want %s: a fault on the way is worth another try", code, err, connectors.Unavailable)
	}
}

// applyAll applies through a faulty way, then straight, and holds both to what was said and wanted.
func (s *scene) applyAll(cfg connectors.Config, arm, disarm func()) {
	t := s.T
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w, err := s.h.Connector.OpenWriter(ctx, cfg)
	if err != nil {
		t.Fatalf("OpenWriter before the fault: %v", err)
	}
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
		t.Errorf("Apply took longer than %v: the connector has no time limit of its own", patience)
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
			t.Errorf("%s was reported as applied, and is not so", harness.Label(op))
		}
	}
	s.unharmed()
	// The next run finishes, and finds nothing to do after that.
	s.Twice(s.ops...)
	for c, want := range s.want {
		s.Holds(c, want...)
	}
	for _, c := range s.gone {
		s.Fixture.Gone(c)
	}
	s.unharmed()
}

// done says whether the application shows the effect of an operation.
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
	held := slices.ContainsFunc(c.Entitlements, func(e connectors.Entitlement) bool {
		return s.Same(e.Target, *op.Target) && e.Privilege == op.Privilege
	})
	return held == (op.Kind == schemas.OperationGrant)
}

// subset are the attributes of payload that stand in of.
func subset(payload, of map[string]any) map[string]any {
	out := maps.Clone(payload)
	maps.DeleteFunc(out, func(k string, _ any) bool { _, ok := of[k]; return !ok })
	return out
}

func (s *scene) unharmed() {
	s.T.Helper()
	if diff := cmp.Diff(s.other, *s.There(s.other.Name), harness.Compare()...); diff != "" {
		s.T.Errorf("what nobody asked to change has changed (-before +after):\n%s", diff)
	}
}

// points are places in an exchange of so many bytes of answers.
func points(total int64) []int64 {
	out := []int64{0, 1, total / 4, total / 2, 3 * total / 4, total - 1}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(n int64) bool { return n < 0 })
}

func readThroughStream(t harness.T, h Harness, kind streamKind, once bool) {
	s := newScene(t, h)
	p := newStreamProxy(t, h.Address(t, s.App))
	cfg := h.Through(t, s.App.Config(), p.address())
	before := p.passed()
	s.readAll(cfg, func() {})
	total := (p.passed() - before) / 2 // it opens twice
	struck := 0
	for _, after := range s.points(kind, total) {
		t.Run(fmt.Sprintf("after %d bytes", after), func(t harness.T) {
			at := *s
			f := *s.Fixture
			f.T, at.Fixture = t, &f
			at.readAll(cfg, func() { p.arm(streamFault{kind, after, once}) })
			struck += p.strikes()
			p.disarm()
		})
	}
	if struck == 0 {
		t.Error("the fault never struck: the connector does not go through the proxy")
	}
}

func (s *scene) points(kind streamKind, total int64) []int64 {
	switch kind {
	case faultRefuse:
		return []int64{0}
	case faultHang: // each waits for a time limit
		return []int64{0, total / 2}
	}
	return points(total)
}

func applyThroughStream(t harness.T, h Harness, kind streamKind, once bool) {
	s := newScene(t, h)
	p := newStreamProxy(t, h.Address(t, s.App))
	var before int64
	s.applyAll(h.Through(t, s.App.Config(), p.address()), func() { before = p.passed() }, func() { before = p.passed() - before })
	struck := 0
	for _, after := range s.points(kind, before) {
		t.Run(fmt.Sprintf("after %d bytes", after), func(t harness.T) {
			s := newScene(t, h)
			p := newStreamProxy(t, h.Address(t, s.App))
			s.applyAll(h.Through(t, s.App.Config(), p.address()), func() { p.arm(streamFault{kind, after, once}) }, func() { struck += p.strikes(); p.disarm() })
		})
	}
	if struck == 0 {
		t.Error("the fault never struck: the connector does not go through the proxy")
	}
}

// maxPoints bounds how many requests of an exchange are struck, one in each run.
const maxPoints = 5

// requestsToStrike are spread over so many requests; 0 stands for all of them.
func requestsToStrike(total int) []int {
	out := []int{0}
	step := max(1, (total+maxPoints-1)/maxPoints)
	for n := 1; n <= total; n += step {
		out = append(out, n)
	}
	return out
}

func readThroughHTTP(t harness.T, h Harness, kind answerKind) {
	s := newScene(t, h)
	p := newHTTPProxy(t, h.Address(t, s.App))
	cfg := h.Through(t, s.App.Config(), p.address())
	s.between = p.forget
	p.disarm()
	s.readAll(cfg, func() {})
	total, _ := p.counts()
	for _, at := range requestsToStrike(total) {
		t.Run(fmt.Sprintf("request %d", at), func(t harness.T) {
			again := *s
			f := *s.Fixture
			f.T, again.Fixture = t, &f
			again.readAll(cfg, func() { p.arm(kind, at, time.Second) })
			p.disarm()
		})
	}
	judgeProxy(t, p)
}

func applyThroughHTTP(t harness.T, h Harness, kind answerKind) {
	s := newScene(t, h)
	p := newHTTPProxy(t, h.Address(t, s.App))
	var total int
	s.applyAll(h.Through(t, s.App.Config(), p.address()), p.disarm, func() { total, _ = p.counts() })
	struck := 0
	for _, at := range requestsToStrike(total) {
		t.Run(fmt.Sprintf("request %d", at), func(t harness.T) {
			s := newScene(t, h)
			p := newHTTPProxy(t, h.Address(t, s.App))
			s.applyAll(h.Through(t, s.App.Config(), p.address()), func() { p.arm(kind, at, time.Second) },
				func() { _, n := p.counts(); struck += n; p.disarm() })
			judgeProxy(t, p)
		})
	}
	if struck == 0 {
		t.Error("the fault never struck: the connector does not go through the proxy")
	}
}

func judgeProxy(t harness.T, p *httpProxy) {
	t.Helper()
	early, leaked := p.faults()
	if early {
		t.Error("the connector came back before the time that Retry-After named")
	}
	if leaked {
		t.Error("the connector followed a redirect to another host")
	}
}

// longLimit holds the connector to giving up, and saying when to come back, where waiting would take an hour.
func longLimit(t harness.T, h Harness) {
	s := newScene(t, h)
	p := newHTTPProxy(t, h.Address(t, s.App))
	cfg := h.Through(t, s.App.Config(), p.address())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w, err := h.Connector.OpenWriter(ctx, cfg)
	if err != nil {
		t.Fatalf("OpenWriter before the fault: %v", err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	p.arm(answerTooMany, 0, time.Hour)
	check := func(what string, err error) {
		t.Helper()
		var e *connectors.Error
		if !errors.As(err, &e) || e.Code != connectors.Unavailable || e.RetryAfter < 59*time.Minute {
			t.Errorf("%s under a limit of an hour: %v, want %s with RetryAfter of an hour", what, err, connectors.Unavailable)
		}
	}
	_, err = w.Read(ctx, s.Scope())
	check("Read", err)
	out, err := harness.Apply(ctx, w, s.ops[:1])
	if err == nil && len(out) == 1 {
		err = out[0].Err
	}
	check("Apply", err)
	if ctx.Err() != nil {
		t.Errorf("it took longer than %v", patience)
	}
}
