package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/countersign/countersign/reconciler/ledger/ledgertest"
	"github.com/countersign/countersign/schemas"
)

func TestAdmissions(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	appendTo(t, l, verdict("a", verdictAnchor), verdict("b", verdictQuarantined), note("x"))
	appendTo(t, l, verdict("c", verdictAdmitted))
	for commit, want := range map[string]string{"a": verdictAnchor, "b": verdictQuarantined, "c": verdictAdmitted, "d": ""} {
		got, ok, err := l.Admission(t.Context(), commit)
		if err != nil || ok != (want != "") || ok && (string(got.Verdict) != want || got.Commit != commit) {
			t.Errorf("Admission(%s) = %+v, %v, %v; want %q", commit, got, ok, err, want)
		}
	}
	if got, ok, err := l.LastAdmission(t.Context()); err != nil || !ok || got.Commit != "c" {
		t.Errorf("LastAdmission() = %+v, %v, %v; want c", got, ok, err)
	}
	var order string
	if err := l.Admissions(t.Context(), func(a schemas.AdmissionRecord) error { order += a.Commit; return nil }); err != nil || order != "abc" {
		t.Errorf("Admissions() gave %q, %v; want abc", order, err)
	}
}

func TestBaseline(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	var items []schemas.BaselineItem
	var names []string
	for i := range 1100 {
		b := schemas.BaselineItem{Item: fmt.Sprintf("e%04d", i), Token: "present:1", Made: i%2 == 0, NativeID: fmt.Sprint(i)}
		items, names = append(items, b), append(names, b.Item)
	}
	appendTo(t, l, schemas.Record{Type: schemas.RecordAdoption, Application: app, Baseline: items},
		schemas.Record{Type: schemas.RecordAdoption, Application: "other", Baseline: items[:1]})
	// The latest word about an item wins; an empty token takes it out.
	appendTo(t, l, schemas.Record{Type: schemas.RecordAdoption, Application: app, Baseline: []schemas.BaselineItem{{Item: "e0001"}, {Item: "e0002", Token: "absent-undo:2"}}})
	items[2] = schemas.BaselineItem{Item: "e0002", Token: "absent-undo:2"}
	items = slices.Delete(items, 1, 2)
	var all []schemas.BaselineItem
	if err := l.AllBaseline(t.Context(), app, func(b schemas.BaselineItem) error { all = append(all, b); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(items, all); diff != "" {
		t.Errorf("AllBaseline() (-want +got):\n%s", diff)
	}
	want := map[string]schemas.BaselineItem{}
	for _, b := range items {
		want[b.Item] = b
	}
	got, err := l.Baseline(t.Context(), app, append(names, "none"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Baseline() (-want +got):\n%s", diff)
	}
}

func TestRuns(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	appendTo(t, l, runRecord("r1", "v1"))
	got, ok, err := l.LastRun(t.Context(), app)
	want := RunSummary{Run: "r1", Sequence: 1, Time: time.Date(2026, 11, 23, 9, 1, 0, 0, time.UTC), Version: "v1", Tip: "t", Operations: 2, Held: 1}
	if diff := cmp.Diff(want, got); err != nil || !ok || diff != "" {
		t.Errorf("LastRun() of one that goes on: %v, %v\n%s", ok, err, diff)
	}
	appendTo(t, l, end("r1", "v1", map[string]int{"applied": 2}))
	got, _, err = l.LastRun(t.Context(), app)
	want.Ended, want.EndedAt, want.Counts = true, time.Date(2026, 11, 23, 9, 2, 0, 0, time.UTC), map[string]int{"applied": 2}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("LastRun() of one that ended: %v\n%s", err, diff)
	}
	appendTo(t, l, runRecord("r2", "v2"))
	if got, _, err = l.LastRun(t.Context(), app); err != nil || got.Run != "r2" || got.Ended {
		t.Errorf("LastRun() = %+v, %v; want r2, going on", got, err)
	}
	if _, ok, err := l.LastRun(t.Context(), "other"); err != nil || ok {
		t.Errorf("LastRun() of another application: %v, %v; want none", ok, err)
	}
}

func TestFirstRunDone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		counts map[string]int
		want   bool
	}{
		"clean":               {map[string]int{"applied": 1, "failed": 1, "held-observe": 3, "held-drift": 1}, true},
		"held for the first":  {map[string]int{"held-first-run": 1}, false},
		"held for not known":  {map[string]int{"held-unknown": 1}, false},
		"seen in part":        {map[string]int{CountIncomplete: 1}, false},
		"nothing in the plan": {nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := temp(t)
			appendTo(t, l, runRecord("r1", "v1"))
			if done, err := l.FirstRunDone(t.Context(), app, "v1"); err != nil || done {
				t.Errorf("FirstRunDone() before its end = %v, %v", done, err)
			}
			appendTo(t, l, end("r1", "v1", tt.counts))
			for _, ask := range []struct {
				app, version string
				want         bool
			}{{app, "v1", tt.want}, {app, "v2", false}, {"other", "v1", false}} {
				if done, err := l.FirstRunDone(t.Context(), ask.app, ask.version); err != nil || done != ask.want {
					t.Errorf("FirstRunDone(%s, %s) = %v, %v; want %v", ask.app, ask.version, done, err, ask.want)
				}
			}
		})
	}
}

