package judge

import (
	"errors"
	"fmt"
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

func short(hash string) string { return hash[:min(len(hash), 8)] }
