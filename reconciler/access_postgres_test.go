package reconciler_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/schemas"
)

// mess fills a database: 40 roles, of which half log in, that are members of each other with and without INHERIT, own
// tables, and hold privileges on tables, columns and whole schemas; PUBLIC, superusers and the server's own roles.
func mess(r *rand.Rand, prefix string) (statements, tables []string) {
	do := func(format string, args ...any) { statements = append(statements, fmt.Sprintf(format, args...)) }
	one := func(list []string) string { return list[r.IntN(len(list))] }
	var roles []string
	for i := range 40 {
		name := fmt.Sprintf("%s_r%02d", prefix, i) // in scope
		if i%4 > 0 {
			name = fmt.Sprintf("%s_x%02d", prefix, i)
		}
		do("CREATE ROLE %s %s %s", name, one([]string{"LOGIN", "NOLOGIN"}), one([]string{"INHERIT", "INHERIT", "NOINHERIT"}))
		roles = append(roles, name)
	}
	do("ALTER ROLE %s LOGIN SUPERUSER", roles[39])
	for i := 1; i < len(roles); i++ { // a role belongs only to later ones: no loops
		for range r.IntN(3) {
			if group := roles[r.IntN(i)]; group != roles[39] {
				do("GRANT %s TO %s%s", group, roles[i], one([]string{"", "", " WITH ADMIN OPTION"}))
			}
		}
	}
	do("GRANT %s TO %s", roles[39], roles[38])
	do("GRANT pg_read_all_data TO %s", roles[7])
	do("GRANT pg_write_all_data TO %s", roles[9])
	privileges := []string{"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}
	for i := range 3 {
		schema := fmt.Sprintf("s%d", i)
		do("CREATE SCHEMA %s", schema)
		do("GRANT USAGE ON SCHEMA %s TO PUBLIC", schema)
		for j := range 5 {
			table := fmt.Sprintf("%s.t%d", schema, j)
			if j == 4 {
				table = schema + `."odd.Table"`
			}
			do("CREATE TABLE %s (id int, secret int)", table)
			if r.IntN(2) == 0 {
				do("ALTER TABLE %s OWNER TO %s", table, one(roles))
			}
			for range 4 {
				do("GRANT %s ON %s TO %s%s", one(privileges), table, one(roles), one([]string{"", " WITH GRANT OPTION"}))
			}
			do("GRANT %s (secret) ON %s TO %s", one([]string{"SELECT", "UPDATE"}), table, one(roles))
			if r.IntN(4) == 0 {
				do("GRANT %s ON %s TO PUBLIC", one(privileges), table)
			}
			tables = append(tables, table)
		}
		do("CREATE VIEW %[1]s.v AS SELECT * FROM %[1]s.t0", schema)
		do("GRANT SELECT ON %s.v TO %s", schema, one(roles))
		tables = append(tables, schema+".v")
	}
	do("ALTER TABLE s1.t1 OWNER TO pg_database_owner")
	// A whole schema, which counts as one where tables to come are covered too.
	do("CREATE SCHEMA whole AUTHORIZATION %s", roles[12])
	do("SET ROLE %s", roles[12])
	do("CREATE TABLE whole.a (id int)")
	do("CREATE TABLE whole.b (id int)")
	for _, to := range []string{roles[3], roles[4], "PUBLIC"} {
		do("GRANT SELECT ON ALL TABLES IN SCHEMA whole TO %s", to)
		do("ALTER DEFAULT PRIVILEGES IN SCHEMA whole GRANT SELECT ON TABLES TO %s", to)
	}
	do("ALTER DEFAULT PRIVILEGES IN SCHEMA whole GRANT INSERT ON TABLES TO %s", roles[5]) // in part
	do("RESET ROLE")
	return statements, append(tables, "whole.a", "whole.b")
}

// TestAccessIsTheServers compares who access says may use a table with has_table_privilege, for every login, table and
// privilege of a database in disorder. A table's privilege counts as it does there, with or without USAGE on the schema;
// ownership and superusers count as every privilege. What somebody may use only after SET ROLE is marked so.
func TestAccessIsTheServers(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { compareAccess(t, server, seed) })
	}
}

