package server_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/server"
)

// TestJudgedAfterAPreview has one Reconciler preview a pull request, and then the next one after the first was approved
// and merged: the second preview fetches the branch and judges it, by what GitHub says then.
func TestJudgedAfterAPreview(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.reconciler()
	preview := func(n int) {
		t.Helper()
		if _, _, err := (server.Preview{Reconciler: r, Forge: w.client, Fetch: w.fetch, Branch: "refs/heads/main", BranchSpec: mainSpec, Number: n}).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first := w.ask("first", benign("first"))
	second := w.ask("second", benign("second"))
	preview(first)
	w.repo.Review(first, "bob", "APPROVED")
	w.repo.Merge(first, "merge", "carol")
	preview(second)
	rep, err := server.Pass{Reconciler: r, Options: reconciler.RunOptions{To: "refs/heads/main"}, Forge: w.client}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := verdicts(rep); got != "admitted" {
		t.Errorf("verdict = %s", got)
	}
}

// TestWhatIsDueWithoutGitHub ends a grant while the branch can't be fetched, and GitHub's API answers nothing.
func TestWhatIsDueWithoutGitHub(t *testing.T) {
	t.Parallel()
	w := bareWorld(t)
	w.Team("acme/data", "bob")
	w.push("main", "carol", files{"countersign.yaml": settings, "people.yaml": people, "applications/authz.yaml": w.application("team:acme/data, user:bob"),
		"requests/base.yaml": creation("base") + "---\n" + grant("base", reads)})
	ends := w.now().Add(2 * time.Hour)
	w.land("guest", files{"requests/guest.yaml": grant("base", "{type: user, source_name: dave, expires: "+ends.UTC().Format(time.RFC3339)+"}")})
	wake, offline := make(chan time.Time), errors.New("offline")
	var down atomic.Bool
	s := w.serve(time.Hour, func(c *server.Config) {
		c.After = func(time.Duration) <-chan time.Time { return wake }
		fetch := c.Pass.Fetch
		c.Pass.Fetch = func(ctx context.Context) error {
			if down.Load() {
				return offline
			}
			return fetch(ctx)
		}
	})
	s.pass()
	if !strings.Contains(w.stored(), "dave, base") {
		t.Fatal("not granted")
	}
	down.Store(true)
	w.Fail(func(*http.Request) *fault { return &fault{Status: http.StatusUnauthorized, Body: "{}"} })
	w.Advance(3 * time.Hour)
	wake <- time.Time{}
	<-s.passes // it fails to tell at GitHub
	<-s.reports
	if strings.Contains(w.stored(), "dave, base") {
		t.Error("the grant that has ended stays while GitHub is down")
	}
	w.Fail(nil)
	s.stop()
}

// TestNotReady is about what /readyz and /metrics tell of looks that fail.
func TestNotReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var down atomic.Bool
	s := w.serve(time.Millisecond, func(c *server.Config) {
		fetch, passed := c.Pass.Fetch, c.Passed
		c.Pass.Fetch = func(ctx context.Context) error {
			if down.Load() {
				return errors.New("offline")
			}
			return fetch(ctx)
		}
		var first atomic.Bool
		failed := 0
		c.Passed = func(rep *reportOf, err error) {
			if err != nil {
				failed++
			}
			if !first.Swap(true) || failed == 12 {
				passed(rep, err)
			}
		}
	})
	s.pass()
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get(s.address + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	if code, body := get("/readyz"); code != http.StatusOK {
		t.Errorf("readyz = %d %s", code, body)
	}
	if _, body := get("/metrics"); !strings.Contains(body, "\ncountersign_ready 1\n") || !strings.Contains(body, "\ncountersign_passes_total 1\n") {
		t.Errorf("metrics:\n%s", body)
	}
	down.Store(true)
	<-s.passes
	if code, body := get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "looks at the branch failed") {
		t.Errorf("readyz = %d %s", code, body)
	}
	if _, body := get("/metrics"); !strings.Contains(body, "\ncountersign_ready 0\n") {
		t.Errorf("metrics:\n%s", body)
	}
	s.stop()
}

// TestToldLater has GitHub take nothing while something is applied and something is quarantined. A later pass tells both,
// and nothing twice.
func TestToldLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.land("reader", benign("reader"))
	w.push("main", "alice", benign("direct"))
	direct := w.git(w.work, "rev-parse", "HEAD")
	w.Fail(func(r *http.Request) *fault {
		if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "access_tokens") && !strings.HasSuffix(r.URL.Path, "/graphql") {
			return &fault{Status: http.StatusNotImplemented, Body: "{}"}
		}
		return nil
	})
	if _, err := w.tryApply(reconciler.RunOptions{}); err == nil || !strings.Contains(err.Error(), "which a later pass tries again") {
		t.Errorf("a pass that could tell nothing: %v", err)
	}
	w.Fail(nil)
	merged := w.repo.Run("rev-list", "--min-parents=2", "-1", "main")
	for range 2 {
		w.apply()
		if got := w.comment(n); !strings.Contains(got, "Applied and verified") {
			t.Errorf("the comment still is:\n%.300s", got)
		}
		if got := w.repo.Deployments(merged); len(got) != 1 {
			t.Errorf("deployments = %q", got)
		}
		if got := w.repo.CommitComments(direct); len(got) != 1 {
			t.Errorf("the quarantined commit has %d comments", len(got))
		}
	}
}
