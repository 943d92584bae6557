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
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

func testOpen(t harness.T, h harness.Harness) {
	app := h.Start(t)
	r, err := h.Connector.OpenReader(t.Context(), app.Config())
	if err != nil {
		t.Fatalf("OpenReader: %v", err)
	}
	if s, err := r.Read(t.Context(), schemas.Selection{}); err != nil || s.Incomplete != "" {
		t.Errorf("Read of everything: %v %s", err, s.Incomplete)
	}
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for _, c := range h.Faulty {
		t.Run(c.Name, func(t harness.T) {
			cfg := c.Config(t, app.Config())
			var log bytes.Buffer
			cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			defer func() {
				if strings.Contains(log.String(), harness.Canary) {
					t.Error("the log contains a secret")
				}
			}()
			r, err := h.Connector.OpenReader(t.Context(), cfg)
			if err == nil {
				_, err = r.Read(t.Context(), schemas.Selection{})
				if cerr := r.Close(); cerr != nil {
					t.Errorf("Close: %v", cerr)
				}
			}
			if err == nil {
				t.Fatal("a faulty config was accepted")
			}
			for _, fault := range harness.ErrorFaults(err) {
				t.Error(fault)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg), harness.Canary) {
				t.Error("the harness's own config prints the secret: use connectors.NewSecret")
			}
			if got := connectors.CodeOf(err); got != c.Code {
				t.Errorf("got code %q (%v), want %q", got, err, c.Code)
			}
			w, err := h.Connector.OpenWriter(t.Context(), cfg)
			if err != nil {
				for _, fault := range harness.ErrorFaults(err) {
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

func testCreate(t harness.T, h harness.Harness) {
	each(t, h, canCreate, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		for i := range f.Harness.Payloads[typ.Name] {
			c := f.Name(typ.Name, fmt.Sprintf("made_%d", i))
			f.Gone(c)
			f.Twice(f.Create(c, f.Payload(typ.Name, i)))
			got := f.There(c)
			if diff := cmp.Diff(f.Payload(typ.Name, i), got.Payload, harness.Compare()...); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
			if len(got.Entitlements) > 0 || got.Protected != "" {
				t.Errorf("a new connection has entitlements or is protected: %+v", got)
			}
		}
		// Attributes with a default may be left out.
		c := f.Name(typ.Name, "bare")
		f.Twice(f.Create(c, nil))
		schema, err := harness.ParsePayload(typ.Payload)
		if err != nil {
			t.Fatal(err)
		}
		got := f.There(c)
		for _, name := range schema.Names() {
			if want, ok := schema.Default(name); ok && harness.Plain(got.Payload[name]) != harness.Plain(want) {
				t.Errorf("%s is %v by default, want the schema's %v", name, got.Payload[name], want)
			}
		}
	})
}

func testUpdate(t harness.T, h harness.Harness) {
	each(t, h, func(c schemas.ConnectionType) bool { return c.Update }, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		c := f.Make(typ, "changing")
		bystander := f.Make(typ, "bystander")
		want := f.Payload(typ.Name, 0)
		f.Must(f.Update(c, want))
		check := func() {
			t.Helper()
			if diff := cmp.Diff(want, f.There(c).Payload, harness.Compare()...); diff != "" {
				t.Errorf("payload (-want +got):\n%s", diff)
			}
		}
		check()
		changed := 0
		for _, name := range slices.Sorted(maps.Keys(want)) {
			to := f.Harness.Payloads[typ.Name][1][name]
			if harness.Plain(want[name]) == harness.Plain(to) {
				continue
			}
			changed++
			f.Twice(f.Update(c, map[string]any{name: to}))
			want[name] = to
			check()
		}
		if changed == 0 {
			t.Error("the harness's two payloads do not differ")
		}
		// Back at once.
		want = f.Payload(typ.Name, 0)
		f.Twice(f.Update(c, want))
		check()
		if diff := cmp.Diff(f.Payload(typ.Name, 0), f.There(bystander).Payload, harness.Compare()...); diff != "" {
			t.Errorf("another connection changed (-want +got):\n%s", diff)
		}
	})
}

func testAbsentAttributes(t harness.T, h harness.Harness) {
	each(t, h, func(c schemas.ConnectionType) bool { return c.Update }, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		c := f.Make(typ, "kept")
		f.Must(f.Update(c, f.Payload(typ.Name, 1)))
		want := f.There(c)
		for _, after := range []map[string]any{nil, {}} {
			f.Must(f.Update(c, after))
			if diff := cmp.Diff(want, f.There(c), harness.Compare()...); diff != "" {
				t.Errorf("an update of nothing changed something (-want +got):\n%s", diff)
			}
		}
		nulls := map[string]any{}
		for k := range want.Payload {
			nulls[k] = nil
		}
		f.Must(f.Update(c, nulls))
		if diff := cmp.Diff(want, f.There(c), harness.Compare()...); diff != "" {
			t.Errorf("null isn't a value and leaves the attribute unchanged (-want +got):\n%s", diff)
		}
	})
}

func testGrantRevoke(t harness.T, h harness.Harness) {
	each(t, h, func(c schemas.ConnectionType) bool { return len(c.Grantable) > 0 }, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		c := f.Make(typ, "holder")
		for _, g := range typ.Grantable {
			target, ok := f.Target(g, "given_"+g.Type)
			if !ok {
				t.Logf("%s: not created by the harness", g.Type)
				continue
			}
			for _, p := range g.Privileges {
				k := schemas.Key{Connection: c, Target: target, Privilege: p}
				if g.Grant {
					f.Twice(f.Grant(k))
				} else {
					f.App.Grant(t, k)
					f.Refused(f.Grant(schemas.Key{Connection: c, Target: target, Privilege: p}), connectors.Unsupported)
				}
				f.Holds(c, harness.Entitlement(k))
				if g.Revoke {
					f.Twice(f.Revoke(k))
				} else {
					f.Refused(f.Revoke(k), connectors.Unsupported)
					f.Holds(c, harness.Entitlement(k))
					f.App.Revoke(t, k)
				}
				for _, e := range f.There(c).Entitlements {
					if e.Target == target && e.Privilege == p {
						t.Errorf("%v is still held after its revocation", k)
					}
				}
				f.Clear(c)
			}
			// All privileges at once; revoking one leaves the others.
			if !g.Grant || !g.Revoke || len(g.Privileges) < 2 || g.Edge != schemas.EdgeResource {
				continue
			}
			var ops []schemas.Operation
			var want []schemas.Entitlement
			for _, p := range g.Privileges {
				k := schemas.Key{Connection: c, Target: target, Privilege: p}
				ops = append(ops, f.Grant(k))
				want = append(want, harness.Entitlement(k))
			}
			f.Twice(ops...)
			f.Holds(c, want...)
			f.Twice(f.Revoke(schemas.Key{Connection: c, Target: target, Privilege: g.Privileges[0]}))
			f.Holds(c, want[1:]...)
			f.Clear(c)
		}
	})
}

func testDelete(t harness.T, h harness.Harness) {
	each(t, h, func(c schemas.ConnectionType) bool { return c.Delete }, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		empty := f.Make(typ, "empty")
		f.Twice(f.Delete(empty))
		f.Gone(empty)
		f.Twice(f.Delete(f.Name(typ.Name, "never_was")))

		// A deletion removes the connection's entitlements on both sides, and nothing else.
		full, other := f.Make(typ, "full"), f.Make(typ, "other")
		var keep []schemas.Entitlement
		for _, g := range typ.Grantable {
			if !g.Grant {
				continue
			}
			target, ok := f.Target(g, "shared_"+g.Type)
			if !ok {
				continue
			}
			if g.Single && g.Type == typ.Name {
				f.Must(f.Grant(schemas.Key{Connection: other, Target: full, Privilege: g.Privileges[0]}))
				continue
			}
			mine := schemas.Key{Connection: full, Target: target, Privilege: g.Privileges[0]}
			its := schemas.Key{Connection: other, Target: target, Privilege: g.Privileges[0]}
			f.Must(f.Grant(mine), f.Grant(its))
			keep = append(keep, harness.Entitlement(its))
			if g.Type == typ.Name {
				f.Must(f.Grant(schemas.Key{Connection: other, Target: full, Privilege: g.Privileges[0]}))
			}
		}
		f.Twice(f.Delete(full))
		f.Gone(full)
		f.Sweep(other)
		f.Holds(other, keep...)
		for _, e := range keep {
			if len(f.List(connectors.Query{Type: e.Target.Type, Names: []string{e.Target.SourceName}})) != 1 {
				t.Errorf("%q was deleted together with a connection", e.Target)
			}
		}
		// A deleted connection can be created again, without its former entitlements.
		if typ.Create {
			f.Must(f.Create(full, f.Payload(typ.Name, 0)))
			f.Holds(full)
			f.Holds(other, keep...)
		}
	})
}
