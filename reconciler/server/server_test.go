package server_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler/server"
	"github.com/countersign/countersign/schemas"
)

const secret = "a-secret-of-a-webhook-made-at-random"

// serving is a server that runs, and the passes that it has made.
type serving struct {
	*world
	address string
	passes  chan error
	reports chan *schemas.RunReport
	stop    func()
}

// serve starts one. With poll at an hour nothing happens but what a test leads to.
func (w *world) serve(poll time.Duration, change func(*server.Config)) *serving {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	s := &serving{world: w, address: "http://" + listener.Addr().String(), passes: make(chan error, 100), reports: make(chan *schemas.RunReport, 100)}
	r := w.reconciler()
	c := server.Config{Reconciler: r, Branch: "refs/heads/main", Listener: listener, Webhooks: w.client, Secret: []byte(secret), Poll: poll, Now: w.now,
		Tip:    func() (string, error) { return w.git(w.clone, "rev-parse", "refs/heads/main"), nil },
		Pass:   server.Pass{Forge: w.client, Fetch: func(ctx context.Context) error { return w.fetch(ctx, mainSpec) }},
		Passed: func(rep *schemas.RunReport, err error) { s.reports <- rep; s.passes <- err }}
	if change != nil {
		change(&c)
	}
	srv, err := server.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	}
	w.t.Cleanup(func() { cancel() })
	return s
}

// pass waits for the next pass, as long as the test may take.
func (s *serving) pass() *schemas.RunReport {
	s.t.Helper()
	if err := <-s.passes; err != nil {
		s.t.Fatalf("the pass failed: %v", err)
	}
	return <-s.reports
}

// examples are payloads of GitHub's, by event.
func examples(t *testing.T) map[string][]json.RawMessage {
	t.Helper()
	out, err := readExamples()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var readExamples = sync.OnceValues(func() (map[string][]json.RawMessage, error) {
	b, err := os.ReadFile("../../.ci/npm/node_modules/@octokit/webhooks-examples/api.github.com/index.json")
	if err != nil {
		return nil, fmt.Errorf("GitHub's examples are missing: run .ci/test, or npm ci --prefix .ci/npm (%w)", err)
	}
	var list []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, err
	}
	out := map[string][]json.RawMessage{}
	for _, e := range list {
		out[e.Name] = e.Examples
	}
	return out, nil
})

// deliver sends GitHub's example of a push.
func (s *serving) deliver(change func(*http.Request)) (int, string) {
	s.t.Helper()
	return s.send(examples(s.t)["push"][0], change)
}

func (s *serving) send(body []byte, change func(*http.Request)) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.address+"/webhook", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	req.Header.Set("X-GitHub-Event", "push")
	req.Header.Set("X-GitHub-Delivery", "8a5e3b1e-0000-0000-0000-000000000001")
	req.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

func (s *serving) get(path string) int {
	s.t.Helper()
	resp, err := http.Get(s.address + path)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode
}

// land has a request previewed, approved and merged.
func (w *world) land(branch string, f files) int {
	w.t.Helper()
	n := w.ask(branch, f)
	w.preview(n)
	w.repo.Review(n, "bob", "APPROVED")
	w.repo.Merge(n, "merge", "carol")
	return n
}

func TestServeAppliesWhatAWebhookHintsAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(time.Hour, nil)
	s.pass()
	if got := s.get("/healthz"); got != http.StatusOK {
		t.Errorf("/healthz = %d", got)
	}
	n := w.land("reader", files{"requests/reader.yaml": creation("reader")})
	if code, text := s.deliver(nil); code != http.StatusAccepted || text != "heard" {
		t.Fatalf("the delivery is answered %d %s", code, text)
	}
	if got := verdicts(s.pass()); got != "admitted" {
		t.Errorf("verdict = %s", got)
	}
	if !strings.Contains(w.stored(), "reader") {
		t.Error("the merge was not applied")
	}
	if got := w.comment(n); !strings.Contains(got, "Applied and verified") {
		t.Errorf("the outcome is not told:\n%s", got)
	}
	if got := s.get("/readyz"); got != http.StatusOK {
		t.Errorf("/readyz = %d", got)
	}
	s.stop()
}

