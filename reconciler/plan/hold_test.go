package plan_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// ops are one operation of every kind and cause that matters, by what they are.
func sampleOps() []schemas.Operation {
	n := name("user/x")
	op := func(id string, kind schemas.OperationKind, cause schemas.Cause) schemas.Operation {
		o := schemas.Operation{ID: id, Kind: kind, Cause: cause, Connection: name("role/" + id), Documents: []schemas.DocumentID{{Path: "p/" + id}}}
		if kind == schemas.OperationGrant || kind == schemas.OperationRevoke {
			o.Target, o.Privilege = &n, schemas.PrivilegeMember
		}
		if kind == schemas.OperationUpdate {
			o.After = map[string]any{"login": true}
		}
		return o
	}
	return []schemas.Operation{
		op("create", schemas.OperationCreate, schemas.CauseRequest),
		op("update", schemas.OperationUpdate, schemas.CauseRequest),
		op("update-drift", schemas.OperationUpdate, schemas.CauseDrift),
		op("revoke", schemas.OperationRevoke, schemas.CauseRequest),
		op("revoke-expiry", schemas.OperationRevoke, schemas.CauseExpiry),
		op("revoke-undo", schemas.OperationRevoke, schemas.CauseUndo),
		op("revoke-drift", schemas.OperationRevoke, schemas.CauseDrift),
		op("revoke-unmanaged", schemas.OperationRevoke, schemas.CauseUnmanaged),
		op("grant", schemas.OperationGrant, schemas.CauseRequest),
		op("grant-start", schemas.OperationGrant, schemas.CauseStart),
		op("grant-drift", schemas.OperationGrant, schemas.CauseDrift),
		op("delete", schemas.OperationDelete, schemas.CauseRequest),
		op("delete-undo", schemas.OperationDelete, schemas.CauseUndo),
		op("delete-drift", schemas.OperationDelete, schemas.CauseDrift),
	}
}

func ids(p *schemas.ApplicationPlan, hold schemas.Hold) []string {
	var out []string
	for _, o := range p.Operations {
		if o.Hold == hold {
			out = append(out, o.ID)
		}
	}
	return out
}

