package forge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// Publication is a preview to be published at its pull request.
type Publication struct {
	Number  int
	Preview *schemas.Preview
	// Body is the preview in Markdown, at most 60,000 bytes.
	Body string
	// Publisher is the account that the settings name: the comment to keep up to date is its own.
	Publisher string
	// Evidence means that this preview may prove what reviewers saw: it is complete, against live state.
	Evidence bool
	// Lacking is why approvals of the Body can't count: it hides or leaves out who gains or loses, or something privileged.
	// It is "" where the Body shows all of that.
	Lacking string
	// StatusOn is a merge queue's commit: it gets the statuses for rules, and nothing else is published. "" is an ordinary
	// publication.
	StatusOn string
	// URL leads to the run that made it; "" for none.
	URL string
}

// Published is the result of a publication.
type Published struct {
	// Comment is the id of the comment.
	Comment int64
	// Skipped are the parts that the credentials don't permit.
	Skipped []string
}

// Previews publishes previews at pull requests.
type Previews interface {
	// Publish publishes a preview: the comment, annotations, labels, statuses, review requests and, last, the evidence
	// of what was previewed. A review that comes after the evidence was given when the preview could be read. It is
	// idempotent, and a MovedError when the pull request has another head.
	Publish(context.Context, Publication) (*Published, error)
	// Stale marks the comment at once as being about an older head than this one.
	Stale(ctx context.Context, number int, head, publisher string) error
}

// The names of the commit statuses that a rule of the repository can require.
const (
	PolicyStatusName  = "countersign/policy"
	SignoffStatusName = "countersign/sign-off"
)

// StatusState is the state of a commit status.
type StatusState string

// The states of a commit status.
const (
	StatusSuccess StatusState = "success"
	StatusFailure StatusState = "failure"
	// StatusError means that the state could not be determined.
	StatusError   StatusState = "error"
	StatusPending StatusState = "pending"
)

// Status is a commit status for the rules of the repository.
type Status struct {
	Name  string
	State StatusState
	// Text describes the state in a sentence.
	Text string
}

// PolicyStatus returns the status that fails when anything but missing sign-offs stops a preview's change.
func PolicyStatus(p *schemas.Preview) Status {
	state, text := StatusSuccess, "no rule objects"
	switch p.Verdict {
	case schemas.VerdictNothing:
		text = "no access changes here"
	case schemas.VerdictDenied:
		state, text = StatusFailure, fmt.Sprintf("denied by policy: %s", codes(p.Decision))
	case schemas.VerdictInvalid:
		state, text = StatusFailure, fmt.Sprintf("%s to fix before this can be judged", count(len(p.Errors), "error"))
	case schemas.VerdictIncomplete:
		state, text = StatusError, "an application could not be read: the plan is not complete"
	}
	return Status{PolicyStatusName, state, text}
}

// SignoffStatus returns the status that succeeds when a preview's change has the sign-offs that it needs. lacking is
// Publication.Lacking.
func SignoffStatus(p *schemas.Preview, lacking string) Status {
	state, text := StatusPending, "waits for a preview without errors"
	if lacking != "" && (p.Verdict == schemas.VerdictReady || p.Verdict == schemas.VerdictSignoff) {
		return Status{SignoffStatusName, state, "approvals of this preview don't count: " + lacking}
	}
	switch p.Verdict {
	case schemas.VerdictNothing:
		state, text = StatusSuccess, "nothing to sign off"
	case schemas.VerdictReady:
		state, text = StatusSuccess, "signed off"
	case schemas.VerdictSignoff:
		text = fmt.Sprintf("%s missing", count(len(p.Unmet), "sign-off"))
	}
	return Status{SignoffStatusName, state, text}
}

func codes(d *schemas.Decision) string {
	var out []string
	if d != nil {
		for _, r := range d.Denials {
			out = append(out, r.Code)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
