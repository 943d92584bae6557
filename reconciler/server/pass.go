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

// Teller publishes outcomes at the forge.
type Teller interface {
	forge.Outcomes
	forge.Topics
}

// Pass is one pass over the branch and the publication of its outcome.
type Pass struct {
	Reconciler *reconciler.Reconciler
	Options    reconciler.RunOptions
	// Fetch brings the clone up to date before; nil does not.
	Fetch func(context.Context) error
	// Forge publishes the outcome; nil is nowhere.
	Forge Teller
	// Previews is how open pull requests are previewed again when what was merged may have changed their plans; nil
	// leaves them as they are. Its Number and Head are set here.
	Previews *Preview
	// URL leads to the log of this run; "" for none.
	URL string
	// Redact leaves out who the identities are.
	Redact bool
}

// Run makes the pass. The report is complete even where an error is returned beside it: the operations were
// carried out, and the next pass publishes what this one could not.
func (p Pass) Run(ctx context.Context) (*schemas.RunReport, error) {
	if p.Fetch != nil {
		if err := p.Fetch(ctx); err != nil {
			return nil, err
		}
	}
	rep, err := p.Reconciler.RunOnce(ctx, p.Options)
	if rep == nil || p.Forge == nil || p.Options.DryRun {
		return rep, err
	}
	return rep, errors.Join(err, p.tell(ctx, rep), p.again(ctx, rep))
}

// maxAgain is how many open pull requests are previewed again after a merge, the newest first: the others are when they
// change, and judged again at their merge in any case.
const maxAgain = 30

// again previews the open pull requests once more when something was admitted. Those of forks wait for a maintainer.
func (p Pass) again(ctx context.Context, rep *schemas.RunReport) error {
	if p.Previews == nil || !slices.ContainsFunc(rep.Admissions, func(a schemas.AdmissionRecord) bool {
		return a.Verdict == schemas.AdmissionAdmitted && len(a.Changes) > 0
	}) {
		return nil
	}
	c, err := p.Reconciler.Configuration(ctx, p.Options.To)
	if err != nil {
		return err
	}
	open, err := p.Previews.Forge.OpenPullRequests(ctx, c.Settings.Branch)
	if err != nil {
		return err
	}
	var failed []error
	for _, pull := range open[:min(len(open), maxAgain)] {
		if pull.Fork {
			continue
		}
		one := *p.Previews
		one.Reconciler, one.Number, one.Head, one.URL, one.Redact = p.Reconciler, pull.Number, "", p.URL, p.Redact
		if _, _, err := one.Run(ctx); err != nil && !forge.IsMoved(err) && !errors.Is(err, ErrClosed) {
			failed = append(failed, fmt.Errorf("preview pull request #%d again: %w", pull.Number, err))
		}
	}
	return errors.Join(failed...)
}

// tell publishes the outcomes. One that fails doesn't stop the others, and is told by a later pass.
func (p Pass) tell(ctx context.Context, rep *schemas.RunReport) error {
	c, err := p.Reconciler.Configuration(ctx, p.Options.To)
	if err != nil {
		return err
	}
	publisher := c.Settings.Forge.Publisher
	status, err := p.Reconciler.Status(ctx, p.Options.To, "")
	if err != nil {
		return err
	}
	var failed []error
	var letters []letter
	for _, r := range forge.Receipts(rep, status) {
		body, err := p.markdown(r.Report)
		if err != nil {
			failed = append(failed, fmt.Errorf("publish to pull request #%d: %w", r.Number, err))
			continue
		}
		letters = append(letters, letter{Number: r.Number, Commit: r.Commit, State: r.State, Text: r.Text, Body: body, URL: p.URL})
	}
	for _, a := range rep.Admissions {
		if a.Verdict == schemas.AdmissionQuarantined && len(a.Changes) > 0 {
			letters = append(letters, letter{Commit: a.Commit, Body: quarantineText(a)})
		}
	}
	failed = append(failed, p.deliver(ctx, letters, publisher, rep.At)...)
	topics, err := p.topics(rep, c)
	if err == nil {
		err = p.Forge.UpdateTopics(ctx, publisher, topics)
	}
	return errors.Join(append(failed, err)...)
}

func (p Pass) markdown(v any) (string, error) {
	var b strings.Builder
	err := report.Markdown(&b, v, report.Options{Redact: p.Redact})
	return b.String(), err
}

// quarantineText is the comment at a commit that doesn't take effect, with the reason.
func quarantineText(a schemas.AdmissionRecord) string {
	var b strings.Builder
	b.WriteString("### ⛔ Quarantined: this change has no effect\n\nIt was not signed off as policy required before it was merged.\n\n")
	for i, r := range a.Reasons {
		if i == maxListed {
			fmt.Fprintf(&b, "- and %d more\n", len(a.Reasons)-i)
			break
		}
		b.WriteString("- " + report.MarkdownText(r) + "\n")
	}
	b.WriteString("\nA later pull request that is signed off can admit it (with an Admission document that names the file and its blob) or remove it.\n")
	return b.String()
}

// maxListed is the length of a list in a comment or an issue.
const maxListed = 100

// topics are the issues: one for each application's drift, one for what is quarantined.
func (p Pass) topics(rep *schemas.RunReport, c *reconciler.Configuration) ([]forge.Topic, error) {
	var out []forge.Topic
	q := forge.Topic{Key: "quarantine", Title: "Quarantined changes", Labels: []string{"quarantine"}}
	if len(rep.Quarantined) > 0 {
		var b strings.Builder
		b.WriteString("These files are on the branch without sign-off, so they are ignored. Admit them in a pull request with an Admission document, or remove them.\n\n")
		for i, f := range rep.Quarantined {
			if i == maxListed {
				fmt.Fprintf(&b, "- and %d more\n", len(rep.Quarantined)-i)
				break
			}
			b.WriteString("- " + report.MarkdownText(f.Path) + "\n")
		}
		q.Body = b.String()
	}
	out = append(out, q, alarmTopic("ledger", ""), alarmTopic("rewritten", ""))
	for i := range rep.Applications {
		a := &rep.Applications[i]
		t := forge.Topic{Key: "drift " + a.Application, Title: "Drift in " + a.Application, Labels: []string{"drift"}}
		if drifted(a) || a.Error != "" {
			one := *rep
			one.Applications, one.Admissions, one.Quarantined = []schemas.ApplicationOutcome{*a}, []schemas.AdmissionRecord{}, []schemas.QuarantinedFile{}
			body, err := p.markdown(&one)
			if err != nil {
				return nil, err
			}
			for _, app := range c.Applications {
				if app.Name == a.Application {
					t.Body = "For the owners: " + report.MarkdownText(strings.Join(app.Spec.Owners, ", ")) + "\n\n"
				}
			}
			t.Body += body
		}
		out = append(out, t)
	}
	return out, nil
}

// drifted reports whether an application is left different from what was admitted, by anything but a change in
// progress.
func drifted(a *schemas.ApplicationOutcome) bool {
	corrected := map[string]bool{}
	for _, v := range a.Verifications {
		if v.Status == schemas.VerificationVerified {
			corrected[v.Operation] = true
		}
	}
	// An operation that somebody outside is working on is in progress.
	for _, o := range a.Outcomes {
		if o.Fulfilment != nil && (o.Status == schemas.OutcomePending || o.Status == schemas.OutcomeApplied) {
			corrected[o.Operation] = true
		}
	}
	for _, o := range a.Plan.Operations {
		if o.Cause == schemas.CauseDrift && !corrected[o.ID] && o.Hold != schemas.HoldPending {
			return true
		}
	}
	return false
}
