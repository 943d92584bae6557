package branch_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler/ledger/branch"
)

func TestLease(t *testing.T) {
	t.Parallel()
	url := remote(t)
	// Waiting puts the watch forward.
	watch := time.Now()
	config := branch.Config{URL: url, Holder: "run 1", Lease: 2 * time.Minute, Watch: func() time.Time { return watch },
		After: func(d time.Duration) <-chan time.Time {
			watch = watch.Add(d)
			done := make(chan time.Time, 1)
			done <- watch
			return done
		}}
	first, err := open(t, "", config)
	if err != nil {
		t.Fatal(err)
	}
	release, err := first.b.Acquire(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	second, err := open(t, "", config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.b.Acquire(t.Context(), time.Minute); !errors.Is(err, branch.ErrLeased) || !strings.Contains(err.Error(), "run 1") {
		t.Errorf("the second takes it as well: %v", err)
	}
	if got := log.String(); strings.Count(got, "waiting for another run") != 1 || !strings.Contains(got, "run 1") {
		t.Errorf("the wait is logged as %q", got)
	}
	if err := release(t.Context()); err != nil {
		t.Fatal(err)
	}
	release, err = second.b.Acquire(t.Context(), 0)
	if err != nil {
		t.Fatalf("after the first let go: %v", err)
	}
	// The second dies without letting go. The first takes over when it has watched for long enough, and not before.
	began := watch
	if _, err := first.b.Acquire(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if waited := watch.Sub(began); waited < config.Lease || waited > config.Lease+2*time.Second {
		t.Errorf("taken over after %s, want %s", waited, config.Lease)
	}
	if err := first.append(1); err != nil {
		t.Fatal(err)
	}
	// What the second writes now comes too late.
	if err := second.append(2); !errors.Is(err, branch.ErrMoved) {
		t.Errorf("the one that lost the lease writes: %v", err)
	}
	if err := release(t.Context()); err != nil {
		t.Errorf("letting go of what was lost: %v", err)
	}
	if git(t, url, "for-each-ref", "refs/heads/"+branch.DefaultName+"-lease") == "" {
		t.Error("the second let go of the first's lease")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := second.b.Acquire(ctx, time.Minute); err == nil {
		t.Error("a cancelled wait ends well")
	}
}
