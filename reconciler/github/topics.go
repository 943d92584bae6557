package github

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/forge"
)

// issueMarker is hidden in an issue, so that later runs find it.
func issueMarker(key string) string { return "<!-- countersign:v1 " + key + " -->" }

// issueLabel is on every issue of ours.
const issueLabel = "countersign"

// UpdateTopics opens, keeps up to date and closes one issue for each topic. Where issues are off, or the token may
// not write them, it only warns: their content is in the report as well.
func (c *Client) UpdateTopics(ctx context.Context, publisher string, topics []forge.Topic) error {
	err := c.updateTopics(ctx, publisher, topics)
	if isStatus(err, http.StatusForbidden, http.StatusGone) {
		c.config.Logger.Warn("no issue was opened or closed: the repository has none, or the token lacks issues: write", "error", err)
		return nil
	}
	return err
}

func (c *Client) updateTopics(ctx context.Context, publisher string, topics []forge.Topic) error {
	const what = "read the open issues"
	open, err := all(what, func(o *gh.ListOptions) ([]*gh.Issue, *gh.Response, error) {
		return c.api.Issues.ListByRepo(ctx, c.owner, c.name, &gh.IssueListByRepoOptions{State: "open", Creator: publisher, Labels: []string{issueLabel}, ListOptions: *o})
	})
	if err != nil {
		return c.explain(what, err)
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
			err = c.explain("open an issue", err)
		case t.Body == "":
			_, _, err = c.api.Issues.Edit(ctx, c.owner, c.name, found.GetNumber(), &gh.IssueRequest{State: gh.String("closed"), StateReason: gh.String("completed")})
			err = c.explain(fmt.Sprintf("close issue #%d", found.GetNumber()), err)
		case found.GetBody() != body || found.GetTitle() != t.Title:
			_, _, err = c.api.Issues.Edit(ctx, c.owner, c.name, found.GetNumber(), &gh.IssueRequest{Title: &t.Title, Body: &body})
			err = c.explain(fmt.Sprintf("update issue #%d", found.GetNumber()), err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// CommentOnCommit comments on a commit, once.
func (c *Client) CommentOnCommit(ctx context.Context, commit, body, publisher string) error {
	what := "read the comments of " + short(commit)
	list, err := all(what, func(o *gh.ListOptions) ([]*gh.RepositoryComment, *gh.Response, error) {
		return c.api.Repositories.ListCommitComments(ctx, c.owner, c.name, commit, o)
	})
	if err != nil {
		return c.explain(what, err)
	}
	text := issueMarker("commit "+commit) + "\n" + body
	for _, k := range list {
		if strings.EqualFold(k.GetUser().GetLogin(), publisher) && strings.HasPrefix(k.GetBody(), issueMarker("commit "+commit)) {
			return nil
		}
	}
	_, _, err = c.api.Repositories.CreateComment(ctx, c.owner, c.name, commit, &gh.RepositoryComment{Body: &text})
	if isStatus(err, http.StatusForbidden) {
		c.config.Logger.Warn("the commit was not commented on: the token lacks contents: write", "commit", commit)
		return nil
	}
	return c.explain("comment on "+short(commit), err)
}
