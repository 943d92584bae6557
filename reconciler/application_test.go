package reconciler_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/schemas"
)

func TestModes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		mode string
		plan []string // after a grant, a creation, a revoke, an undo and an expiry were approved
		then []string // in the store, beside sales_reader and what it may read
		due  int      // overdue grants
	}{
		{
			mode: "full",
			plan: []string{"create sales_writer (request)", "grant sales_reader alice member (request)", "revoke sales_reader dave member (request)",
				"revoke sales_reader erin member (undo)", "revoke sales_reader gina member (expiry)"},
			then: []string{"sales_writer", "sales_reader: alice"},
		},
		{
			mode: "add",
			plan: []string{"create sales_writer (request)", "grant sales_reader alice member (request)", "revoke sales_reader dave member (request) held: add",
				"revoke sales_reader erin member (undo) held: add", "revoke sales_reader gina member (expiry) held: add"},
			then: []string{"sales_writer", "sales_reader: alice", "sales_reader: dave", "sales_reader: erin", "sales_reader: gina"},
			due:  1,
		},
		{
			mode: "observe",
			plan: []string{"create sales_writer (request) held: observe", "grant sales_reader alice member (request) held: observe",
				"revoke sales_reader dave member (request) held: observe", "revoke sales_reader erin member (undo) held: observe",
				"revoke sales_reader gina member (expiry) held: observe"},
			then: []string{"sales_reader: dave", "sales_reader: erin", "sales_reader: gina"},
			due:  1,
		},
	}
	for _, tc := range tests {
		t.Run(tc.mode, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			ends := w.Now.Add(time.Hour).Format(time.RFC3339)
			w.land(files{
				"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave"))),
				"requests/erin.yaml": assignment("authz", "sales_reader", grants(user("erin"))),
				"requests/gina.yaml": assignment("authz", "sales_reader", grants("{type: user, source_name: gina, expires: "+ends+"}")),
			}, historytest.Bob())
			w.run()
			w.land(files{"applications/authz.yaml": w.application("authz", "mode: "+tc.mode+"\n")}, historytest.Bob(), historytest.Carol())
			w.run()
			w.land(files{
				"requests/erin.yaml":   "",
				"requests/out.yaml":    assignment("authz", "sales_reader", revokes(user("dave"))),
				"requests/writer.yaml": creation("authz", "sales_writer"),
				"requests/alice.yaml":  assignment("authz", "sales_reader", grants(user("alice"))),
			}, frank())
			w.later(2 * time.Hour)
			before := w.content("authz")
			got := outcome(t, w.run(), "authz")
			wantPlan(t, got.Plan.Operations, tc.plan...)
			w.wantHolds("authz", append(quiet(), tc.then...)...)
			if tc.mode == "observe" && w.content("authz") != before {
				t.Error("mode observe wrote the store")
			}
			if len(got.Plan.Overdue) != tc.due {
				t.Errorf("overdue: %v, want %d", got.Plan.Overdue, tc.due)
			}
			// What a mode keeps in place is never called done.
			wantDone := tc.mode == "full"
			for _, path := range []string{"requests/gina.yaml", "requests/out.yaml"} {
				if s := w.status(path); (s.Verification == "verified") != wantDone {
					t.Errorf("%s is %s in mode %s", path, s.Verification, tc.mode)
				}
			}
			again := outcome(t, w.run(), "authz")
			if len(again.Outcomes) != 0 || len(again.Plan.Overdue) != tc.due {
				t.Errorf("a second run did %v, overdue %v", again.Outcomes, again.Plan.Overdue)
			}
		})
	}
}

