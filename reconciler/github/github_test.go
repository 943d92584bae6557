package github_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/github"
	"github.com/countersign/countersign/reconciler/github/githubtest"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	app := &github.App{ID: 1, Installation: 2, Key: []byte("canary, which is no key")}
	tests := []struct {
		name string
		c    github.Config
		want string
	}{
		{"no owner", github.Config{Repository: "access", Token: "x"}, "write owner/name"},
		{"a path", github.Config{Repository: "acme/access/x", Token: "x"}, "write owner/name"},
		{"nobody", github.Config{Repository: "acme/access"}, "needs a token"},
		{"two identities", github.Config{Repository: "acme/access", Token: "x", App: app}, "and not both"},
		{"in clear", github.Config{Repository: "acme/access", Token: "x", URL: "http://github.test/api/v3/"}, "must be https"},
		{"credentials in the address", github.Config{Repository: "acme/access", Token: "x", URL: "https://me:canary@github.test/"}, "must be https"},
		{"a key that is none", github.Config{Repository: "acme/access", App: app}, "the App's private key cannot be read"},
	}
	for _, tt := range tests {
		_, err := github.New(tt.c)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error holds a secret: %v", tt.name, err)
		}
	}
}

// world is a repository with a pull request of one commit.
type world struct {
	*githubtest.Server
	repo   *githubtest.Repository
	number int
	head   string
	client *github.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Server: githubtest.New(t)}
	for _, l := range []string{"alice", "bob"} {
		w.User(l)
	}
	w.repo = w.Repository("acme/access")
	w.repo.Level("write", "alice", "bob")
	work := filepath.Join(t.TempDir(), "work")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Alice", "GIT_AUTHOR_EMAIL=alice@acme.test", "GIT_COMMITTER_NAME=Alice", "GIT_COMMITTER_EMAIL=alice@acme.test")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
	git("clone", "-q", w.repo.Dir, work)
	git("-C", work, "checkout", "-q", "-B", "main")
	git("-C", work, "commit", "-q", "--allow-empty", "-m", "Begin")
	git("-C", work, "push", "-q", "origin", "main")
	git("-C", work, "checkout", "-q", "-b", "ask")
	git("-C", work, "commit", "-q", "--allow-empty", "-m", "Ask")
	git("-C", work, "push", "-q", "origin", "ask")
	w.number = w.repo.Open("alice", "ask", "Ask", nil)
	w.head = w.repo.Run("rev-parse", "refs/heads/ask")
	app := w.App("countersign")
	w.client = w.speak(t, github.Config{App: &github.App{ID: app.ID, Installation: app.Installation, Key: app.Key}})
	return w
}

func (w *world) speak(t *testing.T, c github.Config) *github.Client {
	t.Helper()
	c.Repository, c.MinWait, c.MaxWait = "acme/access", time.Millisecond, time.Second
	if c.URL == "" {
		c.URL, c.Transport = w.API, w.Server
	}
	client, err := github.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (w *world) publication(p *schemas.Preview, body string) forge.Publication {
	p.Head, p.ContentDigest = w.head, strings.Repeat("c", 64)
	return forge.Publication{Number: w.number, Preview: p, Body: body, Publisher: "countersign[bot]", Evidence: true}
}

// TestEnterpriseServer speaks to the same API under /api/v3/, as GitHub Enterprise Server has it.
func TestEnterpriseServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.speak(t, github.Config{URL: w.API + "api/v3/", Token: w.User("bob")})
	p, err := c.PullRequest(t.Context(), w.number)
	if err != nil || p.Head != w.head || !p.Open || p.Fork {
		t.Errorf("PullRequest = %+v, %v", p, err)
	}
}

// TestAnnotationsComeInFifties has more findings than one call may bring.
func TestAnnotationsComeInFifties(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := &schemas.Preview{Verdict: schemas.VerdictInvalid}
	for i := range 120 {
		p.Errors = append(p.Errors, schemas.Finding{Code: "x", Severity: "error", Message: "it is wrong", Position: schemas.Position{Path: "requests/a.yaml", Line: i}})
	}
	for range 2 {
		if _, err := w.client.Publish(t.Context(), w.publication(p, "body")); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.repo.Annotations(w.head); got != 120 {
		t.Errorf("there are %d annotations, want 120", got)
	}
	if got := w.repo.CheckRuns(w.head); !cmp.Equal(got, []string{"countersign failure 120 errors to fix before this can be judged"}) {
		t.Errorf("check runs = %q", got)
	}
}

// TestCommentsAtTheLimit has bodies at GitHub's limit, with characters of four bytes.
func TestCommentsAtTheLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range []struct {
		bytes int
		ok    bool
	}{{65_000, true}, {65_536, false}, {80_000, false}} {
		body := strings.Repeat("😀", tt.bytes/4)
		_, err := w.client.Publish(t.Context(), w.publication(&schemas.Preview{Verdict: schemas.VerdictNothing}, body))
		if (err == nil) != tt.ok {
			t.Errorf("%d bytes: %v", tt.bytes, err)
		}
	}
}

