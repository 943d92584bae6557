package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/schemas"
)

// TestKilled kills apply at its n-th step, for each n until one run gets through, and holds what the next
// run leaves against a run that nobody disturbed.
func TestKilled(t *testing.T) {
	t.Parallel()
	prepare := func(t *testing.T) *world {
		w := newAuthz(t)
		w.propose(alice(), "x", map[string]string{
			"requests/2.yaml": creation("second", "sales_writer"),
			"requests/3.yaml": assignment("third", []string{
				"{type: user, source_name: dave}", "{type: user, source_name: erin}",
				"{type: object, source_name: sales.orders, privileges: [read, write]}",
			}, nil),
		})
		w.merge(bob(), "merge", "x", bob())
		w.must(0, "apply")
		w.propose(alice(), "y", map[string]string{
			"requests/4.yaml": assignment("fourth", []string{"{type: object, source_name: sales.payroll, privileges: [read]}"},
				[]string{"{type: user, source_name: erin}"}),
			"requests/5.yaml": "apiVersion: countersign.dev/v1\nkind: ConnectionDeletion\nmetadata: {name: fifth, reason: It was never used by anybody}\n" +
				"spec:\n  application: authz\n  connection: {type: role, source_name: sales_writer}\n",
		})
		w.merge(bob(), "merge", "y", bob())
		return w
	}
	store := func(t *testing.T, w *world) string {
		b, err := os.ReadFile(filepath.Join(w.dir, "authz", "policy.csv"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	calm := prepare(t)
	calm.must(0, "apply")
	want := store(t, calm)
	killed := 0
	for n := 1; ; n++ {
		w := prepare(t)
		cmd := exec.Command(os.Args[0], "apply", "--repo", w.dir)
		cmd.Env = append(os.Environ(), "TEST_BE_COUNTERSIGN=1", "TEST_DIE_AT="+strconv.Itoa(n), "TEST_NOW="+w.now.Format("2006-01-02T15:04:05Z07:00"))
		out, err := cmd.CombinedOutput()
		var ee *exec.ExitError
		died := errors.As(err, &ee) && ee.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if err != nil && !died {
			t.Fatalf("step %d: %v\n%s", n, err, out)
		}
		name := fmt.Sprintf("killed at step %d", n)
		w.must(0, "apply")
		if diff := cmp.Diff(want, store(t, w)); diff != "" {
			t.Errorf("%s: the store differs from an undisturbed run's (-want +got):\n%s", name, diff)
		}
		if rep := decode[schemas.RunReport](t, w.must(0, "drift", "--exit-code", "--format", "json")); len(rep.Applications[0].Plan.Operations) != 0 {
			t.Errorf("%s: drift %v", name, rep.Applications[0].Plan.Operations)
		}
		w.must(0, "audit", "verify")
		for _, r := range decode[schemas.StatusReport](t, w.must(0, "status", "--format", "json")).Requests {
			if r.Verification != "verified" && r.Verification != "none" {
				t.Errorf("%s: request %s is %s, want verified", name, r.Document.Path, r.Verification)
			}
		}
		if !died {
			break
		}
		killed++
	}
	// Run, intent, three operations, outcomes, verified.
	if killed < 7 {
		t.Errorf("killed %d times, want a death at each of at least 7 steps", killed)
	}
}
