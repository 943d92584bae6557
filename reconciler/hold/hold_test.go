package hold_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/hold"
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
		rules hold.Rules
		hold  schemas.Hold
		want  []string
	}{
		{"observe", schemas.ApplicationPlan{Mode: schemas.ModeObserve}, hold.Rules{Enforce: true}, schemas.HoldObserve, all},
		{"add", schemas.ApplicationPlan{Mode: schemas.ModeAdd}, hold.Rules{Enforce: true}, schemas.HoldAdd,
			[]string{"update", "update-drift", "revoke", "revoke-expiry", "revoke-undo", "revoke-drift", "revoke-unmanaged", "delete", "delete-undo", "delete-drift"}},
		{"full", schemas.ApplicationPlan{}, hold.Rules{Enforce: true}, schemas.HoldNone, all},
		{"drift is not enforced", schemas.ApplicationPlan{}, hold.Rules{}, schemas.HoldDrift, drift},
		{"a first run", schemas.ApplicationPlan{}, hold.Rules{Enforce: true, FirstRun: true}, schemas.HoldFirstRun,
			[]string{"update-drift", "revoke-undo", "revoke-drift", "revoke-unmanaged", "delete-undo", "delete-drift"}},
		{"an incomplete read", schemas.ApplicationPlan{Incomplete: "x"}, hold.Rules{Enforce: true}, schemas.HoldUnknown, all},
		{"an incomplete read that is shrunken too", schemas.ApplicationPlan{Incomplete: "x"}, hold.Rules{Enforce: true, Shrunken: true}, schemas.HoldUnknown, all},
		{"a shrunken read lets named removals pass", schemas.ApplicationPlan{}, hold.Rules{Enforce: true, Shrunken: true}, schemas.HoldNone,
			[]string{"revoke", "revoke-expiry", "delete"}},
		{"the budget is enough", schemas.ApplicationPlan{},
			hold.Rules{Enforce: true, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Revokes: n(3), Members: n(3), Grants: n(0), Deletions: n(2), Attributes: n(1)}}}, schemas.HoldBudget, nil},
		{"what is held costs nothing", schemas.ApplicationPlan{}, hold.Rules{Limits: schemas.Limits{LimitSet: schemas.LimitSet{Revokes: n(1), Deletions: n(1)}}}, schemas.HoldBudget, nil},
		{"named removals cost nothing and pass", schemas.ApplicationPlan{}, hold.Rules{Limits: schemas.Limits{LimitSet: schemas.LimitSet{Revokes: n(0)}}}, schemas.HoldBudget,
			[]string{"create", "update", "revoke-undo", "grant", "grant-start", "delete-undo"}},
		{"too many revokes", schemas.ApplicationPlan{}, hold.Rules{Enforce: true, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Revokes: n(2)}}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
		{"too many members", schemas.ApplicationPlan{}, hold.Rules{Enforce: true, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Members: n(2)}}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
		{"too many deletions", schemas.ApplicationPlan{}, hold.Rules{Enforce: true, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Deletions: n(1)}}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
		{"too many attributes", schemas.ApplicationPlan{}, hold.Rules{Enforce: true, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Attributes: n(0)}}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
		{"too many for a request", schemas.ApplicationPlan{}, hold.Rules{Limits: schemas.Limits{Request: &schemas.LimitSet{Deletions: n(0)}}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
		{"too many in a day", schemas.ApplicationPlan{}, hold.Rules{Limits: schemas.Limits{Day: &schemas.LimitSet{Deletions: n(5)}}, Day: hold.Counts{Deletions: 5}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
		{"as many as a day allows", schemas.ApplicationPlan{}, hold.Rules{Limits: schemas.Limits{Day: &schemas.LimitSet{Deletions: n(5)}}, Day: hold.Counts{Deletions: 4}}, schemas.HoldBudget, nil},
		{"too many grants in a day", schemas.ApplicationPlan{}, hold.Rules{Limits: schemas.Limits{Day: &schemas.LimitSet{Grants: n(5)}}, Day: hold.Counts{Grants: 6}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
		{"too many in a run", schemas.ApplicationPlan{}, hold.Rules{Limits: schemas.Limits{Run: &schemas.LimitSet{Revokes: n(5)}}, Run: hold.Counts{Grants: 5}}, schemas.HoldNone, []string{"revoke", "revoke-expiry", "delete"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := tt.plan
			p.Operations = sampleOps()
			hold.Operations(&p, tt.rules)
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
	want := hold.Counts{Members: 3, Deletions: 2, Attributes: 1}
	if got := hold.Operations(&p, hold.Rules{Enforce: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	zero := 0
	p = schemas.ApplicationPlan{Operations: sampleOps()}
	if got := hold.Operations(&p, hold.Rules{Enforce: true, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Deletions: &zero}}}); got != (hold.Counts{}) {
		t.Errorf("nothing that counts goes ahead, and %+v counts", got)
	}
	// A spent day stops no grant.
	p = schemas.ApplicationPlan{Operations: sampleOps()[:1]}
	hold.Operations(&p, hold.Rules{Limits: schemas.Limits{Day: &schemas.LimitSet{Deletions: &zero}}, Day: hold.Counts{Deletions: 9}})
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
	hold.Operations(&p, hold.Rules{Limits: schemas.Limits{Request: &schemas.LimitSet{Revokes: &one}}})
	if p.Operations[0].Hold != schemas.HoldNone {
		t.Error(p.Operations[0].HoldReason)
	}
}

// TestHoldOutside: what somebody outside is at is not begun again, keeps back what needs it, and uses up the budget.
func TestHoldOutside(t *testing.T) {
	t.Parallel()
	two := 2
	var ops []schemas.Operation
	for _, id := range []string{"a", "b", "c"} {
		n := name("user/" + id)
		ops = append(ops, schemas.Operation{ID: id, Kind: schemas.OperationRevoke, Cause: schemas.CauseUndo, Connection: name("role/a"), Target: &n, Privilege: schemas.PrivilegeMember})
	}
	z := name("user/z")
	grant := schemas.Operation{ID: "z", Kind: schemas.OperationGrant, Cause: schemas.CauseRequest, Connection: name("role/a"), Target: &z, Privilege: schemas.PrivilegeMember, DependsOn: []string{"a"}}
	holds := func(outside map[string]hold.Outside) map[string]schemas.Hold {
		p := schemas.ApplicationPlan{Application: "x", Operations: append(append([]schemas.Operation{}, ops...), grant)}
		hold.Operations(&p, hold.Rules{Outside: outside, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Revokes: &two}}})
		out := map[string]schemas.Hold{}
		for _, o := range p.Operations {
			out[o.ID] = o.Hold
		}
		return out
	}
	pending := hold.Outside{Hold: schemas.HoldPending, Reason: "webhook since"}
	for title, c := range map[string]struct {
		outside map[string]hold.Outside
		want    map[string]schemas.Hold
	}{
		"three are too many":        {nil, map[string]schemas.Hold{"a": "budget", "b": "budget", "c": "budget", "z": "budget"}},
		"also where two are begun":  {map[string]hold.Outside{"a": pending, "b": pending}, map[string]schemas.Hold{"a": "pending", "b": "pending", "c": "budget", "z": "pending"}},
		"all begun hold no others":  {map[string]hold.Outside{"a": pending, "b": pending, "c": pending}, map[string]schemas.Hold{"a": "pending", "b": "pending", "c": "pending", "z": "pending"}},
		"what was declined is none": {map[string]hold.Outside{"b": {Hold: schemas.HoldDeclined}}, map[string]schemas.Hold{"a": "", "b": "declined", "c": "", "z": ""}},
	} {
		if diff := cmp.Diff(c.want, holds(c.outside)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", title, diff)
		}
	}
}

func name(s string) schemas.Name {
	typ, source, _ := strings.Cut(s, "/")
	return schemas.Name{Type: typ, SourceName: source}
}

func ExampleOperations() {
	limit := 1
	p := schemas.ApplicationPlan{Application: "warehouse", Operations: sampleOps()}
	hold.Operations(&p, hold.Rules{Enforce: true, Limits: schemas.Limits{LimitSet: schemas.LimitSet{Deletions: &limit}}})
	fmt.Println(p.Operations[0].HoldReason)
	// Output: this run would count 2 deletions, and the limit is 1: an owner raises spec.limits, or admits a BudgetOverride
}
