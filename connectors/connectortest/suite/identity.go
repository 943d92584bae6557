package suite

import (
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

// testRenamed renames targets and connections outside. Their native ids must lead to them, and a removal planned for
// the old name must either remove the same entitlement or fail: it must never succeed without effect, and never
// remove the entitlement of another object that has the name now.
func testRenamed(t harness.T, h harness.Harness) {
	each(t, h, canCreate, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		if !f.Description.NativeIDs {
			t.Skip("the description doesn't declare native_ids: names are the identity")
		}
		r, ok := f.App.(harness.Renamer)
		if !ok || !offers(f.App, "rename") {
			t.Skip("the harness can't rename")
		}
		for _, g := range typ.Grantable {
			if g.Grant && g.Revoke {
				renamedTarget(t, f, r, f.Make(typ, "has_"+g.Type), g)
			}
		}
		renamedConnection(t, f, r, typ)
	})
}

func renamedTarget(t harness.T, f *harness.Fixture, r harness.Renamer, c schemas.Name, g schemas.GrantableType) {
	t.Helper()
	before, ok := f.Target(g, "before_"+g.Type)
	if !ok {
		return
	}
	key := schemas.Key{Connection: c, Target: before, Privilege: single(g)}
	f.Must(f.Grant(key))
	id := only(t, f, c).TargetID
	if id == "" && g.Edge != schemas.EdgeResource {
		t.Errorf("a %s has no TargetID, although the description declares native_ids", g.Type)
	}
	if id == "" {
		return
	}
	after, ok := r.Rename(t, before, "after_"+g.Type)
	if !ok {
		return
	}
	today := schemas.Entitlement{Target: after, Privilege: key.Privilege}
	f.Holds(c, today)
	if got := only(t, f, c).TargetID; got != id {
		t.Errorf("the renamed %s has the id %q, want %q", g.Type, got, id)
	}
	if items := f.List(connectors.Query{Type: g.Type, Names: []string{}, IDs: []string{id}}); len(items) != 1 || items[0].SourceName != after.SourceName {
		t.Errorf("List of %s by id: %v, want %q", g.Type, items, after)
	}
	stale := f.Revoke(key)
	stale.TargetID = id
	if f.Try(stale)[stale.ID].Err == nil {
		f.Holds(c)
	} else {
		f.Holds(c, today)
	}
	op := f.Revoke(schemas.Key{Connection: c, Target: after, Privilege: key.Privilege})
	op.TargetID, op.WrittenTarget = id, &before
	f.Twice(op)
	f.Holds(c)

	// Another object takes the old name.
	other, _ := f.Target(g, "before_"+g.Type)
	f.Must(f.Grant(schemas.Key{Connection: c, Target: other, Privilege: key.Privilege}))
	stale = f.Revoke(key)
	stale.TargetID = id
	f.Try(stale)
	f.Holds(c, schemas.Entitlement{Target: other, Privilege: key.Privilege})
}

func renamedConnection(t harness.T, f *harness.Fixture, r harness.Renamer, typ schemas.ConnectionType) {
	t.Helper()
	before := f.Make(typ, "before")
	key := f.Somebody(typ, before, "member")
	f.Must(f.Grant(key))
	id := f.There(before).NativeID
	if id == "" {
		t.Errorf("%q has no NativeID, although the description declares native_ids", before)
		return
	}
	after, ok := r.Rename(t, before, "after")
	if !ok {
		return
	}
	got := f.Read(schemas.Selection{IDs: map[string][]string{typ.Name: {id}}})
	if len(got) != 1 || got[0].Name != after || got[0].NativeID != id {
		t.Errorf("Read by id: %v, want %q with the id %q", got, after, id)
	}
	for _, op := range []schemas.Operation{f.Revoke(key), f.Delete(before)} {
		op.NativeID = id
		if f.Try(op)[op.ID].Err != nil {
			f.Holds(after, harness.Entitlement(key))
		} else if left := f.One(after); left != nil && len(left.Entitlements) > 0 {
			t.Errorf("%s: reported as applied, but %q still has %v", harness.Label(op), after, left.Entitlements)
		}
	}
}

// single returns a privilege that doesn't imply others.
func single(g schemas.GrantableType) string {
	i := slices.IndexFunc(g.Privileges, func(p string) bool { return len(g.Implies[p]) == 0 })
	return g.Privileges[max(i, 0)]
}

// only returns the one entitlement of a connection.
func only(t harness.T, f *harness.Fixture, c schemas.Name) schemas.Entitlement {
	t.Helper()
	list := f.There(c).Entitlements
	if len(list) != 1 {
		t.Fatalf("%q has %d entitlements, want 1", c, len(list))
	}
	return list[0]
}

// testUnresolved hides a member from the connector. The member must stay in the state under a raw reference and must
// be revocable by it, or else the read must not count as complete.
func testUnresolved(t harness.T, h harness.Harness) {
	each(t, h, func(c schemas.ConnectionType) bool { return len(c.Grantable) > 0 }, func(t harness.T, f *harness.Fixture, typ schemas.ConnectionType) {
		hider, ok := f.App.(harness.Hider)
		if !ok || !offers(f.App, "hide") {
			t.Skip("the harness can't hide members")
		}
		for _, g := range typ.Grantable {
			if g.Edge != schemas.EdgeIdentity || !g.Grant || !g.Revoke {
				continue
			}
			c := f.Make(typ, "hides_"+g.Type)
			plain := schemas.Key{Connection: c, Target: f.App.AddIdentity(t, g.Type, "in_sight"), Privilege: g.Privileges[0]}
			hidden := schemas.Key{Connection: c, Target: f.App.AddIdentity(t, g.Type, "out_of_sight"), Privilege: g.Privileges[0]}
			f.Must(f.Grant(plain), f.Grant(hidden))
			if !hider.Hide(t, hidden.Target, true) {
				continue
			}
			s, err := f.Writer.Read(t.Context(), schemas.Selection{Names: []schemas.Name{c}})
			if err != nil || s.Incomplete != "" {
				t.Logf("%s: the read is incomplete: %s %v", g.Type, s.Incomplete, err)
				continue
			}
			e := unresolved(s, plain)
			if e == nil {
				t.Errorf("the read leaves out a %s that it can't name: %+v", g.Type, s.Connections)
				continue
			}
			// It may be named as something else that can be a member, by its full reference.
			if other, ok := typ.Target(e.Target.Type); ok && e.Target.Type != g.Type && other.Revoke {
				t.Logf("the %s that can't be named is %q", g.Type, e.Target)
			} else if e.Target != hidden.Target && (e.State != schemas.StateUnresolved || !e.Foreign) {
				t.Errorf("%q has the state %q and foreign %v, want %q and true", e.Target, e.State, e.Foreign, schemas.StateUnresolved)
			}
			op := f.Revoke(schemas.Key{Connection: c, Target: e.Target, Privilege: e.Privilege})
			op.TargetID = e.TargetID
			f.Twice(op)
			f.Holds(c, harness.Entitlement(plain))
			hider.Hide(t, hidden.Target, false)
			f.Holds(c, harness.Entitlement(plain))
		}
	})
}

// unresolved returns the membership of the one connection that isn't plain's.
func unresolved(s schemas.State, plain schemas.Key) *schemas.Entitlement {
	if len(s.Connections) != 1 {
		return nil
	}
	for i, e := range s.Connections[0].Entitlements {
		if e.Privilege == plain.Privilege && !strings.EqualFold(e.Target.SourceName, plain.Target.SourceName) {
			return &s.Connections[0].Entitlements[i]
		}
	}
	return nil
}
