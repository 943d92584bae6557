package branch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// ErrLeased means that another run holds the lease and did not release it in time.
var ErrLeased = errors.New("another run is under way")

const leaseLocal = plumbing.ReferenceName("refs/countersign/lease")

// Acquire takes the lease, waiting for as long as wait for another run to end. A lease that was not renewed for as long
// as Config.Lease, by this process's own watch, is taken over: clocks are never compared. Release it.
func (b *Branch) Acquire(ctx context.Context, wait time.Duration) (release func(context.Context) error, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.open(); err != nil {
		return nil, err
	}
	began := b.config.Watch()
	seen, since, told := plumbing.ZeroHash, began, false
	for {
		is, err := b.remoteTip(ctx, b.leaseRef())
		if err != nil {
			return nil, err
		}
		ours := b.ours(is)
		if is != seen && (seen.IsZero() || b.newer(is)) {
			since = b.config.Watch()
		}
		seen = is
		if !ours || b.config.Watch().Sub(since) >= b.config.Lease {
			switch {
			case is.IsZero():
			case !ours:
				b.config.Logger.Warn("somebody else put a lease in the way that is not countersign's", "lease", is.String())
				if b.config.Watch().Sub(began) >= wait {
					return nil, fmt.Errorf("%w: somebody keeps pushing to %s; protect it with a ruleset", ErrLeased, b.leaseRef().Short())
				}
			default:
				b.config.Logger.Warn("taking over the lease of a run that crashed", "lease", is.String())
			}
			ok, err := b.take(ctx, is)
			if err != nil {
				return nil, err
			}
			if ok {
				return b.release, nil
			}
			continue
		}
		if b.config.Watch().Sub(began) >= wait {
			return nil, fmt.Errorf("%w: %s; run again when it has ended", ErrLeased, b.holder(is))
		}
		if !told {
			b.config.Logger.Warn("waiting for another run to end", "holder", b.holder(is))
			told = true
		}
		b.config.Progress("wait for another run to end", 0, 0)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-b.config.After(min(2*time.Second, b.config.Lease/10)):
		}
	}
}

// claim returns the text of a lease; false for one that isn't countersign's, which an operator's key tells.
func (b *Branch) claim(lease plumbing.Hash) (string, bool) {
	c, err := b.repo.CommitObject(lease)
	if err != nil {
		return short(lease.String()), b.config.Key == nil && !lease.IsZero()
	}
	if b.config.Key == nil {
		return c.Message, true
	}
	text, err := b.config.Key.Public().OpenLease(c.Message)
	return text, err == nil
}

func (b *Branch) ours(lease plumbing.Hash) bool {
	_, ok := b.claim(lease)
	return ok
}

// newer reports whether a lease was taken after all those seen before. An old one that somebody puts back keeps nobody out
// for longer.
func (b *Branch) newer(lease plumbing.Hash) bool {
	text, ok := b.claim(lease)
	if !ok || b.config.Key == nil {
		return ok
	}
	at, err := time.Parse(time.RFC3339Nano, text[strings.LastIndexByte(text, ' ')+1:])
	if err != nil || !at.After(b.claimed) {
		return false
	}
	b.claimed = at
	return true
}

// holder names the holder of a lease.
func (b *Branch) holder(lease plumbing.Hash) string {
	text, _ := b.claim(lease)
	return text
}

// take puts a lease of ours in the place of the one that was seen. It is a commit of its own, so that each renewal is
// another one.
func (b *Branch) take(ctx context.Context, from plumbing.Hash) (bool, error) {
	tree, err := b.store(plumbing.TreeObject, func(io.Writer) error { return nil })
	if err != nil {
		return false, err
	}
	now := time.Now().UTC()
	by := object.Signature{Name: "countersign", Email: "countersign@localhost.invalid", When: now}
	c := &object.Commit{TreeHash: tree, Author: by, Committer: by, Message: fmt.Sprintf("lease: %s at %s", b.config.Holder, now.Format(time.RFC3339Nano))}
	if b.config.Key != nil {
		if c.Message, err = b.config.Key.SignLease(c.Message); err != nil {
			return false, fmt.Errorf("sign the lease: %w", err)
		}
	}
	next, err := b.store(plumbing.CommitObject, func(w io.Writer) error { return encode(w, c) })
	if err != nil {
		return false, err
	}
	if err := b.repo.Storer.SetReference(plumbing.NewHashReference(leaseLocal, next)); err != nil {
		return false, err
	}
	if err := b.pushRef(ctx, leaseLocal, b.leaseRef(), from); err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		// Somebody was quicker, or the result of the push is unknown: the branch as it is now decides.
		is, terr := b.remoteTip(ctx, b.leaseRef())
		if terr != nil {
			return false, errors.Join(err, terr)
		}
		if is != next {
			if is == from {
				return false, fmt.Errorf("take the lease: %w", err)
			}
			return false, nil
		}
	}
	b.lease, b.renewed = next, b.config.Watch()
	return true, nil
}

// renew keeps the lease alive while records are written. One that was lost shows at the next write, in the branch.
func (b *Branch) renew(ctx context.Context) error {
	if b.lease.IsZero() || b.config.Watch().Sub(b.renewed) < b.config.Lease/3 {
		return nil
	}
	for from := b.lease; ; {
		ok, err := b.take(ctx, from)
		if err != nil || ok {
			return err
		}
		if from, err = b.remoteTip(ctx, b.leaseRef()); err != nil {
			return err
		}
		if from.IsZero() || b.ours(from) {
			return ErrMoved
		}
	}
}

// Beat is how often Hold should be called while the lease is held.
func (b *Branch) Beat() time.Duration { return b.config.Lease / 3 }

// Hold renews the lease when it is due, and fails with ErrMoved when another run has taken it over. While the remote
// can't be reached, the lease counts as held for as long as nobody may take it over.
func (b *Branch) Hold(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lease.IsZero() {
		return nil
	}
	is, err := b.remoteTip(ctx, b.leaseRef())
	if err == nil && is != b.lease && (is.IsZero() || b.ours(is)) {
		return ErrMoved
	}
	if err == nil {
		err = b.renew(ctx)
	}
	if err != nil && !errors.Is(err, ErrMoved) && ctx.Err() == nil && b.config.Watch().Sub(b.renewed) < b.config.Lease*2/3 {
		b.config.Logger.Warn("could not renew the lease, trying again", "error", err)
		return nil
	}
	return err
}

func (b *Branch) release(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lease.IsZero() {
		return nil
	}
	from := b.lease
	b.lease = plumbing.ZeroHash
	if err := b.pushRef(ctx, "", b.leaseRef(), from); err != nil {
		is, terr := b.remoteTip(ctx, b.leaseRef())
		if terr != nil || is == from {
			return errors.Join(fmt.Errorf("release the lease: %w", err), terr)
		}
	}
	return nil
}
