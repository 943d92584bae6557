package main

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/cmd/countersign/internal/cli"
)

// TestExamples runs what a newcomer would in each example folder.
func TestExamples(t *testing.T) {
	t.Parallel()
	dirs, err := filepath.Glob("../../examples/*")
	if err != nil || len(dirs) < 3 {
		t.Fatalf("%d examples (%v)", len(dirs), err)
	}
	programs := execPrograms(t)
	dirs = slices.DeleteFunc(dirs, func(dir string) bool { return filepath.Ext(dir) != "" }) // files beside the folders
	for _, dir := range dirs {
		if filepath.Base(dir) == "applications" { // files for an access repository of one's own
			repo := t.TempDir()
			if err := os.CopyFS(filepath.Join(repo, "applications"), os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"countersign.yaml", "people.yaml"} {
				content, err := os.ReadFile("../../examples/github/" + name)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(repo, name), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			dir = repo
		}
		for _, args := range [][]string{{"validate"}, {"policy", "test"}} {
			var out, errs bytes.Buffer
			env := cli.Environment{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: time.Now, Getenv: os.Getenv, Executable: testExecutable, Width: 80}
			args = append(args, "--repo", dir)
			if p, ok := programs[filepath.Base(dir)]; ok && args[0] == "validate" {
				args = append(args, "--exec", p.name+"="+p.path)
			}
			if code := cli.Main(t.Context(), args, env); code != 0 {
				t.Errorf("%s in %s: exit code %d\n%s%s", strings.Join(args, " "), dir, code, out.String(), errs.String())
			}
		}
	}
}

// TestHelp asks every command for its help, which has an example.
func TestHelp(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"demo", "init", "validate", "preview", "apply", "drift", "status", "access", "serve", "doctor", "audit export", "audit verify",
		"audit entitlements", "policy rules", "policy test", "schema", "version", "connector list", "connector test"} {
		var out bytes.Buffer
		env := cli.Environment{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Now: time.Now, Getenv: os.Getenv, Executable: testExecutable, Width: 80}
		code := cli.Main(t.Context(), append(strings.Fields(command), "--help"), env)
		if code != 0 || !strings.Contains(out.String(), "Examples:") || !strings.Contains(out.String(), "countersign "+command) {
			t.Errorf("%s --help: exit code %d\n%s", command, code, out.String())
		}
	}
}

// TestTheGitHubExampleIsWhatInitWrites keeps the example, which is there to be read, from growing old. After a change:
// countersign init --repo examples/github --github acme/access --connector postgres, over an empty folder.
func TestTheGitHubExampleIsWhatInitWrites(t *testing.T) {
	t.Parallel()
	const example = "../../examples/github"
	dir := t.TempDir()
	env := cli.Environment{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard, Now: time.Now, Getenv: func(string) string { return "" }, Executable: testExecutable}
	if code := cli.Main(t.Context(), []string{"init", "--repo", dir, "--github", "acme/access", "--connector", "postgres"}, env); code != 0 {
		t.Fatalf("init: exit code %d", code)
	}
	read := func(root string) map[string]string {
		out := map[string]string{}
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			out[filepath.ToSlash(name)] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if diff := cmp.Diff(read(dir), read(example)); diff != "" {
		t.Errorf("the example differs from what init writes (-init +example):\n%s", diff)
	}
}
