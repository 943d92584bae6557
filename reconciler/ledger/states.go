package ledger

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/countersign/countersign/schemas"
)

// State is a request's state by the records, on three independent axes.
type State struct {
	Approval     schemas.ApprovalState     `json:"approval"`
	Provisioning schemas.ProvisioningState `json:"provisioning"`
	Verification schemas.VerificationState `json:"verification"`
	// Error is that of one of the operations that failed.
	Error string `json:"error,omitempty"`
}

// Key names a document without its content.
type Key struct {
	Path  string
	Index int
}

// States returns the states of the documents, or of all that operations follow from when none is given. With
// a blob, Approval is that of this content; without one, that of the file as it was last admitted.
func (l *Ledger) States(ctx context.Context, documents ...schemas.DocumentID) (map[Key]State, error) {
	out := make(map[Key]State, len(documents))
	blobs := map[Key]string{}
	for _, d := range documents {
		k := Key{d.Path, d.Index}
		blobs[k] = d.Blob
		out[k] = State{Approval: schemas.ApprovalPending, Provisioning: schemas.ProvisioningNone, Verification: schemas.VerificationNone}
	}
	if l.db == nil {
		return out, nil
	}
	sums := map[Key]*tally{}
	paths := map[string][]approval{}
	one := ""
	if len(documents) == 1 {
		one = documents[0].Path
	}
	err := l.snapshot(ctx, func(q querier) error {
		if err := l.tallies(ctx, q, one, sums); err != nil {
			return err
		}
		return approvals(ctx, q, one, paths)
	})
	if err != nil {
		return nil, fmt.Errorf("read the states of requests: %w", err)
	}
	if len(documents) == 0 {
		for k := range sums {
			out[k] = State{}
		}
	}
	for k, s := range out {
		s.Approval = approvalOf(paths[k.Path], blobs[k])
		if t := sums[k]; t != nil {
			s.Provisioning, s.Verification, s.Error = t.provisioning(), t.verification(), t.failure
		}
		out[k] = s
	}
	return out, nil
}

// tally counts the operations of a document.
type tally struct {
	operations              int
	outcomes, verifications map[string]int
	held, drifted, overdue  int
	// waiting counts operations for somebody outside that nobody has been asked for yet.
	waiting int
	failure string
}

func (l *Ledger) tallies(ctx context.Context, q querier, path string, sums map[Key]*tally) error {
	of := func(k Key) *tally {
		t := sums[k]
		if t == nil {
			t = &tally{outcomes: map[string]int{}, verifications: map[string]int{}}
			sums[k] = t
		}
		return t
	}
	only, args := "", []any{}
	if path != "" {
		only, args = " WHERE path = ?", []any{path}
	}
	asked := `(SELECT state FROM fulfilments f WHERE f.application = o.application AND f.operation = o.operation)`
	if l.derived == unfulfilled {
		asked = "NULL"
	}
	err := rows(ctx, q, `SELECT path, idx, cause, outcome, verification, error, coalesce(`+asked+`, '') FROM operations o`+only, args, func(s *sql.Rows) error {
		var k Key
		var cause, outcome, verification, failure, asked string
		if err := s.Scan(&k.Path, &k.Index, &cause, &outcome, &verification, &failure, &asked); err != nil {
			return err
		}
		if outcome == statusPending && verification == statusVerified && asked == "" {
			outcome = statusApplied // the run ended before the outcome was on record, and a read-back shows the effect
		}
		t := of(k)
		t.operations++
		t.outcomes[outcome]++
		t.verifications[verification]++
		if failure != "" {
			t.failure = failure
		}
		// An operation that somebody outside is working on is not drift.
		if cause == string(schemas.CauseDrift) && verification != statusVerified && verification != statusAttested && !isOpen(asked) {
			t.drifted++
		}
		return nil
	})
	if err != nil {
		return err
	}
	return rows(ctx, q, `SELECT path, idx, cause, hold, EXISTS (SELECT 1 FROM operations o WHERE o.path = h.path AND o.idx = h.idx AND o.application = h.application AND o.operation = h.operation)
FROM held h`+only, args, func(s *sql.Rows) error {
		var k Key
		var cause, hold string
		var begun bool
		if err := s.Scan(&k.Path, &k.Index, &cause, &hold, &begun); err != nil {
			return err
		}
		t := of(k)
		switch {
		case begun && (hold == string(schemas.HoldPending) || hold == string(schemas.HoldDeclined)):
			// Its row above has its progress.
		case hold == string(schemas.HoldPending):
			t.waiting++
		case cause == string(schemas.CauseDrift):
			t.drifted++
		case cause == string(schemas.CauseExpiry):
			t.overdue++
		default:
			t.held++
		}
		return nil
	})
}

