package suite

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

// testMany grants 1,000 entitlements in one Apply, and revokes them.
func testMany(t harness.T, h harness.Harness) {
	each(t, h, canCreate, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		const holders, held = 50, 20
		var targets []schemas.Key
		for i := range held {
			targets = append(targets, f.Somebody(typ, schemas.Name{}, fmt.Sprintf("t_%02d", i)))
		}
		var ops, undo []schemas.Operation
		var want []schemas.Entitlement
		for _, k := range targets {
			want = append(want, harness.Entitlement(k))
		}
		var list []schemas.Name
		for i := range holders {
			c := f.Name(typ.Name, fmt.Sprintf("h_%02d", i))
			list = append(list, c)
			made := f.Create(c, f.Payload(typ.Name, i%2))
			ops = append(ops, made)
			for _, k := range targets {
				k.Connection = c
				g := f.Grant(k)
				g.DependsOn = []string{made.ID}
				ops, undo = append(ops, g), append(undo, f.Revoke(k))
			}
		}
		begin := time.Now()
		out := f.Try(ops...)
		t.Logf("%d operations in %v", len(ops), time.Since(begin))
		for _, op := range ops {
			if err := out[op.ID].Err; err != nil {
				t.Fatalf("%s: %v", harness.Label(op), err)
			}
		}
		got := f.Read(schemas.Selection{Names: list})
		if len(got) != holders {
			t.Fatalf("%d connections, want %d", len(got), holders)
		}
		n := 0
		for _, c := range got {
			n += len(c.Entitlements)
		}
		if n < holders*held {
			t.Errorf("%d entitlements, want %d", n, holders*held)
		}
		f.Holds(list[0], want...)
		f.Holds(list[holders-1], want...)
		for id, o := range f.Try(undo...) {
			if o.Err != nil {
				t.Fatalf("%s: %v", id, o.Err)
			}
		}
		f.Holds(list[0])
		f.Holds(list[holders-1])
	})
}

// desired is a state by name; nil is an absent connection.
type desired map[schemas.Name]*schemas.Connection

// testTransitions goes through a series of desired states. At each, the smallest set of operations leads from the
// live to the desired state; then both are equal, and the operations change nothing when repeated. Foreign
// connections never change.
func testTransitions(t harness.T, h harness.Harness) {
	each(t, h, func(c schemas.ConnectionType) bool { return c.Create && c.Delete }, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		a, b := f.Name(typ.Name, "a"), f.Name(typ.Name, "b")
		foreign := f.Name(typ.Name, "foreign")
		f.App.AddConnection(t, foreign)
		inForeign := f.Somebody(typ, foreign, "foreigner")
		f.App.Grant(t, inForeign)
		theirs := f.There(foreign)

		// Two entitlements of each kind that can be granted and revoked.
		var first, second []schemas.Entitlement
		for _, g := range typ.Grantable {
			if !g.Grant || !g.Revoke || g.Single && g.Type == typ.Name {
				continue // a's only one is b, from which it inherits
			}
			for i, list := range []*[]schemas.Entitlement{&first, &second} {
				if g.Single && i > 0 {
					break
				}
				if target, ok := f.Target(g, fmt.Sprintf("x%d_%s", i, g.Type)); ok {
					*list = append(*list, schemas.Entitlement{Target: target, Privilege: g.Privileges[min(i, len(g.Privileges)-1)]})
				}
			}
		}
		conn := func(n schemas.Name, payload int, lists ...[]schemas.Entitlement) *schemas.Connection {
			return &schemas.Connection{Name: n, Payload: f.Payload(typ.Name, payload), Entitlements: slices.Concat(lists...)}
		}
		inherits := []schemas.Entitlement(nil)
		if g, ok := typ.Target(typ.Name); ok && g.Grant && g.Revoke {
			inherits = []schemas.Entitlement{{Target: b, Privilege: g.Privileges[0]}}
		}
		p := 1 // the second payload, if it can be changed
		if !typ.Update {
			p = 0
		}
		steps := []struct {
			name string
			want desired
		}{
			{"nothing", desired{a: nil, b: nil}},
			{"one, bare", desired{a: conn(a, 0), b: nil}},
			{"one with access", desired{a: conn(a, 0, first), b: nil}},
			{"more access", desired{a: conn(a, 0, first, second), b: nil}},
			{"other access and attributes", desired{a: conn(a, p, second), b: nil}},
			{"two", desired{a: conn(a, p, second), b: conn(b, 0, first)}},
			{"one within the other", desired{a: conn(a, p, second, inherits), b: conn(b, 0, first)}},
			{"swapped", desired{a: conn(a, 0, first, inherits), b: conn(b, p, second)}},
			{"bare again", desired{a: conn(a, 0, inherits), b: conn(b, p)}},
			{"the inner one goes", desired{a: conn(a, 0), b: nil}},
			{"from nothing to all", desired{a: conn(a, p, first, second, inherits), b: conn(b, p, first, second)}},
			{"the outer one goes", desired{a: nil, b: conn(b, p, first, second)}},
			{"the other is back", desired{a: conn(a, 0, first), b: conn(b, p, first, second)}},
			{"nothing again", desired{a: nil, b: nil}},
		}
		for _, step := range steps {
			ops := operationsTo(f, step.want)
			f.Twice(ops...)
			var want schemas.State
			for _, c := range step.want {
				if c != nil {
					want.Connections = append(want.Connections, *c)
				}
			}
			want, err := f.Writer.Normalize(want)
			if err != nil {
				t.Fatalf("%s: Normalize: %v", step.name, err)
			}
			got := f.Read(schemas.Selection{Names: []schemas.Name{a, b}})
			if diff := cmp.Diff(want.Connections, got, harness.Compare()...); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", step.name, diff)
			}
			if left := operationsTo(f, step.want); len(left) > 0 {
				t.Fatalf("%s: an operation remains: %s", step.name, harness.Label(left[0]))
			}
			if diff := cmp.Diff(theirs, f.There(foreign), harness.Compare()...); diff != "" {
				t.Fatalf("%s: a foreign connection changed (-before +after):\n%s", step.name, diff)
			}
		}
	})
}

