package fulfilment

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// With provisioning webhook and ticket, operations are given to somebody outside, and stay in the plan until a read
// shows their effect. Their answer is a claim that only delays asking again; it is the sole evidence only for an
// application that nothing can read.
//
//	asked for          in the plan   read     result
//	submitting         yes           –        asked again under the same id: the request may have arrived or not
//	pending            yes           –        waits
//	reported as done   yes           –        waits for the grace, then it differs and is asked for again
//	failed (webhook)   yes           –        waits for the grace, then asked for again
//	failed (ticket)    yes           –        waits until somebody reopens the ticket
//	any                no            shows    verified, whatever they answered
//	any                no            lacks    withdrawn: it is no longer wanted, and they are notified

// Review is a run's decision about each operation that somebody outside was asked for in one application.
type Review struct {
	// Asked are the latest requests, by operation.
	Asked map[string]ledger.Fulfilment
	// Holds are the operations of the plan that are not begun again.
	Holds map[string]hold.Outside
	// Seen are those whose effect the read shows, Vanished those that are no longer wanted, with the reason.
	Seen     []string
	Vanished map[string]string
	// Differing were reported as done, and are not there after the grace.
	Differing []string
	// Gone are those whose ticket is gone.
	Gone map[string]bool
	// LookAgain is when to look again; zero for nothing to look for.
	LookAgain time.Time
}

// Awaited reports whether an asking is still open: neither a read nor a withdrawal has ended it.
func Awaited(f *ledger.Fulfilment) bool {
	switch f.State {
	case schemas.FulfilmentSubmitting, schemas.FulfilmentPending, schemas.FulfilmentApplied, schemas.FulfilmentFailed, schemas.FulfilmentDiffers:
		return true
	}
	return false
}

// Grace is the time after an answer before the operation is asked for again: longer each
// time, so that nobody is asked every hour forever.
func Grace(app *schemas.Application, round int) time.Duration {
	return app.Spec.Fulfilment.GraceTime() << min(round, 5)
}

// Classify decides what a run does about everything that was asked for. gone are the operations whose ticket is gone, and
// seenBy reports whether the read shows one; unknown means that the read was not complete.
func Classify(app *schemas.Application, asked map[string]ledger.Fulfilment, gone map[string]bool, seenBy func(*ledger.Fulfilment) bool, p *schemas.ApplicationPlan, unknown bool, now time.Time) *Review {
	o := &Review{Asked: asked, Gone: gone, Holds: map[string]hold.Outside{}, Vanished: map[string]string{}}
	planned := map[string]*schemas.Operation{}
	for i := range p.Operations {
		planned[p.Operations[i].ID] = &p.Operations[i]
	}
	invited := map[string]bool{}
	for _, e := range p.Pending {
		invited[plan.EntitlementItem(e.Key)] = true
	}
	for _, id := range slices.Sorted(maps.Keys(asked)) {
		f := asked[id]
		if !Awaited(&f) {
			continue
		}
		op := planned[id]
		why := "it is no longer wanted"
		switch {
		case op == nil:
		case op.Hold == schemas.HoldIdentity || op.Hold == schemas.HoldProtected:
			why = op.HoldReason
			op = nil
		case !plan.SameEffect(&f.Plan, op):
			why, op = "something else is wanted in its place", nil
		case op.Provisioning != f.Via:
			why, op = "it is carried out in another way now", nil
		}
		if op != nil {
			o.wanted(app, &f, unknown, now)
			continue
		}
		switch {
		case unknown, invited[plan.OperationItem(&f.Plan)]:
			// The effect may be there unseen; an invited member is on the way.
		case planned[id] == nil && seenBy(&f):
			o.Seen = append(o.Seen, id)
		default:
			o.Vanished[id] = why
		}
	}
	return o
}

// wanted handles operations that are in the plan as they were asked for.
func (o *Review) wanted(app *schemas.Application, f *ledger.Fulfilment, unknown bool, now time.Time) {
	until := f.Changed.Add(Grace(app, f.Round))
	if unknown && !now.Before(until) {
		until = now.Add(time.Minute) // the effect may be there unread
	}
	wait := func(h schemas.Hold, reason string, at time.Time) {
		o.Holds[f.Operation] = hold.Outside{Hold: h, Reason: reason}
		if o.LookAgain.IsZero() || at.Before(o.LookAgain) {
			o.LookAgain = at
		}
	}
	who := Where(f)
	if f.By != "" {
		who = f.By + ", " + who + ","
	}
	reason := ""
	if f.Message != "" {
		reason = ": " + f.Message
	}
	switch {
	case o.Gone[f.Operation]:
		// Asked for again.
	case f.State == schemas.FulfilmentPending:
		// The intervals grow.
		age := now.Sub(f.Since)
		wait(schemas.HoldPending, fmt.Sprintf("%s since %s", Where(f), Timestamp(f.Since)), now.Add(min(max(age/10, time.Minute), 30*time.Minute)))
	case f.State == schemas.FulfilmentApplied && now.Before(until):
		wait(schemas.HoldPending, fmt.Sprintf("%s reported at %s that it is done; not found in the application yet, checking until %s", who, Timestamp(f.Changed), Timestamp(until)), until)
	case f.State == schemas.FulfilmentApplied:
		o.Differing = append(o.Differing, f.Operation)
	case f.State == schemas.FulfilmentFailed && f.Via == schemas.ProvisioningTicket:
		wait(schemas.HoldDeclined, fmt.Sprintf("%s closed it as not planned at %s: reopen the issue, or undo the request", who, Timestamp(f.Changed)), now.Add(30*time.Minute))
	case f.State == schemas.FulfilmentFailed && now.Before(until):
		wait(schemas.HoldDeclined, fmt.Sprintf("%s reported at %s that it failed%s; asked for again after %s", who, Timestamp(f.Changed), reason, Timestamp(until)), until)
	}
}

// Where names the party that was asked: "webhook example.com" or "ticket acme/access#12".
func Where(f *ledger.Fulfilment) string {
	return strings.TrimSpace(string(f.Via) + " " + f.To)
}

// Timestamp is an instant for people.
func Timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// Idle reports whether nothing that was asked for needs attention.
func (o *Review) Idle() bool {
	return len(o.Seen) == 0 && len(o.Vanished) == 0 && len(o.Differing) == 0
}
