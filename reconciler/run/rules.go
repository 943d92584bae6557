package run

import (
	"context"
	"fmt"
	"time"

	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// overdue lists the expired grants that a mode keeps in place. They are never verified.
func overdue(p *schemas.ApplicationPlan) {
	for i := range p.Operations {
		if o := &p.Operations[i]; o.Kind == schemas.OperationRevoke && o.Cause == schemas.CauseExpiry && o.Hold != schemas.HoldNone {
			p.Overdue = append(p.Overdue, o.Key())
		}
	}
}

// release is the acknowledgement that this run uses.
type release struct{ note string }

// rules decide which operations of this application are held back in this run.
func (p *pass) rules(ctx context.Context, app *schemas.Application, res plan.Result, now time.Time) (hold.Rules, release, error) {
	rules := hold.Rules{Limits: hold.Limits(app, p.base.Settings), Run: p.removed, Shrunken: res.Shrunken,
		Enforce: p.options.Enforce || (!p.options.Drift && app.Spec.Drift.Mode == schemas.DriftEnforce)}
	day, err := p.base.Ledger.Removals(ctx, app.Name, now.Add(-24*time.Hour))
	if err != nil {
		return rules, release{}, fmt.Errorf("count the removals of the last day: %w", err)
	}
	rules.Day = hold.Counts{Members: day.Members, Grants: day.Grants, Deletions: day.Deletions, Attributes: day.Attributes}
	for _, c := range p.base.Controls {
		if b := c.BudgetOverride; b != nil && b.Application == app.Name && now.Before(b.Until) {
			rules.Limits = hold.Override(rules.Limits, b.Limits)
		}
	}
	done, err := p.base.Ledger.FirstRunDone(ctx, app.Name, p.config.Version)
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

// acknowledged finds an admitted Acknowledgement for the application that no earlier run used.
func (p *pass) acknowledged(ctx context.Context, app string) (string, error) {
	used, err := p.usedAcknowledgements(ctx, app)
	if err != nil {
		return "", err
	}
	for _, c := range p.base.Controls {
		if c.Acknowledgement == nil || c.Acknowledgement.FirstRun != app {
			continue
		}
		note := fmt.Sprintf("first run: %s#%d@%s", c.ID.Path, c.ID.Index, c.ID.Blob)
		if used[note] {
			continue
		}
		// It refers to what a run has shown. One from before the first run on record is of another ledger, which
		// is lost and may have seen it used.
		f, err := p.base.Documents.File(ctx, c.ID.Path)
		if err != nil || f == nil {
			return "", err
		}
		after, err := p.base.Ledger.AdmittedAfterRun(ctx, app, f.Commit)
		if err != nil {
			return "", fmt.Errorf("read the acknowledgements: %w", err)
		}
		if after {
			return note, nil
		}
	}
	return "", nil
}

// usedAcknowledgements are the notes of those that earlier runs over an application used.
func (p *pass) usedAcknowledgements(ctx context.Context, app string) (map[string]bool, error) {
	list, err := p.base.Ledger.Acknowledgements(ctx, app)
	if err != nil {
		return nil, fmt.Errorf("read the acknowledgements: %w", err)
	}
	used := map[string]bool{}
	for i := range list {
		used[list[i].Note] = true
	}
	return used, nil
}
