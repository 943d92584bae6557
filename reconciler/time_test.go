package reconciler_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/schemas"
)

// at is an instant of the day on which the worlds begin, at nine.
func at(hour, minute int) time.Time { return time.Date(2026, 1, 1, hour, minute, 0, 0, time.UTC) }

// limited is an entry for a user with starts, expires or both; the zero time leaves one out.
func limited(name string, starts, expires time.Time) string {
	s := "{type: user, source_name: " + name
	if !starts.IsZero() {
		s += ", starts: " + starts.Format(time.RFC3339)
	}
	if !expires.IsZero() {
		s += ", expires: " + expires.Format(time.RFC3339)
	}
	return s + "}"
}

// A grant is in force from its start, inclusive, to its end, exclusive: nobody has to merge anything for it.
func TestWindow(t *testing.T) {
	t.Parallel()
	type step struct {
		now   time.Time
		plan  []string
		in    bool // dave is in
		next  time.Time
		state string // of the request's verification
	}
	never := time.Time{}
	tests := []struct {
		name            string
		starts, expires time.Time
		steps           []step
	}{
		{"expiry", never, at(11, 0), []step{
			{at(10, 0), []string{"grant sales_reader dave member (request)"}, true, at(11, 0), "verified"},
			{at(10, 59), nil, true, at(11, 0), "verified"},
			{at(11, 0), []string{"revoke sales_reader dave member (expiry)"}, false, never, "verified"},
			{at(12, 0), nil, false, never, "verified"},
		}},
		{"start", at(11, 0), never, []step{
			{at(10, 0), nil, false, at(11, 0), "pending"},
			{at(10, 59), nil, false, at(11, 0), "pending"},
			{at(11, 0), []string{"grant sales_reader dave member (start)"}, true, never, "verified"},
			{at(12, 0), nil, true, never, "verified"},
		}},
		{"both", at(11, 0), at(12, 0), []step{
			{at(10, 0), nil, false, at(11, 0), "pending"},
			{at(11, 30), []string{"grant sales_reader dave member (start)"}, true, at(12, 0), "verified"},
			{at(12, 0), []string{"revoke sales_reader dave member (expiry)"}, false, never, "verified"},
		}},
		{"both, and nobody looked between", at(11, 0), at(12, 0), []step{
			{at(10, 0), nil, false, at(11, 0), "pending"},
			{at(13, 0), nil, false, never, "verified"},
		}},
		{"over before it is merged", never, at(9, 0), []step{
			{at(10, 0), nil, false, never, "verified"},
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			w.land(files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(limited("dave", tc.starts, tc.expires)))}, historytest.Bob())
			for _, s := range tc.steps {
				w.Now = s.now
				r := w.run()
				wantPlan(t, outcome(t, r, "authz").Plan.Operations, s.plan...)
				want := quiet()
				if s.in {
					want = append(want, "sales_reader: dave")
				}
				w.wantHolds("authz", want...)
				var next time.Time
				if r.Next != nil {
					next = *r.Next
				}
				if !next.Equal(s.next) {
					t.Errorf("at %s the next change is at %s, want %s", s.now, next, s.next)
				}
				if got := w.status("requests/dave.yaml"); (got.Provisioning == schemas.ProvisioningScheduled) != (s.state == "pending") {
					t.Errorf("at %s the request is %s", s.now, got.Provisioning)
				}
				if got := w.status("requests/dave.yaml").Verification; string(got) != s.state {
					t.Errorf("at %s the request is %s, want %s", s.now, got, s.state)
				}
			}
		})
	}
}

