package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/schemas"
)

// The commit statuses that a ruleset can require.
const (
	policyContext  = "countersign/policy"
	signoffContext = "countersign/sign-off"
)

// checkName is the check run's name.
const checkName = "countersign"

// labelPrefix marks our labels, one for each application.
const labelPrefix = "access:"

const (
	// maxBody is GitHub's limit of a comment, an issue and a check run's summary, in characters. Bytes are counted
	// here, of which there are never fewer.
	maxBody = 65_535
	// maxAnnotations is how many annotations one call may bring.
	maxAnnotations = 50
	// maxDescription is the limit of a status's description.
	maxDescription = 140
)

// Publication is a preview to be told at its pull request.
type Publication struct {
	Number  int
	Preview *schemas.Preview
	// Body is the preview in Markdown, at most 60,000 bytes.
	Body string
	// Publisher is the account that the settings name: the comment to keep up to date is its own.
	Publisher string
	// Evidence says that this preview may prove what reviewers saw: it is complete, against live state.
	Evidence bool
	// StatusOn is a commit that gets the statuses for rules as well: a merge queue's; "" for none.
	StatusOn string
	// URL leads to the run that made it; "" for none.
	URL string
}

// Published is what came of it.
type Published struct {
	Comment int64
	// Skipped are the parts that the token has no permission for.
	Skipped []string
}

// Publish tells a preview. The comment comes first and the evidence last: a review that comes after the evidence was
// given when the preview could be read. When the pull request has got another head, it is a MovedError, and what the
// other preview says stands.
func (c *Client) Publish(ctx context.Context, p Publication) (*Published, error) {
	out := &Published{}
	pull, err := c.pull(ctx, p.Number)
	if err != nil {
		return nil, err
	}
	head := p.Preview.Head
	if pull.GetHead().GetSHA() != head {
		return nil, &MovedError{PullRequest: p.Number, Head: pull.GetHead().GetSHA(), Previewed: head}
	}
	last, err := c.sticky(ctx, p.Number, p.Publisher)
	if err != nil {
		return nil, err
	}
	if out.Comment, err = c.comment(ctx, p.Number, last, marker{number: p.Number, head: head, digest: p.Preview.ContentDigest}, p.Body); err != nil {
		return nil, err
	}
	if err := c.check(ctx, p); isStatus(err, http.StatusForbidden) {
		out.Skipped = append(out.Skipped, "the check run (permission checks: write of an App or of GITHUB_TOKEN)")
	} else if err != nil {
		return nil, err
	}
	if err := c.label(ctx, p.Number, applications(p.Preview)); isStatus(err, http.StatusForbidden) {
		out.Skipped = append(out.Skipped, "the labels (permission pull-requests: write)")
	} else if err != nil {
		return nil, err
	}
	if err := c.requestReviews(ctx, pull, p.Preview); isStatus(err, http.StatusForbidden) {
		out.Skipped = append(out.Skipped, "the review requests (permission pull-requests: write)")
	} else if err != nil {
		return nil, err
	}
	for _, on := range []string{head, p.StatusOn} {
		if on == "" {
			continue
		}
		state, text := policyState(p.Preview)
		if err := c.status(ctx, on, policyContext, state, text, p.URL); err != nil {
			return nil, err
		}
		state, text = signoffState(p.Preview)
		if err := c.status(ctx, on, signoffContext, state, text, p.URL); err != nil {
			return nil, err
		}
	}
	return out, c.evidence(ctx, p, last)
}

// evidence publishes the status that proves what was previewed, once for each state of the head. Made anew for the
// same state it would take away the approvals given since.
func (c *Client) evidence(ctx context.Context, p Publication, last []*gh.IssueComment) error {
	if !p.Evidence || p.Preview.Verdict == schemas.VerdictNothing {
		return nil
	}
	head, digest := p.Preview.Head, p.Preview.ContentDigest
	statuses, err := c.statuses(ctx, head)
	if err != nil {
		return err
	}
	was := previews(statuses, p.Number, p.Publisher)
	if has(was, digest) && len(last) > 0 {
		// Nothing else was head in between: what the comment spoke of before is this very state.
		if m, ok := parseMarker(last[0].GetBody()); ok && m.head == head && m.digest == digest {
			return nil
		}
	}
	return c.status(ctx, head, previewContext, "success", describeStatus(p.Number, digest), p.URL)
}

