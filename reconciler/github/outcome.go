package github

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/schemas"
)

// environment is where deployments say what became of a merge.
const environment = "access"

// Receipt is what a run did of one pull request.
type Receipt struct {
	Number int
	// Commit is the commit that landed it.
	Commit string
	// State is that of the deployment: success, failure or in_progress.
	State string
	// Text is the state in a sentence.
	Text string
	// Report is the run, cut down to what the pull request asked for.
	Report *schemas.RunReport
}

// Receipts sorts a run by the pull requests that it was about: those that were judged now, and those of earlier
// merges of which something was carried out now. status is that after the run. Direct pushes have none.
func Receipts(run *schemas.RunReport, status *schemas.StatusReport) []Receipt {
	type pull struct {
		paths, applications map[string]bool
		judged              []schemas.AdmissionRecord
		commit              string
	}
	pulls := map[int]*pull{}
	of := func(n int) *pull {
		if pulls[n] == nil {
			pulls[n] = &pull{paths: map[string]bool{}, applications: map[string]bool{}}
		}
		return pulls[n]
	}
	for _, a := range run.Admissions {
		if a.Evidence == nil || a.Evidence.PullRequest == 0 || len(a.Changes) == 0 {
			continue
		}
		p := of(a.Evidence.PullRequest)
		p.commit = a.Commit
		p.judged = append(p.judged, a)
		for _, f := range a.Changes {
			p.paths[f.Path] = true
		}
		for _, q := range a.Requests {
			p.applications[q.Application] = true
		}
	}
	numbers := map[string]int{} // the pull request that a path came by
	states := map[int][]schemas.RequestStatus{}
	for _, s := range status.Requests {
		if s.PullRequest == 0 {
			continue
		}
		numbers[s.Document.Path] = s.PullRequest
		states[s.PullRequest] = append(states[s.PullRequest], s)
	}
	for _, a := range run.Applications {
		for _, o := range slices.Concat(a.Plan.Operations, a.Seen) {
			for _, d := range o.Documents {
				if n := numbers[d.Path]; n != 0 && o.Cause != schemas.CauseDrift && o.Cause != schemas.CauseExpiry {
					p := of(n)
					p.paths[d.Path] = true
				}
			}
		}
	}
	var out []Receipt
	for _, n := range slices.Sorted(maps.Keys(pulls)) {
		p := pulls[n]
		r := Receipt{Number: n, Commit: p.commit, Report: about(run, p.paths, p.applications, p.judged)}
		if r.Commit == "" {
			for _, s := range states[n] {
				r.Commit = s.Commit
			}
		}
		r.State, r.Text = stateOf(r.Report, states[n])
		if r.Commit != "" {
			out = append(out, r)
		}
	}
	return out
}

// about is a run without what other files asked for. An application that could not be read is about all that ask for
// something there, and about those of which nothing is left that would say where they asked.
func about(run *schemas.RunReport, paths, applications map[string]bool, judged []schemas.AdmissionRecord) *schemas.RunReport {
	out := *run
	out.Admissions = append([]schemas.AdmissionRecord{}, judged...)
	out.Applications, out.Quarantined = []schemas.ApplicationOutcome{}, []schemas.QuarantinedFile{}
	for _, q := range run.Quarantined {
		if paths[q.Path] {
			out.Quarantined = append(out.Quarantined, q)
		}
	}
	for _, a := range run.Applications {
		mine := map[string]bool{}
		part := a
		part.Plan.Operations, part.Plan.Unmanaged, part.Plan.Findings, part.Plan.Overdue = []schemas.Operation{}, nil, nil, nil
		part.Seen, part.Withdrawn = nil, nil
		part.Outcomes, part.Verifications, part.Remaining, part.Adopted = []schemas.OutcomeRecord{}, []schemas.VerificationRecord{}, 0, 0
		for _, o := range a.Plan.Operations {
			if slices.ContainsFunc(o.Documents, func(d schemas.DocumentID) bool { return paths[d.Path] }) {
				mine[o.ID] = true
				part.Plan.Operations = append(part.Plan.Operations, o)
			}
		}
		for _, o := range a.Seen {
			if slices.ContainsFunc(o.Documents, func(d schemas.DocumentID) bool { return paths[d.Path] }) {
				mine[o.ID] = true
				part.Seen = append(part.Seen, o)
			}
		}
		for _, o := range a.Outcomes {
			if mine[o.Operation] {
				part.Outcomes = append(part.Outcomes, o)
			}
		}
		for _, v := range a.Verifications {
			if mine[v.Operation] {
				part.Verifications = append(part.Verifications, v)
			}
		}
		if len(part.Plan.Operations)+len(part.Seen) > 0 || unread(&a) && (len(applications) == 0 || applications[a.Application]) {
			out.Applications = append(out.Applications, part)
		}
	}
	return &out
}

