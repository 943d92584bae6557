package reconciler_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
)

// A clock behind the ledger is skew up to five minutes, and the record's time is used. Further behind, nothing is done.
func TestClockBehindTheLedger(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		behind time.Duration
		stops  bool
	}{{"skew", 5 * time.Minute, false}, {"wrong", 5*time.Minute + time.Second, true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			end := w.Now.Add(time.Hour)
			w.land(files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(limited("dave", time.Time{}, end)))}, historytest.Bob())
			w.run()
			w.Now = end
			w.run() // the membership has ended
			w.land(files{"requests/erin.yaml": assignment("authz", "sales_reader", grants(user("erin")))}, historytest.Bob())
			w.Now = end.Add(-tc.behind)
			for _, o := range []reconciler.RunOptions{{Drift: true}, {Drift: true, Enforce: true}, {}} {
				_, err := w.try(o)
				var clock *reconciler.ClockError
				if errors.As(err, &clock) != tc.stops {
					t.Fatalf("%+v by a clock %s behind: %v", o, tc.behind, err)
				}
			}
			want := []string{"sales_reader", "sales_reader read sales.orders"}
			if !tc.stops {
				want = append(want, "sales_reader: erin")
			}
			w.wantHolds("authz", want...)
		})
	}
}

// A record from the future stops runs until an Acknowledgement names it; then the clock counts.
func TestFutureRecordIsAcknowledged(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	right := w.Now
	w.Now = right.AddDate(4, 0, 0)
	w.land(files{"requests/erin.yaml": assignment("authz", "sales_reader", grants(user("erin")))}, historytest.Bob())
	w.run()
	w.Now = right.Add(time.Hour)
	_, err := w.try(reconciler.RunOptions{})
	var clock *reconciler.ClockError
	if !errors.As(err, &clock) {
		t.Fatalf("a clock four years behind: %v", err)
	}
	w.land(files{"requests/ack.yaml": acknowledgement("future_record: " + clock.Record)}, historytest.Carol())
	end := w.Now.Add(time.Hour)
	w.land(files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(limited("dave", time.Time{}, end)))}, historytest.Bob())
	w.run()
	w.run() // the last record has the right time now
	w.wantHolds("authz", "sales_reader", "sales_reader read sales.orders", "sales_reader: dave", "sales_reader: erin")
}

// The committer chooses a merge's date. It can't take a merge back before the ledger's last record, and so before a
// freeze that had begun by then.
func TestBackdatedMergeIsJudgedAfterTheLastRecord(t *testing.T) {
	t.Parallel()
	w := settled(t, files{"policy/data.yaml": "freeze:\n  - {from: 2026-01-01T10:00:00Z, to: 2026-01-02T00:00:00Z, reason: year end}\n"})
	w.Now = at(10, 30)
	w.overwrite("authz", strings.ReplaceAll(w.content("authz"), "p, sales_reader, sales.orders, read\n", ""))
	w.runWith(reconciler.RunOptions{Drift: true, Enforce: true}) // records something within the freeze
	w.Now = at(9, 45)
	w.land(files{"requests/erin.yaml": assignment("authz", "sales_reader", grants(user("erin")))}, historytest.Bob())
	w.Now = at(10, 40)
	r := w.run()
	if len(r.Admissions) != 1 || r.Admissions[0].Verdict != "quarantined" ||
		!slices.ContainsFunc(r.Admissions[0].Reasons, func(s string) bool { return strings.Contains(s, "year end") }) {
		t.Errorf("the verdicts are %+v", r.Admissions)
	}
}
