package branch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/branch"
	"github.com/countersign/countersign/schemas"
)

// runner is a machine that a run has: a clone of the branch and a ledger, both new unless kept.
type runner struct {
	t   testing.TB
	dir string
	b   *branch.Branch
	l   *ledger.Ledger
}

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=m", "GIT_AUTHOR_EMAIL=m@x.test", "GIT_COMMITTER_NAME=m", "GIT_COMMITTER_EMAIL=m@x.test")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func remote(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "remote.git")
	if out, err := exec.Command("git", "init", "-q", "--bare", dir).CombinedOutput(); err != nil {
		t.Fatalf("git init: %s", out)
	}
	git(t, dir, "config", "http.receivepack", "true")
	return dir
}

// open is what a run does first. dir is where it keeps its files; "" is a fresh runner.
func open(t testing.TB, dir string, c branch.Config) (*runner, error) {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	c.Dir = filepath.Join(dir, "branch.git")
	b, err := branch.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{t: t, dir: dir, b: b}
	if r.l, err = ledger.Open(t.Context(), ledger.Config{Path: filepath.Join(dir, "ledger.db"), Replicate: b.Replicate}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.l.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, b.Pull(t.Context(), r.l)
}

func fresh(t testing.TB, url string) *runner {
	t.Helper()
	r, err := open(t, "", branch.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func record(n int) schemas.Record {
	return schemas.Record{Type: schemas.RecordFinding, Finding: &schemas.Finding{Code: "test", Severity: "warning", Message: fmt.Sprintf("record %d", n)}}
}

func (r *runner) append(n ...int) error {
	r.t.Helper()
	var some []schemas.Record
	for _, i := range n {
		some = append(some, record(i))
	}
	_, err := r.l.Append(context.Background(), some...)
	return err
}

// texts are the messages of the ledger's records, whose chain must hold.
func (r *runner) texts() string {
	r.t.Helper()
	rep, err := r.l.Verify(r.t.Context(), ledger.VerifyOptions{})
	if err != nil || len(rep.Problems) > 0 {
		r.t.Errorf("the chain does not hold: %v %v", rep.Problems, err)
	}
	var out []string
	if err := r.l.Records(r.t.Context(), ledger.Filter{}, func(x schemas.Record) error {
		out = append(out, strings.TrimPrefix(x.Finding.Message, "record "))
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	return strings.Join(out, " ")
}

func TestAFreshRunnerKnowsWhatWasDone(t *testing.T) {
	t.Parallel()
	url := remote(t)
	first := fresh(t, url)
	if err := first.append(1, 2); err != nil {
		t.Fatal(err)
	}
	if err := first.append(3); err != nil {
		t.Fatal(err)
	}
	second := fresh(t, url)
	if got := second.texts(); got != "1 2 3" {
		t.Errorf("the second runner has %q", got)
	}
	if err := second.append(4); err != nil {
		t.Fatal(err)
	}
	// The first one is kept, and catches up.
	if err := first.b.Pull(t.Context(), first.l); err != nil {
		t.Fatal(err)
	}
	if got := first.texts(); got != "1 2 3 4" {
		t.Errorf("the first runner has %q", got)
	}
	if got := git(t, url, "log", "--format=%s", branch.DefaultName); got != "ledger: records 4 to 4\nledger: records 3 to 3\nledger: records 1 to 2" {
		t.Errorf("the branch says\n%s", got)
	}
}

func TestALedgerThatWasThereBeforeBeginsTheBranch(t *testing.T) {
	t.Parallel()
	dir, url := t.TempDir(), remote(t)
	l, err := ledger.Open(t.Context(), ledger.Config{Path: filepath.Join(dir, "ledger.db")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), record(1), record(2)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir, branch.Config{URL: url}); err != nil {
		t.Fatal(err)
	}
	if got := fresh(t, url).texts(); got != "1 2" {
		t.Errorf("the branch holds %q", got)
	}
}

// TestTwoWritersRace has both append at once, many times: each record lands once, and the loser is told.
func TestTwoWritersRace(t *testing.T) {
	t.Parallel()
	url := remote(t)
	var wg sync.WaitGroup
	for w := range 2 {
		r := fresh(t, url)
		wg.Go(func() {
			for i := range 5 {
				for {
					err := r.append(w*100 + i)
					if err == nil {
						break
					}
					if !errors.Is(err, branch.ErrMoved) {
						t.Errorf("append: %v", err)
						return
					}
					if err := r.b.Pull(context.Background(), r.l); err != nil {
						t.Errorf("pull: %v", err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	got := strings.Fields(fresh(t, url).texts())
	seen := map[string]bool{}
	for _, s := range got {
		seen[s] = true
	}
	if len(got) != 10 || len(seen) != 10 {
		t.Errorf("the branch holds %q", got)
	}
}

// TestACrashAfterThePush has records on the branch that the local file did not get to keep.
func TestACrashAfterThePush(t *testing.T) {
	t.Parallel()
	dir, url := t.TempDir(), remote(t)
	r, err := open(t, dir, branch.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.append(1); err != nil {
		t.Fatal(err)
	}
	died := errors.New("died")
	l, err := ledger.Open(t.Context(), ledger.Config{Path: filepath.Join(dir, "ledger.db"), Replicate: func(ctx context.Context, b ledger.Batch) error {
		return errors.Join(r.b.Replicate(ctx, b), died)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(t.Context(), record(2)); !errors.Is(err, died) {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := open(t, dir, branch.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	if got := again.texts(); got != "1 2" {
		t.Errorf("after the crash the ledger has %q", got)
	}
	if err := again.append(3); err != nil {
		t.Fatal(err)
	}
}

// TestAlteredBranches has somebody with the right to push at work.
func TestAlteredBranches(t *testing.T) {
	t.Parallel()
	const name = branch.DefaultName
	// A message as ours would be.
	next := "ledger: records 4 to 4\n\nhead " + strings.Repeat("0", 64)
	file := func(t *testing.T, work string) string {
		return git(t, work, "ls-files", "*0001.jsonl")
	}
	edit := func(t *testing.T, work string, change func(string) string) {
		t.Helper()
		path := filepath.Join(work, file(t, work))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(change(string(b))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	amend := func(t *testing.T, work string, change func(string) string) {
		t.Helper()
		// The first commit's content, and the later ones on top of it.
		tip := git(t, work, "rev-parse", "HEAD")
		root := git(t, work, "rev-list", "--max-parents=0", "HEAD")
		git(t, work, "checkout", "-q", root)
		edit(t, work, change)
		git(t, work, "commit", "-q", "-a", "--amend", "--no-edit")
		git(t, work, "cherry-pick", root+".."+tip)
	}
	tests := []struct {
		name string
		// alter works in a clone whose HEAD is pushed by force then.
		alter func(t *testing.T, work string)
		// message stands for the commit's, when it is to look like ours.
		want     string
		onlyKept bool // a fresh runner cannot tell
	}{
		{"a record changed on top", func(t *testing.T, work string) {
			edit(t, work, func(s string) string { return strings.Replace(s, "record 1", "record 9", 1) })
			git(t, work, "commit", "-q", "-a", "-m", next)
		}, "it changes a file", false},
		{"a file removed", func(t *testing.T, work string) {
			git(t, work, "rm", "-q", file(t, work))
			git(t, work, "commit", "-q", "-m", next)
		}, "it removes something", false},
		{"another file beside", func(t *testing.T, work string) {
			if err := os.WriteFile(filepath.Join(work, "README.md"), []byte("hello\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			git(t, work, "add", ".")
			git(t, work, "commit", "-q", "-m", next)
		}, "it is not a folder of the ledger", false},
		{"two files at once", func(t *testing.T, work string) {
			dir := filepath.Join(work, filepath.Dir(file(t, work)))
			for _, n := range []string{"000000000004.jsonl", "000000000005.jsonl"} {
				if err := os.WriteFile(filepath.Join(dir, n), []byte("{}\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			git(t, work, "add", ".")
			git(t, work, "commit", "-q", "-m", next)
		}, "it changes 2 entries at once", false},
		{"a symbolic link", func(t *testing.T, work string) {
			if err := os.Symlink("/etc/passwd", filepath.Join(work, filepath.Dir(file(t, work)), "000000000009.jsonl")); err != nil {
				t.Fatal(err)
			}
			git(t, work, "add", ".")
			git(t, work, "commit", "-q", "-m", next)
		}, "it is not a file of the ledger", false},
		{"a merge", func(t *testing.T, work string) {
			git(t, work, "checkout", "-q", "-b", "side", "HEAD~1")
			git(t, work, "commit", "-q", "--allow-empty", "-C", "HEAD")
			git(t, work, "checkout", "-q", name)
			git(t, work, "merge", "-q", "--no-ff", "-s", "ours", "-m", git(t, work, "log", "-1", "--format=%B"), "side")
		}, "it is a merge", false},
		{"an empty commit", func(t *testing.T, work string) { git(t, work, "commit", "-q", "--allow-empty", "-m", next) }, "it changes 0 entries at once", false},
		{"a message once more", func(t *testing.T, work string) { git(t, work, "commit", "-q", "--allow-empty", "-C", "HEAD") }, "do not go on", false},
		{"a commit in other words", func(t *testing.T, work string) { git(t, work, "commit", "-q", "--allow-empty", "-m", "hello") }, "its message is not the ledger's", false},
		{"a record changed from the beginning", func(t *testing.T, work string) {
			amend(t, work, func(s string) string { return strings.Replace(s, "record 1", "record 9", 1) })
		}, "does not follow the last", false},
		{"a record taken out from the beginning", func(t *testing.T, work string) {
			amend(t, work, func(s string) string { _, rest, _ := strings.Cut(s, "\n"); return rest })
		}, "does not follow the last", false},
		{"two lines in another order", func(t *testing.T, work string) {
			amend(t, work, func(s string) string {
				l := strings.SplitAfter(s, "\n")
				return l[1] + l[0]
			})
		}, "does not follow the last", false},
		{"a line cut off", func(t *testing.T, work string) {
			amend(t, work, func(s string) string { return s[:len(s)-10] })
		}, "cut off", false},
		{"a line that is no record", func(t *testing.T, work string) {
			amend(t, work, func(s string) string { return s + "{]\n" })
		}, "a line is not a record", false},
		{"the end cut off", func(t *testing.T, work string) { git(t, work, "reset", "-q", "--hard", "HEAD~1") }, "was rewritten", true},
		{"begun anew", func(t *testing.T, work string) {
			git(t, work, "checkout", "-q", "--orphan", "other")
			git(t, work, "rm", "-q", "-r", "--cached", ".")
			git(t, work, "commit", "-q", "--allow-empty", "-m", "ledger: records 1 to 1\n\nhead "+strings.Repeat("0", 64))
		}, "it changes 0 entries at once", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := remote(t)
			kept := fresh(t, url)
			for _, n := range [][]int{{1, 2}, {3}} {
				if err := kept.append(n...); err != nil {
					t.Fatal(err)
				}
			}
			work := filepath.Join(t.TempDir(), "work")
			git(t, url, "clone", "-q", "-b", name, url, work)
			tt.alter(t, work)
			git(t, work, "push", "-q", "-f", "origin", "HEAD:"+name)
			r, err := open(t, "", branch.Config{URL: url})
			if tt.onlyKept {
				if err != nil {
					t.Errorf("a fresh runner: %v", err)
				}
			} else {
				var altered *branch.AlteredError
				if !errors.As(err, &altered) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("a fresh runner: %v, want %q", err, tt.want)
				}
				if got := r.texts(); got != "" {
					t.Errorf("records of it were taken: %s", got)
				}
			}
			if err := kept.b.Pull(t.Context(), kept.l); err == nil {
				t.Error("the runner that knew better took it")
			}
			if got := kept.texts(); got != "1 2 3" {
				t.Errorf("the runner that knew better has %q", got)
			}
		})
	}
}

func TestAnchor(t *testing.T) {
	t.Parallel()
	url := remote(t)
	r := fresh(t, url)
	if err := r.append(1); err != nil {
		t.Fatal(err)
	}
	anchor := git(t, url, "rev-parse", branch.DefaultName)
	if err := r.append(2); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, "", branch.Config{URL: url, Anchor: anchor}); err != nil {
		t.Errorf("with the anchor: %v", err)
	}
	var rewritten *branch.RewrittenError
	if _, err := open(t, "", branch.Config{URL: url, Anchor: strings.Repeat("a", 40)}); !errors.As(err, &rewritten) {
		t.Errorf("with an anchor that is not there: %v", err)
	}
	git(t, url, "update-ref", "-d", "refs/heads/"+branch.DefaultName)
	if err := r.b.Pull(t.Context(), r.l); !errors.As(err, &rewritten) {
		t.Errorf("the branch is gone: %v", err)
	}
}

// TestOverHTTP writes through git http-backend, which wants a password, and keeps that to itself.
func TestOverHTTP(t *testing.T) {
	t.Parallel()
	dir := remote(t)
	const password = "ghs_canary"
	execPath := git(t, dir, "--exec-path")
	var down bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, p, ok := req.BasicAuth(); !ok || p != password || down {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		(&cgi.Handler{Path: filepath.Join(execPath, "git-http-backend"), Root: "/", Stderr: &bytes.Buffer{},
			Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(dir), "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=x"}}).ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	config := branch.Config{URL: srv.URL + "/" + filepath.Base(dir), Password: func(context.Context) (string, error) { return password, nil }}
	r, err := open(t, "", config)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.append(1); err != nil {
		t.Fatal(err)
	}
	other, err := open(t, "", config)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.append(2); err != nil {
		t.Fatal(err)
	}
	if err := r.append(3); !errors.Is(err, branch.ErrMoved) {
		t.Errorf("the slower one writes: %v", err)
	}
	down = true
	if err := r.b.Pull(t.Context(), r.l); err == nil || strings.Contains(err.Error(), password) {
		t.Errorf("without access: %v", err)
	}
	if err := r.append(4); err == nil || strings.Contains(err.Error(), password) {
		t.Errorf("without access: %v", err)
	}
	if got := r.texts(); got != "1" {
		t.Errorf("kept what could not be pushed: %q", got)
	}
}
