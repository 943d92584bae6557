package reconciler_test

import (
	"errors"
	"fmt"
	"slices"

	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/schemas"
)

// two is a world with two applications, of which authz enforces its state and has four roles. Merged and not
// yet run are, for authz, a revoke of erin, an undo of dave and a grant to gina; for hr, a grant to gina and a
// revoke of erin.
func two(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, nil)
	w.change(files{
		"applications/authz.yaml": w.application("authz", strict), "applications/hr.yaml": w.application("hr", ""),
		"requests/base.yaml": creation("authz", "sales_reader") + "---\n" + creation("authz", "sales_writer") + "---\n" +
			creation("authz", "sales_auditor") + "---\n" + creation("hr", "clerk"),
		"requests/erin.yaml": assignment("authz", "sales_reader", grants(user("erin"))) + "---\n" + assignment("hr", "clerk", grants(user("erin"))),
		"requests/dave.yaml": assignment("authz", "sales_writer", grants(user("dave"))),
	})
	w.Git("add", "-A")
	w.Git("commit", "-q", "--amend", "--no-edit")
	w.run()
	w.wantHolds("authz", before()...)
	w.wantHolds("hr", "clerk", "clerk: erin")
	w.land(files{
		"requests/out.yaml":  assignment("authz", "sales_reader", revokes(user("erin"))) + "---\n" + assignment("hr", "clerk", revokes(user("erin"))),
		"requests/gina.yaml": assignment("authz", "sales_reader", grants(user("gina"))) + "---\n" + assignment("hr", "clerk", grants(user("gina"))),
		"requests/dave.yaml": "",
	}, historytest.Bob())
	return w
}

func before() []string {
	return []string{"sales_auditor", "sales_reader", "sales_reader: erin", "sales_writer", "sales_writer: dave"}
}

func after() []string {
	return []string{"sales_auditor", "sales_reader", "sales_reader: gina", "sales_writer"}
}

