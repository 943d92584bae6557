package suite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// refused applies one operation that has to end in one of the codes.
func (f *fixture) refused(op schemas.Operation, codes ...connectors.Code) *connectors.Error {
	f.t.Helper()
	err := f.try(op)[op.ID].Err
	if err == nil {
		f.t.Fatalf("%s was applied, want %v", describe(op), codes)
	}
	if !slices.Contains(codes, connectors.CodeOf(err)) {
		f.t.Fatalf("%s: code %q (%v), want %v", describe(op), connectors.CodeOf(err), err, codes)
	}
	var typed *connectors.Error
	errors.As(err, &typed)
	return typed
}

func testBadInput(t T, h Harness) {
	each(t, h, canCreate, func(t T, f *fixture, typ connectors.ConnectionType) {
		c := f.make(typ, "good")
		k := f.somebody(typ, c, "somebody")
		nobody := k
		nobody.Target.SourceName = f.app.Name("nobody_at_all")
		absent := k
		absent.Connection = f.name(typ.Name, "absent")
		strange := f.create(schemas.Name{Type: "no_such_type", SourceName: f.app.Name("x")}, nil)
		attribute := f.create(f.name(typ.Name, "attribute"), map[string]any{"no_such_attribute": true})
		wrong := f.create(f.name(typ.Name, "wrong"), map[string]any{})
		for name := range f.h.Payloads[typ.Name][0] {
			wrong.After[name] = []any{"a list", 1}
		}
		target, privilege := k, k
		target.Target.Type = "no_such_type"
		privilege.Privilege = "NO SUCH PRIVILEGE; --"
		targetless := f.grant(k)
		targetless.Target = nil
		unknownKind := f.grant(k)
		unknownKind.Kind = "no_such_kind"
		other := f.create(f.name(typ.Name, "other_id"), nil)
		stale := f.update(c, f.payload(typ.Name, 1))
		stale.NativeID = "no-such-id"
		cases := []struct {
			name  string
			op    schemas.Operation
			codes []connectors.Code
		}{
			{"unknown connection type", strange, []connectors.Code{connectors.Unsupported, connectors.Invalid}},
			{"unknown attribute", attribute, []connectors.Code{connectors.Unsupported, connectors.Invalid}},
			{"attribute of a wrong type", wrong, []connectors.Code{connectors.Invalid}},
			{"update of what is not there", f.update(absent.Connection, f.payload(typ.Name, 1)), []connectors.Code{connectors.NotFound}},
			{"grant in what is not there", f.grant(absent), []connectors.Code{connectors.NotFound}},
			{"grant to nobody", f.grant(nobody), []connectors.Code{connectors.NotFound}},
			{"unknown target type", f.grant(target), []connectors.Code{connectors.Unsupported, connectors.Invalid}},
			{"unknown privilege", f.grant(privilege), []connectors.Code{connectors.Unsupported, connectors.Invalid}},
			{"no target", targetless, []connectors.Code{connectors.Invalid, connectors.Unsupported}},
			{"unknown kind", unknownKind, []connectors.Code{connectors.Invalid, connectors.Unsupported}},
			{"another native id", stale, []connectors.Code{connectors.Conflict}},
		}
		before := f.read(f.scope())
		for _, c := range cases {
			if c.name == "attribute of a wrong type" && len(wrong.After) == 0 || c.name == "update of what is not there" && !typ.Update ||
				c.name == "another native id" && !typ.Update {
				continue
			}
			f.refused(c.op, c.codes...)
			if diff := cmp.Diff(before, f.read(f.scope()), compare()...); diff != "" {
				t.Fatalf("%s changed something (-before +after):\n%s", c.name, diff)
			}
		}
		// Revoking what nobody holds is done already.
		f.twice(f.revoke(k), f.revoke(nobody), f.revoke(absent))
		// In one Apply, the bad ones harm no good one.
		ops := []schemas.Operation{other}
		for _, c := range cases {
			c.op.ID += "-again"
			ops = append(ops, c.op)
		}
		ops = append(ops, f.grant(k))
		out := f.try(ops...)
		for _, op := range []schemas.Operation{ops[0], ops[len(ops)-1]} {
			if err := out[op.ID].Err; err != nil {
				t.Errorf("%s beside bad operations: %v", describe(op), err)
			}
		}
		f.there(other.Connection)
		f.holds(c, entitlement(k))
	})
}

