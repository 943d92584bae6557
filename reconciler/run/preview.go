package run

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/reconciler/run/fulfilment"
	"github.com/countersign/countersign/schemas"
)

// Proposal is the change that a preview is about. *judge.Examination is one.
type Proposal interface {
	// Closure returns the connections of an application that affect who gains what by the change.
	Closure(ctx context.Context, application string, description schemas.Description) (map[schemas.Name]bool, error)
	// Fold returns the desired state of the connections before and after the change.
	Fold(ctx context.Context, application string, connections map[schemas.Name]bool, description schemas.Description, now time.Time) (before, after *plan.Desired, err error)
	// Operations are the change's own, without regard to live state.
	Operations(application string) []schemas.Operation
	// Around returns the connections whose documents decide what identities hold.
	Around(ctx context.Context, application string, identities []schemas.Name, description schemas.Description) (map[schemas.Name]bool, error)
}

// Foreseen is what a change would do to one application as it is now.
type Foreseen struct {
	// Plan holds the change's own operations, Drift those that are needed without it.
	Plan  schemas.ApplicationPlan
	Drift []schemas.Operation
	// Gained and Lost are the effects of the plan.
	Gained, Lost []schemas.Access
	// ByLive is what the change gives beyond what documents show; Privileged are the powerful rights among it, by operation.
	ByLive     Gains
	Privileged map[string][]string
}

// Preview compares the change's desired state with its base's, both against the live state. app is the
// application as the base has it, judged as the change leaves it, connected as in the base. An error means that the
// application could not be read; a *LedgerError that the ledger could not.
func (r *Runner) Preview(ctx context.Context, change Proposal, base Base, app, judged *schemas.Application, now time.Time) (*Foreseen, error) {
	live, err := r.openLive(ctx, judged, base.Ledger)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := live.reader.Close(); err != nil {
			r.config.Logger.Warn("close the application", "application", app.Name, "error", err)
		}
	}()
	remembered, err := Baseline(ctx, base.Ledger, app.Name)
	if err != nil {
		return nil, &LedgerError{err}
	}
	set, err := live.readClosure(ctx, change, remembered)
	if err != nil {
		return nil, err
	}
	before, after, err := change.Fold(ctx, app.Name, set, live.description, now)
	if err != nil {
		return nil, &LedgerError{err}
	}
	// The base's needs are those of the application as the base has it: what wakes when its scope is widened
	// is this change's doing.
	was := *live
	was.app = app
	asIs, err := was.diff(ctx, plan.Input{Desired: before, Baseline: remembered, Now: now})
	if err != nil {
		return nil, err
	}
	toBe, err := live.diff(ctx, plan.Input{Desired: after, Baseline: remembered, Now: now})
	if err != nil {
		return nil, err
	}
	out := &Foreseen{Plan: toBe.Plan}
	out.Plan.ReadAt = now
	if out.Plan.LiveDigest, err = plan.LiveDigest(live.state); err != nil {
		return nil, &LedgerError{err}
	}
	asked, err := base.Ledger.Fulfilments(ctx, app.Name)
	if err != nil {
		return nil, &LedgerError{err}
	}
	byID := map[string]ledger.Fulfilment{}
	for _, f := range asked {
		byID[f.Operation] = f
	}
	waiting := fulfilment.Classify(judged, byID, nil, func(*ledger.Fulfilment) bool { return false }, &out.Plan, true, now)
	hold.Operations(&out.Plan, hold.Rules{Limits: hold.Limits(judged, base.Settings), Shrunken: toBe.Shrunken, Enforce: true,
		Outside: waiting.Holds, Unable: r.unable(judged, base.Settings, live.description)})
	live.effects(out, asIs, toBe)
	live.foresee(ctx, &out.Plan)
	live.suggest(ctx, after, &out.Plan)
	if out.ByLive, err = live.beyond(ctx, change, set, after, toBe.Plan.Operations, remembered, now); err != nil {
		return nil, &LedgerError{err}
	}
	out.Privileged = map[string][]string{}
	for id, g := range out.ByLive.Of {
		out.Privileged[id] = privilegedRights(judged, live.description, g.Rights)
	}
	return out, nil
}

