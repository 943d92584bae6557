package audit

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/ledgertest"
	"github.com/countersign/countersign/schemas"
)

func ptr[T any](v T) *T { return &v }

func request(path, blob, name, reason string) schemas.RequestInfo {
	return schemas.RequestInfo{Document: doc(path, blob), Kind: schemas.KindConnectionAssignment, Application: app, Connection: role("sales"),
		Metadata: schemas.Metadata{Name: name, Reason: reason, Ticket: "T-1"}}
}

// reviewed is an admission of requests with an authenticated approval, as a forge with previews has it.
func reviewed(commit string, at time.Time, requests ...schemas.RequestInfo) schemas.Record {
	r := verdict(commit, verdictAdmitted)
	a := r.Admission
	a.Requests, a.PlanDigest = requests, "plan-"+commit
	for _, q := range requests {
		a.Changes = append(a.Changes, schemas.FileChange{Path: q.Document.Path, After: q.Document.Blob})
	}
	a.Evidence = &schemas.Evidence{Forge: "github", PullRequest: 7, URL: "https://forge.test/7", Title: "Sales access", Authors: []string{"alice"}, Beneficiaries: []string{"carol"},
		Head: "head-" + commit, ContentDigest: "content", PreviewDigest: ptr("content"), PreviewAt: ptr(at.Add(-time.Hour)), MergedAt: ptr(at), MergedBy: "bob",
		Approvals: []schemas.Approval{
			{Person: "bob", Capacities: []string{"user:bob"}, At: ptr(at.Add(-time.Minute)), Commit: "head-" + commit, Authenticated: true, Method: "review", Counts: true},
			{Person: "alice", Authenticated: true, Method: "review", Why: "is the author"}}}
	a.Decision = &schemas.Decision{APIVersion: schemas.APIVersion, Rules: 12, Bundle: "bundle-1", Engine: "1.22.2", Warnings: []schemas.RuleResult{{Code: "freeze", Msg: "soon"}},
		Required: []schemas.Requirement{{Code: "owners", From: []string{"user:bob"}, Count: 1, Why: "owns it"}}}
	return r
}

// quarter is a ledger with one of each that an auditor may draw.
func quarter(t *testing.T) (*ledger.Ledger, *ledgertest.Clock) {
	t.Helper()
	return quarterAt(t, filepath.Join(t.TempDir(), "state", "ledger.db"))
}

