package reconciler_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/schemas"
)

// A connection goes when the change takes its members away too, by a revoke or by undoing what put them there.
func TestConnectionInUse(t *testing.T) {
	t.Parallel()
	const out = "requests/out.yaml"
	role := creation("authz", "sales_writer")
	dave := assignment("authz", "sales_writer", grants(user("dave")))
	nested := assignment("authz", "sales_reader", grants("{type: role, source_name: sales_writer}"))
	tests := []struct {
		name    string
		stands  files
		change  files
		refused string // by which rule or finding of the preview
	}{
		{"deletion with a member", files{"requests/dave.yaml": dave}, files{out: deletion("authz", "sales_writer")}, "CS-130"},
		{"deletion and a revoke", files{"requests/dave.yaml": dave},
			files{out: assignment("authz", "sales_writer", revokes(user("dave"))) + "---\n" + deletion("authz", "sales_writer")}, ""},
		{"deletion and an undo", files{"requests/dave.yaml": dave}, files{out: deletion("authz", "sales_writer"), "requests/dave.yaml": ""}, ""},
		{"undo of the creation alone", files{"requests/dave.yaml": dave}, files{"requests/role.yaml": ""}, "undone-in-use"},
		{"undo of all", files{"requests/dave.yaml": dave}, files{"requests/role.yaml": "", "requests/dave.yaml": ""}, ""},
		{"undo of one of two grants", files{"requests/dave.yaml": dave, "requests/too.yaml": dave}, files{"requests/role.yaml": "", "requests/dave.yaml": ""}, "undone-in-use"},
		{"undo with another role in it", files{"requests/in.yaml": nested}, files{"requests/role.yaml": ""}, "undone-in-use"},
		{"undo of that too", files{"requests/in.yaml": nested}, files{"requests/role.yaml": "", "requests/in.yaml": ""}, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, files{"requests/role.yaml": role})
			w.land(tc.stands, historytest.Bob())
			w.run()
			w.propose("x", tc.change)
			p := w.preview("x")
			said := codes(p.Errors)
			for _, d := range p.Decision.Denials {
				said = append(said, d.Code)
			}
			before := w.holds("authz")
			c := w.merge("x", historytest.Bob())
			r := w.run()
			if tc.refused != "" {
				if !slices.Equal(said, []string{tc.refused}) {
					t.Errorf("the preview says %v, want %s", said, tc.refused)
				}
				// A merge all the same takes nothing away.
				if diff := cmp.Diff(before, w.holds("authz")); diff != "" {
					t.Errorf("after the merge (-before +after):\n%s", diff)
				}
				return
			}
			if p.Verdict != schemas.VerdictSignoff || len(said) > 0 {
				t.Errorf("the preview is %s %v, want %s", p.Verdict, said, schemas.VerdictSignoff)
			}
			wantVerdict(t, r, c, "admitted")
			w.wantHolds("authz", quiet()...)
		})
	}
}

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
		if re.Last != last || !strings.Contains(re.Error(), way) {
			w.t.Errorf("%s does not say what to acknowledge: %v", what, re)
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
