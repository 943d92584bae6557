package reconciler_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
)

// rewritten is a world whose main was rewritten after dave was let in: it forgets that, and lets erin in. last
// is the commit that was admitted last.
func rewritten(t *testing.T) (w *world, last string) {
	t.Helper()
	w = settled(t, nil)
	from := w.Git("rev-parse", "main")
	last = w.land(files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave")))}, historytest.Bob())
	w.run()
	w.Checkout("main")
	w.Git("reset", "-q", "--hard", from)
	w.land(files{"requests/erin.yaml": assignment("authz", "sales_reader", grants(user("erin")))}, historytest.Bob())
	return w, last
}

// stopped wants everything to stop for the rewritten main, and nothing to change.
func (w *world) stopped(last string) {
	w.t.Helper()
	before := w.content("authz")
	r := w.open()
	ctx := w.t.Context()
	for what, do := range map[string]func() error{
		"apply":   func() error { _, err := r.RunOnce(ctx, reconciler.RunOptions{To: "main"}); return err },
		"dry run": func() error { _, err := r.RunOnce(ctx, reconciler.RunOptions{To: "main", DryRun: true}); return err },
		"enforce": func() error {
			_, err := r.RunOnce(ctx, reconciler.RunOptions{To: "main", Drift: true, Enforce: true})
			return err
		},
		"preview": func() error {
			_, err := r.Preview(ctx, reconciler.PreviewOptions{Base: "main", Head: "main"})
			return err
		},
		"status": func() error { _, err := r.Status(ctx, "main", ""); return err },
		"access": func() error { _, err := r.Access(ctx, reconciler.AccessOptions{To: "main"}); return err },
	} {
		err := do()
		var re *reconciler.RewrittenError
		if !errors.As(err, &re) {
			w.t.Errorf("%s over a rewritten main: %v, want a RewrittenError", what, err)
			continue
		}
		way := "rewritten_from: " + last
		if re.Anchor != "" {
			way = "the operator names that commit as the anchor"
		}
		if re.Rolled != "" {
			way = "a different version of " + re.Rolled
		}
		if re.Last != last || !strings.Contains(re.Error(), way) {
			w.t.Errorf("%s does not name what to acknowledge: %v", what, re)
		}
	}
	if w.content("authz") != before {
		w.t.Error("a rewritten main changed the store")
	}
}

func TestRewrittenMain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// decree is what comes to the rewritten main.
		decree func(w *world, last string)
		goesOn bool
	}{
		{"nothing is said", func(*world, string) {}, false},
		{"an owner of the settings acknowledges", func(w *world, last string) {
			w.land(files{"requests/ack.yaml": acknowledgement("rewritten_from: " + last)}, historytest.Carol())
		}, true},
		{"an owner of the application acknowledges", func(w *world, last string) {
			w.land(files{"requests/ack.yaml": acknowledgement("rewritten_from: " + last)}, historytest.Bob())
		}, false},
		{"nobody approves the acknowledgement", func(w *world, last string) {
			w.push(files{"requests/ack.yaml": acknowledgement("rewritten_from: " + last)})
		}, false},
		{"another commit is acknowledged", func(w *world, last string) {
			w.land(files{"requests/ack.yaml": acknowledgement("rewritten_from: " + strings.Repeat("0", 40))}, historytest.Carol())
		}, false},
		{"the acknowledgement is taken back", func(w *world, last string) {
			w.land(files{"requests/ack.yaml": acknowledgement("rewritten_from: " + last)}, historytest.Carol())
			w.land(files{"requests/ack.yaml": ""}, historytest.Carol())
		}, false},
		{"the branch is put back", func(w *world, last string) {
			w.Git("reset", "-q", "--hard", last)
		}, true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w, last := rewritten(t)
			w.stopped(last)
			tc.decree(w, last)
			if !tc.goesOn {
				w.stopped(last)
				return
			}
			w.run()
			// What the new history does not tell of is nobody's: it is reported, and stays.
			want := append(quiet(), "sales_reader: dave")
			if w.Git("rev-parse", "main") != last {
				want = append(want, "sales_reader: erin")
				w.land(files{"requests/gina.yaml": assignment("authz", "sales_reader", grants(user("gina")))}, historytest.Bob())
				want = append(want, "sales_reader: gina")
				w.run()
			}
			w.wantHolds("authz", want...)
		})
	}
}

