package run

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// application is one pass over one application: fold, read, diff, hold, apply, read back, record.
type application struct {
	*pass
	id         string
	app        *schemas.Application
	documents  []*plan.Document
	live       *liveApplication
	input      plan.Input
	judged     *judged
	result     plan.Result
	outcome    *schemas.ApplicationOutcome
	next       time.Time // when a start or an expiry changes the desired state
	release    release
	again      rejudgement
	rebound    rebinding
	remembered func(string) (schemas.BaselineItem, bool)
	// interrupted are the operations of earlier runs whose effect no read-back has shown, by item: a run was cut short, or
	// the application accepted them and didn't show them.
	interrupted map[string]schemas.Operation
	// fulfilments are the operations that somebody outside was asked for; lookAgain is when to check on them, zero for never.
	fulfilments *fulfilments
	lookAgain   time.Time
	// head is the last record of the ledger before the read, and readAt when the application was last read.
	head     int64
	readAt   time.Time
	observed *Observation
	// unlock releases the application; nil when it was not locked.
	unlock func() error
	err    error
}

func newApplication(p *pass, app *schemas.Application) *application {
	return &application{pass: p, app: app, outcome: &schemas.ApplicationOutcome{Application: app.Name, Outcomes: []schemas.OutcomeRecord{}, Verifications: []schemas.VerificationRecord{},
		Plan: schemas.ApplicationPlan{Application: app.Name, Connector: app.Spec.Connector, Mode: app.Spec.Mode, Operations: []schemas.Operation{}}}}
}

// close closes the application and drops its state.
func (a *application) close() {
	if a.live != nil {
		a.err = errors.Join(a.err, a.live.reader.Close())
	}
	if a.unlock != nil {
		a.err = errors.Join(a.err, a.unlock())
	}
	a.live, a.input, a.result, a.documents, a.remembered, a.fulfilments, a.judged = nil, plan.Input{}, plan.Result{}, nil, nil, nil, nil
}

// prepare reads the application and plans the operations that take it to the desired state.
func (a *application) prepare(ctx context.Context) (err error) {
	if a.head, _, err = a.base.Ledger.Head(ctx); err != nil {
		return err
	}
	if a.live, err = a.openLive(ctx, a.app, a.base.Ledger); err != nil {
		return err
	}
	if err := a.readFulfilments(ctx); err != nil {
		return err
	}
	now := a.now()
	desired := plan.Fold(a.documents, a.live.description, now)
	if err := a.readJudged(); err != nil {
		return err
	}
	a.documents, a.next = nil, desired.Next
	if a.remembered, err = Baseline(ctx, a.base.Ledger, a.app.Name); err != nil {
		return err
	}
	if err := a.live.read(ctx, desired); err != nil {
		return err
	}
	if _, err := a.live.follow(ctx, desired, a.remembered); err != nil {
		return err
	}
	a.input = plan.Input{Desired: desired, Baseline: a.remembered, Now: now}
	if a.result, err = a.live.diff(ctx, a.input); err != nil {
		return err
	}
	if a.result.OtherIDs > 0 {
		if err := a.rebind(ctx); err != nil {
			return err
		}
	}
	a.outcome.Plan = a.result.Plan
	a.outcome.Plan.ReadAt = now
	a.classifyFulfilments()
	a.readAt = now
	if a.outcome.Plan.LiveDigest, err = plan.LiveDigest(a.live.state); err != nil {
		return err
	}
	if a.options.ReadOnly {
		a.observed, err = a.observation(ctx, &a.result)
	}
	return err
}

// holdBack decides which operations wait, and why.
func (a *application) holdBack(ctx context.Context) error {
	rules, release, err := a.rules(ctx, a.app, a.result, a.input.Now)
	if err != nil {
		return err
	}
	a.release = release
	again, err := a.rejudged(ctx)
	if err != nil {
		return err
	}
	if again.note != "" {
		rules.FirstRun = false // the same owners have seen all of it
	}
	a.again = again
	rules.Outside, rules.Unable = a.fulfilments.Holds, a.unable(a.app, a.base.Settings, a.live.description)
	a.lookAgain = a.fulfilments.LookAgain
	counts := hold.Operations(&a.outcome.Plan, rules)
	again.hold(&a.outcome.Plan)
	a.holdUnjudged()
	if err := a.holdUnsigned(ctx); err != nil {
		return err
	}
	a.pass.removed = a.pass.removed.Add(counts)
	overdue(&a.outcome.Plan)
	a.outcome.Remaining = len(a.outcome.Plan.Operations)
	return nil
}

