package fulfilment

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
)

// Answer reports the result of an operation that somebody outside was asked for.
type Answer struct {
	// Application may be "" where the operation is known in one alone.
	Application, Operation string
	// Submission is the asking that it is about; "" is the last one.
	Submission string
	// Status is applied, failed or pending.
	Status, Message string
	// By names the sender, Method the way (callback or operator); Authenticated means that a signature vouches for it.
	By, Method    string
	Authenticated bool
}

// Check refuses an unknown status.
func (a Answer) Check() error {
	if a.Status != schemas.FulfilmentApplied && a.Status != schemas.FulfilmentFailed && a.Status != schemas.FulfilmentPending {
		return fmt.Errorf("status: unknown value %q (expected applied, failed or pending)", a.Status)
	}
	return nil
}

var (
	// ErrNotAsked means that nobody was asked for the operation, or not under this id.
	ErrNotAsked = errors.New("nobody was asked for this operation")
	// ErrAnswered means that another answer about the operation is on record.
	ErrAnswered = errors.New("this operation has a different answer already")
)

// RecordAnswer records that an operation which a webhook was asked for was reported as done or failed. The report is not
// proof: the next run reads the application. It is idempotent, and may be called while a pass is under way.
func RecordAnswer(ctx context.Context, l *ledger.Ledger, a Answer, now time.Time) (*schemas.FulfilReport, error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	found, err := l.Fulfilment(ctx, a.Application, a.Operation)
	if err != nil {
		return nil, err
	}
	switch {
	case len(found) == 0:
		return nil, ErrNotAsked
	case len(found) > 1:
		return nil, fmt.Errorf("several applications have an operation %s: pass the application", a.Operation)
	}
	f := &found[0]
	switch {
	case f.Via != schemas.ProvisioningWebhook:
		return nil, fmt.Errorf("%w by webhook: it is in the ticket %s, and is done when the ticket is closed", ErrNotAsked, f.To)
	case a.Submission != "" && a.Submission != f.Submission:
		return nil, fmt.Errorf("%w under this id; it was asked for again since", ErrNotAsked)
	}
	report := &schemas.FulfilReport{APIVersion: schemas.APIVersion, Kind: "Fulfil", Application: f.Application, Operation: f.Operation, Status: a.Status, By: Plain(a.By), At: now}
	switch f.State {
	case schemas.FulfilmentSubmitting, schemas.FulfilmentPending:
		if a.Status == schemas.FulfilmentPending {
			return report, nil
		}
	case schemas.FulfilmentWithdrawn:
		if a.Status != schemas.FulfilmentApplied {
			return report, nil
		}
		// Too late to stop: the effect is there, and must be taken back.
	case schemas.FulfilmentFailed:
		if a.Status != schemas.FulfilmentFailed {
			return nil, fmt.Errorf("%w: failed. It is asked for again, under another id", ErrAnswered)
		}
		return report, nil
	default:
		if a.Status == schemas.FulfilmentFailed {
			return nil, fmt.Errorf("%w: done", ErrAnswered)
		}
		return report, nil
	}
	out := OutcomeOf(f, schemas.OutcomeStatus(a.Status), a.Method, report.At)
	out.Fulfilment.By, out.Fulfilment.Message, out.Fulfilment.Authenticated = report.By, Plain(a.Message), a.Authenticated
	if a.Status == schemas.FulfilmentFailed {
		out.Error, out.Code = strings.TrimSpace("reported as failed: "+out.Fulfilment.Message), CodeDeclined
	}
	op := f.Plan
	_, err = l.Append(ctx, schemas.Record{Type: schemas.RecordOutcome, Run: f.Run, Application: f.Application, Operation: &op, Outcome: &out})
	report.Recorded = err == nil
	return report, err
}