// Of several grants of the same thing, each counts for its time; a revoke ends those before it, for good.
func TestGrantsOfTheSame(t *testing.T) {
	t.Parallel()
	never := time.Time{}
	grant := func(starts, expires time.Time) string {
		return assignment("authz", "sales_reader", grants(limited("dave", starts, expires)))
	}
	revoke := assignment("authz", "sales_reader", revokes(user("dave")))
	tests := []struct {
		name string
		// lands are merged in turn, each followed by a run.
		lands []files
		// in says who is in after that, and at the instants from 11:00 on, an hour apart.
		in []bool
	}{
		{"a temporary grant takes no permanent one away", []files{{"requests/1.yaml": grant(never, never)}, {"requests/2.yaml": grant(never, at(11, 0))}}, []bool{true, true, true}},
		{"a permanent grant outlives a temporary one", []files{{"requests/1.yaml": grant(never, at(11, 0))}, {"requests/2.yaml": grant(never, never)}}, []bool{true, true, true}},
		{"the later end holds", []files{{"requests/1.yaml": grant(never, at(12, 0))}, {"requests/2.yaml": grant(never, at(11, 0))}}, []bool{true, true, false}},
		{"a start to come suspends nothing", []files{{"requests/1.yaml": grant(never, never)}, {"requests/2.yaml": grant(at(12, 0), never)}}, []bool{true, true, true}},
		{"a revoke beats what was before", []files{{"requests/1.yaml": grant(never, never)}, {"requests/2.yaml": grant(at(11, 0), never)}, {"requests/3.yaml": revoke}}, []bool{false, false, false}},
		{"and not what comes after", []files{{"requests/1.yaml": grant(never, never)}, {"requests/2.yaml": revoke}, {"requests/3.yaml": grant(at(11, 0), at(12, 0))}}, []bool{false, true, false}},
		{"undo of one of two grants", []files{{"requests/1.yaml": grant(never, never), "requests/2.yaml": grant(never, at(12, 0))}, {"requests/1.yaml": ""}}, []bool{true, true, false}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			for _, f := range tc.lands {
				w.land(f, historytest.Bob())
				w.run()
			}
			for i, in := range tc.in {
				if i > 0 {
					w.Now = at(10+i, 0)
					w.run()
				}
				if got := slices.Contains(w.holds("authz"), "sales_reader: dave"); got != in {
					t.Errorf("at %s dave is in: %v, want %v", w.Now.Format(time.TimeOnly), got, in)
				}
			}
		})
	}
}

// To remove a file is to undo what it says, and no more than that.
func TestUndo(t *testing.T) {
	t.Parallel()
	const dave = "sales_reader: dave"
	grant := assignment("authz", "sales_reader", grants(user("dave")))
	revoke := assignment("authz", "sales_reader", revokes(user("dave")))
	full := creation("authz", "sales_writer") + "---\n" + assignment("authz", "sales_writer", grants(read("sales.orders")))
	written := []string{"sales_writer", "sales_writer read sales.orders"}
	tests := []struct {
		name string
		// found is in the store before anything is asked for.
		found []string
		lands []files
		undo  files
		plan  []string
		holds []string // beside sales_reader and what it may read
	}{
		{
			name: "of a grant", lands: []files{{"requests/1.yaml": grant}}, undo: files{"requests/1.yaml": ""},
			plan: []string{"revoke sales_reader dave member (undo)"},
		},
		{
			name: "of a grant of what was there already", found: []string{"g, dave, sales_reader"}, lands: []files{{"requests/1.yaml": grant}},
			undo: files{"requests/1.yaml": ""}, holds: []string{dave},
		},
		{
			name: "of a revoke", lands: []files{{"requests/1.yaml": grant}, {"requests/2.yaml": revoke}}, undo: files{"requests/2.yaml": ""},
			plan: []string{"grant sales_reader dave member (request)"}, holds: []string{dave},
		},
		{
			name: "of a revoke of what nobody asked for", found: []string{"g, dave, sales_reader"}, lands: []files{{"requests/2.yaml": revoke}},
			undo: files{"requests/2.yaml": ""},
		},
		{
			name: "of a revoke whose grant is undone too", lands: []files{{"requests/1.yaml": grant}, {"requests/2.yaml": revoke}},
			undo: files{"requests/1.yaml": "", "requests/2.yaml": ""},
		},
		{
			name: "of a creation", lands: []files{{"requests/1.yaml": full}}, undo: files{"requests/1.yaml": ""},
			plan: []string{"delete sales_writer (undo)"},
		},
		{
			name: "of a creation of what was there already", found: []string{"p2, sales_writer, role, , , false"}, lands: []files{{"requests/1.yaml": creation("authz", "sales_writer")}},
			undo: files{"requests/1.yaml": ""}, holds: []string{"sales_writer"},
		},
		{
			name: "of a deletion", lands: []files{{"requests/1.yaml": full}, {"requests/2.yaml": deletion("authz", "sales_writer")}},
			undo: files{"requests/2.yaml": ""},
			plan: []string{"create sales_writer (request)", "grant sales_writer sales.orders read (request)"}, holds: written,
		},
		{
			name: "of a deletion with what was nested in it",
			lands: []files{{"requests/1.yaml": full}, {"requests/in.yaml": assignment("authz", "sales_reader", grants("{type: role, source_name: sales_writer}"))},
				{"requests/2.yaml": assignment("authz", "sales_reader", revokes("{type: role, source_name: sales_writer}")) + "---\n" + deletion("authz", "sales_writer")}},
			undo:  files{"requests/2.yaml": ""},
			plan:  []string{"create sales_writer (request)", "grant sales_reader sales_writer member (request)", "grant sales_writer sales.orders read (request)"},
			holds: append([]string{"sales_writer: sales_reader"}, written...),
		},
		{
			name: "of an undo", lands: []files{{"requests/1.yaml": full}, {"requests/1.yaml": ""}}, undo: files{"requests/1.yaml": full},
			plan: []string{"create sales_writer (request)", "grant sales_writer sales.orders read (request)"}, holds: written,
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			if tc.found != nil {
				w.tamper("authz", tc.found...)
			}
			for _, f := range tc.lands {
				w.land(f, historytest.Bob())
				w.run()
			}
			w.propose("undo", tc.undo)
			p := w.preview("undo")
			if p.Verdict != schemas.VerdictSignoff {
				t.Errorf("the preview is %s, want %s: %v", p.Verdict, schemas.VerdictSignoff, p.Errors)
			}
			if len(p.Plan.Applications) != 1 {
				t.Fatalf("plans: %v", p.Plan.Applications)
			}
			foreseen := said(p.Plan.Applications[0].Operations)
			w.merge("undo", historytest.Bob())
			got := outcome(t, w.run(), "authz")
			wantPlan(t, got.Plan.Operations, tc.plan...)
			if !slices.Equal(foreseen, said(got.Plan.Operations)) {
				t.Errorf("the preview foresaw %v, the run did %v", foreseen, said(got.Plan.Operations))
			}
			w.wantHolds("authz", append(quiet(), tc.holds...)...)
			if again := outcome(t, w.run(), "authz"); len(again.Outcomes) != 0 || again.Remaining != 0 {
				t.Errorf("a second run did %v, %d remain", again.Outcomes, again.Remaining)
			}
		})
	}
}

