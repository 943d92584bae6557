package audit

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/schemas"
)

func saw(opened, closed []schemas.Sighting) schemas.Record {
	return schemas.Record{Type: schemas.RecordObservation, Application: app, Observation: &schemas.ObservationRecord{Opened: opened, Closed: closed}}
}

func present(o schemas.Operation, made bool) schemas.BaselineItem {
	return schemas.BaselineItem{Item: itemOf(o.Key()), Token: "present:" + markOf(o.Documents[len(o.Documents)-1]), Made: made}
}

func done(run string, o schemas.Operation, items ...schemas.BaselineItem) []schemas.Record {
	return []schemas.Record{intent(run, o), outcome(run, o, statusApplied), verified(run, o, statusVerified, items...)}
}

// by lists the people whose approval of a row counts.
func by(r schemas.AuditRow) (out []string) {
	for _, a := range r.Approvals {
		if a.Counts {
			out = append(out, a.Person)
		}
	}
	return out
}

func approvedBy(r schemas.Record, person string) schemas.Record {
	r.Admission.Evidence.Approvals[0].Person = person
	return r
}

// A revert of a revert brings the same content back under another approver. Each row has the one of its own moment.
func TestRowsAreOfTheirMoment(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	l, _ := temp(t)
	d := doc("r.yaml", "b1")
	grant, off := operation("dave", schemas.OperationGrant, schemas.CauseRequest, d), operation("dave", schemas.OperationRevoke, schemas.CauseUndo, d)
	off.ID = "off"
	gone := reviewed("c2", at)
	gone.Admission.Changes = []schemas.FileChange{{Path: "r.yaml", Before: "b1"}}
	appendTo(t, l, approvedBy(reviewed("c1", at, request("r.yaml", "b1", "r", "Quarterly dashboards")), "frank"))
	appendTo(t, l, done("r1", grant, present(grant, true))...)
	appendTo(t, l, approvedBy(gone, "carl"))
	appendTo(t, l, done("r2", off, schemas.BaselineItem{Item: itemOf(off.Key()), Token: "absent-undo:" + markOf(d), Made: true})...)
	head, hash, err := l.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var before bytes.Buffer
	if _, err := Export(t.Context(), l, ExportOptions{Out: &before}); err != nil {
		t.Fatal(err)
	}
	appendTo(t, l, approvedBy(reviewed("c3", at, request("r.yaml", "b1", "r", "Back on the project")), "zed"))
	appendTo(t, l, done("r3", grant, present(grant, true))...)
	rows, _ := export(t, l, ExportOptions{})
	var got [][]string
	for _, r := range rows {
		got = append(got, append([]string{string(r.Kind), r.Reason, string(r.ApprovedBeforeApplied)}, by(r)...))
	}
	want := [][]string{{"grant", "Quarterly dashboards", "true", "frank"}, {"revoke", "Quarterly dashboards", "true", "carl"}, {"grant", "Back on the project", "true", "zed"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	for name, o := range map[string]ExportOptions{"sequence": {AsOfSequence: head}, "hash": {AsOfHead: hash}} {
		var again bytes.Buffer
		o.Out = &again
		m, err := Export(t.Context(), l, o)
		if err != nil || !bytes.Equal(before.Bytes(), again.Bytes()) || m.Head != hash || m.LastSequence != head {
			t.Errorf("as of the %s of an earlier head the export differs: %v\n%s", name, err, cmp.Diff(before.String(), again.String()))
		}
	}
	if _, err := Export(t.Context(), l, ExportOptions{AsOfHead: "none", Out: &before}); err == nil {
		t.Error("an export as of an unknown head was made")
	}
}

// One operation that fails in every run is one row.
func TestAStuckOperationIsOneRow(t *testing.T) {
	t.Parallel()
	l, c := temp(t)
	at := c.Peek()
	o := operation("mallory", schemas.OperationGrant, schemas.CauseRequest, doc("r.yaml", "b1"))
	appendTo(t, l, reviewed("c1", at, request("r.yaml", "b1", "r", "Quarterly dashboards")))
	for i, id := range []string{"r1", "r2", "r3"} {
		c.Set(at.Add(time.Duration(i) * 24 * time.Hour))
		first, second := outcome(id, o, statusFailed), outcome(id, o, statusFailed)
		second.Outcome.Attempts = 2
		appendTo(t, l, runRecord(id, "v"), intent(id, o), first, second, verified(id, o, statusDiffers), end(id, "v", nil))
	}
	rows, m := export(t, l, ExportOptions{})
	if len(rows) != 1 || rows[0].Attempts != 6 || rows[0].Runs != 3 || rows[0].Failures != 6 || !rows[0].FirstFailedAt.Before(*rows[0].LastFailedAt) || rows[0].EffectiveAt != nil {
		t.Errorf("%d rows: %+v; want one with 6 attempts in 3 runs", len(rows), rows)
	}
	if !slices.ContainsFunc(m.Exceptions, func(x schemas.AuditException) bool { return x.Kind == schemas.ExceptionFailing && x.Open }) {
		t.Errorf("no open exception about the failures: %+v", m.Exceptions)
	}
	// It succeeds, and somebody takes it away: that is another row.
	c.Set(at.Add(96 * time.Hour))
	appendTo(t, l, runRecord("r4", "v"))
	appendTo(t, l, done("r4", o, present(o, true))...)
	appendTo(t, l, end("r4", "v", nil), runRecord("r5", "v"), held("r5", schemas.HoldDrift, o), end("r5", "v", nil))
	if rows, _ = export(t, l, ExportOptions{}); len(rows) != 2 || rows[0].Attempts != 7 || rows[0].EffectiveAt == nil || rows[0].EndedHow != schemas.EndedByHand || rows[1].State != schemas.AuditHeld {
		t.Errorf("%d rows: %+v; want the one and a held one", len(rows), rows)
	}
	if in, _ := export(t, l, ExportOptions{Since: at.Add(95 * time.Hour)}); len(in) != 2 {
		t.Errorf("the period in which it took effect has %d rows, want 2", len(in))
	}
}

// What people do by hand is a row and an exception, with how it ended, and part of what was in place then.
func TestChangesByHand(t *testing.T) {
	t.Parallel()
	d := doc("r.yaml", "b1")
	grant := operation("dave", schemas.OperationGrant, schemas.CauseRequest, d)
	off := operation("dave", schemas.OperationRevoke, schemas.CauseDrift, d)
	off.ID = "off"
	deletion := operation("x", schemas.OperationDelete, schemas.CauseRequest, doc("d.yaml", "b2"))
	item := itemOf(grant.Key())
	one := func(k schemas.SightingKind) []schemas.Sighting { return []schemas.Sighting{{Kind: k, Item: item}} }
	wanted := present(grant, true)
	for name, tt := range map[string]struct {
		records []schemas.Record
		// row is the sighting's, live whether the member is in place in the end.
		how  schemas.EndedHow
		open bool
		live bool
	}{
		"unmanaged, and still there":  {[]schemas.Record{saw(one(schemas.SightingUnmanaged), nil)}, "", true, true},
		"unmanaged, gone by hand":     {[]schemas.Record{saw(one(schemas.SightingUnmanaged), nil), saw(nil, one(schemas.SightingUnmanaged))}, schemas.EndedByHand, false, false},
		"unmanaged, taken by a run":   {append(append([]schemas.Record{saw(one(schemas.SightingUnmanaged), nil)}, done("r", off)...), saw(nil, one(schemas.SightingUnmanaged))), schemas.EndedByOperation, false, false},
		"unmanaged, approved later":   {[]schemas.Record{saw(one(schemas.SightingUnmanaged), nil), reviewed("c1", time.Time{}, request("r.yaml", "b1", "r", "Quarterly dashboards")), {Type: schemas.RecordAdoption, Application: app, Baseline: []schemas.BaselineItem{present(grant, false)}}, saw(nil, one(schemas.SightingUnmanaged))}, schemas.EndedApproved, false, true},
		"unmanaged, its role deleted": {append(append([]schemas.Record{saw(one(schemas.SightingUnmanaged), nil)}, done("r", deletion)...), saw(nil, one(schemas.SightingUnmanaged))), schemas.EndedConnection, false, false},
		"missing":                     {append(done("r", grant, wanted), saw(one(schemas.SightingMissing), nil)), "", true, false},
		"missing, back by hand":       {append(done("r", grant, wanted), saw(one(schemas.SightingMissing), nil), saw(nil, one(schemas.SightingMissing))), schemas.EndedByHand, false, true},
		"missing, given by a run":     {append(append(append(done("r", grant, wanted), saw(one(schemas.SightingMissing), nil)), done("s", grant, wanted)...), saw(nil, one(schemas.SightingMissing))), schemas.EndedByOperation, false, true},
		"returned":                    {append(done("r", off, schemas.BaselineItem{Item: item, Token: "absent-expiry:x"}), saw(one(schemas.SightingReturned), nil)), "", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, c := temp(t)
			for _, r := range tt.records {
				appendTo(t, l, timed(c.Peek().Add(time.Minute), []schemas.Record{r})...)
			}
			rows, m := export(t, l, ExportOptions{})
			i := slices.IndexFunc(rows, func(r schemas.AuditRow) bool { return r.State == schemas.AuditObserved })
			if i < 0 {
				t.Fatalf("no row of what was seen: %+v", rows)
			}
			if r := rows[i]; r.EndedHow != tt.how || r.FirstSeenAt == nil || (r.EndedAt == nil) != tt.open {
				t.Errorf("first seen %v, ended %v %q; want %q", r.FirstSeenAt, r.EndedAt, r.EndedHow, tt.how)
			}
			if !slices.ContainsFunc(m.Exceptions, func(x schemas.AuditException) bool { return x.Kind == schemas.ExceptionByHand && x.Open == tt.open }) {
				t.Errorf("exceptions %+v; want one of a change by hand, open %v", m.Exceptions, tt.open)
			}
			list, err := AsOf(t.Context(), l, c.Peek(), "")
			if err != nil {
				t.Fatal(err)
			}
			live := slices.ContainsFunc(list.Entitlements, func(e schemas.AuditEntitlement) bool { return e.Target != nil && e.Target.SourceName == "dave" })
			if live != tt.live || len(list.Reads) != 1 {
				t.Errorf("in place: %v, want %v; reads %+v", live, tt.live, list.Reads)
			}
		})
	}
}

// Access that a read showed before its approval says so; whether access that was found in place came first, nobody knows.
func TestLiveBeforeApproval(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	o, p := operation("dave", schemas.OperationGrant, schemas.CauseRequest, doc("r.yaml", "b1")), operation("erin", schemas.OperationGrant, schemas.CauseRequest, doc("r.yaml", "b1"))
	appendTo(t, l, saw([]schemas.Sighting{{Kind: schemas.SightingUnmanaged, Item: itemOf(o.Key())}}, nil), reviewed("c1", time.Time{}, request("r.yaml", "b1", "r", "Quarterly dashboards")),
		schemas.Record{Type: schemas.RecordAdoption, Application: app, Baseline: []schemas.BaselineItem{present(o, false), present(p, false)}})
	rows, m := export(t, l, ExportOptions{})
	got := map[string][2]schemas.Truth{}
	for _, r := range rows {
		if r.State == schemas.AuditAdopted {
			got[r.Target] = [2]schemas.Truth{r.LiveBeforeApproval, r.ApprovedBeforeApplied}
		}
	}
	want := map[string][2]schemas.Truth{"user/dave": {schemas.True, schemas.False}, "user/erin": {schemas.Unknown, schemas.Unknown}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("adopted rows (-want +got):\n%s", diff)
	}
	if n := len(slices.DeleteFunc(m.Exceptions, func(x schemas.AuditException) bool { return x.Kind != schemas.ExceptionBefore })); n != 2 {
		t.Errorf("%d exceptions of access before approval, want 2", n)
	}
}

// An approver of content that an Admission admits is no independent one if the content is theirs, under any name.
func TestIndependentOfWhatAnAdmissionAdmits(t *testing.T) {
	t.Parallel()
	o := operation("dave", schemas.OperationGrant, schemas.CauseRequest, doc("r.yaml", "b1"))
	refused := func(author string) schemas.Record {
		r := reviewed("c1", time.Time{}, request("r.yaml", "b1", "r", "Quarterly dashboards"))
		r.Admission.Verdict, r.Admission.Evidence.Approvals, r.Admission.Evidence.Authors = verdictQuarantined, nil, []string{author}
		return r
	}
	admission := reviewed("c2", time.Time{})
	admission.Admission.Admits = []schemas.FileChange{{Path: "r.yaml", After: "b1"}}
	aliased := reviewed("c1", time.Time{}, request("r.yaml", "b1", "r", "Quarterly dashboards"))
	aliased.Admission.Evidence.Authors = []string{"bob@home.test"}
	aliased.Admission.Evidence.Persons = []schemas.PersonName{{Name: "bob@home.test", Person: "bob"}}
	for name, tt := range map[string]struct {
		records []schemas.Record
		want    schemas.Truth
	}{
		"somebody else's content":          {[]schemas.Record{refused("zoe"), admission}, schemas.True},
		"the approver's own content":       {[]schemas.Record{refused("bob"), admission}, schemas.False},
		"the approver under another name":  {[]schemas.Record{aliased}, schemas.False},
		"content that nobody has examined": {[]schemas.Record{{Type: schemas.RecordAdmission, Admission: &schemas.AdmissionRecord{Commit: "c1", Verdict: verdictQuarantined, Changes: []schemas.FileChange{{Path: "r.yaml", After: "b1"}}}}, admission}, schemas.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := temp(t)
			appendTo(t, l, append(slices.Clone(tt.records), done("r", o, present(o, true))...)...)
			rows, m := export(t, l, ExportOptions{})
			r := rows[len(rows)-1]
			if r.IndependentApprover != tt.want {
				t.Errorf("independent_approver is %s, want %s", r.IndependentApprover, tt.want)
			}
			later := slices.ContainsFunc(m.Exceptions, func(x schemas.AuditException) bool { return x.Kind == schemas.ExceptionLater })
			if want := len(tt.records) == 2; later != want {
				t.Errorf("an exception of content admitted later: %v, want %v", later, want)
			}
		})
	}
}

