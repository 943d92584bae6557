package suite

import (
	"errors"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

func testDeleteOwner(t harness.T, h harness.Harness) {
	each(t, h, func(c schemas.ConnectionType) bool { return c.Delete }, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		owner, ok := f.App.(harness.Owner)
		if !ok || !offers(f.App, "own") {
			t.Skip("connections don't own anything")
		}
		c := f.Make(typ, "owner")
		k := f.Somebody(typ, c, "member")
		f.Must(f.Grant(k))
		owner.Own(t, c)
		before := f.There(c)
		op := f.Delete(c)
		err := f.Refused(op, connectors.Conflict)
		if len(err.Dependents) == 0 {
			t.Error("the refusal doesn't list the owned objects")
		}
		if diff := cmp.Diff(before.Entitlements, f.There(c).Entitlements, harness.Compare()...); diff != "" {
			t.Errorf("a refused deletion removed something (-before +after):\n%s", diff)
		}
		heir := f.Make(typ, "heir")
		op = f.Delete(c)
		op.ReassignTo = heir.SourceName
		if !typ.Reassign {
			f.Refused(op, connectors.Unsupported)
			return
		}
		f.Twice(op)
		f.Gone(c)
	})
}

func testProtected(t harness.T, h harness.Harness) {
	f := harness.Start(t, h)
	p, ok := f.App.(harness.Protector)
	if !ok || !offers(f.App, "protected") {
		t.Skip("no connection is protected")
	}
	c := p.Protected(t)
	before := f.There(c)
	if before.Protected == "" {
		t.Fatalf("%q is read as an ordinary connection", c)
	}
	typ, _ := f.Description.Type(c.Type)
	k := f.Somebody(typ, c, "ambitious")
	ops := []schemas.Operation{f.Update(c, f.Payload(c.Type, 1)), f.Grant(k), f.Delete(c)}
	for op, o := range f.Try(ops...) {
		if o.Err == nil {
			t.Errorf("%s was applied to a protected connection", op)
		}
	}
	if diff := cmp.Diff(before, f.There(c), harness.Compare()...); diff != "" {
		t.Errorf("a protected connection changed (-before +after):\n%s", diff)
	}
}

func testBadInput(t harness.T, h harness.Harness) {
	each(t, h, canCreate, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		c := f.Make(typ, "good")
		k := f.Somebody(typ, c, "somebody")
		nobody := k
		nobody.Target.SourceName = f.App.Name("nobody_at_all")
		absent := k
		absent.Connection = f.Name(typ.Name, "absent")
		strange := f.Create(schemas.Name{Type: "no_such_type", SourceName: f.App.Name("x")}, nil)
		attribute := f.Create(f.Name(typ.Name, "attribute"), map[string]any{"no_such_attribute": true})
		wrong := f.Create(f.Name(typ.Name, "wrong"), map[string]any{})
		for name := range f.Harness.Payloads[typ.Name][0] {
			wrong.After[name] = []any{"a list", 1}
		}
		target, privilege := k, k
		target.Target.Type = "no_such_type"
		privilege.Privilege = "NO SUCH PRIVILEGE; --"
		targetless := f.Grant(k)
		targetless.Target = nil
		unknownKind := f.Grant(k)
		unknownKind.Kind = "no_such_kind"
		other := f.Create(f.Name(typ.Name, "other_id"), nil)
		stale := f.Update(c, f.Payload(typ.Name, 1))
		stale.NativeID = "no-such-id"
		cases := []struct {
			name  string
			op    schemas.Operation
			codes []connectors.Code
		}{
			{"unknown connection type", strange, []connectors.Code{connectors.Unsupported, connectors.Invalid}},
			{"unknown attribute", attribute, []connectors.Code{connectors.Unsupported, connectors.Invalid}},
			{"attribute of a wrong type", wrong, []connectors.Code{connectors.Invalid}},
			{"update of an absent connection", f.Update(absent.Connection, f.Payload(typ.Name, 1)), []connectors.Code{connectors.NotFound}},
			{"grant in an absent connection", f.Grant(absent), []connectors.Code{connectors.NotFound}},
			{"grant to nobody", f.Grant(nobody), []connectors.Code{connectors.NotFound}},
			{"unknown target type", f.Grant(target), []connectors.Code{connectors.Unsupported, connectors.Invalid}},
			{"unknown privilege", f.Grant(privilege), []connectors.Code{connectors.Unsupported, connectors.Invalid}},
			{"no target", targetless, []connectors.Code{connectors.Invalid, connectors.Unsupported}},
			{"unknown kind", unknownKind, []connectors.Code{connectors.Invalid, connectors.Unsupported}},
			{"another native id", stale, []connectors.Code{connectors.Conflict}},
		}
		before := f.Read(f.Scope())
		for _, c := range cases {
			if c.name == "attribute of a wrong type" && len(wrong.After) == 0 || c.name == "update of an absent connection" && !typ.Update ||
				c.name == "another native id" && !typ.Update {
				continue
			}
			f.Refused(c.op, c.codes...)
			if diff := cmp.Diff(before, f.Read(f.Scope()), harness.Compare()...); diff != "" {
				t.Fatalf("%s changed something (-before +after):\n%s", c.name, diff)
			}
		}
		// Revoking an absent entitlement succeeds.
		f.Twice(f.Revoke(k), f.Revoke(nobody), f.Revoke(absent))
		// In one Apply, bad operations don't affect good ones.
		ops := []schemas.Operation{other}
		for _, c := range cases {
			c.op.ID += "-again"
			ops = append(ops, c.op)
		}
		ops = append(ops, f.Grant(k))
		out := f.Try(ops...)
		for _, op := range []schemas.Operation{ops[0], ops[len(ops)-1]} {
			if err := out[op.ID].Err; err != nil {
				t.Errorf("%s together with bad operations: %v", harness.Label(op), err)
			}
		}
		f.There(other.Connection)
		f.Holds(c, harness.Entitlement(k))
	})
}

func testDependents(t harness.T, h harness.Harness) {
	each(t, h, canCreate, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		k := f.Somebody(typ, f.Name(typ.Name, "second"), "somebody")
		bad := f.Create(f.Name(typ.Name, "bad"), map[string]any{"no_such_attribute": true})
		first := f.Create(f.Name(typ.Name, "first"), nil)
		onBad := f.Create(f.Name(typ.Name, "on_bad"), nil)
		onBad.DependsOn = []string{bad.ID}
		second := f.Create(f.Name(typ.Name, "second"), nil)
		onBoth := f.Create(f.Name(typ.Name, "on_both"), nil)
		onBoth.DependsOn = []string{second.ID, onBad.ID}
		onGood := f.Grant(k)
		onGood.DependsOn = []string{second.ID, "an-operation-of-an-earlier-run"}
		last := f.Create(f.Name(typ.Name, "last"), nil)
		out := f.Try(first, bad, onBad, second, onBoth, onGood, last)
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
			t.Errorf("a blocked operation's error doesn't name the failed one: %v", typed.Dependents)
		}
		for _, op := range []schemas.Operation{first, second, last} {
			f.There(op.Connection)
		}
		for _, op := range []schemas.Operation{bad, onBad, onBoth} {
			f.Gone(op.Connection)
		}
		f.Holds(second.Connection, harness.Entitlement(k))
	})
}