func quarterAt(t *testing.T, path string) (*ledger.Ledger, *ledgertest.Clock) {
	t.Helper()
	c := ledgertest.NewClock()
	l := openAt(t, path, c.Now)
	at := c.Peek()
	granted, expiring, removed := doc("requests/grant.yaml", "b1"), doc("requests/expiring.yaml", "b2"), doc("requests/undone.yaml", "b3")
	appendTo(t, l, schemas.Record{Type: schemas.RecordAdmission, Admission: &schemas.AdmissionRecord{Commit: "anchor", Verdict: verdictAnchor,
		Changes: []schemas.FileChange{{Path: "countersign.yaml", After: "s1"}, {Path: "requests/adopted.yaml", After: "b0"}}, Requests: []schemas.RequestInfo{request("requests/adopted.yaml", "b0", "adopted", "There before")}}})
	appendTo(t, l, reviewed("c1", at, request(granted.Path, "b1", "grant", "Dashboards"), request(expiring.Path, "b2", "expiring", "=1+1"), request(removed.Path, "b3", "undone", ""),
		request("requests/waiting.yaml", "b4", "waiting", "Later")))
	refused := reviewed("c2", at, request("requests/evil.yaml", "b9", "evil", "None of your business"))
	refused.Admission.Verdict, refused.Admission.Reasons = verdictQuarantined, []string{"pushed directly"}
	refused.Admission.Evidence.Approvals = nil
	refused.Admission.Changes = append(refused.Admission.Changes, schemas.FileChange{Path: "policy/data.yaml", Before: "p1", After: "p2"})
	appendTo(t, l, refused)

	run := func(id string) schemas.Record {
		return schemas.Record{Type: schemas.RecordRun, Run: id, Application: app, RunInfo: &schemas.RunRecord{Version: "1.2.3", Connector: "postgres", Credential: "dsn=env:WAREHOUSE_DSN", PlanDigest: "plan-" + id, LiveDigest: "live-" + id}}
	}
	grant, expires := operation("grant", schemas.OperationGrant, schemas.CauseRequest, granted), operation("expiring", schemas.OperationGrant, schemas.CauseRequest, expiring)
	expires.Expires, expires.Privileged, expires.TargetID = ptr(at.Add(48*time.Hour)), true, "16402"
	undone, failed := operation("undone", schemas.OperationGrant, schemas.CauseRequest, removed), operation("failed", schemas.OperationGrant, schemas.CauseRequest, granted)
	appendTo(t, l, run("r1"), schemas.Record{Type: schemas.RecordAdoption, Run: "r1", Application: app, Baseline: []schemas.BaselineItem{
		{Item: itemOf(schemas.Key{Connection: role("sales"), Target: schemas.Name{Type: "user", SourceName: "dora"}, Privilege: "MEMBER"}), Token: "present:" + markOf(doc("requests/adopted.yaml", "b0")), NativeID: "16400"}}})
	appendTo(t, l, intent("r1", grant, expires, undone, failed))
	item := func(o schemas.Operation) schemas.BaselineItem {
		return schemas.BaselineItem{Item: itemOf(o.Key()), Token: "present:" + markOf(o.Documents[0]), Made: true}
	}
	seen := func(run string, o schemas.Operation) schemas.Record {
		v := verified(run, o, statusVerified, item(o))
		v.Verification.Before, v.Verification.After = false, true
		if o.Removes() {
			v.Verification.Before, v.Verification.After = true, false
			v.Baseline[0].Token = "absent-" + string(o.Cause) + ":" + markOf(o.Documents[0])
		}
		return v
	}
	for _, o := range []schemas.Operation{grant, expires, undone} {
		ran := outcome("r1", o, statusApplied)
		ran.Outcome.Started, ran.Outcome.Finished = c.Peek(), c.Peek().Add(time.Second)
		appendTo(t, l, ran, seen("r1", o))
	}
	broke := outcome("r1", failed, statusFailed)
	broke.Outcome.Code = "conflict"
	appendTo(t, l, broke, verified("r1", failed, statusDiffers), end("r1", "1.2.3", nil))

	// The undo is a commit that takes the file away; three days later the other grant has expired.
	gone := reviewed("c3", at)
	gone.Admission.Changes = []schemas.FileChange{{Path: removed.Path, Before: "b3"}}
	appendTo(t, l, gone)
	c.Set(at.Add(50 * time.Hour))
	revokeUndone, revokeExpired := operation("undone", schemas.OperationRevoke, schemas.CauseUndo, removed), operation("expiring", schemas.OperationRevoke, schemas.CauseExpiry, expiring)
	revokeUndone.ID, revokeExpired.ID = "undone-off", "expiring-off"
	unmanaged := operation("stranger", schemas.OperationRevoke, schemas.CauseUnmanaged)
	appendTo(t, l, run("r2"), held("r2", schemas.HoldDrift, unmanaged), intent("r2", revokeUndone, revokeExpired))
	for _, o := range []schemas.Operation{revokeUndone, revokeExpired} {
		ran := outcome("r2", o, statusApplied)
		ran.Outcome.Started, ran.Outcome.Finished = c.Peek(), c.Peek().Add(time.Second)
		appendTo(t, l, ran, seen("r2", o))
	}
	appendTo(t, l, end("r2", "1.2.3", nil), run("r3"), intent("r3", unmanaged))
	c.Set(at.Add(60 * time.Hour))
	return l, c
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", name, diff)
	}
}

