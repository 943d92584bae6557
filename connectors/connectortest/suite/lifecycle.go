package suite

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// each runs a case for every connection type that satisfies a condition.
func each(t T, h Harness, able func(connectors.ConnectionType) bool, run func(T, *fixture, connectors.ConnectionType)) {
	t.Helper()
	some := false
	for _, typ := range h.Connector.Describe().Types {
		if !able(typ) {
			continue
		}
		some = true
		t.Run(typ.Name, func(t T) {
			if !h.Serial {
				t.Parallel()
			}
			f := start(t, h)
			installed, ok := f.d.Type(typ.Name)
			if !ok {
				t.Skipf("this installation has no connections of type %s", typ.Name)
			}
			if !able(installed) {
				t.Skipf("this installation cannot do this with a %s", typ.Name)
			}
			run(t, f, installed)
		})
	}
	if !some {
		t.Skip("no type of connection can do this")
	}
}

func canCreate(c connectors.ConnectionType) bool { return c.Create }

// make makes a connection, through the connector where it can.
func (f *fixture) make(typ connectors.ConnectionType, word string) schemas.Name {
	f.t.Helper()
	c := f.name(typ.Name, word)
	if typ.Create {
		f.must(f.create(c, f.payload(typ.Name, 0)))
	} else {
		f.app.AddConnection(f.t, c)
	}
	return c
}

// target makes something that can be given. It returns false for resources that the harness cannot make.
func (f *fixture) target(g connectors.GrantableType, word string) (schemas.Name, bool) {
	f.t.Helper()
	switch g.Edge {
	case connectors.EdgeResource:
		return f.app.AddResource(f.t, g.Type, word)
	case connectors.EdgeIdentity:
		return f.app.AddIdentity(f.t, g.Type, word), true
	}
	c := f.name(g.Type, word)
	if f.one(c) == nil {
		typ, _ := f.d.Type(g.Type)
		f.make(typ, word)
	}
	return c, true
}

// somebody is an entitlement that can be granted and revoked: the first of the type, members first.
func (f *fixture) somebody(typ connectors.ConnectionType, c schemas.Name, word string) schemas.Key {
	f.t.Helper()
	list := slices.Clone(typ.Grantable)
	slices.SortStableFunc(list, func(a, b connectors.GrantableType) int { return rank(a.Edge) - rank(b.Edge) })
	for _, g := range list {
		if !g.Grant || !g.Revoke {
			continue
		}
		if target, ok := f.target(g, word); ok {
			return schemas.Key{Connection: c, Target: target, Privilege: g.Privileges[0]}
		}
	}
	f.t.Skipf("nothing can be granted and revoked in %s", typ.Name)
	return schemas.Key{}
}

func rank(e connectors.Edge) int {
	return slices.Index([]connectors.Edge{connectors.EdgeIdentity, connectors.EdgeResource, connectors.EdgeMember, connectors.EdgeConnection}, e)
}

func entitlement(k schemas.Key) connectors.Entitlement {
	return connectors.Entitlement{Target: k.Target, Privilege: k.Privilege}
}

