package forge

import "context"

// Heads keeps statements about the ledger's head at commits of the branch. They are signed: anybody with write access to
// the repository can leave one, and nobody can take one back.
type Heads interface {
	// LeaveHead leaves a statement of at most 140 characters at a commit.
	LeaveHead(ctx context.Context, commit, statement string) error
	// HeadsAt returns the statements at a commit, the newest first: the last few hundred, by anybody.
	HeadsAt(ctx context.Context, commit string) ([]string, error)
}
