package judge

import (
	"errors"
	"fmt"
)

// ErrNoAnchor says that a branch has no countersign.yaml, so that nothing is trusted yet.
var ErrNoAnchor = errors.New("no commit of the branch has a countersign.yaml: make one with countersign init and merge it")

// RewrittenError says that the last commit that was judged is no longer on the first-parent line of the branch.
type RewrittenError struct {
	Last, Tip string
	// Anchor is where trust would start now, where that is another commit than before: "" when it is not.
	Anchor string
	// Rolled is a file that an Acknowledgement was judged by and that is not the one admitted last: "" for none.
	Rolled string
}

// Error says what to do.
func (e *RewrittenError) Error() string {
	if e.Anchor != "" {
		return fmt.Sprintf("the branch was rewritten from its beginning: %s was admitted last and is not on the first-parent line of %s, which "+
			"starts trust anew at %s; nothing is done until the operator names that commit as the anchor, or the branch is put back",
			short(e.Last), short(e.Tip), e.Anchor)
	}
	if e.Rolled != "" {
		return fmt.Sprintf("the branch was rewritten: %s was admitted last and is not on the first-parent line of %s; its Acknowledgement does not count, since "+
			"%s was another one when that was judged: put back the content admitted last and acknowledge it then, or the operator names the anchor",
			short(e.Last), short(e.Tip), e.Rolled)
	}
	return fmt.Sprintf("the branch was rewritten: %s was admitted last and is not on the first-parent line of %s; nothing is done until an Acknowledgement "+
		"with rewritten_from: %s is admitted (its sign-off is that of the settings' owners), or the branch is put back", short(e.Last), short(e.Tip), e.Last)
}

func short(hash string) string { return hash[:min(len(hash), 8)] }
