package run

import (
	"context"
	"fmt"
	"strings"

	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// rejudgement are the operations that follow from changes which were judged again after the ledger was lost. Memberships,
// teams and reviews aren't as they were then, so a judgement of today neither grants nor removes anything by itself.
type rejudgement struct {
	operations []*schemas.Operation
	reason     string
	// note is of the Acknowledgement that releases them in this run; "" for none.
	note string
}

// hold holds the operations that nobody acknowledged.
func (r rejudgement) hold(p *schemas.ApplicationPlan) {
	if r.note != "" || len(r.operations) == 0 {
		return
	}
	for _, o := range r.operations {
		o.Hold, o.HoldReason, o.HoldExplained = schemas.HoldRejudged, r.reason, true
	}
	hold.Dependents(p)
}

const rejudgedNote = "judged again: "

// rejudged finds the operations of a re-judgement, and the admitted Acknowledgement that names them by their digest. One
// releases an application for good, and counts for one loss of the ledger.
func (a *application) rejudged(ctx context.Context) (rejudgement, error) {
	restart, err := a.base.Ledger.Restarted(ctx)
	if err != nil || restart == nil {
		return rejudgement{}, err
	}
	used, err := a.usedAcknowledgements(ctx, a.app.Name)
	if err != nil {
		return rejudgement{}, err
	}
	for note := range used {
		if strings.HasPrefix(note, rejudgedNote+restart.Commit+" ") {
			return rejudgement{}, nil
		}
	}
	var out rejudgement
	var list []schemas.Operation
	for i := range a.outcome.Plan.Operations {
		o := &a.outcome.Plan.Operations[i]
		fresh, err := a.judgedSince(ctx, o, restart)
		if err != nil {
			return out, err
		}
		if !fresh {
			out.operations, list = append(out.operations, o), append(list, *o)
		}
	}
	if len(list) == 0 {
		return out, nil
	}
	digest, err := plan.Digest([]schemas.ApplicationPlan{{Application: a.app.Name, Operations: list}})
	if err != nil {
		return out, err
	}
	want := schemas.RejudgedOperations{Application: a.app.Name, Commit: restart.Commit, Digest: digest}
	out.reason = fmt.Sprintf("the ledger was lost, and what asks for it was judged again: an owner of the settings signs off an Acknowledgement with "+
		"rejudged: {application: %s, commit: %q, digest: %q}", want.Application, want.Commit, want.Digest)
	for _, c := range a.base.Controls {
		if c.Acknowledgement == nil || c.Acknowledgement.Rejudged == nil || *c.Acknowledgement.Rejudged != want {
			continue
		}
		f, err := a.base.Documents.File(ctx, c.ID.Path)
		if err != nil {
			return out, err
		}
		if f == nil {
			continue
		}
		v, err := a.verdictOn(ctx, f.Commit)
		if err != nil {
			return out, err
		}
		// One from before the loss is judged again itself.
		if v != nil && v.Sequence > restart.CommitSequence {
			out.note = fmt.Sprintf("%s%s %s#%d@%s", rejudgedNote, restart.Commit, c.ID.Path, c.ID.Index, c.ID.Blob)
		}
	}
	return out, nil
}

// judgedSince reports whether all that an operation follows from was admitted after the ledger began again.
func (a *application) judgedSince(ctx context.Context, o *schemas.Operation, restart *schemas.RestartRecord) (bool, error) {
	for _, d := range o.Documents {
		f, err := a.base.Documents.File(ctx, d.Path)
		if err != nil {
			return false, err
		}
		if f == nil {
			return false, nil
		}
		v, err := a.verdictOn(ctx, f.Commit)
		if err != nil {
			return false, err
		}
		if v == nil || v.Sequence <= restart.CommitSequence {
			return false, nil
		}
	}
	return len(o.Documents) > 0, nil
}
