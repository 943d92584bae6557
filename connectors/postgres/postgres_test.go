package postgres_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/postgres"
	"github.com/countersign/countersign/schemas"
)

// application is a database of its own in a shared cluster; a prefix keeps its roles apart.
type application struct {
	server   *servers.Postgres
	database string
	prefix   string
	owner    string // of the objects
	config   connectors.Config
}

// credentials are the roles that log in for planning and for applying.
type credentials struct{ plan, apply, owner string }

func newApplication(t connectortest.TB, server *servers.Postgres, n int64, as credentials) *application {
	t.Helper()
	a := &application{server: server, database: fmt.Sprintf("db%d", n), prefix: fmt.Sprintf("t%d_", n), owner: as.owner}
	server.Exec(t, "postgres", "CREATE DATABASE "+a.database+" OWNER "+as.owner)
	server.Exec(t, a.database, "CREATE SCHEMA sales AUTHORIZATION "+as.owner)
	dsn := func(role string) connectors.Secret {
		return connectors.NewSecret(server.DSN(role, a.database) + " password=" + connectortest.Canary)
	}
	a.config = connectors.Config{Application: "warehouse", Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Values: map[string]any{"dsn": dsn(as.plan), "apply_dsn": dsn(as.apply)}}
	return a
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

func (a *application) Config() connectors.Config { return a.config }
func (a *application) Name(word string) string   { return a.prefix + word }

func (a *application) exec(t connectortest.TB, sql string) {
	t.Helper()
	a.server.Exec(t, a.database, sql)
}

func (a *application) AddIdentity(t connectortest.TB, typ, word string) schemas.Name {
	t.Helper()
	// Outside of the suite's scope: accounts are nobody's connections.
	n := schemas.Name{Type: typ, SourceName: "out_" + typ + "_" + a.Name(word)}
	login := " LOGIN"
	if typ == "member" {
		login = " NOLOGIN"
	}
	var exists bool
	a.query(t, "SELECT count(*) > 0 FROM pg_roles WHERE rolname = $1", &exists, n.SourceName)
	if !exists {
		a.exec(t, "CREATE ROLE "+quote(n.SourceName)+login)
	}
	return n
}

func (a *application) RemoveIdentity(t connectortest.TB, n schemas.Name) {
	t.Helper()
	a.exec(t, "DROP ROLE "+quote(n.SourceName))
}

func (a *application) AddResource(t connectortest.TB, typ, word string) (schemas.Name, bool) {
	t.Helper()
	name, sql := "", ""
	switch typ {
	case "table":
		name = "sales." + a.format(t, typ+"_"+word)
		sql = "CREATE TABLE IF NOT EXISTS " + name + " (id int)"
	case "view":
		name = "sales." + a.format(t, typ+"_"+word)
		sql = "CREATE OR REPLACE VIEW " + name + " AS SELECT 1 AS one"
	case "sequence":
		name = "sales." + a.format(t, typ+"_"+word)
		sql = "CREATE SEQUENCE IF NOT EXISTS " + name
	case "function":
		name = "sales." + a.format(t, word) + "(integer)"
		sql = "CREATE OR REPLACE FUNCTION " + name + " RETURNS int LANGUAGE sql AS 'SELECT 1'"
	case "schema":
		name = a.format(t, typ+"_"+word)
		sql = "CREATE SCHEMA IF NOT EXISTS " + name
	case "schema_tables":
		name = a.format(t, word)
		sql = "CREATE SCHEMA IF NOT EXISTS " + name + "; CREATE TABLE IF NOT EXISTS " + name + ".one (id int)"
	case "database":
		name = a.format(t, a.Name(word))
		var exists bool
		a.query(t, "SELECT count(*) > 0 FROM pg_database WHERE format('%I', datname) = $1", &exists, name)
		if !exists {
			a.server.Exec(t, "postgres", "CREATE DATABASE "+name+" OWNER "+a.owner)
		}
	case "column":
		name = "sales.columns." + a.format(t, word)
		sql = "CREATE TABLE IF NOT EXISTS sales.columns (id int); ALTER TABLE sales.columns ADD COLUMN IF NOT EXISTS " + a.format(t, word) + " int"
	default:
		return schemas.Name{}, false
	}
	if sql != "" {
		a.exec(t, "SET ROLE "+a.owner+"; "+sql)
	}
	return schemas.Name{Type: typ, SourceName: name}, true
}

func (a *application) format(t connectortest.TB, word string) string {
	t.Helper()
	var s string
	a.query(t, "SELECT format('%I', $1::text)", &s, word)
	return s
}

func (a *application) query(t connectortest.TB, sql string, into any, args ...any) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, a.server.DSN("admin", a.database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, sql, args...).Scan(into); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (a *application) AddConnection(t connectortest.TB, n schemas.Name) {
	t.Helper()
	a.exec(t, "CREATE ROLE "+quote(n.SourceName))
}

func (a *application) DropConnection(t connectortest.TB, n schemas.Name) {
	t.Helper()
	a.exec(t, "DROP OWNED BY "+quote(n.SourceName)+"; DROP ROLE "+quote(n.SourceName))
}

func (a *application) Grant(t connectortest.TB, k schemas.Key) {
	t.Helper()
	a.hand(t, "GRANT", "TO", k)
}
func (a *application) Revoke(t connectortest.TB, k schemas.Key) {
	t.Helper()
	a.hand(t, "REVOKE", "FROM", k)
}

// text escapes SQL for a string.
func text(sql string) string { return strings.ReplaceAll(sql, "'", "''") }

func (a *application) hand(t connectortest.TB, verb, to string, k schemas.Key) {
	t.Helper()
	role, target := quote(k.Connection.SourceName), quote(k.Target.SourceName)
	member := func(group, who string) {
		switch {
		case k.Privilege == "ADMIN" && verb == "GRANT":
			a.exec(t, "GRANT "+group+" TO "+who+" WITH ADMIN OPTION")
		case verb == "GRANT":
			a.exec(t, "GRANT "+group+" TO "+who)
		default:
			what := ""
			if k.Privilege == "ADMIN" {
				what = "ADMIN OPTION FOR "
			}
			// From PostgreSQL 16 on, each grantor's is another.
			a.exec(t, fmt.Sprintf(`DO $do$ DECLARE g text; BEGIN FOR g IN SELECT x.rolname FROM pg_auth_members m JOIN pg_roles x ON x.oid = m.grantor
  WHERE m.roleid = '%s'::regrole AND m.member = '%s'::regrole LOOP EXECUTE format('REVOKE %s%%s FROM %%s GRANTED BY %%I', '%s', '%s', g); END LOOP; END $do$`,
				text(group), text(who), what, text(group), text(who)))
		}
	}
	switch k.Target.Type {
	case "role":
		member(target, role)
		return
	case "user", "member":
		member(role, target)
		return
	case "schema_tables":
		priv := strings.TrimSuffix(k.Privilege, " (IN PART)")
		if priv == k.Privilege || verb == "REVOKE" {
			a.exec(t, fmt.Sprintf("%s %s ON ALL TABLES IN SCHEMA %s %s %s", verb, priv, k.Target.SourceName, to, role))
		}
		a.exec(t, fmt.Sprintf("ALTER DEFAULT PRIVILEGES FOR ROLE %s IN SCHEMA %s %s %s ON TABLES %s %s", a.owner, k.Target.SourceName, verb, priv, to, role))
		return
	}
	priv, option := strings.CutSuffix(k.Privilege, " WITH GRANT OPTION")
	on := map[string]string{"table": "TABLE ", "view": "TABLE ", "sequence": "SEQUENCE ", "schema": "SCHEMA ", "database": "DATABASE ", "function": "FUNCTION "}[k.Target.Type] + k.Target.SourceName
	if k.Target.Type == "column" {
		i := strings.LastIndex(k.Target.SourceName, ".")
		priv, on = priv+" ("+k.Target.SourceName[i+1:]+")", "TABLE "+k.Target.SourceName[:i]
	}
	switch {
	case option && verb == "GRANT":
		a.exec(t, "GRANT "+priv+" ON "+on+" TO "+role+" WITH GRANT OPTION")
	case option:
		a.exec(t, "REVOKE GRANT OPTION FOR "+priv+" ON "+on+" FROM "+role)
	default:
		a.exec(t, verb+" "+priv+" ON "+on+" "+to+" "+role)
	}
}

// SetIdentityState knows users whose password has expired.
func (a *application) SetIdentityState(t connectortest.TB, n schemas.Name, state schemas.EntitlementState) bool {
	t.Helper()
	if state != schemas.StateExpired || n.Type != "user" {
		return false
	}
	a.exec(t, "ALTER ROLE "+quote(n.SourceName)+" VALID UNTIL '2001-01-01'")
	return true
}

// Own gives the role a table here and one in another database.
func (a *application) Own(t connectortest.TB, c schemas.Name) {
	t.Helper()
	a.exec(t, "CREATE TABLE sales.owned (id int); ALTER TABLE sales.owned OWNER TO "+quote(c.SourceName))
	other := a.database + "_other"
	a.server.Exec(t, "postgres", "CREATE DATABASE "+other)
	a.server.Exec(t, other, "CREATE TABLE public.owned (id int); ALTER TABLE public.owned OWNER TO "+quote(c.SourceName))
}

// Protected is a superuser.
func (a *application) Protected(t connectortest.TB) schemas.Name {
	t.Helper()
	n := schemas.Name{Type: "role", SourceName: a.Name("root")}
	a.exec(t, "CREATE ROLE "+quote(n.SourceName)+" SUPERUSER")
	return n
}

// TestConformance runs the suite that every connector passes against a real server.
func TestConformance(t *testing.T) {
	t.Parallel()
	conformance(t, servers.PostgreSQL(t), credentials{"admin", "admin", "admin"}, map[string]any{"login": false, "inherit": false,
		"createdb": true, "createrole": true, "replication": true, "bypassrls": true, "connection_limit": 7, "valid_until": "2031-01-31T12:00:00Z", "comment": ""})
}

// TestLeastPrivileges runs the suite with the credentials that the two scripts make, neither of them a superuser.
func TestLeastPrivileges(t *testing.T) {
	t.Parallel()
	leastPrivileges(t, servers.PostgreSQL(t))
}

// versions lists further servers for TestVersions: folders with the programs of PostgreSQL, separated by commas.
var versions = flag.String("postgresql", "", "also run the suite against the PostgreSQL `programs` in these folders (comma-separated)")

// TestVersions runs the suite against a server of a later version than the distribution's, and those of -postgresql.
func TestVersions(t *testing.T) {
	t.Parallel()
	folders := []string{servers.EmbeddedPostgreSQL(t)}
	if *versions != "" {
		folders = append(folders, strings.Split(*versions, ",")...)
	}
	for _, bin := range folders {
		t.Run(bin, func(t *testing.T) {
			t.Parallel()
			leastPrivileges(t, servers.PostgreSQLAt(t, bin))
		})
	}
}

func leastPrivileges(t *testing.T, server *servers.Postgres) {
	t.Helper()
	d := postgres.New().Describe()
	server.Exec(t, "postgres", d.PlanScript, d.ApplyScript, "CREATE ROLE objects_owner", "GRANT objects_owner TO countersign_apply")
	t.Cleanup(func() {
		// It joins roles to give away what they own, and leaves them again.
		a := &application{server: server, database: "postgres"}
		var left int
		// From PostgreSQL 16 on it stays a member of the roles that it created.
		a.query(t, `SELECT count(*) FROM pg_auth_members m WHERE member = 'countersign_apply'::regrole AND roleid <> 'objects_owner'::regrole
  AND NOT (current_setting('server_version_num')::int >= 160000 AND EXISTS (
    SELECT FROM pg_auth_members a WHERE a.roleid = m.roleid AND a.member = m.member AND a.admin_option))`, &left)
		if left != 0 {
			t.Errorf("the credential for applying is still a member of %d roles", left)
		}
	})
	var number int
	(&application{server: server, database: "postgres"}).query(t, "SELECT current_setting('server_version_num')::int", &number)
	conformance(t, server, credentials{"countersign_plan", "countersign_apply", "objects_owner"}, map[string]any{"login": false, "inherit": false,
		"createdb":   number < 160000, // later it takes a role that has it
		"createrole": true, "replication": false, "bypassrls": false, "connection_limit": 7, "valid_until": "2031-01-31T12:00:00Z", "comment": ""})
}

func conformance(t *testing.T, server *servers.Postgres, as credentials, changed map[string]any) {
	var n atomic.Int64
	connectortest.Run(t, connectortest.Harness{
		Connector: postgres.New(),
		Start:     func(t connectortest.TB) connectortest.Application { return newApplication(t, server, n.Add(1), as) },
		Payloads: map[string][2]map[string]any{"role": {
			{"login": false, "inherit": true, "createdb": false, "createrole": false, "replication": false, "bypassrls": false,
				"connection_limit": -1, "valid_until": "infinity", "comment": "Readers of 'sales' \\ \"all\""},
			changed,
		}},
		Faulty: []connectortest.Faulty{
			{Name: "nobody listens", Code: connectors.Unavailable, Config: func(_ connectortest.TB, c connectors.Config) connectors.Config {
				c.Values = map[string]any{"dsn": connectors.NewSecret("host=127.0.0.1 port=1 user=x dbname=x password=" + connectortest.Canary)}
				return c
			}},
			{Name: "no such role", Code: connectors.Denied, Config: func(_ connectortest.TB, c connectors.Config) connectors.Config {
				c.Values = map[string]any{"dsn": connectors.NewSecret(server.DSN("nobody", "postgres") + " password=" + connectortest.Canary)}
				return c
			}},
			{Name: "no connection string", Code: connectors.Invalid, Config: func(_ connectortest.TB, c connectors.Config) connectors.Config {
				c.Values = map[string]any{"dsn": connectors.NewSecret("postgres://x:" + connectortest.Canary + "@[bad")}
				return c
			}},
		},
	})
}
