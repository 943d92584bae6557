package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// step is one command of a story with what it did.
type step struct {
	args []string
	result
}

// tellStory plays requests from their approval to the application and to their undoing, with many looks at it in
// between, and returns every command. before is called before each of them.
func tellStory(t *testing.T, w *world, before func()) (steps []step) {
	t.Helper()
	run := func(args ...string) {
		t.Helper()
		before()
		steps = append(steps, step{args, w.run(args...)})
	}
	look := func() {
		t.Helper()
		for _, args := range [][]string{{"preview"}, {"apply", "--dry-run"}, {"drift"}, {"status"}, {"access"}, {"audit", "entitlements"}} {
			run(append(args, "--format", "json")...)
		}
	}
	land := func(branch string, approver who, files map[string]string) {
		w.now = w.now.Add(time.Hour)
		w.propose(alice(), branch, files)
		run("preview", "--format", "json")
		w.merge(bob(), "merge", branch, approver)
	}
	land("grants", bob(), map[string]string{
		"requests/2.yaml": creation("second", "sales_writer"),
		"requests/3.yaml": assignment("third", []string{
			"{type: user, source_name: dave, expires: 9999-12-31T23:59:59Z}", "{type: user, source_name: erin, starts: 9999-01-01T00:00:00Z}",
			"{type: object, source_name: sales.orders, privileges: [read, write]}", "{type: object, source_name: sales.payroll, privileges: [read], expires: 2026-11-24T00:00:00Z}",
		}, nil),
	})
	run("apply")
	if _, err := os.Stat(filepath.Join(w.dir, ".git", "countersign", "index.db")); err != nil {
		t.Fatalf("there is no index to harm: %v", err)
	}
	look()
	land("unapproved", who{}, map[string]string{"requests/4.yaml": assignment("fourth", []string{"{type: object, source_name: sales.payroll, privileges: [read]}"}, nil)})
	run("apply")
	look()
	land("undone", bob(), map[string]string{"requests/2.yaml": ""})
	w.now = w.now.Add(48 * time.Hour) // the grant of sales.payroll ends
	run("apply")
	look()
	land("revoked", bob(), map[string]string{"requests/5.yaml": assignment("fifth", nil, []string{"{type: object, source_name: sales.orders, privileges: [write]}"})})
	run("apply")
	look()
	w.must(0, "audit", "verify")
	return steps
}

// TestIndexMayGo tells one story several times: with the order index left alone, and with it deleted, emptied or damaged
// before every command. The output, and what the application holds in the end, is the same.
func TestIndexMayGo(t *testing.T) {
	t.Parallel()
	store := func(t *testing.T, w *world) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(w.dir, "authz", "policy.csv"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	calm := newAuthz(t)
	wanted := tellStory(t, calm, func() {})
	held := store(t, calm)
	for grant, want := range map[string]bool{"g, dave": true, "g, erin": false, "sales.orders, read": true, "sales.orders, write": false, "sales.payroll, read": false} {
		if has := strings.Contains(held, grant); has != want {
			t.Errorf("the application holds %q: %v, want %v\n%s", grant, has, want, held)
		}
	}
	for name, harm := range map[string]func(t *testing.T, index string){
		"deleted": func(*testing.T, string) {},
		"emptied": func(t *testing.T, index string) {
			if err := os.WriteFile(index, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"damaged": func(t *testing.T, index string) {
			if err := os.WriteFile(index, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			harmed := newAuthz(t)
			got := tellStory(t, harmed, func() {
				index := filepath.Join(harmed.dir, ".git", "countersign", "index.db")
				for _, end := range []string{"", "-wal", "-shm"} {
					if err := os.Remove(index + end); err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Fatal(err)
					}
				}
				harm(t, index)
			})
			if len(got) != len(wanted) {
				t.Fatalf("%d commands, want %d", len(got), len(wanted))
			}
			for i, want := range wanted {
				got := got[i]
				if first, rest, ok := strings.Cut(got.errors, "\n"); ok && name == "damaged" && strings.Contains(first, "the order index is damaged, rebuilding it") {
					got.errors = rest
				}
				if want.code != got.code || want.errors != got.errors {
					t.Errorf("%s: exit code %d, want %d\n%s", strings.Join(want.args, " "), got.code, want.code, cmp.Diff(want.errors, got.errors))
				}
				if diff := cmp.Diff(want.out, got.out); diff != "" {
					t.Errorf("%s (-left alone +harmed):\n%s", strings.Join(want.args, " "), diff)
				}
			}
			if diff := cmp.Diff(held, store(t, harmed)); diff != "" {
				t.Errorf("the application (-left alone +harmed):\n%s", diff)
			}
		})
	}
}
