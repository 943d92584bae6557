package reconciler

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/history/order"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// RunOptions say what a run does.
type RunOptions struct {
	// To is the revision that the branch has come to.
	To string
	// Application limits the run to one application; "" is all.
	Application string
	// DryRun plans and writes nothing, neither to applications nor to the ledger.
	DryRun bool
	// Drift reports differences without carrying out what is pending, unless Enforce is set.
	Drift bool
	// Enforce mends drift as well: on every application, or where its drift mode says so when ByMode is set.
	Enforce bool
}

// RunOnce is one pass: admit what came to the branch, then take every application from live to desired,
// each by itself. The report is complete even where an error is returned beside it for one application.
func (r *Reconciler) RunOnce(ctx context.Context, o RunOptions) (_ *schemas.RunReport, err error) {
	if err := r.refresh(); err != nil {
		return nil, err
	}
	tip, err := r.c.Repository.Resolve(o.To)
	if err != nil {
		return nil, err
	}
	readOnly := o.DryRun || (o.Drift && !o.Enforce)
	release, err := r.alone(ctx, readOnly)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	s, err := r.standing(ctx, tip, readOnly)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	l, x, t := s.ledger, s.index, s.trust
	report := &schemas.RunReport{APIVersion: schemas.APIVersion, Kind: "Apply", Tip: tip, DryRun: o.DryRun, Enforce: o.Enforce, At: r.now(),
		Admissions: []schemas.AdmissionRecord{}, Applications: []schemas.ApplicationOutcome{}}
	if o.Drift {
		report.Kind = "Drift"
	}
	if !o.Drift || !readOnly {
		fresh, err := r.freshAdmissions(ctx, x, l, !readOnly)
		if err != nil {
			return nil, err
		}
		report.Admissions = append(report.Admissions, fresh...)
	}
	if report.Quarantined, err = quarantined(ctx, x.Layer); err != nil {
		return nil, err
	}
	controls, err := x.Controls(ctx)
	if err != nil {
		return nil, err
	}
	names, err := t.affectedOrAll(o.Application)
	if err != nil {
		return nil, err
	}
	p := &pass{r: r, o: o, ledger: l, index: x, trust: t, tip: tip, controls: controls, readOnly: readOnly}
	runs, err := p.applications(ctx, names)
	for _, u := range runs {
		if u.err != nil {
			// One application that cannot be reached stops nothing but itself.
			u.out.Error = u.err.Error()
		}
		report.Applications = append(report.Applications, *u.out)
		if next := u.next; !next.IsZero() && (report.Next == nil || next.Before(*report.Next)) {
			report.Next = &next
		}
		if u.again.IsZero() {
			continue
		}
		if again := u.again; report.Again == nil || again.Before(*report.Again) {
			report.Again = &again
		}
	}
	if err == nil {
		err = ctx.Err()
	}
	return report, err
}

// pass is one invocation over several applications.
type pass struct {
	r        *Reconciler
	o        RunOptions
	ledger   *ledger.Ledger
	index    *order.Index
	trust    *trust
	tip      string
	controls []order.Control
	readOnly bool
	removed  plan.Counts // by the applications so far
}

// maxApplications is how many applications are open and worked on at a time.
const maxApplications = 4

// applications takes each application through one pass of its own, a few at a time. What may be removed is one
// question for all of them, asked in their order.
func (p *pass) applications(ctx context.Context, names []string) ([]*run, error) {
	var runs []*run
	for part := range slices.Chunk(names, maxApplications) {
		some := make([]*run, len(part))
		for i, name := range part {
			some[i] = newRun(p, p.trust.applications[name])
		}
		err := p.together(ctx, some, len(runs), len(names))
		for _, u := range some {
			u.close()
		}
		if runs = append(runs, some...); err != nil || ctx.Err() != nil {
			return runs, err
		}
	}
	return runs, nil
}

