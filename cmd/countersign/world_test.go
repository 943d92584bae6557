package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/cmd/countersign/internal/cli"
)

// world is an access repository with the people around it. Its clock only moves when a test moves it.
type world struct {
	t   testing.TB
	dir string
	now time.Time
}

type who struct{ name, mail string }

func alice() who   { return who{"Alice", "alice@acme.test"} }
func bob() who     { return who{"Bob", "bob@acme.test"} }
func carol() who   { return who{"Carol", "carol@acme.test"} }
func mallory() who { return who{"Mallory", "mallory@acme.test"} }

// newWorld makes a repository whose first commit holds the files.
func newWorld(t testing.TB, files map[string]string) *world {
	t.Helper()
	return newWorldIn(t, t.TempDir(), files)
}

func newWorldIn(t testing.TB, dir string, files map[string]string) *world {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir, now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	w.git(carol(), "init", "-q", "--template=", "-b", "main")
	for p, c := range files {
		w.write(p, c)
	}
	w.git(carol(), "add", ".")
	w.git(carol(), "commit", "-q", "-m", "Begin access as code")
	return w
}

// copied is a copy of the world for a test.
func (w *world) copied(t testing.TB) *world {
	t.Helper()
	c := &world{t: t, dir: t.TempDir(), now: w.now}
	// os.CopyFS would let others read the ledger.
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == w.dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		to := c.dir + strings.TrimPrefix(path, w.dir)
		if d.IsDir() {
			return os.Mkdir(to, info.Mode().Perm())
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) git(p who, args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = w.dir
	at := w.now.Format(time.RFC3339)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=" + p.name, "GIT_AUTHOR_EMAIL=" + p.mail, "GIT_COMMITTER_NAME=" + p.name, "GIT_COMMITTER_EMAIL=" + p.mail,
		"GIT_AUTHOR_DATE=" + at, "GIT_COMMITTER_DATE=" + at, "GIT_EDITOR=true", "LC_ALL=C"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (w *world) write(path, content string) {
	w.t.Helper()
	full := filepath.Join(w.dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// propose commits the files on a branch off main, as somebody. An empty content deletes the file.
func (w *world) propose(p who, branch string, files map[string]string) {
	w.t.Helper()
	w.git(p, "checkout", "-q", "-B", branch, "main")
	w.amend(p, files)
}

// amend commits further files on the branch that is checked out.
func (w *world) amend(p who, files map[string]string) {
	w.t.Helper()
	var added, removed []string
	for path, c := range files {
		if c == "" {
			removed = append(removed, path)
			continue
		}
		w.write(path, c)
		added = append(added, path)
	}
	if len(removed) > 0 {
		w.git(p, append([]string{"rm", "-q", "--"}, removed...)...)
	}
	if len(added) > 0 {
		w.git(p, append([]string{"add", "--"}, added...)...)
	}
	w.git(p, "commit", "-q", "-m", "Change")
}

// merge lands a branch on main by a style: merge, squash or rebase. approver may be nobody.
func (w *world) merge(p who, style, branch string, approver who) {
	w.t.Helper()
	message := "Land " + branch
	if approver.mail != "" {
		message += fmt.Sprintf("\n\nApproved-by: %s <%s>", approver.name, approver.mail)
	}
	switch style {
	case "merge":
		w.git(p, "checkout", "-q", "main")
		w.git(p, "merge", "-q", "--no-ff", branch, "-m", message)
	case "squash":
		author := w.git(p, "log", "-1", "--format=%an <%ae>", branch)
		w.git(p, "checkout", "-q", "main")
		w.git(p, "merge", "-q", "--squash", branch)
		w.git(p, "commit", "-q", "--author", author, "-m", message)
	case "rebase":
		// Each commit lands by itself, and each carries the trailer.
		base := w.git(p, "merge-base", "main", branch)
		commits := strings.Fields(w.git(p, "rev-list", "--reverse", base+".."+branch))
		w.git(p, "checkout", "-q", "main")
		for _, c := range commits {
			w.git(p, "cherry-pick", c)
			w.git(p, "commit", "-q", "--amend", "-m", message)
		}
	default:
		w.t.Fatalf("no merge style %q", style)
	}
}

// result is what one command did.
type result struct {
	code        int
	out, errors string
}

// run runs countersign in this process.
func (w *world) run(args ...string) result {
	w.t.Helper()
	return w.runWith(cli.Environment{}, args...)
}

func (w *world) runWith(env cli.Environment, args ...string) result {
	w.t.Helper()
	var out, errs bytes.Buffer
	env.Stdin, env.Stdout, env.Stderr = strings.NewReader(""), &out, &errs
	env.Now = func() time.Time { return w.now }
	env.Getenv = secretsOnly
	env.Executable = testExecutable
	if env.Width == 0 {
		env.Width = 80
	}
	code := cli.Main(w.t.Context(), append(args, "--repo", w.dir), env)
	return result{code, out.String(), errs.String()}
}

// must runs countersign and fails the test unless it ends with the code.
func (w *world) must(code int, args ...string) result {
	w.t.Helper()
	r := w.run(args...)
	if r.code != code {
		w.t.Fatalf("countersign %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.out, r.errors)
	}
	return r
}

// decode reads a command's JSON output.
func decode[T any](t testing.TB, r result) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		t.Fatalf("decode the output: %v\n%s", err, r.out)
	}
	return v
}

const settingsFile = `apiVersion: countersign.dev/v1
kind: Settings
spec:
  branch: main
  forge: {kind: local}
  signoff: unauthenticated
  owners: [user:carol@acme.test]
`

const peopleFile = `apiVersion: countersign.dev/v1
kind: People
spec:
  people:
    - {login: alice, emails: [alice@acme.test, alice@home.test], identities: {authz: [alice]}}
    - {login: bob, emails: [bob@acme.test], identities: {authz: [bob]}}
    - {login: carol, emails: [carol@acme.test]}
    - {login: dave, emails: [dave@acme.test], identities: {authz: [dave]}}
    - {login: erin, emails: [erin@acme.test], identities: {authz: [erin]}}
    - {login: frank, emails: [frank@acme.test]}
`

const authzFile = `apiVersion: countersign.dev/v1
kind: Application
metadata: {name: authz}
spec:
  connector: casbin
  config: {policy: authz/policy.csv}
  owners: [user:bob@acme.test, user:frank@acme.test]
  scope: {role: ["*"]}
  grantable: {user: ["*"], object: ["sales.*"], role: ["*"]}
`

// secretsOnly is an environment with the secrets of the tests' applications and nothing else.
func secretsOnly(name string) string {
	if name == "COUNTERSIGN_SECRETS" || strings.HasPrefix(name, "TEST_") || strings.HasPrefix(name, "FOUR_") {
		return os.Getenv(name)
	}
	return ""
}