func testDependents(t T, h Harness) {
	each(t, h, canCreate, func(t T, f *fixture, typ connectors.ConnectionType) {
		k := f.somebody(typ, f.name(typ.Name, "second"), "somebody")
		bad := f.create(f.name(typ.Name, "bad"), map[string]any{"no_such_attribute": true})
		first := f.create(f.name(typ.Name, "first"), nil)
		onBad := f.create(f.name(typ.Name, "on_bad"), nil)
		onBad.DependsOn = []string{bad.ID}
		second := f.create(f.name(typ.Name, "second"), nil)
		onBoth := f.create(f.name(typ.Name, "on_both"), nil)
		onBoth.DependsOn = []string{second.ID, onBad.ID}
		onGood := f.grant(k)
		onGood.DependsOn = []string{second.ID, "an-operation-of-an-earlier-run"}
		last := f.create(f.name(typ.Name, "last"), nil)
		out := f.try(first, bad, onBad, second, onBoth, onGood, last)
		want := map[string]connectors.Code{
			first.ID: "", onBad.ID: connectors.Blocked, second.ID: "", onBoth.ID: connectors.Blocked, onGood.ID: "", last.ID: "",
		}
		for id, code := range want {
			if err := out[id].Err; connectors.CodeOf(err) != code || (code == "") != (err == nil) {
				t.Errorf("%s: got code %q (%v), want %q", id, connectors.CodeOf(err), err, code)
			}
		}
		if out[bad.ID].Err == nil {
			t.Error("the bad operation was applied")
		}
		var typed *connectors.Error
		if errors.As(out[onBad.ID].Err, &typed) && !slices.Contains(typed.Dependents, bad.ID) {
			t.Errorf("what is blocked does not name the failed operation: %v", typed.Dependents)
		}
		for _, op := range []schemas.Operation{first, second, last} {
			f.there(op.Connection)
		}
		for _, op := range []schemas.Operation{bad, onBad, onBoth} {
			f.gone(op.Connection)
		}
		f.holds(second.Connection, entitlement(k))
	})
}