func (p *pass) together(ctx context.Context, runs []*run, done, all int) error {
	for _, u := range runs {
		// One after the other, in their order: two processes that took them in different ones would wait for
		// each other.
		if !p.readOnly {
			u.unlock, u.err = p.lease(ctx, u.app.Name)
		}
		var err error
		if u.docs, err = p.index.All(ctx, u.app.Name); err != nil {
			return err
		}
	}
	each := func(what string, fn func(*run) error) {
		var g errgroup.Group
		for i, u := range runs {
			if u.err != nil {
				continue
			}
			g.Go(func() error {
				p.r.c.Progress(what+" "+u.app.Name, done+i, all)
				u.err = fn(u)
				return nil
			})
		}
		_ = g.Wait() // each has kept its own error
	}
	each("read", func(u *run) error { return u.prepare(ctx) })
	for _, u := range runs {
		if u.err == nil {
			u.err = u.hold(ctx)
		}
	}
	if !p.readOnly {
		each("reconcile", func(u *run) error { return u.carryOut(ctx) })
	}
	return nil
}

// overdue lists the expired grants that a mode keeps in place: they are never called verified.
func overdue(p *schemas.ApplicationPlan) {
	for i := range p.Operations {
		if o := &p.Operations[i]; o.Kind == schemas.OperationRevoke && o.Cause == schemas.CauseExpiry && o.Hold != schemas.HoldNone {
			p.Overdue = append(p.Overdue, o.Key())
		}
	}
}

// release is the acknowledgement that this run makes use of.
type release struct{ note string }

// rules are what holds operations of this application back in this run.
func (p *pass) rules(ctx context.Context, app *schemas.Application, res plan.Result, now time.Time) (plan.Rules, release, error) {
	rules := plan.Rules{Limits: limits(app, p.trust.settings), Run: p.removed, Shrunken: res.Shrunken,
		Enforce: p.o.Enforce || (!p.o.Drift && app.Spec.Drift.Mode == schemas.DriftEnforce)}
	day, err := p.ledger.Removals(ctx, app.Name, now.Add(-24*time.Hour))
	if err != nil {
		return rules, release{}, fmt.Errorf("count the removals of the last day: %w", err)
	}
	rules.Day = plan.Counts{Members: day.Members, Grants: day.Grants, Deletions: day.Deletions, Attributes: day.Attributes}
	for _, c := range p.controls {
		if b := c.BudgetOverride; b != nil && b.Application == app.Name && now.Before(b.Until) {
			rules.Limits = override(rules.Limits, b.Limits)
		}
	}
	done, err := p.ledger.FirstRunDone(ctx, app.Name, p.r.c.Version)
	if err != nil {
		return rules, release{}, fmt.Errorf("look for earlier runs: %w", err)
	}
	if done && !rules.Shrunken {
		return rules, release{}, nil
	}
	note, err := p.acknowledged(ctx, app.Name)
	if err != nil {
		return rules, release{}, err
	}
	rules.FirstRun = !done && note == ""
	if note != "" && rules.Shrunken {
		rules.Shrunken = false
	}
	return rules, release{note}, nil
}

// acknowledged finds an admitted Acknowledgement for the application that no earlier run made use of.
func (p *pass) acknowledged(ctx context.Context, app string) (string, error) {
	used := map[string]bool{}
	err := p.ledger.Records(ctx, ledger.Filter{Application: app, Types: []schemas.RecordType{schemas.RecordAcknowledged}}, func(r schemas.Record) error {
		used[r.Note] = true
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("read the acknowledgements: %w", err)
	}
	for _, c := range p.controls {
		if c.Acknowledgement == nil || c.Acknowledgement.FirstRun != app {
			continue
		}
		note := fmt.Sprintf("first run: %s#%d@%s", c.ID.Path, c.ID.Index, c.ID.Blob)
		if used[note] {
			continue
		}
		// It speaks of what a run has shown. One from before the first run on record is of another ledger, which
		// is lost and may have seen it used.
		f, err := p.index.File(ctx, c.ID.Path)
		if err != nil || f == nil {
			return "", err
		}
		after, err := p.ledger.AdmittedAfterRun(ctx, app, f.Commit)
		if err != nil {
			return "", fmt.Errorf("read the acknowledgements: %w", err)
		}
		if after {
			return note, nil
		}
	}
	return "", nil
}

// lease keeps every other process away from the application. The lock goes with the process that holds it.
func (p *pass) lease(ctx context.Context, app string) (func() error, error) {
	dir := filepath.Join(p.r.c.State, "leases")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of leases: %w", err)
	}
	f := flock.New(filepath.Join(dir, app+".lock"))
	ok, err := f.TryLockContext(ctx, 100*time.Millisecond)
	if err != nil || !ok {
		return nil, fmt.Errorf("wait for another run over %s to end: %w", app, err)
	}
	return f.Unlock, nil
}

