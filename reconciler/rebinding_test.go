package reconciler_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/schemas"
)

// TestRestoredApplication drops and creates all roles of a PostgreSQL, as a restore into a new cluster does. What was granted
// waits until an owner's Acknowledgement names the ids before and now, which counts once.
func TestRestoredApplication(t *testing.T) {
	t.Parallel()
	w := newWarehouse(t, servers.PostgreSQL(t), "restored")
	w.sql("CREATE ROLE restored_alice LOGIN", "CREATE ROLE restored_erin LOGIN")
	app := w.Git("show", "main:applications/crm.yaml") + "\n"
	w.land(files{"applications/crm.yaml": strings.Replace(app, "grantable: {", `grantable: {user: ["restored_*"], `, 1)})
	table := "{type: table, source_name: sales.orders, privileges: [SELECT]}"
	w.land(files{"requests/one.yaml": w.creation("eader") + "---\n" + w.assign("eader", grants(table, w.member("alice", ""))),
		"requests/two.yaml": w.creation("obot") + "---\n" + w.assign("obot", grants(w.member("erin", "")))})
	w.pass("at first", reconciler.RunOptions{}, 0, map[string]bool{"sales.orders": true})

	restore := func() {
		w.sql("DROP OWNED BY restored_reader", "DROP ROLE restored_reader, restored_robot, restored_alice, restored_erin",
			"SET ROLE restored_apply", "CREATE ROLE restored_reader", "CREATE ROLE restored_robot", "RESET ROLE",
			"CREATE ROLE restored_alice LOGIN", "CREATE ROLE restored_erin LOGIN")
	}
	restore()
	// waiting runs, and returns the Acknowledgement that the report asks for.
	waiting := func(when string) string {
		t.Helper()
		out := w.pass(when, reconciler.RunOptions{Drift: true, Enforce: true}, 3, map[string]bool{"sales.orders": false})
		digest := ""
		for _, o := range out.Plan.Operations {
			if o.Hold != schemas.HoldIdentity {
				t.Errorf("%s: %s %s is held: %q", when, o.Kind, o.Key(), o.Hold)
			}
			found := regexp.MustCompile(`rebind: {application: crm, digest: ([0-9a-f]+)}`).FindStringSubmatch(o.HoldReason)
			if found == nil {
				t.Fatalf("%s: the reason names no way on: %q", when, o.HoldReason)
			}
			digest = found[1]
		}
		if code := reconciler.ExitCode(&schemas.RunReport{Applications: []schemas.ApplicationOutcome{out}}, false); code != 5 {
			t.Errorf("%s: exit code %d, want 5", when, code)
		}
		return document("Acknowledgement", "rebind: {application: crm, digest: "+digest+"}\n")
	}
	ack := waiting("restored")
	// It names what was seen: another change afterwards is not covered.
	w.sql("DROP ROLE restored_erin", "CREATE ROLE restored_erin LOGIN")
	w.land(files{"requests/early.yaml": ack})
	second := waiting("changed since")
	if second == ack {
		t.Error("the digest doesn't depend on the ids")
	}
	w.land(files{"requests/ack.yaml": second})
	w.pass("acknowledged", reconciler.RunOptions{}, 0, map[string]bool{"sales.orders": true})
	if out := w.pass("again", reconciler.RunOptions{}, 0, nil); len(out.Plan.Operations) > 0 || len(out.Plan.Findings) > 0 {
		t.Errorf("the next run has operations %+v, findings %+v", out.Plan.Operations, out.Plan.Findings)
	}
	// Removals go by the new ids.
	w.sql("ALTER ROLE restored_alice RENAME TO restored_other")
	w.land(files{"requests/off.yaml": w.assign("eader", revokes(w.member("alice", "")))})
	w.pass("revoked", reconciler.RunOptions{}, 0, nil)
	if got := w.membersOf("eader"); got != "" {
		t.Errorf("members after the revoke: %s", got)
	}
	w.sql("DROP OWNED BY restored_reader", "DROP ROLE restored_reader", "SET ROLE restored_apply", "CREATE ROLE restored_reader")
	out := w.pass("once more", reconciler.RunOptions{Drift: true, Enforce: true}, 1, map[string]bool{"sales.orders": false})
	if out.Plan.Operations[0].Hold != schemas.HoldIdentity {
		t.Errorf("after another restore: %+v", out.Plan.Operations)
	}
}

// membersOf lists a role's members other than countersign's own credentials.
func (w *crm) membersOf(role string) string {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.server.DSN("admin", w.name))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(w.t.Context())
	var list string
	if err := conn.QueryRow(w.t.Context(), fmt.Sprintf(`SELECT coalesce(string_agg(m.rolname, ' ' ORDER BY m.rolname), '') FROM pg_auth_members a
		JOIN pg_roles m ON m.oid = a.member WHERE a.roleid = '%s'::regrole AND m.rolname NOT LIKE '%%\_apply'`, w.role(role))).Scan(&list); err != nil {
		w.t.Fatal(err)
	}
	return list
}
