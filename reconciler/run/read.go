package run

import (
	"context"
	"errors"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// Reading is an application's live state, with its desired state.
type Reading struct {
	Description schemas.Description
	State       schemas.State
	Desired     *plan.Desired
	// Attested means that nothing can read the application: the state holds the operations reported as done.
	Attested bool
}

// Read reads an application without changing it.
func (r *Runner) Read(ctx context.Context, l *ledger.Ledger, app *schemas.Application, docs []*plan.Document) (_ *Reading, err error) {
	live, err := r.openLive(ctx, app, l)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, live.reader.Close()) }()
	desired := plan.Fold(docs, live.description, r.now())
	if err := live.readFrom(ctx, desired, true); err != nil {
		return nil, err
	}
	out := &Reading{Description: live.description, State: live.state, Desired: desired}
	if live.attested != nil {
		remembered, err := Baseline(ctx, l, app.Name)
		if err != nil {
			return nil, err
		}
		out.State, out.Attested = live.attested.State(desired, remembered), true
	}
	return out, nil
}