func TestUnsettled(t *testing.T) {
	t.Parallel()
	o := operation("a", schemas.OperationGrant, schemas.CauseRequest)
	retried := outcome("r1", o, statusApplied)
	retried.Outcome.Attempts = 2
	for name, tt := range map[string]struct {
		records []schemas.Record
		want    int
	}{
		"intent":                   {nil, 1},
		"outcome":                  {[]schemas.Record{outcome("r1", o, statusApplied)}, 1},
		"verified":                 {[]schemas.Record{outcome("r1", o, statusApplied), verified("r1", o, statusVerified)}, 0},
		"differs":                  {[]schemas.Record{outcome("r1", o, statusApplied), verified("r1", o, statusDiffers)}, 0},
		"by a later run":           {[]schemas.Record{verified("r2", o, statusVerified)}, 0},
		"again":                    {[]schemas.Record{verified("r1", o, statusVerified), intent("r2", o)}, 1},
		"unverifiable":             {[]schemas.Record{outcome("r1", o, statusApplied), verified("r1", o, statusUnverifiable)}, 1},
		"unverifiable failure":     {[]schemas.Record{outcome("r1", o, statusFailed), verified("r1", o, statusUnverifiable)}, 1},
		"unverifiable, not tried":  {[]schemas.Record{outcome("r1", o, statusBlocked), verified("r1", o, statusUnverifiable)}, 0},
		"not tried, then tried":    {[]schemas.Record{outcome("r1", o, statusBlocked), retried, verified("r1", o, statusUnverifiable)}, 1},
		"unverifiable, then there": {[]schemas.Record{outcome("r1", o, statusApplied), verified("r1", o, statusUnverifiable), verified("r2", o, statusVerified)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := temp(t)
			appendTo(t, l, intent("r1", o))
			appendTo(t, l, tt.records...)
			got, err := l.Unsettled(t.Context(), app)
			if err != nil || len(got) != tt.want {
				t.Fatalf("Unsettled() = %v, %v; want %d", got, err, tt.want)
			}
			if tt.want > 0 {
				if diff := cmp.Diff(o, got[0]); diff != "" {
					t.Errorf("the operation is not whole (-want +got):\n%s", diff)
				}
			}
			if got, err := l.Unsettled(t.Context(), "other"); err != nil || len(got) > 0 {
				t.Errorf("Unsettled() of another application = %v, %v", got, err)
			}
		})
	}
}

