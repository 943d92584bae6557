package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/reconciler/run/fulfilment"
	"github.com/countersign/countersign/schemas"
)

// fulfilments are the operations of one application that somebody outside was asked for, and their progress in this run.
type fulfilments struct {
	*fulfilment.Review
	// findings from reading tickets, before the plan was made.
	findings []schemas.Finding
	tickets  Tickets
	sources  map[schemas.DocumentID]source
}

// readFulfilments reads the operations asked for and the answers on tickets.
func (a *application) readFulfilments(ctx context.Context) error {
	a.fulfilments = &fulfilments{Review: &fulfilment.Review{Gone: map[string]bool{}}, sources: map[schemas.DocumentID]source{}}
	if err := a.loadFulfilments(ctx); err != nil {
		return err
	}
	if a.options.ReadOnly {
		return nil
	}
	return a.readTickets(ctx)
}

func (a *application) loadFulfilments(ctx context.Context) error {
	list, err := a.base.Ledger.Fulfilments(ctx, a.app.Name)
	if err != nil {
		return err
	}
	a.fulfilments.Asked = make(map[string]ledger.Fulfilment, len(list))
	for _, f := range list {
		a.fulfilments.Asked[f.Operation] = f
	}
	return nil
}

// classifyFulfilments sorts the operations asked for by the result of the read.
func (a *application) classifyFulfilments() {
	p := &a.outcome.Plan
	unknown := p.Incomplete != "" || a.result.Shrunken
	seen := func(f *ledger.Fulfilment) bool {
		// For an application that nobody can read, the answer itself is the evidence.
		return plan.Seen(&f.Plan, a.live.state) && (a.live.attested == nil || f.State == schemas.FulfilmentApplied)
	}
	a.fulfilments.Review = fulfilment.Classify(a.app, a.fulfilments.Asked, a.fulfilments.Gone, seen, p, unknown, a.input.Now)
	p.Findings = append(p.Findings, a.fulfilments.findings...)
	for _, id := range a.fulfilments.Differing {
		f := a.fulfilments.Asked[id]
		p.Findings = append(p.Findings, schemas.Finding{Code: "said-not-seen", Severity: schemas.SeverityError, Application: a.app.Name, Connection: f.Plan.Connection, Document: fulfilment.LastDocument(&f.Plan),
			Message: fmt.Sprintf("%s: reported as done (%s, %s), not found in the application", fulfilment.Words(&f.Plan, a.live.description), fulfilment.Where(&f), fulfilment.Timestamp(f.Changed)),
			Fix:     "it is asked for again; check that they change the application that is read, not another one"})
	}
}

// recordOutcome records the state of an asking, with the record that reported it.
func (a *application) recordOutcome(ctx context.Context, f *ledger.Fulfilment, out schemas.OutcomeRecord, run string) error {
	op := f.Plan
	rec := schemas.Record{Type: schemas.RecordOutcome, Run: run, Application: a.app.Name, Operation: &op, Outcome: &out}
	if _, err := a.base.Ledger.Append(context.WithoutCancel(ctx), rec); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	if out.Status == schemas.FulfilmentApplied && a.live != nil && a.live.attested != nil {
		a.live.attested.Add(&op, a.now())
	}
	return nil
}

