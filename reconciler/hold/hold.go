package hold

import (
	"fmt"
	"maps"
	"slices"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// Rules decide which operations of a plan must wait.
type Rules struct {
	// Enforce lets drift and unmanaged access be fixed; without it they are only shown.
	Enforce bool
	// FirstRun holds removals that no approved document names: the first run against an application, and
	// the first of a new version, take nothing away.
	FirstRun bool
	// Limits are the application's; Day is what was removed in the last 24 hours, Run what this invocation
	// has planned for other applications.
	Limits   schemas.Limits
	Day, Run Counts
	// Shrunken is Result.Shrunken, unless an admitted Acknowledgement means that the read was right.
	Shrunken bool
	// Outside are the operations that somebody outside was asked for already, by id: they are not begun again.
	Outside map[string]Outside
	// Unable explains why nobody outside can be asked, by provisioning; one that is missing can be.
	Unable map[schemas.Provisioning]string
}

// Outside is how far somebody outside is with an operation.
type Outside struct {
	// Hold is pending or declined, Reason the sentence.
	Hold   schemas.Hold
	Reason string
}

// Counts are removals by dimension.
type Counts struct {
	Members    int `json:"members"`
	Grants     int `json:"grants"`
	Deletions  int `json:"deletions"`
	Attributes int `json:"attributes"`
}

// Add returns the sum.
func (c Counts) Add(o Counts) Counts {
	return Counts{c.Members + o.Members, c.Grants + o.Grants, c.Deletions + o.Deletions, c.Attributes + o.Attributes}
}

// Count returns what the operation removes.
func Count(o *schemas.Operation) Counts {
	switch o.Kind {
	case schemas.OperationRevoke:
		if o.Privilege == schemas.PrivilegeMember || o.Privilege == schemas.PrivilegeAdmin {
			return Counts{Members: 1}
		}
		return Counts{Grants: 1}
	case schemas.OperationDelete:
		return Counts{Deletions: 1}
	case schemas.OperationUpdate:
		return Counts{Attributes: len(o.After)}
	}
	return Counts{}
}

// shrunken is why nothing is known for sure after a read that misses most of what was there.
const shrunken = "most connections that were verified before are missing from what was read"

// Operations marks the operations that must wait and explains why. An operation that depends on a held one waits
// with it. It returns the removals that go ahead and count against the budget.
func Operations(p *schemas.ApplicationPlan, r Rules) Counts {
	incomplete := p.Incomplete != ""
	for i := range p.Operations {
		o := &p.Operations[i]
		if o.Hold == schemas.HoldNone {
			o.Hold, o.HoldReason, o.HoldExplained = holdOne(p, o, r, incomplete)
		}
	}
	if r.Shrunken && !incomplete {
		p.Incomplete = shrunken
	}
	Dependents(p)
	// A removal that somebody outside was asked for may happen at any moment: it leaves less of the budget for others.
	var total, begun Counts
	byRequest := map[string]Counts{}
	for i := range p.Operations {
		o := &p.Operations[i]
		_, outside := r.Outside[o.ID]
		outside = outside && o.Hold == schemas.HoldPending
		if o.Hold != schemas.HoldNone && !outside || plan.Named(o) {
			continue
		}
		c := Count(o)
		if outside {
			begun = begun.Add(c)
		} else {
			total = total.Add(c)
		}
		for j, d := range o.Documents {
			// A file is one request, however many of its documents lead to the operation.
			if !slices.ContainsFunc(o.Documents[:j], func(e schemas.DocumentID) bool { return e.Path == d.Path }) {
				byRequest[d.Path] = byRequest[d.Path].Add(c)
			}
		}
	}
	sum := total.Add(begun)
	why := exceeded("this run", &r.Limits.LimitSet, sum)
	if why == "" {
		why = exceeded("the last 24 hours", r.Limits.Day, sum.Add(r.Day))
	}
	if why == "" {
		why = exceeded("this run over all applications", r.Limits.Run, sum.Add(r.Run))
	}
	for _, path := range slices.Sorted(maps.Keys(byRequest)) {
		if why == "" {
			why = exceeded("the request "+path, r.Limits.Request, byRequest[path])
		}
	}
	// A budget that was spent before must not stop operations that take nothing from it.
	if why == "" || total == (Counts{}) {
		return total
	}
	// Too much at once is a sign that something else is wrong: nothing goes ahead but the removals that
	// approved documents name.
	for i := range p.Operations {
		if o := &p.Operations[i]; o.Hold == schemas.HoldNone && !(plan.Named(o) && o.Removes()) {
			o.Hold, o.HoldReason, o.HoldExplained = schemas.HoldBudget, why+": an owner raises spec.limits, or admits a BudgetOverride", true
		}
	}
	Dependents(p)
	return Counts{}
}

// holdOne returns whether the operation must wait, why, and whether the reason names what releases it.
func holdOne(p *schemas.ApplicationPlan, o *schemas.Operation, r Rules, incomplete bool) (h schemas.Hold, reason string, explained bool) {
	takes := o.Removes() || o.Kind == schemas.OperationUpdate
	outside, asked := r.Outside[o.ID]
	switch {
	case asked:
		return outside.Hold, outside.Reason, outside.Hold == schemas.HoldDeclined
	case p.Mode == schemas.ModeObserve:
		return schemas.HoldObserve, "the application is in mode observe", false
	case incomplete:
		return schemas.HoldUnknown, "could not read all of the live state: " + p.Incomplete, false
	case r.Shrunken && !(plan.Named(o) && o.Removes()):
		return schemas.HoldUnknown, shrunken + ": an owner admits an Acknowledgement with first_run: " + p.Application + " when this is right", true
	case r.Unable[o.Provisioning] != "":
		return schemas.HoldProvision, r.Unable[o.Provisioning], true
	case p.Mode == schemas.ModeAdd && takes:
		return schemas.HoldAdd, "the application is in mode add, which takes nothing away", false
	case (o.Cause == schemas.CauseDrift || o.Cause == schemas.CauseUnmanaged) && !r.Enforce:
		return schemas.HoldDrift, "nobody requested this; countersign drift --enforce fixes it", true
	case r.FirstRun && takes && !plan.Named(o):
		return schemas.HoldFirstRun, "a first run takes nothing away: the next one does, once an owner has admitted an Acknowledgement with first_run: " + p.Application, true
	}
	return schemas.HoldNone, "", false
}

// Dependents holds the operations that depend on a held one.
func Dependents(p *schemas.ApplicationPlan) {
	held := map[string]schemas.Hold{}
	for i := range p.Operations {
		o := &p.Operations[i]
		for _, id := range o.DependsOn {
			if h, ok := held[id]; ok && o.Hold == schemas.HoldNone {
				o.Hold, o.HoldReason, o.HeldBy = h, "it depends on operation "+id+", which waits", id
			}
		}
		if o.Hold != schemas.HoldNone {
			held[o.ID] = o.Hold
		}
	}
}

// exceeded names the limit that the counts exceed, or "".
func exceeded(what string, l *schemas.LimitSet, c Counts) string {
	if l == nil {
		return ""
	}
	for _, d := range []struct {
		name  string
		limit *int
		count int
	}{
		{"deletions", l.Deletions, c.Deletions},
		{"revokes", l.Revokes, c.Members + c.Grants},
		{"members", l.Members, c.Members},
		{"grants", l.Grants, c.Grants},
		{"attributes", l.Attributes, c.Attributes},
	} {
		if d.limit != nil && d.count > *d.limit {
			return fmt.Sprintf("%s would count %d %s, and the limit is %d", what, d.count, d.name, *d.limit)
		}
	}
	return ""
}