// run is one pass over one application: fold, read, diff, hold, apply, read back, record.
type run struct {
	*pass
	id         string
	app        *schemas.Application
	docs       []*plan.Document
	lv         *live
	in         plan.Input
	result     plan.Result
	out        *schemas.ApplicationOutcome
	next       time.Time // when a start or an expiry changes what is wanted
	release    release
	remembered func(string) (schemas.BaselineItem, bool)
	// cut are the operations of runs that were cut short between the intent and the read-back, by item.
	cut map[string]schemas.Operation
	// outside is what somebody outside was asked for, and again when to look at it again; zero for nothing.
	outside *outside
	again   time.Time
	// unlock gives the application back; nil when it was not taken.
	unlock func() error
	err    error
}

func newRun(p *pass, app *schemas.Application) *run {
	return &run{pass: p, app: app, out: &schemas.ApplicationOutcome{Application: app.Name, Outcomes: []schemas.OutcomeRecord{}, Verifications: []schemas.VerificationRecord{},
		Plan: schemas.ApplicationPlan{Application: app.Name, Connector: app.Spec.Connector, Mode: app.Spec.Mode, Operations: []schemas.Operation{}}}}
}

// close lets go of the application and of what was read of it.
func (u *run) close() {
	if u.lv != nil {
		u.err = errors.Join(u.err, u.lv.reader.Close())
	}
	if u.unlock != nil {
		u.err = errors.Join(u.err, u.unlock())
	}
	u.lv, u.in, u.result, u.docs, u.remembered, u.outside = nil, plan.Input{}, plan.Result{}, nil, nil, nil
}

// prepare reads the application and says what it would take to have it as it should be.
func (u *run) prepare(ctx context.Context) (err error) {
	if u.lv, err = u.r.openLive(ctx, u.app, u.ledger); err != nil {
		return err
	}
	if err := u.begin(ctx); err != nil {
		return err
	}
	now := u.r.now()
	desired := plan.Fold(u.docs, u.lv.description, now)
	u.docs, u.next = nil, desired.Next
	if u.remembered, err = baseline(ctx, u.ledger, u.app.Name); err != nil {
		return err
	}
	if err := u.lv.read(ctx, desired); err != nil {
		return err
	}
	u.in = plan.Input{Desired: desired, Baseline: u.remembered, Now: now}
	if u.result, err = u.lv.diff(ctx, u.in); err != nil {
		return err
	}
	u.out.Plan = u.result.Plan
	u.out.Plan.ReadAt = now
	u.settle()
	u.out.Plan.LiveDigest, err = plan.LiveDigest(u.lv.state)
	return err
}

// hold says which operations wait, and why.
func (u *run) hold(ctx context.Context) error {
	rules, release, err := u.rules(ctx, u.app, u.result, u.in.Now)
	if err != nil {
		return err
	}
	u.release = release
	rules.Outside, rules.Unable = u.outside.holds, u.r.unable(u.app, u.trust.settings, u.lv.description)
	u.again = u.outside.again
	u.pass.removed = u.pass.removed.Add(plan.Hold(&u.out.Plan, rules))
	overdue(&u.out.Plan)
	u.out.Remaining = len(u.out.Plan.Operations)
	return nil
}

// chunk is how many operations or items share one record.
const chunk = ledger.MaxPlanned

// recordsAtOnce is how many records are written together, chunksAtOnce how many of those that speak of a chunk:
// each time the disk is waited for.
const recordsAtOnce, chunksAtOnce = 5000, 10

func (u *run) append(ctx context.Context, records ...schemas.Record) error {
	for i := range records {
		records[i].Run, records[i].Application = u.id, u.app.Name
	}
	if _, err := u.ledger.Append(ctx, records...); err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	return nil
}