func testOpen(t T, h Harness) {
	app := h.Start(t)
	r, err := h.Connector.OpenReader(t.Context(), app.Config())
	if err != nil {
		t.Fatalf("OpenReader: %v", err)
	}
	if s, err := r.Read(t.Context(), connectors.Selection{}); err != nil || s.Incomplete != "" {
		t.Errorf("Read of everything: %v %s", err, s.Incomplete)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for _, c := range h.Faulty {
		t.Run(c.Name, func(t T) {
			cfg := c.Config(t, app.Config())
			var log bytes.Buffer
			cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			defer func() {
				if strings.Contains(log.String(), Canary) {
					t.Error("the log holds a secret")
				}
			}()
			r, err := h.Connector.OpenReader(t.Context(), cfg)
			if err == nil {
				_, err = r.Read(t.Context(), connectors.Selection{})
				if cerr := r.Close(); cerr != nil {
					t.Errorf("Close: %v", cerr)
				}
			}
			if err == nil {
				t.Fatal("a faulty config was accepted")
			}
			for _, fault := range errorFaults(err) {
				t.Error(fault)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg), Canary) {
				t.Error("the harness's own config prints the secret: use connectors.NewSecret")
			}
			if got := connectors.CodeOf(err); got != c.Code {
				t.Errorf("got code %q (%v), want %q", got, err, c.Code)
			}
			w, err := h.Connector.OpenWriter(t.Context(), cfg)
			if err != nil {
				for _, fault := range errorFaults(err) {
					t.Error(fault)
				}
				return
			}
			if err := w.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

func testCreate(t T, h Harness) {
	each(t, h, canCreate, func(t T, f *fixture, typ connectors.ConnectionType) {
		for i := range f.h.Payloads[typ.Name] {
			c := f.name(typ.Name, fmt.Sprintf("made_%d", i))
			f.gone(c)
			f.twice(f.create(c, f.payload(typ.Name, i)))
			got := f.there(c)
			if diff := cmp.Diff(f.payload(typ.Name, i), got.Payload, compare()...); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
			if len(got.Entitlements) > 0 || got.Protected != "" {
				t.Errorf("a new connection has entitlements or is protected: %+v", got)
			}
		}
		// Attributes that have a default need not be said.
		c := f.name(typ.Name, "bare")
		f.twice(f.create(c, nil))
		schema, err := parsePayload(typ.Payload)
		if err != nil {
			t.Fatal(err)
		}
		got := f.there(c)
		for _, name := range schema.names() {
			if want, ok := schema.defaultOf(name); ok && plain(got.Payload[name]) != plain(want) {
				t.Errorf("%s is %v by default, the schema says %v", name, got.Payload[name], want)
			}
		}
	})
}

func testUpdate(t T, h Harness) {
	each(t, h, func(c connectors.ConnectionType) bool { return c.Update }, func(t T, f *fixture, typ connectors.ConnectionType) {
		c := f.make(typ, "changing")
		bystander := f.make(typ, "bystander")
		want := f.payload(typ.Name, 0)
		f.must(f.update(c, want))
		check := func() {
			t.Helper()
			if diff := cmp.Diff(want, f.there(c).Payload, compare()...); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
		}
		check()
		changed := 0
		for _, name := range slices.Sorted(maps.Keys(want)) {
			to := f.h.Payloads[typ.Name][1][name]
			if plain(want[name]) == plain(to) {
				continue
			}
			changed++
			f.twice(f.update(c, map[string]any{name: to}))
			want[name] = to
			check()
		}
		if changed == 0 {
			t.Error("the harness's two payloads do not differ")
		}
		// Back at once.
		want = f.payload(typ.Name, 0)
		f.twice(f.update(c, want))
		check()
		if diff := cmp.Diff(f.payload(typ.Name, 0), f.there(bystander).Payload, compare()...); diff != "" {
			t.Errorf("another connection changed (-want +got):\n%s", diff)
		}
	})
}

func testAbsentAttributes(t T, h Harness) {
	each(t, h, func(c connectors.ConnectionType) bool { return c.Update }, func(t T, f *fixture, typ connectors.ConnectionType) {
		c := f.make(typ, "kept")
		f.must(f.update(c, f.payload(typ.Name, 1)))
		want := f.there(c)
		for _, after := range []map[string]any{nil, {}} {
			f.must(f.update(c, after))
			if diff := cmp.Diff(want, f.there(c), compare()...); diff != "" {
				t.Errorf("an update of nothing changed something (-want +got):\n%s", diff)
			}
		}
		nulls := map[string]any{}
		for k := range want.Payload {
			nulls[k] = nil
		}
		f.must(f.update(c, nulls))
		if diff := cmp.Diff(want, f.there(c), compare()...); diff != "" {
			t.Errorf("null is no value and leaves the attribute alone (-want +got):\n%s", diff)
		}
	})
}

func testGrantRevoke(t T, h Harness) {
	each(t, h, func(c connectors.ConnectionType) bool { return len(c.Grantable) > 0 }, func(t T, f *fixture, typ connectors.ConnectionType) {
		c := f.make(typ, "holder")
		for _, g := range typ.Grantable {
			target, ok := f.target(g, "given_"+g.Type)
			if !ok {
				t.Logf("%s: not made by the harness", g.Type)
				continue
			}
			for _, p := range g.Privileges {
				k := schemas.Key{Connection: c, Target: target, Privilege: p}
				if g.Grant {
					f.twice(f.grant(k))
				} else {
					f.app.Grant(t, k)
					f.refused(f.grant(schemas.Key{Connection: c, Target: target, Privilege: p}), connectors.Unsupported)
				}
				f.holds(c, entitlement(k))
				if g.Revoke {
					f.twice(f.revoke(k))
				} else {
					f.refused(f.revoke(k), connectors.Unsupported)
					f.holds(c, entitlement(k))
					f.app.Revoke(t, k)
				}
				for _, e := range f.there(c).Entitlements {
					if e.Target == target && e.Privilege == p {
						t.Errorf("%v is still held after its revocation", k)
					}
				}
				f.clear(c)
			}
			// All privileges at once, and one taken away leaves the others.
			if !g.Grant || !g.Revoke || len(g.Privileges) < 2 || g.Edge != connectors.EdgeResource {
				continue
			}
			var ops []schemas.Operation
			var want []connectors.Entitlement
			for _, p := range g.Privileges {
				k := schemas.Key{Connection: c, Target: target, Privilege: p}
				ops = append(ops, f.grant(k))
				want = append(want, entitlement(k))
			}
			f.twice(ops...)
			f.holds(c, want...)
			f.twice(f.revoke(schemas.Key{Connection: c, Target: target, Privilege: g.Privileges[0]}))
			f.holds(c, want[1:]...)
			f.clear(c)
		}
	})
}

// clear revokes whatever a connection holds.
func (f *fixture) clear(c schemas.Name) {
	f.t.Helper()
	var ops []schemas.Operation
	for _, e := range f.there(c).Entitlements {
		ops = append(ops, f.revoke(schemas.Key{Connection: c, Target: e.Target, Privilege: e.Privilege}))
	}
	f.must(ops...)
}

func testDelete(t T, h Harness) {
	each(t, h, func(c connectors.ConnectionType) bool { return c.Delete }, func(t T, f *fixture, typ connectors.ConnectionType) {
		empty := f.make(typ, "empty")
		f.twice(f.delete(empty))
		f.gone(empty)
		f.twice(f.delete(f.name(typ.Name, "never_was")))

		// A deletion takes everything with it, on both sides, and nothing else.
		full, other := f.make(typ, "full"), f.make(typ, "other")
		var keep []connectors.Entitlement
		for _, g := range typ.Grantable {
			if !g.Grant {
				continue
			}
			target, ok := f.target(g, "shared_"+g.Type)
			if !ok {
				continue
			}
			if g.Single && g.Type == typ.Name {
				f.must(f.grant(schemas.Key{Connection: other, Target: full, Privilege: g.Privileges[0]}))
				continue
			}
			mine := schemas.Key{Connection: full, Target: target, Privilege: g.Privileges[0]}
			its := schemas.Key{Connection: other, Target: target, Privilege: g.Privileges[0]}
			f.must(f.grant(mine), f.grant(its))
			keep = append(keep, entitlement(its))
			if g.Type == typ.Name {
				f.must(f.grant(schemas.Key{Connection: other, Target: full, Privilege: g.Privileges[0]}))
			}
		}
		f.twice(f.delete(full))
		f.gone(full)
		f.holds(other, keep...)
		for _, e := range keep {
			if len(f.list(connectors.Query{Type: e.Target.Type, Names: []string{e.Target.SourceName}})) != 1 {
				t.Errorf("%q went with a connection that had it", e.Target)
			}
		}
		// What was deleted can be made again, and has nothing of its past life.
		if typ.Create {
			f.must(f.create(full, f.payload(typ.Name, 0)))
			f.holds(full)
			f.holds(other, keep...)
		}
	})
}

func testDeleteOwner(t T, h Harness) {
	each(t, h, func(c connectors.ConnectionType) bool { return c.Delete }, func(t T, f *fixture, typ connectors.ConnectionType) {
		owner, ok := optional[Owner](f.app, "own")
		if !ok {
			t.Skip("connections own nothing")
		}
		c := f.make(typ, "owner")
		k := f.somebody(typ, c, "member")
		f.must(f.grant(k))
		before := f.there(c)
		owner.Own(t, c)
		op := f.delete(c)
		err := f.refused(op, connectors.Conflict)
		if len(err.Dependents) == 0 {
			t.Error("the refusal does not say what is owned")
		}
		if diff := cmp.Diff(before.Entitlements, f.there(c).Entitlements, compare()...); diff != "" {
			t.Errorf("a refused deletion took something away (-before +after):\n%s", diff)
		}
		heir := f.make(typ, "heir")
		op = f.delete(c)
		op.ReassignTo = heir.SourceName
		if !typ.Reassign {
			f.refused(op, connectors.Unsupported)
			return
		}
		f.twice(op)
		f.gone(c)
	})
}

func testProtected(t T, h Harness) {
	f := start(t, h)
	p, ok := optional[Protector](f.app, "protected")
	if !ok {
		t.Skip("nothing is protected")
	}
	c := p.Protected(t)
	before := f.there(c)
	if before.Protected == "" {
		t.Fatalf("%q is read as an ordinary connection", c)
	}
	typ, _ := f.d.Type(c.Type)
	k := f.somebody(typ, c, "ambitious")
	ops := []schemas.Operation{f.update(c, f.payload(c.Type, 1)), f.grant(k), f.delete(c)}
	for op, o := range f.try(ops...) {
		if o.Err == nil {
			t.Errorf("%s was applied to a protected connection", op)
		}
	}
	if diff := cmp.Diff(before, f.there(c), compare()...); diff != "" {
		t.Errorf("a protected connection changed (-before +after):\n%s", diff)
	}
}
