package reconciler_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
)

// wantCode checks the exit code of a run.
func wantCode(t *testing.T, r *schemas.RunReport, want int) {
	t.Helper()
	if got := reconciler.ExitCode(r, false); got != want {
		t.Errorf("exit code %d, want %d", got, want)
	}
}

// states is a request's provisioning and verification.
func (w *world) states(path string) string {
	w.t.Helper()
	s := w.status(path)
	return string(s.Provisioning) + " " + string(s.Verification)
}

// TestLostAnswer has the application carry out operations and the connection break before it confirms them: the run
// reads back and reports what is there.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		carriedOut int
		code       int
		states     string
		left       int
	}{
		"all of it":  {carriedOut: 2, states: "applied verified"},
		"half of it": {carriedOut: 1, code: 5, states: "partial partial", left: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			w.land(files{"requests/two.yaml": assignment("authz", "sales_reader", grants(user("dave"), user("erin")))}, historytest.Bob())
			w.faults["authz"] = &fault{lost: c.carriedOut}
			r := w.run()
			a := outcome(t, r, "authz")
			if len(a.Outcomes) != c.carriedOut || a.Remaining != c.left || (a.Error == "") != (c.left == 0) {
				t.Errorf("%d outcomes, %d remain, error %q", len(a.Outcomes), a.Remaining, a.Error)
			}
			for _, v := range a.Verifications {
				if v.Status != schemas.VerificationVerified {
					t.Errorf("operation %s is %s", v.Operation, v.Status)
				}
			}
			wantCode(t, r, c.code)
			if got := w.states("requests/two.yaml"); got != c.states {
				t.Errorf("status is %s, want %s", got, c.states)
			}
			w.faults["authz"] = nil
			r = w.run()
			wantCode(t, r, 0)
			if a := outcome(t, r, "authz"); len(a.Plan.Operations) != c.left {
				t.Errorf("the next run has %d operations, want %d", len(a.Plan.Operations), c.left)
			}
			if got := w.states("requests/two.yaml"); got != "applied verified" {
				t.Errorf("in the end the status is %s", got)
			}
		})
	}
}

// losingWriter loses the application's answers.
type losingWriter struct {
	connectors.Writer
	done int
}

func (w losingWriter) Apply(ctx context.Context, ops []schemas.Operation, _ func(connectors.Outcome)) error {
	if err := w.Writer.Apply(ctx, ops[:min(w.done, len(ops))], func(connectors.Outcome) {}); err != nil {
		return err
	}
	return &connectors.Error{Op: "commit", Message: "the connection was lost"}
}

// fullReplica refuses records with a text in them, as a full disk does.
type fullReplica struct{ refused string }

func (fullReplica) Acquire(context.Context, time.Duration) (func(context.Context) error, error) {
	return func(context.Context) error { return nil }, nil
}
func (fullReplica) Pull(context.Context, *ledger.Ledger) error { return nil }
func (f fullReplica) Replicate(_ context.Context, b ledger.Batch) error {
	for _, line := range b.Lines {
		if strings.Contains(line, f.refused) {
			return errors.New("no space left")
		}
	}
	return nil
}

// TestLedgerFull fails the ledger at each kind of record of a run. The report never contradicts itself, the exit code is
// not 0, and the next run with room settles everything.
func TestLedgerFull(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"intent", "outcome", "verification", "run-end"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			w.land(files{"requests/two.yaml": assignment("authz", "sales_reader", grants(user("dave"), user("erin")))}, historytest.Bob())
			w.replica = fullReplica{`"type":"` + kind + `"`}
			r := w.run()
			a := outcome(t, r, "authz")
			if a.Error == "" || reconciler.ExitCode(r, false) == 0 {
				t.Errorf("exit code %d, error %q", reconciler.ExitCode(r, false), a.Error)
			}
			verified := 0
			for _, v := range a.Verifications {
				if v.Status == schemas.VerificationVerified {
					verified++
				}
			}
			there := len(w.holds("authz")) - len(quiet())
			if total := len(a.Plan.Operations); verified+a.Remaining != total || total != 2 {
				t.Errorf("%d verified and %d remain of %d operations", verified, a.Remaining, total)
			}
			if there != 0 && verified != 2 || there == 0 && verified != 0 {
				t.Errorf("%d operations verified, and the application shows %d", verified, there)
			}
			w.replica = nil
			wantCode(t, w.run(), 0)
			if got := w.states("requests/two.yaml"); got != "applied verified" {
				t.Errorf("with room again the status is %s", got)
			}
		})
	}
}

