package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/countersign/countersign/cmd/countersign/guides"
	"github.com/countersign/countersign/cmd/countersign/internal/cli"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// pages are the Markdown files that people read first.
func pages(t *testing.T) []string {
	t.Helper()
	return append(append(filesBelow(t, "cmd/countersign/guides", ".md"), filesBelow(t, ".github", ".md")...), filepath.Join(root, "README.md"))
}

// TestReadmeLength keeps the README short: details belong in the guides.
func TestReadmeLength(t *testing.T) {
	t.Parallel()
	if got, want := strings.Count(readText(t, filepath.Join(root, "README.md")), "\n"), 150; got > want {
		t.Errorf("README.md has %d lines, want at most %d", got, want)
	}
}

// TestPageLinks follows the relative links of all pages.
func TestPageLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(readText(t, page), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s links to %s: %v", relative(page), m[1], err)
			}
		}
	}
}

// TestPageYAML decodes the YAML blocks of all pages: documents strictly, other blocks as YAML.
func TestPageYAML(t *testing.T) {
	t.Parallel()
	block := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")
	found := 0
	for _, page := range pages(t) {
		for _, m := range block.FindAllStringSubmatch(readText(t, page), -1) {
			found++
			if strings.HasPrefix(m[1], "apiVersion:") {
				path := "requests/example.yaml"
				switch {
				case strings.Contains(m[1], "kind: Application"):
					path = "applications/example.yaml"
				case strings.Contains(m[1], "kind: Settings"):
					path = schemas.SettingsPath
				}
				if _, list := strict.Decode(path, []byte(m[1])); list.Err() != nil {
					t.Errorf("%s: %v\n%s", relative(page), list.Err(), m[1])
				}
				continue
			}
			var v any
			if err := yaml.Unmarshal([]byte(m[1]), &v); err != nil {
				t.Errorf("%s: %v\n%s", relative(page), err, m[1])
			}
		}
	}
	if found < 8 {
		t.Errorf("only %d blocks of YAML were found: the test looks in the wrong place", found)
	}
}

// TestPageCommands checks that each command of the pages exists with its flags.
func TestPageCommands(t *testing.T) {
	t.Parallel()
	help := helpPages(t)
	call := regexp.MustCompile(`(?m)\bcountersign ([a-z][^\n` + "`" + `|&#>]*)`)
	flag := regexp.MustCompile(`--[a-z][a-z-]*`)
	found := 0
	for _, page := range pages(t) {
		code := strings.Join(markdownCode.FindAllString(readText(t, page), -1), "\n")
		for _, m := range call.FindAllStringSubmatch(code, -1) {
			words := strings.Fields(strings.TrimRight(m[1], ",.;:"))
			name, args := words[0], words[1:]
			if name == "help" {
				continue
			}
			if len(args) > 0 && help[name+" "+args[0]] != "" {
				name += " " + args[0]
			}
			text, ok := help[name]
			if !ok {
				t.Errorf("%s: countersign %s: unknown command %s", relative(page), m[1], name)
				continue
			}
			found++
			for _, f := range flag.FindAllString(m[1], -1) {
				if !regexp.MustCompile(regexp.QuoteMeta(f) + `\b`).MatchString(text) {
					t.Errorf("%s: countersign %s: unknown flag of %s: %s", relative(page), m[1], name, f)
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d commands were found: the test looks in the wrong place", found)
	}
}

// TestContributingPaths checks that each path that CONTRIBUTING names exists.
func TestContributingPaths(t *testing.T) {
	t.Parallel()
	path := regexp.MustCompile("`((?:cmd|reconciler|policy|connectors|schemas|examples|\\.ci)/[^` ]*)`")
	found := path.FindAllStringSubmatch(readText(t, filepath.Join(root, ".github", "CONTRIBUTING.md")), -1)
	if len(found) < 20 {
		t.Fatalf("CONTRIBUTING.md names only %d paths: the test looks in the wrong place", len(found))
	}
	for _, m := range found {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(m[1]))); err != nil {
			t.Errorf("CONTRIBUTING.md names %s: %v", m[1], err)
		}
	}
}

// TestGuideTopics prints each guide with countersign help, and finds each in the README.
func TestGuideTopics(t *testing.T) {
	t.Parallel()
	all, err := guides.All()
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, 0, len(all))
	readme := readText(t, filepath.Join(root, "README.md"))
	_, topics, ok := strings.Cut(runHelp(t, "help"), "\nGuides:\n")
	if !ok {
		t.Error("countersign help lists no guides")
	}
	for _, g := range all {
		if !regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(g.Name) + `  +` + regexp.QuoteMeta(g.Title) + `$`).MatchString(topics) {
			t.Errorf("countersign help doesn't list the guide %s", g.Name)
		}
		names = append(names, g.Name)
		if got := runHelp(t, "help", g.Name); got != g.Text {
			t.Errorf("countersign help %s prints %d bytes, want the guide's %d", g.Name, len(got), len(g.Text))
		}
		if !strings.Contains(readme, "(cmd/countersign/guides/"+g.Name+".md)") {
			t.Errorf("README.md doesn't link to the guide %s", g.Name)
		}
	}
	for _, want := range []string{"requesting", "reviewing", "operating-postgresql", "operating-github", "writing-policy", "writing-connectors", "auditing"} {
		if !slices.Contains(names, want) {
			t.Errorf("guide %s not found", want)
		}
	}
}

