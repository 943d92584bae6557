package reconciler

import (
	"context"
	"errors"
	"time"

	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/run"
	"github.com/countersign/countersign/schemas"
)

// RunOptions configures a run.
type RunOptions struct {
	// To is the branch's revision.
	To string
	// Application limits the run to one application; "" is all.
	Application string
	// DryRun plans and writes nothing, neither to applications nor to the ledger.
	DryRun bool
	// Drift reports differences without carrying out what is pending, unless Enforce is set.
	Drift bool
	// Enforce corrects drift as well, on every application; otherwise those whose drift mode is enforce.
	Enforce bool
}

// RunOnce makes one pass: admit the branch's new commits, then take every application from live to desired,
// each by itself. The report is complete even where an error is returned beside it for one application.
func (r *Reconciler) RunOnce(ctx context.Context, o RunOptions) (_ *schemas.RunReport, err error) {
	if err := r.judge.Refresh(); err != nil {
		return nil, err
	}
	tip, err := r.config.Repository.Resolve(o.To)
	if err != nil {
		return nil, err
	}
	readOnly := o.DryRun || (o.Drift && !o.Enforce)
	ctx, release, err := r.alone(ctx, readOnly)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	b, err := r.open(ctx, tip, readOnly)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	controls, err := b.admitted.Controls(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.checkClock(ctx, b.ledger, controls); err != nil {
		return nil, err
	}
	report := &schemas.RunReport{APIVersion: schemas.APIVersion, Kind: "Apply", Tip: b.tip, DryRun: o.DryRun, Enforce: o.Enforce, At: r.now(),
		Admissions: []schemas.AdmissionRecord{}, Applications: []schemas.ApplicationOutcome{}}
	if o.Drift {
		report.Kind = "Drift"
	}
	if !o.Drift || !readOnly {
		fresh, err := r.judge.RecordVerdicts(ctx, b.admitted.Index, b.ledger, !readOnly)
		if err != nil {
			return nil, err
		}
		report.Admissions = append(report.Admissions, fresh...)
	}
	if report.Quarantined, err = b.admitted.Quarantined(ctx); err != nil {
		return nil, err
	}
	names, err := b.names(o.Application)
	if err != nil {
		return nil, err
	}
	result, err := r.runner.Once(ctx, b.runs(controls), run.Options{Applications: names, ReadOnly: readOnly, Drift: o.Drift, Enforce: o.Enforce})
	report.Applications = append(report.Applications, result.Applications...)
	report.Next, report.Again = result.Next, result.Again
	if readOnly && !o.DryRun {
		r.recordObservations(ctx, b, result.Observations)
	}
	if !o.DryRun {
		err = errors.Join(err, r.remember(report, readOnly))
	}
	// The last use of the index, which cannot be read if another process has written it meanwhile.
	if saved := b.admitted.Save(ctx); saved != nil && !errors.Is(saved, index.ErrChanged) {
		err = errors.Join(err, saved)
	}
	if waits := b.admitted.Unjudged; waits != nil {
		err = errors.Join(err, waits)
	}
	return clean(r, report), err
}

// ExitCode decides the exit code of a run; run.CodeOf has the table. With difference, a read-only run returns 2 where
// applications differ from the approved state.
func ExitCode(r *schemas.RunReport, difference bool) int { return int(run.CodeOf(r, difference)) }

// maxWaitToRecord is how long a drift report waits for another run, where runs share a ledger.
const maxWaitToRecord = time.Minute

// recordObservations keeps what a drift report saw, as far as it is new. A report that can't write, such as that of a
// reader, is a report all the same: the log has the reason, and the next run that writes records what it sees.
func (r *Reconciler) recordObservations(ctx context.Context, b *base, list []run.Observation) {
	if len(list) == 0 {
		return
	}
	head, _, err := b.ledger.Head(ctx)
	if err == nil && head == 0 {
		return // nothing is on record yet, and a report begins no ledger
	}
	if err == nil {
		err = r.writeObservations(ctx, b, list)
	}
	if err != nil {
		r.config.Logger.WarnContext(ctx, "could not record the differences: the next apply does", "error", err)
	}
}

func (r *Reconciler) writeObservations(ctx context.Context, b *base, list []run.Observation) (err error) {
	changed, err := r.runner.Unrecorded(ctx, b.ledger, list)
	if err != nil || len(changed) == 0 {
		return err
	}
	if r.config.Replica != nil {
		free, err := r.config.Replica.Acquire(ctx, maxWaitToRecord)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, free(context.WithoutCancel(ctx))) }()
		r.pulled = false
	}
	l, err := r.openLedger(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return r.runner.RecordObservations(ctx, l, changed)
}