// recordSeen records operations whose effect the read shows: they are verified, whatever was answered.
func (a *application) recordSeen(ctx context.Context, ours map[string]bool) error {
	settled := map[string]schemas.BaselineItem{}
	for _, s := range a.result.Settled {
		settled[s.Item] = s
	}
	tickets := map[string]bool{}
	for _, id := range a.fulfilments.Seen {
		f := a.fulfilments.Asked[id]
		if f.State != schemas.FulfilmentApplied {
			out := fulfilment.OutcomeOf(&f, schemas.FulfilmentApplied, schemas.FulfilledByRead, a.now())
			out.Fulfilment.Message = "the application shows it"
			if err := a.recordOutcome(ctx, &f, out, a.id); err != nil {
				return err
			}
		}
		op := f.Plan
		v := schemas.VerificationRecord{Operation: id, Status: a.verified(), Before: op.Before, After: op.After}
		rec := schemas.Record{Type: schemas.RecordVerification, Operation: &op, Verification: &v}
		items := []string{plan.OperationItem(&op)}
		if op.Kind == schemas.OperationCreate {
			items = append(items, plan.PayloadItem(op.Connection))
		}
		for i, item := range items {
			s, ok := settled[item]
			if b, known := a.remembered(item); !ok && i == 0 && !op.Removes() && (!known || !strings.HasPrefix(b.Token, "present")) {
				// It is no longer wanted and was made all the same: the operation that takes it back must know that it is ours.
				s, ok = schemas.BaselineItem{Item: item, Token: f.Token}, true
				a.lookAgain = a.now().Add(time.Minute)
			}
			if ok {
				s.Made = true
				ours[item] = true
				rec.Baseline = append(rec.Baseline, s)
			}
		}
		a.outcome.Verifications, a.outcome.Seen = append(a.outcome.Verifications, v), append(a.outcome.Seen, op)
		if err := a.append(ctx, rec); err != nil {
			return err
		}
		f.State = string(v.Status)
		a.fulfilments.Asked[id] = f
		if f.Via == schemas.ProvisioningTicket && f.To != "" {
			tickets[f.To] = true
		}
	}
	for _, to := range slices.Sorted(maps.Keys(tickets)) {
		a.updateTicket(ctx, to, "The application shows what was asked for, as far as it is ticked off above.")
	}
	return nil
}

// verified is the status of a read-back that shows the effect.
func (a *application) verified() schemas.VerificationState {
	if a.live.attested != nil {
		return schemas.FulfilmentAttested
	}
	return schemas.FulfilmentVerified
}

// withdraw cancels operations that are no longer wanted. Where that fails, they stay as they are, and nothing else is
// asked for in their place.
func (a *application) withdraw(ctx context.Context) error {
	tickets := map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(a.fulfilments.Vanished)) {
		f, why := a.fulfilments.Asked[id], a.fulfilments.Vanished[id]
		out := fulfilment.OutcomeOf(&f, schemas.FulfilmentWithdrawn, schemas.FulfilledByPlan, a.now())
		out.Fulfilment.Message = why
		open := f.State == schemas.FulfilmentSubmitting || f.State == schemas.FulfilmentPending || f.State == schemas.FulfilmentApplied
		if open && f.Via == schemas.ProvisioningWebhook {
			switch err := a.cancelWebhook(ctx, &f, why); {
			case errors.Is(err, errNotTold):
				a.holdUntold(&f, err)
				continue
			case err != nil:
				out.Fulfilment.Message = why + "; nobody was notified: " + err.Error()
			}
		}
		if err := a.recordOutcome(ctx, &f, out, a.id); err != nil {
			return err
		}
		f.State = schemas.FulfilmentWithdrawn
		a.fulfilments.Asked[id] = f
		a.outcome.Withdrawn = append(a.outcome.Withdrawn, f.Plan)
		if f.Via == schemas.ProvisioningTicket && f.To != "" {
			tickets[f.To] = why
		}
	}
	for _, to := range slices.Sorted(maps.Keys(tickets)) {
		a.updateTicket(ctx, to, "No longer wanted, as far as it is struck out above: "+tickets[to]+".")
	}
	return nil
}

// recordDiffering records that operations reported as done are not there. They are asked for again after that.
func (a *application) recordDiffering(ctx context.Context) error {
	for _, id := range a.fulfilments.Differing {
		f := a.fulfilments.Asked[id]
		op := f.Plan
		v := schemas.VerificationRecord{Operation: id, Status: schemas.FulfilmentDiffers, Before: op.Before, After: op.After}
		a.outcome.Verifications = append(a.outcome.Verifications, v)
		rec := schemas.Record{Type: schemas.RecordVerification, Operation: &op, Verification: &v, Note: "reported as done, not found in the application"}
		if err := a.append(ctx, rec); err != nil {
			return err
		}
		f.State = schemas.FulfilmentDiffers
		a.fulfilments.Asked[id] = f
	}
	return nil
}