// TestNotSeen keeps the intent of what the application accepted and doesn't show, until a read-back shows it.
func TestNotSeen(t *testing.T) {
	t.Parallel()
	o := operation("a", schemas.OperationGrant, schemas.CauseRequest)
	o.Documents = []schemas.DocumentID{{Path: "requests/a.yaml", Blob: "b"}}
	for name, tt := range map[string]struct {
		records []schemas.Record
		want    int
	}{
		"accepted, not shown":      {[]schemas.Record{outcome("r1", o, statusApplied), verified("r1", o, statusDiffers)}, 1},
		"accepted, pending":        {[]schemas.Record{outcome("r1", o, statusApplied), verified("r1", o, statusPending)}, 1},
		"accepted, shown later":    {[]schemas.Record{outcome("r1", o, statusApplied), verified("r1", o, statusDiffers), verified("r2", o, statusVerified)}, 0},
		"accepted, not needed now": {[]schemas.Record{outcome("r1", o, statusApplied), verified("r1", o, statusDiffers), verified("r2", o, schemas.VerificationSuperseded)}, 0},
		"failed, not shown":        {[]schemas.Record{outcome("r1", o, statusFailed), verified("r1", o, statusDiffers)}, 0},
		"never tried":              {[]schemas.Record{outcome("r1", o, statusBlocked), verified("r1", o, statusDiffers)}, 0},
		"accepted, then failed":    {[]schemas.Record{outcome("r1", o, statusApplied), verified("r1", o, statusDiffers), intent("r2", o), outcome("r2", o, statusFailed), verified("r2", o, statusDiffers)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := temp(t)
			appendTo(t, l, intent("r1", o))
			appendTo(t, l, tt.records...)
			if got, err := l.Unsettled(t.Context(), app); err != nil || len(got) != tt.want {
				t.Errorf("Unsettled() = %v, %v; want %d", got, err, tt.want)
			}
		})
	}
}

func TestRemovals(t *testing.T) {
	t.Parallel()
	member := operation("m", schemas.OperationRevoke, schemas.CauseUnmanaged)
	grant := operation("g", schemas.OperationRevoke, schemas.CauseUndo)
	grant.Privilege = "SELECT"
	admin := operation("x", schemas.OperationRevoke, schemas.CauseDrift)
	admin.Privilege = schemas.PrivilegeAdmin
	deletion := operation("d", schemas.OperationDelete, schemas.CauseUndo)
	attributes := operation("u", schemas.OperationUpdate, schemas.CauseDrift)
	attributes.After = map[string]any{"login": false, "comment": "c"}
	for name, tt := range map[string]struct {
		records []schemas.Record
		want    Counts
	}{
		"each dimension": {[]schemas.Record{outcome("r", member, statusApplied), outcome("r", grant, statusApplied), outcome("r", admin, statusApplied),
			outcome("r", deletion, statusApplied), outcome("r", attributes, statusApplied)}, Counts{2, 1, 1, 2}},
		"seen by the read-back alone": {[]schemas.Record{intent("r", member), verified("r2", member, statusVerified)}, Counts{Members: 1}},
		"applied and seen is one":     {[]schemas.Record{intent("r", member), outcome("r", member, statusApplied), verified("r", member, statusVerified)}, Counts{Members: 1}},
		"seen by a later run is one":  {[]schemas.Record{intent("r", member), outcome("r", member, statusApplied), runRecord("r2", "v"), verified("r2", member, statusVerified)}, Counts{Members: 1}},
		"applied and not seen":        {[]schemas.Record{intent("r", member), outcome("r", member, statusApplied), verified("r", member, statusUnverifiable)}, Counts{Members: 1}},
		"twice is two": {[]schemas.Record{intent("r", member), outcome("r", member, statusApplied), verified("r", member, statusVerified),
			intent("r2", member), outcome("r2", member, statusApplied), verified("r2", member, statusVerified)}, Counts{Members: 2}},
		"failed":   {[]schemas.Record{intent("r", member), outcome("r", member, statusFailed), verified("r", member, statusDiffers)}, Counts{}},
		"approved": {[]schemas.Record{outcome("r", operation("a", schemas.OperationRevoke, schemas.CauseRequest), statusApplied), outcome("r", operation("b", schemas.OperationRevoke, schemas.CauseExpiry), statusApplied)}, Counts{}},
		"added":    {[]schemas.Record{outcome("r", operation("a", schemas.OperationGrant, schemas.CauseDrift), statusApplied), outcome("r", operation("b", schemas.OperationCreate, schemas.CauseUndo), statusApplied)}, Counts{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, c := temp(t)
			c.Set(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC))
			out := appendTo(t, l, tt.records...)
			for since, want := range map[time.Time]Counts{out[0].Time.Add(-time.Hour): tt.want, out[0].Time: tt.want, out[0].Time.Add(1): {}, {}: tt.want} {
				if got, err := l.Removals(t.Context(), app, since); err != nil || got != want {
					t.Errorf("Removals(since %s) = %+v, %v; want %+v", since, got, err, want)
				}
			}
		})
	}
}

