package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/countersign/countersign/cmd/countersign/internal/cli"
	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/reconciler/github/githubtest"
)

// act runs workflows as a runner does, on this machine. It is built from .ci/tools.mod, and the go command keeps it.
var act = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("go", "tool", "-modfile=.ci/tools.mod", "-n", "act")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOFLAGS=") // a runner without the race detector
	var diagnostics strings.Builder
	cmd.Stderr = &diagnostics
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build act: %w: %s", err, diagnostics.String())
	}
	return strings.TrimSpace(string(out)), nil
})

// actionWorld is an access repository at a GitHub, with a checkout of it as a runner has it.
type actionWorld struct {
	t *testing.T
	*githubtest.Server
	repo         *githubtest.Repository
	dir          string
	work, action string
	store, token string
	yml          string // action.yml
	checkout     string // what the runner has checked out; "" is main
}

func newActionWorld(t *testing.T) *actionWorld {
	t.Helper()
	dir := t.TempDir()
	w := &actionWorld{t: t, Server: githubtest.New(t), dir: dir, work: filepath.Join(dir, "work"), action: filepath.Join(dir, "action"), store: filepath.Join(dir, "policy.csv")}
	if err := casbin.Init(w.store, casbin.Contents{Users: []string{"alice", "bob"}, Objects: []string{"sales.orders"}}); err != nil {
		t.Fatal(err)
	}
	for _, l := range []string{"alice", "bob", "carol"} {
		w.User(l)
	}
	w.repo = w.Repository("acme/access")
	w.repo.Level("write", "alice", "bob", "carol")
	w.token = w.Workflow(w.repo)
	w.git("clone", "-q", w.repo.Dir, w.work)
	w.commit("main", "carol", map[string]string{
		"countersign.yaml":        "apiVersion: countersign.dev/v1\nkind: Settings\nspec:\n  forge: {kind: github, repository: acme/access, any_workflow_may_publish: true}\n  owners: [user:carol]\n",
		"people.yaml":             "apiVersion: countersign.dev/v1\nkind: People\nspec:\n  people:\n    - {login: alice, identities: {authz: [alice]}}\n    - {login: bob, identities: {authz: [bob]}}\n",
		"applications/authz.yaml": fmt.Sprintf("apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: authz}\nspec:\n  connector: casbin\n  config: {policy: %q}\n  owners: [user:bob]\n  scope: {role: [\"*\"]}\n", w.store),
		".github/workflows/test.yml": `on: [pull_request_target, pull_request, push, schedule, merge_group]
jobs:
  it:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: countersign/countersign@v1
        id: it
        with: {binary: "${{ env.BINARY }}"}
      - if: always()
        env: {VERDICT: "${{ steps.it.outputs.verdict }}", CREATES: "${{ steps.it.outputs.creates }}"}
        run: echo "verdict=$VERDICT creates=$CREATES"
`})
	w.git("-C", w.work, "remote", "set-url", "origin", "https://github.com/acme/access.git")
	if err := os.MkdirAll(w.action, 0o755); err != nil {
		t.Fatal(err)
	}
	yml, err := os.ReadFile("../../action.yml")
	if err != nil {
		t.Fatal(err)
	}
	w.yml = string(yml)
	w.write(filepath.Join(w.action, "action.yml"), w.yml)
	// The actions of others are not to be had here: they do nothing.
	w.write(filepath.Join(dir, "nothing", "action.yml"), "name: nothing\ndescription: Does nothing\nruns: {using: composite, steps: [{run: \"true\", shell: bash}]}\n")
	// The program is this test's own executable.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w.write(filepath.Join(dir, "countersign"), "#!/bin/sh\nTEST_BE_COUNTERSIGN=1 exec '"+self+"' \"$@\"\n")
	if err := os.Chmod(filepath.Join(dir, "countersign"), 0o755); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *actionWorld) write(path, content string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *actionWorld) git(args ...string) {
	w.t.Helper()
	w.gitAs("carol", args...)
}

