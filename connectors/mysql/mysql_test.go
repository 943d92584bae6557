package mysql_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/mysql"
	"github.com/countersign/countersign/schemas"
)

// application is a part of a shared server: a prefix keeps its roles and databases apart.
type application struct {
	server *servers.MariaDBServer
	prefix string
	config connectors.Config
	as     credentials
	// One thing is made at a time, so that what is there already is seen.
	mu   sync.Mutex
	made map[schemas.Name]bool
}

// credentials are the users that plan and apply.
type credentials struct {
	plan, apply, password string
	view                  string
	// grants is whether apply must hold what it grants.
	grants bool
}

func newApplication(t connectortest.TB, server *servers.MariaDBServer, n int64, as credentials) *application {
	t.Helper()
	a := &application{server: server, prefix: fmt.Sprintf("t%d_", n), as: as, made: map[schemas.Name]bool{}}
	values := map[string]any{
		"dsn":       connectors.NewSecret(server.DSN(as.plan, as.password)),
		"apply_dsn": connectors.NewSecret(server.DSN(as.apply, as.password)),
	}
	if as.view != "" {
		values["accounts_view"] = as.view
	}
	a.config = connectors.Config{Application: "warehouse", Now: time.Now, Logger: slog.New(slog.DiscardHandler), Values: values}
	a.database(t, a.prefix+"sales")
	return a
}

// name quotes an identifier for the outside hand.
func name(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }

// on is a database's name where it would be a pattern.
func on(s string) string {
	return name(strings.NewReplacer(`\`, `\\`, `_`, `\_`, `%`, `\%`).Replace(s))
}

// user is a user's name in a statement.
func user(s string) string {
	i := strings.LastIndexByte(s, '@')
	return name(s[:i]) + "@" + name(s[i+1:])
}

// path is a name of so many parts as it is written in Git.
func path(parts ...string) string {
	for i, p := range parts {
		if strings.ContainsAny(p, ".`") {
			parts[i] = name(p)
		}
	}
	return strings.Join(parts, ".")
}

func (a *application) exec(t connectortest.TB, statements ...string) {
	t.Helper()
	a.server.Exec(t, statements...)
}

// oracle runs statements that the server knows in its Oracle mode only.
func (a *application) oracle(t connectortest.TB, statements ...string) {
	t.Helper()
	db, err := sql.Open("mysql", a.server.DSN("root", "")+"?sql_mode=%27ORACLE%27")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func (a *application) database(t connectortest.TB, db string) {
	t.Helper()
	a.exec(t, "CREATE DATABASE IF NOT EXISTS "+name(db))
	if a.as.grants {
		a.exec(t, "GRANT ALL PRIVILEGES ON "+on(db)+".* TO "+user(a.as.apply+"@%")+" WITH GRANT OPTION")
	}
}

func (a *application) Config() connectors.Config { return a.config }
func (a *application) Name(word string) string   { return a.prefix + word }

func (a *application) AddIdentity(t connectortest.TB, typ, word string) schemas.Name {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	// Outside of the suite's scope: accounts are nobody's connections.
	n := schemas.Name{Type: typ, SourceName: "out_" + typ + "_" + a.Name(word)}
	sql := "CREATE ROLE IF NOT EXISTS " + name(n.SourceName)
	if typ == "user" {
		n.SourceName += "@10.0.0.%"
		sql = "CREATE USER IF NOT EXISTS " + user(n.SourceName)
	}
	if !a.made[n] {
		a.exec(t, sql)
	}
	a.made[n] = true
	return n
}

func (a *application) RemoveIdentity(t connectortest.TB, n schemas.Name) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.made, n)
	if n.Type == "user" {
		a.exec(t, "DROP USER "+user(n.SourceName))
		return
	}
	a.exec(t, "DROP ROLE "+name(n.SourceName))
}

