package ledger

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/schemas"
)

// TestFulfilmentStates is how an operation that somebody outside was asked for stands after each record, in its own
// state and on the request's axes.
func TestFulfilmentStates(t *testing.T) {
	t.Parallel()
	d := doc("r.yaml", "b1")
	a, b := operation("a", schemas.OperationGrant, schemas.CauseRequest, d), operation("b", schemas.OperationGrant, schemas.CauseRequest, d)
	drift := operation("a", schemas.OperationGrant, schemas.CauseDrift, d)
	admitted := verdict("c1", verdictAdmitted, schemas.FileChange{Path: "r.yaml", After: "b1"})
	begun := []schemas.Record{admitted, runRecord("r", "v"), asking("r", "s1", 0, a)}
	with := func(more ...schemas.Record) []schemas.Record { return append(slices.Clone(begun), more...) }
	const delivery, answer, callback, read, ticket, planned = schemas.FulfilledByDelivery, schemas.FulfilledByAnswer, schemas.FulfilledByCallback, schemas.FulfilledByRead, schemas.FulfilledByTicket, schemas.FulfilledByPlan
	pending := word(a, "s1", statusPending, answer)
	for name, tt := range map[string]struct {
		records      []schemas.Record
		state        string
		provisioning string
		verification string
	}{
		"asked":                    {begun, "submitting", "pending", "pending"},
		"not delivered":            {with(word(a, "s1", statusFailed, delivery)), "submitting", "failed", "pending"},
		"accepted":                 {with(pending), "pending", "pending", "pending"},
		"accepted, and waits":      {with(pending, runRecord("r2", "v"), held("r2", schemas.HoldPending, a)), "pending", "pending", "pending"},
		"said":                     {with(pending, word(a, "s1", statusApplied, callback)), "applied", "applied", "pending"},
		"said before the answer":   {with(word(a, "s1", statusApplied, callback), pending), "applied", "applied", "pending"},
		"said of another asking":   {with(pending, word(a, "s0", statusApplied, callback)), "pending", "pending", "pending"},
		"said, not seen yet":       {with(word(a, "s1", statusApplied, answer), verified("r", a, statusPending)), "applied", "applied", "pending"},
		"said, not seen":           {with(word(a, "s1", statusApplied, answer), verified("r", a, statusDiffers)), "differs", "applied", "differs"},
		"asked again":              {with(word(a, "s1", statusApplied, answer), verified("r", a, statusDiffers), asking("r2", "s2", 1, a)), "submitting", "pending", "pending"},
		"an old word":              {with(word(a, "s1", statusFailed, answer), asking("r2", "s2", 1, a), word(a, "s1", statusApplied, callback)), "submitting", "pending", "pending"},
		"seen":                     {with(pending, word(a, "s1", statusApplied, read), verified("r", a, statusVerified)), "verified", "applied", "verified"},
		"attested":                 {with(pending, word(a, "s1", statusApplied, callback), verified("r", a, statusAttested)), "attested", "applied", "attested"},
		"one of two attested":      {with(asking("r", "s1", 0, b), word(a, "s1", statusApplied, callback), verified("r", a, statusAttested)), "attested", "partial", "partial"},
		"failed":                   {with(pending, word(a, "s1", statusFailed, callback)), "failed", "failed", "pending"},
		"failed, and held":         {with(pending, word(a, "s1", statusFailed, callback), runRecord("r2", "v"), held("r2", schemas.HoldDeclined, a)), "failed", "failed", "pending"},
		"reopened":                 {with(pending, word(a, "s1", statusFailed, ticket), word(a, "s1", statusPending, ticket)), "pending", "pending", "pending"},
		"withdrawn":                {with(pending, word(a, "s1", statusWithdrawn, planned)), "withdrawn", "withdrawn", "none"},
		"withdrawn, done too late": {with(pending, word(a, "s1", statusWithdrawn, planned), word(a, "s1", statusApplied, callback)), "applied", "applied", "pending"},
		"another waits for it":     {with(pending, held("r", schemas.HoldPending, b)), "pending", "pending", "pending"},
		"only waits":               {[]schemas.Record{admitted, runRecord("r", "v"), held("r", schemas.HoldPending, b)}, "", "pending", "pending"},
		"drift being mended":       {[]schemas.Record{admitted, runRecord("r", "v"), asking("r", "s1", 0, drift), word(drift, "s1", statusPending, answer)}, "pending", "pending", "pending"},
		"drift that waits":         {with(pending, verified("r", a, statusVerified), runRecord("r2", "v"), asking("r2", "s2", 1, drift), runRecord("r3", "v"), held("r3", schemas.HoldPending, drift)), "submitting", "pending", "pending"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := temp(t)
			appendTo(t, l, tt.records...)
			got, err := l.States(t.Context(), d)
			if err != nil {
				t.Fatal(err)
			}
			if s := got[Key{"r.yaml", 0}]; string(s.Provisioning) != tt.provisioning || string(s.Verification) != tt.verification {
				t.Errorf("the request is %s and %s, want %s and %s", s.Provisioning, s.Verification, tt.provisioning, tt.verification)
			}
			list, err := l.Fulfilment(t.Context(), app, "a")
			if err != nil {
				t.Fatal(err)
			}
			state := ""
			if len(list) == 1 {
				state = list[0].State
			}
			if state != tt.state {
				t.Errorf("the asking is %q, want %q", state, tt.state)
			}
			// Nothing of it is for a run that was cut short to settle.
			if open, err := l.Unsettled(t.Context(), app); err != nil || len(open) > 0 {
				t.Errorf("unsettled are %v, %v", open, err)
			}
			holds(t, l)
		})
	}
}

