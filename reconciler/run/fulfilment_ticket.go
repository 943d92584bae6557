package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/run/fulfilment"
	"github.com/countersign/countersign/schemas"
)

// ticketRepository opens the issues of the application's tickets.
func (a *application) ticketRepository(ctx context.Context) (Tickets, error) {
	if a.fulfilments.tickets != nil {
		return a.fulfilments.tickets, nil
	}
	kind := a.base.Settings.Spec.Forge
	if kind.Kind == "local" || a.config.Tickets == nil {
		return nil, errors.New("this run has no forge with issues")
	}
	var err error
	a.fulfilments.tickets, err = a.config.Tickets(ctx, kind, a.app.Spec.Ticket(kind.Repository).Repository)
	return a.fulfilments.tickets, err
}

// numberOf is the issue of a ticket of the application's repository; 0 for one elsewhere, where the application's
// tickets were once.
func (a *application) numberOf(to string) int {
	repository, number, ok := strings.Cut(to, "#")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || !strings.EqualFold(repository, a.app.Spec.Ticket(a.base.Settings.Spec.Forge.Repository).Repository) {
		return 0
	}
	return n
}

// onTicket are the askings of a ticket, sorted.
func (o *fulfilments) onTicket(to string) []ledger.Fulfilment {
	var out []ledger.Fulfilment
	for _, id := range slices.Sorted(maps.Keys(o.Asked)) {
		if f := o.Asked[id]; f.Via == schemas.ProvisioningTicket && f.To == to {
			out = append(out, f)
		}
	}
	return out
}

// settleTime is how long a ticket is checked after its last operation ended: a run that was cut short may have left it
// open.
const settleTime = 24 * time.Hour

// readTickets reads the tickets and records what people did with them. A forge that cannot be reached doesn't stop the
// run: what is pending stays pending.
func (a *application) readTickets(ctx context.Context) error {
	tickets := map[string]bool{}
	for _, f := range a.fulfilments.Asked {
		if f.Via == schemas.ProvisioningTicket && f.To != "" && (fulfilment.Awaited(&f) || a.now().Sub(f.Changed) < settleTime) {
			tickets[f.To] = true
		}
	}
	for _, to := range slices.Sorted(maps.Keys(tickets)) {
		if err := a.readTicket(ctx, to); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var broken *LedgerError
			if errors.As(err, &broken) {
				return err
			}
			a.fulfilments.findings = append(a.fulfilments.findings, schemas.Finding{Code: "ticket-unread", Severity: schemas.SeverityWarning, Application: a.app.Name,
				Message: fmt.Sprintf("the ticket %s could not be read or written: %v", to, err), Fix: "the next run tries again"})
		}
	}
	return nil
}

// LedgerError is a failure of the ledger or the index, which stops a run.
type LedgerError struct{ error }

// Unwrap returns the cause.
func (e *LedgerError) Unwrap() error { return e.error }

func (a *application) readTicket(ctx context.Context, to string) error {
	rows := a.fulfilments.onTicket(to)
	number := a.numberOf(to)
	if number == 0 {
		return errors.New("the application's tickets are in another repository now: close it by hand, and undo the request or reopen it there")
	}
	tickets, err := a.ticketRepository(ctx)
	if err != nil {
		return err
	}
	t, err := tickets.Read(ctx, number)
	if err != nil {
		return err
	}
	if t != nil {
		// Operations that were never written into the ticket are not part of it: nothing done there concerns them.
		rows = slices.DeleteFunc(rows, func(f ledger.Fulfilment) bool {
			return f.State == schemas.FulfilmentSubmitting && !fulfilment.Mentions(t.Body, f.Submission)
		})
	}
	open := slices.ContainsFunc(rows, func(f ledger.Fulfilment) bool { return fulfilment.Awaited(&f) })
	switch {
	case t == nil:
		for _, f := range rows {
			if fulfilment.Awaited(&f) {
				a.fulfilments.Gone[f.Operation] = true
			}
		}
		if open {
			a.ticketFinding(rows, "ticket-gone", fmt.Sprintf("the ticket %s is gone", to), "another one is opened")
		}
		return nil
	case !open && t.Open:
		comment := ""
		if slices.ContainsFunc(rows, func(f ledger.Fulfilment) bool { return f.State == schemas.FulfilmentAttested }) {
			// The person who closed it reported it as done. That is the only evidence, and other operations may rely on it by now.
			a.ticketFinding(rows, "ticket-reopened", fmt.Sprintf("the ticket %s was reopened after its operations were reported as done; they still count as done", to),
				"if they are not done, revoke them in a request, and grant them again in another")
			comment = "This was reported as done, and is recorded as done: reopening it takes nothing back. If it is not done, revoke it in a request, and ask for it again in another."
		}
		a.updateTicket(ctx, to, comment)
		return nil
	case !open:
		return nil
	case t.Open:
		return a.ticketOpen(ctx, tickets, t, rows)
	}
	return a.ticketClosed(ctx, tickets, t, to, rows)
}