func TestStates(t *testing.T) {
	t.Parallel()
	d := doc("r.yaml", "b1")
	a, b := operation("a", schemas.OperationGrant, schemas.CauseRequest, d), operation("b", schemas.OperationGrant, schemas.CauseRequest, d)
	drift := operation("a", schemas.OperationGrant, schemas.CauseDrift, d)
	expiry := operation("a2", schemas.OperationRevoke, schemas.CauseExpiry, d)
	admitted := verdict("c1", verdictAdmitted, schemas.FileChange{Path: "r.yaml", After: "b1"})
	done := []schemas.Record{admitted, runRecord("r", "v"), intent("r", a, b), outcome("r", a, statusApplied), outcome("r", b, statusApplied),
		verified("r", a, statusVerified), verified("r", b, statusVerified)}
	with := func(more ...schemas.Record) []schemas.Record { return append(slices.Clone(done), more...) }
	begun := func(more ...schemas.Record) []schemas.Record { return append(slices.Clone(done[:3]), more...) }
	for name, tt := range map[string]struct {
		records []schemas.Record
		want    State
	}{
		"nothing":              {[]schemas.Record{note("x")}, State{"pending", "none", "none", ""}},
		"admitted":             {done[:1], State{"admitted", "none", "none", ""}},
		"with the anchor":      {[]schemas.Record{verdict("c1", verdictAnchor, schemas.FileChange{Path: "r.yaml", After: "b1"})}, State{"admitted", "none", "none", ""}},
		"quarantined":          {[]schemas.Record{verdict("c1", verdictQuarantined, schemas.FileChange{Path: "r.yaml", After: "b1"})}, State{"quarantined", "none", "none", ""}},
		"another content":      {[]schemas.Record{verdict("c1", verdictQuarantined, schemas.FileChange{Path: "r.yaml", After: "b2"})}, State{"pending", "none", "none", ""}},
		"no control file":      {[]schemas.Record{verdict("c1", "unchanged", schemas.FileChange{Path: "r.yaml", After: "b1"})}, State{"pending", "none", "none", ""}},
		"quarantined edit":     {append(done[:1:1], verdict("c2", verdictQuarantined, schemas.FileChange{Path: "r.yaml", After: "b2"})), State{"admitted", "none", "none", ""}},
		"quarantined deletion": {append(done[:1:1], verdict("c2", verdictQuarantined, schemas.FileChange{Path: "r.yaml"})), State{"admitted", "none", "none", ""}},
		"admitted afterwards": {[]schemas.Record{verdict("c1", verdictQuarantined, schemas.FileChange{Path: "r.yaml", After: "b1"}),
			{Type: schemas.RecordAdmission, Admission: &schemas.AdmissionRecord{Commit: "c2", Verdict: verdictAdmitted, Admits: []schemas.FileChange{{Path: "r.yaml", After: "b1"}}}}}, State{"admitted", "none", "none", ""}},
		"admitted by one that was refused": {[]schemas.Record{verdict("c1", verdictQuarantined, schemas.FileChange{Path: "r.yaml", After: "b1"}),
			{Type: schemas.RecordAdmission, Admission: &schemas.AdmissionRecord{Commit: "c2", Verdict: verdictQuarantined, Admits: []schemas.FileChange{{Path: "r.yaml", After: "b1"}}}}}, State{"quarantined", "none", "none", ""}},
		"undone":             {append(done[:1:1], verdict("c2", verdictAdmitted, schemas.FileChange{Path: "r.yaml"})), State{"undone", "none", "none", ""}},
		"edited":             {append(done[:1:1], verdict("c2", verdictAdmitted, schemas.FileChange{Path: "r.yaml", After: "b2"})), State{"undone", "none", "none", ""}},
		"brought back":       {append(done[:1:1], verdict("c2", verdictAdmitted, schemas.FileChange{Path: "r.yaml"}), verdict("c3", verdictAdmitted, schemas.FileChange{Path: "r.yaml", After: "b1"})), State{"admitted", "none", "none", ""}},
		"intent":             {begun(), State{"admitted", "pending", "pending", ""}},
		"one applied":        {begun(outcome("r", a, statusApplied)), State{"admitted", "partial", "pending", ""}},
		"applied":            {done[:5], State{"admitted", "applied", "pending", ""}},
		"one verified":       {done[:6], State{"admitted", "applied", "partial", ""}},
		"verified":           {done, State{"admitted", "applied", "verified", ""}},
		"failed":             {begun(outcome("r", a, statusFailed), outcome("r", b, statusBlocked)), State{"admitted", "failed", "pending", "it broke"}},
		"blocked":            {begun(outcome("r", a, statusBlocked)), State{"admitted", "blocked", "pending", ""}},
		"cancelled":          {begun(outcome("r", a, statusCancelled)), State{"admitted", "failed", "pending", ""}},
		"partly failed":      {begun(outcome("r", a, statusApplied), outcome("r", b, statusFailed), verified("r", a, statusVerified), verified("r", b, statusDiffers)), State{"admitted", "partial", "partial", "it broke"}},
		"tried again":        {begun(outcome("r", a, statusFailed), outcome("r", a, statusApplied), outcome("r", b, statusApplied)), State{"admitted", "applied", "pending", ""}},
		"differs":            {begun(outcome("r", a, statusApplied), outcome("r", b, statusApplied), verified("r", a, statusDiffers)), State{"admitted", "applied", "differs", ""}},
		"unverifiable":       {begun(outcome("r", a, statusApplied), outcome("r", b, statusApplied), verified("r", b, statusUnverifiable)), State{"admitted", "applied", "unverifiable", ""}},
		"held":               {[]schemas.Record{admitted, runRecord("r", "v"), held("r", schemas.HoldObserve, a, b)}, State{"admitted", "held", "none", ""}},
		"held no longer":     {[]schemas.Record{admitted, runRecord("r", "v"), held("r", schemas.HoldObserve, a, b), runRecord("r2", "v")}, State{"admitted", "none", "none", ""}},
		"partly held":        {[]schemas.Record{admitted, runRecord("r", "v"), held("r", schemas.HoldBudget, b), intent("r", a), outcome("r", a, statusApplied), verified("r", a, statusVerified)}, State{"admitted", "partial", "partial", ""}},
		"drifted":            {with(runRecord("r2", "v"), held("r2", schemas.HoldDrift, drift)), State{"admitted", "applied", "drifted", ""}},
		"drift gone":         {with(runRecord("r2", "v"), held("r2", schemas.HoldDrift, drift), runRecord("r3", "v")), State{"admitted", "applied", "verified", ""}},
		"drift being mended": {with(runRecord("r2", "v"), intent("r2", drift), outcome("r2", drift, statusApplied)), State{"admitted", "applied", "drifted", ""}},
		"drift mended":       {with(runRecord("r2", "v"), intent("r2", drift), outcome("r2", drift, statusApplied), verified("r2", drift, statusVerified)), State{"admitted", "applied", "verified", ""}},
		"overdue":            {with(runRecord("r2", "v"), held("r2", schemas.HoldAdd, expiry)), State{"admitted", "applied", "overdue", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := temp(t)
			appendTo(t, l, tt.records...)
			got, err := l.States(t.Context(), d)
			if diff := cmp.Diff(map[Key]State{{"r.yaml", 0}: tt.want}, got); err != nil || diff != "" {
				t.Errorf("States(one): %v (-want +got)\n%s", err, diff)
			}
			// Among others it is the same.
			got, err = l.States(t.Context(), doc("other.yaml", "x"), d)
			if diff := cmp.Diff(tt.want, got[Key{"r.yaml", 0}]); err != nil || diff != "" || len(got) != 2 {
				t.Errorf("States(two): %v (-want +got)\n%s", err, diff)
			}
			all, err := l.States(t.Context())
			if s, ok := all[Key{"r.yaml", 0}]; err != nil || ok != (tt.want.Provisioning != "none" || tt.want.Verification != "none") ||
				ok && (s.Provisioning != tt.want.Provisioning || s.Verification != tt.want.Verification) {
				t.Errorf("States() = %v, %v; want %+v", all, err, tt.want)
			}
			holds(t, l)
		})
	}
}

