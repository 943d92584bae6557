package run

import (
	"context"
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
