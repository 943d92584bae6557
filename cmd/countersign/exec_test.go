package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/cmd/countersign/internal/cli"
	"github.com/countersign/countersign/schemas"
)

// execProgram is the connector of an example.
type execProgram struct {
	name, path string
	test       []string // the arguments that run the complete suite on it
	prepare    map[string]string
	file, want string // a file of the application after the requests were applied, and what it holds
}

// teamfiles is the connector of the example in Go, built once.
var teamfiles = sync.OnceValues(func() (string, error) {
	dir, err := ofProcess()
	if err != nil {
		return "", err
	}
	built := filepath.Join(dir, "teamfiles")
	if out, err := exec.Command("go", "build", "-o", built, "../../examples/exec-go/connector").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return built, nil
})

// groupfile is the folder of the example's connector in Python, copied once: a program in the work tree isn't run.
var groupfile = sync.OnceValues(func() (string, error) {
	dir, err := ofProcess()
	if err != nil {
		return "", err
	}
	to := filepath.Join(dir, "groupfile")
	return to, os.CopyFS(to, os.DirFS("../../examples/exec-python/connector"))
})

// execPrograms are the connectors of the examples, by folder.
func execPrograms(t *testing.T) map[string]execProgram {
	t.Helper()
	python, err := groupfile()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Fatal("python3 is missing: run .ci/test, which installs it")
	}
	built, err := teamfiles()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]execProgram{
		"exec-python": {name: "groupfile", path: filepath.Join(python, "groupfile.py"), test: []string{"--hand", filepath.Join(python, "hand.py")},
			prepare: map[string]string{"files/group": "root:x:0:\nstaff:x:1000:bob\n", "files/passwd": "dave:x:1001:1001::/home/dave:/bin/sh\nbob:x:1002:1002::/home/bob:/bin/sh\n"},
			file:    "files/group", want: "root:x:0:\nstaff:x:1000:bob\nsales_reader:x:1001:dave\n"},
		"exec-go": {name: "teamfiles", path: built, test: []string{"--test-hand"},
			prepare: map[string]string{"teams/users.json": `["bob", "dave"]`, "teams/staff.json": `{"id": "1", "comment": "", "members": ["bob"]}`},
			file:    "teams/sales_reader.json", want: `"dave"`},
	}
}

// TestExecConnectors runs the complete conformance suite on the connectors of the examples, by the command that their
// authors have.
func TestExecConnectors(t *testing.T) {
	t.Parallel()
	for folder, p := range execPrograms(t) {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			env := cli.Environment{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: time.Now, Getenv: os.Getenv, Executable: testExecutable}
			code := cli.Main(t.Context(), append([]string{"connector", "test", p.path, "--format", "json"}, p.test...), env)
			var rep schemas.ConformanceReport
			if err := json.Unmarshal(out.Bytes(), &rep); err != nil {
				t.Fatalf("exit code %d, %v\n%s%s", code, err, out.String(), errs.String())
			}
			for _, c := range rep.Cases {
				if c.Result == schemas.CaseFailed {
					t.Errorf("%s: %s", c.Name, strings.Join(c.Log, "\n"))
				}
			}
			if code != 0 || rep.Failed > 0 || rep.Passed < 20 || rep.Reduced != "" {
				t.Errorf("exit code %d, %d passed, %d failed, reduced %q", code, rep.Passed, rep.Failed, rep.Reduced)
			}
		})
	}
}

// TestExecExamples follows the comment in each example: the requests become access in the files.
func TestExecExamples(t *testing.T) {
	t.Parallel()
	for folder, p := range execPrograms(t) {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(filepath.Join("../../examples", folder))); err != nil {
				t.Fatal(err)
			}
			for name, content := range p.prepare {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			git := func(args ...string) {
				t.Helper()
				cmd := exec.Command("git", args...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=Carol", "GIT_AUTHOR_EMAIL=carol@acme.test",
					"GIT_COMMITTER_NAME=Carol", "GIT_COMMITTER_EMAIL=carol@acme.test", "GIT_AUTHOR_DATE=2026-11-23T09:00:00Z", "GIT_COMMITTER_DATE=2026-11-23T09:00:00Z")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("git %v: %v\n%s", args, err, out)
				}
			}
			git("init", "-q", "-b", "main")
			git("add", "countersign.yaml", "people.yaml", "applications", "requests")
			git("commit", "-q", "-m", "Begin")
			run := func(want int, args ...string) string {
				t.Helper()
				var out bytes.Buffer
				env := cli.Environment{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: os.Getenv, Executable: testExecutable,
					Now: func() time.Time { return time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC) }}
				if code := cli.Main(t.Context(), append(args, "--repo", dir), env); code != want {
					t.Fatalf("%v: exit code %d, want %d\n%s", args, code, want, out.String())
				}
				return out.String()
			}
			bound := []string{"--exec", p.name + "=" + p.path}
			// Without the operator's word, the repository runs nothing.
			if out := run(1, "apply"); !strings.Contains(out, "--exec "+p.name+"=/path/to/program") {
				t.Errorf("apply without --exec:\n%s", out)
			}
			run(0, append(bound, "apply")...)
			run(0, append(bound, "drift", "--exit-code")...)
			b, err := os.ReadFile(filepath.Join(dir, p.file))
			if err != nil || !strings.Contains(string(b), p.want) {
				t.Errorf("%s: %v\n%s", p.file, err, b)
			}
		})
	}
}