func TestByDocument(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	d := doc("r.yaml", "b1")
	second := schemas.DocumentID{Path: "r.yaml", Index: 1, Blob: "b1"}
	a, b := operation("a", schemas.OperationGrant, schemas.CauseRequest, d, second), operation("b", schemas.OperationCreate, schemas.CauseStart, d)
	appendTo(t, l, intent("r1", a, b), outcome("r1", a, statusFailed), intent("r2", a), outcome("r2", a, statusApplied), verified("r2", a, statusVerified))
	got, err := l.ByDocument(t.Context(), "r.yaml")
	want := []OperationState{
		{0, app, "a", "r2", schemas.CauseRequest, "applied", "verified", ""},
		{0, app, "b", "r1", schemas.CauseStart, "pending", "pending", ""},
		{1, app, "a", "r2", schemas.CauseRequest, "applied", "verified", ""},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("ByDocument(): %v (-want +got)\n%s", err, diff)
	}
}

func TestAcknowledgements(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	appendTo(t, l, note("one"), schemas.Record{Type: schemas.RecordAcknowledged, Application: "other", Note: "two"}, note("three"))
	got, err := l.Acknowledgements(t.Context(), app)
	if err != nil || len(got) != 2 || got[0].Note != "one" || got[1].Note != "three" {
		t.Errorf("Acknowledgements() = %v, %v; want one and three", got, err)
	}
}

