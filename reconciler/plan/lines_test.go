package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// line is an operation in a sentence.
func line(o *schemas.Operation) string {
	s := string(o.Kind) + " " + o.Connection.String()
	if o.Target != nil {
		s += " " + o.Target.String() + " " + o.Privilege
	}
	if o.Kind == schemas.OperationCreate || o.Kind == schemas.OperationUpdate {
		for _, k := range slices.Sorted(maps.Keys(o.After)) {
			s += fmt.Sprintf(" %s=%v", k, o.After[k])
		}
	}
	s += ", " + string(o.Cause)
	if o.Privileged {
		s += ", privileged"
	}
	if o.Hold != "" {
		s += ", held: " + string(o.Hold)
	}
	return s
}

// lines is a plan in sentences.
func lines(p *schemas.ApplicationPlan) []string {
	out := []string{}
	for i := range p.Operations {
		out = append(out, line(&p.Operations[i]))
	}
	for _, k := range p.Unmanaged {
		out = append(out, fmt.Sprintf("unmanaged %s %s %s", k.Connection, k.Target, k.Privilege))
	}
	for _, e := range p.Pending {
		out = append(out, fmt.Sprintf("pending %s %s %s, %s", e.Key.Connection, e.Key.Target, e.Key.Privilege, e.State))
	}
	for _, f := range p.Findings {
		out = append(out, "! "+f.Code+" "+f.Connection.String())
	}
	return out
}

// wanted is a desired state in sentences.
func wanted(d *plan.Desired) []string {
	out := []string{}
	by := func(docs []schemas.DocumentID) string {
		s := " by"
		for _, id := range docs {
			s += " " + id.Path
		}
		return s
	}
	nth := func(t time.Time) string { return strconv.Itoa(int(t.Sub(day(0)).Hours() / 24)) }
	for _, c := range d.Connections {
		switch c.Existence {
		case plan.Unspecified:
			out = append(out, c.String())
		case plan.Present:
			s := c.String() + " present"
			for _, k := range slices.Sorted(maps.Keys(c.Payload)) {
				s += fmt.Sprintf(" %s=%v", k, c.Payload[k])
			}
			out = append(out, s+by(c.Documents))
		case plan.Deleted:
			s := c.String() + " deleted"
			if c.Reverted {
				s += " again"
			}
			out = append(out, s+by(c.Documents))
		case plan.Undone:
			out = append(out, c.String()+" undone"+by(c.Documents))
		}
		for _, e := range c.Entitlements {
			s := "+ " + e.Target.String() + " " + e.Privilege
			if e.Expires != nil {
				s += " until " + nth(*e.Expires)
			}
			if e.Started {
				s += " started"
			}
			if e.TargetID != "" {
				s += " #" + e.TargetID
			}
			out = append(out, s+by(e.Documents))
		}
		for _, t := range c.Tombstones {
			s := "- " + t.Target.String() + " " + t.Privilege + " " + string(t.Cause)
			if t.Scheduled {
				s += " scheduled"
			}
			out = append(out, s+by(t.Documents))
		}
		for _, e := range c.Scheduled {
			s := "~ " + e.Target.String() + " " + e.Privilege + " from " + nth(*e.Starts)
			if e.Expires != nil {
				s += " until " + nth(*e.Expires)
			}
			out = append(out, s+by(e.Documents))
		}
	}
	for _, f := range d.Findings {
		out = append(out, "! "+f.Code+by([]schemas.DocumentID{f.Document}))
	}
	if !d.Next.IsZero() {
		out = append(out, "next "+nth(d.Next))
	}
	return out
}
