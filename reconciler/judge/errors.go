package judge

import (
	"errors"
	"fmt"

	"github.com/countersign/countersign/policy"
)

// ErrNoAnchor is returned for a branch without countersign.yaml, where nothing is trusted yet.
var ErrNoAnchor = errors.New("no commit of the branch contains countersign.yaml: create it with countersign init and merge it")

// RewrittenError is returned when the last judged commit is no longer on the first-parent line of the branch.
type RewrittenError struct {
	Last, Tip string
	// Anchor is the commit where trust would start now; "" where it is the same as before.
	Anchor string
	// Rolled is a file that an Acknowledgement was judged by and that differs from the version admitted last; "" for none.
	Rolled string
}

// Error describes the rewrite and the ways out of it.
func (e *RewrittenError) Error() string {
	if e.Anchor != "" {
		return fmt.Sprintf("the branch was rewritten from its beginning: %s was admitted last and is not on the first-parent line of %s, where "+
			"trust now starts at %s; nothing is done until the operator names that commit as the anchor, or the branch is restored",
			short(e.Last), short(e.Tip), e.Anchor)
	}
	if e.Rolled != "" {
		return fmt.Sprintf("the branch was rewritten: %s was admitted last and is not on the first-parent line of %s; its Acknowledgement does not count, because "+
			"it was judged by a different version of %s: restore the content admitted last and then acknowledge it, or have the operator name the anchor",
			short(e.Last), short(e.Tip), e.Rolled)
	}
	return fmt.Sprintf("the branch was rewritten: %s was admitted last and is not on the first-parent line of %s; nothing is done until an Acknowledgement "+
		"with rewritten_from: %s is admitted (the settings owners sign it off), or the branch is restored", short(e.Last), short(e.Tip), e.Last)
}

// UnjudgedError is returned beside a result when commits could not be judged because of a passing fault of the policy's
// evaluation. They take no effect and get no verdict, and the next run judges them; the commits after them were judged.
type UnjudgedError struct {
	// Commit is the first of them.
	Commit string
	Err    error
}

// Error names the commit and the fault.
func (e *UnjudgedError) Error() string {
	return fmt.Sprintf("commit %s is not judged yet, and takes no effect until a later run has judged it: %v", short(e.Commit), e.Err)
}

// Unwrap returns the fault.
func (e *UnjudgedError) Unwrap() error { return e.Err }

// passing reports whether an error of the policy's evaluation may go away by itself.
func passing(err error) bool {
	return errors.Is(err, policy.ErrTimeout) || errors.Is(err, policy.ErrChild) || errors.Is(err, policy.ErrClosed)
}

func short(hash string) string { return hash[:min(len(hash), 8)] }
