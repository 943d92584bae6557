package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/schemas"
)

// view is a pull request while its evidence is collected. Nothing that it reads is kept for another one.
type view struct {
	ev   *Evidence
	pull *gh.PullRequest
	// digest is that of the content in question, and clone reads the content of commits.
	digest string
	clone  forge.Clone
	people forge.People
	// merged is when the pull request was merged; the zero instant is that it was not.
	merged time.Time

	contents map[string]string // by commit; "" for one that can no longer be read
	fetched  bool              // the pull request's reference was brought into the clone
	previews map[string][]published
	// pushes are those to the head branch, newest first; unseen is why GitHub doesn't show them.
	pushes   []activity
	unseen   string
	listed   bool
	tampered []tampering
	unknown  string // why tampering can't be told
	looked   bool
}

func (ev *Evidence) view(pull *gh.PullRequest, digest string, clone forge.Clone, people forge.People) *view {
	return &view{ev: ev, pull: pull, digest: digest, clone: clone, people: people, merged: pull.GetMergedAt().Time,
		contents: map[string]string{}, previews: map[string][]published{}}
}

// isFork reports whether the head is another repository's.
func (v *view) isFork() bool {
	return !strings.EqualFold(v.pull.GetHead().GetRepo().GetFullName(), v.ev.client.Repository())
}

// content returns the digest of what a commit would change, hashed from the clone; "" for a commit that is gone.
func (v *view) content(ctx context.Context, commit string) (string, error) {
	if d, ok := v.contents[commit]; ok {
		return d, nil
	}
	d, err := v.clone.Content(ctx, commit)
	if errors.Is(err, history.ErrNotFound) && !v.fetched {
		// The commits of a squash or rebase aren't in the branch.
		v.fetched = true
		n := v.pull.GetNumber()
		if err := v.clone.Bring(ctx, v.ev.client.Remote(), fmt.Sprintf("refs/pull/%d/head:refs/countersign/pull/%d", n, n)); err != nil {
			return "", fmt.Errorf("fetch pull request #%d: %w", n, err)
		}
		d, err = v.clone.Content(ctx, commit)
	}
	if errors.Is(err, history.ErrNotFound) {
		d, err = v.bring(ctx, commit)
	}
	if errors.Is(err, history.ErrNoMergeBase) {
		d, err = "", nil
	}
	if err != nil {
		return "", err
	}
	v.contents[commit] = d
	return d, nil
}

// bring reads a commit that was pushed over since. GitHub keeps such commits, and gives them out by their hash.
func (v *view) bring(ctx context.Context, commit string) (string, error) {
	c := v.ev.client
	_, _, err := c.api.Git.GetCommit(ctx, c.owner, c.name, commit)
	if isStatus(err, http.StatusNotFound, http.StatusUnprocessableEntity) {
		return "", nil
	}
	if err != nil {
		return "", c.explain("read commit "+short(commit), err)
	}
	if err := v.clone.Bring(ctx, c.Remote(), commit+":refs/countersign/commit/"+commit); err != nil {
		return "", fmt.Errorf("fetch commit %s: %w", short(commit), err)
	}
	return v.clone.Content(ctx, commit)
}

// whyNotSeen returns why a review doesn't show that its author saw this content: "" where it does.
func (v *view) whyNotSeen(ctx context.Context, r *gh.PullRequestReview) (why string, shown published, err error) {
	commit, at := r.GetCommitID(), r.GetSubmittedAt().Time
	if commit == "" {
		return "GitHub does not show which commit it is of", shown, nil
	}
	for range maxCommits {
		digest, err := v.content(ctx, commit)
		switch {
		case err != nil:
			return "", shown, err
		case digest == "":
			return "the reviewed commit can no longer be read or compared", shown, nil
		case digest != v.digest:
			return "it is not of this content: the reviewed commit shows other content", shown, nil
		}
		list, err := v.previewed(ctx, commit)
		if err != nil {
			return "", shown, err
		}
		before := latestBefore(list, at)
		switch {
		case before != nil && before.digest == v.digest:
			why, err := v.whyNotSince(ctx, r, *before)
			return why, *before, err
		case before != nil:
			return "it is not of this content: the reviewed commit's preview shows other content or not all of it", shown, nil
		}
		c, _, err := v.ev.client.api.Git.GetCommit(ctx, v.ev.client.owner, v.ev.client.name, commit)
		if err != nil {
			return "", shown, v.ev.client.explain("read commit "+short(commit), err)
		}
		// GitHub re-points a review over a merge of the base, which changes nothing of the content.
		switch {
		case len(c.Parents) > 1:
			commit = c.Parents[0].GetSHA()
		case len(list) > 0:
			return fmt.Sprintf("it was given before the preview of this content (%s)", list[len(list)-1].at.UTC().Format(time.RFC3339)), shown, nil
		default:
			return "the reviewed commit's preview was never published", shown, nil
		}
	}
	return "it is too far back to be followed", shown, nil
}