func (a *application) AddResource(t connectortest.TB, typ, word string) (schemas.Name, bool) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	sales := a.Name("sales")
	// The names of columns and routines differ by more than case, so each has a table or database of its own.
	own := sales
	if strings.ContainsAny(word, "UM") {
		own = a.Name("own_" + word)
	}
	var n schemas.Name
	var statements []string
	switch typ {
	case "global":
		if a.as.grants || strings.HasPrefix(word, "listed_") {
			return n, false // there is one only
		}
		return schemas.Name{Type: typ, SourceName: "*.*"}, true
	case "database":
		n.SourceName = a.Name(word)
	case "database_pattern":
		// It is there as long as somebody has it.
		n.SourceName = a.Name(word)
		statements = []string{"CREATE ROLE IF NOT EXISTS " + name("patterns_"+a.prefix), "GRANT SELECT ON " + name(n.SourceName) + ".* TO " + name("patterns_"+a.prefix)}
		if a.as.grants {
			// Only who may give a privilege on the very pattern may take it.
			statements = append(statements, "GRANT ALL PRIVILEGES ON "+name(n.SourceName)+".* TO "+user(a.as.apply+"@%")+" WITH GRANT OPTION")
		}
	case "table":
		n.SourceName = path(sales, word)
		statements = []string{"CREATE TABLE " + name(sales) + "." + name(word) + " (id int)"}
	case "column":
		n.SourceName = path(sales, "of_"+word, word)
		statements = []string{"CREATE TABLE " + name(sales) + "." + name("of_"+word) + " (" + name(word) + " int)"}
	case "function":
		n.SourceName = path(own, word)
		statements = []string{"CREATE FUNCTION " + name(own) + "." + name(word) + "() RETURNS int RETURN 1"}
	case "procedure":
		n.SourceName = path(own, word)
		statements = []string{"CREATE PROCEDURE " + name(own) + "." + name(word) + "() SELECT 1"}
	case "package", "package_body":
		n.SourceName = path(own, word)
	default:
		return n, false
	}
	n.Type = typ
	if a.made[n] {
		return n, true
	}
	if typ == "database" {
		a.database(t, n.SourceName)
	} else if own != sales {
		a.database(t, own)
	}
	a.made[n] = true
	if spec := (schemas.Name{Type: "package", SourceName: n.SourceName}); typ == "package" || typ == "package_body" {
		if typ == "package" || !a.made[spec] {
			a.oracle(t, "CREATE PACKAGE IF NOT EXISTS "+name(own)+"."+name(word)+" AS PROCEDURE p(); END",
				"CREATE PACKAGE BODY IF NOT EXISTS "+name(own)+"."+name(word)+" AS PROCEDURE p() AS BEGIN SELECT 1; END; END")
		}
		return n, true
	}
	a.exec(t, statements...)
	return n, true
}

func (a *application) AddConnection(t connectortest.TB, n schemas.Name) {
	t.Helper()
	a.exec(t, "CREATE ROLE "+name(n.SourceName))
	if a.as.grants {
		a.exec(t, "GRANT "+name(n.SourceName)+" TO "+user(a.as.apply+"@%")+" WITH ADMIN OPTION")
	}
	// The creator of a role is its member, and the suite doesn't know the administrator.
	a.exec(t, "REVOKE "+name(n.SourceName)+" FROM CURRENT_USER")
}

func (a *application) DropConnection(t connectortest.TB, n schemas.Name) {
	t.Helper()
	a.exec(t, "DROP ROLE "+name(n.SourceName))
}

func (a *application) Grant(t connectortest.TB, k schemas.Key) {
	t.Helper()
	a.hand(t, "GRANT", " TO ", k)
}
func (a *application) Revoke(t connectortest.TB, k schemas.Key) {
	t.Helper()
	a.hand(t, "REVOKE", " FROM ", k)
}

