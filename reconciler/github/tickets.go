package github

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/forge"
)

// Tickets are issues in which people are asked to carry operations out.
type Tickets struct {
	client *Client
	// author is the account that we write as: nobody else's issue is a ticket.
	author string
}

var _ forge.Tickets = (*Tickets)(nil)

// Tickets returns those of the client's repository, written by the account.
func (c *Client) Tickets(author string) forge.Tickets { return &Tickets{c, author} }

// Find returns our issues with a marker, the newest first: the open ones, and those changed after since where it is set.
func (t *Tickets) Find(ctx context.Context, marker string, since time.Time) ([]forge.Ticket, error) {
	const what = "read the tickets"
	o := gh.IssueListByRepoOptions{State: "open", Creator: t.author, Labels: []string{issueLabel}}
	if !since.IsZero() {
		o.State, o.Since = "all", since.UTC()
	}
	list, err := all(what, func(page *gh.ListOptions) ([]*gh.Issue, *gh.Response, error) {
		o.ListOptions = *page
		return t.client.api.Issues.ListByRepo(ctx, t.client.owner, t.client.name, &o)
	})
	if err != nil {
		return nil, t.client.explain(what, err)
	}
	var out []forge.Ticket
	for _, i := range list {
		if t.ours(i) && strings.HasPrefix(i.GetBody(), marker) {
			out = append(out, ticketOf(i))
		}
	}
	return out, nil
}

// ours reports whether we wrote the issue: anybody can copy a marker.
func (t *Tickets) ours(i *gh.Issue) bool {
	return strings.EqualFold(i.GetUser().GetLogin(), t.author) && !i.IsPullRequest()
}

func ticketOf(i *gh.Issue) forge.Ticket {
	return forge.Ticket{Number: i.GetNumber(), URL: i.GetHTMLURL(), Title: i.GetTitle(), Body: i.GetBody(), Open: i.GetState() == "open"}
}

// Read returns an issue with who closed it; nil where it is gone, has moved, or is none of ours.
func (t *Tickets) Read(ctx context.Context, number int) (*forge.Ticket, error) {
	what := fmt.Sprintf("read the ticket #%d", number)
	i, _, err := t.client.api.Issues.Get(ctx, t.client.owner, t.client.name, number)
	if isStatus(err, http.StatusNotFound, http.StatusGone) {
		return nil, nil
	}
	if err != nil {
		return nil, t.client.explain(what, err)
	}
	// A transferred issue is answered from where it is now.
	if !t.ours(i) || i.GetNumber() != number {
		return nil, nil
	}
	out := ticketOf(i)
	if out.Open {
		return &out, nil
	}
	events, err := all(what, func(page *gh.ListOptions) ([]*gh.IssueEvent, *gh.Response, error) {
		return t.client.api.Issues.ListIssueEvents(ctx, t.client.owner, t.client.name, number, page)
	})
	if err != nil {
		return nil, t.client.explain(what, err)
	}
	out.Closing = closingOf(i, events)
	return &out, nil
}

// closingOf is how an issue was closed, by the event that did it. The issue itself names who did too: where the two do
// not agree, nobody is known to have.
func closingOf(i *gh.Issue, events []*gh.IssueEvent) *forge.Closing {
	c := &forge.Closing{At: i.GetClosedAt().Time, Completed: i.GetStateReason() == "completed"}
	for _, e := range slices.Backward(events) {
		if e.GetEvent() != "closed" {
			continue
		}
		actor := e.GetActor()
		c.By, c.Bot, c.Indirect = actor.GetLogin(), actor.GetType() != "User" || e.GetPerformedViaGithubApp() != nil, e.GetCommitID() != ""
		break
	}
	if c.By == "ghost" || i.ClosedBy != nil && !strings.EqualFold(i.ClosedBy.GetLogin(), c.By) {
		c.By = ""
	}
	return c
}

// Write opens an issue, or changes one, and gives the reason in a comment.
func (t *Tickets) Write(ctx context.Context, e forge.Edit) (forge.Ticket, error) {
	if e.Number == 0 {
		return t.open(ctx, e)
	}
	what := fmt.Sprintf("write the ticket #%d", e.Number)
	if e.Comment != "" {
		if _, _, err := t.client.api.Issues.CreateComment(ctx, t.client.owner, t.client.name, e.Number, &gh.IssueComment{Body: &e.Comment}); err != nil {
			return forge.Ticket{}, t.client.explain(what, err)
		}
	}
	req := &gh.IssueRequest{}
	if e.Title != "" {
		req.Title = &e.Title
	}
	if e.Body != "" {
		req.Body = &e.Body
	}
	switch e.State {
	case forge.StateOpen:
		req.State, req.StateReason = gh.String("open"), gh.String("reopened")
	case forge.StateCompleted, forge.StateNotPlanned:
		req.State, req.StateReason = gh.String("closed"), &e.State
	}
	i, _, err := t.client.api.Issues.Edit(ctx, t.client.owner, t.client.name, e.Number, req)
	if err != nil {
		return forge.Ticket{}, t.client.explain(what, err)
	}
	return ticketOf(i), nil
}

func (t *Tickets) open(ctx context.Context, e forge.Edit) (forge.Ticket, error) {
	labels := append([]string{issueLabel}, e.Labels...)
	req := &gh.IssueRequest{Title: &e.Title, Body: &e.Body, Labels: &labels}
	if len(e.Assignees) > 0 {
		req.Assignees = &e.Assignees
	}
	i, _, err := t.client.api.Issues.Create(ctx, t.client.owner, t.client.name, req)
	if isStatus(err, http.StatusUnprocessableEntity) && req.Assignees != nil {
		// Somebody who cannot be assigned must not keep the ticket from being there.
		t.client.config.Logger.Warn("the ticket is opened without assignees, of whom one cannot be assigned", "repository", t.client.Repository(), "error", err)
		req.Assignees = nil
		i, _, err = t.client.api.Issues.Create(ctx, t.client.owner, t.client.name, req)
	}
	if err != nil {
		return forge.Ticket{}, t.client.explain("open a ticket", err)
	}
	return ticketOf(i), nil
}