// An owner accepts an exception by a document, which closes it.
func TestAcceptedExceptions(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	dave := operation("dave", schemas.OperationGrant, "")
	appendTo(t, l, saw([]schemas.Sighting{{Kind: schemas.SightingUnmanaged, Item: itemOf(dave.Key())}}, nil))
	_, m := export(t, l, ExportOptions{})
	first := m.Exceptions[slices.IndexFunc(m.Exceptions, func(x schemas.AuditException) bool { return x.Kind == schemas.ExceptionByHand })]
	a := reviewed("c1", time.Time{})
	a.Admission.Accepts = []schemas.AcceptedException{{Exception: first.ID, Owner: "carol", Reason: "The migration needs it until May", Path: "requests/accept.yaml"}}
	appendTo(t, l, a)
	_, again := export(t, l, ExportOptions{})
	i := slices.IndexFunc(again.Exceptions, func(x schemas.AuditException) bool { return x.ID == first.ID })
	if i < 0 || again.Exceptions[i].Open || again.Exceptions[i].Accepted == nil || again.Exceptions[i].Accepted.Owner != "carol" || !slices.Equal(again.Exceptions[i].Accepted.By, []string{"bob"}) || again.Open != m.Open-1 {
		t.Errorf("exceptions %+v; want %s accepted by carol, approved by bob", again.Exceptions, first.ID)
	}
}

func TestIsReason(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"": false, " ": false, "....................": false, "----------": false, "aaaaaaaaaaaaaaaaaaaaaa": false, "xx xx xx": false, "n/a": false, "N/A n/a": false,
		"TODO": false, "test test test": false, "12345678901234567890": false, "see above": false, "access needed please": false, "because": false, "٫٫٫٫": false,
		"Quarterly dashboards": true, "Dave has another task now": true, "四半期の報告": true, "Onboarding": true, "DATA-412: für das Audit": true} {
		if got := IsReason(text); got != want {
			t.Errorf("IsReason(%q) = %v, want %v", text, got, want)
		}
	}
}