func TestHold(t *testing.T) {
	t.Parallel()
	all := []string{}
	for _, o := range sampleOps() {
		all = append(all, o.ID)
	}
	drift := []string{"update-drift", "revoke-drift", "revoke-unmanaged", "grant-drift", "delete-drift"}
	n := func(i int) *int { return &i }
	for _, tt := range []struct {
		name  string
		plan  schemas.ApplicationPlan
		rules plan.Rules
		hold  schemas.Hold
		want  []string
	}{
		{"observe", schemas.ApplicationPlan{Mode: schemas.ModeObserve}, plan.Rules{Enforce: true}, schemas.HoldObserve, all},
		{"add", schemas.ApplicationPlan{Mode: schemas.ModeAdd}, plan.Rules{Enforce: true}, schemas.HoldAdd,
			[]string{"update", "update-drift", "revoke", "revoke-expiry", "revoke-undo", "revoke-drift", "revoke-unmanaged", "delete", "delete-undo", "delete-drift"}},
		{"full", schemas.ApplicationPlan{}, plan.Rules{Enforce: true}, schemas.HoldNone, all},
		{"drift is not enforced", schemas.ApplicationPlan{}, plan.Rules{}, schemas.HoldDrift, drift},
		{"a first run", schemas.ApplicationPlan{}, plan.Rules{Enforce: true, FirstRun: true}, schemas.HoldFirstRun,
			[]string{"update-drift", "revoke-undo", "revoke-drift", "revoke-unmanaged", "delete-undo", "delete-drift"}},
		{"an incomplete read", schemas.ApplicationPlan{Incomplete: "x"}, plan.Rules{Enforce: true}, schemas.HoldUnknown, all},
		{"an incomplete read that is shrunken too", schemas.ApplicationPlan{Incomplete: "x"}, plan.Rules{Enforce: true, Shrunken: true}, schemas.HoldUnknown, all},
		{"a shrunken read lets named removals pass", schemas.ApplicationPlan{}, plan.Rules{Enforce: true, Shrunken: true}, schemas.HoldNone,
			[]string{"revoke", "revoke-expiry", "delete"}},
		{"the budget is enough", schemas.ApplicationPlan{},
			plan.Rules{Enforce: true, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Revokes: n(3), Members: n(3), Grants: n(0), Deletions: n(2), Attributes: n(1)}}}, schemas.HoldBudget, nil},
		{"what is held costs nothing", schemas.ApplicationPlan{}, plan.Rules{Limits: schemas.Limits{LimitSet: schemas.LimitSet{Revokes: n(1), Deletions: n(1)}}}, schemas.HoldBudget, nil},
		{"named removals cost nothing and pass", schemas.ApplicationPlan{}, plan.Rules{Limits: schemas.Limits{LimitSet: schemas.LimitSet{Revokes: n(0)}}}, schemas.HoldBudget,
			[]string{"create", "update", "revoke-undo", "grant", "grant-start", "delete-undo"}},
		{"too many revokes", schemas.ApplicationPlan{}, plan.Rules{Enforce: true, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Revokes: n(2)}}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
		{"too many members", schemas.ApplicationPlan{}, plan.Rules{Enforce: true, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Members: n(2)}}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
		{"too many deletions", schemas.ApplicationPlan{}, plan.Rules{Enforce: true, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Deletions: n(1)}}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
		{"too many attributes", schemas.ApplicationPlan{}, plan.Rules{Enforce: true, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Attributes: n(0)}}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
		{"too many for a request", schemas.ApplicationPlan{}, plan.Rules{Limits: schemas.Limits{Request: &schemas.LimitSet{Deletions: n(0)}}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
		{"too many in a day", schemas.ApplicationPlan{}, plan.Rules{Limits: schemas.Limits{Day: &schemas.LimitSet{Deletions: n(5)}}, Day: plan.Counts{Deletions: 5}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
		{"as many as a day allows", schemas.ApplicationPlan{}, plan.Rules{Limits: schemas.Limits{Day: &schemas.LimitSet{Deletions: n(5)}}, Day: plan.Counts{Deletions: 4}}, schemas.HoldBudget, nil},
		{"too many grants in a day", schemas.ApplicationPlan{}, plan.Rules{Limits: schemas.Limits{Day: &schemas.LimitSet{Grants: n(5)}}, Day: plan.Counts{Grants: 6}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
		{"too many in a run", schemas.ApplicationPlan{}, plan.Rules{Limits: schemas.Limits{Run: &schemas.LimitSet{Revokes: n(5)}}, Run: plan.Counts{Grants: 5}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := tt.plan
			p.Operations = sampleOps()
			plan.Hold(&p, tt.rules)
			got := ids(&p, tt.hold)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("held %q (-want +got):\n%s", tt.hold, diff)
			}
			for _, o := range p.Operations {
				if (o.Hold == schemas.HoldNone) != (o.HoldReason == "") {
					t.Errorf("%s: hold %q, reason %q", o.ID, o.Hold, o.HoldReason)
				}
			}
			if tt.rules.Shrunken && p.Incomplete == "" {
				t.Error("a shrunken read is not shown as incomplete")
			}
		})
	}
}

func TestHoldCounts(t *testing.T) {
	t.Parallel()
	p := schemas.ApplicationPlan{Operations: sampleOps()}
	want := plan.Counts{Members: 3, Deletions: 2, Attributes: 1}
	if got := plan.Hold(&p, plan.Rules{Enforce: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	zero := 0
	p = schemas.ApplicationPlan{Operations: sampleOps()}
	if got := plan.Hold(&p, plan.Rules{Enforce: true, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Deletions: &zero}}}); got != (plan.Counts{}) {
		t.Errorf("nothing that counts goes ahead, and %+v counts", got)
	}
	// A spent day stops no grant.
	p = schemas.ApplicationPlan{Operations: sampleOps()[:1]}
	plan.Hold(&p, plan.Rules{Limits: schemas.Limits{Day: &schemas.LimitSet{Deletions: &zero}}, Day: plan.Counts{Deletions: 9}})
	if p.Operations[0].Hold != schemas.HoldNone {
		t.Error(p.Operations[0].HoldReason)
	}
}

func TestHoldCountsARequestOnce(t *testing.T) {
	t.Parallel()
	one := 1
	o := sampleOps()[5]
	o.Documents = []schemas.DocumentID{{Path: "p", Index: 0}, {Path: "p", Index: 1}}
	p := schemas.ApplicationPlan{Operations: []schemas.Operation{o}}
	plan.Hold(&p, plan.Rules{Limits: schemas.Limits{Request: &schemas.LimitSet{Revokes: &one}}})
	if p.Operations[0].Hold != schemas.HoldNone {
		t.Error(p.Operations[0].HoldReason)
	}
}

func TestHoldDependents(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("C role/a", "run", "live -role/a", "A role/a +user/x", "A role/b +role/a", "live role/b", "D role/c", "live role/c")
	res := w.diff()
	plan.Hold(&res.Plan, plan.Rules{})
	want := []string{
		"create role/a limit=-1 login=false, drift, held: drift", "grant role/a user/x MEMBER, request, held: drift",
		"grant role/b role/a MEMBER, request, held: drift", "delete role/c, request",
	}
	if diff := cmp.Diff(want, lines(&res.Plan)); diff != "" {
		t.Error(diff)
	}
}

// An approved deletion does not wait for an edge that nobody asked to be taken away: it goes with it.
func TestDeletionDoesNotWaitForDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("D role/c", "live role/c", "live role/b role/c:MEMBER")
	w.app.Spec.Unmanaged = schemas.UnmanagedRevoke
	res := w.diff()
	plan.Hold(&res.Plan, plan.Rules{})
	want := []string{"revoke role/b role/c MEMBER, unmanaged, held: drift", "delete role/c, request", "unmanaged role/b role/c MEMBER"}
	if diff := cmp.Diff(want, lines(&res.Plan)); diff != "" {
		t.Error(diff)
	}
}

func TestHoldKeepsEarlierHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("C role/a", "A role/a +user/x", "run", "live role/a#99")
	res := w.diff()
	plan.Hold(&res.Plan, plan.Rules{Enforce: true})
	want := []string{"grant role/a user/x MEMBER, drift, held: identity", "! other-id role/a"}
	if diff := cmp.Diff(want, lines(&res.Plan)); diff != "" {
		t.Error(diff)
	}
}

func TestHoldProvisioning(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("A role/a provisioning=ticket +user/x", "A role/a +user/y", "live role/a")
	res := w.diff()
	plan.Hold(&res.Plan, plan.Rules{Unable: map[schemas.Provisioning]string{schemas.ProvisioningTicket: "nobody can be asked"}})
	want := []string{"grant role/a user/x MEMBER, request, held: provision", "grant role/a user/y MEMBER, request"}
	if diff := cmp.Diff(want, lines(&res.Plan)); diff != "" {
		t.Error(diff)
	}
}

func ExampleHold() {
	limit := 1
	p := schemas.ApplicationPlan{Application: "warehouse", Operations: sampleOps()}
	plan.Hold(&p, plan.Rules{Enforce: true, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Deletions: &limit}}})
	fmt.Println(p.Operations[0].HoldReason)
	// Output: this run would count 2 deletions, and the limit is 1: an owner raises spec.limits, or admits a BudgetOverride
}
