package forge

import (
	"context"
	"errors"
	"fmt"
)

// PullRequest holds the facts about a pull request that a preview needs.
type PullRequest struct {
	Number int
	// Head is the commit that is proposed, Base the branch that it goes to.
	Head, Base string
	// Author is the account that opened it; "" for one that is gone.
	Author string
	// Ref is the reference in the repository that leads to Head.
	Ref string
	// Fork means that the head is another repository's.
	Fork         bool
	Open, Merged bool
}

// PullRequests reads pull requests.
type PullRequests interface {
	PullRequest(ctx context.Context, number int) (*PullRequest, error)
	// OpenPullRequests returns the open ones that go to a branch, the newest first.
	OpenPullRequests(ctx context.Context, base string) ([]PullRequest, error)
}

// Reviews watches the reviews of pull requests. It is not evidence.
type Reviews interface {
	// Reviews returns a fingerprint of a pull request's reviews: another one means that somebody reviewed.
	Reviews(ctx context.Context, number int) (string, error)
	// Dismissed returns the accounts whose review of a pull request was dismissed.
	Dismissed(ctx context.Context, number int) ([]string, error)
}

// MovedError means that a pull request got another head while it was looked at.
type MovedError struct {
	PullRequest     int
	Head, Previewed string
}

// Error describes what to do.
func (e *MovedError) Error() string {
	return fmt.Sprintf("pull request #%d moved to %s (this preview is of %s): the preview of the new head replaces this one", e.PullRequest, short(e.Head), short(e.Previewed))
}

func short(hash string) string { return hash[:min(len(hash), 8)] }

// IsMoved reports whether an error is a MovedError.
func IsMoved(err error) bool {
	var moved *MovedError
	return errors.As(err, &moved)
}