func export(t testing.TB, l *ledger.Ledger, o ExportOptions) ([]schemas.AuditRow, schemas.AuditManifest) {
	t.Helper()
	var out bytes.Buffer
	o.Out = &out
	m, err := Export(t.Context(), l, o)
	if err != nil {
		t.Fatal(err)
	}
	if m.SHA256 != digest(out.Bytes()) {
		t.Errorf("the manifest has digest %s, the export %s", m.SHA256, digest(out.Bytes()))
	}
	var rows []schemas.AuditRow
	dec := json.NewDecoder(&out)
	dec.DisallowUnknownFields()
	for dec.More() {
		var r schemas.AuditRow
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	if len(rows) != m.Rows {
		t.Errorf("the manifest has %d rows, the export %d", m.Rows, len(rows))
	}
	return rows, m
}

func TestExportGolden(t *testing.T) {
	t.Parallel()
	l, c := quarter(t)
	now := c.Peek()
	for _, format := range []string{"jsonl", "csv"} {
		c.Set(now)
		var out bytes.Buffer
		m, err := Export(t.Context(), l, ExportOptions{Format: format, Version: "1.2.3", Out: &out})
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "export."+format, out.Bytes())
		if format == "csv" {
			lines, err := csv.NewReader(&out).ReadAll()
			if err != nil || len(lines) != m.Rows+1 {
				t.Errorf("%d lines, %v; want a header and %d", len(lines), err, m.Rows)
			}
			continue
		}
		text, err := json.MarshalIndent(m, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "manifest.json", append(text, '\n'))
	}
	if _, err := Export(t.Context(), l, ExportOptions{Format: "xls", Out: &bytes.Buffer{}}); err == nil {
		t.Error("Export() took a format that it does not know")
	}
}

func TestExportPopulation(t *testing.T) {
	t.Parallel()
	l, c := quarter(t)
	all, m := export(t, l, ExportOptions{})
	states := map[string]schemas.AuditState{}
	for _, r := range all {
		k := r.Operation
		if k == "" {
			k = r.RequestPath
		}
		states[k] = r.State
	}
	want := map[string]schemas.AuditState{"grant": "verified", "expiring": "verified", "undone": "verified", "failed": "failed", "undone-off": "verified", "expiring-off": "verified",
		"stranger": "pending", "requests/adopted.yaml": "adopted", "requests/waiting.yaml": "waiting", "requests/evil.yaml": "quarantined", "policy/data.yaml": "quarantined"}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	if m.RequestFiles != 6 || m.Reconciled != 5 || !cmp.Equal(m.Unreconciled, []string{"requests/waiting.yaml"}) || m.Records != m.LastSequence || m.FirstSequence != 1 || !m.ChainOK {
		t.Errorf("manifest %+v", m)
	}
	// Two periods that meet have every row once.
	middle := all[len(all)-1].Time.Add(-time.Hour)
	first, _ := export(t, l, ExportOptions{Until: middle})
	second, _ := export(t, l, ExportOptions{Since: middle})
	if len(first) == 0 || len(second) == 0 || len(first)+len(second) != len(all) {
		t.Errorf("%d and %d rows in two periods, want %d together", len(first), len(second), len(all))
	}
	if other, m := export(t, l, ExportOptions{Application: "other"}); len(other) != 0 || m.RequestFiles != 0 {
		t.Errorf("another application has %d rows and %d request files", len(other), m.RequestFiles)
	}
	// As of a moment before the undo nothing has ended.
	then, m := export(t, l, ExportOptions{AsOf: middle})
	for _, r := range then {
		if r.EndedAt != nil || r.Time.After(middle) {
			t.Errorf("as of %s: %+v", middle, r)
		}
	}
	if len(then) != len(first) || m.AsOf == nil {
		t.Errorf("as of %s there are %d rows, want %d", middle, len(then), len(first))
	}
	_ = c
}

func TestExportOfABrokenChain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, _ := quarterAt(t, path)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	raw(t, path, `DROP TRIGGER records_no_update`, `UPDATE records SET body = replace(body, 'alice', 'mallory') WHERE sequence = 2`)
	again := openAt(t, path, ledgertest.NewClock().Now)
	rows, m := export(t, again, ExportOptions{})
	if m.ChainOK || len(m.Problems) == 0 {
		t.Errorf("the manifest says %v, %v", m.ChainOK, m.Problems)
	}
	for _, r := range rows {
		if r.ChainOK != schemas.False || r.ApprovedBeforeApplied == schemas.True || r.IndependentApprover == schemas.True || r.ApprovedContentIsAppliedContent == schemas.True || r.GrantedEqualsApproved == schemas.True {
			t.Errorf("a broken chain proves something: %+v", r)
		}
	}
}