// Nothing but a wait is on record too, so that nobody calls verified what is overdue or has drifted; and so is
// that it is over.
func TestWaitingIsOnRecord(t *testing.T) {
	t.Parallel()
	ends := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	verification := func(w *world, want string) {
		w.t.Helper()
		if s := w.status("requests/gina.yaml"); string(s.Verification) != want {
			w.t.Errorf("the request is %s, want %s", s.Verification, want)
		}
	}
	for _, mode := range []string{"add", "observe", "full"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			w.land(files{"requests/gina.yaml": assignment("authz", "sales_reader", grants("{type: user, source_name: gina, expires: "+ends.Format(time.RFC3339)+"}"))}, historytest.Bob())
			w.run()
			verification(w, "verified")
			w.land(files{"applications/authz.yaml": w.application("authz", "mode: "+mode+"\n")}, historytest.Bob(), historytest.Carol())
			w.run()
			w.Now = ends
			verification(w, "pending") // nobody has looked since
			w.run()
			if mode == "full" {
				verification(w, "verified")
				return
			}
			verification(w, "overdue")
			// Somebody takes it away by hand: it waits no more.
			w.overwrite("authz", strings.Replace(w.content("authz"), "g, gina, sales_reader\n", "", 1))
			w.run()
			verification(w, "verified")
		})
	}
	t.Run("drift", func(t *testing.T) {
		t.Parallel()
		w := settled(t, nil)
		w.land(files{"requests/gina.yaml": assignment("authz", "sales_reader", grants(user("gina")))}, historytest.Bob())
		w.run()
		whole := w.content("authz")
		w.overwrite("authz", strings.Replace(whole, "g, gina, sales_reader\n", "", 1))
		wantPlan(t, outcome(t, w.run(), "authz").Plan.Operations, "grant sales_reader gina member (drift) held: drift")
		verification(w, "drifted")
		w.overwrite("authz", whole)
		w.run()
		verification(w, "verified")
	})
}

func TestUnmanaged(t *testing.T) {
	t.Parallel()
	const found = "revoke sales_reader erin member (unmanaged)"
	tests := []struct {
		name, spec string
		enforce    bool
		plan       []string
		reported   int
		stays      bool
	}{
		{name: "ignore", spec: "unmanaged: ignore\n", enforce: true, stays: true},
		{name: "report", spec: "unmanaged: report\n", enforce: true, reported: 1, stays: true},
		{name: "by default", enforce: true, reported: 1, stays: true},
		{name: "revoke, drift reported", spec: "unmanaged: revoke\n", plan: []string{found + " held: drift"}, reported: 1, stays: true},
		{name: "revoke, told to enforce", spec: "unmanaged: revoke\n", enforce: true, plan: []string{found}, reported: 1},
		{name: "revoke, drift enforced", spec: strict, plan: []string{found}, reported: 1},
		{name: "revoke in mode add", spec: strict + "mode: add\n", enforce: true, plan: []string{found + " held: add"}, reported: 1, stays: true},
		{name: "revoke, out of scope", spec: strict + "scope: {role: [hr_*]}\n", enforce: true, stays: true},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			w.land(files{"applications/authz.yaml": w.application("authz", tc.spec)}, historytest.Bob(), historytest.Carol())
			w.run()
			w.tamper("authz", "g, erin, sales_reader")
			got := outcome(t, w.runWith(reconciler.RunOptions{Drift: tc.enforce, Enforce: tc.enforce}), "authz")
			wantPlan(t, got.Plan.Operations, tc.plan...)
			if len(got.Plan.Unmanaged) != tc.reported {
				t.Errorf("reported: %v, want %d", got.Plan.Unmanaged, tc.reported)
			}
			want := quiet()
			if tc.stays {
				want = append(want, "sales_reader: erin")
			}
			w.wantHolds("authz", want...)
		})
	}
}