// A history with another beginning brings its own owners along: their word acknowledges nothing, also when the
// old main is a parent of a merge, which is no forced push.
func TestRewrittenFromTheRoot(t *testing.T) {
	t.Parallel()
	for _, merged := range []bool{false, true} {
		t.Run(fmt.Sprintf("merged %t", merged), func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			last := w.Git("rev-parse", "main")
			w.Git("checkout", "-q", "--orphan", "other")
			w.change(files{
				"countersign.yaml":      strings.Replace(settings(""), "carol@", "mallory@", 1),
				"requests/ack.yaml":     acknowledgement("rewritten_from: " + last),
				"requests/mallory.yaml": assignment("authz", "sales_reader", grants(user("gina"))),
			})
			w.Commit(historytest.CommitOptions{Author: historytest.Mallory()})
			if merged {
				w.Git("merge", "-q", "--allow-unrelated-histories", "-s", "ours", "-m", "Join", "main")
			}
			w.Git("branch", "-q", "-f", "main", "other")
			w.Checkout("main")
			w.stopped(last)
			w.forget()
			w.stopped(last)
		})
	}
}

// Main put back to when somebody was an owner who is none any more: it takes today's owners to acknowledge it.
func TestRewrittenToFormerOwners(t *testing.T) {
	t.Parallel()
	former := strings.Replace(settings(""), "[user:carol@acme.test]", "[user:carol@acme.test, user:frank@acme.test]", 1)
	tests := []struct {
		name   string
		decree func(w *world, ack string)
		goesOn bool
	}{
		{"a former owner acknowledges", func(w *world, ack string) {
			w.land(files{"requests/ack.yaml": ack}, frank())
		}, false},
		{"and puts the settings of today back afterwards", func(w *world, ack string) {
			w.land(files{"requests/ack.yaml": ack}, frank())
			w.land(files{"countersign.yaml": settings("")}, frank())
		}, false},
		{"the settings are put back before", func(w *world, ack string) {
			w.land(files{"countersign.yaml": settings("")}, frank())
			w.land(files{"requests/ack.yaml": ack}, historytest.Carol())
		}, true},
		{"the settings are put back before, and a former owner acknowledges", func(w *world, ack string) {
			w.land(files{"countersign.yaml": settings("")}, frank())
			w.land(files{"requests/ack.yaml": ack}, frank())
		}, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, files{"countersign.yaml": former})
			from := w.Git("rev-parse", "main")
			last := w.land(files{"countersign.yaml": settings("")}, historytest.Carol())
			w.run()
			w.Git("reset", "-q", "--hard", from)
			w.land(files{"requests/gina.yaml": assignment("authz", "sales_reader", grants(user("gina")))}, historytest.Bob())
			tc.decree(w, acknowledgement("rewritten_from: "+last))
			if !tc.goesOn {
				w.stopped(last)
				w.wantHolds("authz", quiet()...)
				return
			}
			w.run()
			w.wantHolds("authz", append(quiet(), "sales_reader: gina")...)
		})
	}
}

// A merge with main as its second parent moves main without force, and gives it another line.
func TestMainBehindAMerge(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	from := w.Git("rev-parse", "main")
	last := w.land(files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave")))}, historytest.Bob())
	w.run()
	w.Git("checkout", "-q", "-b", "side", from)
	w.change(files{"requests/gina.yaml": assignment("authz", "sales_reader", grants(user("gina")))})
	w.Commit(historytest.CommitOptions{Author: historytest.Mallory()})
	w.Git("merge", "-q", "--no-ff", "-m", "Merge main", "main")
	w.Git("branch", "-q", "-f", "main", "side")
	w.stopped(last)
	w.forget()
	w.stopped(last)
	w.land(files{"requests/ack.yaml": acknowledgement("rewritten_from: " + last)}, historytest.Carol())
	w.run()
	w.wantHolds("authz", append(quiet(), "sales_reader: dave")...)
}