// A run that was cut short and one that finished it are one row.
func TestExportOfACrash(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	o := operation("a", schemas.OperationGrant, schemas.CauseRequest, doc("r.yaml", "b1"))
	appendTo(t, l, runRecord("r1", "v1"), intent("r1", o), runRecord("r2", "v2"), verified("r2", o, statusVerified))
	rows, _ := export(t, l, ExportOptions{})
	if len(rows) != 1 || rows[0].State != "verified" || rows[0].Run != "r1" || rows[0].IntentSequence != 2 || rows[0].Version != "v1" {
		t.Errorf("%d rows: %+v; want one, of r1, verified", len(rows), rows)
	}
}

func TestAssertions(t *testing.T) {
	t.Parallel()
	type values struct{ before, content, granted, independent, rationale, expired schemas.Truth }
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	o := operation("a", schemas.OperationGrant, schemas.CauseRequest, doc("r.yaml", "b1"))
	yes := values{schemas.True, schemas.True, schemas.True, schemas.True, schemas.True, schemas.Unknown}
	admission := func(change func(*schemas.AdmissionRecord)) schemas.Record {
		r := reviewed("c1", at, request("r.yaml", "b1", "r", "Quarterly dashboards"))
		change(r.Admission)
		return r
	}
	good := admission(func(*schemas.AdmissionRecord) {})
	ran := func(o schemas.Operation, status, seen string) []schemas.Record {
		r := outcome("r", o, schemas.OutcomeStatus(status))
		r.Outcome.Started, r.Outcome.Finished = at.Add(time.Hour), at.Add(time.Hour)
		return []schemas.Record{intent("r", o), r, verified("r", o, schemas.VerificationState(seen))}
	}
	applied := ran(o, statusApplied, statusVerified)
	with := func(a schemas.Record) []schemas.Record { return append([]schemas.Record{a}, applied...) }
	approval := func(change func(*schemas.Approval)) []schemas.Record {
		return with(admission(func(a *schemas.AdmissionRecord) { change(&a.Evidence.Approvals[0]) }))
	}
	evidence := func(change func(*schemas.Evidence)) []schemas.Record {
		return with(admission(func(a *schemas.AdmissionRecord) { change(a.Evidence) }))
	}
	undo := operation("u", schemas.OperationRevoke, schemas.CauseUndo, doc("r.yaml", "b1"))
	goneUnder := func(title string, rationale *string) []schemas.Record {
		r := reviewed("c2", at)
		r.Admission.Changes, r.Admission.Evidence.Title, r.Admission.Rationale = []schemas.FileChange{{Path: "r.yaml", Before: "b1"}}, title, rationale
		return append([]schemas.Record{good, r}, ran(undo, statusApplied, statusVerified)...)
	}
	late := operation("a", schemas.OperationGrant, schemas.CauseRequest, doc("r.yaml", "b1"))
	late.Expires = ptr(at.Add(time.Hour))
	off := operation("a", schemas.OperationRevoke, schemas.CauseExpiry, doc("r.yaml", "b1"))
	off.ID = "off"
	other := doc("other.yaml", "b2")
	two := operation("a", schemas.OperationGrant, schemas.CauseRequest, other, doc("r.yaml", "b1"))
	for name, tt := range map[string]struct {
		records []schemas.Record
		now     time.Time
		want    values
	}{
		"everything":                {with(good), at, yes},
		"no verdict on record":      {applied, at, values{schemas.False, schemas.False, schemas.False, schemas.Unknown, schemas.Unknown, schemas.Unknown}},
		"the verdict comes later":   {append(append([]schemas.Record{}, applied...), good), at, values{schemas.False, schemas.False, schemas.False, schemas.Unknown, schemas.Unknown, schemas.Unknown}},
		"refused and applied":       {with(admission(func(a *schemas.AdmissionRecord) { a.Verdict = verdictQuarantined })), at, values{schemas.False, schemas.False, schemas.False, schemas.False, schemas.Unknown, schemas.Unknown}},
		"admitted, then refused":    {append([]schemas.Record{good, admission(func(a *schemas.AdmissionRecord) { a.Commit, a.Verdict = "c2", verdictQuarantined })}, applied...), at, yes},
		"an anchor has no evidence": {with(admission(func(a *schemas.AdmissionRecord) { a.Verdict, a.Evidence = verdictAnchor, nil })), at, values{schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.True, schemas.Unknown}},
		"nobody approved":           {evidence(func(e *schemas.Evidence) { e.Approvals = nil }), at, values{schemas.False, schemas.False, schemas.False, schemas.False, schemas.True, schemas.Unknown}},
		"nobody's counts":           {approval(func(a *schemas.Approval) { a.Counts = false }), at, values{schemas.False, schemas.False, schemas.False, schemas.False, schemas.True, schemas.Unknown}},
		"a bare trailer":            {approval(func(a *schemas.Approval) { a.Authenticated, a.Method = false, "trailer" }), at, values{schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.True, schemas.Unknown}},
		"one of two a bare trailer": {evidence(func(e *schemas.Evidence) {
			e.Approvals = append(e.Approvals, schemas.Approval{Person: "dan", Counts: true, Method: "trailer"})
		}), at, values{schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.True, schemas.Unknown}},
		"without times":             {approval(func(a *schemas.Approval) { a.At = nil }), at, yes},
		"approved after it began":   {approval(func(a *schemas.Approval) { a.At = ptr(at.Add(2 * time.Hour)) }), at, values{schemas.False, schemas.True, schemas.True, schemas.True, schemas.True, schemas.Unknown}},
		"another content previewed": {evidence(func(e *schemas.Evidence) { e.PreviewDigest = ptr("other") }), at, values{schemas.True, schemas.False, schemas.True, schemas.True, schemas.True, schemas.Unknown}},
		"no previews, reviews":      {evidence(func(e *schemas.Evidence) { e.PreviewDigest = nil }), at, values{schemas.True, schemas.Unknown, schemas.True, schemas.True, schemas.True, schemas.Unknown}},
		"no previews, signed": {evidence(func(e *schemas.Evidence) {
			e.PreviewDigest = nil
			e.Approvals[0].Method = "signature"
			e.Approvals[0].Commit = "c1"
		}), at, yes},
		"signed another commit": {evidence(func(e *schemas.Evidence) {
			e.PreviewDigest = nil
			e.Approvals[0].Method = "signature"
			e.Approvals[0].Commit = "c0"
		}), at, values{schemas.True, schemas.Unknown, schemas.True, schemas.True, schemas.True, schemas.Unknown}},
		"by its author":         {approval(func(a *schemas.Approval) { a.Person = "Alice" }), at, values{schemas.True, schemas.True, schemas.True, schemas.False, schemas.True, schemas.Unknown}},
		"by who gains":          {approval(func(a *schemas.Approval) { a.Person = "carol" }), at, values{schemas.True, schemas.True, schemas.True, schemas.False, schemas.True, schemas.Unknown}},
		"an author unknown":     {evidence(func(e *schemas.Evidence) { e.Unattributed = []string{"x@y"} }), at, values{schemas.True, schemas.True, schemas.True, schemas.Unknown, schemas.True, schemas.Unknown}},
		"no reason":             {with(admission(func(a *schemas.AdmissionRecord) { a.Requests[0].Metadata.Reason = " " })), at, values{schemas.True, schemas.True, schemas.True, schemas.True, schemas.False, schemas.Unknown}},
		"not applied":           {append([]schemas.Record{good}, ran(o, statusFailed, statusDiffers)...), at, values{schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.True, schemas.True, schemas.Unknown}},
		"applied and not there": {append([]schemas.Record{good}, ran(o, statusApplied, statusDiffers)...), at, values{schemas.True, schemas.True, schemas.False, schemas.True, schemas.True, schemas.Unknown}},
		"applied and not read":  {append([]schemas.Record{good}, ran(o, statusApplied, statusUnverifiable)...), at, values{schemas.True, schemas.True, schemas.Unknown, schemas.True, schemas.True, schemas.Unknown}},
		"intent alone":          {[]schemas.Record{good, applied[0]}, at, values{schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.True, schemas.True, schemas.Unknown}},
		"one of two documents refused": {append([]schemas.Record{good, admission(func(a *schemas.AdmissionRecord) {
			a.Commit, a.Verdict, a.Changes[0] = "c2", verdictQuarantined, schemas.FileChange{Path: other.Path, After: other.Blob}
			a.Requests = nil
		})}, ran(two, statusApplied, statusVerified)...), at, values{schemas.False, schemas.False, schemas.False, schemas.False, schemas.True, schemas.Unknown}},
		"unmanaged":             {append([]schemas.Record{good}, ran(operation("x", schemas.OperationRevoke, schemas.CauseUnmanaged), statusApplied, statusVerified)...), at, values{schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.Unknown}},
		"undo":                  {goneUnder("Revert", ptr("Dora has left the team")), at, yes},
		"undo by a title alone": {goneUnder("Dora has left the team", ptr("")), at, values{schemas.True, schemas.True, schemas.True, schemas.True, schemas.Unknown, schemas.Unknown}},
		"undo without a reason": {goneUnder(`Revert "Grant sales to dora"`, ptr("")), at, values{schemas.True, schemas.True, schemas.True, schemas.True, schemas.False, schemas.Unknown}},
		"undo, nothing kept":    {goneUnder("", nil), at, values{schemas.True, schemas.True, schemas.True, schemas.True, schemas.Unknown, schemas.Unknown}},
		"expires later":         {append([]schemas.Record{good}, ran(late, statusApplied, statusVerified)...), at, yes},
		"expired a day ago":     {append([]schemas.Record{good}, ran(late, statusApplied, statusVerified)...), at.Add(24 * time.Hour), yes},
		"expired, never there":  {append([]schemas.Record{good}, ran(late, statusFailed, statusDiffers)...), at.Add(26 * time.Hour), values{schemas.Unknown, schemas.Unknown, schemas.Unknown, schemas.True, schemas.True, schemas.Unknown}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, c := temp(t)
			appendTo(t, l, tt.records...)
			c.Set(tt.now)
			rows, m := export(t, l, ExportOptions{})
			// The row that the case is about: the operation's first.
			i := 0
			for rows[i].Operation == "" {
				i++
			}
			if tt.records[len(tt.records)-1].Type == schemas.RecordVerification && tt.records[len(tt.records)-1].Operation.ID == "u" {
				i = len(rows) - 1
			}
			r := rows[i]
			got := values{r.ApprovedBeforeApplied, r.ApprovedContentIsAppliedContent, r.GrantedEqualsApproved, r.IndependentApprover, r.RationalePresent, r.ExpiredInTime}
			if got != tt.want || r.ChainOK != schemas.True {
				t.Errorf("got %+v, want %+v (chain %s)", got, tt.want, r.ChainOK)
			}
			exceptions, listed := 0, 0
			for _, r := range rows {
				for _, a := range assertionsOf(&r) {
					if a.value == schemas.False {
						exceptions++
					}
				}
			}
			for _, x := range m.Exceptions {
				if x.Assertion != "" {
					listed++
				}
			}
			if listed != exceptions {
				t.Errorf("%d false assertions among the exceptions of the manifest, %d in the rows", listed, exceptions)
			}
		})
	}
}