// An application that is not known whole loses nothing, says so, and keeps no other one waiting. When it is
// back, all that waited is done.
func TestUnknownRemovesNothing(t *testing.T) {
	t.Parallel()
	unavailable := &connectors.Error{Code: connectors.Unavailable, Op: "read", Message: "the server is on fire"}
	tests := []struct {
		name string
		// ails makes authz unwell.
		ails func(w *world)
		// says is in the error or in what is said of the plan.
		says string
		// failed says that the pass could not even plan.
		failed bool
		// unseen says that the preview of a change to one connection cannot know.
		unseen bool
	}{
		{name: "unreachable", says: "the server is on fire", failed: true, ails: func(w *world) { w.faults["authz"] = &fault{open: unavailable} }},
		{name: "a read that fails", says: "the server is on fire", failed: true, ails: func(w *world) { w.faults["authz"] = &fault{read: unavailable} }},
		{name: "a read in part", says: "page 2 is missing", ails: func(w *world) {
			w.faults["authz"] = &fault{state: func(s *schemas.State) {
				s.Connections, s.Incomplete = s.Connections[:1], "page 2 is missing"
			}}
		}},
		{name: "a read in part that shows all that was asked for", says: "page 2 is missing", ails: func(w *world) {
			w.faults["authz"] = &fault{state: func(s *schemas.State) { s.Incomplete = "page 2 is missing" }}
		}},
		{name: "suddenly nothing", says: "3 of 3 connections", unseen: true, ails: func(w *world) {
			w.faults["authz"] = &fault{state: func(s *schemas.State) { s.Connections = nil }}
		}},
		{name: "an empty file", says: "empty", failed: true, ails: func(w *world) { w.overwrite("authz", "") }},
		{name: "a file that was cut short", says: "cut short", failed: true, ails: func(w *world) { w.overwrite("authz", strings.TrimSuffix(w.content("authz"), "\n")) }},
		{name: "no file", says: "a missing store is not an empty one", failed: true, ails: func(w *world) {
			if err := os.Rename(w.path("authz"), w.path("authz")+".away"); err != nil {
				w.t.Fatal(err)
			}
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := two(t)
			well := w.content("authz")
			tc.ails(w)
			ill, _ := os.ReadFile(w.path("authz")) // none, where the file is away
			for _, o := range []reconciler.RunOptions{{DryRun: true}, {Drift: true}, {Drift: true, Enforce: true}, {}} {
				r := w.runWith(o)
				got := outcome(t, r, "authz")
				if len(got.Outcomes) != 0 {
					t.Errorf("%+v: carried out: %v", o, got.Outcomes)
				}
				said := got.Error + got.Plan.Incomplete
				for _, f := range got.Plan.Findings {
					said += "\n" + f.Message
				}
				if said == "" || !strings.Contains(said, tc.says) {
					t.Errorf("%+v: it is said %q, want %q", o, said, tc.says)
				}
				if (got.Error != "") != tc.failed {
					t.Errorf("%+v: error %q", o, got.Error)
				}
				for i := range got.Plan.Operations {
					if op := &got.Plan.Operations[i]; op.Hold != schemas.HoldUnknown {
						t.Errorf("%+v: %s %s is held for %q", o, op.Kind, op.Connection, op.Hold)
					}
				}
			}
			if now, _ := os.ReadFile(w.path("authz")); string(now) != string(ill) {
				t.Errorf("the store changed to:\n%s", now)
			}
			w.wantHolds("hr", "clerk", "clerk: gina")
			// Nobody is told that it is done.
			if s := w.status("requests/out.yaml"); s.Verification == "verified" {
				t.Errorf("the revoke in authz is called %s", s.Verification)
			}
			// Nor is a preview complete that could not look.
			w.propose("x", files{"requests/alice.yaml": assignment("authz", "sales_auditor", grants(user("erin")))})
			if p := w.preview("x"); !tc.unseen && p.Verdict != schemas.VerdictIncomplete {
				t.Errorf("the preview is %s, want %s", p.Verdict, schemas.VerdictIncomplete)
			}
			// Well again.
			delete(w.faults, "authz")
			w.overwrite("authz", well)
			if got := outcome(t, w.run(), "authz"); got.Remaining != 0 {
				t.Errorf("%d operations remain: %v", got.Remaining, said(got.Plan.Operations))
			}
			w.wantHolds("authz", after()...)
		})
	}
}

// Most of a large application missing is no work of people: what nobody named waits, what an approved document
// names goes, and an owner's word releases the rest.
func TestShrunkenRead(t *testing.T) {
	t.Parallel()
	const roles = 12
	base, all := "", quiet()
	for i := range roles {
		role := fmt.Sprintf("sales_%02d", i)
		base += creation("authz", role) + "---\n"
		all = append(all, role)
	}
	w := settled(t, files{
		"requests/many.yaml":  strings.TrimSuffix(base, "---\n"),
		"requests/team.yaml":  team(),
		"requests/alice.yaml": assignment("authz", "sales_reader", grants(user("alice"))),
	})
	w.land(files{
		"requests/alice.yaml": "",
		"requests/out.yaml":   assignment("authz", "sales_reader", revokes(user("dave"))),
		"requests/new.yaml":   creation("authz", "sales_writer"),
	}, historytest.Bob())
	shrink := func(s *schemas.State) {
		s.Connections = slices.DeleteFunc(s.Connections, func(c schemas.Connection) bool { return c.SourceName != "sales_reader" })
	}
	w.faults["authz"] = &fault{state: shrink}
	got := outcome(t, w.runWith(reconciler.RunOptions{Drift: true, Enforce: true}), "authz")
	if !slices.Contains(codes(got.Plan.Findings), "shrunken-read") {
		t.Errorf("findings: %v", got.Plan.Findings)
	}
	for i := range got.Plan.Operations {
		o := &got.Plan.Operations[i]
		if named := o.Kind == schemas.OperationRevoke && o.Target.SourceName == "dave"; named != (o.Hold == schemas.HoldNone) {
			t.Errorf("%s: held: %q", said([]schemas.Operation{*o}), o.Hold)
		}
	}
	w.wantHolds("authz", append(slices.Clone(all), "sales_reader: alice", "sales_reader: erin", "sales_reader: gina")...)
	// It was a bad read: nothing was forgotten over it.
	delete(w.faults, "authz")
	wantPlan(t, outcome(t, w.run(), "authz").Plan.Operations, "create sales_writer (request)", "revoke sales_reader alice member (undo)")
	w.wantHolds("authz", append(slices.Clone(all), "sales_reader: erin", "sales_reader: gina", "sales_writer")...)
	// It is so: somebody has deleted them.
	for i := range roles {
		w.overwrite("authz", strings.Replace(w.content("authz"), fmt.Sprintf("p2, sales_%02d, role, , , false\n", i), "", 1))
	}
	gone := w.holds("authz")
	if len(gone) != len(all)+3-roles {
		t.Fatalf("the store holds %v", gone)
	}
	w.runWith(reconciler.RunOptions{Drift: true, Enforce: true})
	if diff := cmp.Diff(gone, w.holds("authz")); diff != "" {
		t.Errorf("without an owner's word (-want +got):\n%s", diff)
	}
	w.land(files{"requests/ack.yaml": acknowledgement("first_run: authz")}, historytest.Carol())
	w.runWith(reconciler.RunOptions{Drift: true, Enforce: true})
	w.wantHolds("authz", append(slices.Clone(all), "sales_reader: erin", "sales_reader: gina", "sales_writer")...)
}