// TestStatusSettles has no request wait for ever: what later requests replaced is superseded.
func TestStatusSettles(t *testing.T) {
	t.Parallel()
	dave := grants(user("dave"))
	for name, c := range map[string]struct {
		changes []files
		runs    bool // after each change; otherwise in the end
		want    map[string]string
		code    int
	}{
		"a grant revoked before it was applied": {
			changes: []files{{"requests/on.yaml": assignment("authz", "sales_reader", dave)}, {"requests/off.yaml": assignment("authz", "sales_reader", revokes(user("dave")))}},
			want:    map[string]string{"requests/on.yaml": "superseded superseded", "requests/off.yaml": "applied verified"},
		},
		"a grant revoked after it was applied": {
			changes: []files{{"requests/on.yaml": assignment("authz", "sales_reader", dave)}, {"requests/off.yaml": assignment("authz", "sales_reader", revokes(user("dave")))}},
			runs:    true,
			want:    map[string]string{"requests/on.yaml": "superseded superseded", "requests/off.yaml": "applied verified"},
		},
		"a revoke beside a deletion": {
			changes: []files{{"requests/on.yaml": assignment("authz", "sales_reader", dave)},
				{"requests/off.yaml": assignment("authz", "sales_reader", revokes(user("dave"))), "requests/zero.yaml": deletion("authz", "sales_reader")}},
			runs: true,
			want: map[string]string{"requests/on.yaml": "superseded superseded", "requests/off.yaml": "superseded superseded", "requests/zero.yaml": "applied verified"},
		},
		"an undone creation with what it was granted": {
			changes: []files{{"requests/new.yaml": creation("authz", "temporary"), "requests/on.yaml": assignment("authz", "temporary", dave)},
				{"requests/new.yaml": "", "requests/on.yaml": ""}},
			runs: true,
			want: map[string]string{"requests/on.yaml": "applied verified"},
		},
		"an object that is not there": {
			changes: []files{{"requests/on.yaml": assignment("authz", "sales_reader", grants(user("dave"), read("sales.nothere")))}},
			want:    map[string]string{"requests/on.yaml": "applied partial"},
			code:    5,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			for _, f := range c.changes {
				w.land(f, historytest.Bob(), frank())
				if c.runs {
					wantCode(t, w.run(), c.code)
				}
			}
			for range 2 {
				wantCode(t, w.run(), c.code)
				for path, want := range c.want {
					if got := w.states(path); got != want {
						t.Errorf("%s is %s, want %s", path, got, want)
					}
				}
			}
		})
	}
}

// TestAcceptedLater has a grant wait for its holder, who accepts after the run: the access is ours, and goes with the request.
func TestAcceptedLater(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	invited := true
	w.faults["authz"] = &fault{state: func(s *schemas.State) {
		for i := range s.Connections {
			for k := range s.Connections[i].Entitlements {
				if e := &s.Connections[i].Entitlements[k]; invited && e.Target.SourceName == "dave" {
					e.State = schemas.StateInvited
				}
			}
		}
	}}
	w.land(files{"requests/two.yaml": assignment("authz", "sales_reader", grants(user("dave")))}, historytest.Bob())
	wantCode(t, w.run(), 5)
	if got := w.states("requests/two.yaml"); got != "applied pending" {
		t.Errorf("invited: %s", got)
	}
	before := w.holds("authz")
	wantCode(t, w.run(), 5)
	invited = false
	wantCode(t, w.run(), 0)
	if got := w.states("requests/two.yaml"); got != "applied verified" {
		t.Errorf("accepted: %s", got)
	}
	w.land(files{"requests/two.yaml": ""}, historytest.Bob())
	wantCode(t, w.run(), 0)
	if after := w.holds("authz"); len(after) != len(before)-1 {
		t.Errorf("the request was undone, and %v is left of %v", after, before)
	}
}
