package run

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// lease locks the application against other processes. The lock ends with its process.
func (p *pass) lease(ctx context.Context, app string) (func() error, error) {
	dir := filepath.Join(p.config.State, "leases")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of leases: %w", err)
	}
	f := flock.New(filepath.Join(dir, app+".lock"))
	ok, err := f.TryLockContext(ctx, 100*time.Millisecond)
	if err != nil || !ok {
		return nil, fmt.Errorf("wait for another run over %s to end: %w", app, err)
	}
	return f.Unlock, nil
}