// chunk is how many operations or items share one record.
const chunk = ledger.MaxPlanned

// recordsAtOnce is how many records are written together, chunksAtOnce how many of those that speak of a chunk:
// each time the disk is waited for.
const recordsAtOnce, chunksAtOnce = 5000, 10

func (a *application) append(ctx context.Context, records ...schemas.Record) error {
	for i := range records {
		records[i].Run, records[i].Application = a.id, a.app.Name
	}
	if _, err := a.base.Ledger.Append(ctx, records...); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	return nil
}

func (a *application) carryOut(ctx context.Context) error {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return fmt.Errorf("make a run id: %w", err)
	}
	a.id = hex.EncodeToString(id[:])
	a.outcome.Run = a.id
	var todo []schemas.Operation
	for _, o := range a.outcome.Plan.Operations {
		if o.Hold == schemas.HoldNone {
			todo = append(todo, o)
		}
	}
	done, err := a.base.Ledger.FirstRunDone(ctx, a.app.Name, a.config.Version)
	if err != nil {
		return err
	}
	unsettled, err := a.base.Ledger.Unsettled(ctx, a.app.Name)
	if err != nil {
		return err
	}
	a.interrupted = map[string]schemas.Operation{}
	for _, o := range unsettled {
		a.interrupted[plan.OperationItem(&o)] = o
	}
	waiting, err := a.base.Ledger.Held(ctx, a.app.Name)
	if err != nil {
		return err
	}
	if len(todo) == 0 && a.fulfilments.Idle() && len(a.result.Settled) == 0 && a.stillOpen() && done && a.release.note == "" && a.again.note == "" && a.rebound.note == "" && maps.Equal(waiting, held(a.outcome.Plan.Operations)) {
		return a.observe(ctx, &a.result) // nothing to do: the ledger stays as it is, unless the read showed something new
	}
	digest, err := plan.Digest([]schemas.ApplicationPlan{a.outcome.Plan})
	if err != nil {
		return err
	}
	info := &schemas.RunRecord{Version: a.config.Version, Connector: a.app.Spec.Connector, Credential: credentialName(a.app), Tip: a.base.Tip,
		PlanDigest: digest, LiveDigest: a.outcome.Plan.LiveDigest, Operations: len(todo), Held: len(a.outcome.Plan.Operations) - len(todo)}
	records := []schemas.Record{{Type: schemas.RecordRun, RunInfo: info}}
	if a.again.note != "" {
		records = append(records, schemas.Record{Type: schemas.RecordAcknowledged, Note: a.again.note})
	}
	if a.release.note != "" {
		records = append(records, schemas.Record{Type: schemas.RecordAcknowledged, Note: a.release.note})
	}
	if err := a.append(ctx, append(records, a.rebound.records()...)...); err != nil {
		return err
	}
	a.config.Step("run")
	if err := a.recordHeld(ctx); err != nil {
		return err
	}
	ours := map[string]bool{}
	if err := a.withdraw(ctx); err != nil {
		return err
	}
	if err := a.recordSeen(ctx, ours); err != nil {
		return err
	}
	if err := a.recordDiffering(ctx); err != nil {
		return err
	}
	todo = todo[:0]
	var others []schemas.Operation
	for _, o := range a.outcome.Plan.Operations {
		switch {
		case o.Hold != schemas.HoldNone:
		case o.Provisioning == schemas.ProvisioningDirect:
			todo = append(todo, o)
		default:
			others = append(others, o)
		}
	}
	if todo, others = a.splitDependents(todo, others); len(todo) > 0 {
		if err := a.write(ctx, todo); err != nil {
			return a.afterFailure(ctx, err, todo, ours)
		}
	}
	// Operations carried out before are read back all the same.
	answered, unasked := a.requestFulfilment(ctx, others)
	after, err := a.verify(ctx, append(todo, answered...), ours)
	if err = errors.Join(unasked, err); err != nil {
		return err
	}
	a.config.Step("verified")
	a.scheduleNextLook()
	return a.end(ctx, info, after)
}