// A failing operation stops what depends on it and nothing else, and the next run does what is left.
func TestFailingOperation(t *testing.T) {
	t.Parallel()
	denied := &connectors.Error{Code: connectors.Denied, Op: "create the role sales_writer", Message: "this account may not"}
	w := settled(t, nil)
	w.land(files{"requests/team.yaml": team()}, historytest.Bob())
	w.run()
	w.land(files{
		"requests/writer.yaml": creation("authz", "sales_writer") + "---\n" + assignment("authz", "sales_writer", grants(user("dave"), read("sales.orders"))),
		"requests/out.yaml":    assignment("authz", "sales_reader", revokes(user("erin"))),
		"requests/alice.yaml":  assignment("authz", "sales_reader", grants(user("alice"))),
	}, frank())
	w.faults["authz"] = &fault{apply: func(o *schemas.Operation) error {
		if o.Kind == schemas.OperationCreate {
			return denied
		}
		return nil
	}}
	statuses := func(r *schemas.RunReport) []string {
		o := outcome(t, r, "authz")
		byID := map[string]schemas.Operation{}
		for _, op := range o.Plan.Operations {
			byID[op.ID] = op
		}
		out := []string{}
		for _, x := range o.Outcomes {
			s := said([]schemas.Operation{byID[x.Operation]})[0] + ": " + string(x.Status)
			if x.Status == "failed" {
				s += " " + x.Code + " " + x.Error
			}
			out = append(out, s)
		}
		slices.Sort(out)
		return out
	}
	r := w.run()
	want := []string{
		"create sales_writer (request): failed denied " + denied.Error(),
		"grant sales_reader alice member (request): applied",
		"grant sales_writer dave member (request): blocked",
		"grant sales_writer sales.orders read (request): blocked",
		"revoke sales_reader erin member (request): applied",
	}
	if diff := cmp.Diff(want, statuses(r)); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if got := outcome(t, r, "authz"); got.Remaining != 3 || got.Error != "" {
		t.Errorf("%d operations remain (%s), want 3", got.Remaining, got.Error)
	}
	most := append(quiet(), "sales_reader: alice", "sales_reader: dave", "sales_reader: gina")
	w.wantHolds("authz", most...)
	for path, want := range map[string][2]string{
		"requests/writer.yaml": {"failed", ""}, "requests/out.yaml": {"applied", "verified"}, "requests/alice.yaml": {"applied", "verified"},
	} {
		s := w.status(path)
		if string(s.Provisioning) != want[0] || want[1] != "" && string(s.Verification) != want[1] || want[1] == "" && s.Verification == "verified" {
			t.Errorf("%s is %s, %s, want %v", path, s.Provisioning, s.Verification, want)
		}
	}
	// The next run retries what is left, and that alone.
	delete(w.faults, "authz")
	want = []string{
		"create sales_writer (request): applied", "grant sales_writer dave member (request): applied",
		"grant sales_writer sales.orders read (request): applied",
	}
	r = w.run()
	if diff := cmp.Diff(want, statuses(r)); diff != "" {
		t.Errorf("outcomes of the second run (-want +got):\n%s", diff)
	}
	if got := outcome(t, r, "authz").Remaining; got != 0 {
		t.Errorf("%d operations remain", got)
	}
	w.wantHolds("authz", append(most, "sales_writer", "sales_writer: dave", "sales_writer read sales.orders")...)
	if s := w.status("requests/writer.yaml"); s.Provisioning != "applied" || s.Verification != "verified" {
		t.Errorf("the request is %s, %s", s.Provisioning, s.Verification)
	}
	if got := statuses(w.run()); len(got) != 0 {
		t.Errorf("a third run did %v", got)
	}
}

