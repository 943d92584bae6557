package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts plays the command line. Dates and people are fixed, and so is every hash; what is printed is read
// when it changes: go test -run TestScripts -update, and git diff.
func TestScripts(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       update(),
		Setup: func(e *testscript.Env) error {
			e.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
			e.Setenv("GIT_CONFIG_NOSYSTEM", "1")
			e.Setenv("LC_ALL", "C")
			e.Setenv("EXAMPLES", examples)
			e.Setenv("TEST_BE_COUNTERSIGN", "1")
			for k, v := range person("alice") {
				e.Setenv(k, v)
			}
			for k, v := range instant("2026-11-23T09:00:00Z") {
				e.Setenv(k, v)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// as NAME: who works from here on.
			"as": func(ts *testscript.TestScript, _ bool, args []string) {
				for k, v := range person(args[0]) {
					ts.Setenv(k, v)
				}
			},
			// at INSTANT: the clock's time from here on.
			"at": func(ts *testscript.TestScript, _ bool, args []string) {
				if _, err := time.Parse(time.RFC3339, args[0]); err != nil {
					ts.Fatalf("%v", err)
				}
				for k, v := range instant(args[0]) {
					ts.Setenv(k, v)
				}
			},
			// land BRANCH [APPROVER ...]: merges a branch into main, with trailers.
			"land": func(ts *testscript.TestScript, _ bool, args []string) {
				message := "Land " + args[0] + "\n"
				for _, a := range args[1:] {
					message += fmt.Sprintf("\nApproved-by: %s <%s@acme.test>", a, a)
				}
				ts.Check(ts.Exec("git", "checkout", "-q", "main"))
				ts.Check(ts.Exec("git", "merge", "-q", "--no-ff", "-m", message, args[0]))
			},
			// appendline FILE TEXT
			"appendline": func(ts *testscript.TestScript, _ bool, args []string) {
				f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_WRONLY, 0)
				ts.Check(err)
				_, err = fmt.Fprintln(f, args[1])
				ts.Check(err)
				ts.Check(f.Close())
			},
			// code N COMMAND ...: runs countersign and wants the exit code.
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec("countersign", args[1:]...)
				got := "0"
				if err != nil {
					got = strings.TrimPrefix(err.Error(), "exit status ")
				}
				if got != args[0] {
					ts.Fatalf("countersign %s: exit code %s, want %s", strings.Join(args[1:], " "), got, args[0])
				}
			},
		},
	})
}

func person(name string) map[string]string {
	full := strings.ToUpper(name[:1]) + name[1:]
	return map[string]string{"GIT_AUTHOR_NAME": full, "GIT_AUTHOR_EMAIL": name + "@acme.test", "GIT_COMMITTER_NAME": full, "GIT_COMMITTER_EMAIL": name + "@acme.test"}
}

func instant(at string) map[string]string {
	return map[string]string{"TEST_NOW": at, "GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at}
}