// stillOpen reports whether what was read decides nothing about the intents that are open.
func (a *application) stillOpen() bool {
	if len(a.interrupted) == 0 {
		return true
	}
	open := notSeen(&a.result)
	for item, o := range a.interrupted {
		if !open(item, &o) {
			return false
		}
	}
	return true
}

// notSeen returns a function that reports whether an intended effect is still missing in a plan, or waits for somebody.
func notSeen(seen *plan.Result) func(item string, o *schemas.Operation) bool {
	missing, pending, _ := readBackItems(seen)
	return func(item string, o *schemas.Operation) bool { return missing[o.ID] || pending[item] }
}

// afterFailure reads back after a write that failed, since an answer may have been lost: the report shows the
// application's state, not the expected one. The failure is an error only as far as something is not in effect.
func (a *application) afterFailure(ctx context.Context, failure error, todo []schemas.Operation, ours map[string]bool) error {
	if ctx.Err() != nil {
		return failure // the next run reads
	}
	after, err := a.verify(ctx, todo, ours)
	if err != nil || after == nil {
		return errors.Join(failure, err)
	}
	a.config.Step("verified")
	var unconfirmed *connectors.Error
	if _, shown := results(a.outcome); !errors.As(failure, &unconfirmed) || slices.ContainsFunc(todo, func(o schemas.Operation) bool { return !inEffect(shown[o.ID]) }) {
		return failure
	}
	a.outcome.Plan.Findings = append(a.outcome.Plan.Findings, schemas.Finding{Code: "unconfirmed", Severity: schemas.SeverityWarning, Application: a.app.Name,
		Message: failure.Error(), Fix: "nothing to do: the read-back shows all operations in effect"})
	return nil
}

// held lists the waiting operations in the ledger's terms.
func held(ops []schemas.Operation) map[ledger.HeldFor]ledger.HeldState {
	out := map[ledger.HeldFor]ledger.HeldState{}
	for i := range ops {
		o := &ops[i]
		if o.Hold == schemas.HoldNone {
			continue
		}
		for _, d := range o.Documents {
			out[ledger.HeldFor{Document: ledger.Key{Path: d.Path, Index: d.Index}, Operation: o.ID}] = ledger.HeldState{Cause: o.Cause, Hold: o.Hold}
		}
	}
	return out
}

// recordHeld records the waiting operations with their reasons.
func (a *application) recordHeld(ctx context.Context) error {
	var held []schemas.Operation
	for _, o := range a.outcome.Plan.Operations {
		if o.Hold != schemas.HoldNone {
			held = append(held, o)
		}
	}
	for part := range slices.Chunk(held, ledger.MaxPlanned) {
		if err := a.append(ctx, schemas.Record{Type: schemas.RecordHeld, Planned: part}); err != nil {
			return err
		}
	}
	return nil
}

// end closes the run. A first run is over when nothing of it was held back for being the first.
func (a *application) end(ctx context.Context, info *schemas.RunRecord, after *plan.Result) error {
	counts := map[string]int{}
	for _, v := range a.outcome.Verifications {
		counts[string(v.Status)]++
	}
	last := map[string]schemas.OutcomeStatus{}
	for _, o := range a.outcome.Outcomes {
		last[o.Operation] = o.Status
	}
	for _, s := range last {
		counts[string(s)]++
	}
	for _, o := range a.outcome.Plan.Operations {
		if o.Hold != schemas.HoldNone {
			counts["held-"+string(o.Hold)]++
		}
	}
	if a.outcome.Plan.Incomplete != "" {
		counts[ledger.CountIncomplete] = 1 // a run that did not read everything is not a first run
	}
	a.outcome.Remaining = len(after.Plan.Operations)
	if err := a.observe(ctx, after); err != nil {
		return err
	}
	ended := *info
	ended.Counts = counts
	return a.append(ctx, schemas.Record{Type: schemas.RecordRunEnd, RunInfo: &ended})
}