// latestBefore is the last preview that was published before an instant; nil for none.
func latestBefore(list []published, at time.Time) *published {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].at.Before(at) {
			return &list[i]
		}
	}
	return nil
}

// whyNotSince returns why a preview doesn't prove what the reviewer saw, though it was published before the review.
func (v *view) whyNotSince(ctx context.Context, r *gh.PullRequestReview, shown published) (string, error) {
	at := r.GetSubmittedAt().Time
	if v.isFork() {
		// GitHub doesn't show what was head of a fork's branch, and when.
		c, _, err := v.ev.client.api.Git.GetCommit(ctx, v.ev.client.owner, v.ev.client.name, r.GetCommitID())
		if err != nil {
			return "", v.ev.client.explain("read commit "+short(r.GetCommitID()), err)
		}
		if len(c.Parents) > 1 {
			return "GitHub may have moved it over a merge of the base, which it does not show for a fork: rebase the pull request, and have it approved again", nil
		}
	} else if why, err := v.otherHead(ctx, shown.at); why != "" || err != nil {
		return why, err
	}
	if ok, err := v.untouched(ctx, shown); ok || err != nil {
		return "", err
	}
	if err := v.lookForTampering(ctx); err != nil {
		return "", err
	}
	if v.unknown != "" {
		return v.unknown, nil
	}
	for _, t := range v.tampered {
		if !t.at.Before(shown.at) && !t.at.After(at) {
			return t.String() + ", before this approval: a new preview is published, to be approved", nil
		}
	}
	return "", nil
}

// otherHead returns which other content was head between a preview and the merge.
func (v *view) otherHead(ctx context.Context, since time.Time) (string, error) {
	if err := v.listPushes(ctx); err != nil || v.unseen != "" {
		return v.unseen, err
	}
	for _, a := range v.pushes {
		at := a.Timestamp.Time
		if at.Before(since) || !v.merged.IsZero() && at.After(v.merged) || strings.Trim(a.After, "0") == "" {
			continue
		}
		digest, err := v.content(ctx, a.After)
		if err != nil {
			return "", err
		}
		if digest != v.digest {
			return fmt.Sprintf("other content was pushed after the preview that it relies on (%s, %s)", short(a.After), at.UTC().Format(time.RFC3339)), nil
		}
	}
	return "", nil
}

// untouched reports whether the comment is as it was when a preview was published: nobody changed it since. Where it was
// changed, by us or by others, GraphQL tells by whom.
func (v *view) untouched(ctx context.Context, shown published) (bool, error) {
	ours, err := v.ev.client.sticky(ctx, v.pull.GetNumber(), v.ev.settings.Publisher)
	if err != nil || len(ours) == 0 {
		return false, err
	}
	m, _ := parseMarker(ours[0].GetBody())
	_, body, _ := strings.Cut(ours[0].GetBody(), "\n")
	return m.digest == shown.digest && bodyDigest(body) == shown.shown && !ours[0].GetUpdatedAt().After(shown.at), nil
}

func (v *view) lookForTampering(ctx context.Context) (err error) {
	if v.looked {
		return nil
	}
	v.tampered, v.unknown, err = v.ev.client.tampered(ctx, v.pull.GetNumber(), v.ev.settings.Publisher)
	v.looked = err == nil
	return err
}

// alarms are what somebody should look at though it voids nothing: changes of the comment after the approvals.
func (v *view) alarms(e *schemas.Evidence) {
	for _, t := range v.tampered {
		e.Alarms = append(e.Alarms, t.String())
	}
}
