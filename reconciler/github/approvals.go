package github

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/schemas"
)

// approvals adds the reviews. A merge at the zero instant is one that has not happened.
func (ev *Evidence) approvals(ctx context.Context, e *schemas.Evidence, pull *gh.PullRequest, digest string, merged time.Time) error {
	number := pull.GetNumber()
	what := fmt.Sprintf("read the reviews of pull request #%d", number)
	reviews, err := all(what, func(o *gh.ListOptions) ([]*gh.PullRequestReview, *gh.Response, error) {
		return ev.client.api.PullRequests.ListReviews(ctx, ev.client.owner, ev.client.name, number, o)
	})
	if err != nil {
		return ev.client.explain(what, err)
	}
	node, err := ev.previewedAt(ctx, pull.GetHead().GetSHA(), number, digest)
	if err != nil {
		return err
	}
	if !node.IsZero() {
		e.PreviewDigest, e.PreviewAt = &digest, &node
	}
	for _, r := range latest(reviews, merged) {
		login := r.GetUser().GetLogin()
		at := r.GetSubmittedAt().Time
		a := schemas.Approval{Person: login, At: &at, Commit: r.GetCommitID(), Authenticated: true, Method: "review"}
		if a.Why, err = ev.account(ctx, r.GetUser()); err != nil {
			return err
		}
		a.Named = a.Why == "" && r.GetUser().GetType() != "User"
		if a.Why == "" {
			if a.Why, err = ev.whyNotSeen(ctx, r, number, digest); err != nil {
				return err
			}
		}
		e.Approvals = append(e.Approvals, a)
	}
	return nil
}

// latest are the approvals that are their author's last decision before the merge, in the order in which they were
// given. A comment is not a decision; a dismissed review was taken back, and does not revive an older one.
func latest(reviews []*gh.PullRequestReview, merged time.Time) []*gh.PullRequestReview {
	last := map[int64]*gh.PullRequestReview{}
	var out []*gh.PullRequestReview
	for _, r := range reviews {
		state := strings.ToUpper(r.GetState())
		if state == "COMMENTED" || state == "PENDING" || r.SubmittedAt == nil {
			continue
		}
		if !merged.IsZero() && r.GetSubmittedAt().After(merged) {
			continue
		}
		if r.GetUser() == nil {
			continue // the account is gone
		}
		id := r.GetUser().GetID()
		if was := last[id]; was != nil && (was.GetSubmittedAt().After(r.GetSubmittedAt().Time) ||
			was.GetSubmittedAt().Equal(r.GetSubmittedAt()) && was.GetID() > r.GetID()) {
			continue
		}
		last[id] = r
	}
	for _, r := range last {
		if strings.EqualFold(r.GetState(), "APPROVED") {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *gh.PullRequestReview) int {
		if c := a.GetSubmittedAt().Compare(b.GetSubmittedAt().Time); c != 0 {
			return c
		}
		return int(a.GetID() - b.GetID())
	})
	return out
}

// account returns why an account's approval cannot count: "" for nothing. It must be a person's, not suspended, and
// able to write to the repository, as GitHub asks of a review that counts.
func (ev *Evidence) account(ctx context.Context, u *gh.User) (why string, err error) {
	login := u.GetLogin()
	ev.mu.Lock()
	why, ok := ev.accounts[login]
	ev.mu.Unlock()
	if ok {
		return why, nil
	}
	defer func() {
		if err == nil {
			ev.mu.Lock()
			ev.accounts[login] = why
			ev.mu.Unlock()
		}
	}()
	named := slices.ContainsFunc(ev.settings.Bots, func(b string) bool { return strings.EqualFold(b, login) })
	if u.GetType() != "User" {
		if !named {
			return "the account is a bot", nil
		}
		return "", nil
	}
	user, _, err := ev.client.api.Users.Get(ctx, login)
	switch {
	case isStatus(err, http.StatusNotFound):
		return "the account is gone or suspended", nil
	case err != nil:
		return "", ev.client.explain("read the account "+login, err)
	case user.SuspendedAt != nil:
		return "the account is suspended", nil
	}
	level, _, err := ev.client.api.Repositories.GetPermissionLevel(ctx, ev.client.owner, ev.client.name, login)
	switch {
	case isStatus(err, http.StatusNotFound):
		return "the account cannot access the repository", nil
	case err != nil:
		return "", ev.client.explain("read the permission of "+login, err)
	}
	switch level.GetPermission() {
	case "admin", "write", "maintain":
		return "", nil
	}
	return fmt.Sprintf("the account may not write to the repository (it may %s)", level.GetPermission()), nil
}

// whyNotSeen returns why a review does not show that its author saw this content: "" where it does.
func (ev *Evidence) whyNotSeen(ctx context.Context, r *gh.PullRequestReview, number int, digest string) (string, error) {
	commit, at := r.GetCommitID(), r.GetSubmittedAt().Time
	if commit == "" {
		return "GitHub does not show which commit it is of", nil
	}
	for range maxCommits {
		node, err := ev.previewedAt(ctx, commit, number, digest)
		switch {
		case err != nil:
			return "", err
		case node.IsZero():
			return "it is not of this content: the reviewed commit's preview shows other content or not all of it, or was never published", nil
		case at.After(node):
			return "", nil
		}
		// The commit's preview is younger than the review. That is valid if GitHub re-pointed the review over a merge of
		// the base, which changed nothing of the content.
		c, _, err := ev.client.api.Git.GetCommit(ctx, ev.client.owner, ev.client.name, commit)
		if err != nil {
			return "", ev.client.explain("read commit "+short(commit), err)
		}
		if len(c.Parents) < 2 {
			return fmt.Sprintf("it was given before the preview of this content (%s)", node.UTC().Format(time.RFC3339)), nil
		}
		commit = c.Parents[0].GetSHA()
	}
	return "it is too far back to be followed", nil
}