func (a *application) ticketFinding(rows []ledger.Fulfilment, code, message, fix string) {
	f := schemas.Finding{Code: code, Severity: schemas.SeverityWarning, Application: a.app.Name, Message: message, Fix: fix}
	if len(rows) > 0 {
		f.Document, f.Connection = fulfilment.LastDocument(&rows[0].Plan), rows[0].Plan.Connection
	}
	a.fulfilments.findings = append(a.fulfilments.findings, f)
}

// ticketOpen takes back an earlier closing, and restores a text that somebody changed.
func (a *application) ticketOpen(ctx context.Context, tickets Tickets, t *forge.Ticket, rows []ledger.Fulfilment) error {
	for _, f := range rows {
		if f.State != schemas.FulfilmentFailed && f.State != schemas.FulfilmentApplied {
			continue
		}
		out := fulfilment.OutcomeOf(&f, schemas.OutcomePending, schemas.FulfilledByTicket, a.now())
		out.Fulfilment.Message = "reopened"
		back := f.State == schemas.FulfilmentApplied && a.live.attested != nil
		if err := a.recordTicketOutcome(ctx, &f, out); err != nil {
			return err
		}
		if back {
			if err := a.live.attest(ctx, a.base.Ledger); err != nil {
				return &LedgerError{err}
			}
		}
	}
	text, err := a.ticketText(ctx, rows)
	if err != nil {
		return &LedgerError{err}
	}
	if body := text.Body(); fulfilment.Tampered(body, t.Body) {
		a.ticketFinding(rows, "ticket-changed", fmt.Sprintf("the text of the ticket %s was not what was signed off, and was put back", rows[0].To), "see who edited it, in the issue's history")
		_, err := tickets.Write(ctx, forge.Edit{Number: t.Number, Title: text.Title(), Body: body})
		return err
	}
	return nil
}

// recordTicketOutcome records an answer that came between two runs.
func (a *application) recordTicketOutcome(ctx context.Context, f *ledger.Fulfilment, out schemas.OutcomeRecord) error {
	if err := a.recordOutcome(ctx, f, out, f.Run); err != nil {
		return &LedgerError{err}
	}
	f.State, f.Changed, f.FulfilmentRecord = schemas.FulfilmentState(out.Status), out.Finished, *out.Fulfilment
	a.fulfilments.Asked[f.Operation] = *f
	return nil
}

