package github

import (
	"context"
	"fmt"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/forge"
)

// PullRequest reads one.
func (c *Client) PullRequest(ctx context.Context, number int) (*forge.PullRequest, error) {
	p, err := c.pull(ctx, number)
	if err != nil {
		return nil, err
	}
	out := c.pullRequestOf(p)
	return &out, nil
}

func (c *Client) pullRequestOf(p *gh.PullRequest) forge.PullRequest {
	return forge.PullRequest{Number: p.GetNumber(), Head: p.GetHead().GetSHA(), Base: p.GetBase().GetRef(), Author: p.GetUser().GetLogin(), Ref: fmt.Sprintf("refs/pull/%d/head", p.GetNumber()),
		Open: p.GetState() == "open", Merged: p.GetMerged(), Fork: !strings.EqualFold(p.GetHead().GetRepo().GetFullName(), c.Repository())}
}

// OpenPullRequests are those that go to a branch.
func (c *Client) OpenPullRequests(ctx context.Context, base string) ([]forge.PullRequest, error) {
	const what = "read the open pull requests"
	list, err := all(what, func(o *gh.ListOptions) ([]*gh.PullRequest, *gh.Response, error) {
		return c.api.PullRequests.List(ctx, c.owner, c.name, &gh.PullRequestListOptions{State: "open", Base: base, ListOptions: *o})
	})
	if err != nil {
		return nil, c.explain(what, err)
	}
	var out []forge.PullRequest
	for _, p := range list {
		out = append(out, c.pullRequestOf(p))
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
		return nil, c.explain(what, err)
	}
	var out []string
	for _, r := range list {
		if strings.EqualFold(r.GetState(), "DISMISSED") && r.GetUser().GetLogin() != "" {
			out = append(out, r.GetUser().GetLogin())
		}
	}
	return out, nil
}

// Reviews is a fingerprint of the reviews of a pull request: another one means that the reviews changed.
func (c *Client) Reviews(ctx context.Context, number int) (string, error) {
	what := fmt.Sprintf("read the reviews of pull request #%d", number)
	list, err := all(what, func(o *gh.ListOptions) ([]*gh.PullRequestReview, *gh.Response, error) {
		return c.api.PullRequests.ListReviews(ctx, c.owner, c.name, number, o)
	})
	if err != nil {
		return "", c.explain(what, err)
	}
	var b strings.Builder
	for _, r := range list {
		fmt.Fprintf(&b, "%d %s %s\n", r.GetID(), r.GetState(), r.GetCommitID())
	}
	return b.String(), nil
}

func (c *Client) pull(ctx context.Context, number int) (*gh.PullRequest, error) {
	pull, _, err := c.api.PullRequests.Get(ctx, c.owner, c.name, number)
	return pull, c.explain(fmt.Sprintf("read pull request #%d", number), err)
}

func short(hash string) string { return hash[:min(len(hash), 8)] }
