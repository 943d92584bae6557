package history_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/countersign/countersign/reconciler/history"
	. "github.com/countersign/countersign/reconciler/history/historytest"
)

// TestFetchReplacesReferences has a reader that opened a branch before it is fetched: it reads the old commit, never a
// part of the new one or nothing.
func TestFetchReplacesReferences(t *testing.T) {
	t.Parallel()
	from := begun(t)
	clone := filepath.Join(t.TempDir(), "clone.git")
	fetch := func(want bool) {
		t.Helper()
		moved, err := history.Fetch(t.Context(), clone, history.Remote{URL: from.Dir}, "refs/heads/main:refs/heads/main")
		if err != nil || moved != want {
			t.Fatalf("Fetch = %t, %v, want %t", moved, err, want)
		}
	}
	fetch(true)
	was := from.Head()
	branch := filepath.Join(clone, "refs", "heads", "main")
	opened := filepath.Join(t.TempDir(), "opened")
	if err := os.Link(branch, opened); err != nil {
		t.Fatal(err)
	}
	is := from.Commit(CommitOptions{})
	fetch(true)
	fetch(false)
	for file, want := range map[string]string{opened: was, branch: is} {
		if b, err := os.ReadFile(file); err != nil || string(b) != want+"\n" {
			t.Errorf("%s holds %q (%v), want %s", filepath.Base(file), b, err, want)
		}
	}
	if got := Reopen(t, clone).Git("fsck"); got != "" {
		t.Errorf("git fsck of the clone:\n%s", got)
	}
	// Neither an operator's gc nor fetches at the same time stand in the way.
	Reopen(t, clone).Git("pack-refs", "--all")
	from.Commit(CommitOptions{})
	var both sync.WaitGroup
	for range 4 {
		both.Go(func() {
			if _, err := history.Fetch(t.Context(), clone, history.Remote{URL: from.Dir}, "refs/heads/main:refs/heads/main"); err != nil {
				t.Errorf("fetch beside another: %v", err)
			}
		})
	}
	both.Wait()
	if got := Reopen(t, clone).Git("rev-parse", "main"); got != from.Head() {
		t.Errorf("main is %s, want %s", got, from.Head())
	}
}

// TestFetchKeepsFewPacks fetches more often than packs may lie about, beside a reader who has the old ones open.
func TestFetchKeepsFewPacks(t *testing.T) {
	t.Parallel()
	from := begun(t)
	clone := filepath.Join(t.TempDir(), "clone.git")
	fetch := func() {
		t.Helper()
		if _, err := history.Fetch(t.Context(), clone, history.Remote{URL: from.Dir}, "refs/heads/main:refs/heads/main"); err != nil {
			t.Fatal(err)
		}
	}
	fetch()
	reader := open(t, clone)
	first := from.Head()
	for range 40 {
		from.Commit(CommitOptions{})
		fetch()
	}
	packs, err := filepath.Glob(filepath.Join(clone, "objects", "pack", "*.pack"))
	if err != nil || len(packs) > 17 {
		t.Errorf("the clone has %d packs: %v", len(packs), err)
	}
	for _, commit := range []string{first, from.Head()} {
		if _, err := reader.Commit(commit); err != nil {
			t.Errorf("a reader who opened the clone before: %v", err)
		}
	}
	if got := Reopen(t, clone).Git("fsck", "--connectivity-only"); got != "" {
		t.Errorf("git fsck of the clone:\n%s", got)
	}
}