func (a *application) hand(t connectortest.TB, verb, to string, k schemas.Key) {
	t.Helper()
	role := name(k.Connection.SourceName)
	member := func(role, who string) {
		// To grant a role, even an administrator must be in it.
		admin := []string{}
		if a.admin(t, role) {
			admin = append(admin, "REVOKE "+role+" FROM CURRENT_USER")
		}
		switch {
		case k.Privilege == "ADMIN" && verb == "GRANT":
			a.exec(t, append([]string{"GRANT " + role + " TO " + who + " WITH ADMIN OPTION"}, admin...)...)
		case k.Privilege == "ADMIN":
			a.exec(t, append([]string{"REVOKE ADMIN OPTION FOR " + role + " FROM " + who}, admin...)...)
		default:
			a.exec(t, append([]string{verb + " " + role + to + who}, admin...)...)
		}
	}
	parts := strings.Split(k.Target.SourceName, ".")
	switch k.Target.Type {
	case "role":
		member(name(k.Target.SourceName), role)
		return
	case "member":
		member(role, name(k.Target.SourceName))
		return
	case "user":
		member(role, user(k.Target.SourceName))
		return
	case "global":
		a.exec(t, verb+" "+k.Privilege+" ON *.*"+to+role)
	case "database":
		a.exec(t, verb+" "+k.Privilege+" ON "+on(k.Target.SourceName)+".*"+to+role)
	case "database_pattern":
		a.exec(t, verb+" "+k.Privilege+" ON "+name(k.Target.SourceName)+".*"+to+role)
	case "table":
		a.exec(t, verb+" "+k.Privilege+" ON "+name(parts[0])+"."+name(parts[1])+to+role)
	case "column":
		a.exec(t, verb+" "+k.Privilege+" ("+name(parts[2])+") ON "+name(parts[0])+"."+name(parts[1])+to+role)
	default:
		kind := strings.ToUpper(strings.ReplaceAll(k.Target.Type, "_", " "))
		a.oracle(t, verb+" "+k.Privilege+" ON "+kind+" "+name(parts[0])+"."+name(parts[1])+to+role)
	}
}