func (w *actionWorld) gitAs(who string, args ...string) {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME="+who, "GIT_AUTHOR_EMAIL="+who+"@acme.test", "GIT_COMMITTER_NAME="+who, "GIT_COMMITTER_EMAIL="+who+"@acme.test")
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// commit puts files on a branch of the forge; the checkout stays on main.
func (w *actionWorld) commit(branch, who string, files map[string]string) {
	w.t.Helper()
	w.git("-C", w.work, "checkout", "-q", "-B", branch)
	for p, c := range files {
		w.write(filepath.Join(w.work, p), c)
	}
	w.git("-C", w.work, "add", ".")
	w.gitAs(who, "-C", w.work, "commit", "-q", "-m", "Ask")
	w.git("-C", w.work, "push", "-q", "-f", w.repo.Dir, "HEAD:refs/heads/"+branch)
	w.repo.Moved(who)
	if branch != "main" {
		w.git("-C", w.work, "checkout", "-q", "main")
	}
}

// run has the workflow run for an event, and returns what the runner prints.
func (w *actionWorld) run(event string, payload any) (string, error) {
	w.t.Helper()
	program, err := act()
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := json.Marshal(payload)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(filepath.Join(w.dir, "event.json"), string(b))
	if w.checkout == "" {
		w.git("-C", w.work, "fetch", "-q", w.repo.Dir, "main")
		w.git("-C", w.work, "reset", "-q", "--hard", "FETCH_HEAD")
	} else {
		w.git("-C", w.work, "checkout", "-q", w.checkout)
	}
	// Nothing of this process's environment reaches the runner, and each run begins on a machine with nothing.
	cmd := exec.Command(program, event, "-C", w.work, "-W", ".github/workflows/test.yml", "-P", "ubuntu-latest=-self-hosted", "-e", filepath.Join(w.dir, "event.json"),
		"-s", "GITHUB_TOKEN="+w.token, "--env", "GITHUB_API_URL="+w.API, "--env", "GITHUB_SERVER_URL="+strings.TrimSuffix(w.Git, "/"), "--env", "BINARY="+filepath.Join(w.dir, "countersign"),
		"--env", "COUNTERSIGN_STATE="+w.t.TempDir(), "--action-offline-mode", "--no-cache-server", "--local-repository", w.Git+"countersign/countersign@v1="+w.action)
	for _, m := range regexp.MustCompile(`uses: (actions/[a-z-]+@[0-9a-f]{40}) # v`).FindAllStringSubmatch(w.yml, -1) {
		cmd.Args = append(cmd.Args, "--local-repository", w.Git+m[1]+"="+filepath.Join(w.dir, "nothing"))
	}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "GIT_CONFIG_NOSYSTEM=1"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

const askForReader = "apiVersion: countersign.dev/v1\nkind: ConnectionCreation\nmetadata: {name: it, reason: The dashboards read the sales data}\nspec:\n  application: authz\n  connection: {type: role, source_name: reader}\n"

func (w *actionWorld) pullEvent(number int, branch, action, repository string) map[string]any {
	return map[string]any{"action": action, "number": number, "pull_request": map[string]any{"number": number,
		"head": map[string]any{"sha": w.repo.Run("rev-parse", "refs/heads/"+branch), "ref": branch, "repo": map[string]any{"full_name": repository}}, "base": map[string]any{"ref": "main"}}}
}

// TestAction runs action.yml as a runner would, from the pull request to the drift, against GitHub's test double.
func TestAction(t *testing.T) {
	t.Parallel()
	w := newActionWorld(t)
	if out, err := w.run("push", map[string]any{"ref": "refs/heads/main"}); err != nil {
		t.Fatalf("the first run: %v\n%s", err, out)
	}
	w.commit("reader", "alice", map[string]string{"requests/reader.yaml": askForReader})
	n := w.repo.Open("alice", "reader", "Ask for reader", nil)
	for _, event := range []string{"pull_request", "pull_request_target"} {
		out, err := w.run(event, w.pullEvent(n, "reader", "opened", "acme/access"))
		if err != nil {
			t.Fatalf("%s: %v\n%s", event, err, out)
		}
		if !strings.Contains(out, "verdict=sign-off creates=1") {
			t.Errorf("%s: the outputs are not there:\n%s", event, out)
		}
		if strings.Contains(out, w.token) {
			t.Errorf("%s: the log holds the token", event)
		}
	}
	if got := w.repo.Comments(n); len(got) != 1 || !strings.Contains(got[0], "Needs 1 more sign-off") {
		t.Errorf("comments = %q", got)
	}
	w.repo.Review(n, "bob", "APPROVED")
	queue := w.repo.Run("rev-parse", "refs/heads/main")
	if out, err := w.run("merge_group", map[string]any{"action": "checks_requested", "merge_group": map[string]any{"head_ref": fmt.Sprintf("refs/heads/gh-readonly-queue/main/pr-%d-%s", n, queue), "head_sha": queue}}); err != nil {
		t.Fatalf("merge_group: %v\n%s", err, out)
	}
	if got := w.repo.Status(queue, "countersign/sign-off"); got != "success signed off" {
		t.Errorf("the queue's commit has the status %q", got)
	}
	merge := w.repo.Merge(n, "squash", "carol")
	if out, err := w.run("push", map[string]any{"ref": "refs/heads/main", "after": merge}); err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
	stored, err := os.ReadFile(w.store)
	if err != nil || !strings.Contains(string(stored), "reader") {
		t.Fatalf("the merge was not applied: %v\n%s", err, stored)
	}
	if got := w.repo.Deployments(merge); len(got) != 1 || got[0] != "access success applied and verified by reading back" {
		t.Errorf("deployments = %q", got)
	}
	w.write(w.store, strings.Replace(string(stored), "reader", "writer", -1))
	if out, err := w.run("schedule", map[string]any{}); err != nil {
		t.Fatalf("schedule: %v\n%s", err, out)
	}
	if got := w.repo.Issues("open"); len(got) != 1 || got[0] != "Drift in authz" {
		t.Errorf("open issues = %q", got)
	}
	if got := w.repo.Run("log", "--format=%s", "countersign/ledger"); !strings.HasSuffix(got, "ledger: records 1 to 1") {
		t.Errorf("the ledger's branch contains\n%s", got)
	}
	if got := w.repo.Run("for-each-ref", "--format=%(refname)", "refs/heads/countersign/ledger-lease"); got != "" {
		t.Errorf("the lease was not let go of: %s", got)
	}
}

// TestActionOfAFork is about the event with a token that may only read: nothing is published, and the log has the preview.
func TestActionOfAFork(t *testing.T) {
	t.Parallel()
	w := newActionWorld(t)
	w.commit("reader", "alice", map[string]string{"requests/reader.yaml": askForReader})
	n := w.repo.Open("alice", "reader", "Ask for reader", nil)
	w.git("-C", w.work, "fetch", "-q", w.repo.Dir, "reader")
	out, err := w.run("pull_request", w.pullEvent(n, "reader", "opened", "mallory/access"))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(out, "live state was not read") {
		t.Errorf("the preview is not blind:\n%s", out)
	}
	if got := w.repo.Comments(n); len(got) != 0 {
		t.Errorf("comments = %q", got)
	}
}

// TestActionOverAHostileCheckout has a runner that has the pull request's own files, as the event pull_request gives
// them. They name another branch of the pull request's author as the trusted one, which must be ignored.
func TestActionOverAHostileCheckout(t *testing.T) {
	t.Parallel()
	w := newActionWorld(t)
	hostile := map[string]string{"countersign.yaml": "apiVersion: countersign.dev/v1\nkind: Settings\nspec:\n  branch: evil\n  forge: {kind: github, repository: mallory/access}\n  owners: [user:alice]\n"}
	w.commit("evil", "alice", hostile)
	hostile["requests/reader.yaml"] = askForReader
	w.commit("reader", "alice", hostile)
	n := w.repo.Open("alice", "reader", "Ask for reader", nil)
	w.checkout = "reader"
	out, err := w.run("pull_request", w.pullEvent(n, "reader", "opened", "acme/access"))
	if err == nil || !strings.Contains(out, "verdict=denied") || !strings.Contains(out, "CS-103") {
		t.Errorf("%v\n%s", err, out)
	}
	if got := w.repo.Status(w.repo.Run("rev-parse", "refs/heads/reader"), "countersign/policy"); !strings.HasPrefix(got, "failure") {
		t.Errorf("countersign/policy = %s", got)
	}
}

// TestActionsArePinned requires a full commit hash for each action, since others can move tags.
func TestActionsArePinned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := cli.Environment{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard, Now: time.Now, Getenv: func(string) string { return "" }, Executable: testExecutable}
	if code := cli.Main(t.Context(), []string{"init", "--github", "acme/access", "--repo", dir}, env); code != 0 {
		t.Fatalf("init: exit code %d", code)
	}
	files, err := filepath.Glob(filepath.Join(dir, ".github/workflows/*.yml"))
	if err != nil || len(files) != 4 {
		t.Fatalf("%d workflows: %v", len(files), err)
	}
	uses := 0
	for _, f := range append(files, "../../action.yml") {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var doc yaml.Node
		if err := yaml.Unmarshal(b, &doc); err != nil {
			t.Errorf("%s is not YAML: %v", f, err)
		}
		for _, l := range strings.Split(string(b), "\n") {
			what, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(l), "- "), "uses: ")
			if !ok || strings.HasPrefix(what, "countersign/countersign@") {
				continue
			}
			uses++
			if !regexp.MustCompile(`^[a-z-]+/[a-z-]+@[0-9a-f]{40} # v[0-9.]+$`).MatchString(what) {
				t.Errorf("%s uses %s", filepath.Base(f), what)
			}
			if strings.Contains(l, "run:") && strings.Contains(l, "${{") {
				t.Errorf("%s: an event's words in a script: %s", filepath.Base(f), l)
			}
		}
	}
	if uses < 6 {
		t.Errorf("only %d uses were found", uses)
	}
}

// TestActionDenied has a job that fails, and one that was told not to.
func TestActionDenied(t *testing.T) {
	t.Parallel()
	w := newActionWorld(t)
	w.commit("mixed", "alice", map[string]string{"requests/reader.yaml": askForReader, "people.yaml": "apiVersion: countersign.dev/v1\nkind: People\nspec:\n  people:\n    - {login: alice}\n"})
	n := w.repo.Open("alice", "mixed", "Ask for too much", nil)
	out, err := w.run("pull_request_target", w.pullEvent(n, "mixed", "opened", "acme/access"))
	if err == nil {
		t.Errorf("the job of a denied change did not fail:\n%s", out)
	}
	if !strings.Contains(out, "verdict=denied") || !strings.Contains(out, "exit status 3") {
		t.Errorf("the log doesn't report the denial:\n%s", out)
	}
}