// A role that somebody deletes by hand is drift with all that it had: nothing of it is made again unasked.
func TestDeletedByHand(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	w.overwrite("authz", strings.NewReplacer("p2, sales_reader, role, , , false\n", "", "p, sales_reader, sales.orders, read\n", "").Replace(w.content("authz")))
	w.wantHolds("authz")
	wantPlan(t, outcome(t, w.run(), "authz").Plan.Operations, "create sales_reader (drift) held: drift", "grant sales_reader sales.orders read (drift) held: drift")
	w.wantHolds("authz")
	w.runWith(reconciler.RunOptions{Drift: true, Enforce: true})
	w.wantHolds("authz", quiet()...)
}

// A deletion is not undone once the connection has been made anew: its later life is another one's.
func TestUndoOfADeletionTooLate(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	full := creation("authz", "sales_writer") + "---\n" + assignment("authz", "sales_writer", grants(read("sales.orders")))
	w.land(files{"requests/1.yaml": full}, historytest.Bob())
	w.run()
	w.land(files{"requests/2.yaml": deletion("authz", "sales_writer")}, historytest.Bob())
	w.run()
	w.wantHolds("authz", quiet()...)
	w.land(files{"requests/3.yaml": creation("authz", "sales_writer")}, historytest.Bob())
	w.run()
	// A new life has none of the old one's grants.
	w.wantHolds("authz", append(quiet(), "sales_writer")...)
	w.propose("undo", files{"requests/2.yaml": ""})
	if p := w.preview("undo"); p.Verdict != schemas.VerdictInvalid {
		t.Errorf("the preview is %s, want %s", p.Verdict, schemas.VerdictInvalid)
	}
	w.merge("undo", historytest.Bob())
	w.run()
	w.wantHolds("authz", append(quiet(), "sales_writer")...)
}

// Access says who can do what at the moment, and whose word it is.
func TestAccessOverTime(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	c := w.land(files{"requests/dave.yaml": assignment("authz", "sales_reader", grants(limited("dave", time.Time{}, at(11, 0))))}, historytest.Bob())
	w.tamper("authz", "g, erin, sales_reader")
	w.run()
	access := func() []string {
		t.Helper()
		rep, err := w.open().Access(t.Context(), reconciler.AccessOptions{To: "main", Resource: "sales.orders"})
		if err != nil {
			t.Fatal(err)
		}
		out := []string{}
		for _, e := range rep.Entries {
			s := e.Identity.SourceName + " " + e.Privilege
			for _, step := range e.Steps {
				s += ", " + step.Key.Connection.SourceName + " " + step.Key.Target.SourceName + ": " + string(step.Origin)
				if step.Commit == c {
					for _, a := range step.Approvers {
						s += " by " + a.Person
					}
					if step.Expires == nil || !step.Expires.Equal(at(11, 0)) {
						t.Errorf("the step ends %v", step.Expires)
					}
				}
			}
			out = append(out, s)
		}
		return out
	}
	erin := "erin read, sales_reader erin: unmanaged, sales_reader sales.orders: request"
	want := []string{"dave read, sales_reader dave: request by bob@acme.test, sales_reader sales.orders: request", erin}
	if got := access(); !slices.Equal(got, want) {
		t.Errorf("access %v, want %v", got, want)
	}
	w.Now = at(11, 0)
	w.run()
	if got := access(); !slices.Equal(got, []string{erin}) {
		t.Errorf("after the end: %v", got)
	}
}
