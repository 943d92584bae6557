package suite

import (
	"fmt"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

func names(items []schemas.Item) []string {
	var list []string
	for _, i := range items {
		list = append(list, i.SourceName)
	}
	return list
}

func testList(t harness.T, h harness.Harness) {
	f := harness.Start(t, h)
	made := map[string][]string{}
	for _, typ := range f.Description.Types {
		for i := range 5 {
			made[typ.Name] = append(made[typ.Name], f.Make(typ, fmt.Sprintf("listed_%s_%d", typ.Name, i)).SourceName)
		}
	}
	for _, typ := range f.Description.Types {
		for _, g := range typ.Grantable {
			// Targets that can't be granted needn't be listed.
			if _, done := made[g.Type]; done || !g.Grant {
				continue
			}
			for i := range 5 {
				if target, ok := f.Target(g, fmt.Sprintf("listed_%d", i)); ok {
					made[g.Type] = append(made[g.Type], target.SourceName)
				}
			}
		}
	}
	for typ, want := range made {
		slices.Sort(want)
		all := names(f.List(connectors.Query{Type: typ}))
		for _, n := range want {
			if !slices.Contains(all, n) {
				t.Errorf("the list of %s lacks %q", typ, n)
			}
		}
		for _, limit := range []int{1, 2, len(all), len(all) + 1} {
			if len(all) > 500 && limit < 3 {
				continue
			}
			// Other items may appear and disappear in the same server meanwhile.
			got := slices.DeleteFunc(names(f.List(connectors.Query{Type: typ, Limit: limit})), func(n string) bool { return !slices.Contains(want, n) })
			if !slices.Equal(got, want) {
				t.Errorf("%s in pages of %d: %q, want %q", typ, limit, got, want)
			}
		}
		if len(want) == 0 {
			continue
		}
		q := connectors.Query{Type: typ, Names: []string{want[3], want[1], want[1], "no such thing"}, Limit: 1}
		if got := names(f.List(q)); !slices.Equal(got, []string{want[1], want[3]}) {
			t.Errorf("%s by name: %q, want %q", typ, got, []string{want[1], want[3]})
		}
		if got := f.List(connectors.Query{Type: typ, Names: []string{"no such thing"}}); len(got) > 0 {
			t.Errorf("%s of an unknown name: %v", typ, got)
		}
		if got := f.List(connectors.Query{Type: typ, Names: []string{}}); len(got) > 0 {
			t.Errorf("%s of no name: %d items, want none", typ, len(got))
		}
	}
	for _, q := range []connectors.Query{{Type: "no_such_type"}, {}} {
		if _, err := f.Writer.List(t.Context(), q); err == nil {
			t.Errorf("List of the type %q has no error", q.Type)
		} else {
			for _, fault := range harness.ErrorFaults(err) {
				t.Error(fault)
			}
		}
	}
	// Every connection that was created here is listed, and isn't protected.
	for _, typ := range f.Description.Types {
		for _, item := range f.List(connectors.Query{Type: typ.Name, Names: made[typ.Name]}) {
			if item.Protected != "" {
				t.Errorf("%q is protected: %s", item.Name, item.Protected)
			}
		}
	}
}

func testSelection(t harness.T, h harness.Harness) {
	each(t, h, canCreate, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		var ops []schemas.Operation
		for _, word := range []string{"sales_a", "sales_b", "ops_a", "ops_b", "solo"} {
			ops = append(ops, f.Create(f.Name(typ.Name, word), f.Payload(typ.Name, 0)))
		}
		f.Must(ops...)
		pattern := func(p string) schemas.Selection {
			return schemas.Selection{Scope: map[string][]string{typ.Name: {f.App.Name(p)}}}
		}
		both := pattern("sales_*")
		both.Names = []schemas.Name{f.Name(typ.Name, "solo"), f.Name(typ.Name, "sales_a"), f.Name(typ.Name, "absent")}
		for _, c := range []struct {
			name string
			sel  schemas.Selection
			want []string
		}{
			{"names", schemas.Selection{Names: []schemas.Name{f.Name(typ.Name, "solo"), f.Name(typ.Name, "ops_b"), f.Name(typ.Name, "solo")}}, []string{"ops_b", "solo"}},
			{"absent", schemas.Selection{Names: []schemas.Name{f.Name(typ.Name, "absent")}}, nil},
			{"scope", pattern("sales_*"), []string{"sales_a", "sales_b"}},
			{"scope of one character", pattern("?ps_a"), []string{"ops_a"}},
			{"exact scope", pattern("solo"), []string{"solo"}},
			{"scope that matches nothing", pattern("zzz_*"), nil},
			{"names and scope", both, []string{"sales_a", "sales_b", "solo"}},
			{"scope of another type", schemas.Selection{Scope: map[string][]string{"no_such_type": {"*"}}}, nil},
			{"an empty scope of the type", schemas.Selection{Scope: map[string][]string{typ.Name: {}}}, nil},
			{"everything", f.Scope(), []string{"ops_a", "ops_b", "sales_a", "sales_b", "solo"}},
		} {
			var got, want []string
			for _, conn := range f.Read(c.sel) {
				got = append(got, conn.String())
			}
			for _, word := range c.want {
				want = append(want, f.Name(typ.Name, word).String())
			}
			if diff := cmp.Diff(want, got, harness.Compare()...); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, diff)
			}
		}
	})
}