func testCancellation(t T, h Harness) {
	each(t, h, canCreate, func(t T, f *fixture, typ connectors.ConnectionType) {
		var ops []schemas.Operation
		for i := range 40 {
			ops = append(ops, f.create(f.name(typ.Name, fmt.Sprintf("c_%02d", i)), f.payload(typ.Name, i%2)))
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		out, err := apply(ended, f.w, ops)
		if err == nil {
			t.Error("Apply with an ended context has no error")
		}
		for _, o := range out {
			if o.Err == nil {
				t.Errorf("%s was applied with an ended context", o.Operation)
			}
		}
		for _, op := range ops {
			f.gone(op.Connection)
		}
		if _, err := f.w.Read(ended, f.scope()); err == nil {
			t.Error("Read with an ended context has no error")
		}
		for _, after := range []int{1, 20, 40} {
			ctx, cancel := context.WithCancel(t.Context())
			applied := map[string]bool{}
			n := 0
			w := f.open()
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
			// What was reported as applied is there, whatever became of the rest.
			for _, op := range ops {
				if applied[op.ID] {
					f.there(op.Connection)
				}
			}
			if err == nil && len(applied) != len(ops) {
				t.Errorf("Apply was stopped after %d of %d operations and says nothing", len(applied), len(ops))
			}
		}
		f.must(ops...)
		if got := f.read(f.scope()); len(got) != len(ops) {
			t.Errorf("%d connections, want %d", len(got), len(ops))
		}
	})
}

// awkward are names that a connector must either hold, letter for letter, or refuse by its rule.
func awkward() []string {
	return []string{
		`it's`, `"double"`, `a "b" c`, "`tick`", `two words`, ` leading`, `trailing `, `a;b`, `x; DROP TABLE t; --`, `back\slash`, `100%`,
		`%s%d`, `UPPER`, `Mixed`, `mixed`, `a.b`, `a,b`, `a/b`, `a:b`, `a=b`, `(a)`, `{a}`, `[a]`, `<a>`, `$a`, `$1`, `:a`, `@a`, `#a`, `-a`, `--`, `/* a */`, `*`, `a*`, `?`,
		`é`, `e` + "\u0301", `名前`, `имя`, `😀`, `ﬀ`, "tab\tbed", "new\nline", "cr\rx", "nul\x00x", "\xff\xfe", "\u202eabc", "zero\u200bwidth",
		`select`, `user`, `group`, `null`, `true`, `1`, `1e3`, `''`, `""`, `\`, `\n`, `\'`,
		strings.Repeat("n", 60), strings.Repeat("é", 31), strings.Repeat("n", 200), strings.Repeat("n", 5000), "",
	}
}

func testNames(t T, h Harness) {
	each(t, h, canCreate, func(t T, f *fixture, typ connectors.ConnectionType) {
		var good []schemas.Name
		folded := map[string]bool{}
		for _, word := range awkward() {
			c := f.name(typ.Name, word)
			if word == "" {
				c.SourceName = ""
			}
			if err := typ.Names.Check(c.SourceName); err != nil || c.SourceName == "" {
				f.refused(f.create(c, nil), connectors.Invalid, connectors.Unsupported)
				if f.one(c) != nil {
					t.Errorf("%q is there after it was refused", c)
				}
				continue
			}
			if key := strings.ToLower(c.SourceName); typ.Names.FoldCase {
				if folded[key] {
					continue
				}
				folded[key] = true
			}
			good = append(good, c)
		}
		if len(good) == 0 {
			t.Fatal("the connector holds none of the names, not even 60 letters")
		}
		var ops []schemas.Operation
		for i, c := range good {
			ops = append(ops, f.create(c, f.payload(typ.Name, i%2)))
		}
		f.twice(ops...)
		k := map[string]schemas.Key{}
		for _, c := range good {
			if got := f.there(c); got.SourceName != c.SourceName && !typ.Names.FoldCase {
				t.Errorf("got %q, want %q", got.SourceName, c.SourceName)
			}
		}
		if got := f.read(f.scope()); len(got) != len(good) {
			t.Errorf("%d connections after making %d", len(got), len(good))
		}
		// Each can be changed, given something, and deleted, and no other is touched.
		for i, c := range good {
			key := f.somebody(typ, c, "somebody")
			k[c.SourceName] = key
			step := []schemas.Operation{f.grant(key)}
			if typ.Update {
				step = append(step, f.update(c, f.payload(typ.Name, (i+1)%2)))
			}
			f.must(step...)
		}
		for i, c := range good {
			f.holds(c, entitlement(k[c.SourceName]))
			if diff := cmp.Diff(f.payload(typ.Name, (i+1)%2), f.there(c).Payload, compare()...); typ.Update && diff != "" {
				t.Errorf("payload of %q (-want +got):\n%s", c, diff)
			}
		}
		if !typ.Delete {
			return
		}
		for i, c := range good {
			f.must(f.delete(c))
			// What was made to be given may be a connection of another type, and stays.
			mine := connectors.Selection{Scope: map[string][]string{typ.Name: {f.app.Name("*")}}}
			if got, want := len(f.read(mine)), len(good)-i-1; got != want {
				t.Fatalf("%d connections after deleting %q, want %d", got, c, want)
			}
		}
	})
	t.Run("targets", func(t T) { testTargetNames(t, h) })
}

// testTargetNames grants targets of awkward names.
func testTargetNames(t T, h Harness) {
	each(t, h, func(c connectors.ConnectionType) bool { return len(c.Grantable) > 0 }, func(t T, f *fixture, typ connectors.ConnectionType) {
		c := f.make(typ, "holder")
		for _, g := range typ.Grantable {
			if !g.Grant || !g.Revoke {
				continue
			}
			var ops, undo []schemas.Operation
			var want []connectors.Entitlement
			for _, word := range []string{`it's`, `two words`, `a;b`, `back\slash`, `100%`, `UPPER`, `Mixed`, `mixed`, `é`, `名前`, `select`, `$1`, `a-b`} {
				// The harness makes connections and identities under Name(word); only what the rule lets pass is asked for.
				word += "-" + g.Type
				if g.Names.Check(f.app.Name(word)) != nil {
					continue
				}
				if g.Names.FoldCase && word != strings.ToLower(word) {
					continue
				}
				target, ok := f.target(g, word)
				if !ok {
					break
				}
				k := schemas.Key{Connection: c, Target: target, Privilege: g.Privileges[0]}
				ops, undo, want = append(ops, f.grant(k)), append(undo, f.revoke(k)), append(want, entitlement(k))
				ops[len(ops)-1].ID += "-" + g.Type
			}
			if g.Single {
				for i := range ops {
					f.twice(ops[i])
					f.holds(c, want[i])
					if i+1 < len(ops) {
						f.refused(ops[i+1], connectors.Conflict)
						f.holds(c, want[i])
					}
					f.twice(undo[i])
				}
				f.holds(c)
				continue
			}
			f.twice(ops...)
			f.holds(c, want...)
			f.twice(undo...)
			f.clear(c)
			f.holds(c)
		}
	})
}

func testForeign(t T, h Harness) {
	each(t, h, canCreate, func(t T, f *fixture, typ connectors.ConnectionType) {
		theirs := f.name(typ.Name, "theirs")
		f.app.AddConnection(t, theirs)
		in := f.somebody(typ, theirs, "stranger")
		f.app.Grant(t, in)
		ours := f.make(typ, "ours")
		mixed := f.somebody(typ, ours, "stranger")
		f.app.Grant(t, mixed)
		mine := f.somebody(typ, ours, "friend")
		before := f.there(theirs)

		f.holds(theirs, entitlement(in))
		f.twice(f.grant(mine))
		f.holds(ours, entitlement(mixed), entitlement(mine))
		if typ.Update {
			f.twice(f.update(ours, f.payload(typ.Name, 1)))
		}
		f.twice(f.revoke(mine))
		f.holds(ours, entitlement(mixed))
		if typ.Delete {
			gone := f.make(typ, "gone")
			also := f.somebody(typ, gone, "stranger")
			f.must(f.grant(also), f.delete(gone))
		}
		if diff := cmp.Diff(before, f.there(theirs), compare()...); diff != "" {
			t.Errorf("what is not ours changed (-before +after):\n%s", diff)
		}
		f.holds(ours, entitlement(mixed))
		// What a hand takes away is seen to be gone, and can be given again.
		f.must(f.grant(mine))
		f.app.Revoke(t, mine)
		f.holds(ours, entitlement(mixed))
		f.must(f.grant(mine))
		f.holds(ours, entitlement(mixed), entitlement(mine))
		f.app.Revoke(t, in)
		f.app.DropConnection(t, theirs)
		f.gone(theirs)
	})
}

func testIncomplete(t T, h Harness) {
	f := start(t, h)
	b, ok := optional[Breaker](f.app, "break")
	if !ok {
		t.Skip("the harness cannot make a read incomplete")
	}
	typ := f.d.Types[max(0, slices.IndexFunc(f.d.Types, canCreate))]
	c := f.make(typ, "whole")
	k := f.somebody(typ, c, "member")
	f.must(f.grant(k))
	for _, broken := range b.Break(t) {
		t.Run(broken.Name, func(t T) {
			cfg := broken.Start(t)
			r, err := h.Connector.OpenReader(t.Context(), cfg)
			if err != nil {
				for _, fault := range errorFaults(err) {
					t.Error(fault)
				}
				return
			}
			defer func() {
				if err := r.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			for name, sel := range map[string]connectors.Selection{"everything": {}, "scope": f.scope(), "names": {Names: []schemas.Name{c}}} {
				s, err := r.Read(t.Context(), sel)
				if err == nil && s.Incomplete == "" {
					t.Errorf("Read of %s says that it is whole, with %d connections", name, len(s.Connections))
				}
				if err != nil {
					for _, fault := range errorFaults(err) {
						t.Error(fault)
					}
				}
				if strings.Contains(s.Incomplete, Canary) {
					t.Error("State.Incomplete holds a secret")
				}
			}
			if !broken.Corrupt {
				return
			}
			if _, err := r.List(t.Context(), connectors.Query{Type: typ.Name}); err == nil {
				t.Error("List of a corrupt application has no error")
			}
			w, err := h.Connector.OpenWriter(t.Context(), cfg)
			if err != nil {
				return
			}
			defer func() {
				if err := w.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			out, err := apply(t.Context(), w, []schemas.Operation{f.revoke(k)})
			if err == nil && (len(out) != 1 || out[0].Err == nil) {
				t.Error("Apply worked on a corrupt application")
			}
		})
	}
}

func testIdentityStates(t T, h Harness) {
	each(t, h, func(c connectors.ConnectionType) bool { return len(c.Grantable) > 0 }, func(t T, f *fixture, typ connectors.ConnectionType) {
		s, ok := optional[IdentityStater](f.app, "set_identity_state")
		if !ok {
			t.Skip("identities have no states")
		}
		for _, g := range typ.Grantable {
			if g.Edge != connectors.EdgeIdentity || !g.Grant {
				continue
			}
			for _, state := range []string{connectors.StateInvited, connectors.StateExpired, connectors.StateBlocked} {
				c := f.make(typ, "with_"+state+"_"+g.Type)
				plainly := f.app.AddIdentity(t, g.Type, "plainly_"+state)
				who := f.app.AddIdentity(t, g.Type, "is_"+state)
				if !s.SetIdentityState(t, who, state) {
					continue
				}
				items := f.list(connectors.Query{Type: g.Type, Names: []string{who.SourceName}})
				if len(items) != 1 || items[0].State != state {
					t.Errorf("List of %q: %+v, want one with state %s", who, items, state)
				}
				a := schemas.Key{Connection: c, Target: who, Privilege: g.Privileges[0]}
				b := schemas.Key{Connection: c, Target: plainly, Privilege: g.Privileges[0]}
				f.twice(f.grant(a), f.grant(b))
				got := f.there(c).Entitlements
				for _, e := range got {
					want := ""
					if e.Target == who {
						want = state
					}
					if e.State != want {
						t.Errorf("%q has the state %q, want %q", e.Target, e.State, want)
					}
				}
				if len(got) < 2 {
					t.Errorf("%d entitlements, want 2: a state is no absence", len(got))
				}
				f.twice(f.revoke(a))
				f.holds(c, entitlement(b))
			}
		}
	})
}

func testRemovedIdentity(t T, h Harness) {
	each(t, h, func(c connectors.ConnectionType) bool { return len(c.Grantable) > 0 }, func(t T, f *fixture, typ connectors.ConnectionType) {
		for _, g := range typ.Grantable {
			if g.Edge != connectors.EdgeIdentity || !g.Grant || !g.Revoke {
				continue
			}
			c := f.make(typ, "left_by_"+g.Type)
			leaver, stayer := f.app.AddIdentity(t, g.Type, "leaver"), f.app.AddIdentity(t, g.Type, "stayer")
			gone := schemas.Key{Connection: c, Target: leaver, Privilege: g.Privileges[0]}
			stays := schemas.Key{Connection: c, Target: stayer, Privilege: g.Privileges[0]}
			f.must(f.grant(gone))
			f.app.RemoveIdentity(t, leaver)
			f.holds(c)
			// One who left stops nobody else.
			again, other, away := f.grant(gone), f.grant(stays), f.revoke(gone)
			out := f.try(again, other, away)
			if code := connectors.CodeOf(out[again.ID].Err); code != connectors.NotFound {
				t.Errorf("a grant to one who left has the code %q (%v), want %s", code, out[again.ID].Err, connectors.NotFound)
			}
			for _, op := range []schemas.Operation{other, away} {
				if err := out[op.ID].Err; err != nil {
					t.Errorf("%s: %v", describe(op), err)
				}
			}
			f.holds(c, entitlement(stays))
		}
	})
}

func testTwoWriters(t T, h Harness) {
	each(t, h, canCreate, func(t T, f *fixture, typ connectors.ConnectionType) {
		const writers, each = 2, 12
		shared := f.make(typ, "shared")
		var keys [writers][]schemas.Key
		var ops [writers][]schemas.Operation
		var own [writers]schemas.Name
		for i := range writers {
			own[i] = f.name(typ.Name, fmt.Sprintf("own_%d", i))
			ops[i] = append(ops[i], f.create(own[i], f.payload(typ.Name, i)))
			for j := range each {
				k := f.somebody(typ, shared, fmt.Sprintf("p_%d_%02d", i, j))
				mine := k
				mine.Connection = own[i]
				keys[i] = append(keys[i], k)
				ops[i] = append(ops[i], f.grant(k), f.grant(mine))
			}
		}
		var group sync.WaitGroup
		var faults [writers]error
		for i := range writers {
			w := f.open()
			// One Apply for each operation, so that the two take turns as often as can be.
			group.Go(func() { faults[i] = persist(t.Context(), w, ops[i]) })
		}
		group.Wait()
		for i, err := range faults {
			if err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		}
		var want []connectors.Entitlement
		for i := range writers {
			var mine []connectors.Entitlement
			for _, k := range keys[i] {
				want, mine = append(want, entitlement(k)), append(mine, entitlement(k))
			}
			f.holds(own[i], mine...)
		}
		f.holds(shared, want...)
	})
}

// persist applies operations one by one, and again where somebody else was in the way.
func persist(ctx context.Context, w connectors.Writer, ops []schemas.Operation) error {
	for _, op := range ops {
		var err error
		for range 20 {
			var out []connectors.Outcome
			if out, err = apply(ctx, w, []schemas.Operation{op}); err == nil && len(out) == 1 {
				err = out[0].Err
			}
			if code := connectors.CodeOf(err); code != connectors.Conflict && code != connectors.Unavailable {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", describe(op), err)
		}
	}
	return nil
}
