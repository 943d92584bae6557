package run

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/reconciler/run/fulfilment"
	"github.com/countersign/countersign/schemas"
)

// maxWaves limits the passes in one run over operations that wait for others.
const maxWaves = 4

// requestFulfilment asks somebody outside for operations, those that others depend on first, and returns those that
// were reported as done at once. Operations that depend on one that is not seen yet wait.
func (a *application) requestFulfilment(ctx context.Context, todo []schemas.Operation) (done []schemas.Operation, err error) {
	outstanding := map[string]bool{}
	for i := range a.outcome.Plan.Operations {
		outstanding[a.outcome.Plan.Operations[i].ID] = true
	}
	for _, o := range a.outcome.Outcomes {
		if o.Status == schemas.FulfilmentApplied && o.Fulfilment == nil {
			delete(outstanding, o.Operation)
		}
	}
	waiting := todo
	for range maxWaves {
		var ready, later []schemas.Operation
		for _, o := range waiting {
			if slices.ContainsFunc(o.DependsOn, func(d string) bool { return outstanding[d] }) {
				later = append(later, o)
			} else {
				ready = append(ready, o)
			}
		}
		waiting = later
		if len(ready) == 0 {
			break
		}
		answered, err := a.submit(ctx, ready)
		done = append(done, answered...)
		if err != nil {
			return done, err
		}
		if len(later) == 0 || len(answered) == 0 {
			break
		}
		after, err := a.readBack(ctx)
		if err != nil || after.Plan.Incomplete != "" {
			break // an operation that was not read may be undone: nothing follows from it until the read-back
		}
		clear(outstanding)
		now := map[string]*schemas.Operation{}
		for i := range after.Plan.Operations {
			o := &after.Plan.Operations[i]
			outstanding[o.ID], now[o.ID] = true, o
		}
		// The ids that are known by now go with it.
		waiting = slices.DeleteFunc(waiting, func(o schemas.Operation) bool { return now[o.ID] == nil })
		for i := range waiting {
			waiting[i].NativeID, waiting[i].TargetID = now[waiting[i].ID].NativeID, now[waiting[i].ID].TargetID
		}
	}
	var held []schemas.Operation
	for _, o := range waiting {
		for i := range a.outcome.Plan.Operations {
			p := &a.outcome.Plan.Operations[i]
			if p.ID != o.ID {
				continue
			}
			for _, d := range o.DependsOn {
				if outstanding[d] {
					p.Hold, p.HoldReason = schemas.HoldPending, "it depends on operation "+d+", which waits"
				}
			}
			held = append(held, *p)
		}
	}
	for part := range slices.Chunk(held, ledger.MaxPlanned) {
		if err := a.append(ctx, schemas.Record{Type: schemas.RecordHeld, Planned: part}); err != nil {
			return done, err
		}
	}
	return done, nil
}