// TestFulfilmentRemovals counts a removal once, when it is said to be done or when it is seen, whichever comes first.
func TestFulfilmentRemovals(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	o := operation("a", schemas.OperationRevoke, schemas.CauseUnmanaged)
	appendTo(t, l, runRecord("r", "v"), asking("r", "s1", 0, o), word(o, "s1", statusPending, schemas.FulfilledByAnswer))
	want := func(n int) {
		t.Helper()
		if c, err := l.Removals(t.Context(), app, l.config.nowUTC().Add(-24*60*60*1e9)); err != nil || c.Members != n {
			t.Errorf("%d removals, %v; want %d", c.Members, err, n)
		}
	}
	want(0)
	appendTo(t, l, word(o, "s1", statusApplied, schemas.FulfilledByCallback))
	want(1)
	appendTo(t, l, verified("r", o, statusVerified))
	want(1)
	appendTo(t, l, asking("r2", "s2", 1, o), word(o, "s2", statusApplied, schemas.FulfilledByAnswer))
	want(2)
	holds(t, l)
}

// TestAttestations replays what was said to be done, in order.
func TestAttestations(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	a, b := operation("a", schemas.OperationGrant, schemas.CauseRequest), operation("b", schemas.OperationGrant, schemas.CauseRequest)
	appendTo(t, l, runRecord("r", "v"), asking("r", "s1", 0, a, b), word(b, "s1", statusApplied, schemas.FulfilledByCallback), word(a, "s1", statusPending, schemas.FulfilledByAnswer),
		word(a, "s1", statusApplied, schemas.FulfilledByOperator), outcome("r", a, statusApplied))
	var got []string
	err := l.Attestations(t.Context(), app, func(o *schemas.Operation, f *schemas.FulfilmentRecord, _ time.Time) {
		got = append(got, o.ID+" "+f.Method)
	})
	if diff := cmp.Diff([]string{"b callback", "a operator"}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// TestOldLedger opens one of a version that asked nobody: for reading as it is, for writing brought up to date.
func TestOldLedger(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	path := l.config.Path
	d := doc("r.yaml", "b1")
	o := operation("a", schemas.OperationGrant, schemas.CauseRequest, d)
	appendTo(t, l, verdict("c1", verdictAdmitted, schemas.FileChange{Path: "r.yaml", After: "b1"}), runRecord("r", "v"), intent("r", o), outcome("r", o, statusApplied), verified("r", o, statusVerified))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	raw(t, path, "UPDATE derived SET version = 1; DROP TABLE fulfilments")
	for _, readOnly := range []bool{true, false, true} {
		l, err := Open(t.Context(), Config{Path: path, ReadOnly: readOnly})
		if err != nil {
			t.Fatal(err)
		}
		got, err := l.States(t.Context(), d)
		if s := got[Key{"r.yaml", 0}]; err != nil || s.Verification != schemas.VerificationVerified {
			t.Errorf("read-only %v: %+v, %v", readOnly, s, err)
		}
		if list, err := l.Fulfilments(t.Context(), ""); err != nil || len(list) > 0 {
			t.Errorf("read-only %v: %v, %v", readOnly, list, err)
		}
		holds(t, l)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestIntentsNeedAFulfilmentEach(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	r := asking("r", "s1", 0, operation("a", schemas.OperationGrant, schemas.CauseRequest), operation("b", schemas.OperationGrant, schemas.CauseRequest))
	r.Fulfilments = r.Fulfilments[:1]
	if _, err := l.Append(t.Context(), r); err == nil {
		t.Error("an intent for two operations with one fulfilment was taken")
	}
}
