package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// verify reads back, records the result for each operation, and remembers the items that are as desired.
func (a *application) verify(ctx context.Context, todo []schemas.Operation, ours map[string]bool) (*plan.Result, error) {
	if len(todo) == 0 {
		ours, err := a.recover(ctx, &a.result, ours)
		if err != nil {
			return nil, err
		}
		return &a.result, a.adopt(ctx, &a.result, ours)
	}
	last, unconfirmed := map[string]schemas.OutcomeStatus{}, map[string]bool{}
	for i := range todo {
		unconfirmed[todo[i].ID] = true
	}
	for _, o := range a.outcome.Outcomes {
		last[o.Operation] = o.Status
		unconfirmed[o.Operation] = o.Status == schemas.OutcomeFailed && o.Code == string(connectors.Unavailable)
	}
	var after plan.Result
	var err error
	for attempt := 1; ; attempt++ {
		after, err = a.readBack(ctx)
		if err != nil || attempt == maxAttempts {
			break
		}
		missing := slices.ContainsFunc(after.Plan.Operations, func(o schemas.Operation) bool { return last[o.ID] == schemas.OutcomeApplied })
		if !missing {
			break
		}
		// Some applications show a change a moment after they accepted it.
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Duration(attempt*attempt) * 200 * time.Millisecond):
		}
	}
	var records []schemas.Record
	if err != nil {
		for i := range todo {
			v := schemas.VerificationRecord{Operation: todo[i].ID, Status: schemas.VerificationUnverifiable}
			a.outcome.Verifications = append(a.outcome.Verifications, v)
			records = append(records, schemas.Record{Type: schemas.RecordVerification, Operation: &todo[i], Verification: &v, Note: err.Error()})
		}
		return nil, errors.Join(fmt.Errorf("read back: %w", err), a.append(context.WithoutCancel(ctx), records...))
	}
	// The report shows the live state even where the ledger can't be written.
	a.outcome.Remaining = len(after.Plan.Operations)
	differs, pending, settled := readBackItems(&after)
	remains := map[string]bool{}
	for i := range after.Plan.Operations {
		remains[plan.OperationItem(&after.Plan.Operations[i])] = true
	}
	var ledgerErr error
	for i := range todo {
		o := &todo[i]
		item := plan.OperationItem(o)
		v := schemas.VerificationRecord{Operation: o.ID, Status: a.verified(), Before: o.Before, After: o.After}
		if v.Before == nil && v.After == nil {
			v.Before, v.After = o.Kind == schemas.OperationRevoke, o.Kind == schemas.OperationGrant
		}
		rec := schemas.Record{Type: schemas.RecordVerification, Operation: o, Verification: &v}
		switch {
		case after.Plan.Incomplete != "" || plan.Unread(a.live.state, o):
			v.Status = schemas.VerificationUnverifiable
		case pending[item]:
			v.Status = schemas.VerificationPending
		case differs[o.ID] && o.Provisioning != schemas.ProvisioningDirect && o.Provisioning != "":
			// Somebody outside reported it as done: the grace gives the effect time to appear.
			v.Status = schemas.VerificationPending
		case differs[o.ID]:
			v.Status = schemas.VerificationDiffers
		default:
			s, ok := settled[item]
			if !ok && !o.Removes() {
				// No plan has it now, and yet it is not there: something else is wrong with it.
				if b, known := a.remembered(item); !known || b.Token != a.result.Tokens[o.ID] {
					v.Status = schemas.VerificationDiffers
					break
				}
			}
			if f, asked := a.fulfilments.Asked[o.ID]; asked && f.State == schemas.FulfilmentApplied {
				f.State = schemas.FulfilmentState(v.Status)
				a.fulfilments.Asked[o.ID] = f
			}
			if !ok && o.Removes() && remains[item] {
				break // another edge of it is left: it is settled when that is gone too
			}
			if !ok {
				s = schemas.BaselineItem{Item: item, Token: a.result.Tokens[o.ID], NativeID: o.TargetID}
				if b, known := a.remembered(item); known && b.NativeID != "" {
					s.NativeID = b.NativeID // another edge of it may be left
				}
			}
			if last[o.ID] == schemas.OutcomeApplied {
				if id := a.live.idOf(o); id != "" {
					s.NativeID = id // our own effect is bound to the id that it has now
				}
			}
			s.Made = true
			ours[item] = true
			rec.Baseline = []schemas.BaselineItem{s}
			if o.Kind == schemas.OperationCreate {
				// The payload was made with the connection.
				if ps, ok := settled[plan.PayloadItem(o.Connection)]; ok {
					ps.Made = true
					ours[ps.Item] = true
					rec.Baseline = append(rec.Baseline, ps)
				}
			}
		}
		if _, reported := last[o.ID]; !reported && v.Status == schemas.VerificationDiffers {
			continue // it was never tried: nothing is to be verified
		}
		if v.Status == schemas.VerificationVerified && unconfirmed[o.ID] {
			records = append(records, a.foundInEffect(o))
		}
		a.outcome.Verifications = append(a.outcome.Verifications, v)
		records = append(records, rec)
		if len(records) >= recordsAtOnce && ledgerErr == nil {
			ledgerErr = a.append(ctx, records...)
			records = records[:0]
		}
	}
	if ledgerErr == nil {
		ledgerErr = a.append(ctx, records...)
	}
	if ledgerErr != nil {
		return &after, ledgerErr
	}
	for i := range todo {
		delete(a.interrupted, plan.OperationItem(&todo[i]))
	}
	if ours, err = a.recover(ctx, &after, ours); err != nil {
		return nil, err
	}
	return &after, a.adopt(ctx, &after, ours)
}

