package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	scope := func(patterns ...string) func(*world) {
		return func(w *world) { w.app.Spec.Scope["role"] = patterns }
	}
	unmanaged := func(u schemas.Unmanaged) func(*world) {
		return func(w *world) { w.app.Spec.Unmanaged = u }
	}
	targets := func(list ...schemas.Item) func(*world) {
		return func(w *world) {
			w.adjust = func(in *plan.Input) {
				in.Targets = map[schemas.Name][]schemas.Item{}
				for _, i := range list {
					in.Targets[i.Name] = append(in.Targets[i.Name], i)
				}
			}
		}
	}
	gone := func(n string) func(*world) { // looked up, and not there
		return func(w *world) {
			w.adjust = func(in *plan.Input) { in.Targets = map[schemas.Name][]schemas.Item{name(n): nil} }
		}
	}
	cannot := func(change func(*schemas.ConnectionType)) func(*world) {
		return func(w *world) { change(&w.desc.Types[0]) }
	}
	guests := func(w *world) { w.app.Spec.Grantable["guest"] = []string{"*"} }
	accounts := func(w *world) { // users are roles too, as in PostgreSQL
		guests(w)
		for i := range w.desc.Types[0].Grantable {
			if g := &w.desc.Types[0].Grantable[i]; g.Type == "user" {
				g.Alias = "role"
			}
		}
	}
	user := func(n, id string, state schemas.EntitlementState) schemas.Item {
		return schemas.Item{Name: name(n), NativeID: id, State: state}
	}
	for _, tt := range []struct {
		name  string
		with  func(*world)
		steps []string
		want  []string
	}{
		// Connections and their attributes.
		{"create with defaults", nil, []string{"C role/a comment=x"}, []string{"create role/a comment=x limit=-1 login=false, request"}},
		{"null leaves an attribute out", nil, []string{"C role/a limit=null"}, []string{"create role/a login=false, request"}},
		{"create a powerful one", nil, []string{"C role/a superuser=true"}, []string{"create role/a limit=-1 login=false superuser=true, request, privileged"}},
		{"create one that is powerful by its name", nil, []string{"C role/root"}, []string{"create role/root limit=-1 login=false, request, privileged"}},
		{"nothing differs", nil, []string{"C role/a", "live role/a"}, []string{}},
		{"an absent attribute goes to its default", nil, []string{"C role/a", "live role/a limit=4"}, []string{"update role/a limit=-1, request"}},
		{"a null is left alone", nil, []string{"C role/a limit=null", "live role/a limit=4"}, []string{}},
		{"an absent attribute without default is left alone", nil, []string{"C role/a", "live role/a comment=x superuser=true"}, []string{}},
		{"an update", nil, []string{"C role/a comment=x limit=3", "live role/a comment=y"}, []string{"update role/a comment=x limit=3, request"}},
		{"an update to power", nil, []string{"C role/a login=true", "live role/a"}, []string{"update role/a login=true, request, privileged"}},
		{"an update away from power", nil, []string{"C role/a", "live role/a login=true"}, []string{"update role/a login=false, request"}},
		{"delete", nil, []string{"D role/a", "live role/a user/x:MEMBER"}, []string{"delete role/a, request"}},
		{"deleted already", nil, []string{"D role/a"}, []string{}},
		{"an undone creation of ours", nil, []string{"C role/a", "run", "undo 1"}, []string{"delete role/a, undo"}},
		{"an undone creation of what was there", nil, []string{"live role/a", "C role/a", "run", "undo 1"}, []string{}},
		{"an undone creation that nobody knows of", nil, []string{"C role/a", "live role/a", "undo 1"}, []string{"! undone-unknown role/a"}},
		{"an undone creation, made anew by others", nil, []string{"C role/a", "run", "undo 1", "run", "live role/a"}, []string{"! undone-unknown role/a"}},
		{"an undone creation in use deletes nothing", nil, []string{"C role/a", "A role/a +user/x", "run", "undo 1"}, []string{"! undone-in-use role/a"}},
		{"undoing a life after a deletion", nil, []string{"D role/a", "run", "C role/a", "run", "undo 2"}, []string{"delete role/a, undo"}},
		{"out of scope", scope("b*"), []string{"C role/a", "C role/b", "D role/c", "live role/c"},
			[]string{"create role/b limit=-1 login=false, request", "! out-of-scope role/a", "! out-of-scope role/c"}},
		{"protected", nil, []string{"C role/a limit=1", "A role/a +user/x", "live role/a protected=builtin"}, []string{"! protected role/a"}},
		{"an unknown type", nil, []string{"C group/a"}, []string{"! unknown-type group/a"}},
		{"cannot create", nil, []string{"C team/a", "A team/a +user/x"}, []string{"! unsupported team/a"}},
		{"cannot update", cannot(func(c *schemas.ConnectionType) { c.Update = false }), []string{"C role/a limit=1", "A role/a +user/x", "live role/a"},
			[]string{"grant role/a user/x MEMBER, request", "! unsupported role/a"}},
		{"cannot delete", nil, []string{"D team/a", "live team/a"}, []string{"! unsupported team/a"}},
		{"cannot reassign", cannot(func(c *schemas.ConnectionType) { c.Reassign = false }), []string{"D role/a reassign=b", "live role/a"}, []string{"! unsupported role/a"}},
		{"an assignment to nothing", nil, []string{"A role/a +user/x"}, []string{"! no-connection role/a"}},
		{"a revoke from nothing", nil, []string{"A role/a -user/x"}, []string{}},
		{"a source_id that fits", nil, []string{"C role/a#7 limit=1", "live role/a#7"}, []string{"update role/a limit=1, request"}},
		{"a source_id that does not", nil, []string{"C role/a#8 limit=1", "live role/a#7"}, []string{"! other-id role/a"}},

		// Entitlements.
		{"a grant", nil, []string{"C role/a", "A role/a +user/x", "live role/a"}, []string{"grant role/a user/x MEMBER, request"}},
		{"a grant that is there", nil, []string{"A role/a +user/x", "live role/a user/x:MEMBER"}, []string{}},
		{"a grant of power", nil, []string{"A role/a +table/t:INSERT +role/root", "live role/a", "live role/root"},
			[]string{"grant role/a role/root MEMBER, request, privileged", "grant role/a table/t INSERT, request, privileged"}},
		{"a start", nil, []string{"A role/a +user/x@2..", "live role/a", "day 2"}, []string{"grant role/a user/x MEMBER, start"}},
		{"a revoke", nil, []string{"A role/a -user/x", "live role/a user/x:MEMBER user/y:MEMBER"}, []string{"revoke role/a user/x MEMBER, request", "unmanaged role/a user/y MEMBER"}},
		{"a deletion of the target", nil, []string{"A role/a +role/b", "D role/b", "live role/b", "live role/a role/b:MEMBER"},
			[]string{"revoke role/a role/b MEMBER, request", "delete role/b, request"}},
		{"an undone grant of ours", nil, []string{"live role/a", "A role/a +user/x", "run", "undo 1"}, []string{"revoke role/a user/x MEMBER, undo"}},
		{"an undone grant of what was there", nil, []string{"live role/a user/x:MEMBER", "A role/a +user/x", "run", "undo 1"}, []string{"unmanaged role/a user/x MEMBER"}},
		{"an undone grant that nobody knows of", nil, []string{"live role/a user/x:MEMBER", "A role/a +user/x", "undo 1"}, []string{"revoke role/a user/x MEMBER, undo"}},
		{"undone before it began", nil, []string{"live role/a user/x:MEMBER", "A role/a +user/x@2..", "undo 1", "day 3"}, []string{"unmanaged role/a user/x MEMBER"}},
		{"a revoke of what was there", nil, []string{"live role/a user/x:MEMBER", "A role/a +user/x", "run", "A role/a -user/x"}, []string{"revoke role/a user/x MEMBER, request"}},
		{"an expiry of what was there", nil, []string{"live role/a user/x:MEMBER", "A role/a +user/x@..2", "run", "day 2"}, []string{"revoke role/a user/x MEMBER, expiry"}},
		{"ours through a second grant", nil, []string{"live role/a", "A role/a +user/x", "run", "A role/a +user/x", "run", "undo 1", "run", "undo 2"},
			[]string{"revoke role/a user/x MEMBER, undo"}},
		{"made absent by us, present by others, then adopted", nil,
			[]string{"live role/a user/x:MEMBER", "A role/a -user/x", "run", "live role/a user/x:MEMBER", "A role/a +user/x", "run", "undo 2", "undo 1"},
			[]string{"unmanaged role/a user/x MEMBER"}},
		{"an unknown type of target", nil, []string{"A role/a +moon/m", "live role/a"}, []string{"! unknown-target-type role/a"}},
		{"an unknown privilege", nil, []string{"A role/a +table/t:FLY", "live role/a"}, []string{"! unknown-privilege role/a"}},
		{"in itself", nil, []string{"A role/a +role/a", "live role/a"}, []string{"! self-grant role/a"}},
		{"cannot grant", nil, []string{"A role/a +frozen/f", "live role/a"}, []string{"! unsupported role/a"}},
		{"cannot revoke", nil, []string{"A role/a -frozen/f", "live role/a frozen/f:READ"}, []string{"! unsupported role/a"}},
		{"invited", nil, []string{"A role/a +user/x", "live role/a user/x:MEMBER!invited"}, []string{"pending role/a user/x MEMBER, invited"}},
		{"an invitation is taken back", nil, []string{"A role/a -user/x", "live role/a user/x:MEMBER!invited"}, []string{"revoke role/a user/x MEMBER, request"}},

		// What may be granted.
		{"connections in scope or named", func(w *world) {
			w.app.Spec.Scope["role"] = []string{"s_*"}
			w.app.Spec.Grantable["role"] = []string{"g_*"}
		}, []string{"A role/s_a +role/s_b +role/g_c +role/d", "live role/s_a", "live role/s_b", "live role/g_c", "live role/d"},
			[]string{"grant role/s_a role/g_c MEMBER, request", "grant role/s_a role/s_b MEMBER, request", "! not-grantable role/s_a"}},
		{"identities unless others are named", func(w *world) { w.app.Spec.Grantable["user"] = []string{"x*"} }, []string{"A role/a +user/x1 +user/y1", "live role/a"},
			[]string{"grant role/a user/x1 MEMBER, request", "! not-grantable role/a"}},
		{"resources when they are named", func(w *world) { w.app.Spec.Grantable = map[string][]string{"table": {"sales.*"}} },
			[]string{"A role/a +table/sales.orders +table/payroll +schema/s:USAGE", "live role/a"},
			[]string{"grant role/a table/sales.orders SELECT, request", "! not-grantable role/a", "! not-grantable role/a"}},

		// Targets that were asked for.
		{"a target that is there", targets(user("user/x", "7", "")), []string{"A role/a +user/x", "live role/a"}, []string{"grant role/a user/x MEMBER, request"}},
		{"a target that is not", targets(), []string{"A role/a +user/x", "live role/a"}, []string{"! target-not-found role/a"}},
		{"a target that this plan makes", targets(), []string{"C role/b", "A role/a +role/b", "live role/a"},
			[]string{"create role/b limit=-1 login=false, request", "grant role/a role/b MEMBER, request"}},
		{"a target that this plan cannot make", func(w *world) {
			targets()(w)
			w.app.Spec.Scope["role"] = []string{"a"}
			w.app.Spec.Grantable["role"] = []string{"*"}
		},
			[]string{"C role/b", "A role/a +role/b", "live role/a"}, []string{"! out-of-scope role/b", "! target-not-found role/a"}},
		{"two targets of the name", targets(user("user/x", "7", ""), user("user/x", "8", "")), []string{"A role/a +user/x", "live role/a"}, []string{"! ambiguous-name role/a"}},
		{"one of two by its id", targets(user("user/x", "7", ""), user("user/x", "8", "")), []string{"A role/a +user/x#8", "live role/a"},
			[]string{"grant role/a user/x MEMBER, request"}},
		{"an id that nobody has", targets(user("user/x", "7", "")), []string{"A role/a +user/x#8", "live role/a"}, []string{"! target-not-found role/a"}},
		{"a protected target", targets(schemas.Item{Name: name("user/x"), Protected: "the machine's own"}), []string{"A role/a +user/x", "live role/a"}, []string{"! protected role/a"}},
		{"an identity that is a connection", targets(schemas.Item{Name: name("user/x"), Connection: true}), []string{"A role/a +user/x", "live role/a"}, []string{"! not-an-identity role/a"}},
		{"an identity that became one", targets(schemas.Item{Name: name("user/x"), Connection: true}), []string{"A role/a +user/x", "live role/a user/x:MEMBER"}, []string{"! not-an-identity role/a"}},
		{"a blocked identity", targets(user("user/x", "7", schemas.StateBlocked)), []string{"A role/a +user/x", "live role/a"}, []string{"pending role/a user/x MEMBER, blocked"}},
		{"an expired identity", targets(user("user/x", "7", schemas.StateExpired)), []string{"A role/a +user/x", "live role/a"}, []string{"pending role/a user/x MEMBER, expired"}},
		{"two in live of one name", nil, []string{"A role/a +user/x", "live role/a user/x:MEMBER#7 user/x:MEMBER#8"}, []string{"! ambiguous-name role/a"}},
		{"one of them by its id", nil, []string{"A role/a +user/x#8", "live role/a user/x:MEMBER#7 user/x:MEMBER#8"}, []string{"unmanaged role/a user/x MEMBER"}},
		{"another one by its id", nil, []string{"A role/a +user/x#9", "live role/a user/x:MEMBER#7"}, []string{"grant role/a user/x MEMBER, request", "unmanaged role/a user/x MEMBER"}},
		{"a revoke of one by its id", nil, []string{"A role/a -user/x#8", "live role/a user/x:MEMBER#7 user/x:MEMBER#8"},
			[]string{"revoke role/a user/x MEMBER, request", "unmanaged role/a user/x MEMBER"}},

		// Unmanaged.
		{"unmanaged, report", nil, []string{"A role/a +user/x", "live role/a user/x:MEMBER user/y:MEMBER", "live role/z user/y:MEMBER"},
			[]string{"unmanaged role/a user/y MEMBER", "unmanaged role/z user/y MEMBER"}},
		{"unmanaged, ignore", unmanaged(schemas.UnmanagedIgnore), []string{"A role/a +user/x", "live role/a user/x:MEMBER user/y:MEMBER", "live role/z user/y:MEMBER"}, []string{}},
		{"unmanaged, revoke", unmanaged(schemas.UnmanagedRevoke), []string{"A role/a +user/x", "live role/a user/x:MEMBER user/y:MEMBER", "live role/z user/y:MEMBER"},
			[]string{"revoke role/a user/y MEMBER, unmanaged", "revoke role/z user/y MEMBER, unmanaged", "unmanaged role/a user/y MEMBER", "unmanaged role/z user/y MEMBER"}},
		{"unmanaged, out of scope or protected", func(w *world) { unmanaged(schemas.UnmanagedRevoke)(w); scope("a", "p")(w) },
			[]string{"live role/z user/y:MEMBER", "live role/p user/y:MEMBER protected=builtin"}, []string{}},
		{"unmanaged, what cannot be revoked", unmanaged(schemas.UnmanagedRevoke), []string{"live role/a frozen/f:READ"}, []string{"unmanaged role/a frozen/f READ"}},
		{"adopted and undone, revoke", unmanaged(schemas.UnmanagedRevoke), []string{"live role/a user/x:MEMBER", "A role/a +user/x", "run", "undo 1"},
			[]string{"revoke role/a user/x MEMBER, unmanaged", "unmanaged role/a user/x MEMBER"}},

		// Drift, told by the baseline.
		{"a lost grant", nil, []string{"live role/a", "A role/a +user/x", "run", "live role/a"}, []string{"grant role/a user/x MEMBER, drift"}},
		{"a lost grant that is asked for anew", nil, []string{"live role/a", "A role/a +user/x", "run", "live role/a", "A role/a +user/x"}, []string{"grant role/a user/x MEMBER, request"}},
		{"a lost grant when another has ended", nil, []string{"live role/a", "A role/a +user/x", "A role/a +user/x@..2", "run", "live role/a", "day 2"},
			[]string{"grant role/a user/x MEMBER, drift"}},
		{"a revoke that came back", nil, []string{"live role/a user/x:MEMBER", "A role/a -user/x", "run", "live role/a user/x:MEMBER"}, []string{"revoke role/a user/x MEMBER, request"}},
		{"an expiry that came back", nil, []string{"live role/a", "A role/a +user/x@..2", "run", "day 2", "run", "live role/a user/x:MEMBER"}, []string{"revoke role/a user/x MEMBER, expiry"}},
		{"an attribute", nil, []string{"C role/a", "run", "live role/a limit=9"}, []string{"update role/a limit=-1, drift"}},
		{"an attribute that is asked for anew", nil, []string{"C role/a", "run", "live role/a limit=9", "C role/a limit=8"}, []string{"update role/a limit=8, request"}},
		{"a lost connection", nil, []string{"C role/a", "A role/a +user/x", "run", "live -role/a"},
			[]string{"create role/a limit=-1 login=false, drift", "grant role/a user/x MEMBER, drift"}},
		{"a deleted connection that came back", nil, []string{"D role/a", "run", "live role/a"}, []string{"delete role/a, drift"}},
		{"a lost baseline", nil, []string{"C role/a", "A role/a +user/x", "run", "forget"}, []string{}},

		// Names that change hands.
		{"another connection of the name", nil, []string{"C role/a", "A role/a +user/x", "run", "live role/a#99"},
			[]string{"grant role/a user/x MEMBER, drift, held: identity", "! other-id role/a"}},
		{"approved anew", nil, []string{"C role/a", "A role/a +user/x", "run", "live role/a#99", "A role/a +user/x"},
			[]string{"grant role/a user/x MEMBER, request", "! other-id role/a"}},
		{"approved anew by a creation", nil, []string{"C role/a", "run", "live role/a#99 limit=9", "C role/a"}, []string{"update role/a limit=-1, request"}},
		{"the end of one of two grants approves nothing", nil, []string{"C role/a", "A role/a +user/x +user/y", "A role/a +user/x@..2", "run", "day 2", "live role/a#99"},
			[]string{"grant role/a user/x MEMBER, drift, held: identity", "grant role/a user/y MEMBER, drift, held: identity", "! other-id role/a"}},
		{"undoing one of two creations approves nothing", nil, []string{"C role/a", "C role/a", "run", "live role/a#99", "undo 2", "run"}, []string{"! other-id role/a"}},
		{"an update of another", nil, []string{"C role/a", "run", "live role/a#99 limit=3"}, []string{"update role/a limit=-1, drift, held: identity", "! other-id role/a"}},
		{"an undone creation of another", nil, []string{"C role/a", "run", "live role/a#99", "undo 1"}, []string{"delete role/a, undo, held: identity"}},
		{"a deletion of another", nil, []string{"C role/a", "run", "live role/a#99", "D role/a"}, []string{"delete role/a, request, held: identity"}},
		{"a deletion of another by its id", nil, []string{"C role/a", "run", "live role/a#99", "D role/a#99"}, []string{"delete role/a, request"}},
		{"an assignment binds the id too", nil, []string{"live role/a", "A role/a +user/x", "run", "live role/a#99"},
			[]string{"grant role/a user/x MEMBER, drift, held: identity", "! other-id role/a"}},
		{"another identity of the name", nil, []string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a user/x:MEMBER#8"}, []string{"! other-id role/a"}},
		{"another identity, approved anew", nil, []string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a user/x:MEMBER#8", "A role/a +user/x"}, []string{}},
		{"another identity when one of two grants has ended", nil,
			[]string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "A role/a +user/x@..2", "run", "day 2", "live role/a user/x:MEMBER#8"}, []string{"! other-id role/a"}},
		{"another identity that lost the grant", targets(user("user/x", "8", "")), []string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a"},
			[]string{"grant role/a user/x MEMBER, drift, held: identity"}},

		// A restored application, in which every name has another id.
		{"a restore, the roles alone", nil, []string{"C role/a", "A role/a +user/x", "run", "live role/a#99", "rebind user/x"}, []string{"grant role/a user/x MEMBER, request"}},
		{"a restore with its members", nil, []string{"C role/a", "live role/a#5 user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a#99 user/x:MEMBER#8", "rebind"}, []string{}},
		{"a restore without its members", targets(user("user/x", "8", "")), []string{"live role/a#5 user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a#99", "rebind user/x#8"},
			[]string{"grant role/a user/x MEMBER, request"}},
		{"a restore without one of the members", targets(), []string{"live role/a#5 user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a#99", "rebind"},
			[]string{"grant role/a user/x MEMBER, drift, held: target", "! target-vanished role/a"}},
		{"a restore without one who comes later", targets(user("user/x", "9", "")), []string{"live role/a#5 user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a#99", "rebind"},
			[]string{"grant role/a user/x MEMBER, drift, held: identity"}},
		{"a revoke of one who is gone after a restore", func(w *world) {
			targets()(w)
			w.desc.NativeIDs = true
		}, []string{"live role/a#5 user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a#99", "rebind", "A role/a -user/x"},
			[]string{"! unverifiable role/a"}},
		{"a change by hand beside a restore", targets(user("user/y", "7", "")), []string{"live role/a#5 user/y:MEMBER#7", "A role/a +user/y", "run",
			"live role/b#5 user/z:MEMBER#9", "A role/b +user/z", "run", "live role/b#6 user/z:MEMBER#9", "live role/a#5", "rebind user/y#7"}, []string{"grant role/a user/y MEMBER, drift"}},
		{"a restore that reuses the ids of others", nil, []string{"C role/a", "C role/b", "live role/a#5 user/x:MEMBER#7", "live role/b#6 user/y:MEMBER#8", "A role/a +user/x", "A role/b +user/y", "run",
			"live role/a#6 user/x:MEMBER#8", "live role/b#5 user/y:MEMBER#7", "rebind", "A role/a -user/x"}, []string{"revoke role/a user/x MEMBER, request"}},
		{"a removal before a restore that gives its id to another", targets(user("user/x", "8", "")), []string{"live role/a#5 user/x:MEMBER#7", "A role/a +user/x", "run", "A role/a -user/x", "run",
			"live role/a#6 user/y:MEMBER#7", "rebind user/x#8"}, []string{"unmanaged role/a user/y MEMBER"}},
		{"a deletion after a restore", nil, []string{"C role/a", "run", "live role/a#99", "D role/a", "rebind"}, []string{"delete role/a, request"}},

		// Names that change while the id stays.
		{"a grant of a renamed user is in force", nil, []string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a user/y:MEMBER#7"}, []string{"! renamed role/a"}},
		{"a grant of a user that became a group", nil, []string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a guest/x:MEMBER#7"}, []string{"! renamed role/a"}},
		{"a grant of a renamed user beside another of its name", nil,
			[]string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a user/x:MEMBER#8 user/y:MEMBER#7"}, []string{"! other-id role/a"}},
		{"an id of another kind is no rename", nil, []string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a role/y:MEMBER#7"},
			[]string{"grant role/a user/x MEMBER, drift", "unmanaged role/a role/y MEMBER"}},
		{"the end of a renamed user", nil, []string{"live role/a user/x:MEMBER#7", "A role/a +user/x@..2", "run", "day 2", "live role/a user/y:MEMBER#7"},
			[]string{"revoke role/a user/y MEMBER, expiry"}},
		{"the revoke of a renamed user", nil, []string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a user/y:MEMBER#7", "A role/a -user/x"},
			[]string{"revoke role/a user/y MEMBER, request"}},
		{"a grant of a user that is a group", accounts, []string{"live role/a guest/x:MEMBER#7", "A role/a +user/x"}, []string{"! not-an-identity role/a"}},
		{"a grant of a user that is a group with the membership", accounts, []string{"live role/a", "live role/x#7 role/a:MEMBER", "A role/a +user/x"}, []string{"! not-an-identity role/a"}},
		{"another group of the name of a user", accounts, []string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a guest/x:MEMBER#8"}, []string{"! other-id role/a"}},
		{"the revoke of a user that became a group", nil, []string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a guest/x:MEMBER#7", "A role/a -user/x"},
			[]string{"revoke role/a guest/x MEMBER, request"}},
		{"the revoke of a renamed user, granted under the new name", nil,
			[]string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a user/y:MEMBER#7", "A role/a +user/y", "A role/a -user/x"}, []string{}},
		{"the revoke of a renamed user and of the new holder of its name", nil,
			[]string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a user/x:MEMBER#8 user/y:MEMBER#7", "A role/a -user/x"},
			[]string{"revoke role/a user/x MEMBER, request", "revoke role/a user/y MEMBER, request"}},
		{"the end of a name that was taken over by a renamed user with a grant", nil,
			[]string{"live role/a user/x:MEMBER#7 user/y:MEMBER#8", "A role/a +user/x", "A role/a +user/y@..2", "run", "day 2", "live role/a user/y:MEMBER#7"}, []string{"! renamed role/a"}},
		{"a removed user that comes back under another name", nil,
			[]string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "A role/a -user/x", "run", "live role/a user/y:MEMBER#7"}, []string{"revoke role/a user/y MEMBER, request"}},
		{"a removed user that comes back after an expiry that nobody saw", nil,
			[]string{"live role/a user/x:MEMBER#7", "A role/a +user/x@..2", "run", "live role/a", "day 2", "run", "live role/a user/x:MEMBER#7"}, []string{"revoke role/a user/x MEMBER, expiry"}},
		{"a renamed table", nil, []string{"live role/a table/t:SELECT#7", "A role/a +table/t", "run", "live role/a table/u:SELECT#7 schema/s:SELECT#7", "A role/a -table/t"},
			[]string{"revoke role/a table/u SELECT, request", "unmanaged role/a schema/s SELECT"}},

		{"a renamed connection is no second one", nil, []string{"live role/a#7 user/x:MEMBER", "C role/a", "A role/a +user/x", "run", "live -role/a", "live role/b#7 user/x:MEMBER"},
			[]string{"! renamed role/a"}},
		{"what a renamed connection lost waits", nil, []string{"live role/a#7 user/x:MEMBER", "C role/a", "A role/a +user/x", "run", "live -role/a", "live role/b#7"},
			[]string{"grant role/a user/x MEMBER, drift, held: identity", "! renamed role/a"}},
		{"the end of a grant in a renamed connection", nil, []string{"live role/a#7 user/x:MEMBER", "C role/a", "A role/a +user/x@..2", "run", "day 2", "live -role/a", "live role/b#7 user/x:MEMBER"},
			[]string{"revoke role/b user/x MEMBER, expiry", "! renamed role/a"}},
		{"the end of a grant of a renamed user in a renamed connection", nil,
			[]string{"live role/a#7 user/x:MEMBER#1", "A role/a +user/x@..2", "run", "day 2", "live -role/a", "live role/b#7 user/y:MEMBER#1"},
			[]string{"revoke role/b user/y MEMBER, expiry", "! renamed role/a"}},
		{"the end of a grant in a renamed connection whose name is taken", nil,
			[]string{"live role/a#7 user/x:MEMBER", "A role/a +user/x@..2", "run", "day 2", "live role/b#7 user/x:MEMBER", "live role/a#8 user/x:MEMBER"},
			[]string{"revoke role/a user/x MEMBER, expiry", "revoke role/b user/x MEMBER, expiry", "! other-id role/a"}},
		{"the deletion of a renamed connection", nil, []string{"live role/a#7", "C role/a", "run", "live -role/a", "live role/b#7", "D role/a"}, []string{"delete role/b, request"}},
		{"the undone creation of a renamed connection", nil, []string{"C role/a", "run", "live -role/a", "live role/b#1", "undo 1"}, []string{"delete role/b, undo"}},
		{"a renamed connection that is requested under its new name", nil,
			[]string{"live role/a#7 user/x:MEMBER", "C role/a", "A role/a +user/x", "run", "live -role/a", "live role/b#7 user/x:MEMBER", "C role/b", "A role/b +user/x", "undo 1", "undo 2"}, []string{}},
		{"the former requests of a renamed connection", nil,
			[]string{"live role/a#7 user/x:MEMBER user/y:MEMBER", "C role/a", "A role/a +user/x +user/y", "run", "live -role/a", "live role/b#7 user/x:MEMBER user/y:MEMBER", "C role/b", "A role/b +user/x", "A role/a -user/x -user/y"},
			[]string{"revoke role/b user/y MEMBER, request", "! renamed role/a"}},
		{"a deletion of the former name of a connection that is requested under its new name", nil,
			[]string{"live role/a#7", "C role/a", "run", "live -role/a", "live role/b#7", "C role/b", "D role/a"}, []string{"! renamed role/a"}},
		{"a connection renamed out of the scope", func(w *world) { w.app.Spec.Scope["role"] = []string{"a"} },
			[]string{"live role/a#7 user/x:MEMBER", "C role/a", "A role/a +user/x@..2", "run", "day 2", "live -role/a", "live role/b#7 user/x:MEMBER"}, []string{"! renamed role/a", "! out-of-scope role/a"}},

		// One membership from either end: role/m is a member of role/g, which role/g may call guest/m.
		{"a revoke at the group of a grant at the member", guests, []string{"live role/g", "live role/m role/g:MEMBER", "A role/m +role/g", "run", "A role/g -guest/m"},
			[]string{"revoke role/m role/g MEMBER, request"}},
		{"a revoke at the member of a grant at the group", guests, []string{"live role/g", "live role/m role/g:MEMBER", "A role/g +guest/m", "run", "A role/m -role/g"},
			[]string{"revoke role/m role/g MEMBER, request"}},
		{"a grant at the member after a revoke at the group", guests, []string{"live role/g", "live role/m role/g:MEMBER", "A role/g -guest/m", "A role/m +role/g"}, []string{}},
		{"a grant at the group that is listed at the member", guests, []string{"live role/g", "live role/m role/g:MEMBER", "A role/g +guest/m"}, []string{}},
		{"a revoke at the group of what nobody requested", guests, []string{"live role/g", "live role/m role/g:MEMBER", "A role/g -guest/m"}, []string{"revoke role/m role/g MEMBER, request"}},
		{"the end of a grant at the group beside a grant at the member", guests,
			[]string{"live role/g", "live role/m role/g:MEMBER", "A role/g +guest/m@..2", "A role/m +role/g", "run", "day 2"}, []string{}},
		{"an expired member that is a connection of another name now", guests,
			[]string{"live role/g guest/m:MEMBER#7", "A role/g +guest/m@..2", "run", "day 2", "live role/g", "live role/n#7 role/g:MEMBER"}, []string{"revoke role/n role/g MEMBER, expiry"}},

		// Members that can't be named.
		{"a removal beside a member without an id", gone("user/x"), []string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a user/raw:MEMBER!unresolved", "A role/a -user/x"},
			[]string{"unmanaged role/a user/raw MEMBER", "! unverifiable role/a"}},
		{"a removal before, beside a member without an id", gone("user/x"), []string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "A role/a -user/x", "run", "live role/a user/raw:MEMBER!unresolved"},
			[]string{"unmanaged role/a user/raw MEMBER", "! unverifiable role/a"}},
		{"a removal of somebody who is seen, beside a member without an id", targets(user("user/x", "7", "")),
			[]string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a user/raw:MEMBER!unresolved", "A role/a -user/x"}, []string{"unmanaged role/a user/raw MEMBER"}},
		{"a removal of another of the name, beside a member without an id", targets(user("user/x", "8", "")),
			[]string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a user/raw:MEMBER!unresolved", "A role/a -user/x"}, []string{"unmanaged role/a user/raw MEMBER", "! unverifiable role/a"}},
		{"a removal by id beside a member with another id", targets(), []string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a user/raw:MEMBER#9!unresolved", "A role/a -user/x"},
			[]string{"unmanaged role/a user/raw MEMBER"}},
		{"a removal of a hidden member by its id", targets(), []string{"live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "live role/a user/raw:MEMBER#7!unresolved", "A role/a -user/x"},
			[]string{"revoke role/a user/raw MEMBER, request"}},
		{"a removal without a remembered id beside a member with one", gone("user/x"), []string{"live role/a user/x:MEMBER", "A role/a +user/x", "run", "live role/a user/raw:MEMBER#9!unresolved", "A role/a -user/x"},
			[]string{"unmanaged role/a user/raw MEMBER", "! unverifiable role/a"}},

		// Targets that can't be found.
		{"a revoke of a misspelt name", targets(user("user/alice", "", "")), []string{"live role/a user/alice:MEMBER", "A role/a +user/alice", "run", "A role/a -user/Alice"}, []string{"! no-effect role/a"}},
		{"a revoke of what was never there", targets(user("user/bob", "", "")), []string{"live role/a", "A role/a -user/bob"}, []string{}},
		{"a revoke of a verified user that left", targets(), []string{"live role/a user/x:MEMBER", "A role/a +user/x", "run", "live role/a", "A role/a -user/x"}, []string{}},
		{"a revoke of a verified user without a recorded id", func(w *world) { w.desc.NativeIDs = true; targets()(w) },
			[]string{"live role/a user/x:MEMBER", "A role/a +user/x", "run", "live role/a", "A role/a -user/x"}, []string{"! unverifiable role/a"}},
		{"a grant whose target vanished", targets(), []string{"live role/a user/x:MEMBER", "A role/a +user/x", "run", "live role/a"},
			[]string{"grant role/a user/x MEMBER, drift, held: target", "! target-vanished role/a"}},
		{"a grant that was never verified, of nobody", targets(), []string{"live role/a", "A role/a +user/x"}, []string{"! target-not-found role/a"}},

		// Order.
		{"create, update, revoke, grant, delete", nil, []string{"C role/a", "C role/b limit=1", "live role/b user/x:MEMBER", "A role/b -user/x +role/a", "D role/c", "live role/c"},
			[]string{"create role/a limit=-1 login=false, request", "update role/b limit=1, request", "revoke role/b user/x MEMBER, request",
				"grant role/b role/a MEMBER, request", "delete role/c, request"}},
		{"hand over before the heir goes", nil, []string{"D role/a", "D role/b reassign=a", "live role/a", "live role/b"}, []string{"delete role/b, request", "delete role/a, request"}},
		{"a circle of heirs", nil, []string{"D role/a reassign=b", "D role/b reassign=a", "live role/a", "live role/b"}, []string{"delete role/a, request", "delete role/b, request"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tt.with != nil {
				tt.with(w)
			}
			w.steps(tt.steps...)
			res := w.diff()
			if diff := cmp.Diff(tt.want, lines(&res.Plan)); diff != "" {
				t.Errorf("after %q (-want +got):\n%s", tt.steps, diff)
			}
			executable(t, res.Plan.Operations)
		})
	}
}

// A revoke that takes nothing and was never verified asks for a look-up, and is not settled before the answer.
func TestLookups(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("live role/a user/x:MEMBER", "A role/a -user/X -user/x")
	res := w.diff()
	if diff := cmp.Diff([]schemas.Name{name("user/X")}, res.Lookups); diff != "" {
		t.Error(diff)
	}
	w.adjust = func(in *plan.Input) { in.Targets = map[schemas.Name][]schemas.Item{} }
	res = w.diff()
	if len(res.Lookups) > 0 || len(res.Plan.Findings) != 1 || res.Plan.Findings[0].Message != "the revoke of user/X removed nothing: user/X doesn't exist in app (there is x)" {
		t.Errorf("look-ups %v, findings %v", res.Lookups, res.Plan.Findings)
	}
	for _, s := range res.Settled {
		if strings.Contains(s.Item, "X") {
			t.Errorf("settled %v", s)
		}
	}
}

// The id of a target outlives its grant: it is what finds the target under another name.
func TestAbsentItemsKeepTheirID(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("live role/a user/x:MEMBER#7", "A role/a +user/x", "run", "A role/a -user/x", "run")
	item := plan.EntitlementItem(schemas.Key{Connection: name("role/a"), Target: name("user/x"), Privilege: schemas.PrivilegeMember})
	if got := w.baseline[item]; got.NativeID != "7" || !strings.HasPrefix(got.Token, "absent") {
		t.Errorf("got %+v", got)
	}
	w.steps("live role/a user/x:MEMBER#8", "A role/a +user/x", "run")
	if got := w.baseline[item]; got.NativeID != "8" {
		t.Errorf("granted again, to another: got %+v", got)
	}
}

// executable checks that every operation comes after those that it depends on, and that ids are unique.
func executable(t interface {
	Helper()
	Errorf(string, ...any)
}, ops []schemas.Operation) {
	t.Helper()
	seen := map[string]bool{}
	for i := range ops {
		for _, id := range ops[i].DependsOn {
			if !seen[id] {
				t.Errorf("%s depends on %s, which does not come before it", line(&ops[i]), id)
			}
		}
		if seen[ops[i].ID] {
			t.Errorf("%s has the id of another", line(&ops[i]))
		}
		seen[ops[i].ID] = true
	}
}

// A type that can be deleted and hands nothing over is not said to be one that cannot be deleted.
func TestReassignIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.desc.Types[0].Reassign = false
	w.steps("D role/a reassign=b", "live role/a")
	found := w.diff().Plan.Findings
	if len(found) != 1 || !strings.Contains(found[0].Message, "cannot hand over what role/a owns (reassign_to)") {
		t.Errorf("findings %v", found)
	}
}

func TestDiffOfTwoConnectionsOfOneName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		request string
		want    []string
	}{
		{"C role/a limit=1", []string{"! ambiguous-name role/a"}},
		{"C role/a#8 limit=1", []string{"update role/a limit=1, request"}},
		{"C role/a#9 limit=1", []string{"! ambiguous-name role/a"}},
	} {
		w := newWorld(t).steps(tt.request)
		w.adjust = func(in *plan.Input) {
			in.Live.Connections = []schemas.Connection{parseLive("role/a#7 user/x:MEMBER"), parseLive("role/a#8")}
		}
		res := w.diff()
		if diff := cmp.Diff(tt.want, lines(&res.Plan)); diff != "" {
			t.Errorf("%s: %s", tt.request, diff)
		}
	}
}

func TestDependencies(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("C role/a", "C role/b", "A role/a +role/b +user/x", "D role/c", "A role/d +role/c", "D role/c reassign=a", "A role/d -role/c",
		"live role/c", "live role/d role/c:MEMBER")
	res := w.diff()
	got := map[string][]string{}
	by := map[string]string{}
	for i := range res.Plan.Operations {
		o := &res.Plan.Operations[i]
		by[o.ID] = strings.TrimSuffix(line(o), ", request")
		for _, id := range o.DependsOn {
			got[by[o.ID]] = append(got[by[o.ID]], by[id])
		}
		slices.Sort(got[by[o.ID]])
	}
	delete(got, "create role/a limit=-1 login=false")
	delete(got, "create role/b limit=-1 login=false")
	delete(got, "revoke role/d role/c MEMBER")
	want := map[string][]string{
		"grant role/a role/b MEMBER": {"create role/a limit=-1 login=false", "create role/b limit=-1 login=false"},
		"grant role/a user/x MEMBER": {"create role/a limit=-1 login=false"},
		"delete role/c":              {"create role/a limit=-1 login=false", "revoke role/d role/c MEMBER"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAReadThatIsNotWhole(t *testing.T) {
	t.Parallel()
	full := func() *world {
		w := newWorld(t)
		for _, n := range strings.Split("abcdefghijkl", "") {
			w.steps("C role/"+n, "A role/"+n+" +user/x")
		}
		return w.steps("run")
	}
	t.Run("shrunken", func(t *testing.T) {
		t.Parallel()
		for _, tt := range []struct {
			gone string
			want bool
		}{{"", false}, {"abc", false}, {"abcdefghi", false}, {"abcdefghij", true}, {"abcdefghijkl", true}} {
			w := full()
			for _, n := range tt.gone {
				w.drop(name("role/" + string(n)))
			}
			w.steps("A role/l -user/x", "D role/a")
			res := w.diff()
			if res.Shrunken != tt.want {
				t.Errorf("without %q: shrunken %v, want %v", tt.gone, res.Shrunken, tt.want)
			}
			for _, s := range res.Settled {
				if res.Shrunken && strings.HasPrefix(s.Token, "absent") {
					t.Errorf("without %q: settled %v", tt.gone, s)
				}
			}
		}
	})
	t.Run("a few", func(t *testing.T) {
		t.Parallel()
		for n, want := range map[string]bool{"a": false, "ab": false, "abc": true} {
			w := newWorld(t)
			for _, c := range n {
				w.steps("C role/" + string(c))
			}
			w.steps("run")
			clear(w.live)
			if got := w.diff().Shrunken; got != want {
				t.Errorf("all of %q gone: shrunken %v, want %v", n, got, want)
			}
		}
	})
	t.Run("incomplete", func(t *testing.T) {
		t.Parallel()
		w := full()
		clear(w.live)
		w.steps("A role/a -user/x", "A role/new +user/x")
		w.adjust = func(in *plan.Input) { in.Live.Incomplete = "a page is missing" }
		res := w.diff()
		if res.Shrunken || res.Plan.Incomplete != "a page is missing" {
			t.Errorf("shrunken %v, incomplete %q", res.Shrunken, res.Plan.Incomplete)
		}
		if len(res.Settled) > 0 {
			t.Errorf("settled %v", res.Settled)
		}
		for _, f := range res.Plan.Findings {
			t.Errorf("finding %v", f)
		}
		hold.Operations(&res.Plan, hold.Rules{Enforce: true, Shrunken: true})
		for i := range res.Plan.Operations {
			if o := &res.Plan.Operations[i]; o.Hold != schemas.HoldUnknown {
				t.Errorf("%s", line(o))
			}
		}
	})
}

func TestDiffIsFineWithStatesThatAreNotSorted(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("C role/a", "A role/a +user/x +user/y", "C role/b", "live role/a user/x:MEMBER user/y:MEMBER user/z:MEMBER", "live role/b")
	want := w.diff()
	w.adjust = func(in *plan.Input) {
		slices.Reverse(in.Live.Connections)
		for i := range in.Live.Connections {
			slices.Reverse(in.Live.Connections[i].Entitlements)
		}
	}
	if diff := cmp.Diff(want, w.diff()); diff != "" {
		t.Error(diff)
	}
}

func TestNumbersAreComparedAsJSONDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("C role/a limit=5", "live role/a")
	for _, same := range []any{int64(5), 5.0, int32(5), uint8(5)} {
		w.live[name("role/a")].Payload["limit"] = same
		if res := w.diff(); len(res.Plan.Operations) > 0 {
			t.Errorf("%T: %v", same, lines(&res.Plan))
		}
	}
	for _, other := range []any{"5", 5.5, true, nil, []any{5}} {
		w.live[name("role/a")].Payload["limit"] = other
		if res := w.diff(); len(res.Plan.Operations) != 1 {
			t.Errorf("%T: %v", other, lines(&res.Plan))
		}
	}
}
