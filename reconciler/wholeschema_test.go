package reconciler_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/postgres"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/schemas"
)

// newWarehouse is a crm that countersign changes itself: a database with two tables in the schema sales.
func newWarehouse(t *testing.T, server *servers.Postgres, name string) *crm {
	t.Helper()
	w := &crm{Repo: historytest.New(t), t: t, server: server, name: name, dir: t.TempDir(), state: t.TempDir()}
	w.service = newService(t, func() time.Time { return w.Now })
	server.Exec(t, "postgres", "CREATE DATABASE "+name)
	d := postgres.New().Describe()
	w.sql(strings.ReplaceAll(d.PlanScript, "countersign_plan", name+"_plan"), strings.ReplaceAll(d.ApplyScript, "countersign_apply", name+"_apply"))
	w.sql(fmt.Sprintf("CREATE ROLE %[1]s_owner; GRANT %[1]s_owner TO %[1]s_apply; CREATE ROLE %[1]s_intern; CREATE SCHEMA sales AUTHORIZATION %[1]s_owner; GRANT ALL ON SCHEMA sales TO %[1]s_intern", name),
		"SET ROLE "+name+"_owner; CREATE TABLE sales.orders (id int); CREATE TABLE sales.payroll (id int)")
	w.secretFile("dsn", server.DSN(name+"_plan", name))
	w.secretFile("apply", server.DSN(name+"_apply", name))
	w.Write("countersign.yaml", settings(""))
	w.Write("people.yaml", w.people())
	w.Write("applications/crm.yaml", fmt.Sprintf(`apiVersion: countersign.dev/v1
kind: Application
metadata: {name: crm}
spec:
  connector: postgres
  config: {dsn: {file: %[1]s/dsn}, apply_dsn: {file: %[1]s/apply}}
  owners: [user:bob@acme.test, user:frank@acme.test]
  scope: {role: ["%[2]s_r*"]}
  grantable: {schema_tables: [sales], table: ["sales.*"]}
  unmanaged: revoke
  drift: {mode: enforce}
`, w.dir, name))
	w.Commit(historytest.CommitOptions{Author: historytest.Carol()})
	w.mustRun()
	return w
}

// may reports whether the reader may read a table, by the server's own word.
func (w *crm) may(table string) bool {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.server.DSN("admin", w.name))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(w.t.Context())
	var may bool
	if err := conn.QueryRow(w.t.Context(), "SELECT has_table_privilege($1, $2, 'SELECT')", w.role("eader"), table).Scan(&may); err != nil {
		w.t.Fatal(err)
	}
	return may
}

// pass runs, and checks how many operations are left and what may be read.
func (w *crm) pass(when string, o reconciler.RunOptions, left int, may map[string]bool) schemas.ApplicationOutcome {
	w.t.Helper()
	out := w.runWith(o)
	if out.Error != "" || out.Remaining != left {
		w.t.Errorf("%s: %d operations are left, want %d (%s)", when, out.Remaining, left, out.Error)
	}
	for table, want := range may {
		if got := w.may(table); got != want {
			w.t.Errorf("%s: may read %s: %v, want %v", when, table, got, want)
		}
	}
	return out
}

// TestWholeSchema grants all tables of a schema and single ones in one application.
func TestWholeSchema(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	const whole, table = "{type: schema_tables, source_name: sales, privileges: [SELECT]}", "{type: table, source_name: sales.orders, privileges: [SELECT]}"
	both := map[string]bool{"sales.orders": true, "sales.payroll": true}

	t.Run("and one table", func(t *testing.T) {
		t.Parallel()
		w := newWarehouse(t, server, "beside")
		end := w.Now.Add(time.Hour).UTC().Format(time.RFC3339)
		w.land(files{"requests/one.yaml": w.creation("eader") + "---\n" + w.assign("eader", grants(table))})
		w.pass("one table", reconciler.RunOptions{}, 0, map[string]bool{"sales.orders": true, "sales.payroll": false})
		w.land(files{"requests/two.yaml": w.assign("eader", grants(strings.TrimSuffix(whole, "}")+", expires: \""+end+"\"}"))})
		w.pass("all tables", reconciler.RunOptions{}, 0, both)
		if out := w.pass("again", reconciler.RunOptions{}, 0, both); len(out.Plan.Operations) > 0 {
			t.Errorf("the next run has %d operations", len(out.Plan.Operations))
		}
		w.later(2 * time.Hour)
		w.pass("after the end", reconciler.RunOptions{}, 0, map[string]bool{"sales.orders": true, "sales.payroll": false})
	})

	t.Run("and a stranger's table", func(t *testing.T) {
		t.Parallel()
		w := newWarehouse(t, server, "stranger")
		w.land(files{"requests/one.yaml": w.creation("eader") + "---\n" + w.assign("eader", grants(whole))})
		w.pass("all tables", reconciler.RunOptions{}, 0, both)
		w.sql("SET ROLE stranger_intern; CREATE TABLE sales.scratch (id int)")
		for _, o := range []reconciler.RunOptions{{}, {Drift: true, Enforce: true}} {
			out := w.pass("with a stranger's table", o, 1, map[string]bool{"sales.orders": true, "sales.payroll": true, "sales.scratch": false})
			if len(out.Outcomes) != 1 || !strings.Contains(out.Outcomes[0].Error, "sales.scratch (owner stranger_intern)") {
				t.Errorf("outcomes %+v, want one that names sales.scratch", out.Outcomes)
			}
		}
	})

	t.Run("hides no revoke", func(t *testing.T) {
		t.Parallel()
		w := newWarehouse(t, server, "hidden")
		w.land(files{"requests/one.yaml": w.creation("eader") + "---\n" + w.assign("eader", grants(whole))})
		w.pass("all tables", reconciler.RunOptions{}, 0, both)
		w.land(files{"requests/off.yaml": w.assign("eader", revokes(table))})
		if _, err := w.open().RunOnce(t.Context(), reconciler.RunOptions{To: "main"}); err != nil {
			t.Fatal(err)
		}
		if !w.may("sales.orders") {
			t.Error("the revoke took something")
		}
		rep, err := w.open().Status(t.Context(), "main", "")
		if err != nil {
			t.Fatal(err)
		}
		// The preview calls it invalid, so it is not admitted: nobody is told that it took something.
		if len(rep.Quarantined) != 1 || !strings.Contains(strings.Join(rep.Quarantined[0].Reasons, " "), "which role/hidden_reader has through SELECT on schema_tables/sales") {
			t.Errorf("quarantined: %+v", rep.Quarantined)
		}
	})

	t.Run("ends though a stranger made a table", func(t *testing.T) {
		t.Parallel()
		w := newWarehouse(t, server, "ended")
		end := w.Now.Add(time.Hour).UTC().Format(time.RFC3339)
		w.land(files{"requests/one.yaml": w.creation("eader") + "---\n" + w.assign("eader", grants(strings.TrimSuffix(whole, "}")+", expires: \""+end+"\"}"))})
		w.pass("all tables", reconciler.RunOptions{}, 0, both)
		w.sql("SET ROLE ended_intern; CREATE TABLE sales.scratch (id int)")
		w.later(2 * time.Hour)
		w.pass("after the end", reconciler.RunOptions{}, 0, map[string]bool{"sales.orders": false, "sales.payroll": false})
		w.sql("SET ROLE ended_owner; CREATE TABLE sales.later (id int)")
		w.pass("with a table made later", reconciler.RunOptions{}, 0, map[string]bool{"sales.later": false})
	})
}
