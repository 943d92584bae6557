package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/postgres"
	"github.com/countersign/countersign/schemas"
)

// requestsPerApplication is how many requests each of the three applications gets.
const requestsPerApplication = 100

// warehouse is one of three applications, each a database and a family of roles in a cluster.
type warehouse struct {
	name   string
	server *servers.Postgres
}

func (w warehouse) role(i int) string { return fmt.Sprintf("%s_r%02d", w.name, i) }
func (w warehouse) user(i int) string { return fmt.Sprintf("%s_u%02d", w.name, i) }

// prepare makes what requests name: tables, and as many users.
func (w warehouse) prepare(t *testing.T, users int) {
	t.Helper()
	var sql strings.Builder
	fmt.Fprintf(&sql, "CREATE ROLE %[1]s_owner; CREATE SCHEMA sales AUTHORIZATION %[1]s_owner; SET ROLE %[1]s_owner;\n", w.name)
	for i := range 10 {
		fmt.Fprintf(&sql, "CREATE TABLE sales.t%d (id int);\n", i)
	}
	fmt.Fprintf(&sql, "RESET ROLE;\n")
	for i := range users {
		fmt.Fprintf(&sql, "CREATE ROLE %s LOGIN;\n", w.user(i))
	}
	w.server.Exec(t, "postgres", "CREATE DATABASE "+w.name)
	w.server.Exec(t, w.name, sql.String())
	// The credentials are those of the connector's scripts: one can read the catalogue and nothing else, the other
	// is not a superuser.
	d := postgres.New().Describe()
	for kind, script := range map[string]string{"_plan": d.PlanScript, "_apply": d.ApplyScript} {
		w.server.Exec(t, w.name, strings.ReplaceAll(script, "countersign"+kind, w.name+kind))
	}
	w.server.Exec(t, w.name, "GRANT "+w.name+"_owner TO "+w.name+"_apply")
}

func (w warehouse) application() string {
	return fmt.Sprintf(`apiVersion: countersign.dev/v1
kind: Application
metadata: {name: %[1]s}
spec:
  connector: postgres
  config: {dsn: {env: TEST_%[2]s_PLAN}, apply_dsn: {env: TEST_%[2]s_APPLY}}
  owners: [user:bob@acme.test]
  scope: {role: ["%[1]s_r*"]}
  grantable: {user: ["%[1]s_u*"], role: ["%[1]s_r*"], schema: [sales], table: ["sales.*"]}
  unmanaged: revoke
`, w.name, strings.ToUpper(w.name))
}

func (w warehouse) request(i int) string {
	grants := fmt.Sprintf("    - {type: schema, source_name: sales, privileges: [USAGE]}\n    - {type: table, source_name: sales.t%d, privileges: [SELECT, INSERT]}\n    - {type: user, source_name: %s}\n", i%10, w.user(i))
	if i%5 != 0 {
		grants += fmt.Sprintf("    - {type: role, source_name: %s}\n", w.role(i/5*5))
	}
	return fmt.Sprintf(`apiVersion: countersign.dev/v1
kind: ConnectionCreation
metadata: {name: %[1]s, reason: The quarterly dashboards read the sales schema}
spec:
  application: %[2]s
  connection: {type: role, source_name: %[3]s}
  payload: {comment: Readers number %[4]d}
---
apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata: {name: %[1]s-access, reason: The quarterly dashboards read the sales schema}
spec:
  application: %[2]s
  connection: {type: role, source_name: %[3]s}
  grants:
%[5]s`, strings.ReplaceAll(w.role(i), "_", "-"), w.name, w.role(i), i, grants)
}

// TestThreeHundredRequests takes 300 requests over three PostgreSQL applications from pull requests of all
// three merge styles to verified access, and compares the catalogue with access; then it makes ten
// changes by hand, each of which drift finds and corrects.
func TestThreeHundredRequests(t *testing.T) {
	server := servers.PostgreSQL(t)
	apps := []warehouse{{"north", server}, {"south", server}, {"west", server}}
	people := peopleFile
	files := map[string]string{"countersign.yaml": settingsFile}
	for _, a := range apps {
		a.prepare(t, requestsPerApplication)
		files["applications/"+a.name+".yaml"] = a.application()
		t.Setenv("TEST_"+strings.ToUpper(a.name)+"_PLAN", server.DSN(a.name+"_plan", a.name))
		t.Setenv("TEST_"+strings.ToUpper(a.name)+"_APPLY", server.DSN(a.name+"_apply", a.name))
		for i := range requestsPerApplication {
			people += fmt.Sprintf("    - {login: %[1]s, identities: {%[2]s: [%[1]s]}}\n", a.user(i), a.name)
		}
	}
	files["people.yaml"] = people
	w := newWorld(t, files)
	styles := []string{"merge", "squash", "rebase"}
	n := 0
	for i := 0; i < requestsPerApplication; i += 10 {
		for _, a := range apps {
			proposal := map[string]string{}
			for j := i; j < i+10; j++ {
				proposal[fmt.Sprintf("requests/%s/%03d.yaml", a.name, j)] = a.request(j)
			}
			w.now = w.now.Add(time.Minute)
			branch := fmt.Sprintf("%s-%d", a.name, i)
			w.propose(alice(), branch, proposal)
			w.merge(bob(), styles[n%3], branch, bob())
			n++
		}
	}
	if got := len(strings.Fields(w.git(alice(), "ls-tree", "-r", "--name-only", "main", "requests"))); got != 300 {
		t.Fatalf("%d requests, want 300", got)
	}

	// Preview and drift write nothing: the server's own log of statements is the witness.
	start := logSize(t, server)
	w.git(alice(), "checkout", "-q", "-B", "more", "main")
	w.amend(alice(), map[string]string{"requests/north/more.yaml": strings.ReplaceAll(apps[0].request(1), "r01", "r77x")})
	w.must(4, "preview")
	w.must(2, "drift", "--exit-code")
	for _, s := range statements(t, server, start) {
		if word := strings.ToUpper(strings.Fields(s)[0]); !slices.Contains([]string{"SELECT", "BEGIN", "COMMIT", "ROLLBACK", "SET", "SHOW", "DEALLOCATE"}, strings.Trim(word, ";")) {
			t.Errorf("preview or drift sent %q", s)
		}
	}

	w.must(0, "apply")
	w.git(alice(), "checkout", "-q", "main")
	w.must(0, "preview", "--exit-code")
	if r := w.must(0, "drift", "--exit-code"); !strings.Contains(r.out, "No drift") {
		t.Errorf("drift after apply:\n%s", r.out)
	}
	for _, a := range apps {
		agree(t, w, a)
	}
	for _, q := range decode[schemas.StatusReport](t, w.must(0, "status", "--format", "json")).Requests {
		if q.Verification != "verified" {
			t.Errorf("request %s #%d is %s, want verified", q.Document.Path, q.Document.Index, q.Verification)
		}
	}
	w.must(0, "audit", "verify")
	handmade(t, w, apps[0])
}

