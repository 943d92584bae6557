package reconciler_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
)

// team is a file that puts dave, erin and gina into sales_reader: to undo it takes three away.
func team() string {
	return assignment("authz", "sales_reader", grants(user("dave"), user("erin"), user("gina")))
}

func budget(app string, until time.Time, limits string) string {
	return document("BudgetOverride", fmt.Sprintf("application: %s\nlimits: %s\nuntil: %s\n", app, limits, until.Format(time.RFC3339)))
}

// crowded has dave, erin and gina in sales_reader, and an approved undo of that beside an approved grant.
// Nothing has run since.
func crowded(t *testing.T, limits string) *world {
	t.Helper()
	w := settled(t, files{"countersign.yaml": settings("limits: " + limits)})
	w.land(files{"requests/team.yaml": team()}, historytest.Bob())
	w.run()
	w.wantHolds("authz", crowd()...)
	w.land(files{"requests/team.yaml": "", "requests/writer.yaml": creation("authz", "sales_writer")}, historytest.Bob())
	return w
}

func crowd() []string {
	return append(quiet(), "sales_reader: dave", "sales_reader: erin", "sales_reader: gina")
}

// quiet is what every settled world holds.
func quiet() []string { return []string{"sales_reader", "sales_reader read sales.orders"} }

func TestBudgetStopsTheRun(t *testing.T) {
	t.Parallel()
	held := []string{
		"create sales_writer (request) held: budget", "revoke sales_reader dave member (undo) held: budget",
		"revoke sales_reader erin member (undo) held: budget", "revoke sales_reader gina member (undo) held: budget",
	}
	tests := []struct {
		name, limits, says string
		stops              bool
	}{
		{"at the limit", "{revokes: 3}", "", false},
		{"above the limit", "{revokes: 2}", "3 revokes, and the limit is 2", true},
		{"no revoke at all", "{revokes: 0}", "3 revokes, and the limit is 0", true},
		{"members", "{members: 2}", "3 members, and the limit is 2", true},
		{"privileges are no members", "{grants: 2}", "", false},
		{"one request", "{revokes: 50, request: {members: 2}}", "the request requests/team.yaml would count 3", true},
		{"one day", "{revokes: 50, day: {revokes: 2}}", "the last 24 hours", true},
		{"all applications", "{revokes: 50, run: {revokes: 2}}", "over all applications", true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := crowded(t, tc.limits)
			got := outcome(t, w.run(), "authz")
			if !tc.stops {
				w.wantHolds("authz", append(quiet(), "sales_writer")...)
				return
			}
			wantPlan(t, got.Plan.Operations, held...)
			for _, o := range got.Plan.Operations {
				if !strings.Contains(o.HoldReason, tc.says) {
					t.Errorf("the hold says %q, want it to say %q", o.HoldReason, tc.says)
				}
			}
			if len(got.Outcomes) != 0 || got.Remaining != 4 {
				t.Errorf("%d operations were carried out and %d remain, want 0 and 4", len(got.Outcomes), got.Remaining)
			}
			w.wantHolds("authz", crowd()...)
			// It waits for a person, not for the next run.
			wantPlan(t, outcome(t, w.run(), "authz").Plan.Operations, held...)
			w.wantHolds("authz", crowd()...)
		})
	}
}

// What an approved document names is no accident, whatever the budget.
func TestBudgetLetsApprovedRemovalsPass(t *testing.T) {
	t.Parallel()
	w := settled(t, files{"countersign.yaml": settings("limits: {revokes: 0, deletions: 0}")})
	ends := w.Now.Add(time.Hour).Format(time.RFC3339)
	w.land(files{
		"requests/team.yaml":   team(),
		"requests/brief.yaml":  assignment("authz", "sales_reader", grants("{type: user, source_name: alice, expires: "+ends+"}")),
		"requests/writer.yaml": creation("authz", "sales_writer"),
	}, frank())
	w.run()
	w.land(files{
		"requests/out.yaml":  assignment("authz", "sales_reader", revokes(user("dave"), user("erin"))),
		"requests/gone.yaml": deletion("authz", "sales_writer"),
	}, historytest.Bob())
	w.later(2 * time.Hour)
	got := outcome(t, w.run(), "authz")
	wantPlan(t, got.Plan.Operations, "delete sales_writer (request)", "revoke sales_reader alice member (expiry)",
		"revoke sales_reader dave member (request)", "revoke sales_reader erin member (request)")
	w.wantHolds("authz", append(quiet(), "sales_reader: gina")...)
}

