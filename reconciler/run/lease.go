package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// leaseRetry is the time between two tries to lock an application, leaseQuiet how long a run waits before it reports
// that another one has the lock.
const leaseRetry, leaseQuiet = 100 * time.Millisecond, 2 * time.Second

// lease locks the application against other processes. The lock ends with its process.
func (p *pass) lease(ctx context.Context, app string) (func() error, error) {
	dir := filepath.Join(p.config.State, "leases")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of leases: %w", err)
	}
	f := flock.New(filepath.Join(dir, app+".lock"))
	ok, err := f.TryLock()
	for waited := time.Duration(0); err == nil && !ok; waited += leaseRetry {
		if waited == leaseQuiet {
			p.config.Logger.Warn("waiting for another run over this application to end", "application", app, "lock", f.Path())
		}
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(leaseRetry):
			ok, err = f.TryLock()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("wait for another run over %s to end: %w", app, err)
	}
	return f.Unlock, nil
}

// newEpoch takes the epoch from the ledger's clock and length: a run that takes the applications over has read what this
// one wrote there, so that its epoch is greater.
func (p *pass) newEpoch(ctx context.Context) error {
	if p.options.ReadOnly {
		return nil
	}
	sequence, _, err := p.base.Ledger.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the ledger's head: %w", err)
	}
	const bits = 20
	p.epoch = p.now().UnixMilli()<<bits | sequence&(1<<bits-1)
	return nil
}

// ErrLost means that a later run has taken the application over.
var ErrLost = errors.New("a later run has taken over this application, so nothing more is written; run again")

// stillOurs fails when a later run over the application has begun: this one was stopped, and its lock was lost.
func (a *application) stillOurs(ctx context.Context) error {
	if a.config.Leased != nil {
		if err := a.config.Leased(ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
	}
	last, ok, err := a.base.Ledger.LastRun(ctx, a.app.Name)
	if err != nil {
		return err
	}
	if ok && last.Run != a.id {
		return fmt.Errorf("%w: run %s", ErrLost, last.Run)
	}
	return nil
}
