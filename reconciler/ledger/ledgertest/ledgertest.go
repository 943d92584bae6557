// Package ledgertest makes records, and a clock, for tests of the ledger and of those that read it.
//
// It may import schemas.
package ledgertest

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/countersign/countersign/schemas"
)

// Clock advances by a minute at each reading.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns one that is at the morning of a Monday.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)} }

// Now moves the clock on and returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Minute)
	return c.now
}

// Set moves it.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// Peek returns the time of the last reading.
func (c *Clock) Peek() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Random returns bytes that are the same each time, for records whose hashes a test knows.
func Random() io.Reader { return rand.NewChaCha8([32]byte{}) }

// Application is the application of all records here.
const Application = "warehouse"

// Role names a role.
func Role(n string) schemas.Name { return schemas.Name{Type: "role", SourceName: n} }

// Doc names a document.
func Doc(path string, blob string) schemas.DocumentID {
	return schemas.DocumentID{Path: path, Blob: blob}
}

// Operation is an operation of the role sales; a grant or a revoke is of the membership of a user named as the operation.
func Operation(id string, kind schemas.OperationKind, cause schemas.Cause, docs ...schemas.DocumentID) schemas.Operation {
	o := schemas.Operation{ID: id, Kind: kind, Application: Application, Connection: Role("sales"), Cause: cause, Documents: docs}
	if kind == schemas.OperationGrant || kind == schemas.OperationRevoke {
		o.Target, o.Privilege = &schemas.Name{Type: "user", SourceName: id}, schemas.PrivilegeMember
	}
	return o
}

// RunRecord begins a run.
func RunRecord(run, version string) schemas.Record {
	return schemas.Record{Type: schemas.RecordRun, Run: run, Application: Application, RunInfo: &schemas.RunRecord{Version: version, Tip: "t", Operations: 2, Held: 1}}
}

// End ends a run.
func End(run, version string, counts map[string]int) schemas.Record {
	return schemas.Record{Type: schemas.RecordRunEnd, Run: run, Application: Application, RunInfo: &schemas.RunRecord{Version: version, Counts: counts}}
}

// Intent is the intent to carry operations out.
func Intent(run string, ops ...schemas.Operation) schemas.Record {
	return schemas.Record{Type: schemas.RecordIntent, Run: run, Application: Application, Planned: ops}
}

// Held are operations that a run holds.
func Held(run string, hold schemas.Hold, ops ...schemas.Operation) schemas.Record {
	for i := range ops {
		ops[i].Hold = hold
	}
	return schemas.Record{Type: schemas.RecordHeld, Run: run, Application: Application, Planned: ops}
}

// Outcome is how an operation ended.
func Outcome(run string, o schemas.Operation, status schemas.OutcomeStatus) schemas.Record {
	r := schemas.Record{Type: schemas.RecordOutcome, Run: run, Application: Application, Operation: &o, Outcome: &schemas.OutcomeRecord{Operation: o.ID, Status: status, Attempts: 1}}
	if status == "failed" {
		r.Outcome.Error = "it broke"
	}
	return r
}

// Verified is the read-back of an operation.
func Verified(run string, o schemas.Operation, status schemas.VerificationState, items ...schemas.BaselineItem) schemas.Record {
	return schemas.Record{Type: schemas.RecordVerification, Run: run, Application: Application, Operation: &o, Verification: &schemas.VerificationRecord{Operation: o.ID, Status: status}, Baseline: items}
}

// Verdict is the verdict on a commit.
func Verdict(commit string, verdict schemas.AdmissionVerdict, changes ...schemas.FileChange) schemas.Record {
	return schemas.Record{Type: schemas.RecordAdmission, Admission: &schemas.AdmissionRecord{Commit: commit, Verdict: verdict, Changes: changes}}
}

// Asking is an intent to ask somebody outside.
func Asking(run, submission string, round int, ops ...schemas.Operation) schemas.Record {
	r := Intent(run, ops...)
	for _, o := range ops {
		r.Fulfilments = append(r.Fulfilments, schemas.FulfilmentRecord{Operation: o.ID, Submission: submission + o.ID, Round: round, Via: schemas.ProvisioningWebhook, Token: "present:1"})
	}
	return r
}

// Word is an outcome of an asking.
func Word(o schemas.Operation, submission string, status schemas.OutcomeStatus, method schemas.FulfilmentMethod) schemas.Record {
	r := Outcome("r", o, status)
	r.Outcome.Fulfilment = &schemas.FulfilmentRecord{Operation: o.ID, Submission: submission + o.ID, Via: schemas.ProvisioningWebhook, Method: method, To: "it.acme.test", By: "svc"}
	return r
}

// Note is a record that means nothing.
func Note(text string) schemas.Record {
	return schemas.Record{Type: schemas.RecordAcknowledged, Application: "warehouse", Note: text}
}

func Outcomes(n int) []schemas.Record {
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	out := make([]schemas.Record, n)
	for i := range out {
		id := fmt.Sprintf("%016x", i)
		out[i] = schemas.Record{Type: schemas.RecordOutcome, Run: "run-1", Application: "warehouse",
			Operation: &schemas.Operation{ID: id, Kind: schemas.OperationGrant, Application: "warehouse",
				Connection: schemas.Name{Type: "role", SourceName: fmt.Sprintf("sales_%d", i%300)}, NativeID: "16400",
				Target: &schemas.Name{Type: "user", SourceName: fmt.Sprintf("person_%d", i)}, Privilege: schemas.PrivilegeMember, Cause: schemas.CauseRequest,
				Documents: []schemas.DocumentID{{Path: fmt.Sprintf("requests/2026/11/23/r%d.yaml", i/50), Blob: "0123456789abcdef0123456789abcdef01234567"}}},
			Outcome: &schemas.OutcomeRecord{Operation: id, Status: schemas.OutcomeApplied, Attempts: 1, Started: at, Finished: at}}
	}
	return out
}

// BenchmarkAppend appends 60,000 outcomes in batches of 1,000.
// LargeRun are the records of a run with n operations, in batches for one Append each.
func LargeRun(n int) [][]schemas.Record {
	var out [][]schemas.Record
	records := Outcomes(n)
	for i := 0; i < n; i += 1000 {
		var planned []schemas.Operation
		var seen []schemas.Record
		part := records[i:min(i+1000, n)]
		for _, r := range part {
			planned = append(planned, *r.Operation)
			seen = append(seen, schemas.Record{Type: schemas.RecordVerification, Run: r.Run, Application: r.Application, Operation: r.Operation, Verification: &schemas.VerificationRecord{Operation: r.Operation.ID, Status: schemas.VerificationVerified}})
		}
		out = append(out, []schemas.Record{{Type: schemas.RecordIntent, Run: "run-1", Application: "warehouse", Planned: planned}}, part, seen)
	}
	return out
}
