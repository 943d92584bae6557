package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/schemas"
)

// TestKilled kills apply at its n-th step, for each n until one run gets through, and holds what the next
// run leaves against an undisturbed run.
func TestKilled(t *testing.T) {
	t.Parallel()
	policy := func(w *world) func() string {
		return func() string {
			b, err := os.ReadFile(filepath.Join(w.dir, "authz", "policy.csv"))
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
	}
	prepared := sync.OnceValue(func() *world {
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
	})
	killed(t, func(t *testing.T) (*world, func() string) {
		w := prepared().copied(t)
		return w, policy(w)
	})
}

// TestKilledOnPostgreSQL does the same to a server, where the operations before a deletion are one transaction.
func TestKilledOnPostgreSQL(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	n := 0
	killed(t, func(t *testing.T) (*world, func() string) {
		n++
		a := warehouse{fmt.Sprintf("app%d", n), server}
		a.prepare(t, 6)
		application := "applications/" + a.name + ".yaml"
		files := map[string]string{"countersign.yaml": settingsFile, application: a.application(), "requests/0.yaml": a.request(0), "requests/1.yaml": a.request(5)}
		files["people.yaml"] = peopleFile
		for _, i := range []int{0, 1, 5} {
			files["people.yaml"] += fmt.Sprintf("    - {login: %[1]s, identities: {%[2]s: [%[1]s]}}\n", a.user(i), a.name)
		}
		for kind, role := range map[string]string{"PLAN": a.name + "_plan", "APPLY": a.name + "_apply"} {
			secret := filepath.Join(t.TempDir(), kind)
			if err := os.WriteFile(secret, []byte(server.DSN(role, a.name)), 0o600); err != nil {
				t.Fatal(err)
			}
			env := fmt.Sprintf("{env: TEST_%s_%s}", strings.ToUpper(a.name), kind)
			files[application] = strings.Replace(files[application], env, fmt.Sprintf("{file: %q}", secret), 1)
		}
		w := newWorld(t, files)
		w.must(0, "apply")
		w.propose(alice(), "x", map[string]string{
			"requests/2.yaml": a.request(1),
			"requests/3.yaml": fmt.Sprintf(`apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata: {name: less, reason: They no longer use it}
spec:
  application: %[1]s
  connection: {type: role, source_name: %[3]s}
  revokes: [{type: user, source_name: %[4]s}]
---
apiVersion: countersign.dev/v1
kind: ConnectionDeletion
metadata: {name: gone, reason: It was never used by anybody}
spec: {application: %[1]s, connection: {type: role, source_name: %[2]s}}
`, a.name, a.role(5), a.role(5), a.user(5)),
		})
		w.merge(bob(), "merge", "x", bob())
		return w, func() string { return a.catalogue(t) }
	})
}

// catalogue is what the server holds of the application, in text, without what differs from one to another.
func (w warehouse) catalogue(t *testing.T) string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, w.server.DSN("admin", w.name))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT concat_ws(' ', 'role', rolname, rolinherit, rolcanlogin, rolcreatedb, rolcreaterole, rolconnlimit, shobj_description(oid, 'pg_authid')) FROM pg_roles WHERE rolname LIKE $1
UNION ALL SELECT concat_ws(' ', 'member', roleid::regrole, member::regrole, admin_option) FROM pg_auth_members WHERE roleid::regrole::text LIKE $1
UNION ALL SELECT concat_ws(' ', relname, relacl) FROM pg_class WHERE relnamespace = 'sales'::regnamespace
UNION ALL SELECT concat_ws(' ', nspname, nspacl) FROM pg_namespace WHERE nspname = 'sales' ORDER BY 1`, w.name+`\_%`)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"), w.name, "app")
}

// killed runs the test; prepare makes a world in which apply has something to do, and a function that returns
// the state of its application.
func killed(t *testing.T, prepare func(*testing.T) (*world, func() string)) {
	calm, state := prepare(t)
	before := state()
	calm.must(0, "apply")
	want := state()
	if before == want {
		t.Fatal("apply has nothing to do")
	}
	deaths := 0
	for n := 1; ; n++ {
		w, state := prepare(t)
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
		if diff := cmp.Diff(want, state()); diff != "" {
			t.Errorf("%s: the application differs from what an undisturbed run leaves (-want +got):\n%s", name, diff)
		}
		if rep := decode[schemas.RunReport](t, w.must(0, "drift", "--exit-code", "--format", "json")); len(rep.Applications[0].Plan.Operations) != 0 {
			t.Errorf("%s: drift %v", name, rep.Applications[0].Plan.Operations)
		}
		w.must(0, "audit", "verify")
		for _, r := range decode[schemas.StatusReport](t, w.must(0, "status", "--format", "json")).Requests {
			if r.Verification != "verified" && r.Verification != "none" && r.Verification != schemas.VerificationSuperseded {
				t.Errorf("%s: request %s is %s, want verified", name, r.Document.Path, r.Verification)
			}
		}
		if !died {
			break
		}
		deaths++
	}
	// Run, intent, three operations, outcomes, verified.
	if deaths < 7 {
		t.Errorf("killed %d times, want a death at each of at least 7 steps", deaths)
	}
}