func (u *run) carryOut(ctx context.Context) error {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return fmt.Errorf("make a run id: %w", err)
	}
	u.id = hex.EncodeToString(id[:])
	u.out.Run = u.id
	var todo []schemas.Operation
	for _, o := range u.out.Plan.Operations {
		if o.Hold == schemas.HoldNone {
			todo = append(todo, o)
		}
	}
	done, err := u.ledger.FirstRunDone(ctx, u.app.Name, u.r.c.Version)
	if err != nil {
		return err
	}
	unsettled, err := u.ledger.Unsettled(ctx, u.app.Name)
	if err != nil {
		return err
	}
	u.cut = map[string]schemas.Operation{}
	for _, o := range unsettled {
		u.cut[plan.OperationItem(&o)] = o
	}
	waiting, err := u.ledger.Held(ctx, u.app.Name)
	if err != nil {
		return err
	}
	if len(todo) == 0 && u.outside.idle() && len(u.result.Settled) == 0 && len(u.cut) == 0 && done && u.release.note == "" && maps.Equal(waiting, held(u.out.Plan.Operations)) {
		return nil // nothing to do, nothing to remember: the ledger stays as it is
	}
	digest, err := plan.Digest([]schemas.ApplicationPlan{u.out.Plan})
	if err != nil {
		return err
	}
	info := &schemas.RunRecord{Version: u.r.c.Version, Connector: u.app.Spec.Connector, Credential: credentialName(u.app), Tip: u.tip,
		PlanDigest: digest, LiveDigest: u.out.Plan.LiveDigest, Operations: len(todo), Held: len(u.out.Plan.Operations) - len(todo)}
	records := []schemas.Record{{Type: schemas.RecordRun, RunInfo: info}}
	if u.release.note != "" {
		records = append(records, schemas.Record{Type: schemas.RecordAcknowledged, Note: u.release.note})
	}
	if err := u.append(ctx, records...); err != nil {
		return err
	}
	u.r.c.Step("run")
	if err := u.recordHeld(ctx); err != nil {
		return err
	}
	ours := map[string]bool{}
	if err := u.withdraw(ctx); err != nil {
		return err
	}
	if err := u.closeSeen(ctx, ours); err != nil {
		return err
	}
	if err := u.recordDiffering(ctx); err != nil {
		return err
	}
	todo = todo[:0]
	var others []schemas.Operation
	for _, o := range u.out.Plan.Operations {
		switch {
		case o.Hold != schemas.HoldNone:
		case o.Provisioning == schemas.ProvisioningDirect:
			todo = append(todo, o)
		default:
			others = append(others, o)
		}
	}
	if todo, others = u.part(todo, others); len(todo) > 0 {
		if err := u.write(ctx, todo); err != nil {
			return err
		}
	}
	// What was carried out before is read back all the same.
	said, unasked := u.fulfil(ctx, others)
	after, err := u.verify(ctx, append(todo, said...), ours)
	if err = errors.Join(unasked, err); err != nil {
		return err
	}
	u.r.c.Step("verified")
	u.schedule()
	return u.end(ctx, info, after)
}

// held is what waits, as the ledger tells it.
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

// recordHeld puts on record what waits, and why.
func (u *run) recordHeld(ctx context.Context) error {
	var held []schemas.Operation
	for _, o := range u.out.Plan.Operations {
		if o.Hold != schemas.HoldNone {
			held = append(held, o)
		}
	}
	for part := range slices.Chunk(held, ledger.MaxPlanned) {
		if err := u.append(ctx, schemas.Record{Type: schemas.RecordHeld, Planned: part}); err != nil {
			return err
		}
	}
	return nil
}