// admin makes root an administrator of a role, by the tables themselves, and reports whether it was not one.
func (a *application) admin(t connectortest.TB, role string) bool {
	t.Helper()
	plain := strings.ReplaceAll(role[1:len(role)-1], "``", "`")
	res, err := a.server.DB.Exec("INSERT IGNORE INTO mysql.roles_mapping SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', -1), 'root', ?, 'Y'", plain)
	if err != nil {
		t.Fatal(err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		t.Fatal(err)
	}
	a.exec(t, "FLUSH PRIVILEGES")
	return n > 0
}

// SetIdentityState knows users whose account is locked or whose password has expired.
func (a *application) SetIdentityState(t connectortest.TB, n schemas.Name, state schemas.EntitlementState) bool {
	t.Helper()
	how := map[schemas.EntitlementState]string{schemas.StateExpired: " PASSWORD EXPIRE", schemas.StateBlocked: " ACCOUNT LOCK"}[state]
	if n.Type != "user" || how == "" {
		return false
	}
	a.exec(t, "ALTER USER "+user(n.SourceName)+how)
	return true
}

// Own makes a view and a routine run with the role's rights.
func (a *application) Own(t connectortest.TB, c schemas.Name) {
	t.Helper()
	sales := name(a.Name("sales"))
	a.exec(t, "CREATE DEFINER = "+name(c.SourceName)+" VIEW "+sales+".owned AS SELECT 1 AS one",
		"CREATE DEFINER = "+name(c.SourceName)+" PROCEDURE "+sales+".owned() SELECT 1")
}

// Protected is PUBLIC, of which every account is a member.
func (a *application) Protected(t connectortest.TB) schemas.Name {
	t.Helper()
	a.exec(t, "GRANT USAGE ON *.* TO PUBLIC")
	return schemas.Name{Type: "role", SourceName: "PUBLIC"}
}

// Break takes from the credential for planning what it reads by.
func (a *application) Break(t connectortest.TB) []connectortest.Broken {
	t.Helper()
	var out []connectortest.Broken
	for _, table := range []string{"global_priv", "roles_mapping", "db", "tables_priv", "columns_priv", "procs_priv", "proc"} {
		out = append(out, connectortest.Broken{Name: "no right to read " + table, Start: func(t connectortest.TB) connectors.Config {
			t.Helper()
			who := "half_" + a.prefix + table
			statements := []string{"CREATE USER " + user(who+"@%") + " IDENTIFIED BY '" + connectortest.Canary + "'"}
			for _, other := range []string{"global_priv", "roles_mapping", "db", "tables_priv", "columns_priv", "procs_priv", "proc"} {
				if other != table {
					statements = append(statements, "GRANT SELECT ON mysql."+other+" TO "+user(who+"@%"))
				}
			}
			a.exec(t, statements...)
			cfg := a.config
			cfg.Values = map[string]any{"dsn": connectors.NewSecret(a.server.DSN(who, connectortest.Canary))}
			return cfg
		}})
	}
	out = append(out, connectortest.Broken{Name: "a view that leaves roles out", Start: func(t connectortest.TB) connectors.Config {
		t.Helper()
		view := a.Name("sales") + ".half"
		a.exec(t, "CREATE OR REPLACE VIEW "+name(a.Name("sales"))+".half AS SELECT User, Host, JSON_VALUE(Priv, '$.access') AS Access, "+
			"JSON_VALUE(Priv, '$.is_role') AS Is_role, NULL AS Locked, NULL AS Expired FROM mysql.global_priv WHERE Host <> ''")
		cfg := a.config
		cfg.Values = map[string]any{"dsn": a.config.Values["dsn"], "accounts_view": view}
		return cfg
	}})
	return out
}

// TestConformance runs the suite that every connector passes against a real server.
func TestConformance(t *testing.T) {
	t.Parallel()
	server := servers.MariaDB(t)
	server.Exec(t, "CREATE USER admin@'%' IDENTIFIED BY '"+connectortest.Canary+"'", "GRANT ALL PRIVILEGES ON *.* TO admin@'%' WITH GRANT OPTION")
	connectortest.Run(t, harness(server, credentials{plan: "admin", apply: "admin", password: connectortest.Canary}))
}

// leastPrivileges starts a server with the credentials that the two scripts make.
func leastPrivileges(t connectortest.TB, options ...string) (*servers.MariaDBServer, credentials) {
	t.Helper()
	server := servers.MariaDB(t, options...)
	d := mysql.New().Describe()
	server.Script(t, d.PlanScript)
	server.Script(t, d.ApplyScript)
	server.Exec(t, "ALTER USER countersign_plan@'%' IDENTIFIED BY '"+connectortest.Canary+"' ACCOUNT UNLOCK",
		"ALTER USER countersign_apply@'%' IDENTIFIED BY '"+connectortest.Canary+"' ACCOUNT UNLOCK")
	return server, credentials{plan: "countersign_plan", apply: "countersign_apply", password: connectortest.Canary, view: "countersign.accounts", grants: true}
}

// TestLeastPrivileges runs the suite with the credentials that the two scripts make.
func TestLeastPrivileges(t *testing.T) {
	t.Parallel()
	server, as := leastPrivileges(t)
	connectortest.Run(t, harness(server, as))
}

func harness(server *servers.MariaDBServer, as credentials) connectortest.Harness {
	n := &atomic.Int64{}
	return connectortest.Harness{
		Connector: mysql.New(),
		Start:     func(t connectortest.TB) connectortest.Application { return newApplication(t, server, n.Add(1), as) },
		Payloads:  map[string][2]map[string]any{"role": {{}, {}}},
		Faulty: []connectortest.Faulty{
			{Name: "nobody listens", Code: connectors.Unavailable, Config: faulty("x:" + connectortest.Canary + "@tcp(127.0.0.1:1)/")},
			{Name: "no such user", Code: connectors.Denied, Config: faulty(server.DSN("nobody", connectortest.Canary))},
			{Name: "no connection string", Code: connectors.Invalid, Config: faulty("mysql://x:" + connectortest.Canary + "@[bad")},
			{Name: "no user", Code: connectors.Invalid, Config: faulty("tcp(" + connectortest.Canary + ")/")},
			{Name: "a weaker way of TLS", Code: connectors.Invalid, Config: faulty("x:" + connectortest.Canary + "@tcp(127.0.0.1:1)/?tls=skip-verify")},
		},
	}
}

func faulty(dsn string) func(connectortest.TB, connectors.Config) connectors.Config {
	return func(_ connectortest.TB, c connectors.Config) connectors.Config {
		c.Values = map[string]any{"dsn": connectors.NewSecret(dsn)}
		return c
	}
}
