package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/countersign/countersign/reconciler/forge"
)

// letter is one outcome to tell at the forge: a receipt at a pull request, or a comment on a quarantined commit.
type letter struct {
	// Number is the pull request of a receipt; 0 is a comment on a commit.
	Number int                `json:"number,omitempty"`
	Commit string             `json:"commit"`
	State  forge.ReceiptState `json:"state,omitempty"`
	Text   string             `json:"text,omitempty"`
	Body   string             `json:"body"`
	URL    string             `json:"url,omitempty"`
	Since  time.Time          `json:"since"`
}

// maxLetterAge is how long an outcome is tried to be told: a pull request may be gone for good.
const maxLetterAge = 30 * 24 * time.Hour

func (l *letter) key() string {
	if l.Number != 0 {
		return fmt.Sprintf("pull request #%d", l.Number)
	}
	return "commit " + l.Commit
}

// deliver tells the letters and those of earlier passes, of which a later one about the same pull request takes the place.
// Those that fail are kept. They are kept before the first is told, so that a pass that is killed leaves them.
func (p Pass) deliver(ctx context.Context, letters []letter, publisher string, now time.Time) (failed []error) {
	box := map[string]letter{}
	if err := p.Reconciler.Outbox(&box); err != nil {
		failed, box = append(failed, err), map[string]letter{}
	}
	had := len(box) > 0
	for _, l := range letters {
		l.Since = now
		box[l.key()] = l
	}
	if len(letters) > 0 {
		if err := p.Reconciler.SetOutbox(box, false); err != nil {
			failed = append(failed, err)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(box)) {
		l := box[key]
		var err error
		if l.Number != 0 {
			err = p.Forge.Tell(ctx, forge.Receipt{Number: l.Number, Commit: l.Commit, State: l.State, Text: l.Text}, l.Body, publisher, l.URL)
		} else {
			err = p.Forge.CommentOnCommit(ctx, l.Commit, l.Body, publisher)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("tell the outcome at %s, which a later pass tries again: %w", key, err))
		}
		if err == nil || now.Sub(l.Since) > maxLetterAge {
			delete(box, key)
		}
	}
	if had || len(letters) > 0 {
		if err := p.Reconciler.SetOutbox(box, len(box) == 0); err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}