// readBackItems sorts what a read-back found: the operations that are still wanted, by id; the items that wait for somebody; and
// the items that are as desired.
func readBackItems(seen *plan.Result) (differs, pending map[string]bool, settled map[string]schemas.BaselineItem) {
	differs, pending, settled = map[string]bool{}, map[string]bool{}, map[string]schemas.BaselineItem{}
	for i := range seen.Plan.Operations {
		differs[seen.Plan.Operations[i].ID] = true
	}
	for _, p := range seen.Plan.Pending {
		pending[plan.EntitlementItem(p.Key)] = true
	}
	for _, s := range seen.Settled {
		settled[s.Item] = s
	}
	return differs, pending, settled
}

// foundInEffect notes the outcome of an operation that the application carried out and didn't confirm.
func (a *application) foundInEffect(o *schemas.Operation) schemas.Record {
	now, attempts := a.now(), 1
	for _, earlier := range a.outcome.Outcomes {
		if earlier.Operation == o.ID {
			attempts = max(attempts, earlier.Attempts)
		}
	}
	out := schemas.OutcomeRecord{Operation: o.ID, Status: schemas.OutcomeApplied, Attempts: attempts, Started: now, Finished: now}
	a.outcome.Outcomes = append(a.outcome.Outcomes, out)
	return schemas.Record{Type: schemas.RecordOutcome, Operation: o, Outcome: &out, Note: "the application did not confirm it, and the read-back shows it"}
}

// recover closes the intents whose effect no read-back had shown: an intended effect that is there now was theirs.
func (a *application) recover(ctx context.Context, seen *plan.Result, ours map[string]bool) (map[string]bool, error) {
	if len(a.interrupted) == 0 || a.outcome.Plan.Incomplete != "" || seen.Plan.Incomplete != "" {
		return ours, nil
	}
	_, _, settled := readBackItems(seen)
	open := notSeen(seen)
	var records []schemas.Record
	for _, item := range slices.Sorted(maps.Keys(a.interrupted)) {
		o := a.interrupted[item]
		if open(item, &o) || plan.Unread(a.live.state, &o) {
			continue // it isn't carried out or not shown: the intent stays open until it is seen
		}
		v := schemas.VerificationRecord{Operation: o.ID, Status: schemas.VerificationVerified, Before: o.Before, After: o.After}
		rec := schemas.Record{Type: schemas.RecordVerification, Operation: &o, Verification: &v, Note: "the effect of an earlier run's intent is seen"}
		items := []string{item}
		if o.Kind == schemas.OperationCreate {
			items = append(items, plan.PayloadItem(o.Connection))
		}
		for _, i := range items {
			if s, ok := settled[i]; ok {
				s.Made = true
				ours[i] = true
				rec.Baseline = append(rec.Baseline, s)
			}
		}
		if len(rec.Baseline) == 0 && !o.Removes() {
			v.Status, rec.Note = schemas.VerificationSuperseded, "the effect of an earlier run's intent was not seen, and nothing requires it now"
		}
		records = append(records, rec)
	}
	return ours, a.append(ctx, records...)
}

func (a *application) readBack(ctx context.Context) (plan.Result, error) {
	// The wanted state is that of the plan: an expiry that falls between is the next run's.
	at := a.now()
	if err := a.live.read(ctx, a.input.Desired); err != nil {
		return plan.Result{}, err
	}
	if _, err := a.live.follow(ctx, a.input.Desired, a.remembered); err != nil {
		return plan.Result{}, err
	}
	a.readAt = at
	return a.live.diff(ctx, a.input)
}

// adopt remembers items that are as desired without an operation of this run.
func (a *application) adopt(ctx context.Context, seen *plan.Result, ours map[string]bool) error {
	// A partial read settles nothing: this run's own effects would count as found.
	if a.outcome.Plan.Incomplete != "" || seen.Plan.Incomplete != "" {
		return nil
	}
	var items []schemas.BaselineItem
	for _, s := range seen.Settled {
		if ours[s.Item] {
			continue
		}
		if _, known := a.remembered(s.Item); !known {
			a.outcome.Adopted++
		}
		items = append(items, s)
	}
	a.addExpiries(items)
	for start := 0; start < len(items); start += chunk {
		part := items[start:min(start+chunk, len(items))]
		if err := a.append(ctx, schemas.Record{Type: schemas.RecordAdoption, Baseline: part}); err != nil {
			return err
		}
	}
	return nil
}

// addExpiries notes when the requests end the entitlements that are present.
func (a *application) addExpiries(items []schemas.BaselineItem) {
	if len(items) == 0 {
		return
	}
	expires := map[string]*time.Time{}
	for _, c := range a.input.Desired.Connections {
		for _, e := range c.Entitlements {
			if e.Expires != nil {
				expires[plan.EntitlementItem(schemas.Key{Connection: c.Name, Target: e.Target, Privilege: e.Privilege})] = e.Expires
			}
		}
	}
	for i := range items {
		items[i].Expires = expires[items[i].Item]
	}
}
