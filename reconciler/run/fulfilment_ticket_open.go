package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/run/fulfilment"
	"github.com/countersign/countersign/schemas"
)

// openTickets asks people by issue: one for each document, with its operations.
func (a *application) openTickets(ctx context.Context, list []*ledger.Fulfilment) error {
	groups := map[schemas.DocumentID][]*ledger.Fulfilment{}
	for _, f := range list {
		d := fulfilment.LastDocument(&f.Plan)
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
		started := a.now()
		if err := a.openTicket(ctx, d, groups[d]); err != nil {
			var broken *LedgerError
			if errors.As(err, &broken) || ctx.Err() != nil {
				return errors.Join(err, ctx.Err())
			}
			for _, f := range groups[d] {
				if f.State == schemas.FulfilmentSubmitting {
					if err := a.reportOutcome(ctx, f, a.undelivered(f, started, 1, err)); err != nil {
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
func (a *application) openTicket(ctx context.Context, d schemas.DocumentID, list []*ledger.Fulfilment) error {
	tickets, err := a.ticketRepository(ctx)
	if err != nil {
		return err
	}
	// Tickets intended before now may have been opened, and closed since.
	since := time.Time{}
	now := a.now()
	for _, f := range list {
		if f.Intent > 0 && (since.IsZero() || f.Since.Before(since)) {
			since = f.Since.Add(-time.Hour)
		}
	}
	found, err := tickets.Find(ctx, fulfilment.Marker(a.app.Name, d), since)
	if err != nil {
		return err
	}
	repository := a.app.Spec.Ticket(a.base.Settings.Spec.Forge.Repository).Repository
	var rest []*ledger.Fulfilment
	again := map[int][]*ledger.Fulfilment{}
	for _, f := range list {
		i := slices.IndexFunc(found, func(t forge.Ticket) bool { return fulfilment.Mentions(t.Body, f.Submission) })
		switch n := a.numberOf(f.To); {
		case i >= 0:
			if err := a.recordAsked(ctx, f, repository, &found[i], now); err != nil {
				return err
			}
		case n > 0:
			again[n] = append(again[n], f)
		default:
			rest = append(rest, f)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(again)) {
		left, err := a.reopen(ctx, tickets, repository, n, again[n], now)
		if err != nil {
			return err
		}
		rest = append(rest, left...)
	}
	for part := range slices.Chunk(rest, fulfilment.MaxOperations) {
		if err := a.addToTicket(ctx, tickets, repository, found, part, now); err != nil {
			return err
		}
	}
	return nil
}

// reopen asks again in the earlier ticket. It returns the askings whose ticket is gone.
func (a *application) reopen(ctx context.Context, tickets Tickets, repository string, number int, list []*ledger.Fulfilment, now time.Time) ([]*ledger.Fulfilment, error) {
	t, err := tickets.Read(ctx, number)
	if err != nil || t == nil {
		return list, err
	}
	a.placeOnTicket(list, ticketName(repository, number), t.URL)
	text, err := a.ticketText(ctx, a.fulfilments.onTicket(ticketName(repository, number)))
	if err != nil {
		return nil, &LedgerError{err}
	}
	written, err := tickets.Write(ctx, forge.Edit{Number: number, Title: text.Title(), Body: text.Body(), State: forge.StateOpen,
		Comment: "This was reported as done, but the application does not show it: the operations that are not ticked off above are still to be done."})
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		if err := a.recordAsked(ctx, f, repository, &written, now); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// placeOnTicket notes the ticket of askings, so that its text lists them.
func (a *application) placeOnTicket(list []*ledger.Fulfilment, to, url string) {
	for _, f := range list {
		f.To, f.URL = to, url
		a.fulfilments.Asked[f.Operation] = *f
	}
}

// addToTicket puts operations into an open issue that has room, or into a new one.
func (a *application) addToTicket(ctx context.Context, tickets Tickets, repository string, found []forge.Ticket, list []*ledger.Fulfilment, now time.Time) error {
	for _, t := range found {
		to := ticketName(repository, t.Number)
		if !t.Open || len(a.fulfilments.onTicket(to))+len(list) > fulfilment.MaxOperations {
			continue
		}
		a.placeOnTicket(list, to, t.URL)
		text, err := a.ticketText(ctx, a.fulfilments.onTicket(to))
		if err != nil {
			return &LedgerError{err}
		}
		written, err := tickets.Write(ctx, forge.Edit{Number: t.Number, Title: text.Title(), Body: text.Body(), Comment: "More is to be done: see the list above."})
		if err != nil {
			return err
		}
		if !written.Open {
			break // it was closed before its closer could see what was added
		}
		return a.recordAskedAll(ctx, list, repository, &written, now)
	}
	a.placeOnTicket(list, "", "")
	var rows []ledger.Fulfilment
	for _, f := range list {
		rows = append(rows, *f)
	}
	text, err := a.ticketText(ctx, rows)
	if err != nil {
		return &LedgerError{err}
	}
	spec := a.app.Spec.Ticket(repository)
	written, err := tickets.Write(ctx, forge.Edit{Title: text.Title(), Body: text.Body(), Labels: spec.Labels, Assignees: spec.Assignees})
	if err != nil {
		return err
	}
	a.config.Step("posted")
	return a.recordAskedAll(ctx, list, repository, &written, now)
}

func (a *application) recordAskedAll(ctx context.Context, list []*ledger.Fulfilment, repository string, t *forge.Ticket, now time.Time) error {
	for _, f := range list {
		if err := a.recordAsked(ctx, f, repository, t, now); err != nil {
			return err
		}
	}
	return nil
}

// recordAsked records that an operation is in a ticket.
func (a *application) recordAsked(ctx context.Context, f *ledger.Fulfilment, repository string, t *forge.Ticket, now time.Time) error {
	out := fulfilment.OutcomeOf(f, schemas.FulfilmentPending, schemas.FulfilledByTicket, a.now())
	out.Started, out.Attempts = now, 1
	out.Fulfilment.To, out.Fulfilment.URL = ticketName(repository, t.Number), t.URL
	if err := a.reportOutcome(ctx, f, out); err != nil {
		return &LedgerError{err}
	}
	return nil
}

func ticketName(repository string, number int) string {
	return fmt.Sprintf("%s#%d", repository, number)
}
