package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Run holds a connector to the contract of package connectors.
func Run(t T, h Harness) {
	if h.Connector == nil || h.Start == nil {
		t.Fatal("the harness needs Connector and Start")
	}
	for _, c := range []struct {
		name string
		run  func(T, Harness)
	}{
		{"describe", testDescribe},
		{"open", testOpen},
		{"create", testCreate},
		{"update", testUpdate},
		{"absent attributes", testAbsentAttributes},
		{"grant and revoke", testGrantRevoke},
		{"delete", testDelete},
		{"delete what owns", testDeleteOwner},
		{"protected", testProtected},
		{"bad input", testBadInput},
		{"dependents", testDependents},
		{"cancellation", testCancellation},
		{"names", testNames},
		{"foreign entries", testForeign},
		{"incomplete read", testIncomplete},
		{"identity states", testIdentityStates},
		{"removed identity", testRemovedIdentity},
		{"many", testMany},
		{"two writers", testTwoWriters},
		{"list", testList},
		{"selection", testSelection},
		{"normalize", testNormalize},
		{"closed", testClosed},
		{"transitions", testTransitions},
	} {
		t.Run(c.name, func(t T) {
			if !h.Serial {
				t.Parallel()
			}
			c.run(t, h)
		})
	}
}

// fixture is one application with a connector opened on it.
type fixture struct {
	t   T
	h   Harness
	app Application
	w   connectors.Writer
	d   connectors.Description
	n   int // operations so far, for their ids
}

func start(t T, h Harness) *fixture {
	t.Helper()
	f := &fixture{t: t, h: h, app: h.Start(t)}
	f.w = f.open()
	d, err := f.w.Describe(t.Context())
	if err != nil {
		t.Fatalf("Describe: %v", err)
	}
	f.d = d
	return f
}

func (f *fixture) open() connectors.Writer {
	f.t.Helper()
	w, err := f.h.Connector.OpenWriter(f.t.Context(), f.app.Config())
	if err != nil {
		f.t.Fatalf("OpenWriter: %v", err)
	}
	f.t.Cleanup(func() {
		if err := w.Close(); err != nil {
			f.t.Errorf("Close: %v", err)
		}
	})
	return w
}

// name is a connection's name.
func (f *fixture) name(typ, word string) schemas.Name {
	return schemas.Name{Type: typ, SourceName: f.app.Name(word)}
}

// scope is everything that belongs to this application.
func (f *fixture) scope() connectors.Selection {
	s := connectors.Selection{Scope: map[string][]string{}}
	for _, typ := range f.d.Types {
		s.Scope[typ.Name] = []string{f.app.Name("*")}
	}
	return s
}

// payload is the i-th payload of the harness for the type.
func (f *fixture) payload(typ string, i int) map[string]any {
	return maps.Clone(f.h.Payloads[typ][i])
}

func (f *fixture) op(kind schemas.OperationKind, c schemas.Name) schemas.Operation {
	f.n++
	return schemas.Operation{ID: fmt.Sprintf("op-%04d", f.n), Kind: kind, Application: f.app.Config().Application, Connection: c}
}

func (f *fixture) create(c schemas.Name, payload map[string]any) schemas.Operation {
	op := f.op(schemas.OperationCreate, c)
	op.After = payload
	return op
}

func (f *fixture) update(c schemas.Name, after map[string]any) schemas.Operation {
	op := f.op(schemas.OperationUpdate, c)
	op.After = after
	return op
}

func (f *fixture) delete(c schemas.Name) schemas.Operation {
	return f.op(schemas.OperationDelete, c)
}

func (f *fixture) grant(k schemas.Key) schemas.Operation {
	op := f.op(schemas.OperationGrant, k.Connection)
	op.Target, op.Privilege = &k.Target, k.Privilege
	return op
}

func (f *fixture) revoke(k schemas.Key) schemas.Operation {
	op := f.op(schemas.OperationRevoke, k.Connection)
	op.Target, op.Privilege = &k.Target, k.Privilege
	return op
}

