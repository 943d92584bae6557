package forge

import (
	"context"

	"github.com/countersign/countersign/schemas"
)

// ReceiptState summarizes a receipt.
type ReceiptState string

// The states of a receipt.
const (
	ReceiptSuccess    ReceiptState = "success"
	ReceiptFailure    ReceiptState = "failure"
	ReceiptInProgress ReceiptState = "in_progress"
)

// Receipt is the outcome of a run for one pull request.
type Receipt struct {
	Number int
	// Commit is the commit that landed it.
	Commit string
	State  ReceiptState
	// Text describes the state in a sentence.
	Text string
	// Report is the run, cut down to what the pull request asked for.
	Report *schemas.RunReport
}

// Outcomes publishes the outcomes of merges.
type Outcomes interface {
	// Tell writes a receipt to its pull request, with body as its text in Markdown. url leads to the run; "" for none.
	// It is idempotent.
	Tell(ctx context.Context, r Receipt, body, publisher, url string) error
	// CommentOnCommit comments on a commit, once.
	CommentOnCommit(ctx context.Context, commit, body, publisher string) error
}
