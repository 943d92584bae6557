package plan_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

func TestFold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		steps []string
		want  []string
	}{
		// Lives.
		{"an assignment alone", []string{"A role/a +table/t"}, []string{"role/a", "+ table/t SELECT by 1"}},
		{"creation and assignment", []string{"C role/a login=true", "A role/a +table/t"}, []string{"role/a present login=true by 1", "+ table/t SELECT by 2"}},
		{"an assignment before the creation", []string{"A role/a +table/t", "C role/a"}, []string{"role/a present by 2", "+ table/t SELECT by 1"}},
		{"the later payload wins", []string{"C role/a login=true", "C role/a limit=3"}, []string{"role/a present limit=3 by 1 2"}},
		{"undoing the later creation", []string{"C role/a login=true", "C role/a limit=3", "undo 2"}, []string{"role/a present login=true by 1"}},
		{"undoing the only creation", []string{"C role/a", "undo 1"}, []string{"role/a undone by 1"}},
		{"deletion", []string{"C role/a", "A role/a +table/t", "D role/a"}, []string{"role/a deleted by 3"}},
		{"deletion of what exists already", []string{"D role/a"}, []string{"role/a deleted by 1"}},
		{"a new life begins empty", []string{"C role/a", "A role/a +table/t", "D role/a", "C role/a"}, []string{"role/a present by 4", "- table/t SELECT request by 3"}},
		{"a grant of the new life", []string{"C role/a", "A role/a +table/t", "D role/a", "C role/a", "A role/a +table/t"}, []string{"role/a present by 4", "+ table/t SELECT by 5"}},
		{"a revoke of the former life says nothing", []string{"C role/a", "A role/a -table/t", "D role/a", "C role/a"}, []string{"role/a present by 4"}},
		{"undoing a deletion reopens the life", []string{"C role/a", "A role/a +table/t", "D role/a", "undo 3"}, []string{"role/a present by 1", "+ table/t SELECT by 2"}},
		{"undoing a deletion, then another payload", []string{"C role/a", "A role/a +table/t", "D role/a", "undo 3", "C role/a limit=1"},
			[]string{"role/a present limit=1 by 1 4", "+ table/t SELECT by 2"}},
		{"undoing a deletion once a later life exists", []string{"C role/a", "A role/a +table/t", "D role/a", "C role/a", "undo 3"},
			[]string{"role/a present by 4", "- table/t SELECT request by 3", "! later-life by 3"}},
		{"undoing a deletion after undoing the later life", []string{"C role/a", "A role/a +table/t", "D role/a", "C role/a", "undo 4", "undo 3"},
			[]string{"role/a present by 1", "+ table/t SELECT by 2"}},
		{"undoing the later life goes back to the deletion", []string{"C role/a", "D role/a", "C role/a", "undo 3"}, []string{"role/a deleted again by 2"}},
		{"a life keeps its opening place", []string{"D role/a", "C role/a", "A role/a +table/t", "C role/a limit=1", "undo 2"},
			[]string{"role/a present limit=1 by 4", "+ table/t SELECT by 3"}},
		{"a life that nothing held open", []string{"D role/a", "C role/a", "A role/a +table/t", "undo 2", "C role/a limit=1"},
			[]string{"role/a present limit=1 by 4", "- table/t SELECT request by 1", "! no-life by 3"}},
		{"an assignment after a deletion", []string{"D role/a", "A role/a +table/t"}, []string{"role/a deleted by 1", "! no-life by 2"}},
		{"an assignment between deletion and creation", []string{"D role/a", "A role/a +table/t", "C role/a"}, []string{"role/a present by 3", "! no-life by 2"}},
		{"an undone creation in use", []string{"C role/a", "A role/a +table/t", "undo 1"}, []string{"role/a", "+ table/t SELECT by 2", "! undone-in-use by 2"}},
		{"an undone creation that will be in use", []string{"C role/a", "A role/a +table/t@3..", "undo 1"}, []string{"role/a", "~ table/t SELECT from 3 by 2", "! undone-in-use by 2", "next 3"}},
		{"an undone creation that others hold", []string{"C role/b", "A role/a +role/b", "undo 1"}, []string{"role/a", "+ role/b MEMBER by 2", "role/b", "! undone-in-use by 2"}},
		{"an assignment after an undone creation", []string{"C role/a", "undo 1", "A role/a +table/t"}, []string{"role/a", "+ table/t SELECT by 2"}},
		{"an undone creation that others hold since", []string{"C role/b", "undo 1", "A role/a +role/b@4.."}, []string{"role/a", "~ role/b MEMBER from 4 by 2", "role/b", "next 4"}},
		{"an undone creation whose use has ended", []string{"C role/a", "A role/a +table/t@..1", "day 1", "undo 1"}, []string{"role/a undone by 1", "- table/t SELECT expiry by 2"}},

		// Grants and revokes.
		{"a revoke beats every earlier grant", []string{"A role/a +table/t", "A role/a +table/t", "A role/a -table/t"}, []string{"role/a", "- table/t SELECT request by 3"}},
		{"a later grant", []string{"A role/a +table/t", "A role/a -table/t", "A role/a +table/t"}, []string{"role/a", "+ table/t SELECT by 3"}},
		{"an undone revoke brings the grant back", []string{"A role/a +table/t", "A role/a -table/t", "undo 2"}, []string{"role/a", "+ table/t SELECT by 1"}},
		{"an undone revoke makes nothing that was not ours", []string{"A role/a -table/t", "undo 1"}, []string{"role/a"}},
		{"an undone grant", []string{"A role/a +table/t", "undo 1"}, []string{"role/a", "- table/t SELECT undo by 1"}},
		{"two grants, one undone", []string{"A role/a +table/t", "A role/a +table/t", "undo 1"}, []string{"role/a", "+ table/t SELECT by 2"}},
		{"two grants, both undone", []string{"A role/a +table/t", "A role/a +table/t", "undo 1", "undo 2"}, []string{"role/a", "- table/t SELECT undo by 1 2"}},
		{"privileges by themselves", []string{"A role/a +table/t:SELECT,INSERT", "A role/a -table/t:INSERT"},
			[]string{"role/a", "+ table/t SELECT by 1", "- table/t INSERT request by 2"}},
		{"the default privilege is that of the type", []string{"A role/a +table/t", "A role/a -table/t:SELECT"}, []string{"role/a", "- table/t SELECT request by 2"}},
		{"no privilege and no default", []string{"A role/a +schema/s"}, []string{"role/a", "! no-privilege by 1"}},
		{"granted and revoked in one document", []string{"A role/a +table/t -table/t:SELECT"}, []string{"role/a", "- table/t SELECT request by 1", "! contradiction by 1"}},
		{"granting ADMIN grants MEMBER", []string{"A role/a +role/b:ADMIN"}, []string{"role/a", "+ role/b ADMIN by 1", "+ role/b MEMBER by 1"}},
		{"revoking ADMIN leaves MEMBER", []string{"A role/a +role/b:ADMIN", "A role/a -role/b:ADMIN"}, []string{"role/a", "+ role/b MEMBER by 1", "- role/b ADMIN request by 2"}},
		{"revoking MEMBER revokes ADMIN", []string{"A role/a +role/b:ADMIN", "A role/a -role/b"},
			[]string{"role/a", "- role/b ADMIN request by 2", "- role/b MEMBER request by 2"}},
		{"a type without ADMIN", []string{"A team/a +user/x", "A team/a -user/x"}, []string{"team/a", "- user/x MEMBER request by 2"}},
		{"the id is that of the grant in force", []string{"A role/a +user/x#1", "A role/a +user/x#2", "undo 1"}, []string{"role/a", "+ user/x MEMBER #2 by 2"}},
		{"two ids for one name", []string{"A role/a +user/x#1", "A role/a +user/x#2"}, []string{"role/a", "+ user/x MEMBER #2 by 1 2", "! two-ids by 2"}},

		// Windows.
		{"an expiry ahead", []string{"A role/a +table/t@..3"}, []string{"role/a", "+ table/t SELECT until 3 by 1", "next 3"}},
		{"an expiry to the instant", []string{"A role/a +table/t@..3", "day 3"}, []string{"role/a", "- table/t SELECT expiry by 1"}},
		{"a temporary grant takes no permanent one away", []string{"A role/a +table/t", "A role/a +table/t@..3", "day 3"}, []string{"role/a", "+ table/t SELECT by 1"}},
		{"two expiries", []string{"A role/a +table/t@..5", "A role/a +table/t@..3"}, []string{"role/a", "+ table/t SELECT until 5 by 1 2", "next 3"}},
		{"two expiries, one past", []string{"A role/a +table/t@..5", "A role/a +table/t@..3", "day 4"}, []string{"role/a", "+ table/t SELECT until 5 by 1", "next 5"}},
		{"a start ahead", []string{"A role/a +table/t@2.."}, []string{"role/a", "~ table/t SELECT from 2 by 1", "next 2"}},
		{"a start to the instant", []string{"A role/a +table/t@2..", "day 2"}, []string{"role/a", "+ table/t SELECT started by 1"}},
		{"a future start suspends nothing", []string{"A role/a +table/t", "A role/a +table/t@2..4"}, []string{"role/a", "+ table/t SELECT by 1", "~ table/t SELECT from 2 until 4 by 2", "next 2"}},
		{"a gap between two windows", []string{"A role/a +table/t@..2", "A role/a +table/t@4..6", "day 3"},
			[]string{"role/a", "- table/t SELECT expiry by 1", "~ table/t SELECT from 4 until 6 by 2", "next 4"}},
		{"a revoke beats a future start", []string{"A role/a +table/t@2..", "A role/a -table/t"}, []string{"role/a", "- table/t SELECT request by 2"}},
		{"undone before its start", []string{"A role/a +table/t@2..", "undo 1"}, []string{"role/a"}},
		{"undone before its start, seen after", []string{"A role/a +table/t@2..", "undo 1", "day 3"}, []string{"role/a", "- table/t SELECT undo scheduled by 1"}},
		{"expired after a revoke is an expiry", []string{"A role/a -table/t", "A role/a +table/t@..2", "day 2"}, []string{"role/a", "- table/t SELECT expiry by 2"}},
		{"a beaten expiry is no instant", []string{"A role/a +table/t@..3", "A role/a -table/t"}, []string{"role/a", "- table/t SELECT request by 2"}},

		// Edits and renames.
		{"an edit leaves a tombstone at its old place", []string{"A role/a +table/t +table/u", "A role/a -table/v", "edit 1 A role/a +table/u +table/v"},
			[]string{"role/a", "+ table/u SELECT by 1", "- table/t SELECT undo by 1", "- table/v SELECT request by 2"}},
		{"an edit that is about another connection", []string{"A role/a +table/t", "edit 1 A role/b +table/t"},
			[]string{"role/a", "- table/t SELECT undo by 1", "role/b", "+ table/t SELECT by 1"}},
		{"an edit from creation to another name", []string{"C role/a", "edit 1 C role/b"}, []string{"role/a undone by 1", "role/b present by 1"}},
		{"an edited deletion", []string{"C role/a", "A role/a +table/t", "D role/a", "edit 3 D role/a reassign=b"}, []string{"role/a deleted by 3"}},
		{"a deletion edited into another", []string{"C role/a", "A role/a +table/t", "D role/a", "edit 3 D role/b"},
			[]string{"role/a present by 1", "+ table/t SELECT by 2", "role/b deleted by 3"}},
		{"a rename gives a new place", []string{"A role/a +table/t", "A role/a -table/t", "undo 1", "A role/a +table/t"}, []string{"role/a", "+ table/t SELECT by 3"}},

		// Both sides.
		{"a deletion ends edges on the other side", []string{"C role/b", "A role/a +role/b", "D role/b"},
			[]string{"role/a", "- role/b MEMBER request by 3", "role/b deleted by 3"}},
		{"and a new life does not bring them back", []string{"C role/b", "A role/a +role/b", "D role/b", "C role/b"},
			[]string{"role/a", "- role/b MEMBER request by 3", "role/b present by 4"}},
		{"undoing it does", []string{"C role/b", "A role/a +role/b", "D role/b", "undo 3"}, []string{"role/a", "+ role/b MEMBER by 2", "role/b present by 1"}},
		{"a grant of a deleted connection", []string{"D role/b", "A role/a +role/b"}, []string{"role/a", "- role/b MEMBER request by 1", "role/b deleted by 1", "! no-life by 2"}},
		{"a grant of the new life of the target", []string{"D role/b", "C role/b", "A role/a +role/b"}, []string{"role/a", "+ role/b MEMBER by 3", "role/b present by 2"}},
		{"a grant before the new life of the target", []string{"D role/b", "A role/a +role/b", "C role/b"},
			[]string{"role/a", "- role/b MEMBER request by 1", "role/b present by 3", "! no-life by 2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).steps(tt.steps...)
			got := wanted(w.fold())
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("after %q (-want +got):\n%s", tt.steps, diff)
			}
		})
	}
}

func TestFoldTellsTheSameDocumentTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("A role/a +table/t", "A role/a +table/t", "A role/a -table/t", "A role/a +table/t")
	for _, i := range []int{0, 1, 3} {
		w.docs[i].Current.Blob = "same"
	}
	var got []string
	for _, f := range w.fold().Findings {
		got = append(got, f.Code+" "+f.Document.Path)
	}
	// The fourth stands after a revoke: it grants anew.
	if diff := cmp.Diff([]string{"twice 2"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFoldWithoutUntilReopens(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("C role/a", "A role/a +table/t", "D role/a", "C role/a", "undo 3")
	w.docs[2].Former[0].Until = 0
	want := []string{"role/a present by 1 4", "+ table/t SELECT by 2"}
	if diff := cmp.Diff(want, wanted(w.fold())); diff != "" {
		t.Error(diff)
	}
}

func TestFoldIgnoresWhatIsNoRequest(t *testing.T) {
	t.Parallel()
	docs := []*plan.Document{
		{}, {Current: &plan.Version{}}, {Former: []*plan.Version{nil, {}}},
		{Current: &plan.Version{Request: &schemas.Request{Kind: schemas.KindApplication}}},
	}
	if got := plan.Fold(docs, schemas.Description{}, time.Time{}); len(got.Connections) != 0 {
		t.Errorf("got %v", wanted(got))
	}
}

func TestPrivileges(t *testing.T) {
	t.Parallel()
	role := description().Types[0]
	for _, tt := range []struct {
		entry  string
		revoke bool
		want   []string
	}{
		{"table/t", false, []string{"SELECT"}},
		{"table/t:INSERT", true, []string{"INSERT"}},
		{"schema/s", false, nil},
		{"user/u", false, []string{"MEMBER"}},
		{"user/u:ADMIN", false, []string{"ADMIN", "MEMBER"}},
		{"user/u:ADMIN", true, []string{"ADMIN"}},
		{"user/u", true, []string{"MEMBER", "ADMIN"}},
		{"nobody/n", false, []string{"MEMBER"}},
		{"nobody/n", true, []string{"MEMBER", "ADMIN"}},
	} {
		got := plan.Privileges(role, entry(t, tt.entry), tt.revoke)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s, revoke %v: %s", tt.entry, tt.revoke, diff)
		}
	}
}

// A level brings those below it, and goes with any of them.
func TestPrivilegesImplied(t *testing.T) {
	t.Parallel()
	typ := schemas.ConnectionType{Name: "team", Grantable: []schemas.GrantableType{{Type: "repository", Edge: schemas.EdgeResource,
		Privileges: []string{"admin", "push", "pull", "custom"}, Default: []string{"pull"},
		Implies: map[string][]string{"admin": {"push", "pull"}, "push": {"pull"}}}}}
	for _, tt := range []struct {
		entry  string
		revoke bool
		want   []string
	}{
		{"repository/r", false, []string{"pull"}},
		{"repository/r:push", false, []string{"push", "pull"}},
		{"repository/r:admin", false, []string{"admin", "push", "pull"}},
		{"repository/r:custom", false, []string{"custom"}},
		{"repository/r:push", true, []string{"push", "admin"}},
		{"repository/r", true, []string{"pull", "admin", "push"}},
		{"repository/r:custom", true, []string{"custom"}},
	} {
		got := plan.Privileges(typ, entry(t, tt.entry), tt.revoke)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s, revoke %v: %s", tt.entry, tt.revoke, diff)
		}
	}
}