// try applies operations and returns the outcomes. It fails the test unless there is one outcome for each,
// in a sane form, and no error of the whole.
func (f *fixture) try(ops ...schemas.Operation) map[string]connectors.Outcome {
	f.t.Helper()
	return f.tryOn(f.w, ops...)
}

func (f *fixture) tryOn(w connectors.Writer, ops ...schemas.Operation) map[string]connectors.Outcome {
	f.t.Helper()
	out, err := apply(f.t.Context(), w, ops)
	if err != nil {
		f.t.Fatalf("Apply: %v", err)
	}
	for _, fault := range outcomeFaults(ops, out) {
		f.t.Error(fault)
	}
	return byOperation(out)
}

func apply(ctx context.Context, w connectors.Writer, ops []schemas.Operation) ([]connectors.Outcome, error) {
	var out []connectors.Outcome
	err := w.Apply(ctx, ops, func(o connectors.Outcome) { out = append(out, o) })
	return out, err
}

func byOperation(out []connectors.Outcome) map[string]connectors.Outcome {
	m := make(map[string]connectors.Outcome, len(out))
	for _, o := range out {
		m[o.Operation] = o
	}
	return m
}

// outcomeFaults says what is wrong with the outcomes of a whole Apply, whatever they are.
func outcomeFaults(ops []schemas.Operation, out []connectors.Outcome) []string {
	var faults []string
	seen := map[string]int{}
	for _, o := range out {
		seen[o.Operation]++
		if o.Attempts < 1 && connectors.CodeOf(o.Err) != connectors.Blocked {
			faults = append(faults, fmt.Sprintf("outcome of %s has %d attempts, want at least 1", o.Operation, o.Attempts))
		}
		if o.Started.IsZero() || o.Finished.Before(o.Started) {
			faults = append(faults, fmt.Sprintf("outcome of %s starts at %v and finishes at %v", o.Operation, o.Started, o.Finished))
		}
		if o.Err != nil {
			faults = append(faults, errorFaults(o.Err)...)
		}
	}
	for _, op := range ops {
		if seen[op.ID] != 1 {
			faults = append(faults, fmt.Sprintf("operation %s (%s) has %d outcomes, want 1", op.ID, op.Kind, seen[op.ID]))
		}
		delete(seen, op.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(seen)) {
		faults = append(faults, fmt.Sprintf("there is an outcome of %q, which nobody asked for", id))
	}
	return faults
}

// errorFaults says what is wrong with an error that a connector returns, whatever it is about.
func errorFaults(err error) []string {
	var faults []string
	if connectors.CodeOf(err) == "" {
		faults = append(faults, fmt.Sprintf("the error has no code: %v", err))
	}
	if strings.Contains(err.Error(), Canary) {
		faults = append(faults, "an error holds a secret")
	}
	if err.Error() == "" {
		faults = append(faults, "an error says nothing")
	}
	return faults
}

// must applies operations that all have to be applied.
func (f *fixture) must(ops ...schemas.Operation) {
	f.t.Helper()
	out := f.try(ops...)
	for _, op := range ops {
		if err := out[op.ID].Err; err != nil {
			f.t.Fatalf("%s: %v, want applied", describe(op), err)
		}
	}
}

// twice applies operations that all have to be applied, and again, which must change nothing.
func (f *fixture) twice(ops ...schemas.Operation) {
	f.t.Helper()
	f.must(ops...)
	before := f.read(f.scope())
	f.must(ops...)
	if diff := cmp.Diff(before, f.read(f.scope()), compare()...); diff != "" {
		f.t.Fatalf("the second time changed the state (-after once +after twice):\n%s", diff)
	}
}

func describe(op schemas.Operation) string {
	s := fmt.Sprintf("%s %s %q", op.ID, op.Kind, op.Connection)
	if op.Target != nil {
		s += fmt.Sprintf(" %q %s", *op.Target, op.Privilege)
	}
	return s
}

// read reads what must be whole and well-formed.
func (f *fixture) read(sel connectors.Selection) []connectors.Connection {
	f.t.Helper()
	s, err := f.w.Read(f.t.Context(), sel)
	if err != nil {
		f.t.Fatalf("Read: %v", err)
	}
	if s.Incomplete != "" {
		f.t.Fatalf("Read is incomplete: %s", s.Incomplete)
	}
	for _, fault := range stateFaults(f.d, s) {
		f.t.Error(fault)
	}
	return s.Connections
}

// one reads one connection; nil when it is not there.
func (f *fixture) one(c schemas.Name) *connectors.Connection {
	f.t.Helper()
	list := f.read(connectors.Selection{Names: []schemas.Name{c}})
	switch {
	case len(list) == 0:
		return nil
	case len(list) > 1 || !f.same(list[0].Name, c):
		f.t.Fatalf("Read of %q gave %d connections, the first is %q", c, len(list), list[0].Name)
	}
	return &list[0]
}

// same says whether two names are one to the application.
func (f *fixture) same(a, b schemas.Name) bool {
	typ, _ := f.d.Type(b.Type)
	return a == b || (typ.Names.FoldCase && a.Type == b.Type && strings.EqualFold(a.SourceName, b.SourceName))
}

// there reads a connection that must be there.
func (f *fixture) there(c schemas.Name) *connectors.Connection {
	f.t.Helper()
	got := f.one(c)
	if got == nil {
		f.t.Fatalf("%q is not there", c)
	}
	return got
}

func (f *fixture) gone(c schemas.Name) {
	f.t.Helper()
	if f.one(c) != nil {
		f.t.Errorf("%q is there, want gone", c)
	}
}

// holds fails unless the connection has exactly these entitlements.
func (f *fixture) holds(c schemas.Name, want ...connectors.Entitlement) {
	f.t.Helper()
	state, err := f.w.Normalize(connectors.State{Connections: []connectors.Connection{{Name: c, Entitlements: want}}})
	if err != nil {
		f.t.Fatalf("Normalize: %v", err)
	}
	if diff := cmp.Diff(state.Connections[0].Entitlements, f.there(c).Entitlements, compare()...); diff != "" {
		f.t.Errorf("entitlements of %q (-want +got):\n%s", c, diff)
	}
}

// stateFaults says what is wrong with the form of a state.
func stateFaults(d connectors.Description, s connectors.State) []string {
	var faults []string
	for i, c := range s.Connections {
		if i > 0 && s.Connections[i-1].Name.Compare(c.Name) > 0 {
			faults = append(faults, fmt.Sprintf("connections are not sorted: %q is before %q", s.Connections[i-1].Name, c.Name))
		}
		typ, ok := d.Type(c.Type)
		if !ok {
			faults = append(faults, fmt.Sprintf("%q has a type that is not described", c.Name))
			continue
		}
		schema, err := parsePayload(typ.Payload)
		if err != nil {
			faults = append(faults, err.Error())
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(c.Payload)) {
			if !slices.Contains(schema.names(), k) {
				faults = append(faults, fmt.Sprintf("%q has the attribute %q, which its schema does not name", c.Name, k))
			}
		}
		for j, e := range c.Entitlements {
			if j > 0 && c.Entitlements[j-1].Compare(e) >= 0 {
				faults = append(faults, fmt.Sprintf("entitlements of %q are not sorted or stand twice: %q %s", c.Name, e.Target, e.Privilege))
			}
			if !slices.Contains([]string{"", connectors.StateInvited, connectors.StateExpired, connectors.StateBlocked}, e.State) {
				faults = append(faults, fmt.Sprintf("an entitlement of %q has the state %q", c.Name, e.State))
			}
		}
	}
	return faults
}

// compare leaves out what is the application's own affair (ids) and what means the same (nil and empty,
// kinds of numbers).
func compare() []cmp.Option {
	return []cmp.Option{
		cmpopts.EquateEmpty(),
		cmpopts.IgnoreFields(connectors.Connection{}, "NativeID"),
		cmpopts.IgnoreFields(connectors.Entitlement{}, "TargetID"),
		cmp.FilterPath(func(p cmp.Path) bool { return p.Last().Type() == nil || p.Last().Type().Kind().String() == "interface" },
			cmp.Transformer("json", plain)),
	}
}

// plain is a value as JSON has it.
func plain(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%#v", v)
	}
	return string(b)
}