func runHelp(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	env := cli.Environment{Stdin: strings.NewReader(""), Stdout: &out, Stderr: io.Discard, Now: time.Now, Getenv: func(string) string { return "" }, Width: 80}
	if code := cli.Main(t.Context(), args, env); code != 0 {
		t.Fatalf("%v: exit code %d", args, code)
	}
	return out.String()
}

// TestReadmePreview holds the preview in the README against the demo's. With -update it writes it.
func TestReadmePreview(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	env := cli.Environment{Stdin: strings.NewReader(""), Stdout: &out, Stderr: io.Discard, Now: time.Now, Executable: testExecutable, Getenv: os.Getenv, Width: 80}
	if code := cli.Main(t.Context(), []string{"demo"}, env); code != 0 {
		t.Fatalf("countersign demo: exit code %d\n%s", code, out.String())
	}
	_, rest, ok := strings.Cut(out.String(), "privileges: [read]}\n")
	if !ok {
		t.Fatal("request without a privileged grant not found in the demo")
	}
	_, rest, _ = strings.Cut(rest, "$ countersign preview\n")
	rest, _, ok = strings.Cut(rest, "(exit code 4)")
	if !ok {
		t.Fatal("preview of that request not found in the demo")
	}
	lines := strings.Split(strings.TrimSpace(rest), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(strings.TrimPrefix(l, "     "), " ")
	}
	block := "\n```text\n$ countersign preview\n" + strings.Join(lines, "\n") + "\n```\n\n"

	file := filepath.Join(root, "README.md")
	readme := readText(t, file)
	place := regexp.MustCompile(`(?s)(<!-- generated: preview[^\n]*-->\n)(.*?)(<!-- end -->)`)
	m := place.FindStringSubmatch(readme)
	if m == nil {
		t.Fatal("README.md lacks the markers of the preview")
	}
	// The digest and the days differ with each run.
	moving := regexp.MustCompile(`plan [0-9a-f]{8}|\d{4}-\d{2}-\d{2}(?: \d{2}:\d{2}Z)?`)
	if moving.ReplaceAllString(m[2], "…") == moving.ReplaceAllString(block, "…") {
		return
	}
	if update() {
		if err := os.WriteFile(file, []byte(strings.Replace(readme, m[0], m[1]+block+m[3], 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Error("the preview in README.md is old: run go test ./cmd/countersign -run TestReadmePreview -update, and read it")
}