func (c *Client) statuses(ctx context.Context, commit string) ([]*gh.RepoStatus, error) {
	what := "read the statuses of " + short(commit)
	list, err := all(what, func(o *gh.ListOptions) ([]*gh.RepoStatus, *gh.Response, error) {
		return c.api.Repositories.ListStatuses(ctx, c.owner, c.name, commit, o)
	})
	return list, c.said(what, err)
}

func (c *Client) status(ctx context.Context, commit, name, state, text, url string) error {
	s := &gh.RepoStatus{Context: &name, State: &state, Description: gh.String(cut(text, maxDescription))}
	if url != "" {
		s.TargetURL = &url
	}
	_, _, err := c.api.Repositories.CreateStatus(ctx, c.owner, c.name, commit, s)
	return c.said("publish the status "+name, err)
}

// cut shortens a text to n bytes at a rune's end.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

// policyState is the status for rules: whether anything but sign-offs stands in the way.
func policyState(p *schemas.Preview) (state, text string) {
	switch p.Verdict {
	case schemas.VerdictNothing:
		return "success", "no access changes here"
	case schemas.VerdictDenied:
		return "failure", fmt.Sprintf("denied by policy: %s", codes(p.Decision))
	case schemas.VerdictInvalid:
		return "failure", fmt.Sprintf("%s to mend before this can be judged", count(len(p.Errors), "error"))
	case schemas.VerdictIncomplete:
		return "error", "an application could not be read: the plan is not complete"
	}
	return "success", "no rule objects"
}

// signoffState is the status for approvals.
func signoffState(p *schemas.Preview) (state, text string) {
	switch p.Verdict {
	case schemas.VerdictNothing:
		return "success", "nothing to sign off"
	case schemas.VerdictReady:
		return "success", "signed off"
	case schemas.VerdictSignoff:
		return "pending", fmt.Sprintf("%s missing", count(len(p.Unmet), "sign-off"))
	}
	return "pending", "waits for a preview without errors"
}

