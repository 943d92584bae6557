package plan

import (
	"slices"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Between is the plan from one desired state to another, live state apart: what a change means by itself,
// the same at every time and on every machine. Policy and sign-off are judged by it. It returns the
// operations with their effects, and the findings that the second state has and the first has not.
//
// What the requests do not know they take to be there: a connection that is only assigned to or deleted
// exists, and what is revoked was held.
func Between(app *schemas.Application, description connectors.Description, before, after *Desired, now time.Time) Change {
	assumed := StateOf(before, description)
	known := map[schemas.Name]int{}
	for i, c := range assumed.Connections {
		known[c.Name] = i
	}
	was := map[schemas.Name]*Connection{}
	for _, c := range before.Connections {
		was[c.Name] = c
	}
	for _, c := range after.Connections {
		i, ok := known[c.Name]
		typ, _ := description.Type(c.Type)
		old := was[c.Name]
		if !ok && (old == nil || old.Existence == Unspecified) && c.Existence != Present {
			i = len(assumed.Connections)
			assumed.Connections = append(assumed.Connections, connectors.Connection{Name: c.Name})
			ok = true
		}
		if !ok {
			continue
		}
		a := &assumed.Connections[i]
		if old != nil && old.Existence == Unspecified && c.Existence == Present {
			// It exists, with attributes that nobody knows: whatever is not at its default is a change.
			a.Payload = CompletePayload(typ, nil)
			for k := range c.Payload {
				if _, known := a.Payload[k]; !known {
					a.Payload[k] = nil
				}
			}
		}
		for _, t := range c.Tombstones {
			if t.Cause == schemas.CauseRequest && !revokedBefore(old, t) && !holds(a, t) {
				a.Entitlements = append(a.Entitlements, connectors.Entitlement{Target: t.Target, TargetID: t.TargetID, Privilege: t.Privilege})
			}
		}
	}
	slices.SortFunc(assumed.Connections, func(a, b connectors.Connection) int { return a.Name.Compare(b.Name) })
	scoped := *app
	scoped.Spec.Unmanaged = schemas.UnmanagedIgnore
	res := Diff(Input{
		Application: &scoped, Description: description, Desired: after, Live: assumed, Now: now,
		// What the requests made before is ours to undo.
		Baseline: func(string) (schemas.BaselineItem, bool) { return schemas.BaselineItem{Made: true}, true },
	})
	start := NewGraph(app.Name, description, assumed)
	end := NewGraph(app.Name, description, assumed)
	for i := range res.Plan.Operations {
		end.Apply(&res.Plan.Operations[i])
	}
	c := Change{Operations: res.Plan.Operations, Before: start, After: end}
	c.Gained, c.Lost = Effects(c.Operations, start, end)
	former := Diff(Input{Application: &scoped, Description: description, Desired: before, Live: assumed, Now: now})
	for _, f := range res.Plan.Findings {
		if !slices.ContainsFunc(former.Plan.Findings, func(o schemas.Finding) bool {
			return o.Code == f.Code && o.Message == f.Message && o.Document == f.Document
		}) {
			c.Findings = append(c.Findings, f)
		}
	}
	return c
}

// Change is what lies between two desired states.
type Change struct {
	Operations   []schemas.Operation
	Gained, Lost []schemas.Access
	Findings     []schemas.Finding
	// Before and After are the graphs at both ends.
	Before, After *Graph
}

func revokedBefore(old *Connection, t Tombstone) bool {
	return old != nil && slices.ContainsFunc(old.Tombstones, func(o Tombstone) bool {
		return o.Target == t.Target && o.Privilege == t.Privilege && o.Cause == schemas.CauseRequest
	})
}

func holds(c *connectors.Connection, t Tombstone) bool {
	return slices.ContainsFunc(c.Entitlements, func(e connectors.Entitlement) bool {
		return e.Target == t.Target && e.Privilege == t.Privilege
	})
}
