package judge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// change returns what the forge needs to know about a commit of the branch.
func (j *Judge) change(t *Trust, p *prepared, digest string) signoff.Change {
	settings := &t.Settings.Spec
	return signoff.Change{Commit: p.commit, Merged: p.merged, Digest: digest, Directory: t.peopleOf(j),
		Range: j.rangeOf(settings), Tags: j.tags.of(j.config.Repository), Same: j.sameAs(p.commit, settings)}
}

// tagCache keeps the repository's tags during one walk along the branch.
type tagCache struct {
	mu   sync.Mutex // guards what follows
	tags map[string][]*history.Tag
}

// forget makes the next question read the tags.
func (t *tagCache) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tags = nil
}

func (t *tagCache) of(r *history.Repository) func(context.Context, string) ([]*history.Tag, error) {
	return func(ctx context.Context, commit string) ([]*history.Tag, error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.tags == nil {
			var err error
			if t.tags, err = r.Tags(ctx); err != nil {
				return nil, err
			}
		}
		return t.tags[commit], nil
	}
}

// sameAs reports whether a reviewed change is what a commit brought to the branch. A head that the branch had already is
// not: a sign-off is good for one merge, and an undone change needs another.
func (j *Judge) sameAs(c *history.Commit, settings *schemas.SettingsSpec) func(ctx context.Context, base, head string) (bool, string, error) {
	repo, files := j.config.Repository, ControlFiles{settings}
	return func(ctx context.Context, base, head string) (bool, string, error) {
		onBranch, err := repo.IsAncestor(ctx, base, c.Parent)
		if errors.Is(err, history.ErrNotFound) || err == nil && !onBranch {
			return false, fmt.Sprintf("its base %s is not a commit of the branch before the merge", short(base)), nil
		}
		if err != nil {
			return false, "", err
		}
		if merged, err := repo.IsAncestor(ctx, head, c.Parent); err != nil || merged {
			return false, fmt.Sprintf("%s was merged before", short(head)), err
		}
		reviewed, _, err := j.changesBetween(ctx, base, head, files)
		if err != nil {
			return false, "", err
		}
		landed, err := repo.Compare(ctx, c.Parent, c.Hash, files)
		if err != nil {
			return false, "", err
		}
		if !slices.Equal(reviewed, landed) {
			return false, "the control files were merged with other changes than those reviewed", nil
		}
		return true, "", nil
	}
}
