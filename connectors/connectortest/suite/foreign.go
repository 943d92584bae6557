package suite

import (
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

func testForeign(t harness.T, h harness.Harness) {
	each(t, h, canCreate, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		theirs := f.Name(typ.Name, "theirs")
		f.App.AddConnection(t, theirs)
		in := f.Somebody(typ, theirs, "stranger")
		f.App.Grant(t, in)
		ours := f.Make(typ, "ours")
		mixed := f.Somebody(typ, ours, "stranger")
		f.App.Grant(t, mixed)
		mine := f.Somebody(typ, ours, "friend")
		before := f.There(theirs)

		f.Holds(theirs, harness.Entitlement(in))
		f.Twice(f.Grant(mine))
		f.Holds(ours, harness.Entitlement(mixed), harness.Entitlement(mine))
		if typ.Update {
			f.Twice(f.Update(ours, f.Payload(typ.Name, 1)))
		}
		f.Twice(f.Revoke(mine))
		f.Holds(ours, harness.Entitlement(mixed))
		if typ.Delete {
			gone := f.Make(typ, "gone")
			also := f.Somebody(typ, gone, "stranger")
			f.Must(f.Grant(also), f.Delete(gone))
		}
		if diff := cmp.Diff(before, f.There(theirs), harness.Compare()...); diff != "" {
			t.Errorf("a foreign connection changed (-before +after):\n%s", diff)
		}
		f.Holds(ours, harness.Entitlement(mixed))
		// An entitlement that the outside hand revoked is absent, and can be granted again.
		f.Must(f.Grant(mine))
		f.App.Revoke(t, mine)
		f.Holds(ours, harness.Entitlement(mixed))
		f.Must(f.Grant(mine))
		f.Holds(ours, harness.Entitlement(mixed), harness.Entitlement(mine))
		f.App.Revoke(t, in)
		f.App.DropConnection(t, theirs)
		f.Gone(theirs)
	})
}

func testIncomplete(t harness.T, h harness.Harness) {
	f := harness.Start(t, h)
	b, ok := f.App.(harness.Breaker)
	if !ok || !offers(f.App, "break") {
		t.Skip("the harness can't make a read incomplete")
	}
	typ := f.Description.Types[max(0, slices.IndexFunc(f.Description.Types, canCreate))]
	c := f.Make(typ, "whole")
	k := f.Somebody(typ, c, "member")
	f.Must(f.Grant(k))
	for _, broken := range b.Break(t) {
		t.Run(broken.Name, func(t harness.T) {
			cfg := broken.Start(t)
			r, err := h.Connector.OpenReader(t.Context(), cfg)
			if err != nil {
				for _, fault := range harness.ErrorFaults(err) {
					t.Error(fault)
				}
				return
			}
			defer func() {
				if err := r.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			for name, sel := range map[string]schemas.Selection{"everything": {}, "scope": f.Scope(), "names": {Names: []schemas.Name{c}}} {
				s, err := r.Read(t.Context(), sel)
				if err == nil && s.Incomplete == "" {
					t.Errorf("Read of %s isn't marked incomplete, with %d connections", name, len(s.Connections))
				}
				if err != nil {
					for _, fault := range harness.ErrorFaults(err) {
						t.Error(fault)
					}
				}
				if strings.Contains(s.Incomplete, harness.Canary) {
					t.Error("State.Incomplete contains a secret")
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
			out, err := harness.Apply(t.Context(), w, []schemas.Operation{f.Revoke(k)})
			if err == nil && (len(out) != 1 || out[0].Err == nil) {
				t.Error("Apply worked on a corrupt application")
			}
		})
	}
}

func testIdentityStates(t harness.T, h harness.Harness) {
	each(t, h, func(c schemas.ConnectionType) bool { return len(c.Grantable) > 0 }, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		s, ok := f.App.(harness.IdentityStater)
		if !ok || !offers(f.App, "set_identity_state") {
			t.Skip("identities don't have states")
		}
		for _, g := range typ.Grantable {
			if g.Edge != schemas.EdgeIdentity || !g.Grant {
				continue
			}
			for _, state := range []schemas.EntitlementState{schemas.StateInvited, schemas.StateExpired, schemas.StateBlocked} {
				c := f.Make(typ, "with_"+string(state)+"_"+g.Type)
				plainly := f.App.AddIdentity(t, g.Type, "plainly_"+string(state))
				who := f.App.AddIdentity(t, g.Type, "is_"+string(state))
				if !s.SetIdentityState(t, who, state) {
					continue
				}
				items := f.List(connectors.Query{Type: g.Type, Names: []string{who.SourceName}})
				if len(items) != 1 || items[0].State != state {
					t.Errorf("List of %q: %+v, want one with state %s", who, items, state)
				}
				a := schemas.Key{Connection: c, Target: who, Privilege: g.Privileges[0]}
				b := schemas.Key{Connection: c, Target: plainly, Privilege: g.Privileges[0]}
				f.Twice(f.Grant(a), f.Grant(b))
				got := f.There(c).Entitlements
				for _, e := range got {
					want := schemas.EntitlementState("")
					if e.Target == who {
						want = state
					}
					if e.State != want {
						t.Errorf("%q has the state %q, want %q", e.Target, e.State, want)
					}
				}
				if len(got) < 2 {
					t.Errorf("%d entitlements, want 2: identities in any state are listed", len(got))
				}
				f.Twice(f.Revoke(a))
				f.Holds(c, harness.Entitlement(b))
			}
		}
	})
}

func testRemovedIdentity(t harness.T, h harness.Harness) {
	each(t, h, func(c schemas.ConnectionType) bool { return len(c.Grantable) > 0 }, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		for _, g := range typ.Grantable {
			if g.Edge != schemas.EdgeIdentity || !g.Grant || !g.Revoke {
				continue
			}
			c := f.Make(typ, "left_by_"+g.Type)
			leaver, stayer := f.App.AddIdentity(t, g.Type, "leaver"), f.App.AddIdentity(t, g.Type, "stayer")
			gone := schemas.Key{Connection: c, Target: leaver, Privilege: g.Privileges[0]}
			stays := schemas.Key{Connection: c, Target: stayer, Privilege: g.Privileges[0]}
			f.Must(f.Grant(gone))
			f.App.RemoveIdentity(t, leaver)
			for _, e := range f.There(c).Entitlements {
				if e.State != schemas.StateUnresolved {
					t.Errorf("%q is still a member, and isn't unresolved", e.Target)
				}
			}
			// An identity that left doesn't stop the others.
			again, other, away := f.Grant(gone), f.Grant(stays), f.Revoke(gone)
			out := f.Try(again, other, away)
			if code := connectors.CodeOf(out[again.ID].Err); code != connectors.NotFound {
				t.Errorf("a grant to a removed identity has the code %q (%v), want %s", code, out[again.ID].Err, connectors.NotFound)
			}
			for _, op := range []schemas.Operation{other, away} {
				if err := out[op.ID].Err; err != nil {
					t.Errorf("%s: %v", harness.Label(op), err)
				}
			}
			f.Sweep(c)
			f.Holds(c, harness.Entitlement(stays))
		}
	})
}
