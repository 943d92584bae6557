package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/fulfil"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
)

// desk opens the issues of the application's tickets.
func (u *run) desk(ctx context.Context) (Tickets, error) {
	if u.outside.tickets != nil {
		return u.outside.tickets, nil
	}
	forge := u.trust.settings.Spec.Forge
	if forge.Kind == "local" || u.r.c.Tickets == nil {
		return nil, errors.New("no forge with issues is served here")
	}
	var err error
	u.outside.tickets, err = u.r.c.Tickets(ctx, forge, u.app.Spec.Ticket(forge.Repository).Repository)
	return u.outside.tickets, err
}

// numberOf is the issue of a ticket of the application's repository; 0 for one elsewhere, where the application's
// tickets were once.
func (u *run) numberOf(to string) int {
	repository, number, ok := strings.Cut(to, "#")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || !strings.EqualFold(repository, u.app.Spec.Ticket(u.trust.settings.Spec.Forge.Repository).Repository) {
		return 0
	}
	return n
}

// onTicket are the askings of a ticket, sorted.
func (o *outside) onTicket(to string) []ledger.Fulfilment {
	var out []ledger.Fulfilment
	for _, id := range slices.Sorted(maps.Keys(o.asked)) {
		if f := o.asked[id]; f.Via == schemas.ProvisioningTicket && f.To == to {
			out = append(out, f)
		}
	}
	return out
}

// settleTime is for how long a ticket is looked at after its last operation came to an end: a run that was cut short
// may have left it open.
const settleTime = 24 * time.Hour

// hear reads the tickets, and puts on record what people did with them. A forge that cannot be asked is no reason to
// stop: what is pending stays so.
func (u *run) hear(ctx context.Context) error {
	tickets := map[string]bool{}
	for _, f := range u.outside.asked {
		if f.Via == schemas.ProvisioningTicket && f.To != "" && (isUnseen(&f) || u.r.now().Sub(f.Changed) < settleTime) {
			tickets[f.To] = true
		}
	}
	for _, to := range slices.Sorted(maps.Keys(tickets)) {
		if err := u.hearTicket(ctx, to); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var broken *ledgerError
			if errors.As(err, &broken) {
				return err
			}
			u.outside.findings = append(u.outside.findings, schemas.Finding{Code: "ticket-unread", Severity: "warning", Application: u.app.Name,
				Message: fmt.Sprintf("the ticket %s could not be read or written: %v", to, err), Fix: "the next run tries again"})
		}
	}
	return nil
}

// ledgerError is a fault of the ledger, which stops a run.
type ledgerError struct{ error }

func (u *run) hearTicket(ctx context.Context, to string) error {
	rows := u.outside.onTicket(to)
	number := u.numberOf(to)
	if number == 0 {
		return errors.New("the application's tickets are in another repository now: close it by hand, and undo the request or reopen it there")
	}
	desk, err := u.desk(ctx)
	if err != nil {
		return err
	}
	t, err := desk.Read(ctx, number)
	if err != nil {
		return err
	}
	if t != nil {
		// What was to be written there and was not is no part of it: nothing that people do there speaks of it.
		rows = slices.DeleteFunc(rows, func(f ledger.Fulfilment) bool {
			return f.State == ledger.FulfilmentSubmitting && !fulfil.Mentions(t.Body, f.Submission)
		})
	}
	open := slices.ContainsFunc(rows, func(f ledger.Fulfilment) bool { return isUnseen(&f) })
	switch {
	case t == nil:
		for _, f := range rows {
			if isUnseen(&f) {
				u.outside.gone[f.Operation] = true
			}
		}
		if open {
			u.find(rows, "ticket-gone", fmt.Sprintf("the ticket %s is gone", to), "another one is opened")
		}
		return nil
	case !open && t.Open:
		comment := ""
		if slices.ContainsFunc(rows, func(f ledger.Fulfilment) bool { return f.State == ledger.FulfilmentAttested }) {
			// It was closed by whoever said so. That word is all that there is, and others may rest on it by now.
			u.find(rows, "ticket-reopened", fmt.Sprintf("the ticket %s was opened again after what it asks for was said to be done, and that is still taken to be so", to),
				"where it is not so, a request revokes it, and another grants it anew")
			comment = "This was said to be done, and is on record so: opening it again takes nothing back. Where it is not so, revoke it in a request, and ask for it anew in another."
		}
		u.retell(ctx, to, comment)
		return nil
	case !open:
		return nil
	case t.Open:
		return u.stillOpen(ctx, desk, t, rows)
	}
	return u.judgeClosing(ctx, desk, t, to, rows)
}