// What is kept in step is what Rebuild makes, whatever the order and the batches of the records.
func TestRebuildIsWhatWasMaintained(t *testing.T) {
	t.Parallel()
	docs := []schemas.DocumentID{doc("r1.yaml", "b1"), doc("r1.yaml", "b2"), {Path: "r2.yaml", Index: 1, Blob: "b3"}}
	runs := []string{"r1", "r2", "r3"}
	kinds := []schemas.OperationKind{schemas.OperationCreate, schemas.OperationUpdate, schemas.OperationRevoke, schemas.OperationGrant, schemas.OperationDelete}
	causes := []schemas.Cause{schemas.CauseRequest, schemas.CauseExpiry, schemas.CauseUndo, schemas.CauseDrift, schemas.CauseUnmanaged}
	rapid.Check(t, func(rt *rapid.T) {
		pick := func(from []string) string { return rapid.SampledFrom(from).Draw(rt, "pick") }
		op := func() schemas.Operation {
			o := operation(pick([]string{"a", "b", "c", "d"}), rapid.SampledFrom(kinds).Draw(rt, "kind"), rapid.SampledFrom(causes).Draw(rt, "cause"),
				docs[:rapid.IntRange(0, len(docs)).Draw(rt, "documents")]...)
			o.After = map[string]any{"x": 1}
			return o
		}
		item := func() schemas.BaselineItem {
			return schemas.BaselineItem{Item: pick([]string{"i", "j", "k"}), Token: pick([]string{"", "present:1", "absent-undo:"}), Made: rapid.Bool().Draw(rt, "made")}
		}
		one := func() schemas.Record {
			var r schemas.Record
			switch rapid.IntRange(0, 7).Draw(rt, "type") {
			case 0:
				r = verdict(pick([]string{"c1", "c2", "c3"}), schemas.AdmissionVerdict(pick([]string{verdictAnchor, verdictAdmitted, verdictQuarantined, "unchanged"})), schemas.FileChange{Path: "r1.yaml", After: pick([]string{"", "b1", "b2"})})
				r.Admission.Admits = []schemas.FileChange{{Path: "r2.yaml", After: "b3"}}
			case 1:
				r = runRecord(pick(runs), "v1")
			case 2:
				r = intent(pick(runs), op(), op())
			case 3:
				r = outcome(pick(runs), op(), schemas.OutcomeStatus(pick([]string{statusApplied, statusFailed, statusBlocked})))
			case 4:
				r = verified(pick(runs), op(), schemas.VerificationState(pick([]string{statusVerified, statusDiffers, statusUnverifiable, statusPending})), item())
			case 5:
				r = end(pick(runs), pick([]string{"v1", "v2"}), map[string]int{pick([]string{"applied", "held-first-run"}): 1})
			case 6:
				r = held(pick(runs), schemas.HoldDrift, op())
			case 7:
				r = schemas.Record{Type: schemas.RecordAdoption, Baseline: []schemas.BaselineItem{item(), item()}}
			}
			if r.Type != schemas.RecordAdmission {
				r.Application = pick([]string{app, "other"})
			}
			return r
		}
		l, err := Open(t.Context(), Config{Path: t.TempDir() + "/l.db", Now: ledgertest.NewClock().Now})
		if err != nil {
			rt.Fatal(err)
		}
		defer func() {
			if err := l.Close(); err != nil {
				rt.Error(err)
			}
		}()
		for range rapid.IntRange(1, 4).Draw(rt, "batches") {
			var batch []schemas.Record
			for range rapid.IntRange(1, 12).Draw(rt, "records") {
				batch = append(batch, one())
			}
			if _, err := l.Append(t.Context(), batch...); err != nil {
				rt.Fatal(err)
			}
		}
		before := map[string]string{}
		for _, table := range derivedTables {
			if before[table.name], err = derivation(t.Context(), l.db, table.name, table.order); err != nil {
				rt.Fatal(err)
			}
		}
		// Verify derives beside the file, Rebuild in it.
		rep, err := l.Verify(t.Context(), VerifyOptions{})
		if err != nil || len(rep.Problems) > 0 {
			rt.Fatalf("Verify() = %+v, %v", rep, err)
		}
		if err := l.Rebuild(t.Context()); err != nil {
			rt.Fatal(err)
		}
		for _, table := range derivedTables {
			got, err := derivation(t.Context(), l.db, table.name, table.order)
			if err != nil {
				rt.Fatal(err)
			}
			if got != before[table.name] {
				rt.Errorf("the table %s differs after Rebuild", table.name)
			}
		}
	})
}

func TestRebuildRefusesABrokenChain(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	appendTo(t, l, verdict("a", verdictAnchor), verdict("b", verdictQuarantined))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	raw(t, l.config.Path, `DROP TRIGGER records_no_update`, `UPDATE records SET body = replace(body, 'quarantined', 'admitted')`)
	again := openAt(t, l.config.Path, nil)
	if err := again.Rebuild(t.Context()); err == nil {
		t.Error("Rebuild() took a changed record for true")
	}
	if _, ok, err := again.Admission(t.Context(), "a"); err != nil || !ok {
		t.Errorf("after a refused Rebuild() the verdicts are gone: %v, %v", ok, err)
	}
}