// ticketClosed accepts a closed ticket when the person who closed it may close it. When anybody else closed it, the
// ticket is reopened.
func (a *application) ticketClosed(ctx context.Context, tickets Tickets, t *forge.Ticket, to string, rows []ledger.Fulfilment) error {
	var ops []*schemas.Operation
	for i := range rows {
		ops = append(ops, &rows[i].Plan)
	}
	if err := a.findSources(ctx, ops...); err != nil {
		return &LedgerError{err}
	}
	if a.base.Unread != nil && slices.ContainsFunc(a.app.Spec.Ticket("").Closers, func(p string) bool { return strings.HasPrefix(p, "team:") }) {
		return a.base.Unread
	}
	closing := t.Closing
	if closing == nil {
		closing = &forge.Closing{}
	}
	text, err := a.ticketText(ctx, rows)
	if err != nil {
		return &LedgerError{err}
	}
	code, fix := "ticket-closer", "it was reopened: somebody else has to close it"
	why, known := a.mayClose(closing, rows)
	// After a closing was accepted, a changed text doesn't contradict it: our own text changes when the owners do.
	tampered := slices.ContainsFunc(rows, func(f ledger.Fulfilment) bool {
		return f.State == schemas.FulfilmentPending || f.State == schemas.FulfilmentSubmitting
	}) && fulfilment.Tampered(text.Body(), t.Body)
	if why == "" && tampered {
		// The person who closed it did what they read there.
		code, fix = "ticket-changed", "it was put back and reopened: see who edited it, in the issue's history, and what was done"
		why = "its text was not what was signed off"
	}
	if why != "" {
		a.ticketFinding(rows, code, fmt.Sprintf("the ticket %s was closed, which does not count: %s", to, why), fix)
		e := forge.Edit{Number: t.Number, State: forge.StateOpen, Comment: "Closing this does not count: " + fulfilment.Markdown(why) + ". It is open again."}
		if tampered {
			e.Title, e.Body = text.Title(), text.Body()
		}
		if _, err := tickets.Write(ctx, e); err != nil {
			return err
		}
		for _, f := range rows {
			if f.State == schemas.FulfilmentPending || f.State == schemas.FulfilmentSubmitting {
				out := fulfilment.OutcomeOf(&f, schemas.OutcomePending, schemas.FulfilledByTicket, a.now())
				out.Fulfilment.Message = "closed, which does not count: " + why
				if err := a.recordTicketOutcome(ctx, &f, out); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, f := range rows {
		if f.State != schemas.FulfilmentPending && f.State != schemas.FulfilmentSubmitting {
			continue
		}
		out := fulfilment.OutcomeOf(&f, schemas.OutcomeApplied, schemas.FulfilledByTicket, a.now())
		out.Fulfilment.By, out.Fulfilment.Authenticated = closing.By, true
		if known {
			yes := true
			out.Fulfilment.Independent = &yes
		}
		if !closing.Completed {
			out.Status, out.Error, out.Code = schemas.OutcomeFailed, closing.By+" closed "+to+" as not planned", fulfilment.CodeDeclined
		}
		if err := a.recordTicketOutcome(ctx, &f, out); err != nil {
			return err
		}
	}
	return nil
}

// mayClose returns why a closing does not count, or "" if it does. known means that all authors of the requests are on record.
func (a *application) mayClose(c *forge.Closing, rows []ledger.Fulfilment) (why string, known bool) {
	d := a.base.People
	closers := a.app.Spec.Ticket("").Closers
	switch {
	case c.By == "":
		return "the forge does not show who did it", false
	case c.Bot || d.Canonical(c.By) == d.Canonical(a.base.Settings.Spec.Forge.Publisher):
		return c.By + " is a bot", false
	case c.Indirect:
		return "a commit or pull request closed it, and its merger may not have seen this", false
	case !d.Speaks(c.By, closers):
		return c.By + " is not one of " + strings.Join(closers, ", "), false
	}
	known = true
	for i := range rows {
		docs := rows[i].Plan.Documents
		known = known && len(docs) > 0
		for _, doc := range docs {
			s := a.fulfilments.sources[doc]
			known = known && s.known
			if slices.ContainsFunc(s.people, func(p string) bool { return d.Canonical(p) == d.Canonical(c.By) }) {
				return c.By + " made the request or gains by it", false
			}
		}
	}
	return "", known
}

// ticketText builds a ticket's text from its askings, which are of one document.
func (a *application) ticketText(ctx context.Context, rows []ledger.Fulfilment) (*fulfilment.Text, error) {
	t := &fulfilment.Text{Application: a.app.Name, Closers: a.app.Spec.Ticket("").Closers, Description: a.live.description}
	for i := range rows {
		f := &rows[i]
		if err := a.findSources(ctx, &f.Plan); err != nil {
			return nil, err
		}
		t.Document = fulfilment.LastDocument(&f.Plan)
		t.Source = a.fulfilments.sources[t.Document].FulfilmentSource
		t.Items = append(t.Items, fulfilment.Item{Submission: f.Submission, Operation: &f.Plan, Withdrawn: f.State == schemas.FulfilmentWithdrawn,
			Done: f.State == schemas.FulfilmentVerified || f.State == schemas.FulfilmentAttested})
	}
	return t, nil
}

// updateTicket brings a ticket's text up to date, and closes it when nothing of it is left. A later run retries
// what fails: the ticket is read for a day.
func (a *application) updateTicket(ctx context.Context, to, comment string) {
	err := func() error {
		rows := a.fulfilments.onTicket(to)
		number := a.numberOf(to)
		if number == 0 {
			return errors.New("it is in another repository now")
		}
		tickets, err := a.ticketRepository(ctx)
		if err != nil {
			return err
		}
		text, err := a.ticketText(ctx, rows)
		if err != nil {
			return err
		}
		e := forge.Edit{Number: number, Title: text.Title(), Body: text.Body(), Comment: fulfilment.Markdown(comment), State: forge.StateNotPlanned}
		for _, f := range rows {
			switch {
			case fulfilment.Awaited(&f):
				e.State = ""
			case f.State != schemas.FulfilmentWithdrawn && e.State != "":
				e.State = forge.StateCompleted
			}
		}
		if slices.ContainsFunc(rows, func(f ledger.Fulfilment) bool { return fulfilment.Awaited(&f) }) {
			e.State = ""
		}
		_, err = tickets.Write(ctx, e)
		return err
	}()
	if err != nil {
		a.config.Logger.Warn("a ticket could not be brought up to date; a later run does it", "ticket", to, "error", err)
	}
}