func (u *run) find(rows []ledger.Fulfilment, code, message, fix string) {
	f := schemas.Finding{Code: code, Severity: "warning", Application: u.app.Name, Message: message, Fix: fix}
	if len(rows) > 0 {
		f.Document, f.Connection = lastDocument(&rows[0].Plan), rows[0].Plan.Connection
	}
	u.outside.findings = append(u.outside.findings, f)
}

// stillOpen takes back what was said by closing, and puts back a text that somebody changed.
func (u *run) stillOpen(ctx context.Context, desk Tickets, t *fulfil.Ticket, rows []ledger.Fulfilment) error {
	for _, f := range rows {
		if f.State != ledger.FulfilmentFailed && f.State != ledger.FulfilmentApplied {
			continue
		}
		out := outcomeOf(&f, schemas.FulfilmentPending, schemas.FulfilledByTicket, u.r.now())
		out.Fulfilment.Message = "reopened"
		back := f.State == ledger.FulfilmentApplied && u.lv.said != nil
		if err := u.heard(ctx, &f, out); err != nil {
			return err
		}
		if back {
			if err := u.lv.attest(ctx, u.ledger); err != nil {
				return &ledgerError{err}
			}
		}
	}
	text, err := u.text(ctx, rows)
	if err != nil {
		return &ledgerError{err}
	}
	if body := text.Body(); fulfil.Tampered(body, t.Body) {
		u.find(rows, "ticket-changed", fmt.Sprintf("the text of the ticket %s was not what was signed off, and was put back", rows[0].To), "see who edited it, in the issue's history")
		_, err := desk.Write(ctx, fulfil.Edit{Number: t.Number, Title: text.Title(), Body: body})
		return err
	}
	return nil
}

// heard records word of an asking that came between two runs.
func (u *run) heard(ctx context.Context, f *ledger.Fulfilment, out schemas.OutcomeRecord) error {
	if err := u.word(ctx, f, out, f.Run); err != nil {
		return &ledgerError{err}
	}
	f.State, f.Changed, f.FulfilmentRecord = out.Status, out.Finished, *out.Fulfilment
	u.outside.asked[f.Operation] = *f
	return nil
}