func compareAccess(t *testing.T, server *servers.Postgres, seed uint64) {
	t.Helper()
	w := newCRM(t, server, fmt.Sprintf("mess%d", seed), "")
	statements, tables := mess(rand.New(rand.NewPCG(seed, 2026)), w.name)
	w.sql(strings.Join(statements, ";\n"))
	truth := serverAccess(t, server.DSN("admin", w.name))
	got := map[string]map[string]bool{} // by user, table and privilege: whether only after SET ROLE
	logins := map[string]bool{}
	for k := range truth {
		user, _, _ := strings.Cut(k, " ")
		logins[user] = true
	}
	set := func(user, table, privilege string, after bool) {
		k := user + " " + table
		if got[k] == nil {
			got[k] = map[string]bool{}
		}
		if before, ok := got[k][privilege]; !ok || before {
			got[k][privilege] = after
		}
	}
	rec := w.open()
	all := []string{"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}
	for _, table := range tables {
		rep, err := rec.Access(t.Context(), reconciler.AccessOptions{To: "main", Application: "crm", Resource: table})
		if err != nil || len(rep.Incomplete) > 0 {
			t.Fatalf("access: %v %v", err, rep.Incomplete)
		}
		for _, e := range rep.Entries {
			if e.Target.Type == "column" {
				continue // a part of the table, as its target shows
			}
			users := []string{e.Identity.SourceName}
			if e.Everyone {
				users = nil
				for u := range logins {
					users = append(users, u)
				}
			}
			privileges := []string{e.Privilege}
			switch {
			case e.Privilege == schemas.PrivilegeOwner || e.Privilege == schemas.PrivilegeSuperuser:
				privileges = all
			case e.Privilege == "WRITE ALL DATA":
				privileges = []string{"INSERT", "UPDATE", "DELETE"}
			case e.Privilege == "READ ALL DATA":
				privileges = []string{"SELECT"}
			}
			for _, u := range users {
				for _, p := range privileges {
					if slices.Contains(all, p) {
						// Being a superuser is not inherited.
						set(u, table, p, e.Switch || e.Privilege == schemas.PrivilegeSuperuser && len(e.Steps) > 0)
					}
				}
			}
		}
	}
	want := map[string]map[string]bool{}
	for k, v := range truth {
		if len(v) > 0 {
			want[k] = v
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("true means only after SET ROLE (-server +access):\n%s", diff)
	}
	if len(want) < 200 {
		t.Errorf("only %d pairs of a login and a table have access: this compares little", len(want))
	}
}

// serverAccess asks the server what each login may use, by login and table; true means only after SET ROLE.
func serverAccess(t *testing.T, dsn string) map[string]map[string]bool {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows, err := conn.Query(t.Context(), `SELECT u.rolname, format('%I.%I', n.nspname, c.relname), p,
  has_table_privilege(u.oid, c.oid, p), EXISTS (SELECT FROM pg_roles r WHERE pg_has_role(u.oid, r.oid, 'MEMBER') AND has_table_privilege(r.oid, c.oid, p))
FROM pg_roles u, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
  unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
WHERE u.rolcanlogin AND c.relkind IN ('r', 'v') AND (n.nspname LIKE 's_' OR n.nspname = 'whole')`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]map[string]bool{}
	for rows.Next() {
		var user, table, privilege string
		var now, after bool
		if err := rows.Scan(&user, &table, &privilege, &now, &after); err != nil {
			t.Fatal(err)
		}
		k := user + " " + table
		if out[k] == nil {
			out[k] = map[string]bool{}
		}
		if after {
			out[k][privilege] = !now
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPrivilegedByLiveNesting adds a member to a role that is, by hand and through a role outside the scope, in one that
// runs programs on the server. One owner signed it off, without an end, as for an ordinary role.
func TestPrivilegedByLiveNesting(t *testing.T) {
	t.Parallel()
	w := newCRM(t, servers.PostgreSQL(t), "nesting", "")
	ops, ordinary := w.role("ops"), w.role("plain")
	w.sql("CREATE ROLE nesting_tools", "GRANT pg_execute_server_program TO nesting_tools", "CREATE ROLE "+ops, "GRANT nesting_tools TO "+ops, "CREATE ROLE "+ordinary)
	member := func(role string) string {
		return assignment("crm", role, grants("{type: user, source_name: nesting_alice}"))
	}
	w.propose(files{"requests/ops.yaml": member(ops)})
	p, err := w.open().Preview(t.Context(), reconciler.PreviewOptions{Base: "main", Head: "proposed"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(p.Decision.Denials, func(r schemas.RuleResult) bool { return strings.Contains(r.Msg, "pg_execute_server_program") }) {
		t.Errorf("the preview's denials %+v name no pg_execute_server_program", p.Decision.Denials)
	}
	w.land(files{"requests/ops.yaml": member(ops), "requests/plain.yaml": member(ordinary)})
	out := w.mustRun()
	for _, o := range out.Plan.Operations {
		if want := o.Connection.SourceName == ops; (o.Hold == schemas.HoldSignoff) != want || want && !strings.Contains(o.HoldReason, "MEMBER role/pg_execute_server_program, which is privileged") {
			t.Errorf("%s is held %q: %s", o.Connection, o.Hold, o.HoldReason)
		}
	}
	if len(out.Plan.Operations) != 2 {
		t.Errorf("operations: %+v", out.Plan.Operations)
	}
	wantCode(t, &schemas.RunReport{Applications: []schemas.ApplicationOutcome{out}}, 5)
}

// propose commits files on a branch of their own.
func (w *crm) propose(f files) {
	w.t.Helper()
	w.Checkout("main").Branch("proposed", "main")
	for path, content := range f {
		w.Write(path, content)
	}
	w.Commit(historytest.CommitOptions{})
	w.Checkout("main")
}
