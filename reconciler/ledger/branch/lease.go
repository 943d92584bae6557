package branch

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	if err := b.open(); err != nil {
		return nil, err
	}
	began := b.config.Watch()
	seen, since := plumbing.ZeroHash, began
	for {
		is, err := b.remoteTip(ctx, b.leaseRef())
		if err != nil {
			return nil, err
		}
		if is != seen {
			seen, since = is, b.config.Watch()
		}
		if is.IsZero() || b.config.Watch().Sub(since) >= b.config.Lease {
			if !is.IsZero() {
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
		b.config.Progress("wait for another run to end", 0, 0)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-b.config.After(min(2*time.Second, b.config.Lease/10)):
		}
	}
}

// holder names the holder of a lease.
func (b *Branch) holder(lease plumbing.Hash) string {
	c, err := b.repo.CommitObject(lease)
	if err != nil {
		return short(lease.String())
	}
	return c.Message
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
	ok, err := b.take(ctx, b.lease)
	if err == nil && !ok {
		err = ErrMoved
	}
	return err
}

func (b *Branch) release(ctx context.Context) error {
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
