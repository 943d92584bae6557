package run

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"
)

// TestLeaseReportsWaiting has a run that waits for another one report it within seconds, once.
func TestLeaseReportsWaiting(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	if err := os.MkdirAll(filepath.Join(state, "leases"), 0o700); err != nil {
		t.Fatal(err)
	}
	other := flock.New(filepath.Join(state, "leases", "shop.lock"))
	if err := other.Lock(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		p := &pass{Runner: New(Config{State: state, Logger: slog.New(slog.NewTextHandler(&log, nil))})}
		go func() {
			time.Sleep(time.Second)
			if got := log.String(); got != "" {
				t.Errorf("after a second: %s", got)
			}
			time.Sleep(9 * time.Second)
			if err := other.Unlock(); err != nil {
				t.Error(err)
			}
		}()
		unlock, err := p.lease(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		if err := unlock(); err != nil {
			t.Error(err)
		}
		if got := log.String(); strings.Count(got, "waiting for another run") != 1 || !strings.Contains(got, "application=shop") {
			t.Errorf("the log is %q", got)
		}
	})
}

// lockedBuffer is a buffer that several goroutines may use.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