func TestBudgetOverride(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// decree makes the override and returns with it on main.
		decree func(w *world)
		passes bool
	}{
		{"approved by an owner of the settings", func(w *world) {
			w.land(files{"requests/more.yaml": budget("authz", w.Now.Add(time.Hour), "{revokes: 3}")}, historytest.Carol())
		}, true},
		{"approved by the application's owner alone", func(w *world) {
			w.land(files{"requests/more.yaml": budget("authz", w.Now.Add(time.Hour), "{revokes: 3}")}, historytest.Bob())
		}, false},
		{"written by an owner of the settings, approved by nobody else", func(w *world) {
			w.Checkout("main").Branch("more", "main")
			w.change(files{"requests/more.yaml": budget("authz", w.Now.Add(time.Hour), "{revokes: 3}")})
			w.Commit(historytest.CommitOptions{Author: historytest.Carol()})
			w.merge("more", historytest.Carol())
		}, false},
		{"pushed by nobody's leave", func(w *world) {
			w.push(files{"requests/more.yaml": budget("authz", w.Now.Add(time.Hour), "{revokes: 3}")})
		}, false},
		{"too low", func(w *world) {
			w.land(files{"requests/more.yaml": budget("authz", w.Now.Add(time.Hour), "{revokes: 2}")}, historytest.Carol())
		}, false},
		{"for another application", func(w *world) {
			w.land(files{"applications/hr.yaml": w.application("hr", "")}, historytest.Carol())
			w.land(files{"requests/more.yaml": budget("hr", w.Now.Add(time.Hour), "{revokes: 3}")}, historytest.Carol())
		}, false},
		{"that has ended", func(w *world) {
			w.land(files{"requests/more.yaml": budget("authz", w.Now.Add(time.Hour), "{revokes: 3}")}, historytest.Carol())
			w.later(time.Hour)
		}, false},
		{"that was taken back", func(w *world) {
			w.land(files{"requests/more.yaml": budget("authz", w.Now.Add(time.Hour), "{revokes: 3}")}, historytest.Carol())
			w.land(files{"requests/more.yaml": ""}, historytest.Carol())
		}, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := crowded(t, "{revokes: 2}")
			w.run()
			w.wantHolds("authz", crowd()...)
			tc.decree(w)
			got := outcome(t, w.run(), "authz")
			if !tc.passes {
				if len(got.Outcomes) != 0 {
					t.Errorf("carried out: %v", got.Outcomes)
				}
				w.wantHolds("authz", crowd()...)
				return
			}
			w.wantHolds("authz", append(quiet(), "sales_writer")...)
			if got.Remaining != 0 {
				t.Errorf("%d operations remain", got.Remaining)
			}
		})
	}
}

// An override is for its time: the same removals are stopped again when it is over.
func TestBudgetOverrideEnds(t *testing.T) {
	t.Parallel()
	w := crowded(t, "{revokes: 2, day: {revokes: 2}}")
	w.land(files{"requests/more.yaml": budget("authz", w.Now.Add(time.Hour), "{revokes: 3}")}, historytest.Carol())
	w.run()
	w.wantHolds("authz", append(quiet(), "sales_writer")...)
	w.land(files{"requests/team2.yaml": team()}, historytest.Bob())
	w.later(48 * time.Hour)
	w.run()
	w.land(files{"requests/team2.yaml": ""}, historytest.Bob())
	if got := outcome(t, w.run(), "authz"); len(got.Outcomes) != 0 {
		t.Errorf("carried out: %v", got.Outcomes)
	}
	w.wantHolds("authz", append(crowd(), "sales_writer")...)
}

