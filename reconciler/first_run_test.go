package reconciler_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/schemas"
)

const strict = "unmanaged: revoke\ndrift: {mode: enforce}\n"

func acknowledgement(spec string) string { return document("Acknowledgement", spec+"\n") }

// found is a world whose application was there before: sales_reader has erin in it, whom no request mentions.
// It takes unmanaged access away. Nothing has run.
func found(t *testing.T, more files) *world {
	t.Helper()
	w := newWorld(t, nil)
	f := files{
		"applications/authz.yaml": w.application("authz", strict),
		"requests/base.yaml":      creation("authz", "sales_reader") + "---\n" + assignment("authz", "sales_reader", grants(read("sales.orders"), user("dave"))),
	}
	for p, c := range more {
		f[p] = c
	}
	w.change(f)
	w.Git("add", "-A")
	w.Git("commit", "-q", "--amend", "--no-edit")
	w.tamper("authz", "p2, sales_reader, role, , , false", "g, erin, sales_reader")
	return w
}

// The first run grants, shows what it would take away, and takes nothing: nor does any later one, until an
// owner of the settings says so. That word is good for one time.
func TestFirstRun(t *testing.T) {
	t.Parallel()
	w := found(t, nil)
	adopted := append(quiet(), "sales_reader: dave")
	withErin := append(slices.Clone(adopted), "sales_reader: erin")
	const held = "revoke sales_reader erin member (unmanaged) held: first-run"

	wantPlan(t, outcome(t, w.run(), "authz").Plan.Operations, held,
		"grant sales_reader dave member (request)", "grant sales_reader sales.orders read (request)")
	w.wantHolds("authz", withErin...)
	for range 2 {
		got := outcome(t, w.run(), "authz")
		wantPlan(t, got.Plan.Operations, held)
		if o := got.Plan.Operations; len(o) == 1 && !strings.Contains(o[0].HoldReason, "Acknowledgement with first_run: authz") {
			t.Errorf("the hold does not say what releases it: %s", o[0].HoldReason)
		}
	}
	w.land(files{"requests/not.yaml": acknowledgement("first_run: authz")}, historytest.Bob())
	w.run()
	w.wantHolds("authz", withErin...)
	w.land(files{"requests/ack.yaml": acknowledgement("first_run: authz")}, historytest.Carol())
	wantPlan(t, outcome(t, w.run(), "authz").Plan.Operations, "revoke sales_reader erin member (unmanaged)")
	w.wantHolds("authz", adopted...)

	// The onboarding is over: what comes now goes at once.
	w.tamper("authz", "g, erin, sales_reader")
	w.run()
	w.wantHolds("authz", adopted...)

	// A new version begins anew, and the old word does not count for it.
	w.version = "2"
	w.tamper("authz", "g, erin, sales_reader")
	for range 2 {
		wantPlan(t, outcome(t, w.run(), "authz").Plan.Operations, held)
	}
	w.wantHolds("authz", withErin...)
	w.land(files{"requests/ack2.yaml": acknowledgement("first_run: authz")}, historytest.Carol())
	w.run()
	w.wantHolds("authz", adopted...)
}

// What reviewers saw by name goes on the first run too; an undo does not.
func TestFirstRunOfAVersion(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	ends := w.Now.Add(time.Hour).Format(time.RFC3339)
	w.land(files{
		"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave"))),
		"requests/erin.yaml": assignment("authz", "sales_reader", grants(user("erin"))),
		"requests/gina.yaml": assignment("authz", "sales_reader", grants("{type: user, source_name: gina, expires: "+ends+"}")),
	}, historytest.Bob())
	w.run()
	w.wantHolds("authz", crowd()...)
	w.version = "2"
	w.land(files{"requests/dave.yaml": "", "requests/out.yaml": assignment("authz", "sales_reader", revokes(user("erin")))}, historytest.Bob())
	w.later(2 * time.Hour)
	wantPlan(t, outcome(t, w.run(), "authz").Plan.Operations, "revoke sales_reader dave member (undo) held: first-run",
		"revoke sales_reader erin member (request)", "revoke sales_reader gina member (expiry)")
	w.wantHolds("authz", append(quiet(), "sales_reader: dave")...)
}

// Each ledger has a first run of its own: with a lost one, and for a second replica.
func TestFirstRunOfALedger(t *testing.T) {
	t.Parallel()
	for _, atOnce := range []bool{true, false} {
		name := "one after the other"
		if atOnce {
			name = "at once"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := found(t, nil)
			reports := make([]*schemas.RunReport, 2)
			var runs sync.WaitGroup
			for i := range reports {
				w.elsewhere()
				r := w.open()
				run := func() {
					var err error
					if reports[i], err = r.RunOnce(t.Context(), reconciler.RunOptions{To: "main"}); err != nil {
						t.Error(err)
					}
				}
				if atOnce {
					runs.Go(run)
				} else {
					run()
				}
			}
			runs.Wait()
			if t.Failed() {
				return
			}
			for i, r := range reports {
				o := outcome(t, r, "authz")
				if o.Error != "" {
					t.Errorf("run %d: %s", i, o.Error)
				}
				if !slices.Contains(said(o.Plan.Operations), "revoke sales_reader erin member (unmanaged) held: first-run") {
					t.Errorf("run %d: %v", i, said(o.Plan.Operations))
				}
			}
			w.wantHolds("authz", append(quiet(), "sales_reader: dave", "sales_reader: erin")...)
		})
	}
}

// An acknowledgement that stands in Git speaks of what the former ledger's first run had shown: with a new ledger
// it releases nothing.
func TestAcknowledgementOfALostLedger(t *testing.T) {
	t.Parallel()
	w := found(t, nil)
	w.run()
	w.land(files{"requests/ack.yaml": acknowledgement("first_run: authz")}, historytest.Carol())
	w.run()
	clean := append(quiet(), "sales_reader: dave")
	w.wantHolds("authz", clean...)
	w.tamper("authz", "g, erin, sales_reader")
	w.lose()
	const held = "revoke sales_reader erin member (unmanaged) held: first-run"
	for range 2 {
		wantPlan(t, outcome(t, w.run(), "authz").Plan.Operations, held)
	}
	w.land(files{"requests/again.yaml": acknowledgement("first_run: authz")}, historytest.Carol())
	w.run()
	w.wantHolds("authz", clean...)
}

// With one ledger, two runs at once use one acknowledgement once.
func TestRunsAtOnce(t *testing.T) {
	t.Parallel()
	w := found(t, nil)
	w.run()
	w.land(files{"requests/ack.yaml": acknowledgement("first_run: authz")}, historytest.Carol())
	reports := make([]*schemas.RunReport, 2)
	var runs sync.WaitGroup
	for i := range reports {
		r := w.open()
		runs.Go(func() {
			var err error
			if reports[i], err = r.RunOnce(t.Context(), reconciler.RunOptions{To: "main"}); err != nil {
				t.Error(err)
			}
		})
	}
	runs.Wait()
	if t.Failed() {
		return
	}
	removed := 0
	for _, r := range reports {
		o := outcome(t, r, "authz")
		if o.Error != "" {
			t.Error(o.Error)
		}
		removed += len(o.Outcomes)
	}
	if removed != 1 {
		t.Errorf("%d operations were carried out, want 1", removed)
	}
	w.wantHolds("authz", append(quiet(), "sales_reader: dave")...)
}
