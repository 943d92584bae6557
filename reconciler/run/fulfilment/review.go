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

// What provisioning webhook and ticket do: operations are given to somebody outside, and stay in the plan until a read
// shows their effect. What they say of it is a claim that puts off asking again, and no more; only of an application
// that nothing can read it is all that there is.
//
//	asked for          in the plan   read     what becomes of it
//	submitting         yes           –        asked again under the same id: they may have heard of it or not
//	pending            yes           –        waits
//	said to be done    yes           –        waits for the grace, then it differs and is asked for anew
//	failed (webhook)   yes           –        waits for the grace, then asked for anew
//	failed (ticket)    yes           –        waits until somebody reopens the ticket
//	any                no            shows    verified, whatever they said
//	any                no            lacks    withdrawn: nothing wants it any more, and they are told

// Review is what a run does about everything that was asked for of one application.
type Review struct {
	// Asked are the latest requests, by operation.
	Asked map[string]ledger.Fulfilment
	// Holds are the operations of the plan that are not begun again.
	Holds map[string]hold.Outside
	// Seen are those whose effect the read shows, Vanished those that nothing wants any more, with the reason.
	Seen     []string
	Vanished map[string]string
	// Differing were said to be done, and are not there after the grace.
	Differing []string
	// Gone are those whose ticket is gone.
	Gone map[string]bool
	// LookAgain is when to look again; zero for nothing to look for.
	LookAgain time.Time
}

// Awaited says whether an asking has not come to its end: neither a read, nor nobody's wanting it any more, has ended it.
func Awaited(f *ledger.Fulfilment) bool {
	switch f.State {
	case ledger.FulfilmentSubmitting, ledger.FulfilmentPending, ledger.FulfilmentApplied, ledger.FulfilmentFailed, ledger.FulfilmentDiffers:
		return true
	}
	return false
}

// Grace is how long after a word nothing is asked anew: longer each time, so that nobody is asked for ever every hour.
func Grace(app *schemas.Application, round int) time.Duration {
	return app.Spec.Fulfilment.GraceTime() << min(round, 5)
}

// Classify decides what a run does about everything that was asked for. gone are the operations whose ticket is gone, and
// seenBy tells whether the read shows one; unknown says that the read was not complete.
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
		why := "nothing wants it any more"
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
			// What is not seen may be there all the same; who is invited is on the way.
		case planned[id] == nil && seenBy(&f):
			o.Seen = append(o.Seen, id)
		default:
			o.Vanished[id] = why
		}
	}
	return o
}

// wanted is for what is in the plan as it was asked for.
func (o *Review) wanted(app *schemas.Application, f *ledger.Fulfilment, unknown bool, now time.Time) {
	until := f.Changed.Add(Grace(app, f.Round))
	if unknown && !now.Before(until) {
		until = now.Add(time.Minute) // what was not read may be there
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
	said := ""
	if f.Message != "" {
		said = ": " + f.Message
	}
	switch {
	case o.Gone[f.Operation]:
		// Asked for anew.
	case f.State == ledger.FulfilmentPending:
		// Rarely at first, more rarely later.
		age := now.Sub(f.Since)
		wait(schemas.HoldPending, fmt.Sprintf("%s since %s", Where(f), Timestamp(f.Since)), now.Add(min(max(age/10, time.Minute), 30*time.Minute)))
	case f.State == ledger.FulfilmentApplied && now.Before(until):
		wait(schemas.HoldPending, fmt.Sprintf("%s said at %s that it is done, and it is not seen yet; looked for until %s", who, Timestamp(f.Changed), Timestamp(until)), until)
	case f.State == ledger.FulfilmentApplied:
		o.Differing = append(o.Differing, f.Operation)
	case f.State == ledger.FulfilmentFailed && f.Via == schemas.ProvisioningTicket:
		wait(schemas.HoldDeclined, fmt.Sprintf("%s closed it as not planned at %s: reopen the issue, or undo the request", who, Timestamp(f.Changed)), now.Add(30*time.Minute))
	case f.State == ledger.FulfilmentFailed && now.Before(until):
		wait(schemas.HoldDeclined, fmt.Sprintf("%s said at %s that it failed%s; asked for again after %s", who, Timestamp(f.Changed), said, Timestamp(until)), until)
	}
}

// Where is whom somebody asked: "webhook example.com" or "ticket acme/access#12".
func Where(f *ledger.Fulfilment) string {
	return strings.TrimSpace(string(f.Via) + " " + f.To)
}

// Timestamp is an instant for people.
func Timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// Idle says whether nothing is to be done about what was asked for.
func (o *Review) Idle() bool {
	return len(o.Seen) == 0 && len(o.Vanished) == 0 && len(o.Differing) == 0
}
