package branch

import (
	"errors"
	"fmt"
)

var (
	// ErrMoved means that another run has written since: pull, and retry.
	ErrMoved = errors.New("another run has written to the ledger's branch in the meantime")
	// ErrDiverged means that the local file has records that the branch has not.
	ErrDiverged = errors.New("the local ledger differs from the one on the branch")
)

// AlteredError means that the branch is not what this package wrote.
type AlteredError struct{ Commit, Path, What string }

// Error describes what to do.
func (e *AlteredError) Error() string {
	at := e.Commit[:min(8, len(e.Commit))]
	if e.Path != "" {
		at += " " + e.Path
	}
	return fmt.Sprintf("the ledger's branch was altered (%s: %s): nothing is written until an operator has looked at it; put the branch back, or begin another one", at, e.What)
}

// RewrittenError means that the branch does not continue from its former tip.
type RewrittenError struct{ Was, Is string }

// Error describes what to do.
func (e *RewrittenError) Error() string {
	return fmt.Sprintf("the ledger's branch was rewritten: it was at %s and is at %s, which does not follow from it; nothing is written until the branch is put back", short(e.Was), short(e.Is))
}

// LedgerAlarm marks it as an alarm about the ledger.
func (*AlteredError) LedgerAlarm() {}

// LedgerAlarm marks it as an alarm about the ledger.
func (*RewrittenError) LedgerAlarm() {}

func short(hash string) string { return hash[:min(8, len(hash))] }