// agree compares access with the server's own functions.
func agree(t *testing.T, w *world, a warehouse) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, a.server.DSN("admin", a.name))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT r.rolname || ' ' || p || ' ' || c.relname FROM pg_roles r, pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) p
WHERE r.rolname LIKE $1 AND c.relnamespace = 'sales'::regnamespace AND c.relkind = 'r' AND has_table_privilege(r.oid, c.oid, p)`, a.name+`\_u%`)
	if err != nil {
		t.Fatal(err)
	}
	want, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range decode[schemas.AccessReport](t, w.must(0, "access", "--application", a.name, "--format", "json")).Entries {
		if !strings.HasPrefix(e.Identity.SourceName, a.name+"_u") {
			continue // superusers, the owner, PUBLIC and countersign's own logins, of whom no request speaks
		}
		if e.Target.Type == "table" {
			got = append(got, e.Identity.SourceName+" "+e.Privilege+" "+strings.TrimPrefix(e.Target.SourceName, "sales."))
		}
		for _, s := range e.Steps {
			if s.Origin != "request" || s.Commit == "" || len(s.Approvers) != 1 {
				t.Fatalf("%v comes from %s, commit %q, approvers %v", s.Key, s.Origin, s.Commit, s.Approvers)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: catalogue and access differ (-catalogue +access):\n%s", a.name, diff)
	}
	if len(want) == 0 {
		t.Errorf("%s: nobody can do anything", a.name)
	}
}

// handmade changes the application by hand in ten ways.
func handmade(t *testing.T, w *world, a warehouse) {
	t.Helper()
	changes := map[string]string{
		"a role dropped":               "DROP OWNED BY north_r07; DROP ROLE north_r07",
		"a membership added":           "GRANT north_r08 TO north_u50",
		"a membership removed":         "REVOKE north_r09 FROM north_u09",
		"a privilege removed":          "REVOKE SELECT ON sales.t1 FROM north_r11",
		"a privilege added":            "GRANT DELETE ON sales.t2 TO north_r12",
		"an attribute changed":         "ALTER ROLE north_r13 CREATEDB",
		"a nested role removed":        "REVOKE north_r10 FROM north_r14",
		"the admin option given":       "GRANT north_r16 TO north_u16 WITH ADMIN OPTION",
		"a comment changed":            "COMMENT ON ROLE north_r17 IS 'mine now'",
		"defaults for tables to come":  "ALTER DEFAULT PRIVILEGES FOR ROLE north_owner IN SCHEMA sales GRANT SELECT ON TABLES TO north_r18",
		"a column opened":              "GRANT UPDATE (id) ON sales.t3 TO north_r19",
		"the right to grant on, given": "GRANT SELECT ON sales.t1 TO north_r21 WITH GRANT OPTION",
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		w.now = w.now.Add(25 * time.Hour) // each on a day of its own: the daily budget is not what this is about
		a.server.Exec(t, a.name, changes[name])
		r := w.run("drift", "--exit-code", "--application", a.name)
		if r.code != 2 {
			t.Errorf("%s: drift ends with %d, want 2\n%s%s", name, r.code, r.out, r.errors)
			continue
		}
		if r := w.run("drift", "--enforce", "--application", a.name); r.code != 0 {
			t.Errorf("%s: drift --enforce ends with %d, want 0\n%s%s", name, r.code, r.out, r.errors)
		}
		if r := w.run("drift", "--exit-code", "--application", a.name); r.code != 0 {
			t.Errorf("%s: drift afterwards ends with %d, want 0\n%s%s", name, r.code, r.out, r.errors)
		}
	}
	agree(t, w, a)
}

func logSize(t *testing.T, s *servers.Postgres) int64 {
	t.Helper()
	info, err := os.Stat(s.Log)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// statements are those that the server logged since.
func statements(t *testing.T, s *servers.Postgres, since int64) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Clean(s.Log))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range strings.Split(string(b[since:]), "\n") {
		for _, mark := range []string{"LOG:  statement: ", "LOG:  execute "} {
			if _, s, ok := strings.Cut(l, mark); ok {
				if mark == "LOG:  execute " {
					_, s, _ = strings.Cut(s, ": ")
				}
				out = append(out, strings.TrimSpace(s))
			}
		}
	}
	if len(out) < 5 {
		t.Fatalf("the log has only %d statements, which proves nothing", len(out))
	}
	return out
}