// What is not available for a moment is tried again within the run.
func TestTriedAgain(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	w.land(files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave")))}, historytest.Bob())
	tries := 0
	w.faults["authz"] = &fault{apply: func(*schemas.Operation) error {
		if tries++; tries == 1 {
			return &connectors.Error{Code: connectors.Unavailable, Message: "come back later"}
		}
		return nil
	}}
	got := outcome(t, w.run(), "authz")
	var statuses []string
	for _, o := range got.Outcomes {
		statuses = append(statuses, fmt.Sprint(o.Status, " ", o.Attempts))
	}
	if diff := cmp.Diff([]string{"failed 1", "applied 2"}, statuses); diff != "" || got.Remaining != 0 {
		t.Errorf("%d remain, outcomes (-want +got):\n%s", got.Remaining, diff)
	}
	w.wantHolds("authz", append(quiet(), "sales_reader: dave")...)
}

// What could not be read back whole is not called done, and is not done twice.
func TestUnverifiable(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{false, true} {
		name := "a part is read"
		if whole {
			name = "nothing is read"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			w.land(files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave")))}, historytest.Bob())
			reads := 0
			w.faults["authz"] = &fault{state: func(s *schemas.State) {
				if reads++; reads > 1 {
					s.Incomplete = "the line went dead"
				}
			}}
			if whole {
				w.faults["authz"] = &fault{readBack: errors.New("the line is dead")}
			}
			got := outcome(t, w.run(), "authz")
			if strings.Contains(got.Error, "read back") != whole || len(got.Verifications) != 1 || got.Verifications[0].Status != "unverifiable" {
				t.Errorf("error %q, verifications %v", got.Error, got.Verifications)
			}
			if s := w.status("requests/dave.yaml"); s.Provisioning != "applied" || s.Verification == "verified" {
				t.Errorf("the request is %s, %s", s.Provisioning, s.Verification)
			}
			w.wantHolds("authz", append(quiet(), "sales_reader: dave")...)
			delete(w.faults, "authz")
			once := w.content("authz")
			if got := outcome(t, w.run(), "authz"); len(got.Outcomes) != 0 || got.Remaining != 0 {
				t.Errorf("done again: %v, %d remain", got.Outcomes, got.Remaining)
			}
			if w.content("authz") != once {
				t.Error("the store was written again")
			}
			if s := w.status("requests/dave.yaml"); s.Verification != "verified" {
				t.Errorf("the request is %s, want verified", s.Verification)
			}
			// It is remembered as ours: undoing it takes it away.
			w.land(files{"requests/dave.yaml": ""}, historytest.Bob())
			w.run()
			w.wantHolds("authz", quiet()...)
		})
	}
}
