package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/schemas"
)

// PullRequests is the forge where pull requests are previewed.
type PullRequests interface {
	forge.PullRequests
	forge.Reviews
	forge.Previews
	forge.Topics
}

// Preview previews a pull request and publishes the result there.
type Preview struct {
	Reconciler *reconciler.Reconciler
	Forge      PullRequests
	// Fetch brings references of the remote into the clone.
	Fetch func(ctx context.Context, refspecs ...string) error
	// Branch is the revision of the base in the clone, which Fetch brings with BranchSpec.
	Branch, BranchSpec string
	// Number is the pull request's.
	Number int
	// Head is the commit to preview; "" is the pull request's head. Where they differ nothing is published.
	Head string
	// Full previews the pull request of a fork against live state. Somebody with permission must have looked at exactly Head.
	Full bool
	// StatusOn is a merge queue's commit that gets the statuses, and nothing else is published; "" for none. The preview reads no
	// application: a queue's job lacks the credentials for them.
	StatusOn string
	// URL leads to the log of this run; "" for none.
	URL    string
	Redact bool
}

// Run previews the pull request and publishes the result. Nothing of the pull request is executed, checked out or used
// as configuration: its changes are read as data and judged by the base. The preview of a fork sees no application unless Full.
func (p Preview) Run(ctx context.Context) (*schemas.Preview, *forge.Published, error) {
	pull, err := p.Forge.PullRequest(ctx, p.Number)
	if err != nil {
		return nil, nil, err
	}
	if !pull.Open {
		return nil, nil, p.closed(ctx, pull)
	}
	if p.Head == "" {
		p.Head = pull.Head
	}
	if p.Head != pull.Head {
		return nil, nil, &forge.MovedError{PullRequest: p.Number, Head: pull.Head, Previewed: p.Head}
	}
	if err := p.Fetch(ctx, p.BranchSpec, fmt.Sprintf("%s:refs/countersign/pull/%d", pull.Ref, p.Number)); err != nil {
		return nil, nil, err
	}
	c, err := p.Reconciler.Configuration(ctx, p.Branch)
	if err != nil {
		return nil, nil, err
	}
	if pull.Base != c.Settings.Branch {
		return nil, nil, fmt.Errorf("pull request #%d is for branch %s, and access is defined by %s: nothing to preview", p.Number, pull.Base, c.Settings.Branch)
	}
	publisher := c.Settings.Forge.Publisher
	if p.StatusOn == "" {
		if err := p.Forge.Stale(ctx, p.Number, p.Head, publisher); err != nil {
			return nil, nil, err
		}
	}
	blind := pull.Fork && !p.Full || p.StatusOn != ""
	preview, err := p.Reconciler.Preview(ctx, reconciler.PreviewOptions{Base: p.Branch, Head: p.Head, Blind: blind, PullRequest: p.Number})
	if err != nil {
		return nil, nil, err
	}
	body, lacking, err := report.Comment(preview, report.Options{Redact: p.Redact})
	if err != nil {
		return preview, nil, err
	}
	out, err := p.Forge.Publish(ctx, forge.Publication{Number: p.Number, Preview: preview, Body: body, Publisher: publisher, StatusOn: p.StatusOn, URL: p.URL, Lacking: lacking,
		Evidence: !blind && lacking == "" && (preview.Verdict == schemas.VerdictReady || preview.Verdict == schemas.VerdictSignoff || preview.Verdict == schemas.VerdictDenied)})
	return preview, out, err
}

// ErrClosed means that a pull request is merged or closed, so that there is nothing to preview.
var ErrClosed = errors.New("the pull request is closed, and keeps its comment")

// closed handles a pull request with nothing to preview. A review of a merged pull request changes nothing: the admission stays.
// But if one that counted was dismissed since, somebody should look at it.
func (p Preview) closed(ctx context.Context, pull *forge.PullRequest) error {
	if !pull.Merged {
		return ErrClosed
	}
	if err := p.Fetch(ctx, p.BranchSpec); err != nil {
		return err
	}
	c, err := p.Reconciler.Configuration(ctx, p.Branch)
	if err != nil {
		return err
	}
	record, err := p.Reconciler.AdmittedBy(ctx, pull.Number)
	if err != nil {
		return err
	}
	gone, err := p.Forge.Dismissed(ctx, pull.Number)
	if err != nil {
		return err
	}
	var who []string
	if record != nil && record.Evidence != nil {
		for _, a := range record.Evidence.Approvals {
			if a.Counts && slices.Contains(gone, a.Person) {
				who = append(who, a.Person)
			}
		}
	}
	if len(who) == 0 {
		return ErrClosed
	}
	body := fmt.Sprintf("The approval of %s counted when pull request #%d was merged, and was dismissed afterwards. The admitted change stays in effect.\n\n"+
		"To take it back, revert the pull request and have that approved.\n", report.MarkdownText(strings.Join(who, ", ")), pull.Number)
	err = p.Forge.UpdateTopics(ctx, c.Settings.Forge.Publisher, []forge.Topic{{Key: fmt.Sprintf("dismissed %d", pull.Number), Labels: []string{"dismissed"},
		Title: fmt.Sprintf("An approval of #%d was dismissed after the merge", pull.Number), Body: body}})
	if err != nil {
		return err
	}
	return ErrClosed
}