// judgeClosing takes a closed ticket at the word of who closed it, when that is somebody who may say so. Anybody else's
// is no word: the ticket is reopened.
func (u *run) judgeClosing(ctx context.Context, desk Tickets, t *fulfil.Ticket, to string, rows []ledger.Fulfilment) error {
	var ops []*schemas.Operation
	for i := range rows {
		ops = append(ops, &rows[i].Plan)
	}
	if err := u.look(ctx, ops...); err != nil {
		return &ledgerError{err}
	}
	closing := t.Closing
	if closing == nil {
		closing = &fulfil.Closing{}
	}
	text, err := u.text(ctx, rows)
	if err != nil {
		return &ledgerError{err}
	}
	code, fix := "ticket-closer", "it was reopened: somebody else has to close it"
	why, known := u.mayClose(closing, rows)
	// Once a closing was heard, a text that changes says nothing of it: that of ours does when the owners do.
	tampered := slices.ContainsFunc(rows, func(f ledger.Fulfilment) bool {
		return f.State == ledger.FulfilmentPending || f.State == ledger.FulfilmentSubmitting
	}) && fulfil.Tampered(text.Body(), t.Body)
	if why == "" && tampered {
		// Whoever closed it did what they read there.
		code, fix = "ticket-changed", "it was put back and reopened: see who edited it, in the issue's history, and what was done"
		why = "its text was not what was signed off"
	}
	if why != "" {
		u.find(rows, code, fmt.Sprintf("the ticket %s was closed, which does not count: %s", to, why), fix)
		e := fulfil.Edit{Number: t.Number, State: fulfil.StateOpen, Comment: "Closing this does not count: " + fulfil.Markdown(why) + ". It is open again."}
		if tampered {
			e.Title, e.Body = text.Title(), text.Body()
		}
		if _, err := desk.Write(ctx, e); err != nil {
			return err
		}
		for _, f := range rows {
			if f.State == ledger.FulfilmentPending || f.State == ledger.FulfilmentSubmitting {
				out := outcomeOf(&f, schemas.FulfilmentPending, schemas.FulfilledByTicket, u.r.now())
				out.Fulfilment.Message = "closed, which does not count: " + why
				if err := u.heard(ctx, &f, out); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, f := range rows {
		if f.State != ledger.FulfilmentPending && f.State != ledger.FulfilmentSubmitting {
			continue
		}
		out := outcomeOf(&f, schemas.FulfilmentApplied, schemas.FulfilledByTicket, u.r.now())
		out.Fulfilment.By, out.Fulfilment.Authenticated = closing.By, true
		if known {
			yes := true
			out.Fulfilment.Independent = &yes
		}
		if !closing.Completed {
			out.Status, out.Error, out.Code = schemas.FulfilmentFailed, closing.By+" closed "+to+" as not planned", codeDeclined
		}
		if err := u.heard(ctx, &f, out); err != nil {
			return err
		}
	}
	return nil
}

// mayClose says why a closing does not count, or "". known says that all who made the requests are on record.
func (u *run) mayClose(c *fulfil.Closing, rows []ledger.Fulfilment) (why string, known bool) {
	d := u.trust.directory
	closers := u.app.Spec.Ticket("").Closers
	switch {
	case c.By == "":
		return "the forge does not tell who did it", false
	case c.Bot || d.Canonical(c.By) == d.Canonical(u.trust.settings.Spec.Forge.Publisher):
		return c.By + " is a bot", false
	case c.Indirect:
		return "a commit or pull request did it, and who merges one need not have seen this", false
	case !d.Speaks(c.By, closers):
		return c.By + " is none of " + strings.Join(closers, ", "), false
	}
	known = true
	for i := range rows {
		docs := rows[i].Plan.Documents
		known = known && len(docs) > 0
		for _, doc := range docs {
			s := u.outside.sources[doc]
			known = known && s.known
			if slices.ContainsFunc(s.people, func(p string) bool { return d.Canonical(p) == d.Canonical(c.By) }) {
				return c.By + " made the request or gains by it", false
			}
		}
	}
	return "", known
}

// text is what a ticket says of its askings, which are of one document.
func (u *run) text(ctx context.Context, rows []ledger.Fulfilment) (*fulfil.Text, error) {
	t := &fulfil.Text{Application: u.app.Name, Closers: u.app.Spec.Ticket("").Closers, Description: u.lv.description}
	for i := range rows {
		f := &rows[i]
		if err := u.look(ctx, &f.Plan); err != nil {
			return nil, err
		}
		t.Document = lastDocument(&f.Plan)
		t.Source = u.outside.sources[t.Document].FulfilmentSource
		t.Items = append(t.Items, fulfil.Item{Submission: f.Submission, Operation: &f.Plan, Withdrawn: f.State == ledger.FulfilmentWithdrawn,
			Done: f.State == ledger.FulfilmentVerified || f.State == ledger.FulfilmentAttested})
	}
	return t, nil
}

// retell brings a ticket's text up to date, and closes it when nothing of it is left. What fails is done by a later
// run: the ticket is looked at for a day.
func (u *run) retell(ctx context.Context, to, comment string) {
	err := func() error {
		rows := u.outside.onTicket(to)
		number := u.numberOf(to)
		if number == 0 {
			return errors.New("it is in another repository now")
		}
		desk, err := u.desk(ctx)
		if err != nil {
			return err
		}
		text, err := u.text(ctx, rows)
		if err != nil {
			return err
		}
		e := fulfil.Edit{Number: number, Title: text.Title(), Body: text.Body(), Comment: fulfil.Markdown(comment), State: fulfil.StateNotPlanned}
		for _, f := range rows {
			switch {
			case isUnseen(&f):
				e.State = ""
			case f.State != ledger.FulfilmentWithdrawn && e.State != "":
				e.State = fulfil.StateCompleted
			}
		}
		if slices.ContainsFunc(rows, func(f ledger.Fulfilment) bool { return isUnseen(&f) }) {
			e.State = ""
		}
		_, err = desk.Write(ctx, e)
		return err
	}()
	if err != nil {
		u.r.c.Logger.Warn("a ticket could not be brought up to date; a later run does it", "ticket", to, "error", err)
	}
}

// openTickets asks people: one issue for each document, with the operations that follow from it.
func (u *run) openTickets(ctx context.Context, list []*ledger.Fulfilment) error {
	groups := map[schemas.DocumentID][]*ledger.Fulfilment{}
	for _, f := range list {
		d := lastDocument(&f.Plan)
		d.Blob = ""
		groups[d] = append(groups[d], f)
	}
	docs := slices.SortedFunc(maps.Keys(groups), func(a, b schemas.DocumentID) int {
		if c := strings.Compare(a.Path, b.Path); c != 0 {
			return c
		}
		return a.Index - b.Index
	})
	for _, d := range docs {
		if err := ctx.Err(); err != nil {
			return err
		}
		started := u.r.now()
		if err := u.openTicket(ctx, d, groups[d]); err != nil {
			var broken *ledgerError
			if errors.As(err, &broken) || ctx.Err() != nil {
				return errors.Join(err, ctx.Err())
			}
			for _, f := range groups[d] {
				if f.State == ledger.FulfilmentSubmitting {
					if err := u.said(ctx, f, u.undelivered(f, started, 1, err)); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// openTicket finds the open issue of a document, or opens one, and lists the operations there. One that a run which was
// cut short opened is found by its marker.
func (u *run) openTicket(ctx context.Context, d schemas.DocumentID, list []*ledger.Fulfilment) error {
	desk, err := u.desk(ctx)
	if err != nil {
		return err
	}
	// What was intended before now may have been opened, and closed since.
	since := time.Time{}
	now := u.r.now()
	for _, f := range list {
		if f.Intent > 0 && (since.IsZero() || f.Since.Before(since)) {
			since = f.Since.Add(-time.Hour)
		}
	}
	found, err := desk.Find(ctx, fulfil.Marker(u.app.Name, d), since)
	if err != nil {
		return err
	}
	repository := u.app.Spec.Ticket(u.trust.settings.Spec.Forge.Repository).Repository
	var rest []*ledger.Fulfilment
	again := map[int][]*ledger.Fulfilment{}
	for _, f := range list {
		i := slices.IndexFunc(found, func(t fulfil.Ticket) bool { return fulfil.Mentions(t.Body, f.Submission) })
		switch n := u.numberOf(f.To); {
		case i >= 0:
			if err := u.asked(ctx, f, repository, &found[i], now); err != nil {
				return err
			}
		case n > 0:
			again[n] = append(again[n], f)
		default:
			rest = append(rest, f)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(again)) {
		left, err := u.reopen(ctx, desk, repository, n, again[n], now)
		if err != nil {
			return err
		}
		rest = append(rest, left...)
	}
	for part := range slices.Chunk(rest, fulfil.MaxOperations) {
		if err := u.enter(ctx, desk, repository, found, part, now); err != nil {
			return err
		}
	}
	return nil
}

// reopen asks again in the ticket where it was asked before. What is returned has none any more.
func (u *run) reopen(ctx context.Context, desk Tickets, repository string, number int, list []*ledger.Fulfilment, now time.Time) ([]*ledger.Fulfilment, error) {
	t, err := desk.Read(ctx, number)
	if err != nil || t == nil {
		return list, err
	}
	u.list(list, ticketName(repository, number), t.URL)
	text, err := u.text(ctx, u.outside.onTicket(ticketName(repository, number)))
	if err != nil {
		return nil, &ledgerError{err}
	}
	written, err := desk.Write(ctx, fulfil.Edit{Number: number, Title: text.Title(), Body: text.Body(), State: fulfil.StateOpen,
		Comment: "This was said to be done, and the application does not show it: what is not ticked off above is still to be done."})
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		if err := u.asked(ctx, f, repository, &written, now); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// list notes at which ticket askings are, so that its text has them.
func (u *run) list(list []*ledger.Fulfilment, to, url string) {
	for _, f := range list {
		f.To, f.URL = to, url
		u.outside.asked[f.Operation] = *f
	}
}

// enter puts operations into an open issue that has room, or into a new one.
func (u *run) enter(ctx context.Context, desk Tickets, repository string, found []fulfil.Ticket, list []*ledger.Fulfilment, now time.Time) error {
	for _, t := range found {
		to := ticketName(repository, t.Number)
		if !t.Open || len(u.outside.onTicket(to))+len(list) > fulfil.MaxOperations {
			continue
		}
		u.list(list, to, t.URL)
		text, err := u.text(ctx, u.outside.onTicket(to))
		if err != nil {
			return &ledgerError{err}
		}
		written, err := desk.Write(ctx, fulfil.Edit{Number: t.Number, Title: text.Title(), Body: text.Body(), Comment: "More is to be done: see the list above."})
		if err != nil {
			return err
		}
		if !written.Open {
			break // it was closed before its closer could see what was added
		}
		return u.askedAll(ctx, list, repository, &written, now)
	}
	u.list(list, "", "")
	var rows []ledger.Fulfilment
	for _, f := range list {
		rows = append(rows, *f)
	}
	text, err := u.text(ctx, rows)
	if err != nil {
		return &ledgerError{err}
	}
	spec := u.app.Spec.Ticket(repository)
	written, err := desk.Write(ctx, fulfil.Edit{Title: text.Title(), Body: text.Body(), Labels: spec.Labels, Assignees: spec.Assignees})
	if err != nil {
		return err
	}
	u.r.c.Step("posted")
	return u.askedAll(ctx, list, repository, &written, now)
}

func (u *run) askedAll(ctx context.Context, list []*ledger.Fulfilment, repository string, t *fulfil.Ticket, now time.Time) error {
	for _, f := range list {
		if err := u.asked(ctx, f, repository, t, now); err != nil {
			return err
		}
	}
	return nil
}

// asked records that an operation stands in a ticket.
func (u *run) asked(ctx context.Context, f *ledger.Fulfilment, repository string, t *fulfil.Ticket, now time.Time) error {
	out := outcomeOf(f, schemas.FulfilmentPending, schemas.FulfilledByTicket, u.r.now())
	out.Started, out.Attempts = now, 1
	out.Fulfilment.To, out.Fulfilment.URL = ticketName(repository, t.Number), t.URL
	if err := u.said(ctx, f, out); err != nil {
		return &ledgerError{err}
	}
	return nil
}

func ticketName(repository string, number int) string {
	return fmt.Sprintf("%s#%d", repository, number)
}