// What a narrow application left without effect is woken by widening it: the preview shows all that wakes, and
// its gainers do not sign it off.
func TestWidening(t *testing.T) {
	t.Parallel()
	const narrow = "scope: {role: [sales_*]}\n"
	tests := []struct {
		name     string
		asleep   files
		wide     string
		codes    []string // of the sleeping request's own preview
		plan     []string
		gained   []string
		then     []string
		signoffs []historytest.Person // that are not enough
		enough   []historytest.Person
	}{
		{
			name:     "scope",
			asleep:   files{"requests/clerk.yaml": creation("authz", "hr_clerk") + "---\n" + assignment("authz", "hr_clerk", grants(user("bob"), read("sales.orders")))},
			wide:     `scope: {role: ["*"]}` + "\n",
			codes:    []string{"out-of-scope"},
			plan:     []string{"create hr_clerk (request)", "grant hr_clerk bob member (request)", "grant hr_clerk sales.orders read (request)"},
			gained:   []string{"bob MEMBER hr_clerk", "bob read sales.orders"},
			then:     []string{"hr_clerk", "hr_clerk: bob", "hr_clerk read sales.orders"},
			signoffs: []historytest.Person{historytest.Bob(), historytest.Carol()}, // Bob gains
			enough:   []historytest.Person{frank(), historytest.Carol()},
		},
		{
			name:     "grantable",
			asleep:   files{"requests/files.yaml": assignment("authz", "sales_reader", grants(read("hr.files"), user("dave")))},
			wide:     narrow + `grantable: {object: ["sales.*", "hr.*"]}` + "\n",
			codes:    []string{"not-grantable"},
			plan:     []string{"grant sales_reader hr.files read (request)"},
			gained:   []string{"dave read hr.files"},
			then:     []string{"sales_reader: dave", "sales_reader read hr.files"},
			signoffs: []historytest.Person{historytest.Carol()},
			enough:   []historytest.Person{historytest.Bob(), historytest.Carol()},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			w.land(files{"applications/authz.yaml": w.application("authz", narrow)}, historytest.Bob(), historytest.Carol())
			w.run()
			w.propose("asleep", tc.asleep)
			p := w.preview("asleep")
			if got := codes(p.Errors); p.Verdict != schemas.VerdictInvalid || !slices.Equal(got, tc.codes) {
				t.Errorf("the preview of what is out of bounds: %s %v, want invalid %v", p.Verdict, got, tc.codes)
			}
			// Admitted while it is within bounds, it falls asleep when they are narrowed.
			w.land(files{"applications/authz.yaml": w.application("authz", tc.wide)}, historytest.Bob(), historytest.Carol())
			w.land(tc.asleep, frank())
			w.land(files{"applications/authz.yaml": w.application("authz", narrow)}, historytest.Bob(), historytest.Carol())
			w.run()
			asleep := w.holds("authz")

			w.propose("widen", files{"applications/authz.yaml": w.application("authz", tc.wide)})
			p = w.preview("widen")
			if len(p.Plan.Applications) != 1 {
				t.Fatalf("plans: %v", p.Plan.Applications)
			}
			wantPlan(t, p.Plan.Applications[0].Operations, tc.plan...)
			var gained []string
			for _, a := range p.Gained {
				gained = append(gained, a.Identity.SourceName+" "+a.Privilege+" "+a.Target.SourceName)
			}
			slices.Sort(gained)
			if diff := cmp.Diff(tc.gained, gained); diff != "" {
				t.Errorf("gained (-want +got):\n%s", diff)
			}
			if p.Verdict != schemas.VerdictSignoff {
				t.Errorf("verdict %s, want %s: %v", p.Verdict, schemas.VerdictSignoff, p.Errors)
			}
			w.Checkout("main").Branch("try", "main")
			c := w.Land(historytest.Merge, historytest.MergeOptions{Approvers: tc.signoffs}, "widen")
			w.Git("branch", "-q", "-f", "main", "try")
			wantVerdict(t, w.run(), c, "quarantined")
			if diff := cmp.Diff(asleep, w.holds("authz")); diff != "" {
				t.Errorf("without the sign-offs (-before +after):\n%s", diff)
			}
			// The same content again, with those of today.
			w.land(files{"applications/authz.yaml": w.application("authz", tc.wide) + "# again\n"}, tc.enough...)
			w.run()
			w.wantHolds("authz", append(quiet(), tc.then...)...)
		})
	}
}

// An application is not forgotten while it still has requests: neither removed nor renamed.
func TestRemovedApplication(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(w *world) files
	}{
		{"removed", func(*world) files { return files{"applications/authz.yaml": ""} }},
		{"renamed", func(w *world) files {
			return files{"applications/authz.yaml": "", "applications/authn.yaml": strings.Replace(w.application("authz", ""), "name: authz", "name: authn", 1)}
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave")))})
			w.propose("x", tc.change(w))
			p := w.preview("x")
			if got := codes(p.Errors); p.Verdict != schemas.VerdictInvalid || !slices.Equal(got, []string{"application-in-use"}) {
				t.Errorf("preview: %s %v, want invalid for application-in-use", p.Verdict, got)
			}
			c := w.merge("x", historytest.Bob(), historytest.Carol())
			r := w.run()
			v := wantVerdict(t, r, c, "quarantined")
			if !strings.Contains(strings.Join(v.Reasons, "\n"), "while it still has requests") {
				t.Errorf("the verdict does not say why: %v", v.Reasons)
			}
			// It is served as before: what stands is kept up, what is undone goes.
			outcome(t, r, "authz")
			w.wantHolds("authz", append(quiet(), "sales_reader: dave")...)
			w.land(files{"requests/dave.yaml": ""}, historytest.Bob())
			w.run()
			w.wantHolds("authz", quiet()...)
		})
	}
	t.Run("after everything was deleted", func(t *testing.T) {
		t.Parallel()
		w := settled(t, files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave")))})
		w.land(files{"requests/out.yaml": assignment("authz", "sales_reader", revokes(user("dave"))) + "---\n" + deletion("authz", "sales_reader")}, historytest.Bob())
		w.run()
		w.wantHolds("authz")
		// The requests stand in Git and would wake with an application of that name.
		w.propose("x", files{"applications/authz.yaml": ""})
		if p := w.preview("x"); !slices.Equal(codes(p.Errors), []string{"application-in-use"}) {
			t.Errorf("errors: %v", p.Errors)
		}
		w.land(files{"requests/out.yaml": "", "requests/dave.yaml": "", "requests/base.yaml": ""}, historytest.Bob())
		w.run()
		w.wantHolds("authz")
		c := w.land(files{"applications/authz.yaml": ""}, historytest.Bob(), historytest.Carol())
		wantVerdict(t, w.run(), c, "admitted")
	})
	t.Run("after everything was undone", func(t *testing.T) {
		t.Parallel()
		w := settled(t, files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(user("dave")))})
		w.land(files{"requests/dave.yaml": "", "requests/base.yaml": ""}, historytest.Bob())
		w.run()
		w.wantHolds("authz")
		c := w.land(files{"applications/authz.yaml": ""}, historytest.Bob(), historytest.Carol())
		r := w.run()
		wantVerdict(t, r, c, "admitted")
		if len(r.Applications) != 0 {
			t.Errorf("applications left: %v", r.Applications)
		}
	})
}

