package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// containing gives the world's roles types that contain others: all, which the application has only as tables and later,
// and column, which is a part of a table with privileges of its own.
func containing(w *world) {
	typ := &w.desc.Types[0]
	resource := func(name string, contains ...schemas.Containment) {
		typ.Grantable = append(typ.Grantable, schemas.GrantableType{Type: name, Edge: schemas.EdgeResource, Privileges: []string{"SELECT", "INSERT"},
			Default: []string{"SELECT"}, Contains: contains, Grant: true, Revoke: true})
	}
	same := map[string][]string{"SELECT": {"SELECT"}}
	column := schemas.Containment{Type: "column", Separator: ".", Privileges: same}
	resource("all", schemas.Containment{Type: "table", Separator: ".", Derived: true}, schemas.Containment{Type: "later", Separator: ".", Derived: true}, column)
	resource("later")
	resource("column")
	typ.Grantable[0].Contains = []schemas.Containment{column}
	for _, t := range []string{"all", "later", "column"} {
		w.app.Spec.Grantable[t] = []string{"*"}
	}
}

// all is what the application has when everything of s is held.
const all = " all/s:SELECT later/s.o:SELECT table/s.a:SELECT table/s.b:SELECT"

func TestContainment(t *testing.T) {
	t.Parallel()
	revoke := func(w *world) { w.app.Spec.Unmanaged = schemas.UnmanagedRevoke }
	for _, tt := range []struct {
		name  string
		with  func(*world)
		steps []string
		want  []string
	}{
		{"a part and its whole are both there", nil, []string{"C role/a", "A role/a +table/s.a", "A role/a +all/s", "live role/a" + all}, []string{}},
		{"a part is missing from both", nil, []string{"C role/a", "A role/a +table/s.a", "A role/a +all/s", "live role/a table/s.b:SELECT"},
			[]string{"grant role/a all/s SELECT, request", "grant role/a table/s.a SELECT, request"}},
		{"parts of a whole that is not complete are not unmanaged", revoke, []string{"C role/a", "A role/a +all/s", "run",
			"live role/a later/s.o:SELECT table/s.a:SELECT table/x.a:SELECT"},
			[]string{"revoke role/a table/x.a SELECT, unmanaged", "grant role/a all/s SELECT, drift", "unmanaged role/a table/x.a SELECT"}},
		{"a part with another privilege is unmanaged", nil, []string{"C role/a", "A role/a +all/s", "live role/a" + all + " table/s.a:INSERT"},
			[]string{"unmanaged role/a table/s.a INSERT"}},
		{"a name that begins alike is no part", nil, []string{"C role/a", "A role/a +all/s", "live role/a" + all + " table/s2.a:SELECT"},
			[]string{"unmanaged role/a table/s2.a SELECT"}},
		{"a column under a granted table is not unmanaged", revoke, []string{"C role/a", "A role/a +table/s.a", "live role/a table/s.a:SELECT column/s.a.x:SELECT column/s.a.x:INSERT"},
			[]string{"revoke role/a column/s.a.x INSERT, unmanaged", "unmanaged role/a column/s.a.x INSERT"}},

		{"a revoke of a part under its whole", nil, []string{"C role/a", "A role/a +all/s", "run", "A role/a -table/s.a", "live role/a" + all},
			[]string{"! covered role/a"}},
		{"a revoke of a part in the document that grants the whole", nil, []string{"C role/a", "A role/a +all/s -table/s.a", "live role/a" + all},
			[]string{"! covered role/a"}},
		{"a revoke of a column under its table", nil, []string{"C role/a", "A role/a +table/s.a", "A role/a -column/s.a.x", "live role/a table/s.a:SELECT"},
			[]string{"! covered role/a"}},
		{"a revoke of a column under all tables", nil, []string{"C role/a", "A role/a +all/s", "A role/a -column/s.a.x", "live role/a" + all},
			[]string{"! covered role/a"}},
		{"another privilege of a column under its table", nil, []string{"C role/a", "A role/a +table/s.a", "A role/a -column/s.a.x:INSERT", "live role/a table/s.a:SELECT"},
			[]string{}},
		{"a revoke of a part before its whole was granted", nil, []string{"C role/a", "A role/a +table/s.a", "run", "A role/a -table/s.a", "run", "A role/a +all/s", "live role/a" + all},
			[]string{}},
		{"a revoke before the grant, which is undone", nil, []string{"C role/a", "A role/a -table/s.a", "A role/a +all/s", "run", "live role/a" + all, "undo 3"},
			[]string{"revoke role/a all/s SELECT, undo", "revoke role/a table/s.a SELECT, request"}},
		{"an expired part under its whole", nil, []string{"C role/a", "A role/a +table/s.a@..2", "A role/a +all/s", "run", "live role/a" + all, "day 3"}, []string{}},
		{"a revoke of a column under a table that no request speaks of", nil, []string{"C role/a", "A role/a -column/s.a.x", "live role/a table/s.a:SELECT"},
			[]string{"unmanaged role/a table/s.a SELECT", "! covered role/a"}},
		{"a revoke of a part of a whole that no request speaks of", nil, []string{"C role/a", "A role/a -table/s.a", "live role/a" + all},
			[]string{"revoke role/a table/s.a SELECT, request", "unmanaged role/a later/s.o SELECT", "unmanaged role/a table/s.b SELECT"}},

		{"the end of a whole", nil, []string{"C role/a", "A role/a +all/s@..2", "live role/a" + all, "day 3"}, []string{"revoke role/a all/s SELECT, expiry"}},
		{"the end of a whole that was verified", nil, []string{"C role/a", "A role/a +all/s@..2", "live role/a" + all, "run", "day 3"}, []string{"revoke role/a all/s SELECT, expiry"}},
		{"the end of a whole that is not complete", nil, []string{"C role/a", "A role/a +all/s@..2", "live role/a" + all, "run", "live role/a later/s.o:SELECT table/s.b:SELECT", "day 3"},
			[]string{"revoke role/a all/s SELECT, expiry"}},
		{"the end of a whole but for what is granted", nil, []string{"C role/a", "A role/a +table/s.a", "A role/a +all/s@..2", "live role/a" + all, "run", "day 3"},
			[]string{"revoke role/a later/s.o SELECT, expiry", "revoke role/a table/s.b SELECT, expiry"}},
		{"the end of a whole of which all parts are granted", nil, []string{"C role/a", "A role/a +table/s.a +table/s.b +later/s.o", "A role/a +all/s@..2", "live role/a" + all, "run", "day 3"},
			[]string{}},
		{"a whole that was revoked, and of which a part is there", nil, []string{"C role/a", "A role/a +all/s", "live role/a" + all, "run", "A role/a -all/s", "live role/a", "run", "live role/a table/s.b:SELECT"},
			[]string{"revoke role/a all/s SELECT, request"}},
		{"the end of a table keeps its column", nil, []string{"C role/a", "A role/a +column/s.a.x", "A role/a +table/s.a@..2", "live role/a column/s.a.x:SELECT table/s.a:SELECT", "day 3"},
			[]string{"revoke role/a table/s.a SELECT, expiry"}},
		{"undoing the grant of a whole that was there", nil, []string{"C role/a", "live role/a" + all, "A role/a +all/s", "run", "undo 2"}, []string{"unmanaged role/a all/s SELECT"}},

		{"a whole that no request speaks of is one line", nil, []string{"C role/a", "live role/a" + all}, []string{"unmanaged role/a all/s SELECT"}},
		{"a whole that no request speaks of is revoked at once", revoke, []string{"C role/a", "live role/a" + all}, []string{"revoke role/a all/s SELECT, unmanaged", "unmanaged role/a all/s SELECT"}},
		{"a whole that no request speaks of, and a granted part", revoke, []string{"C role/a", "A role/a +table/s.a", "live role/a" + all},
			[]string{"revoke role/a later/s.o SELECT, unmanaged", "revoke role/a table/s.b SELECT, unmanaged",
				"unmanaged role/a later/s.o SELECT", "unmanaged role/a table/s.b SELECT"}},
		{"a connection that no request speaks of", nil, []string{"C role/b", "live role/b", "live role/a" + all}, []string{"unmanaged role/a all/s SELECT"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			containing(w)
			if tt.with != nil {
				tt.with(w)
			}
			w.steps(tt.steps...)
			res := w.diff()
			if diff := cmp.Diff(tt.want, lines(&res.Plan)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestCoveredRevokeIsNotSettled keeps a revoke that removes nothing from being verified.
func TestCoveredRevokeIsNotSettled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	containing(w)
	w.steps("C role/a", "A role/a +table/s.a", "live role/a"+all, "run", "A role/a +all/s", "run", "A role/a -table/s.a")
	res := w.diff()
	for _, s := range res.Settled {
		if s.Token != "" && s.Item == plan.EntitlementItem(schemas.Key{Connection: name("role/a"), Target: name("table/s.a"), Privilege: "SELECT"}) {
			t.Errorf("settled as %s", s.Token)
		}
	}
	items := plan.ItemsOf(w.fold())[plan.DocumentKey{Path: "4"}]
	if len(items) != 1 {
		t.Errorf("the revoke decides about %d items, want 1", len(items))
	}
}

// TestRevokeCoveredByALiveGrantIsNotSettled has the table of a column granted by hand: the column stays
// readable, so its revoke isn't settled.
func TestRevokeCoveredByALiveGrantIsNotSettled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	containing(w)
	w.steps("C role/a", "A role/a +column/s.a.c", "live role/a column/s.a.c:SELECT", "run", "live role/a table/s.a:SELECT", "A role/a -column/s.a.c")
	res := w.diff()
	for _, s := range res.Settled {
		if s.Item == plan.EntitlementItem(schemas.Key{Connection: name("role/a"), Target: name("column/s.a.c"), Privilege: "SELECT"}) {
			t.Errorf("settled as %s", s.Token)
		}
	}
}