func unread(a *schemas.ApplicationOutcome) bool { return a.Error != "" || a.Plan.Incomplete != "" }

// stateOf sums a receipt up. Verified is only what the read-back of every operation showed.
func stateOf(r *schemas.RunReport, requests []schemas.RequestStatus) (state, text string) {
	for _, a := range r.Admissions {
		if a.Verdict == schemas.AdmissionQuarantined {
			return "failure", "quarantined: not signed off as policy requires, and without effect"
		}
	}
	failed, waiting, verified, attested := 0, 0, 0, 0
	for _, a := range r.Applications {
		if unread(&a) {
			return "in_progress", a.Application + " could not be read or finished; the next run tries again"
		}
		shown := map[string]schemas.VerificationState{}
		for _, v := range a.Verifications {
			shown[v.Operation] = v.Status
		}
		status := map[string]schemas.OutcomeStatus{}
		for _, o := range a.Outcomes {
			status[o.Operation] = o.Status
		}
		planned := map[string]bool{}
		for _, o := range a.Plan.Operations {
			planned[o.ID] = true
		}
		for _, o := range a.Seen {
			if planned[o.ID] {
				continue
			}
			if shown[o.ID] == schemas.VerificationAttested {
				attested++
			} else {
				verified++
			}
		}
		for _, o := range a.Plan.Operations {
			switch s := status[o.ID]; {
			case shown[o.ID] == schemas.VerificationVerified:
				verified++
			case shown[o.ID] == schemas.VerificationAttested:
				attested++
			case o.Hold == schemas.HoldDeclined:
				failed++
			case o.Hold != schemas.HoldNone, shown[o.ID] == schemas.VerificationPending, s == "" || s == schemas.OutcomeCancelled || s == schemas.OutcomePending:
				waiting++
			default:
				failed++
			}
		}
	}
	for _, s := range requests {
		if s.Approval == schemas.ApprovalAdmitted && s.Verification == "failed" {
			failed++
		}
	}
	switch {
	case failed > 0:
		return "failure", fmt.Sprintf("%s failed; the next run tries them again", count(failed, "step"))
	case waiting > 0:
		return "in_progress", fmt.Sprintf("%s waiting", count(waiting, "step"))
	case attested > 0:
		return "success", "said to be done by those who carry it out; no read can show it"
	case verified > 0:
		return "success", "applied and verified by reading back"
	}
	return "success", "in effect; nothing was left to do"
}

// Tell writes a receipt to its pull request: into the one comment, and as a deployment of the environment access.
func (c *Client) Tell(ctx context.Context, r Receipt, body, publisher, url string) error {
	ours, err := c.sticky(ctx, r.Number, publisher)
	if err != nil {
		return err
	}
	m := marker{number: r.Number}
	if len(ours) > 0 {
		m, _ = parseMarker(ours[0].GetBody())
	}
	if _, err := c.comment(ctx, r.Number, ours, m, body); err != nil {
		return err
	}
	err = c.deployment(ctx, r, url)
	if isStatus(err, http.StatusForbidden) {
		c.c.Logger.Warn("the deployment status was not written (permission deployments: write)", "pull_request", r.Number)
		return nil
	}
	return err
}

func (c *Client) deployment(ctx context.Context, r Receipt, url string) error {
	what := "read the deployments of " + short(r.Commit)
	list, err := all(what, func(o *gh.ListOptions) ([]*gh.Deployment, *gh.Response, error) {
		return c.api.Repositories.ListDeployments(ctx, c.owner, c.name, &gh.DeploymentsListOptions{SHA: r.Commit, Environment: environment, ListOptions: *o})
	})
	if err != nil {
		return c.said(what, err)
	}
	var id int64
	if len(list) > 0 {
		id = list[0].GetID()
	} else {
		d, _, err := c.api.Repositories.CreateDeployment(ctx, c.owner, c.name, &gh.DeploymentRequest{Ref: &r.Commit, Environment: gh.String(environment), AutoMerge: gh.Bool(false),
			RequiredContexts: &[]string{}, Description: gh.String(fmt.Sprintf("pull request #%d", r.Number))})
		if err != nil {
			return c.said("make the deployment", err)
		}
		id = d.GetID()
	}
	statuses, _, err := c.api.Repositories.ListDeploymentStatuses(ctx, c.owner, c.name, id, &gh.ListOptions{PerPage: 1})
	if err != nil {
		return c.said("read the deployment's status", err)
	}
	text := cut(r.Text, maxDescription)
	if len(statuses) > 0 && statuses[0].GetState() == r.State && statuses[0].GetDescription() == text {
		return nil
	}
	s := &gh.DeploymentStatusRequest{State: &r.State, Description: &text, AutoInactive: gh.Bool(false)}
	if url != "" {
		s.LogURL = &url
	}
	_, _, err = c.api.Repositories.CreateDeploymentStatus(ctx, c.owner, c.name, id, s)
	return c.said("write the deployment's status", err)
}

