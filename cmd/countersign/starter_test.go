package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/countersign/countersign/cmd/countersign/internal/cli"
)

// workflow is what matters here of a workflow file or of action.yml.
type workflow struct {
	On          map[string]any
	Concurrency struct {
		Group  string
		Cancel bool `yaml:"cancel-in-progress"`
	}
	Jobs map[string]struct {
		If          string
		Environment string
		Permissions map[string]string
		Steps       []struct{ Uses string }
	}
	Runs struct {
		Steps []struct {
			ID, Uses, Run string
			Env           map[string]string
		}
	}
}

func readWorkflow(t *testing.T, path string) (w workflow, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(b, &w)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w, string(b)
}

// TestWrittenWorkflows is about what init --github writes: which job gets what, and what starts and stops it.
func TestWrittenWorkflows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := cli.System()
	env.Stdout, env.Stderr = io.Discard, io.Discard
	if code := cli.Main(t.Context(), []string{"init", "--github", "acme/access", "--repo", dir}, env); code != 0 {
		t.Fatalf("init --github ends with %d", code)
	}
	pinned := regexp.MustCompile(`@[0-9a-f]{40}$`)
	for _, name := range []string{"preview", "review", "apply", "drift"} {
		w, text := readWorkflow(t, filepath.Join(dir, ".github", "workflows", "countersign-"+name+".yml"))
		for job, j := range w.Jobs {
			for _, s := range j.Steps {
				if s.Uses != "" && !pinned.MatchString(s.Uses) {
					t.Errorf("%s: %s uses %s, which can be moved", name, job, s.Uses)
				}
			}
			if job == "queue" && (j.Environment != "" || j.Permissions["contents"] == "write") {
				t.Errorf("%s: the merge queue's version of the workflow gets an environment", name)
			}
			if _, queued := w.On["merge_group"]; queued && j.Environment != "" && (j.If == "" || strings.Contains(j.If, "!= 'pull_request_target'")) {
				t.Errorf("%s: %s gets its environment in a merge queue: %s", name, job, j.If)
			}
		}
		if w.Concurrency.Cancel && strings.Contains(text, "labeled") && !strings.Contains(w.Concurrency.Group, "github.event.action == 'labeled' && github.run_id") {
			t.Errorf("%s: a label cancels the preview that runs: %s", name, w.Concurrency.Group)
		}
		if _, scheduled := w.On["schedule"]; !scheduled && (name == "apply" || name == "drift") {
			t.Errorf("%s is not run on a schedule, so that grants end late", name)
		}
	}
	rules, err := os.ReadFile(filepath.Join(dir, ".github", "countersign-ruleset.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"require_code_owner_review": true`, `"require_last_push_approval": true`} {
		if !strings.Contains(string(rules), want) {
			t.Errorf("the ruleset lacks %s", want)
		}
	}
	settings, err := os.ReadFile(filepath.Join(dir, "countersign.yaml"))
	if err != nil || strings.Contains(string(settings), "publisher: github-actions[bot]") {
		t.Errorf("the settings' publisher is one that every workflow can act as: %v", err)
	}
}

// TestActionsProgram runs the step that provides the program: what lies in the runner's tool cache counts only with the
// hash that the action's own commit has.
func TestActionsProgram(t *testing.T) {
	t.Parallel()
	action, text := readWorkflow(t, "../../action.yml")
	if strings.Contains(text, "actions/cache@") {
		t.Error("jobs of different trust share a cache")
	}
	script := ""
	for _, s := range action.Runs.Steps {
		if s.ID == "program" {
			script = s.Run
		}
	}
	if script == "" {
		t.Fatal("step program not found")
	}
	uname := func(flag string) string {
		out, err := exec.Command("uname", flag).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	name := "countersign-" + uname("-s") + "-" + uname("-m")
	const good, bad = "the program", "another program"
	for _, tt := range []struct{ name, kept, listed, want string }{
		{"listed and kept", good, good, good},
		{"another one is kept", bad, good, "built"},
		{"nothing is listed", good, "", "built"},
		{"nothing is kept", "", good, "built"},
	} {
		dir := t.TempDir()
		write := func(path, content string, mode os.FileMode) string {
			t.Helper()
			full := filepath.Join(dir, path)
			if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(full, []byte(content), mode); err != nil {
				t.Fatal(err)
			}
			return full
		}
		write("bin/go", "#!/bin/sh\nwhile [ \"$1\" != -o ]; do shift; done\nprintf built > \"$2\"\n", 0o755)
		write("here/cmd/x", "", 0o644)
		if tt.kept != "" {
			write("tools/countersign/"+name, tt.kept, 0o755)
		}
		if tt.listed != "" {
			write("here/.ci/checksums", fmt.Sprintf("0000  other\n%x  %s\n", sha256.Sum256([]byte(tt.listed)), name), 0o644)
		}
		if err := os.MkdirAll(filepath.Join(dir, "temp"), 0o755); err != nil {
			t.Fatal(err)
		}
		output := filepath.Join(dir, "output")
		cmd := exec.Command("bash", "-c", script)
		cmd.Env = []string{"PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "HERE=" + filepath.Join(dir, "here"), "BINARY=",
			"RUNNER_TOOL_CACHE=" + filepath.Join(dir, "tools"), "RUNNER_TEMP=" + filepath.Join(dir, "temp"), "GITHUB_OUTPUT=" + output}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s on %s: %v: %s", tt.name, runtime.GOOS, err, out)
		}
		b, err := os.ReadFile(output)
		if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimSpace(strings.TrimPrefix(string(b), "path="))
		if got, err := os.ReadFile(path); err != nil || string(got) != tt.want || !strings.HasPrefix(path, filepath.Join(dir, "temp")+"/") {
			t.Errorf("%s: %s has %q, want %q: %v", tt.name, path, got, tt.want, err)
		}
	}
}
