package github

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/schemas"
)

// approvals adds the reviews.
func (v *view) approvals(ctx context.Context, e *schemas.Evidence) error {
	c, number := v.ev.client, v.pull.GetNumber()
	what := fmt.Sprintf("read the reviews of pull request #%d", number)
	reviews, err := all(what, func(o *gh.ListOptions) ([]*gh.PullRequestReview, *gh.Response, error) {
		return c.api.PullRequests.ListReviews(ctx, c.owner, c.name, number, o)
	})
	if err != nil {
		return c.explain(what, err)
	}
	list, err := v.previewed(ctx, v.pull.GetHead().GetSHA())
	if err != nil {
		return err
	}
	if lastIs(list, v.digest) {
		last := list[len(list)-1]
		e.PreviewDigest, e.PreviewAt, e.CommentDigest = &last.digest, &last.at, last.shown
	}
	for _, r := range latest(reviews, v.merged) {
		at := r.GetSubmittedAt().Time
		a := schemas.Approval{Person: r.GetUser().GetLogin(), AccountID: strconv.FormatInt(r.GetUser().GetID(), 10), At: &at, Commit: r.GetCommitID(), Authenticated: true, Method: "review"}
		if a.Why, err = v.ev.account(ctx, r.GetUser()); err != nil {
			return err
		}
		a.Named = a.Why == "" && r.GetUser().GetType() != "User"
		if a.Why == "" && !a.Named {
			if a.Person, a.Why, err = v.loginOf(ctx, r.GetUser()); err != nil {
				return err
			}
		}
		if a.Why == "" {
			var shown published
			if a.Why, shown, err = v.whyNotSeen(ctx, r); err != nil {
				return err
			}
			if a.Why == "" {
				e.CommentDigest = shown.shown
			}
		}
		e.Approvals = append(e.Approvals, a)
	}
	v.alarms(e)
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
		if isGone(r.GetUser()) {
			continue
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