func TestAfterlife(t *testing.T) {
	t.Parallel()
	member := func(id string) schemas.Operation {
		return operation(id, schemas.OperationGrant, schemas.CauseRequest, doc("r.yaml", "b1"))
	}
	// sales is given to nested: a deletion of sales ends both sides.
	nested := operation("n", schemas.OperationGrant, schemas.CauseRequest, doc("r.yaml", "b1"))
	nested.Connection, nested.Target = role("nested"), ptr(role("sales"))
	foreign := operation("f", schemas.OperationGrant, schemas.CauseRequest, doc("r.yaml", "b1"))
	foreign.Connection = role("other")
	deletion := operation("d", schemas.OperationDelete, schemas.CauseRequest, doc("d.yaml", "b2"))
	again := operation("a", schemas.OperationGrant, schemas.CauseDrift, doc("r.yaml", "b1"))
	l, _ := temp(t)
	var records []schemas.Record
	for _, o := range []schemas.Operation{member("a"), member("b"), nested, foreign, again, deletion} {
		records = append(records, intent("r", o), outcome("r", o, statusApplied), verified("r", o, statusVerified))
	}
	appendTo(t, l, records...)
	rows, _ := export(t, l, ExportOptions{})
	got := map[string]bool{}
	drifted := 0
	for _, r := range rows {
		if r.EndedAt != nil && r.EndedBy == "d@r" && r.EndedCause == "request" {
			got[r.Operation] = true
		}
		if r.DriftedAt != nil {
			drifted++
		}
	}
	if diff := cmp.Diff(map[string]bool{"a": true, "b": true, "n": true}, got); diff != "" || drifted != 1 {
		t.Errorf("%d drifted, want 1; ended (-want +got):\n%s", drifted, diff)
	}
}

