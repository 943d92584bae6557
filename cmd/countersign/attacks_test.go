package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/schemas"
)

// newAuthz is a world with a Casbin application called authz, and an existing role sales_reader.
func newAuthz(t *testing.T) *world {
	t.Helper()
	return authz(t).copied(t)
}

// authz makes the world of newAuthz, once.
func authz(t *testing.T) *world {
	t.Helper()
	authzOnce.Do(func() {
		dir, err := ofProcess()
		if err != nil {
			t.Fatal(err)
		}
		made := prepareAuthz(t, filepath.Join(dir, "authz"))
		authzMade = made
	})
	if authzMade == nil {
		t.Fatal("the test that made the world failed")
	}
	return authzMade
}

var (
	authzOnce sync.Once
	authzMade *world // nil if it could not be made
)

func prepareAuthz(t *testing.T, dir string) *world {
	t.Helper()
	w := newWorldIn(t, dir, map[string]string{
		"countersign.yaml": settingsFile, "people.yaml": peopleFile, "applications/authz.yaml": authzFile, ".gitignore": "authz/\n",
		"requests/base.yaml": creation("base", "sales_reader"),
	})
	if err := os.MkdirAll(filepath.Join(w.dir, "authz"), 0o755); err != nil {
		t.Fatal(err)
	}
	err := casbin.Init(filepath.Join(w.dir, "authz", "policy.csv"), casbin.Contents{
		Users: []string{"alice", "bob", "dave", "erin", "mallory"}, Objects: []string{"sales.orders", "sales.payroll"},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.must(0, "apply")
	return w
}

func creation(name, role string) string {
	return `apiVersion: countersign.dev/v1
kind: ConnectionCreation
metadata: {name: ` + name + `, reason: The dashboards need a role of their own}
spec:
  application: authz
  connection: {type: role, source_name: ` + role + `}
`
}

// assignment grants and revokes on the role sales_reader; each line is one entry.
func assignment(name string, grants, revokes []string) string {
	s := `apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata: {name: ` + name + `, reason: The dashboards read the sales data}
spec:
  application: authz
  connection: {type: role, source_name: sales_reader}
`
	for _, l := range []struct {
		key     string
		entries []string
	}{{"grants", grants}, {"revokes", revokes}} {
		if len(l.entries) == 0 {
			continue
		}
		s += "  " + l.key + ":\n"
		for _, e := range l.entries {
			s += "    - " + e + "\n"
		}
	}
	return s
}

func grantDave() string {
	return assignment("dave", []string{"{type: user, source_name: dave}"}, nil)
}

// members are the users in sales_reader, by the store itself.
func (w *world) members() string {
	w.t.Helper()
	rep := decode[schemas.AccessReport](w.t, w.run("access", "--connection", "sales_reader", "--format", "json"))
	seen := map[string]bool{}
	var names []string
	for _, e := range rep.Entries {
		if !seen[e.Identity.SourceName] {
			seen[e.Identity.SourceName] = true
			names = append(names, e.Identity.SourceName)
		}
	}
	return strings.Join(names, " ")
}

// TestAttacks plays ways to get access without approval, each beside the honest way that works.
func TestAttacks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// play does the deed and returns with main as the attacker wants it.
		play   func(w *world)
		code   int    // of apply
		output string // in the output of apply
		then   string // who is in sales_reader afterwards
	}{
		{
			name: "honest: the owner approves",
			play: func(w *world) {
				w.propose(alice(), "x", map[string]string{"requests/dave.yaml": grantDave()})
				w.merge(bob(), "merge", "x", bob())
			},
			then: "dave",
		},
		{
			name: "no approval",
			play: func(w *world) {
				w.propose(alice(), "x", map[string]string{"requests/dave.yaml": grantDave()})
				w.merge(alice(), "merge", "x", who{})
			},
			code: 4, output: "quarantined",
		},
		{
			name: "the author approves",
			play: func(w *world) {
				w.propose(bob(), "x", map[string]string{"requests/dave.yaml": grantDave()})
				w.merge(bob(), "merge", "x", bob())
			},
			code: 4, output: "author",
		},
		{
			name: "the author approves with a second address",
			play: func(w *world) {
				// Frank owns the application too; here Alice gives herself his name and her other address.
				w.propose(alice(), "x", map[string]string{"requests/dave.yaml": grantDave()})
				w.merge(bob(), "merge", "x", who{"Frank", "alice@home.test"})
			},
			code: 4, output: "quarantined",
		},
		{
			name: "a committer of the branch approves",
			play: func(w *world) {
				w.propose(alice(), "x", map[string]string{"requests/dave.yaml": grantDave()})
				w.amend(bob(), map[string]string{"requests/more.yaml": assignment("more", []string{"{type: object, source_name: sales.orders, privileges: [read]}"}, nil)})
				w.merge(bob(), "merge", "x", bob())
			},
			code: 4, output: "quarantined",
		},
		{
			name: "a co-author approves",
			play: func(w *world) {
				w.propose(alice(), "x", map[string]string{"requests/dave.yaml": grantDave()})
				w.git(alice(), "commit", "-q", "--amend", "-m", "Change\n\nCo-authored-by: Bob <bob@acme.test>")
				w.merge(bob(), "merge", "x", bob())
			},
			code: 4, output: "quarantined",
		},
		{
			name: "the beneficiary approves",
			play: func(w *world) {
				w.propose(alice(), "x", map[string]string{"requests/bob.yaml": assignment("bob", []string{"{type: user, source_name: bob}"}, nil)})
				w.merge(bob(), "merge", "x", bob())
			},
			code: 4, output: "quarantined",
		},
		{
			name: "somebody approves who owns nothing",
			play: func(w *world) {
				w.propose(alice(), "x", map[string]string{"requests/dave.yaml": grantDave()})
				w.merge(bob(), "merge", "x", carol())
			},
			code: 4, output: "quarantined",
		},
		{
			name: "an author that nobody knows",
			play: func(w *world) {
				w.propose(who{"Ghost", "ghost"}, "x", map[string]string{"requests/dave.yaml": grantDave()})
				w.merge(bob(), "merge", "x", bob())
			},
			code: 4, output: "quarantined",
		},
		{
			name: "an identity that maps to nobody gains",
			play: func(w *world) {
				w.propose(alice(), "x", map[string]string{"requests/mallory.yaml": assignment("m", []string{"{type: user, source_name: mallory}"}, nil)})
				w.merge(bob(), "merge", "x", bob())
			},
			code: 4, output: "mallory",
		},
		{
			name: "a direct push",
			play: func(w *world) {
				w.git(mallory(), "checkout", "-q", "main")
				w.amend(mallory(), map[string]string{"requests/dave.yaml": grantDave()})
			},
			code: 4, output: "quarantined",
		},
		{
			name: "a direct push, then an honest merge of something else",
			play: func(w *world) {
				w.git(mallory(), "checkout", "-q", "main")
				w.amend(mallory(), map[string]string{"requests/dave.yaml": grantDave()})
				w.propose(alice(), "x", map[string]string{"requests/erin.yaml": assignment("erin", []string{"{type: user, source_name: erin}"}, nil)})
				w.merge(bob(), "merge", "x", bob())
			},
			code: 4, output: "quarantined", then: "erin",
		},
		{
			name: "the approval is in a branch commit, not in the merge",
			play: func(w *world) {
				w.propose(alice(), "x", map[string]string{"requests/dave.yaml": grantDave()})
				w.git(alice(), "commit", "-q", "--amend", "-m", "Change\n\nApproved-by: Bob <bob@acme.test>")
				w.merge(alice(), "merge", "x", who{})
			},
			code: 4, output: "quarantined",
		},
		{
			name: "policy weakened in the same change",
			play: func(w *world) {
				w.propose(alice(), "x", map[string]string{"requests/dave.yaml": grantDave(), "policy/data.yaml": "blast_radius: {warn: 1000, two: 1000}\n"})
				w.merge(bob(), "merge", "x", bob())
			},
			code: 3, output: "CS-103",
		},
		{
			name: "owners changed in the same change",
			play: func(w *world) {
				w.propose(alice(), "x", map[string]string{"requests/dave.yaml": grantDave(), "applications/authz.yaml": strings.ReplaceAll(authzFile, "user:bob@acme.test", "user:alice@acme.test")})
				w.merge(bob(), "merge", "x", bob())
			},
			code: 3, output: "CS-103",
		},
		{
			name: "owners changed in a change of its own, signed off by the application's owner alone",
			play: func(w *world) {
				w.propose(alice(), "x", map[string]string{"applications/authz.yaml": strings.ReplaceAll(authzFile, "user:frank@acme.test", "user:alice@acme.test")})
				w.merge(bob(), "merge", "x", bob())
			},
			code: 4, output: "quarantined",
		},
		{
			name: "a merged request edited",
			play: func(w *world) {
				w.propose(alice(), "x", map[string]string{"requests/base.yaml": creation("base", "sales_writer")})
				w.merge(bob(), "merge", "x", bob())
			},
			code: 3, output: "CS-140",
		},
		{
			name: "an evil merge: the integrator adds to what was approved",
			play: func(w *world) {
				w.propose(alice(), "x", map[string]string{"requests/erin.yaml": assignment("erin", []string{"{type: user, source_name: erin}"}, nil)})
				w.merge(mallory(), "merge", "x", who{})
				w.write("requests/dave.yaml", grantDave())
				w.git(mallory(), "add", "requests/dave.yaml")
				w.git(mallory(), "commit", "-q", "--amend", "-m", "Land x")
			},
			code: 4, output: "quarantined",
		},
		{
			name: "quarantined content is not laundered by an approved change beside it",
			play: func(w *world) {
				w.git(mallory(), "checkout", "-q", "main")
				w.amend(mallory(), map[string]string{"requests/dave.yaml": grantDave()})
				w.propose(alice(), "x", map[string]string{"requests/note.yaml": assignment("note", []string{"{type: object, source_name: sales.orders, privileges: [read]}"}, nil)})
				w.merge(bob(), "squash", "x", bob())
			},
			code: 4, output: "quarantined",
		},
		{
			name: "a symbolic link as a request",
			play: func(w *world) {
				w.propose(alice(), "x", staged(w, func() {
					w.write("elsewhere.txt", grantDave())
					if err := os.Symlink("../elsewhere.txt", filepath.Join(w.dir, "requests", "dave.yaml")); err != nil {
						w.t.Fatal(err)
					}
					w.git(alice(), "add", ".")
				}))
				w.merge(bob(), "merge", "x", bob())
			},
			code: 4, output: "symbolic link",
		},
		{
			name: "a symbolic link in the place of the folder of requests",
			play: func(w *world) {
				w.propose(alice(), "x", staged(w, func() {
					w.write("elsewhere/dave.yaml", grantDave())
					if err := os.RemoveAll(filepath.Join(w.dir, "requests")); err != nil {
						w.t.Fatal(err)
					}
					if err := os.Symlink("elsewhere", filepath.Join(w.dir, "requests")); err != nil {
						w.t.Fatal(err)
					}
					w.git(alice(), "add", "-A", ".")
				}))
				w.merge(bob(), "merge", "x", bob())
			},
			code: 4, output: "symbolic link in place of control files",
		},
		{
			name: "an executable file as a request",
			play: func(w *world) {
				w.propose(alice(), "x", staged(w, func() {
					w.write("requests/dave.yaml", grantDave())
					if err := os.Chmod(filepath.Join(w.dir, "requests/dave.yaml"), 0o755); err != nil {
						w.t.Fatal(err)
					}
					w.git(alice(), "add", "requests/dave.yaml")
				}))
				w.merge(bob(), "merge", "x", bob())
			},
			code: 4, output: "executable",
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newAuthz(t)
			w.now = w.now.Add(time.Hour)
			tc.play(w)
			r := w.run("apply")
			if r.code != tc.code {
				t.Fatalf("apply: exit code %d, want %d\n%s%s", r.code, tc.code, r.out, r.errors)
			}
			if !strings.Contains(r.out, tc.output) {
				t.Errorf("apply doesn't print %q:\n%s", tc.output, r.out)
			}
			if got := w.members(); got != tc.then {
				t.Errorf("in sales_reader: %q, want %q\n%s", got, tc.then, r.out)
			}
			// Running again keeps the verdict and repeats nothing.
			if again := decode[schemas.RunReport](t, w.must(0, "apply", "--format", "json")); len(again.Applications[0].Outcomes) != 0 {
				t.Errorf("a second apply did %v", again.Applications[0].Outcomes)
			}
			w.must(0, "audit", "verify")
		})
	}
}

// staged runs a step between the checkout and the commit of a proposal.
func staged(w *world, step func()) map[string]string {
	w.t.Helper()
	w.git(alice(), "checkout", "-q", "-B", "x", "main")
	step()
	return nil
}