// TestServePreviews has nobody but the server preview: from the first look over the review to the merge.
func TestServePreviews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.ask("reader", files{"requests/reader.yaml": creation("reader")})
	head := w.repo.Run("rev-parse", "refs/heads/reader")
	s := w.serve(20*time.Millisecond, func(c *server.Config) {
		c.Previews = &server.Preview{Forge: w.client, Fetch: w.fetch, Branch: "refs/heads/main", BranchSpec: mainSpec}
	})
	s.pass()
	w.Await(func() bool { return w.repo.Status(head, "countersign/preview") != "" })
	published := func() (count int) {
		for _, c := range w.Calls() {
			if c.Operation == "repos/create-commit-status" {
				count++
			}
		}
		return count
	}
	once := published()
	looks := func() (count int) {
		for _, c := range w.Calls() {
			if c.Operation == "pulls/list" {
				count++
			}
		}
		return count
	}
	was := looks()
	w.Await(func() bool { return looks() > was+5 })
	if got := published(); got != once {
		t.Errorf("nothing changed, and %d more statuses were published", got-once)
	}
	w.repo.Review(n, "bob", "APPROVED")
	w.Await(func() bool { return w.repo.Status(head, "countersign/sign-off") == "success signed off" })
	w.repo.Merge(n, "merge", "carol")
	if got := verdicts(s.pass()); got != "admitted" {
		t.Errorf("verdict = %s", got)
	}
	s.stop()
}

// TestServeFindsMergesByPolling is about a hint that was lost.
func TestServeFindsMergesByPolling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(50*time.Millisecond, nil)
	s.pass()
	w.land("reader", files{"requests/reader.yaml": creation("reader")})
	if got := verdicts(s.pass()); got != "admitted" {
		t.Errorf("verdict = %s", got)
	}
	s.stop()
}

func TestWebhooksThatAreNotGitHubs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(time.Hour, nil)
	s.pass()
	sign := func(key string, body string) string {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(body))
		return "sha256=" + hex.EncodeToString(mac.Sum(nil))
	}
	old := func(body []byte) string {
		mac := hmac.New(sha1.New, []byte(secret))
		mac.Write(body)
		return "sha1=" + hex.EncodeToString(mac.Sum(nil))
	}
	tests := []struct {
		name   string
		body   []byte
		change func(*http.Request)
		want   int
	}{
		{"without signature", []byte(`{}`), func(r *http.Request) { r.Header.Del("X-Hub-Signature-256") }, http.StatusUnauthorized},
		{"signed with another secret", []byte(`{}`), func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", sign("another secret of theirs", `{}`)) }, http.StatusUnauthorized},
		{"signed with nothing", []byte(`{}`), func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", sign("", `{}`)) }, http.StatusUnauthorized},
		{"another body than the signed one", []byte(`{"ref":"refs/heads/main"}`), func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", sign(secret, `{}`)) }, http.StatusUnauthorized},
		{"only the old signature", []byte(`{}`), func(r *http.Request) {
			r.Header.Del("X-Hub-Signature-256")
			r.Header.Set("X-Hub-Signature", old([]byte(`{}`)))
		}, http.StatusUnauthorized},
		{"the old signature in the new one's place", []byte(`{}`), func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", old([]byte(`{}`))) }, http.StatusUnauthorized},
		{"as a form", []byte(`payload=%7B%7D`), func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, http.StatusUnsupportedMediaType},
		{"larger than any", bytes.Repeat([]byte("x"), 25<<20+1), nil, http.StatusRequestEntityTooLarge},
		{"an event that is not ours", []byte(`{}`), func(r *http.Request) { r.Header.Set("X-GitHub-Event", "star") }, http.StatusAccepted},
		{"a ping", []byte(`{}`), func(r *http.Request) { r.Header.Set("X-GitHub-Event", "ping") }, http.StatusOK},
	}
	for _, tt := range tests {
		if got, text := s.send(tt.body, tt.change); got != tt.want {
			t.Errorf("%s: %d %s, want %d", tt.name, got, text, tt.want)
		}
	}
	for _, path := range []string{"/", "/debug", "/webhook"} {
		if got := s.get(path); got != http.StatusNotFound && got != http.StatusMethodNotAllowed {
			t.Errorf("GET %s = %d", path, got)
		}
	}
	s.stop()
	if n := len(s.passes); n != 0 {
		t.Errorf("%d passes came of that", n)
	}
}

// TestEveryEventOfGitHubs delivers all that GitHub gives as examples: those that are about merges are heard.
func TestEveryEventOfGitHubs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(time.Hour, nil)
	s.pass()
	heard := map[string]bool{}
	n := 0
	for event, payloads := range examples(t) {
		for _, p := range payloads {
			n++
			code, text := s.send(p, func(r *http.Request) {
				r.Header.Set("X-GitHub-Event", event)
				r.Header.Set("X-GitHub-Delivery", fmt.Sprint(n))
			})
			if code != http.StatusAccepted && code != http.StatusOK {
				t.Errorf("%s is answered %d %s", event, code, text)
			}
			if text == "heard" {
				heard[event] = true
			}
		}
	}
	if want := map[string]bool{"push": true, "pull_request": true, "pull_request_review": true, "merge_group": true}; !maps.Equal(heard, want) {
		t.Errorf("heard %v, want %v", heard, want)
	}
	s.stop()
}

// TestARepeatedDeliveryIsOneJob replays one delivery more often than there is room for hints.
func TestARepeatedDeliveryIsOneJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(time.Hour, nil)
	s.pass()
	w.land("reader", files{"requests/reader.yaml": creation("reader")})
	heard := 0
	push := examples(t)["push"][0]
	for range 100 {
		if _, text := s.send(push, nil); text == "heard" {
			heard++
		}
	}
	s.pass()
	s.stop()
	if heard != 1 || len(s.passes) != 0 {
		t.Errorf("heard %d times, %d further passes", heard, len(s.passes))
	}
}

func TestServeWithoutSecretTakesNoWebhook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(time.Hour, func(c *server.Config) { c.Secret = nil })
	s.pass()
	if code, _ := s.deliver(func(r *http.Request) { r.Header.Del("X-Hub-Signature-256") }); code != http.StatusForbidden {
		t.Errorf("an unsigned delivery is answered %d", code)
	}
	s.stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := server.New(server.Config{Reconciler: w.reconciler(), Branch: "main", Tip: func() (string, error) { return "", nil }, Listener: listener, Secret: []byte("short")}); err == nil {
		t.Error("a secret of five characters is taken")
	}
}