// The limit of a day counts what earlier runs took, and forgets it after a day.
func TestBudgetOfADay(t *testing.T) {
	t.Parallel()
	w := settled(t, files{"countersign.yaml": settings("limits: {revokes: 50, day: {revokes: 2}}")})
	for _, name := range []string{"dave", "erin", "gina"} {
		w.land(files{"requests/" + name + ".yaml": assignment("authz", "sales_reader", grants(user(name)))}, historytest.Bob())
	}
	w.run()
	w.wantHolds("authz", crowd()...)
	w.land(files{"requests/dave.yaml": "", "requests/erin.yaml": ""}, historytest.Bob())
	w.run()
	w.wantHolds("authz", append(quiet(), "sales_reader: gina")...)
	w.land(files{"requests/gina.yaml": ""}, historytest.Bob())
	w.later(23 * time.Hour)
	wantPlan(t, outcome(t, w.run(), "authz").Plan.Operations, "revoke sales_reader gina member (undo) held: budget")
	w.wantHolds("authz", append(quiet(), "sales_reader: gina")...)
	// A spent day stops nothing that takes nothing.
	w.land(files{"requests/writer.yaml": creation("authz", "sales_writer")}, historytest.Bob())
	w.later(2 * time.Hour)
	wantPlan(t, outcome(t, w.run(), "authz").Plan.Operations, "create sales_writer (request)", "revoke sales_reader gina member (undo)")
	w.wantHolds("authz", append(quiet(), "sales_writer")...)
}

// The limit of a run is over all applications: the one that goes beyond it stops, what went before stands.
func TestBudgetOfARun(t *testing.T) {
	t.Parallel()
	w := settled(t, files{"countersign.yaml": settings("limits: {revokes: 50, run: {revokes: 2}}")})
	w.land(files{"applications/hr.yaml": w.application("hr", "")}, historytest.Carol())
	two := grants(user("dave"), user("erin"))
	w.land(files{
		"requests/authz.yaml": assignment("authz", "sales_reader", two),
		"requests/hr.yaml":    creation("hr", "clerk"),
		"requests/hr2.yaml":   assignment("hr", "clerk", two),
	}, historytest.Bob())
	w.run()
	w.wantHolds("hr", "clerk", "clerk: dave", "clerk: erin")
	w.land(files{"requests/authz.yaml": "", "requests/hr2.yaml": ""}, historytest.Bob())
	r := w.run()
	w.wantHolds("authz", quiet()...)
	w.wantHolds("hr", "clerk", "clerk: dave", "clerk: erin")
	wantPlan(t, outcome(t, r, "hr").Plan.Operations,
		"revoke clerk dave member (undo) held: budget", "revoke clerk erin member (undo) held: budget")
	// The next run has a budget of its own.
	w.run()
	w.wantHolds("hr", "clerk")
}

// A preview and a dry run say what the apply would say.
func TestBudgetIsForeseen(t *testing.T) {
	t.Parallel()
	w := settled(t, files{"countersign.yaml": settings("limits: {revokes: 2}")})
	w.land(files{"requests/team.yaml": team()}, historytest.Bob())
	w.run()
	w.propose("undo", files{"requests/team.yaml": ""})
	p := w.preview("undo")
	if len(p.Plan.Applications) != 1 {
		t.Fatalf("plans: %v", p.Plan.Applications)
	}
	want := []string{
		"revoke sales_reader dave member (undo) held: budget", "revoke sales_reader erin member (undo) held: budget",
		"revoke sales_reader gina member (undo) held: budget",
	}
	wantPlan(t, p.Plan.Applications[0].Operations, want...)
	w.merge("undo", historytest.Bob())
	wantPlan(t, outcome(t, w.runWith(reconciler.RunOptions{DryRun: true}), "authz").Plan.Operations, want...)
	if got := w.runWith(reconciler.RunOptions{Drift: true}); got.Kind != "Drift" || len(outcome(t, got, "authz").Plan.Operations) != 3 {
		t.Errorf("drift reports %v", said(outcome(t, got, "authz").Plan.Operations))
	}
	w.wantHolds("authz", crowd()...)
	if s := w.status("requests/team.yaml"); s.Approval != "undone" {
		t.Errorf("the request is %s, want undone", s.Approval)
	}
}