func testNormalize(t harness.T, h harness.Harness) {
	each(t, h, canCreate, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		var want schemas.State
		var ops []schemas.Operation
		for i, word := range []string{"b", "a"} {
			c := schemas.Connection{Name: f.Name(typ.Name, word), Payload: f.Payload(typ.Name, i)}
			ops = append(ops, f.Create(c.Name, c.Payload))
			for _, g := range typ.Grantable {
				if !g.Grant {
					continue
				}
				target, ok := f.Target(g, "z_"+g.Type)
				if !ok {
					continue
				}
				for _, p := range slices.Backward(g.Privileges) {
					k := schemas.Key{Connection: c.Name, Target: target, Privilege: p}
					ops = append(ops, f.Grant(k))
					c.Entitlements = append(c.Entitlements, harness.Entitlement(k))
				}
			}
			slices.Reverse(c.Entitlements)
			want.Connections = append(want.Connections, c)
		}
		before := harness.Plain(want)
		once, err := f.Writer.Normalize(want)
		if err != nil {
			t.Fatalf("Normalize: %v", err)
		}
		if harness.Plain(want) != before {
			t.Error("Normalize changed its argument")
		}
		again, err := f.Writer.Normalize(once)
		if err != nil {
			t.Fatalf("Normalize: %v", err)
		}
		if diff := cmp.Diff(once, again, harness.Compare()...); diff != "" {
			t.Errorf("Normalize is not idempotent (-once +twice):\n%s", diff)
		}
		f.Must(ops...)
		var sel schemas.Selection
		for _, c := range want.Connections {
			sel.Names = append(sel.Names, c.Name)
		}
		if diff := cmp.Diff(once.Connections, f.Read(sel), harness.Compare()...); diff != "" {
			t.Errorf("the normalized state differs from the read state (-normalized +read):\n%s", diff)
		}
		// Absent attributes stay absent: a diff would take them for a change.
		bare := schemas.State{Connections: []schemas.Connection{{Name: f.Name(typ.Name, "a")}}}
		got, err := f.Writer.Normalize(bare)
		if err != nil || len(got.Connections) != 1 || len(got.Connections[0].Payload) > 0 {
			t.Errorf("Normalize of a connection without payload: %+v, %v", got, err)
		}
		for _, c := range []struct {
			name string
			c    schemas.Connection
		}{
			{"an unknown type", schemas.Connection{Name: schemas.Name{Type: "no_such_type", SourceName: "x"}}},
			{"an unknown target type", schemas.Connection{Name: f.Name(typ.Name, "a"), Entitlements: []schemas.Entitlement{
				{Target: schemas.Name{Type: "no_such_type", SourceName: "x"}, Privilege: "x"}}}},
			{"an empty name", schemas.Connection{Name: schemas.Name{Type: typ.Name}}},
			{"an unknown attribute", schemas.Connection{Name: f.Name(typ.Name, "a"), Payload: map[string]any{"no_such_attribute": 1}}},
		} {
			if _, err := f.Writer.Normalize(schemas.State{Connections: []schemas.Connection{c.c}}); err == nil {
				t.Errorf("Normalize accepts %s", c.name)
			}
		}
		for _, word := range awkward() {
			c := f.Name(typ.Name, word)
			_, err := f.Writer.Normalize(schemas.State{Connections: []schemas.Connection{{Name: c}}})
			if refused := typ.Names.Check(c.SourceName) != nil; refused && err == nil {
				t.Errorf("Normalize accepts the name %q, which the rule refuses", c.SourceName)
			} else if !refused && err != nil {
				t.Errorf("Normalize refuses the name %q, which the rule accepts: %v", c.SourceName, err)
			}
		}
	})
}