// beyond finds what the change's operations give beyond the documents. set are the connections folded in after.
func (l *liveApplication) beyond(ctx context.Context, change Proposal, set map[schemas.Name]bool, after *plan.Desired, planned []schemas.Operation,
	remembered func(string) (schemas.BaselineItem, bool), now time.Time) (Gains, error) {
	own := slices.Clone(change.Operations(l.app.Name))
	var ops []*schemas.Operation
	for i := range own {
		ops = append(ops, &own[i])
	}
	find := func(desired *plan.Desired) Gains {
		return gains(l.app.Name, l.description, l.complete, desired, ops, planned, remembered)
	}
	found := find(after)
	var identities []schemas.Name
	for _, g := range found.Of {
		identities = append(identities, g.Identities...)
	}
	if len(identities) == 0 {
		return found, nil
	}
	// Other documents may give these people all of it already.
	around, err := change.Around(ctx, l.app.Name, identities, l.description)
	if err != nil {
		return found, err
	}
	all := maps.Clone(set)
	maps.Copy(all, around)
	if len(all) == len(set) {
		return found, nil
	}
	if _, after, err = change.Fold(ctx, l.app.Name, all, l.description, now); err != nil {
		return found, err
	}
	return find(after), nil
}

// foresee adds a finding for each operation that the application is known to refuse. Failing to find that out keeps
// nobody from reviewing the change.
func (l *liveApplication) foresee(ctx context.Context, p *schemas.ApplicationPlan) {
	f, ok := l.reader.(connectors.Foreseer)
	if !ok || l.attested != nil {
		return
	}
	direct := slices.DeleteFunc(slices.Clone(p.Operations), func(o schemas.Operation) bool { return o.Provisioning != schemas.ProvisioningDirect })
	if len(direct) == 0 {
		return
	}
	found, err := f.Foresee(ctx, direct)
	if err != nil {
		found = []schemas.Finding{{Code: "not-foreseen", Severity: schemas.SeverityWarning, Application: l.app.Name,
			Message: fmt.Sprintf("what %s would refuse is unknown: %v", l.app.Name, err), Fix: "preview again, or look yourself"}}
	}
	p.Findings = append(p.Findings, found...)
}

// effects separates the change's operations from those that the base alone would need, and finds who gains and loses by
// them.
func (l *liveApplication) effects(out *Foreseen, asIs, toBe plan.Result) {
	base := map[string]bool{}
	for _, op := range asIs.Plan.Operations {
		base[op.ID] = true
	}
	start := graph.New(l.app.Name, l.description, l.complete)
	for i := range asIs.Plan.Operations {
		start.Apply(&asIs.Plan.Operations[i])
	}
	end := graph.New(l.app.Name, l.description, l.complete)
	for i := range toBe.Plan.Operations {
		end.Apply(&toBe.Plan.Operations[i])
	}
	own := []schemas.Operation{}
	for _, op := range out.Plan.Operations {
		if base[op.ID] {
			out.Drift = append(out.Drift, op)
		} else {
			own = append(own, op)
		}
	}
	out.Gained, out.Lost = graph.Effects(own, start, end)
	out.Plan.Operations = own
}

// readClosure reads the application, and leaves in the state the connections that affect the change.
func (l *liveApplication) readClosure(ctx context.Context, change Proposal, remembered func(string) (schemas.BaselineItem, bool)) (map[schemas.Name]bool, error) {
	set, err := change.Closure(ctx, l.app.Name, l.description)
	if err != nil {
		return nil, err
	}
	names := &plan.Desired{}
	for n := range set {
		names.Connections = append(names.Connections, &plan.Connection{Name: n})
	}
	if err := l.readFrom(ctx, names, true); err != nil {
		return nil, err
	}
	present, err := l.follow(ctx, names, remembered)
	if err != nil {
		return nil, err
	}
	// The diff is about the change's connections; who gains what is asked of all that was read.
	l.complete = l.state
	l.state.Connections = slices.DeleteFunc(slices.Clone(l.state.Connections), func(c schemas.Connection) bool {
		return !present[c.Name] && (!set[c.Name] || c.Foreign)
	})
	for i := range l.state.Connections {
		l.state.Connections[i].Foreign = false // a request names it, under a former name
	}
	foreign := map[schemas.Name]bool{}
	for i := range l.complete.Connections {
		if c := &l.complete.Connections[i]; c.Foreign && !present[c.Name] {
			foreign[c.Name] = true
		}
	}
	l.state.NotRead = slices.DeleteFunc(slices.Clone(l.state.NotRead), func(n schemas.NotRead) bool { return foreign[n.Connection] })
	return set, nil
}