// TestAPreviewOfAnOlderHead is refused where it is told, whatever its maker looked at before.
func TestAPreviewOfAnOlderHead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.publication(&schemas.Preview{Verdict: schemas.VerdictReady}, "body")
	p.Preview.Head = w.repo.Run("rev-parse", "refs/heads/main")
	if _, err := w.client.Publish(t.Context(), p); !forge.IsMoved(err) {
		t.Errorf("Publish = %v", err)
	}
	if got := w.repo.Comments(w.number); len(got) != 0 {
		t.Errorf("comments = %q", got)
	}
}

// TestWithoutAPermission publishes what it may, and says what it left out.
func TestWithoutAPermission(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := w.speak(t, github.Config{Token: w.User("bob")}) // an account of a person may make no check run
	p := w.publication(&schemas.Preview{Verdict: schemas.VerdictReady}, "body")
	p.Publisher = "bob"
	out, err := client.Publish(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Skipped) != 1 || !strings.Contains(out.Skipped[0], "check run") {
		t.Errorf("skipped = %q", out.Skipped)
	}
	if got := w.repo.Status(w.head, "countersign/preview"); got == "" {
		t.Error("the evidence is missing")
	}
}

// TestTwoFirstRunsAtOnce leaves two comments of ours; the next run keeps one.
func TestTwoFirstRunsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.publication(&schemas.Preview{Verdict: schemas.VerdictReady}, "body")
	if _, err := w.client.Publish(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.repo.Comment(w.number, "countersign[bot]", strings.TrimPrefix(w.repo.Comments(w.number)[0], "countersign[bot]: "))
	for range 2 {
		if _, err := w.client.Publish(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	got := w.repo.Comments(w.number)
	if len(got) != 2 || !strings.Contains(got[0], "in a later comment") || !strings.HasSuffix(got[1], "body") {
		t.Errorf("comments = %q", got)
	}
}

func examined(s schemas.SettingsSpec, codeowners string) forge.Examination {
	return forge.Examination{Settings: s, LedgerBranch: "countersign/ledger", File: func(_ context.Context, path string) (string, error) {
		if path == ".github/CODEOWNERS" {
			return codeowners, nil
		}
		return "", nil
	}}
}

func TestExamine(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	rule := func(kind string, parameters m) m {
		r := m{"type": kind, "ruleset_source_type": "Repository", "ruleset_source": "acme/access", "ruleset_id": 7}
		if parameters != nil {
			r["parameters"] = parameters
		}
		return r
	}
	good := []any{rule("deletion", nil), rule("non_fast_forward", nil),
		rule("pull_request", m{"dismiss_stale_reviews_on_push": true, "require_last_push_approval": true, "required_approving_review_count": 1, "require_code_owner_review": false, "required_review_thread_resolution": false}),
		rule("required_status_checks", m{"strict_required_status_checks_policy": false, "required_status_checks": []any{m{"context": "countersign/policy", "integration_id": 5}, m{"context": "countersign/sign-off", "integration_id": 5}}}),
		// A rule that go-github does not know must not matter.
		rule("merge_queue", m{"check_response_timeout_minutes": 60, "grouping_strategy": "ALLGREEN", "max_entries_to_build": 5, "max_entries_to_merge": 5, "merge_method": "MERGE", "min_entries_to_merge": 1, "min_entries_to_merge_wait_minutes": 5})}
	set := func(bypass ...any) []any {
		return []any{m{"id": 7, "name": "main", "source": "acme/access", "enforcement": "active", "bypass_actors": append([]any{}, bypass...)}}
	}
	settings := schemas.SettingsSpec{Branch: "main", Forge: schemas.Forge{Kind: "github", Repository: "acme/access", Publisher: "countersign[bot]"}}
	tests := []struct {
		name       string
		rules      []any
		rulesets   []any
		publisher  string
		codeowners string
		open       []string
	}{
		{name: "all is well", rules: append(slices.Clone(good), rule("creation", nil), rule("update", nil)), rulesets: set(), codeowners: "# who\n* @carol\n"},
		{name: "no rule at all", codeowners: "* @carol", open: []string{"pull requests", "approvals", "stale reviews", "last push", "force pushes", "deletion", "countersign/policy", "countersign/sign-off", "ledger", "lease"}},
		{name: "somebody may bypass", rules: good, rulesets: set(m{"actor_id": 1, "actor_type": "OrganizationAdmin", "bypass_mode": "always"}), codeowners: "* @carol", open: []string{"bypass", "ledger", "lease"}},
		{name: "statuses of anybody", rules: []any{good[0], good[1], good[2], rule("required_status_checks", m{"strict_required_status_checks_policy": false, "required_status_checks": []any{m{"context": "countersign/policy"}, m{"context": "countersign/sign-off"}}})},
			rulesets: set(), codeowners: "* @carol", open: []string{"countersign/policy source", "countersign/sign-off source", "ledger", "lease"}},
		{name: "a path without owner, and no App", rules: good, rulesets: set(), publisher: "github-actions[bot]", codeowners: "/requests/ @carol\n*\n", open: []string{"publisher", "ledger", "lease", "CODEOWNERS"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.User("root")
			w.repo.Level("admin", "root")
			w.repo.Rules(tt.rules, tt.rulesets)
			s := settings
			if tt.publisher != "" {
				s.Forge.Publisher = tt.publisher
			}
			checks, err := w.speak(t, github.Config{Token: w.User("root")}).Examine(t.Context(), examined(s, tt.codeowners))
			if err != nil {
				t.Fatal(err)
			}
			var open []string
			for _, k := range checks {
				if k.State == schemas.CheckOpen {
					open = append(open, k.Name)
					if k.Fix == "" {
						t.Errorf("%s is open, and nothing says what to do", k.Name)
					}
				}
			}
			if diff := cmp.Diff(tt.open, open); diff != "" {
				t.Errorf("open (-want +got):\n%s", diff)
			}
			// The App is not told who may bypass: that is unknown, never well.
			if checks, err = w.client.Examine(t.Context(), examined(s, tt.codeowners)); err != nil {
				t.Fatal(err)
			}
			for _, k := range checks {
				if k.Name == "bypass" && k.State != schemas.CheckUnknown {
					t.Errorf("to the App the bypass list is %s", k.State)
				}
			}
		})
	}
}

// TestForgeOfAnotherRepository has settings that speak of another one than the clone.
func TestForgeOfAnotherRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.client.Evidence(schemas.SettingsSpec{Forge: schemas.Forge{Kind: "github", Repository: "mallory/access"}}); err == nil {
		t.Error("the settings of another repository are taken")
	}
}

// TestWebFlow is about a committer that calls itself GitHub: without GitHub's signature it is anybody.
func TestWebFlow(t *testing.T) {
	t.Parallel()
	for _, verified := range []bool{true, false} {
		w := newWorld(t)
		w.repo.Signed(verified)
		work := filepath.Join(t.TempDir(), "work")
		for _, args := range [][]string{{"clone", "-q", "-b", "ask", w.repo.Dir, work}, {"-C", work, "commit", "-q", "--allow-empty", "-m", "In the browser"}, {"-C", work, "push", "-q", "origin", "ask"}} {
			cmd := exec.Command("git", args...)
			cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Alice", "GIT_AUTHOR_EMAIL=alice@acme.test", "GIT_COMMITTER_NAME=GitHub", "GIT_COMMITTER_EMAIL=noreply@github.com")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("git: %v: %s", err, out)
			}
		}
		w.repo.Moved("alice")
		f, err := w.client.Evidence(schemas.SettingsSpec{Branch: "main", Forge: schemas.Forge{Kind: "github", Repository: "acme/access", Publisher: "countersign[bot]"}})
		if err != nil {
			t.Fatal(err)
		}
		d, err := signoff.NewDirectory(schemas.PeopleSpec{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := f.Pending(t.Context(), forge.Pending{Head: w.repo.Run("rev-parse", "refs/heads/ask"), PullRequest: w.number, Directory: d})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"alice"}
		if !verified {
			want = []string{"alice", "web-flow"}
		}
		if diff := cmp.Diff(want, e.Authors); diff != "" {
			t.Errorf("verified %t: authors (-want +got):\n%s", verified, diff)
		}
	}
}

// TestWhoeverOpensItMadeIt has Bob open a pull request of Alice's commits, out of a fork.
func TestWhoeverOpensItMadeIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.repo.Open("bob", "ask", "Ask", w.repo.Fork("bob/access"))
	f, err := w.client.Evidence(schemas.SettingsSpec{Branch: "main", Forge: schemas.Forge{Kind: "github", Repository: "acme/access", Publisher: "countersign[bot]"}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := signoff.NewDirectory(schemas.PeopleSpec{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := f.Pending(t.Context(), forge.Pending{Head: w.head, PullRequest: n, Directory: d})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"alice", "bob"}, e.Authors); diff != "" {
		t.Errorf("authors (-want +got):\n%s", diff)
	}
}

// TestAPullRequestOfTooManyCommits has more than GitHub lists: who made it cannot be told.
func TestAPullRequestOfTooManyCommits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	commits := "reset refs/heads/ask\nfrom " + w.head + "\n\n"
	for range 255 {
		commits += "commit refs/heads/ask\ncommitter Alice <alice@acme.test> 1700000000 +0000\ndata 8\nOne more\n"
	}
	cmd := exec.Command("git", "-C", w.repo.Dir, "fast-import", "--quiet")
	cmd.Stdin = strings.NewReader(commits)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git fast-import: %v: %s", err, out)
	}
	tip := w.repo.Run("rev-parse", "refs/heads/ask")
	w.repo.Moved("alice")
	f, err := w.client.Evidence(schemas.SettingsSpec{Branch: "main", Forge: schemas.Forge{Kind: "github", Repository: "acme/access", Publisher: "countersign[bot]"}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := signoff.NewDirectory(schemas.PeopleSpec{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := f.Pending(t.Context(), forge.Pending{Head: tip, PullRequest: w.number, Directory: d})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Unattributed) == 0 || !strings.Contains(strings.Join(e.Unattributed, " "), "GitHub lists 250 of 256") {
		t.Errorf("unattributed = %q", e.Unattributed)
	}
}

// TestACommitThatGitHubDoesNotKnow is not pushed yet: that is an error, and no verdict.
func TestACommitThatGitHubDoesNotKnow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f, err := w.client.Evidence(schemas.SettingsSpec{Branch: "main", Forge: schemas.Forge{Kind: "github", Repository: "acme/access"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Evidence(t.Context(), forge.Change{Commit: &history.Commit{Hash: strings.Repeat("a", 40)}}); err == nil || !strings.Contains(err.Error(), "GitHub does not know the commit") {
		t.Errorf("Evidence = %v", err)
	}
}

// TestAServerThatHangs answers the third try, and is given up on when it never does.
func TestAServerThatHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) { hangs(t, w) })
}

func hangs(t *testing.T, w *world) {
	client := w.speak(t, github.Config{Token: w.User("bob"), Timeout: time.Minute})
	var calls atomic.Int32
	hang := func(tries int32) {
		calls.Store(0)
		w.Fail(func(*http.Request) *githubtest.Fault {
			if calls.Add(1) <= tries {
				return &githubtest.Fault{Hang: true}
			}
			return nil
		})
	}
	hang(2)
	if _, err := client.PullRequest(t.Context(), w.number); err != nil {
		t.Errorf("after two tries that hang: %v", err)
	}
	hang(1 << 30)
	if _, err := client.PullRequest(t.Context(), w.number); err == nil || calls.Load() > 10 {
		t.Errorf("a server that never answers: %v after %d tries", err, calls.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.PullRequest(ctx, w.number); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestListsWithoutEnd has a server whose pages never stop.
func TestListsWithoutEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Fail(func(r *http.Request) *githubtest.Fault {
		if !strings.HasSuffix(r.URL.Path, "/pulls") {
			return nil
		}
		next := fmt.Sprintf(`<%srepos/acme/access/pulls?page=2>; rel="next"`, w.API)
		return &githubtest.Fault{Status: 200, Header: map[string]string{"Link": next}, Body: "[]"}
	})
	if _, err := w.client.OpenPullRequests(t.Context(), "main"); err == nil || !strings.Contains(err.Error(), "in a circle") {
		t.Errorf("OpenPullRequests = %v", err)
	}
}
