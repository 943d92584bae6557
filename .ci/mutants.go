//go:build ignore

// Mutants breaks each defence of .ci/threats.yaml by hand, one at a time, and reports whether a test noticed:
//
//	go run .ci/mutants.go            all of them
//	go run .ci/mutants.go T3 T41/2   only those of a threat, or one of them
//
// Nothing in the work tree changes: the go command gets the changed file as an overlay. A mutant that no test
// notices, that doesn't build, or whose text is not in the file ends the run with exit code 1.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

type threat struct {
	ID      string
	Threat  string
	Tests   []string
	Open    string
	Mutants []mutant
}

type mutant struct {
	File, Old, New string
	Test           string // package and -run pattern: "reconciler/signoff TestJudge"
}

func main() {
	content, err := os.ReadFile(".ci/threats.yaml")
	check(err)
	var threats []threat
	check(yaml.Unmarshal(content, &threats))
	noticed, bad := 0, 0
	for _, t := range threats {
		for i, m := range t.Mutants {
			name := fmt.Sprintf("%s/%d", t.ID, i+1)
			if len(os.Args) > 1 && !slices.Contains(os.Args[1:], t.ID) && !slices.Contains(os.Args[1:], name) {
				continue
			}
			begun := time.Now()
			verdict, detail := try(m)
			if verdict == "noticed" {
				noticed++
			} else {
				bad++
			}
			fmt.Printf("%-8s %s  %s  %s  (%.0f s)\n", verdict, name, m.File, m.Test, time.Since(begun).Seconds())
			if detail != "" {
				fmt.Println(detail)
			}
		}
	}
	fmt.Printf("%d noticed, %d not\n", noticed, bad)
	if bad > 0 {
		os.Exit(1)
	}
}

// try runs the test against the program with the defence broken.
func try(m mutant) (verdict, detail string) {
	content, err := os.ReadFile(m.File)
	check(err)
	if n := strings.Count(string(content), m.Old); n != 1 {
		return "stale", fmt.Sprintf("the text is in the file %d times", n)
	}
	dir, err := os.MkdirTemp("", "mutant")
	check(err)
	defer os.RemoveAll(dir)
	changed := filepath.Join(dir, filepath.Base(m.File))
	check(os.WriteFile(changed, []byte(strings.Replace(string(content), m.Old, m.New, 1)), 0o600))
	file, err := filepath.Abs(m.File)
	check(err)
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	check(err)
	check(os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	pkg, run, _ := strings.Cut(m.Test, " ")
	arguments := []string{"test", "-vet=off", "-count=1", "-overlay", filepath.Join(dir, "overlay.json"), "-run", run, "./" + pkg}
	output, err := exec.Command("go", arguments...).CombinedOutput()
	switch {
	case err == nil:
		return "MISSED", ""
	case bytes.Contains(output, []byte("[build failed]")) || bytes.Contains(output, []byte("[setup failed]")):
		return "BROKEN", tail(output)
	case !bytes.Contains(output, []byte("--- FAIL")):
		return "UNCLEAR", tail(output)
	}
	return "noticed", ""
}

func tail(output []byte) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return "    " + strings.Join(lines[max(0, len(lines)-8):], "\n    ")
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
