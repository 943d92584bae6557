package report

import (
	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

// cause explains an operation that no document asks for; why adds the documents.
func cause(o *schemas.Operation) literal {
	switch o.Cause {
	case schemas.CauseStart:
		return "its start date was reached"
	case schemas.CauseExpiry:
		return "the grant has expired"
	case schemas.CauseUndo:
		return "its request was removed from Git"
	case schemas.CauseDrift:
		return "changed by hand since it was verified"
	case schemas.CauseUnmanaged:
		return "never requested"
	}
	return ""
}

// why is the cause and the documents of an operation.
func (b *builder) why(o *schemas.Operation) line {
	var docs []line
	for _, d := range o.Documents {
		docs = append(docs, source(d))
	}
	c := line(nil)
	if w := cause(o); w != "" {
		c = say("{}", w)
	}
	if len(docs) == 0 {
		return c
	}
	if !c.Empty() {
		return say("{}; see {}", c, list(docs, b.names))
	}
	return say("requested in {}", list(docs, b.names))
}

// release explains what releases a held operation, where its reason doesn't.
func release(h schemas.Hold) literal {
	switch h {
	case schemas.HoldObserve:
		return "released by mode: add or full in the application's file"
	case schemas.HoldAdd:
		return "released by mode: full in the application's file"
	case schemas.HoldUnknown:
		return "released by a run that can read everything"
	case schemas.HoldFirstRun:
		return "released by an owner's Acknowledgement"
	case schemas.HoldSignoff:
		return "released by another owner's sign-off of an Acknowledgement"
	case schemas.HoldRejudged:
		return "released by an owner's Acknowledgement"
	case schemas.HoldBudget:
		return "released by higher limits or a BudgetOverride"
	case schemas.HoldDrift:
		return "released by countersign drift --enforce"
	case schemas.HoldProtected:
		return "it is never released; change it in the application itself"
	case schemas.HoldIdentity:
		return "released by a new request, approved for the current account"
	case schemas.HoldProvision:
		return "released by a different provisioning setting"
	case schemas.HoldDeclined:
		return "then it is requested again; or undo the request"
	}
	return ""
}

// waits is why an operation waits, in a word or two.
func waits(h schemas.Hold) line {
	if h == schemas.HoldPending {
		return say("pending")
	}
	return say("held: {}", word(h))
}

// holds lists why operations wait, each reason once.
func (b *builder) holds(ops []schemas.Operation) items {
	type group struct {
		hold   schemas.Hold
		reason line
		count  int
	}
	byID := map[string]*schemas.Operation{}
	for i := range ops {
		byID[ops[i].ID] = &ops[i]
	}
	groups := map[string]*group{}
	var order []string
	for i := range ops {
		o := &ops[i]
		if o.Hold == schemas.HoldNone {
			continue
		}
		reason, id := say("{}", o.HoldReason), string(o.Hold)+"\x00"+o.HoldReason
		if o.HoldReason == "" {
			reason = nil
		} else if on := byID[o.HeldBy]; on != nil && on.Hold != schemas.HoldNone {
			// The reason names an operation by its id, which people can't read.
			reason, id = say("it depends on the {} of {}, which is waiting too", word(on.Kind), b.of(on.Connection)), "\x00"+string(o.Hold)+o.HeldBy
		}
		g := groups[id]
		if g == nil {
			g = &group{hold: o.Hold, reason: reason}
			if !o.HoldExplained {
				if r := release(o.Hold); r != "" {
					g.reason = join("; ", reason, say("{}", r))
				}
			}
			groups[id] = g
			order = append(order, id)
		}
		g.count++
	}
	var out items
	for i, id := range order {
		if i == b.list {
			out = append(out, entry(layout.MarkWait, more(len(order)-i, "reasons")))
			break
		}
		g := groups[id]
		if g.hold == schemas.HoldPending {
			out = append(out, entry(layout.MarkWait, say("{}: {}", say("{} pending", g.count).In(caution), g.reason)))
			continue
		}
		out = append(out, entry(layout.MarkWait, say("{} ({}): {}", say("{} held", g.count).In(caution), word(g.hold), g.reason)))
	}
	return out
}