// credentialName says which secret reference the writer uses, never what it holds.
func credentialName(app *schemas.Application) string {
	var refs []string
	for k, v := range app.Spec.Config {
		m, ok := v.(map[string]any)
		if !ok || len(m) != 1 {
			continue
		}
		for _, kind := range []string{"env", "file"} {
			if name, ok := m[kind].(string); ok {
				refs = append(refs, k+"="+kind+":"+name)
			}
		}
	}
	if w := app.Spec.Webhook(); w != nil {
		for kind, name := range map[string]string{"env": w.Secret.Env, "file": w.Secret.File} {
			if name != "" {
				refs = append(refs, "fulfilment.webhook.secret="+kind+":"+name)
			}
		}
	}
	slices.Sort(refs)
	return strings.Join(refs, " ")
}

// write carries the operations out, with the intent on record before and the outcome after. What failed
// because the application was not available is tried again.
func (u *run) write(ctx context.Context, todo []schemas.Operation) (err error) {
	c, cfg, err := u.r.configure(u.app, true)
	if err != nil {
		return err
	}
	w, err := c.OpenWriter(ctx, cfg)
	if err != nil {
		return fmt.Errorf("open %s for writing: %w", u.app.Name, err)
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	byID := make(map[string]*schemas.Operation, len(todo))
	for i := range todo {
		byID[todo[i].ID] = &todo[i]
	}
	var intents []schemas.Record
	for part := range slices.Chunk(todo, chunk) {
		ids := make([]string, len(part))
		for i := range part {
			ids[i] = part[i].ID
		}
		if intents = append(intents, schemas.Record{Type: schemas.RecordIntent, Operations: ids, Planned: part}); len(intents) == chunksAtOnce {
			if err := u.append(ctx, intents...); err != nil {
				return err
			}
			intents = nil
		}
	}
	if len(intents) > 0 {
		if err := u.append(ctx, intents...); err != nil {
			return err
		}
	}
	u.r.c.Step("intent")
	left := todo
	for attempt := 1; ; attempt++ {
		again, wait, err := u.attempt(ctx, w, left, byID, attempt)
		if err != nil || len(again) == 0 {
			return err
		}
		if attempt == maxAttempts {
			return nil // their last outcomes stand on record as failed
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		left = again
	}
}

const maxAttempts = 3

// attempt carries out the operations once and records the outcomes in batches. It returns those worth
// another try.
func (u *run) attempt(ctx context.Context, w connectors.Writer, ops []schemas.Operation, byID map[string]*schemas.Operation, n int) (again []schemas.Operation, wait time.Duration, err error) {
	var batch []schemas.Record
	var recordErr error
	wait = time.Duration(n*n) * 500 * time.Millisecond
	// The application goes on while outcomes are written. They are put on record even when the run is being
	// stopped.
	outcomes, written := make(chan []schemas.Record, 4), make(chan error, 1)
	go func() {
		var err error
		for records := range outcomes {
			if err == nil {
				err = u.append(context.WithoutCancel(ctx), records...)
			}
		}
		written <- err
	}()
	flush := func() {
		if len(batch) > 0 {
			outcomes <- batch
			batch = nil
		}
	}
	reported := map[string]bool{}
	done := 0
	retry := map[string]bool{}
	report := func(o connectors.Outcome) {
		op := byID[o.Operation]
		if op == nil {
			recordErr = errors.Join(recordErr, fmt.Errorf("the connector reported an operation that was not asked for: %s", o.Operation))
			return
		}
		reported[o.Operation] = true
		rec := schemas.OutcomeRecord{Operation: o.Operation, Status: schemas.OutcomeApplied, Attempts: n, Started: o.Started.UTC(), Finished: o.Finished.UTC()}
		if o.Err != nil {
			code := connectors.CodeOf(o.Err)
			rec.Status, rec.Error, rec.Code = "failed", o.Err.Error(), string(code)
			var ce *connectors.Error
			switch {
			case code == connectors.Blocked:
				rec.Status = "blocked"
				retry[o.Operation] = op.DependsOn != nil && slices.ContainsFunc(op.DependsOn, func(d string) bool { return retry[d] })
			case code == connectors.Unavailable:
				retry[o.Operation] = true
				if errors.As(o.Err, &ce) && ce.RetryAfter > wait {
					wait = ce.RetryAfter
				}
			}
		}
		u.out.Outcomes = append(u.out.Outcomes, rec)
		full := *op
		batch = append(batch, schemas.Record{Type: schemas.RecordOutcome, Operation: &full, Outcome: &rec})
		if len(batch) >= 1000 {
			flush()
		}
		done++
		if done%100 == 0 {
			u.r.c.Progress("apply to "+u.app.Name, done, len(ops))
		}
		u.r.c.Step("operation")
	}
	err = w.Apply(ctx, ops, report)
	flush()
	close(outcomes)
	if recordErr = errors.Join(recordErr, <-written); recordErr != nil {
		return nil, 0, recordErr
	}
	u.r.c.Step("outcomes")
	if err != nil && connectors.CodeOf(err) != connectors.Unavailable {
		return nil, 0, fmt.Errorf("apply to %s: %w", u.app.Name, err)
	}
	if err != nil && n == maxAttempts {
		return nil, 0, fmt.Errorf("apply to %s, given up after %d attempts: %w", u.app.Name, n, err)
	}
	for _, o := range ops {
		if retry[o.ID] || (err != nil && !reported[o.ID]) {
			again = append(again, o)
		}
	}
	return again, min(wait, time.Minute), nil
}

// verify reads back, records what the read showed of each operation, and remembers what is as desired.
func (u *run) verify(ctx context.Context, todo []schemas.Operation, ours map[string]bool) (*plan.Result, error) {
	if len(todo) == 0 {
		ours, err := u.recover(ctx, &u.result, ours)
		if err != nil {
			return nil, err
		}
		return &u.result, u.adopt(ctx, &u.result, ours)
	}
	last := map[string]schemas.OutcomeStatus{}
	for _, o := range u.out.Outcomes {
		last[o.Operation] = o.Status
	}
	var after plan.Result
	var err error
	for attempt := 1; ; attempt++ {
		after, err = u.readBack(ctx)
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
			u.out.Verifications = append(u.out.Verifications, v)
			records = append(records, schemas.Record{Type: schemas.RecordVerification, Operation: &todo[i], Verification: &v, Note: err.Error()})
		}
		return nil, errors.Join(fmt.Errorf("read back: %w", err), u.append(context.WithoutCancel(ctx), records...))
	}
	differs := map[string]bool{}
	for _, o := range after.Plan.Operations {
		differs[o.ID] = true
	}
	pending := map[string]bool{}
	for _, p := range after.Plan.Pending {
		pending[plan.EntitlementItem(p.Key)] = true
	}
	settled := map[string]schemas.BaselineItem{}
	for _, s := range after.Settled {
		settled[s.Item] = s
	}
	for i := range todo {
		o := &todo[i]
		item := plan.OperationItem(o)
		v := schemas.VerificationRecord{Operation: o.ID, Status: u.verified(), Before: o.Before, After: o.After}
		if v.Before == nil && v.After == nil {
			v.Before, v.After = o.Kind == schemas.OperationRevoke, o.Kind == schemas.OperationGrant
		}
		rec := schemas.Record{Type: schemas.RecordVerification, Operation: o, Verification: &v}
		switch {
		case after.Plan.Incomplete != "":
			v.Status = schemas.VerificationUnverifiable
		case pending[item]:
			v.Status = schemas.VerificationPending
		case differs[o.ID] && o.Provisioning != schemas.ProvisioningDirect && o.Provisioning != "":
			// Somebody outside said that it is done: they have the grace to let it show.
			v.Status = schemas.VerificationPending
		case differs[o.ID]:
			v.Status = schemas.VerificationDiffers
		default:
			s, ok := settled[item]
			if !ok && !o.Removes() {
				// It is in no plan any more, and yet not seen to be there: something else is wrong with it.
				if b, known := u.remembered(item); !known || b.Token != u.result.Tokens[o.ID] {
					v.Status = schemas.VerificationDiffers
					break
				}
			}
			if f, asked := u.outside.asked[o.ID]; asked && f.State == ledger.FulfilmentApplied {
				f.State = string(v.Status)
				u.outside.asked[o.ID] = f
			}
			if !ok {
				s = schemas.BaselineItem{Item: item, Token: u.result.Tokens[o.ID]}
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
		u.out.Verifications = append(u.out.Verifications, v)
		records = append(records, rec)
		if len(records) >= recordsAtOnce {
			if err := u.append(ctx, records...); err != nil {
				return nil, err
			}
			records = records[:0]
		}
	}
	if err := u.append(ctx, records...); err != nil {
		return nil, err
	}
	for i := range todo {
		delete(u.cut, plan.OperationItem(&todo[i]))
	}
	if ours, err = u.recover(ctx, &after, ours); err != nil {
		return nil, err
	}
	return &after, u.adopt(ctx, &after, ours)
}

// recover closes the intents of runs that were cut short: what they meant to do and is so now was theirs.
func (u *run) recover(ctx context.Context, seen *plan.Result, ours map[string]bool) (map[string]bool, error) {
	if len(u.cut) == 0 || u.out.Plan.Incomplete != "" || seen.Plan.Incomplete != "" {
		return ours, nil
	}
	settled := map[string]schemas.BaselineItem{}
	for _, s := range seen.Settled {
		settled[s.Item] = s
	}
	differs := map[string]bool{}
	for _, o := range seen.Plan.Operations {
		differs[o.ID] = true
	}
	pending := map[string]bool{}
	for _, p := range seen.Plan.Pending {
		pending[plan.EntitlementItem(p.Key)] = true
	}
	var records []schemas.Record
	for _, item := range slices.Sorted(maps.Keys(u.cut)) {
		o := u.cut[item]
		if differs[o.ID] || pending[item] {
			continue // held back now, or waiting for somebody: it stays open until it is carried out
		}
		v := schemas.VerificationRecord{Operation: o.ID, Status: schemas.VerificationVerified, Before: o.Before, After: o.After}
		rec := schemas.Record{Type: schemas.RecordVerification, Operation: &o, Verification: &v, Note: "an earlier run was cut short after its intent"}
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
			v.Status, rec.Note = schemas.VerificationDiffers, "an earlier run was cut short after its intent, and nothing wants it now"
		}
		records = append(records, rec)
	}
	return ours, u.append(ctx, records...)
}

func (u *run) readBack(ctx context.Context) (plan.Result, error) {
	// The wanted state is that of the plan: an expiry that falls between is the next run's.
	if err := u.lv.read(ctx, u.in.Desired); err != nil {
		return plan.Result{}, err
	}
	return u.lv.diff(ctx, u.in)
}

// adopt remembers what was found as desired without an operation of this run.
func (u *run) adopt(ctx context.Context, seen *plan.Result, ours map[string]bool) error {
	// A partial read settles nothing: what this run made would pass for found.
	if u.out.Plan.Incomplete != "" || seen.Plan.Incomplete != "" {
		return nil
	}
	var items []schemas.BaselineItem
	for _, s := range seen.Settled {
		if ours[s.Item] {
			continue
		}
		if _, known := u.remembered(s.Item); !known {
			u.out.Adopted++
		}
		items = append(items, s)
	}
	for start := 0; start < len(items); start += chunk {
		part := items[start:min(start+chunk, len(items))]
		if err := u.append(ctx, schemas.Record{Type: schemas.RecordAdoption, Baseline: part}); err != nil {
			return err
		}
	}
	return nil
}

// end closes the run. A first run is over when nothing of it was held back for being the first.
func (u *run) end(ctx context.Context, info *schemas.RunRecord, after *plan.Result) error {
	counts := map[string]int{}
	for _, v := range u.out.Verifications {
		counts[string(v.Status)]++
	}
	last := map[string]schemas.OutcomeStatus{}
	for _, o := range u.out.Outcomes {
		last[o.Operation] = o.Status
	}
	for _, s := range last {
		counts[string(s)]++
	}
	for _, o := range u.out.Plan.Operations {
		if o.Hold != schemas.HoldNone {
			counts["held-"+string(o.Hold)]++
		}
	}
	if u.out.Plan.Incomplete != "" {
		counts[ledger.CountIncomplete] = 1 // who saw nothing whole has not had its first run
	}
	u.out.Remaining = len(after.Plan.Operations)
	ended := *info
	ended.Counts = counts
	return u.append(ctx, schemas.Record{Type: schemas.RecordRunEnd, RunInfo: &ended})
}
