package suite

import (
	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

// testReadingWritesNothing calls everything that a Reader has. The application must be as before, and what OpenReader
// returned must not be able to apply anything.
func testReadingWritesNothing(t harness.T, h harness.Harness) {
	each(t, h, canCreate, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		c := f.Make(typ, "left_alone")
		var ops []schemas.Operation
		for _, g := range typ.Grantable {
			if !g.Grant || !g.Revoke {
				continue
			}
			target, ok := f.Target(g, "alone_"+g.Type)
			if !ok {
				continue
			}
			k := schemas.Key{Connection: c, Target: target, Privilege: single(g)}
			if len(ops) == 0 {
				f.Must(f.Grant(k))
				ops = append(ops, f.Revoke(k))
			} else {
				ops = append(ops, f.Grant(k))
			}
		}
		ops = append(ops, f.Create(f.Name(typ.Name, "not_made"), f.Payload(typ.Name, 0)))
		if typ.Update {
			ops = append(ops, f.Update(c, f.Payload(typ.Name, 1)))
		}
		if typ.Delete {
			ops = append(ops, f.Delete(c))
		}
		before := f.Read(f.Scope())
		readEverything(t, h, f, typ, ops)
		if diff := cmp.Diff(before, f.Read(f.Scope())); diff != "" {
			t.Errorf("a Reader changed the application (-before +after):\n%s", diff)
		}
	})
}

func readEverything(t harness.T, h harness.Harness, f *harness.Fixture, typ schemas.ConnectionType, ops []schemas.Operation) {
	t.Helper()
	r, err := h.Connector.OpenReader(t.Context(), f.App.Config())
	if err != nil {
		t.Fatalf("OpenReader: %v", err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	if _, ok := r.(connectors.Writer); ok {
		t.Error("OpenReader returns a Writer")
	}
	if _, err := r.Describe(t.Context()); err != nil {
		t.Errorf("Describe: %v", err)
	}
	scope := f.Scope()
	reach := scope
	reach.Reach = true
	for _, sel := range []schemas.Selection{scope, reach, {Names: []schemas.Name{ops[0].Connection}}} {
		s, err := r.Read(t.Context(), sel)
		if err != nil {
			t.Errorf("Read: %v", err)
		} else if _, err := r.Normalize(s); err != nil && !sel.Reach { // connections read because of Reach may have reserved names
			t.Errorf("Normalize: %v", err)
		}
	}
	for _, g := range typ.Grantable {
		if _, err := r.List(t.Context(), connectors.Query{Type: g.Type, Limit: 10}); err != nil {
			t.Errorf("List of %s: %v", g.Type, err)
		}
	}
	if foreseer, ok := r.(connectors.Foreseer); ok {
		if _, err := foreseer.Foresee(t.Context(), ops); err != nil {
			t.Errorf("Foresee: %v", err)
		}
	}
}
