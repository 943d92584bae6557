package main

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// served is countersign serve as a process of its own.
type served struct {
	cmd     *exec.Cmd
	address string
	lines   chan string
	ended   chan bool // closed when it closed its standard error
}

func (w *actionWorld) serve(dir string) *served {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(self, "serve", "--repository", "acme/access", "--repo", filepath.Join(dir, "access.git"), "--listen", "127.0.0.1:0", "--poll", "100ms")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TEST_BE_COUNTERSIGN=1", "GITHUB_TOKEN=" + w.token, "GITHUB_API_URL=" + w.API, "GITHUB_SERVER_URL=" + strings.TrimSuffix(w.Git, "/"),
		"COUNTERSIGN_STATE=" + filepath.Join(dir, "state"), "COUNTERSIGN_WEBHOOK_SECRET=a-secret-made-at-random"}
	out, err := cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	s := &served{cmd: cmd, lines: make(chan string, 1000), ended: make(chan bool)}
	w.t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may have ended already
	go func() {
		defer close(s.ended)
		defer close(s.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			s.lines <- in.Text()
		}
	}()
	for l := range s.lines {
		if a, ok := strings.CutPrefix(l, "listening on "); ok {
			s.address = "http://" + a
			return s
		}
	}
	w.t.Fatal("serve does not listen")
	return nil
}

// until asks again until the answer is yes, as long as the process lives and the test may take.
func (w *actionWorld) until(s *served, what string, yes func() bool) {
	w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-tick.C:
		case <-s.ended:
			w.t.Fatalf("serve ended, and %s", what)
		}
	}
}

func (s *served) answers(path string) bool {
	resp, err := http.Get(s.address + path)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// TestServe kills the process outright, has it started again, and ends it as an operator would.
func TestServe(t *testing.T) {
	t.Parallel()
	w := newActionWorld(t)
	dir := t.TempDir()
	s := w.serve(dir)
	w.until(s, "it is not ready", func() bool { return s.answers("/readyz") })
	land := func(branch, role string) int {
		w.commit(branch, "alice", map[string]string{"requests/" + role + ".yaml": strings.NewReplacer("reader", role, "name: it", "name: "+role).Replace(askForReader)})
		n := w.repo.Open("alice", branch, "Ask", nil)
		if out, err := w.run("pull_request_target", w.pullEvent(n, branch, "opened", "acme/access")); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		w.repo.Review(n, "bob", "APPROVED")
		w.repo.Merge(n, "squash", "carol")
		return n
	}
	applied := func(role string) func() bool {
		return func() bool {
			b, err := os.ReadFile(w.store)
			return err == nil && strings.Contains(string(b), role)
		}
	}
	land("one", "reader")
	w.until(s, "the first merge is not applied", applied("reader"))
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait() // killed
	n := land("two", "writer")
	s = w.serve(dir)
	w.until(s, "the merge of the time in between is not applied", applied("writer"))
	w.until(s, "the outcome is not told", func() bool { return strings.Contains(strings.Join(w.repo.Comments(n), ""), "Applied and verified") })
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for l := range s.lines {
		if strings.Contains(l, w.token) {
			t.Errorf("the log holds the token: %s", l)
		}
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("on SIGTERM it ends with %v", err)
	}
}