// TestServeWakesAtAnExpiry has a grant that ends while nobody does anything.
func TestServeWakesAtAnExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ends := w.now().Add(10 * time.Minute)
	w.land("guest", files{"requests/guest.yaml": grant("base", fmt.Sprintf("{type: user, source_name: dave, expires: %s}", ends.Format(time.RFC3339)))})
	late, wake := make(chan time.Duration, 10), make(chan time.Time)
	s := w.serve(time.Hour, func(c *server.Config) {
		c.After = func(d time.Duration) <-chan time.Time {
			late <- d - ends.Sub(w.now())
			return wake
		}
	})
	s.pass()
	if got := <-late; got != time.Millisecond {
		t.Errorf("it wakes %s after the end, want 1ms", got)
	}
	if !strings.Contains(w.stored(), "g, dave, base") {
		t.Fatalf("the grant was not applied:\n%s", w.stored())
	}
	w.Advance(ends.Sub(w.now()) + time.Second)
	wake <- w.now()
	s.pass()
	if strings.Contains(w.stored(), "g, dave, base") {
		t.Errorf("the grant did not end:\n%s", w.stored())
	}
	s.stop()
}

// TestServeKeepsSchedules has an application that enforces every second.
func TestServeKeepsSchedules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.ask("schedule", files{"applications/authz.yaml": w.application("user:bob") + "  drift: {mode: enforce, schedule: \"@every 1s\"}\n"})
	w.preview(n)
	w.repo.Review(n, "carol", "APPROVED")
	w.repo.Review(n, "bob", "APPROVED")
	w.repo.Merge(n, "merge", "frank")
	s := w.serve(time.Hour, nil)
	if got := verdicts(s.pass()); got != "admitted" {
		t.Fatalf("verdict = %s", got)
	}
	was := w.stored()
	w.overwrite(strings.Replace(was, "p, base, sales.orders, read\n", "", 1))
	// A pass of the time before may be told of first: the pass that mends it is waited for.
	for w.stored() != was {
		s.pass()
	}
	s.stop()
}

// TestServeGoesOnAfterGitHubWasDown has a branch that cannot be fetched for a while.
func TestServeGoesOnAfterGitHubWasDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	down := filepath.Join(t.TempDir(), "down")
	if err := os.WriteFile(down, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := w.serve(20*time.Millisecond, func(c *server.Config) {
		fetch := c.Pass.Fetch
		c.Pass.Fetch = func(ctx context.Context) error {
			if _, err := os.Stat(down); err == nil {
				return fmt.Errorf("GitHub is down")
			}
			return fetch(ctx)
		}
	})
	if err := <-s.passes; err == nil {
		t.Fatal("the pass ended well")
	}
	if got := s.get("/readyz"); got != http.StatusServiceUnavailable {
		t.Errorf("/readyz = %d", got)
	}
	if err := os.Remove(down); err != nil {
		t.Fatal(err)
	}
	for err := range s.passes {
		if err == nil {
			break
		}
	}
	if got := s.get("/readyz"); got != http.StatusOK {
		t.Errorf("/readyz = %d", got)
	}
	s.stop()
}
