package github

import (
	"context"
	"net/http"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/schemas"
)

const (
	// maxBody is GitHub's limit of a comment, an issue and a check run's summary, in characters. Bytes are counted
	// here, of which there are never fewer.
	maxBody = 65_535
	// maxDescription is the limit of a status's description.
	maxDescription = 140
)

// Publish publishes a preview. The comment comes first and the evidence last: a review that comes after the evidence was
// given when the preview could be read. When the pull request has another head, it returns a MovedError, and the other
// preview stays.
func (c *Client) Publish(ctx context.Context, p forge.Publication) (*forge.Published, error) {
	out := &forge.Published{}
	pull, err := c.pull(ctx, p.Number)
	if err != nil {
		return nil, err
	}
	head := p.Preview.Head
	if pull.GetHead().GetSHA() != head {
		return nil, &forge.MovedError{PullRequest: p.Number, Head: pull.GetHead().GetSHA(), Previewed: head}
	}
	if p.StatusOn != "" {
		return out, c.ruleStatuses(ctx, p, p.StatusOn)
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
	if err := c.requestReviews(ctx, pull, p.Preview); isStatus(err, http.StatusForbidden) {
		out.Skipped = append(out.Skipped, "the review requests (permission pull-requests: write)")
	} else if err != nil {
		return nil, err
	}
	if err := c.ruleStatuses(ctx, p, head); err != nil {
		return nil, err
	}
	if err := c.publishEvidence(ctx, p, last); err != nil {
		return nil, err
	}
	// Last: a label starts workflows, which may cancel this one.
	if err := c.label(ctx, p.Number, applications(p.Preview)); isStatus(err, http.StatusForbidden) {
		out.Skipped = append(out.Skipped, "the labels (permission pull-requests: write)")
	} else if err != nil {
		return nil, err
	}
	return out, nil
}

// ruleStatuses publishes the statuses that rules of the repository can require.
func (c *Client) ruleStatuses(ctx context.Context, p forge.Publication, on string) error {
	for _, s := range []forge.Status{forge.PolicyStatus(p.Preview), forge.SignoffStatus(p.Preview, p.Lacking)} {
		if err := c.status(ctx, on, s, p.URL); err != nil {
			return err
		}
	}
	return nil
}

// publishEvidence publishes the status that proves what was previewed, once for each state of the head. Publishing it
// again for the same state would void the approvals given since.
func (c *Client) publishEvidence(ctx context.Context, p forge.Publication, last []*gh.IssueComment) error {
	if !p.Evidence && p.Lacking == "" || p.Preview.Verdict == schemas.VerdictNothing {
		return nil
	}
	head, digest := p.Preview.Head, p.Preview.ContentDigest
	statuses, err := c.statuses(ctx, head)
	if err != nil {
		return err
	}
	was := previews(statuses, p.Number, p.Publisher)
	if !p.Evidence || p.Lacking != "" {
		// The comment shows something else than before: what was published for this head is no longer what reviewers see.
		if len(was) == 0 || lastIs(was, "") {
			return nil
		}
		return c.status(ctx, head, forge.Status{Name: previewContext, State: forge.StatusFailure, Text: describeLacking(p.Number)}, p.URL)
	}
	if lastIs(was, digest) && len(last) > 0 {
		// Nothing else was head in between: the comment was about this very state before, and is as we wrote it.
		m, ok := parseMarker(last[0].GetBody())
		edited, err := c.edited(ctx, p.Number, p.Publisher, was[len(was)-1].at)
		if err != nil || ok && m.head == head && m.digest == digest && !edited {
			return err
		}
	}
	return c.status(ctx, head, forge.Status{Name: previewContext, State: forge.StatusSuccess, Text: describeStatus(p.Number, digest, p.Body)}, p.URL)
}

func (c *Client) statuses(ctx context.Context, commit string) ([]*gh.RepoStatus, error) {
	what := "read the statuses of " + short(commit)
	list, err := all(what, func(o *gh.ListOptions) ([]*gh.RepoStatus, *gh.Response, error) {
		return c.api.Repositories.ListStatuses(ctx, c.owner, c.name, commit, o)
	})
	return list, c.explain(what, err)
}

// status publishes a commit status. forge's states are GitHub's.
func (c *Client) status(ctx context.Context, commit string, s forge.Status, url string) error {
	out := &gh.RepoStatus{Context: &s.Name, State: gh.String(string(s.State)), Description: gh.String(cut(s.Text, maxDescription))}
	if url != "" {
		out.TargetURL = &url
	}
	_, _, err := c.api.Repositories.CreateStatus(ctx, c.owner, c.name, commit, out)
	return c.explain("publish the status "+s.Name, err)
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