// operationsTo returns the smallest set of operations from the live to the desired state, in the order of a plan.
func operationsTo(f *harness.Fixture, want desired) []schemas.Operation {
	f.T.Helper()
	var sel schemas.Selection
	var normal schemas.State
	for _, n := range sorted(want) {
		sel.Names = append(sel.Names, n)
		if want[n] != nil {
			normal.Connections = append(normal.Connections, *want[n])
		}
	}
	normal, err := f.Writer.Normalize(normal)
	if err != nil {
		f.T.Fatalf("Normalize: %v", err)
	}
	goal, live := map[schemas.Name]schemas.Connection{}, map[schemas.Name]schemas.Connection{}
	for _, c := range normal.Connections {
		goal[c.Name] = c
	}
	for _, c := range f.Read(sel) {
		live[c.Name] = c
	}
	var create, update, revoke, grant, remove []schemas.Operation
	made := map[schemas.Name]string{}
	for _, n := range sorted(want) {
		w, wanted := goal[n]
		l, there := live[n]
		switch {
		case wanted && !there:
			op := f.Create(n, w.Payload)
			made[n] = op.ID
			create = append(create, op)
		case !wanted && there:
			op := f.Delete(n)
			op.NativeID = l.NativeID
			remove = append(remove, op)
			continue
		case !wanted:
			continue
		default:
			after := map[string]any{}
			for k, v := range w.Payload {
				if harness.Plain(v) != harness.Plain(l.Payload[k]) {
					after[k] = v
				}
			}
			if len(after) > 0 {
				op := f.Update(n, after)
				op.NativeID = l.NativeID
				update = append(update, op)
			}
		}
		for _, e := range w.Entitlements {
			if !has(l.Entitlements, e) {
				grant = append(grant, f.Grant(schemas.Key{Connection: n, Target: e.Target, Privilege: e.Privilege}))
			}
		}
		for _, e := range l.Entitlements {
			if !has(w.Entitlements, e) {
				op := f.Revoke(schemas.Key{Connection: n, Target: e.Target, Privilege: e.Privilege})
				op.NativeID, op.TargetID = l.NativeID, e.TargetID
				revoke = append(revoke, op)
			}
		}
	}
	for i := range grant {
		for _, n := range []schemas.Name{grant[i].Connection, *grant[i].Target} {
			if id, ok := made[n]; ok {
				grant[i].DependsOn = append(grant[i].DependsOn, id)
			}
		}
	}
	return slices.Concat(create, update, revoke, grant, remove)
}

func sorted(m desired) []schemas.Name { return slices.SortedFunc(maps.Keys(m), schemas.Name.Compare) }

func has(list []schemas.Entitlement, e schemas.Entitlement) bool {
	return slices.ContainsFunc(list, func(o schemas.Entitlement) bool {
		return o.Target == e.Target && o.Privilege == e.Privilege
	})
}
