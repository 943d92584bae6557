package suite

import (
	"fmt"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

// beyondPages is more than a page of most applications has.
const beyondPages = 520

// testBeyondPages creates more connections than a page has. Read and List must return all of them.
func testBeyondPages(t harness.T, h harness.Harness) {
	each(t, h, canCreate, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		var ops, undo []schemas.Operation
		var list []schemas.Name
		for i := range beyondPages {
			c := f.Name(typ.Name, fmt.Sprintf("n_%04d", i))
			list, ops, undo = append(list, c), append(ops, f.Create(c, nil)), append(undo, f.Delete(c))
		}
		f.Must(ops...)
		for name, sel := range map[string]schemas.Selection{
			"the scope": {Scope: map[string][]string{typ.Name: {f.App.Name("n_*")}}},
			"all names": {Names: list},
		} {
			if got := len(f.Read(sel)); got != beyondPages {
				t.Errorf("Read of %s returns %d connections, want %d", name, got, beyondPages)
			}
		}
		listed := map[schemas.Name]bool{}
		for _, item := range f.List(connectors.Query{Type: typ.Name}) {
			listed[item.Name] = true
		}
		missing := 0
		for _, c := range list {
			if !listed[c] {
				missing++
			}
		}
		if missing > 0 {
			t.Errorf("List lacks %d of %d connections", missing, beyondPages)
		}
		if typ.Delete {
			f.Must(undo...)
		}
	})
}