func TestAsOf(t *testing.T) {
	t.Parallel()
	l, c := quarter(t)
	start := ledgertest.NewClock().Peek()
	key := func(e schemas.AuditEntitlement) string {
		s := e.Application + " " + e.Connection.String()
		if e.Target != nil {
			s += " " + e.Target.String() + " " + e.Privilege
		}
		for _, d := range e.Requests {
			s += " " + d.Path
		}
		if e.Made {
			s += " made"
		}
		return s + " " + string(e.Origin)
	}
	dora, kept := "warehouse role/sales user/dora MEMBER requests/adopted.yaml request", "warehouse role/sales user/grant MEMBER requests/grant.yaml made request"
	for name, tt := range map[string]struct {
		at   time.Time
		want []string
	}{
		"before all":      {start, []string{}},
		"in between":      {start.Add(40 * time.Hour), []string{dora, "warehouse role/sales user/expiring MEMBER requests/expiring.yaml made request", kept, "warehouse role/sales user/undone MEMBER requests/undone.yaml made request"}},
		"after the fact":  {c.Peek(), []string{dora, kept}},
		"long after that": {c.Peek().AddDate(1, 0, 0), []string{dora, kept}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, err := AsOf(t.Context(), l, tt.at, "")
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, e := range all.Entitlements {
				got = append(got, key(e))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("AsOf() (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("without a request", func(t *testing.T) {
		t.Parallel()
		l, c := temp(t)
		appendTo(t, l, schemas.Record{Type: schemas.RecordAdoption, Application: app, Baseline: []schemas.BaselineItem{{Item: "c\x1frole\x1fr", Token: "present:"}, {Item: "p\x1frole\x1fr", Token: "foreign:"}}})
		all, err := AsOf(t.Context(), l, c.Peek(), "")
		got := all.Entitlements
		if err != nil || len(got) != 1 || got[0].Origin != schemas.OriginUnmanaged || got[0].Kind != "connection" {
			t.Errorf("AsOf() = %+v, %v; want one connection, unmanaged", got, err)
		}
	})
	t.Run("an item of no known kind", func(t *testing.T) {
		t.Parallel()
		l, c := temp(t)
		appendTo(t, l, schemas.Record{Type: schemas.RecordAdoption, Application: app, Baseline: []schemas.BaselineItem{{Item: "?", Token: "present:"}}})
		if _, err := AsOf(t.Context(), l, c.Peek(), ""); err == nil || !strings.Contains(err.Error(), "record 1") {
			t.Errorf("AsOf() error %v, want one that names the record", err)
		}
	})
}
