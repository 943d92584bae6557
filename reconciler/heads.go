package reconciler

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/schemas"
)

// maxHeadCommits is how many commits of the branch are looked at for the ledger's last head.
const maxHeadCommits = 20

// atForge is the witness at the forge: statements at commits of the branch. Only a ledger that is signed has it. It is
// asked before a run writes, once for each time that the ledger is read from elsewhere.
type atForge struct {
	forge.Heads
	// left is the commit that this process left the last statement at.
	left string
	// known is the last record that it knew of when it was asked.
	known int64
}

// forgeHeads opens the witness at the forge; nil where there is none.
func (r *Reconciler) forgeHeads(ctx context.Context, settings *schemas.SettingsSpec) (*atForge, error) {
	if r.config.Heads == nil || r.config.LedgerKey == nil || r.heads != nil {
		return r.heads, nil
	}
	h, err := r.config.Heads(ctx, *settings)
	if err == nil && h != nil {
		r.heads = &atForge{Heads: h}
	}
	return r.heads, err
}

// questionForge compares the ledger with the newest statement at the forge. Where the forge can't be asked, a ledger that
// is there goes on: what is due must not wait for it.
func (r *Reconciler) questionForge(ctx context.Context, l *ledger.Ledger, anchor string, settings *schemas.SettingsSpec) error {
	w, err := r.forgeHeads(ctx, settings)
	if err != nil || w == nil || r.tip == "" {
		return err
	}
	newest, commit, err := r.newestAt(ctx, w, anchor)
	if err != nil {
		sequence, _, herr := l.Head(ctx)
		if sequence == 0 || herr != nil {
			return errors.Join(fmt.Errorf("ask the forge for the ledger's last head: %w", err), herr)
		}
		r.config.Logger.WarnContext(ctx, "could not ask the forge for the ledger's last head", "error", err)
		return nil
	}
	if w.known = newest.Sequence; newest.Sequence == 0 {
		return nil
	}
	return l.Check(ctx, fmt.Sprintf("a status of commit %.8s", commit), newest.Sequence, newest.Is)
}

// newestAt finds the statement at the last commit that has one.
func (r *Reconciler) newestAt(ctx context.Context, w *atForge, anchor string) (newest seal.Short, commit string, err error) {
	commit = r.tip
	for range maxHeadCommits {
		list, err := w.HeadsAt(ctx, commit)
		if err != nil {
			return newest, commit, err
		}
		for _, line := range list {
			if s, err := r.config.LedgerKey.Public().OpenShort(line, anchor); err == nil && s.Sequence > newest.Sequence {
				newest = s
			}
		}
		c, err := r.config.Repository.Commit(commit)
		if newest.Sequence > 0 || err != nil || c.Parent == "" || commit == anchor {
			return newest, commit, nil
		}
		commit = c.Parent
	}
	return newest, commit, nil
}

// leaveAtForge leaves the head at the tip of the branch, once for each: GitHub keeps a limited number at a commit. A forge
// that can't be reached is told by a later run.
func (r *Reconciler) leaveAtForge(ctx context.Context, statement string) {
	h, err := seal.ParseHead(statement)
	if r.heads == nil || r.heads.left == r.tip || r.tip == "" || err != nil {
		return
	}
	line, err := r.config.LedgerKey.SignShort(h)
	if err == nil {
		err = r.heads.LeaveHead(ctx, r.tip, line)
	}
	if err != nil {
		r.config.Logger.WarnContext(ctx, "could not leave the ledger's head at the forge", "error", err)
		return
	}
	r.heads.left = r.tip
}