func (t *tally) provisioning() schemas.ProvisioningState {
	applied, withdrawn := t.outcomes[statusApplied], t.outcomes[statusWithdrawn]
	operations := t.operations - withdrawn
	switch {
	case operations == 0 && t.held == 0 && t.waiting == 0:
		if withdrawn > 0 {
			return schemas.ProvisioningWithdrawn
		}
		return schemas.ProvisioningNone
	case applied == operations && t.held == 0 && t.waiting == 0:
		return schemas.ProvisioningApplied
	case applied > 0:
		return schemas.ProvisioningPartial
	case t.outcomes[statusFailed]+t.outcomes[statusCancelled] > 0:
		return schemas.ProvisioningFailed
	case t.outcomes[statusBlocked] > 0:
		return schemas.ProvisioningBlocked
	case operations > 0 || t.waiting > 0:
		return schemas.ProvisioningPending
	}
	return schemas.ProvisioningHeld
}

func (t *tally) verification() schemas.VerificationState {
	attested := t.verifications[statusAttested]
	verified := t.verifications[statusVerified] + attested
	operations := t.operations - t.outcomes[statusWithdrawn]
	switch {
	case t.overdue > 0:
		return schemas.VerificationOverdue
	case t.drifted > 0:
		return schemas.VerificationDrifted
	case operations == 0 && t.waiting > 0:
		return schemas.VerificationPending
	case operations == 0:
		return schemas.VerificationNone
	case verified == operations && t.held == 0 && t.waiting == 0 && attested > 0:
		return schemas.VerificationAttested
	case verified == operations && t.held == 0 && t.waiting == 0:
		return schemas.VerificationVerified
	case verified > 0:
		return schemas.VerificationPartial
	case t.verifications[statusDiffers] > 0:
		return schemas.VerificationDiffers
	case t.verifications[statusUnverifiable] > 0:
		return schemas.VerificationUnverifiable
	}
	return schemas.VerificationPending
}

type approval struct {
	blob     string
	admitted bool
}

// approvals reads the verdicts on files, in order.
func approvals(ctx context.Context, q querier, path string, into map[string][]approval) error {
	only, args := "", []any{}
	if path != "" {
		only, args = " WHERE path = ?", []any{path}
	}
	return rows(ctx, q, `SELECT path, blob, admitted FROM approvals`+only+` ORDER BY path, sequence, admitted`, args, func(s *sql.Rows) error {
		var p string
		var a approval
		if err := s.Scan(&p, &a.blob, &a.admitted); err != nil {
			return err
		}
		into[p] = append(into[p], a)
		return nil
	})
}

// approvalOf is the state of a file's content, or of the file when no content is given.
func approvalOf(verdicts []approval, blob string) schemas.ApprovalState {
	present, ever, quarantined := "", false, false
	for _, a := range verdicts {
		switch {
		case a.admitted:
			present = a.blob
			ever = ever || blob == "" && a.blob != "" || blob != "" && a.blob == blob
		case blob == "" || a.blob == blob:
			quarantined = true
		}
	}
	switch {
	case ever && present != "" && (blob == "" || present == blob):
		return schemas.ApprovalAdmitted
	case ever:
		return schemas.ApprovalUndone
	case quarantined:
		return schemas.ApprovalQuarantined
	}
	return schemas.ApprovalPending
}

// OperationState is the state of one operation of a document by its last intent, outcome and read-back.
type OperationState struct {
	Index       int    `json:"index"` // the document's, in the file
	Application string `json:"application"`
	Operation   string `json:"operation"`
	// Run is that of the last intent or outcome.
	Run          string                    `json:"run"`
	Cause        schemas.Cause             `json:"cause"`
	Outcome      string                    `json:"outcome"`      // pending, applied, failed, blocked or cancelled
	Verification schemas.VerificationState `json:"verification"` // pending, verified, differs or unverifiable
	Error        string                    `json:"error,omitempty"`
}

// ByDocument returns the operations that follow from the documents of a file, sorted by document,
// application and operation.
func (l *Ledger) ByDocument(ctx context.Context, path string) ([]OperationState, error) {
	out := []OperationState{}
	if l.db == nil {
		return out, nil
	}
	err := rows(ctx, l.db, `SELECT idx, application, operation, run, cause, outcome, verification, error FROM operations WHERE path = ? ORDER BY idx, application, operation`,
		[]any{path}, func(s *sql.Rows) error {
			var o OperationState
			if err := s.Scan(&o.Index, &o.Application, &o.Operation, &o.Run, &o.Cause, &o.Outcome, &o.Verification, &o.Error); err != nil {
				return err
			}
			out = append(out, o)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("read the operations of %s: %w", path, err)
	}
	return out, nil
}
