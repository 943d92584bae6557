package reconciler

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/schemas"
)

// Restart begins a ledger in the place of one that was lost, for a revision of the branch. Every change up to there is
// judged again. The operations that follow are held, application by application, until an owner of the settings
// acknowledges it.
func (r *Reconciler) Restart(ctx context.Context, to string) (_ *schemas.RestartRecord, err error) {
	ctx, release, err := r.alone(ctx, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	r.restarting = true
	defer func() { r.restarting = false }()
	b, err := r.open(ctx, to, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	sequence, _, err := b.ledger.Head(ctx)
	if err != nil {
		return nil, err
	}
	if sequence > 0 {
		return nil, fmt.Errorf("there is a ledger with %d records; move it away first (%s, or the ledger's branch), and keep it for the auditors", sequence, LedgerPath(r.config.State))
	}
	record := &schemas.RestartRecord{Commit: b.tip, CommitSequence: b.admitted.Head.Sequence}
	for _, w := range append(r.others(), reference{r.config.Repository}) {
		statement, err := w.Last(ctx)
		if err != nil {
			r.config.Logger.WarnContext(ctx, "could not ask a witness of the ledger", "witness", w.Name(), "error", err)
			continue
		}
		if h, err := seal.ParseHead(statement); err == nil && h.Sequence > record.LastSequence {
			record.LastSequence, record.Head = h.Sequence, h.Hash
		}
	}
	if _, err := b.ledger.Append(ctx, schemas.Record{Type: schemas.RecordRestart, Restart: record}); err != nil {
		return nil, err
	}
	_, err = r.judge.RecordVerdicts(ctx, b.admitted.Index, b.ledger, true)
	return record, err
}

// RotateKey lets another key sign the ledger from here on. The settings name it already; the run's own key is the one before.
func (r *Reconciler) RotateKey(ctx context.Context, next *seal.Key, to string) (err error) {
	ctx, release, err := r.alone(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	b, err := r.open(ctx, to, true)
	if err != nil {
		return err
	}
	named := b.admitted.Trust.Settings.Spec.Ledger.PublicKey
	if err := b.close(); err != nil {
		return err
	}
	if !next.Public().Is(named) {
		return fmt.Errorf("the settings don't name the new key: merge ledger: {public_key: %s} into %s first (the owners sign it off)", next.Public(), schemas.SettingsPath)
	}
	l, err := r.openLedger(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := l.Rotate(ctx, next); err != nil {
		return err
	}
	return r.leave(context.WithoutCancel(ctx), l)
}

// ErrNotAcknowledged means that no owner accepted an unsigned ledger as it is.
var ErrNotAcknowledged = errors.New("no admitted Acknowledgement accepts this ledger")

// TakeOver signs a ledger that isn't signed yet, once an owner's Acknowledgement (unsigned_ledger) accepts its records up to
// one of them. The settings name the key already.
func (r *Reconciler) TakeOver(ctx context.Context, to string) (_ schemas.DocumentID, err error) {
	ctx, release, err := r.alone(ctx, false)
	if err != nil {
		return schemas.DocumentID{}, err
	}
	defer func() { err = errors.Join(err, release()) }()
	l, err := r.openLedger(ctx, false)
	if err != nil {
		return schemas.DocumentID{}, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if r.config.LedgerKey == nil {
		return schemas.DocumentID{}, ledger.ErrNoKey
	}
	tip, err := r.config.Repository.Resolve(to)
	if err != nil {
		return schemas.DocumentID{}, err
	}
	admitted, err := r.judge.Admit(ctx, l, tip)
	if err != nil {
		return schemas.DocumentID{}, err
	}
	defer func() { err = errors.Join(err, admitted.Close()) }()
	public := r.config.LedgerKey.Public()
	if !public.Is(admitted.Trust.Settings.Spec.Ledger.PublicKey) {
		return schemas.DocumentID{}, fmt.Errorf("the settings don't name this key: merge ledger: {public_key: %s} into %s first (the owners sign it off)", public, schemas.SettingsPath)
	}
	controls, err := admitted.Controls(ctx)
	if err != nil {
		return schemas.DocumentID{}, err
	}
	for _, c := range controls {
		if c.Acknowledgement == nil || c.Acknowledgement.UnsignedLedger == nil {
			continue
		}
		u := c.Acknowledgement.UnsignedLedger
		f, err := admitted.File(ctx, c.ID.Path)
		if err != nil {
			return c.ID, err
		}
		if f == nil || !public.Is(u.PublicKey) {
			continue
		}
		if err := l.TakeOver(ctx, c.ID, f.Commit, int64(u.Records), u.Head); err != nil {
			return c.ID, err
		}
		return c.ID, r.leave(context.WithoutCancel(ctx), l)
	}
	sequence, hash, err := l.Head(ctx)
	return schemas.DocumentID{}, errors.Join(fmt.Errorf("%w: merge one with unsigned_ledger: {public_key: %s, records: %d, head: %q} (the owners sign it off)", ErrNotAcknowledged, public, sequence, hash), err)
}
