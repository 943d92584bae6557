package suite

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

func testCancellation(t harness.T, h harness.Harness) {
	each(t, h, canCreate, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		var ops []schemas.Operation
		for i := range 40 {
			ops = append(ops, f.Create(f.Name(typ.Name, fmt.Sprintf("c_%02d", i)), f.Payload(typ.Name, i%2)))
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		out, err := harness.Apply(ended, f.Writer, ops)
		if err == nil {
			t.Error("Apply with an ended context has no error")
		}
		for _, o := range out {
			if o.Err == nil {
				t.Errorf("%s was applied with an ended context", o.Operation)
			}
		}
		if got := f.Read(f.Scope()); len(got) > 0 {
			t.Errorf("%d connections exist after an Apply with an ended context, such as %q", len(got), got[0].Name)
		}
		if _, err := f.Writer.Read(ended, f.Scope()); err == nil {
			t.Error("Read with an ended context has no error")
		}
		for _, after := range []int{1, 20, 40} {
			ctx, cancel := context.WithCancel(t.Context())
			applied := map[string]bool{}
			n := 0
			w := f.Open()
			err := w.Apply(ctx, ops, func(o connectors.Outcome) {
				if o.Err == nil {
					applied[o.Operation] = true
				}
				if n++; n == after {
					cancel()
				}
			})
			cancel()
			if err != nil && ctx.Err() == nil {
				t.Errorf("Apply: %v", err)
			}
			// Operations reported as applied have taken effect, whatever the result of the others.
			live := f.Read(f.Scope())
			for _, op := range ops {
				if applied[op.ID] && !slices.ContainsFunc(live, func(c schemas.Connection) bool { return f.Same(c.Name, op.Connection) }) {
					t.Fatalf("%q is not there", op.Connection)
				}
			}
			if err == nil && len(applied) != len(ops) {
				t.Errorf("Apply was stopped after %d of %d operations without an error", len(applied), len(ops))
			}
		}
		f.Must(ops...)
		if got := f.Read(f.Scope()); len(got) != len(ops) {
			t.Errorf("%d connections, want %d", len(got), len(ops))
		}
	})
}

func testTwoWriters(t harness.T, h harness.Harness) {
	each(t, h, canCreate, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		const writers, each = 2, 12
		shared := f.Make(typ, "shared")
		var keys [writers][]schemas.Key
		var ops [writers][]schemas.Operation
		var own [writers]schemas.Name
		for i := range writers {
			own[i] = f.Name(typ.Name, fmt.Sprintf("own_%d", i))
			ops[i] = append(ops[i], f.Create(own[i], f.Payload(typ.Name, i)))
			for j := range each {
				k := f.Somebody(typ, shared, fmt.Sprintf("p_%d_%02d", i, j))
				mine := k
				mine.Connection = own[i]
				keys[i] = append(keys[i], k)
				ops[i] = append(ops[i], f.Grant(k), f.Grant(mine))
			}
		}
		// Both are open before either writes: one that kept what it read when it was opened would undo the other's work.
		var sessions [writers]connectors.Writer
		for i := range writers {
			sessions[i] = f.Open()
		}
		var group sync.WaitGroup
		var faults [writers]error
		for i, w := range sessions {
			// One Apply for each operation, so that the two alternate as often as possible.
			group.Go(func() { faults[i] = persist(t.Context(), w, ops[i]) })
		}
		group.Wait()
		for i, err := range faults {
			if err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		}
		var want []schemas.Entitlement
		for i := range writers {
			var mine []schemas.Entitlement
			for _, k := range keys[i] {
				want, mine = append(want, harness.Entitlement(k)), append(mine, harness.Entitlement(k))
			}
			f.Holds(own[i], mine...)
		}
		f.Holds(shared, want...)
	})
}

// persist applies operations one by one, and retries after a conflict.
func persist(ctx context.Context, w connectors.Writer, ops []schemas.Operation) error {
	for _, op := range ops {
		var err error
		for range 20 {
			var out []connectors.Outcome
			if out, err = harness.Apply(ctx, w, []schemas.Operation{op}); err == nil && len(out) == 1 {
				err = out[0].Err
			}
			if code := connectors.CodeOf(err); code != connectors.Conflict && code != connectors.Unavailable {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", harness.Label(op), err)
		}
	}
	return nil
}

func testClosed(t harness.T, h harness.Harness) {
	app := h.Start(t)
	w, err := h.Connector.OpenWriter(t.Context(), app.Config())
	if err != nil {
		t.Fatalf("OpenWriter: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	typ := h.Connector.Describe().Types[0].Name
	op := schemas.Operation{ID: "op", Kind: schemas.OperationDelete, Connection: schemas.Name{Type: typ, SourceName: app.Name("x")}}
	_, describe := w.Describe(t.Context())
	_, read := w.Read(t.Context(), schemas.Selection{})
	_, list := w.List(t.Context(), connectors.Query{Type: typ})
	out, applied := harness.Apply(t.Context(), w, []schemas.Operation{op})
	for name, err := range map[string]error{"Describe": describe, "Read": read, "List": list, "Apply": applied} {
		if err == nil {
			t.Errorf("%s after Close has no error", name)
			continue
		}
		if strings.TrimSpace(err.Error()) == "" || len(harness.ErrorFaults(err)) > 0 {
			t.Errorf("%s after Close: %v", name, harness.ErrorFaults(err))
		}
	}
	for _, o := range out {
		if o.Err == nil {
			t.Error("an operation was applied after Close")
		}
	}
}