// submit records the operations and then asks for them.
func (a *application) submit(ctx context.Context, ops []schemas.Operation) (done []schemas.Operation, err error) {
	var list []*ledger.Fulfilment
	now := a.now()
	for i := range ops {
		o := &ops[i]
		if err := a.findSources(ctx, o); err != nil {
			return nil, err
		}
		f, ok := a.fulfilments.Asked[o.ID]
		token := a.result.Tokens[o.ID]
		switch {
		case ok && f.State == schemas.FulfilmentSubmitting && f.Via == o.Provisioning && plan.SameEffect(&f.Plan, o):
			// The request may have arrived: it is sent again unchanged, to the webhook's current address.
			if f.Via == schemas.ProvisioningWebhook {
				f.To = fulfilment.HostOf(a.app.Spec.Webhook().URL)
			}
		default:
			round := 0
			if ok {
				round = f.Round + 1
			}
			rec := schemas.FulfilmentRecord{Operation: o.ID, Submission: fulfilment.SubmissionOf(o, token, round), Round: round, Via: o.Provisioning, Token: token}
			if o.Provisioning == schemas.ProvisioningWebhook {
				rec.To = fulfilment.HostOf(a.app.Spec.Webhook().URL)
			} else if ok && f.Via == o.Provisioning && !a.fulfilments.Gone[o.ID] && f.State != schemas.FulfilmentWithdrawn {
				rec.To, rec.URL = f.To, f.URL // the same ticket is reopened
			}
			f = ledger.Fulfilment{FulfilmentRecord: rec, Application: a.app.Name, State: schemas.FulfilmentSubmitting, Since: now, Changed: now, Run: a.id, Plan: *o}
		}
		list = append(list, &f)
	}
	for part := range slices.Chunk(list, ledger.MaxPlanned) {
		rec := schemas.Record{Type: schemas.RecordIntent}
		for _, f := range part {
			rec.Operations = append(rec.Operations, f.Operation)
			rec.Planned = append(rec.Planned, f.Plan)
			rec.Fulfilments = append(rec.Fulfilments, f.FulfilmentRecord)
		}
		if err := a.append(ctx, rec); err != nil {
			return nil, err
		}
	}
	for _, f := range list {
		a.fulfilments.Asked[f.Operation] = *f
	}
	a.config.Step("intent")
	var hooks, tickets []*ledger.Fulfilment
	for _, f := range list {
		if f.Via == schemas.ProvisioningWebhook {
			hooks = append(hooks, f)
		} else {
			tickets = append(tickets, f)
		}
	}
	done, err = a.postWebhooks(ctx, hooks)
	if err != nil {
		return done, err
	}
	return done, a.openTickets(ctx, tickets)
}

// splitDependents holds back direct operations that depend on one that somebody outside is asked for, with all their
// dependents.
func (a *application) splitDependents(direct, others []schemas.Operation) (todo, rest []schemas.Operation) {
	waits := map[string]bool{}
	for _, o := range others {
		waits[o.ID] = true
	}
	for _, o := range direct {
		i := slices.IndexFunc(o.DependsOn, func(d string) bool { return waits[d] })
		if i < 0 {
			todo = append(todo, o)
			continue
		}
		waits[o.ID] = true
		for j := range a.outcome.Plan.Operations {
			if p := &a.outcome.Plan.Operations[j]; p.ID == o.ID {
				p.Hold, p.HoldReason = schemas.HoldPending, "it depends on operation "+o.DependsOn[i]+", which waits"
			}
		}
	}
	return todo, others
}

// scheduleNextLook sets when to look again at the operations asked for in this run: soon, while they may be done at any moment.
func (a *application) scheduleNextLook() {
	now := a.now()
	for _, f := range a.fulfilments.Asked {
		if f.Run != a.id || !fulfilment.Awaited(&f) || f.State == schemas.FulfilmentSubmitting {
			continue
		}
		at := now.Add(time.Minute)
		if f.State == schemas.FulfilmentFailed {
			at = now.Add(fulfilment.Grace(a.app, f.Round))
		}
		if a.lookAgain.IsZero() || at.Before(a.lookAgain) {
			a.lookAgain = at
		}
	}
}

// reportOutcome adds an outcome to this run's report and to the ledger.
func (a *application) reportOutcome(ctx context.Context, f *ledger.Fulfilment, out schemas.OutcomeRecord) error {
	a.outcome.Outcomes = append(a.outcome.Outcomes, out)
	if err := a.recordOutcome(ctx, f, out, a.id); err != nil {
		return err
	}
	if out.Status != schemas.FulfilmentFailed || out.Fulfilment.Method != schemas.FulfilledByDelivery {
		f.State, f.Changed = string(out.Status), out.Finished
	}
	f.FulfilmentRecord = *out.Fulfilment
	a.fulfilments.Asked[f.Operation] = *f
	a.config.Step("operation")
	return nil
}

// undelivered is the outcome of a request that may not have arrived.
func (a *application) undelivered(f *ledger.Fulfilment, started time.Time, attempts int, err error) schemas.OutcomeRecord {
	out := fulfilment.OutcomeOf(f, schemas.FulfilmentFailed, schemas.FulfilledByDelivery, a.now())
	out.Started, out.Attempts, out.Error, out.Code = started, attempts, err.Error(), string(cmp.Or(connectors.CodeOf(err), connectors.Unavailable))
	return out
}
