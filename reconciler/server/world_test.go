package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/connectors/manual"
	"github.com/countersign/countersign/connectors/secrets"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/github"
	"github.com/countersign/countersign/reconciler/github/githubtest"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/reconciler/server"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// world is an access repository at a GitHub, with a Casbin store as its application. Bob and Frank own the
// application, Carol the settings; Alice asks. The previews are an App's.
type world struct {
	t *testing.T
	*githubtest.Server
	repo  *githubtest.Repository
	work  string // an ordinary clone, out of which people push
	clone string // the bare clone of countersign
	state string
	store string
	app   *githubtest.App
	// client speaks as the App.
	client *github.Client
	// key signs the ledger of runners; nil doesn't.
	key *seal.Key
	// step is told of each step of an apply; nil is not.
	step func(string)
	// spec are further lines of the application.
	spec string
	// skew is how far the clock of countersign is ahead of GitHub's.
	skew time.Duration
}

const people = `apiVersion: countersign.dev/v1
kind: People
spec:
  people:
    - {login: alice, emails: [alice@acme.test], identities: {authz: [alice]}}
    - {login: bob, emails: [bob@acme.test], identities: {authz: [bob]}}
    - {login: carol, emails: [carol@acme.test]}
    - {login: dave, emails: [dave@acme.test], identities: {authz: [dave]}}
    - {emails: [erin@home.test], identities: {authz: [erin]}}
    - {login: frank, emails: [frank@acme.test]}
    - {login: dora, emails: [dora@acme.test], identities: {hr: [dora]}}
    - {login: eve, emails: [eve@acme.test]}
`

const settings = `apiVersion: countersign.dev/v1
kind: Settings
spec:
  forge: {kind: github, repository: acme/access, publisher: "countersign[bot]", bots: ["approver[bot]"]}
  owners: [user:carol]
`

func (w *world) application(owners string) string {
	return fmt.Sprintf(`apiVersion: countersign.dev/v1
kind: Application
metadata: {name: authz}
spec:
  connector: casbin
  config: {policy: %q}
  owners: [%s]
  scope: {role: ["*"]}
  grantable: {object: ["sales.*"]}
%s`, w.store, owners, w.spec)
}

func creation(role string) string {
	return "apiVersion: countersign.dev/v1\nkind: ConnectionCreation\nmetadata: {name: it, reason: The dashboards read the sales data}\nspec:\n  application: authz\n  connection: {type: role, source_name: " + role + "}\n"
}

func grant(role, target string) string {
	return "apiVersion: countersign.dev/v1\nkind: ConnectionAssignment\nmetadata: {name: it, reason: The dashboards read the sales data}\nspec:\n  application: authz\n  connection: {type: role, source_name: " + role + "}\n  grants: [" + target + "]\n"
}

func user(name string) string { return "{type: user, source_name: " + name + "}" }

const reads = "{type: object, source_name: sales.orders, privileges: [read]}"

// newWorld has an anchor in which the role base is, and has made its first run.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, "user:bob, user:frank")
}

// newWorldOf is one whose application has these owners.
func newWorldOf(t *testing.T, owners string) *world {
	t.Helper()
	w := bareWorld(t)
	w.push("main", "carol", files{"countersign.yaml": settings, "people.yaml": people, "applications/authz.yaml": w.application(owners),
		"requests/base.yaml": creation("base") + "---\n" + grant("base", reads)})
	for _, a := range w.apply().Applications {
		if a.Remaining != 0 || a.Error != "" {
			t.Fatalf("the first run leaves %d operations: %s", a.Remaining, a.Error)
		}
	}
	return w
}

// bareWorld is one with nothing in its repository yet.
func bareWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, Server: githubtest.New(t), work: filepath.Join(dir, "work"), clone: filepath.Join(dir, "clone.git"), state: filepath.Join(dir, "state"), store: filepath.Join(dir, "policy.csv")}
	if err := casbin.Init(w.store, casbin.Contents{Users: []string{"alice", "bob", "dave", "erin"}, Objects: []string{"sales.orders", "sales.payroll"}}); err != nil {
		t.Fatal(err)
	}
	for _, login := range []string{"alice", "bob", "carol", "dave", "frank", "mallory"} {
		w.User(login)
	}
	w.app = w.App("countersign")
	w.repo = w.Repository("acme/access")
	w.repo.Level("write", "alice", "bob", "carol", "dave", "frank")
	w.repo.Level("read", "mallory")
	w.client = w.speak(github.Config{App: &github.App{ID: w.app.ID, Installation: w.app.Installation, Key: w.app.Key}})
	w.git(dir, "clone", "-q", w.repo.Dir, w.work)
	return w
}

func (w *world) speak(c github.Config) *github.Client {
	w.t.Helper()
	c.Repository, c.URL, c.ServerURL, c.MinWait, c.MaxWait, c.Now = "acme/access", w.API, w.Git, time.Millisecond, 5*time.Second, w.now
	c.Transport = w.Server
	client, err := github.New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return client
}

// fault is an answer in place of GitHub's, and reportOf is that of a run.
type (
	fault    = githubtest.Fault
	reportOf = schemas.RunReport
)

// workflow speaks as a workflow's own token.
func (w *world) workflow() *github.Client { return w.speak(github.Config{Token: w.Workflow(w.repo)}) }

func (w *world) now() time.Time { return w.Server.Now().Add(w.skew) }

// files are contents by path; "" deletes.
type files map[string]string

