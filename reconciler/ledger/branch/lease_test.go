package branch_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
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
	// A heartbeat tells the second before it writes, and renews the first's lease when that is due.
	if err := second.b.Hold(t.Context()); !errors.Is(err, branch.ErrMoved) {
		t.Errorf("the one that lost the lease holds it: %v", err)
	}
	lease := func() string { return git(t, url, "rev-parse", "refs/heads/"+branch.DefaultName+"-lease") }
	was := lease()
	if err := first.b.Hold(t.Context()); err != nil || lease() != was {
		t.Errorf("Hold = %v, renewed %v", err, lease() != was)
	}
	watch = watch.Add(first.b.Beat())
	if err := first.b.Hold(t.Context()); err != nil || lease() == was {
		t.Errorf("Hold = %v, renewed %v", err, lease() != was)
	}
	// While the remote can't be reached, the lease is held until it may be taken over.
	if err := os.Rename(url, url+"-gone"); err != nil {
		t.Fatal(err)
	}
	if err := first.b.Hold(t.Context()); err != nil {
		t.Errorf("Hold without the remote: %v", err)
	}
	watch = watch.Add(config.Lease)
	if err := first.b.Hold(t.Context()); err == nil {
		t.Error("Hold without the remote, after the lease has ended: no error")
	}
	if err := os.Rename(url+"-gone", url); err != nil {
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
