package branch

import (
	"errors"
	"fmt"
)

var (
	// ErrMoved says that another run has written since: pull, and do again what was about to be done.
	ErrMoved = errors.New("another run has written to the ledger's branch meanwhile")
	// ErrDiverged says that the local file has records that the branch has not.
	ErrDiverged = errors.New("the local ledger is not the one on the branch")
)

// AlteredError says that the branch is not what this package wrote.
type AlteredError struct{ Commit, Path, What string }

// Error says what to do.
func (e *AlteredError) Error() string {
	at := e.Commit[:min(8, len(e.Commit))]
	if e.Path != "" {
		at += " " + e.Path
	}
	return fmt.Sprintf("the ledger's branch was altered (%s: %s): nothing is written until an operator has looked at it; put the branch back, or begin another one", at, e.What)
}

// RewrittenError says that the branch does not go on from where it was.
type RewrittenError struct{ Was, Is string }

// Error says what to do.
func (e *RewrittenError) Error() string {
	return fmt.Sprintf("the ledger's branch was rewritten: it was at %s and is at %s, which does not follow from it; nothing is written until the branch is put back", short(e.Was), short(e.Is))
}

func short(hash string) string { return hash[:min(8, len(hash))] }