func (w *world) git(dir string, args ...string) string {
	w.t.Helper()
	return w.gitAs("carol <carol@acme.test>", dir, args...)
}

func (w *world) gitAs(who, dir string, args ...string) string {
	w.t.Helper()
	name, email, _ := strings.Cut(strings.TrimSuffix(who, ">"), " <")
	at := w.Server.Now().Format(time.RFC3339)
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME="+name, "GIT_AUTHOR_EMAIL="+email, "GIT_AUTHOR_DATE="+at,
		"GIT_COMMITTER_NAME="+name, "GIT_COMMITTER_EMAIL="+email, "GIT_COMMITTER_DATE="+at)
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// push commits the files on a branch, begun from main where it is new, and pushes it as somebody.
func (w *world) push(branch, login string, f files) string {
	w.t.Helper()
	return w.pushAs(branch, login, login+" <"+login+"@acme.test>", f)
}

func (w *world) pushAs(branch, login, author string, f files) string {
	w.t.Helper()
	w.git(w.work, "fetch", "-q", "origin")
	start := "origin/main"
	if w.repo.Run("for-each-ref", "refs/heads/"+branch) != "" {
		start = "origin/" + branch
	}
	if start == "origin/main" && w.repo.Run("for-each-ref") == "" {
		w.git(w.work, "checkout", "-q", "--orphan", branch)
	} else {
		w.git(w.work, "checkout", "-q", "-B", branch, start)
	}
	w.write(f)
	w.gitAs(author, w.work, "commit", "-q", "-m", "Ask for access")
	return w.send(branch, login)
}

// write puts files into the work tree and the index.
func (w *world) write(f files) {
	w.t.Helper()
	var added, removed []string
	for path, content := range f {
		full := filepath.Join(w.work, path)
		if content == "" {
			removed = append(removed, path)
			continue
		}
		added = append(added, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	if len(removed) > 0 {
		w.git(w.work, append([]string{"rm", "-q", "--"}, removed...)...)
	}
	if len(added) > 0 {
		w.git(w.work, append([]string{"add", "--"}, added...)...)
	}
}

// send pushes what the work tree is at.
func (w *world) send(branch, login string) string {
	w.t.Helper()
	w.git(w.work, "push", "-q", "-f", "origin", "HEAD:refs/heads/"+branch)
	w.repo.Moved(login)
	w.Advance(time.Minute)
	return w.git(w.work, "rev-parse", "HEAD")
}

// ask opens Alice's pull request with the files.
func (w *world) ask(branch string, f files) int {
	w.t.Helper()
	w.push(branch, "alice", f)
	return w.repo.Open("alice", branch, "Ask for "+branch, nil)
}

func (w *world) fetch(ctx context.Context, refspecs ...string) error {
	_, err := history.Fetch(ctx, w.clone, history.Remote{URL: w.Git + "acme/access.git", Password: w.client.Password}, refspecs...)
	return err
}

const mainSpec = "refs/heads/main:refs/heads/main"

// reconciler opens one, as each start of the program does.
func (w *world) reconciler() *reconciler.Reconciler {
	w.t.Helper()
	if err := w.fetch(context.Background(), mainSpec); err != nil {
		w.t.Fatal(err)
	}
	repo, err := history.Open(w.clone)
	if err != nil {
		w.t.Fatal(err)
	}
	registry, err := connectors.NewRegistry(casbin.New(), manual.New())
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := reconciler.New(reconciler.Config{Repository: repo, State: w.state, Secrets: secrets.New(secrets.Config{Allow: []string{"/*"}}), Connectors: registry, Version: "1", Now: w.now,
		Forge: func(_ context.Context, s schemas.SettingsSpec) (signoff.Forge, error) { return w.client.Evidence(s) },
		Tickets: func(_ context.Context, s schemas.Forge, _ string) (reconciler.Tickets, error) {
			return w.client.Tickets(s.Publisher), nil
		}, RetryWait: time.Millisecond, Step: w.step})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := r.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return r
}

func (w *world) tryPreview(number int, full bool) (*schemas.Preview, error) {
	w.t.Helper()
	p, _, err := server.Preview{Reconciler: w.reconciler(), Forge: w.client, Fetch: w.fetch, Branch: "refs/heads/main", BranchSpec: mainSpec, Number: number, Full: full}.Run(w.t.Context())
	w.Advance(time.Minute)
	return p, err
}

// preview previews a pull request and tells it there.
func (w *world) preview(number int) *schemas.Preview {
	w.t.Helper()
	p, err := w.tryPreview(number, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) tryApply(o reconciler.RunOptions) (*schemas.RunReport, error) {
	w.t.Helper()
	o.To = "refs/heads/main"
	return server.Pass{Reconciler: w.reconciler(), Options: o, Forge: w.client}.Run(w.t.Context())
}

// apply makes a pass over main and tells the outcome.
func (w *world) apply() *schemas.RunReport {
	w.t.Helper()
	rep, err := w.tryApply(reconciler.RunOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return rep
}

// stored is the application's own file.
func (w *world) stored() string {
	w.t.Helper()
	b, err := os.ReadFile(w.store)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// verdicts are those of a run, with their reasons.
func verdicts(rep *schemas.RunReport) string {
	var out []string
	for _, a := range rep.Admissions {
		out = append(out, strings.TrimSpace(string(a.Verdict)+" "+strings.Join(a.Reasons, "; ")))
	}
	return strings.Join(out, "\n")
}

func dump(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}