// A change of where an application is may not lead the preview there: it would carry the credential along.
func TestPreviewConnectsWhereTheBaseSays(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	w.land(files{"applications/authz.yaml": w.application("authz", "scope: {role: [sales_*]}\n")}, historytest.Bob(), historytest.Carol())
	w.run()
	w.land(files{"requests/clerk.yaml": creation("authz", "hr_clerk")}, frank())
	w.run()
	elsewhere := strings.Replace(w.application("authz", `scope: {role: ["*"]}`+"\n"), w.path("authz"), w.path("authz")+".elsewhere", 1)
	w.propose("move", files{"applications/authz.yaml": elsewhere})
	p := w.preview("move")
	if !p.Live || p.Verdict != schemas.VerdictSignoff || len(p.Plan.Applications) != 1 || p.Plan.Applications[0].Incomplete != "" {
		t.Errorf("the preview did not read the application of the base: %s, %+v", p.Verdict, p.Plan.Applications)
	}
}

// A file that the base changed since the change was begun is not what its author saw.
func TestPreviewFindsConflicts(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	w.propose("ours", files{"people.yaml": people + "    - {login: heidi, emails: [heidi@acme.test]}\n"})
	w.land(files{"people.yaml": people + "    - {login: ivan, emails: [ivan@acme.test]}\n"}, historytest.Carol())
	w.run()
	p := w.preview("ours")
	if got := codes(p.Errors); p.Verdict != schemas.VerdictInvalid || !slices.Contains(got, "conflict") {
		t.Errorf("the preview says %s %v, want invalid with a conflict", p.Verdict, got)
	}
}

// TestUnknownTypes refuses a misspelt type in grantable and privileged, where it would silently restrict nothing. What
// took effect before this was checked stays in force.
func TestUnknownTypes(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]string{
		`spec.privileged: unknown type "roles"`: "privileged: {roles: [\"*_admin\"]}\n",
		`spec.grantable: unknown type "users"`:  "grantable: {object: [\"sales.*\"], users: [dave]}\n",
		`spec.scope: unknown type "rol"`:        "scope: {role: [\"*\"], rol: [x]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			w.propose("misspelt", files{"applications/authz.yaml": w.application("authz", spec)})
			p := w.preview("misspelt")
			if p.Verdict != schemas.VerdictInvalid || len(p.Errors) != 1 || p.Errors[0].Message != name ||
				!strings.HasPrefix(p.Errors[0].Fix, "did you mean ") || p.Errors[0].Position.Line < 8 || p.Errors[0].Position.Column < 2 {
				t.Errorf("the preview is %s: %+v", p.Verdict, p.Errors)
			}
			c := w.merge("misspelt", historytest.Bob(), historytest.Carol())
			v := wantVerdict(t, w.run(), c, "quarantined")
			if got := strings.Join(v.Reasons, "\n"); !strings.Contains(got, name) {
				t.Errorf("quarantined because %s", got)
			}
		})
	}
	t.Run("in the anchor", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, files{"requests/base.yaml": creation("authz", "sales_reader")})
		w.change(files{"applications/authz.yaml": w.application("authz", "privileged: {roles: [\"*_admin\"]}\n")})
		w.Git("commit", "-q", "-a", "--amend", "--no-edit")
		w.run()
		w.wantHolds("authz", "sales_reader")
	})
}