func codes(d *schemas.Decision) string {
	var out []string
	if d != nil {
		for _, r := range d.Denials {
			out = append(out, r.Code)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// applications are those that a preview is about.
func applications(p *schemas.Preview) []string {
	var out []string
	for _, a := range p.Plan.Applications {
		out = append(out, a.Application)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// marker is hidden in the comment, so that it is found again.
type marker struct {
	number       int
	head, digest string
}

func (m marker) String() string {
	return fmt.Sprintf("<!-- countersign:v1 pr=%d head=%s content=%s -->", m.number, m.head, m.digest)
}

var markers = regexp.MustCompile(`^<!-- countersign:v1 pr=([0-9]+) head=([0-9a-f]*) content=([0-9a-f]*) -->`)

func parseMarker(body string) (marker, bool) {
	m := markers.FindStringSubmatch(body)
	if m == nil {
		return marker{}, false
	}
	n, err := strconv.Atoi(m[1])
	return marker{n, m[2], m[3]}, err == nil
}

// sticky are our comments at a pull request, the newest first: those that begin with the marker and are the
// publisher's own, since anybody may write one that looks alike.
func (c *Client) sticky(ctx context.Context, number int, publisher string) ([]*gh.IssueComment, error) {
	what := fmt.Sprintf("read the comments of pull request #%d", number)
	comments, err := all(what, func(o *gh.ListOptions) ([]*gh.IssueComment, *gh.Response, error) {
		return c.api.Issues.ListComments(ctx, c.owner, c.name, number, &gh.IssueListCommentsOptions{ListOptions: *o})
	})
	if err != nil {
		return nil, c.said(what, err)
	}
	var out []*gh.IssueComment
	for _, k := range comments {
		if m, ok := parseMarker(k.GetBody()); ok && m.number == number && strings.EqualFold(k.GetUser().GetLogin(), publisher) {
			out = append(out, k)
		}
	}
	slices.Reverse(out)
	return out, nil
}

// comment writes the one comment: edits the newest of ours, or makes it. Older ones, left by two first runs at once,
// are cut down to a line.
func (c *Client) comment(ctx context.Context, number int, ours []*gh.IssueComment, m marker, body string) (int64, error) {
	text := m.String() + "\n" + body
	if len(text) > maxBody {
		return 0, fmt.Errorf("the comment has %d bytes, more than GitHub takes", len(text))
	}
	if len(ours) == 0 {
		k, _, err := c.api.Issues.CreateComment(ctx, c.owner, c.name, number, &gh.IssueComment{Body: &text})
		return k.GetID(), c.said(fmt.Sprintf("comment on pull request #%d", number), err)
	}
	id := ours[0].GetID()
	if ours[0].GetBody() != text {
		if err := c.edit(ctx, id, text); err != nil {
			return 0, err
		}
	}
	for _, old := range ours[1:] {
		was := marker{number: number}.String() + "\nThe preview is in a later comment."
		if old.GetBody() == was {
			continue
		}
		if err := c.edit(ctx, old.GetID(), was); err != nil {
			return 0, err
		}
	}
	return id, nil
}

func (c *Client) edit(ctx context.Context, id int64, text string) error {
	_, _, err := c.api.Issues.EditComment(ctx, c.owner, c.name, id, &gh.IssueComment{Body: &text})
	return c.said("edit the comment", err)
}

// staleNote stands above a preview whose head is no longer the pull request's.
const staleNote = "> ⏳ New commits came. What follows speaks of `%s` and not of the present state; a new preview is being made.\n\n"

// Stale makes the comment say at once that it speaks of an older head. Without a comment, or for the head that it
// speaks of, it does nothing.
func (c *Client) Stale(ctx context.Context, number int, head, publisher string) error {
	ours, err := c.sticky(ctx, number, publisher)
	if err != nil || len(ours) == 0 {
		return err
	}
	m, _ := parseMarker(ours[0].GetBody())
	if m.head == head || m.head == "" {
		return nil
	}
	_, body, _ := strings.Cut(ours[0].GetBody(), "\n")
	note := fmt.Sprintf(staleNote, short(m.head))
	if strings.HasPrefix(body, note) || len(m.String())+1+len(note)+len(body) > maxBody {
		return nil
	}
	return c.edit(ctx, ours[0].GetID(), m.String()+"\n"+note+body)
}

// check writes the check run, with annotations at the lines that findings speak of.
func (c *Client) check(ctx context.Context, p Publication) error {
	head := p.Preview.Head
	conclusion, title := "success", "no objection"
	if state, text := policyState(p.Preview); state != "success" {
		conclusion, title = "failure", text
	} else if p.Preview.Verdict == schemas.VerdictSignoff {
		_, title = signoffState(p.Preview)
	}
	notes := annotations(p.Preview)
	output := &gh.CheckRunOutput{Title: &title, Summary: gh.String(p.Body), Annotations: notes[:min(len(notes), maxAnnotations)]}
	runs, _, err := c.api.Checks.ListCheckRunsForRef(ctx, c.owner, c.name, head, &gh.ListCheckRunsOptions{CheckName: gh.String(checkName), Filter: gh.String("latest")})
	if err != nil {
		return c.said("read the check runs", err)
	}
	external := fmt.Sprintf("pull request #%d, content %s", p.Number, p.Preview.ContentDigest)
	var id int64
	for _, r := range runs.CheckRuns {
		// The same state again: a check run of it is there, with its annotations.
		if r.GetExternalID() == external && strings.EqualFold(r.GetApp().GetSlug()+"[bot]", p.Publisher) {
			id = r.GetID()
			output.Annotations = nil
			notes = nil
		}
	}
	if id == 0 {
		o := gh.CreateCheckRunOptions{Name: checkName, HeadSHA: head, Status: gh.String("completed"), Conclusion: &conclusion, Output: output, ExternalID: &external}
		if p.URL != "" {
			o.DetailsURL = &p.URL
		}
		run, _, err := c.api.Checks.CreateCheckRun(ctx, c.owner, c.name, o)
		if err != nil {
			return c.said("make the check run", err)
		}
		id = run.GetID()
	} else if _, _, err := c.api.Checks.UpdateCheckRun(ctx, c.owner, c.name, id, gh.UpdateCheckRunOptions{Name: checkName, Status: gh.String("completed"), Conclusion: &conclusion, Output: output}); err != nil {
		return c.said("update the check run", err)
	}
	for at := maxAnnotations; at < len(notes); at += maxAnnotations {
		more := &gh.CheckRunOutput{Title: &title, Summary: gh.String(p.Body), Annotations: notes[at:min(len(notes), at+maxAnnotations)]}
		if _, _, err := c.api.Checks.UpdateCheckRun(ctx, c.owner, c.name, id, gh.UpdateCheckRunOptions{Name: checkName, Output: more}); err != nil {
			return c.said("add annotations", err)
		}
	}
	return nil
}

// annotations are a preview's findings and policy results that have a place, the worst first.
func annotations(p *schemas.Preview) []*gh.CheckRunAnnotation {
	var out []*gh.CheckRunAnnotation
	add := func(level, path string, line int, code, msg, fix string) {
		if path == "" {
			return
		}
		msg = report.Safe(msg)
		if fix != "" {
			msg += "\n" + report.Safe(fix)
		}
		line = max(line, 1)
		out = append(out, &gh.CheckRunAnnotation{Path: &path, StartLine: &line, EndLine: &line, AnnotationLevel: &level, Title: &code, Message: &msg})
	}
	for _, f := range p.Errors {
		level := "failure"
		if f.Severity != schemas.SeverityError {
			level = "warning"
		}
		add(level, f.Position.Path, f.Position.Line, f.Code, f.Message, f.Fix)
	}
	if p.Decision != nil {
		for _, r := range p.Decision.Denials {
			add("failure", r.Path, r.Line, r.Code, r.Msg, r.Fix)
		}
		for _, r := range p.Decision.Warnings {
			add("warning", r.Path, r.Line, r.Code, r.Msg, r.Fix)
		}
	}
	slices.SortStableFunc(out, func(a, b *gh.CheckRunAnnotation) int {
		return strings.Compare(a.GetAnnotationLevel(), b.GetAnnotationLevel())
	})
	return out
}

// label marks the pull request with the applications that it changes, and with no others.
func (c *Client) label(ctx context.Context, number int, apps []string) error {
	what := fmt.Sprintf("read the labels of pull request #%d", number)
	have, err := all(what, func(o *gh.ListOptions) ([]*gh.Label, *gh.Response, error) {
		return c.api.Issues.ListLabelsByIssue(ctx, c.owner, c.name, number, o)
	})
	if err != nil {
		return c.said(what, err)
	}
	want := map[string]bool{}
	for _, a := range apps {
		want[labelPrefix+a] = true
	}
	for _, l := range have {
		if name := l.GetName(); strings.HasPrefix(name, labelPrefix) && !want[name] {
			if _, err := c.api.Issues.RemoveLabelForIssue(ctx, c.owner, c.name, number, name); err != nil && !isStatus(err, http.StatusNotFound) {
				return c.said("take the label "+name+" off", err)
			}
		} else {
			delete(want, name)
		}
	}
	var add []string
	for _, a := range apps {
		if want[labelPrefix+a] {
			add = append(add, labelPrefix+a)
		}
	}
	if len(add) == 0 {
		return nil
	}
	// go-github sends the bare list, which the API's description no longer has.
	req, err := c.api.NewRequest(http.MethodPost, fmt.Sprintf("repos/%s/%s/issues/%d/labels", c.owner, c.name, number), map[string]any{"labels": add})
	if err == nil {
		_, err = c.api.Do(ctx, req, nil)
	}
	return c.said("label the pull request", err)
}

// requestReviews asks those whose sign-off is missing, each once. Whom GitHub does not let us ask (somebody who
// cannot read the repository) is left out: the comment names them.
func (c *Client) requestReviews(ctx context.Context, pull *gh.PullRequest, p *schemas.Preview) error {
	if p.Verdict != schemas.VerdictSignoff || pull.GetState() != "open" || pull.GetDraft() {
		return nil
	}
	asked := map[string]bool{}
	for _, u := range pull.RequestedReviewers {
		asked["user:"+strings.ToLower(u.GetLogin())] = true
	}
	for _, t := range pull.RequestedTeams {
		asked["team:"+strings.ToLower(t.GetSlug())] = true
	}
	if p.Evidence != nil {
		for _, a := range p.Evidence.Authors {
			asked["user:"+strings.ToLower(a)] = true
		}
		for _, a := range p.Evidence.Approvals {
			if a.Counts {
				asked["user:"+strings.ToLower(a.Person)] = true
			}
		}
		for _, b := range p.Evidence.Beneficiaries {
			asked["user:"+strings.ToLower(b)] = true
		}
	}
	for _, r := range p.Unmet {
		for _, from := range r.From {
			var ask gh.ReviewersRequest
			if user, ok := strings.CutPrefix(from, "user:"); ok && !strings.Contains(user, "@") {
				ask.Reviewers = []string{user}
			} else if team, ok := strings.CutPrefix(from, "team:"); ok {
				org, slug, ok := strings.Cut(team, "/")
				if !ok || !strings.EqualFold(org, c.owner) {
					continue
				}
				ask.TeamReviewers, from = []string{slug}, "team:"+slug
			} else {
				continue
			}
			if key := strings.ToLower(from); asked[key] {
				continue
			} else {
				asked[key] = true
			}
			// One by one: GitHub refuses all when it refuses one.
			_, _, err := c.api.PullRequests.RequestReviewers(ctx, c.owner, c.name, pull.GetNumber(), ask)
			if isStatus(err, http.StatusUnprocessableEntity) {
				c.c.Logger.Info("GitHub does not let us ask for a review", "of", from)
				continue
			}
			if err != nil {
				return c.said("request a review of "+from, err)
			}
		}
	}
	return nil
}

// IsMoved says whether an error is that the pull request has another head by now.
func IsMoved(err error) bool {
	var moved *MovedError
	return errors.As(err, &moved)
}

// PullRequest is what a preview needs to know of one.
type PullRequest struct {
	Number     int
	Head, Base string // a commit, a branch
	// Fork says that the head is another repository's.
	Fork         bool
	Open, Merged bool
}

// PullRequest reads one.
func (c *Client) PullRequest(ctx context.Context, number int) (*PullRequest, error) {
	p, err := c.pull(ctx, number)
	if err != nil {
		return nil, err
	}
	return &PullRequest{Number: number, Head: p.GetHead().GetSHA(), Base: p.GetBase().GetRef(), Open: p.GetState() == "open", Merged: p.GetMerged(),
		Fork: !strings.EqualFold(p.GetHead().GetRepo().GetFullName(), c.Repository())}, nil
}

// OpenPullRequests are those that go to a branch.
func (c *Client) OpenPullRequests(ctx context.Context, base string) ([]PullRequest, error) {
	const what = "read the open pull requests"
	list, err := all(what, func(o *gh.ListOptions) ([]*gh.PullRequest, *gh.Response, error) {
		return c.api.PullRequests.List(ctx, c.owner, c.name, &gh.PullRequestListOptions{State: "open", Base: base, ListOptions: *o})
	})
	if err != nil {
		return nil, c.said(what, err)
	}
	var out []PullRequest
	for _, p := range list {
		out = append(out, PullRequest{Number: p.GetNumber(), Head: p.GetHead().GetSHA(), Base: base, Open: true, Fork: !strings.EqualFold(p.GetHead().GetRepo().GetFullName(), c.Repository())})
	}
	return out, nil
}

// Dismissed are the accounts of whom a review of a pull request was dismissed.
func (c *Client) Dismissed(ctx context.Context, number int) ([]string, error) {
	what := fmt.Sprintf("read the reviews of pull request #%d", number)
	list, err := all(what, func(o *gh.ListOptions) ([]*gh.PullRequestReview, *gh.Response, error) {
		return c.api.PullRequests.ListReviews(ctx, c.owner, c.name, number, o)
	})
	if err != nil {
		return nil, c.said(what, err)
	}
	var out []string
	for _, r := range list {
		if strings.EqualFold(r.GetState(), "DISMISSED") && r.GetUser().GetLogin() != "" {
			out = append(out, r.GetUser().GetLogin())
		}
	}
	return out, nil
}

// Reviews is a fingerprint of the reviews of a pull request: another one means that somebody said something.
func (c *Client) Reviews(ctx context.Context, number int) (string, error) {
	what := fmt.Sprintf("read the reviews of pull request #%d", number)
	list, err := all(what, func(o *gh.ListOptions) ([]*gh.PullRequestReview, *gh.Response, error) {
		return c.api.PullRequests.ListReviews(ctx, c.owner, c.name, number, o)
	})
	if err != nil {
		return "", c.said(what, err)
	}
	var b strings.Builder
	for _, r := range list {
		fmt.Fprintf(&b, "%d %s %s\n", r.GetID(), r.GetState(), r.GetCommitID())
	}
	return b.String(), nil
}