// Topic is what one issue is about, kept up to date for as long as there is something to say.
type Topic struct {
	// Key tells issues apart: "drift warehouse", "quarantine 1a2b3c…".
	Key string
	// Title and Body are what it says; an empty Body closes it.
	Title, Body string
	Labels      []string
}

// issueMarker is hidden in an issue, so that it is found again.
func issueMarker(key string) string { return "<!-- countersign:v1 " + key + " -->" }

// issueLabel is on every issue of ours.
const issueLabel = "countersign"

// Issues opens, keeps up to date and closes one issue for each topic. Where the repository has no issues, or the token
// may not write them, it only warns: what they would say is in the report as well.
func (c *Client) Issues(ctx context.Context, publisher string, topics []Topic) error {
	err := c.issues(ctx, publisher, topics)
	if isStatus(err, http.StatusForbidden, http.StatusGone) {
		c.c.Logger.Warn("no issue was opened or closed: the repository has none, or the token lacks issues: write", "error", err)
		return nil
	}
	return err
}

func (c *Client) issues(ctx context.Context, publisher string, topics []Topic) error {
	const what = "read the open issues"
	open, err := all(what, func(o *gh.ListOptions) ([]*gh.Issue, *gh.Response, error) {
		return c.api.Issues.ListByRepo(ctx, c.owner, c.name, &gh.IssueListByRepoOptions{State: "open", Creator: publisher, Labels: []string{issueLabel}, ListOptions: *o})
	})
	if err != nil {
		return c.said(what, err)
	}
	for _, t := range topics {
		mark := issueMarker(t.Key)
		var found *gh.Issue
		for _, i := range open {
			if strings.HasPrefix(i.GetBody(), mark) && strings.EqualFold(i.GetUser().GetLogin(), publisher) && !i.IsPullRequest() {
				found = i
			}
		}
		body := mark + "\n" + t.Body
		switch {
		case found == nil && t.Body == "":
		case found == nil:
			labels := append([]string{issueLabel}, t.Labels...)
			_, _, err = c.api.Issues.Create(ctx, c.owner, c.name, &gh.IssueRequest{Title: &t.Title, Body: &body, Labels: &labels})
			err = c.said("open an issue", err)
		case t.Body == "":
			_, _, err = c.api.Issues.Edit(ctx, c.owner, c.name, found.GetNumber(), &gh.IssueRequest{State: gh.String("closed"), StateReason: gh.String("completed")})
			err = c.said(fmt.Sprintf("close issue #%d", found.GetNumber()), err)
		case found.GetBody() != body || found.GetTitle() != t.Title:
			_, _, err = c.api.Issues.Edit(ctx, c.owner, c.name, found.GetNumber(), &gh.IssueRequest{Title: &t.Title, Body: &body})
			err = c.said(fmt.Sprintf("update issue #%d", found.GetNumber()), err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// CommentOnCommit says something at a commit, once.
func (c *Client) CommentOnCommit(ctx context.Context, commit, body, publisher string) error {
	what := "read the comments of " + short(commit)
	list, err := all(what, func(o *gh.ListOptions) ([]*gh.RepositoryComment, *gh.Response, error) {
		return c.api.Repositories.ListCommitComments(ctx, c.owner, c.name, commit, o)
	})
	if err != nil {
		return c.said(what, err)
	}
	text := issueMarker("commit "+commit) + "\n" + body
	for _, k := range list {
		if strings.EqualFold(k.GetUser().GetLogin(), publisher) && strings.HasPrefix(k.GetBody(), issueMarker("commit "+commit)) {
			return nil
		}
	}
	_, _, err = c.api.Repositories.CreateComment(ctx, c.owner, c.name, commit, &gh.RepositoryComment{Body: &text})
	if isStatus(err, http.StatusForbidden) {
		c.c.Logger.Warn("the commit was not commented on: the token lacks contents: write", "commit", commit)
		return nil
	}
	return c.said("comment on "+short(commit), err)
}
