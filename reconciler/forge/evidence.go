package forge

import (
	"context"
	"time"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/schemas"
)

// Evidence identifies the authors and approvers of a change. It does not judge, but may give a reason why an approval
// cannot count.
type Evidence interface {
	// Evidence returns that of a commit of the branch. A fact that makes the evidence worthless is one of its Problems;
	// an error is a failure of transport or time, and a retry may succeed.
	Evidence(context.Context, Change) (schemas.Evidence, error)
	// Pending returns that of a change that is not merged, so far. It is a MovedError when the pull request's head is
	// another commit.
	Pending(context.Context, Pending) (schemas.Evidence, error)
}

// Teams is implemented by Evidence of a forge that knows who is in which team.
type Teams interface {
	// Teams returns the members' accounts by team: all names that were asked for, without members where a team cannot be
	// read. An error is a failure of transport.
	Teams(ctx context.Context, names []string) (map[string][]string, error)
}

// People knows which names and addresses are one person's. *signoff.Directory implements it.
type People interface {
	// Known reports whether anybody has the account or address.
	Known(name string) bool
	// Canonical returns the one name of the person behind an account or address: itself, in lower case, for somebody
	// unknown.
	Canonical(name string) string
	// Account returns the id of an account that is on record for a login: by people.yaml, or else by the first sign-off
	// of that login that counted; 0 where there is none.
	Account(ctx context.Context, login string) (int64, error)
	// Login returns the login that people.yaml has for an account's id, or "".
	Login(account int64) string
}

// Clone reads the content of commits out of the clone.
type Clone interface {
	// Content returns the digest of the control files that a commit would have changed in the place of the change in
	// question, which is the change's own digest if and only if it leaves the same files. The error is
	// history.ErrNotFound where the clone doesn't have the commit, and history.ErrNoMergeBase where it can't be compared.
	Content(ctx context.Context, commit string) (digest string, err error)
	// Bring fetches a reference or commit of the remote into the clone.
	Bring(ctx context.Context, remote history.Remote, refspec string) error
}

// Landing is what several commits of the branch changed together.
type Landing struct {
	// Commits are the commits, oldest first.
	Commits []string
	// Digest is that of the control files that they changed.
	Digest string
	Clone
}

// Change is a commit of the branch whose evidence is asked for.
type Change struct {
	Commit *history.Commit
	// Merged are the commits that made it, from history's MergedCommits.
	Merged []*history.Commit
	// Digest is that of the changed control files.
	Digest string
	// Instant is the earliest that the commit can have landed, if known: when the one before it did. The
	// pusher chooses the commit's own date, and could choose one at which an expired key was still valid.
	Instant time.Time
	// Directory maps the addresses in commits to people.
	Directory People
	// Clone reads what reviewers saw.
	Clone Clone
	// Range returns the n commits of the first-parent line that end with last. A rebase lands one pull request as
	// several commits.
	Range func(ctx context.Context, last string, n int) (Landing, error)
	// Tags returns the annotated tags that name a commit, as they are at the judgement.
	Tags func(ctx context.Context, commit string) ([]*history.Tag, error)
	// Same reports whether the change from base to head is what the commit brought to the branch, for the first time, and
	// why not.
	Same func(ctx context.Context, base, head string) (same bool, why string, err error)
}

// Landed returns the earliest that the commit can have landed, in UTC.
func (c *Change) Landed() time.Time {
	at := c.Commit.CommittedAt
	if c.Instant.After(at) {
		at = c.Instant
	}
	return at.UTC()
}

// Pending is a change that is not merged yet.
type Pending struct {
	Head    string
	Commits []*history.Commit
	Digest  string
	// PullRequest is its number on a forge that has such; 0 is not known.
	PullRequest int
	Directory   People
	// Clone reads what reviewers saw.
	Clone Clone
}
