package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestThreats checks the table of threats: it has each one, every test that it names exists, and every mutant fits the
// file that it breaks exactly once. Whether the tests notice the mutants is seen by running .ci/mutants.go.
func TestThreats(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	content, err := os.ReadFile(filepath.Join(root, ".ci", "threats.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var threats []struct {
		ID, Threat string
		Open       string // what is not defended yet
		Tests      []string
		Mutants    []struct{ File, Old, New, Test string }
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(content)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&threats); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, threat := range threats {
		ids = append(ids, threat.ID)
		if threat.Threat == "" || len(threat.Tests) == 0 && threat.Open == "" {
			t.Errorf("%s: no description, or no test", threat.ID)
		}
		if threat.Open != "" {
			t.Logf("%s: open: %s", threat.ID, threat.Open)
		}
		for _, test := range threat.Tests {
			if err := findTest(root, test); err != nil {
				t.Errorf("%s: %v", threat.ID, err)
			}
		}
		for i, m := range threat.Mutants {
			source, err := os.ReadFile(filepath.Join(root, m.File))
			if err != nil {
				t.Errorf("%s: %v", threat.ID, err)
				continue
			}
			if n := strings.Count(string(source), m.Old); n != 1 || m.Old == m.New {
				t.Errorf("%s, mutant %d: its text is %d times in %s (expected once)", threat.ID, i+1, n, m.File)
			}
		}
	}
	want := make([]string, 55)
	for i := range want {
		want[i] = fmt.Sprintf("T%d", i+1)
	}
	if !slices.Equal(ids, want) {
		t.Errorf("threats: got %v, want T1 to T55 in order", ids)
	}
}

// findTest looks for "package TestName" in the package's test files.
func findTest(root, test string) error {
	pkg, name, _ := strings.Cut(test, " ")
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pkg), "*_test.go"))
	if err != nil {
		return err
	}
	declared, err := regexp.Compile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`)
	if err != nil {
		return err
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if declared.Match(source) {
			return nil
		}
	}
	return fmt.Errorf("no test %s in %s", name, pkg)
}
