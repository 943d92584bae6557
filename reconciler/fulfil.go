package reconciler

import (
	"context"
	"errors"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/run/fulfilment"
	"github.com/countersign/countersign/schemas"
)

// Answer reports the result of an operation that somebody outside was asked for.
type Answer = fulfilment.Answer

var (
	// ErrNotAsked means that nobody was asked for the operation, or not under this id.
	ErrNotAsked = fulfilment.ErrNotAsked
	// ErrAnswered means that another answer about the operation is on record.
	ErrAnswered = fulfilment.ErrAnswered
)

// Fulfil records that an operation which a webhook was asked for was reported as done or failed. The report is not
// proof: the next run reads the application. It is idempotent. It may be called
// while a pass is under way, unless a Replica keeps the ledger.
func (r *Reconciler) Fulfil(ctx context.Context, a Answer) (_ *schemas.FulfilReport, err error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	ctx, release, err := r.alone(ctx, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	l, err := r.openLedger(ctx, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	report, err := fulfilment.RecordAnswer(ctx, l, a, r.now())
	if err != nil {
		return nil, err
	}
	return report, r.leave(context.WithoutCancel(ctx), l)
}

// Secret resolves one reference to a secret. The errors name the reference, never its value.
func (r *Reconciler) Secret(ref schemas.SecretReference) (connectors.Secret, error) {
	return r.config.Secrets.Secret(ref)
}
