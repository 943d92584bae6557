package mysql_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/mysql"
	"github.com/countersign/countersign/schemas"
)

// bench is one application on a server of its own, with a writer.
type bench struct {
	*application
	w connectors.Writer
	n int
}

// TestMariaDB is what is special to MariaDB, on one server.
func TestMariaDB(t *testing.T) {
	t.Parallel()
	first := newBench(t)
	// These count the statements of all sessions.
	t.Run("all privileges", func(t *testing.T) { testAllPrivileges(t, first) })
	t.Run("grouped", func(t *testing.T) { testGrouped(t, openBench(t, newApplication(t, first.server, 2, first.as))) })
	for i, c := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"patterns", testPatterns},
		{"missing", testMissing}, {"table and column", testTableAndColumn}, {"orphan", testOrphan},
		{"leftovers", testLeftovers},
		{"refused in a group", testRefusedInAGroup},
		{"newer server", testNewerServer},
		{"definers", testDefiners},
		{"routine names", testRoutineNames},
		{"column names", testColumnNames},
		{"the view of accounts", testViewPowerful},
		{"one moment", testReadSeesOneMoment},
		{"quoting", testQuoting},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, openBench(t, newApplication(t, first.server, int64(10+i), first.as)))
		})
	}
}

func newBench(t connectortest.TB, options ...string) *bench {
	t.Helper()
	server := servers.MariaDB(t, options...)
	server.Exec(t, "CREATE USER admin@'%' IDENTIFIED BY '"+connectortest.Canary+"'", "GRANT ALL PRIVILEGES ON *.* TO admin@'%' WITH GRANT OPTION")
	return openBench(t, newApplication(t, server, 1, credentials{plan: "admin", apply: "admin", password: connectortest.Canary}))
}

func openBench(t connectortest.TB, a *application) *bench {
	t.Helper()
	w, err := mysql.New().OpenWriter(t.Context(), a.config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return &bench{application: a, w: w}
}

func (b *bench) op(kind schemas.OperationKind, role, typ, target, privilege string) schemas.Operation {
	b.n++
	o := schemas.Operation{ID: fmt.Sprint(b.n), Kind: kind, Application: "warehouse", Connection: schemas.Name{Type: "role", SourceName: role}, Privilege: privilege}
	if typ != "" {
		o.Target = &schemas.Name{Type: typ, SourceName: target}
	}
	return o
}

func (b *bench) create(role string) schemas.Operation {
	return b.op(schemas.OperationCreate, role, "", "", "")
}

func (b *bench) drop(role string) schemas.Operation {
	return b.op(schemas.OperationDelete, role, "", "", "")
}

func (b *bench) grant(role, typ, target, privilege string) schemas.Operation {
	return b.op(schemas.OperationGrant, role, typ, target, privilege)
}

func (b *bench) revoke(role, typ, target, privilege string) schemas.Operation {
	return b.op(schemas.OperationRevoke, role, typ, target, privilege)
}

// apply returns the code of each operation.
func (b *bench) apply(t connectortest.TB, ops ...schemas.Operation) []connectors.Code {
	t.Helper()
	_, codes := b.errors(t, ops...)
	return codes
}

func (b *bench) errors(t connectortest.TB, ops ...schemas.Operation) ([]error, []connectors.Code) {
	t.Helper()
	by := map[string]error{}
	if err := b.w.Apply(t.Context(), ops, func(o connectors.Outcome) { by[o.Operation] = o.Err }); err != nil {
		t.Fatal(err)
	}
	var errs []error
	var codes []connectors.Code
	for _, o := range ops {
		err, ok := by[o.ID]
		if !ok {
			t.Errorf("operation %s has no outcome", o.ID)
		}
		errs, codes = append(errs, err), append(codes, connectors.CodeOf(err))
	}
	return errs, codes
}

func (b *bench) must(t connectortest.TB, ops ...schemas.Operation) {
	t.Helper()
	errs, _ := b.errors(t, ops...)
	for i, err := range errs {
		if err != nil {
			t.Fatalf("%s: %v", connectors.Title(&ops[i]), err)
		}
	}
}

// holds is what a role has, as type name privilege.
func (b *bench) holds(t connectortest.TB, role string) []string {
	t.Helper()
	s, err := b.w.Read(t.Context(), schemas.Selection{Names: []schemas.Name{{Type: "role", SourceName: role}}})
	if err != nil || s.Incomplete != "" || len(s.Connections) != 1 {
		t.Fatalf("Read of %s: %d connections, %v %s", role, len(s.Connections), err, s.Incomplete)
	}
	var out []string
	for _, e := range s.Connections[0].Entitlements {
		out = append(out, e.Target.Type+" "+e.Target.SourceName+" "+e.Privilege)
	}
	return out
}

func (b *bench) want(t connectortest.TB, role string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, b.holds(t, role)); diff != "" {
		t.Errorf("%s holds (-want +got):\n%s", role, diff)
	}
}

// session is of a user of the server with one role, switched on.
func (b *bench) session(t connectortest.TB, role string) *sql.DB {
	t.Helper()
	who := b.Name("tester")
	b.exec(t, "CREATE USER "+name(who)+"@'%'")
	b.must(t, b.grant(role, "user", who+"@%", "MEMBER"))
	b.exec(t, "SET DEFAULT ROLE "+name(role)+" FOR "+name(who)+"@'%'")
	db, err := sql.Open("mysql", b.server.DSN(who, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// testPatterns shows that a privilege on a database is on that database alone, and that what another hand gave on
// more is seen and can be taken away.
func testPatterns(t *testing.T, b *bench) {
	for _, db := range []string{"my_db", "myxdb", `a\b`, "ab", "100%", "100x"} {
		b.exec(t, "CREATE DATABASE "+name(db), "CREATE TABLE "+name(db)+".t (id int)")
	}
	reader := b.Name("reader")
	b.must(t, b.create(reader), b.grant(reader, "database", "my_db", "SELECT"), b.grant(reader, "database", `a\b`, "SELECT"), b.grant(reader, "database", "100%", "SELECT"))
	b.want(t, reader, "database 100% SELECT", `database a\b SELECT`, "database my_db SELECT")
	db := b.session(t, reader)
	for table, want := range map[string]bool{"`my_db`": true, "`myxdb`": false, "`a\\b`": true, "`ab`": false, "`100%`": true, "`100x`": false} {
		if _, err := db.Exec("SELECT * FROM " + table + ".t"); (err == nil) != want {
			t.Errorf("reading %s: %v, want it to work: %v", table, err, want)
		}
	}
	other := b.Name("other")
	b.must(t, b.create(other))
	b.exec(t, "GRANT SELECT ON `my_db`.* TO "+name(other), "GRANT INSERT ON `%`.* TO "+name(other), "GRANT DELETE ON `a\\b`.* TO "+name(other), "GRANT SELECT ON `my\\_db`.* TO "+name(other))
	b.want(t, other, "database my_db SELECT", "database_pattern % INSERT", `database_pattern a\b DELETE`, "database_pattern my_db SELECT")
	if got := b.apply(t, b.grant(other, "database_pattern", "x%", "SELECT")); got[0] != connectors.Unsupported {
		t.Errorf("granting on a pattern: %v, want %s", got, connectors.Unsupported)
	}
	b.must(t, b.revoke(other, "database_pattern", "my_db", "SELECT"), b.revoke(other, "database_pattern", `a\b`, "DELETE"), b.revoke(other, "database_pattern", "%", "INSERT"))
	b.want(t, other, "database my_db SELECT")
}

// testTableAndColumn revokes a privilege on a table: the server drops that on its columns with it, and it comes back.
func testTableAndColumn(t *testing.T, b *bench) {
	sales, r := b.Name("sales"), b.Name("r")
	b.exec(t, "CREATE TABLE "+name(sales)+".orders (id int, amount int)")
	orders := sales + ".orders"
	b.must(t, b.create(r), b.grant(r, "table", orders, "SELECT"), b.grant(r, "column", orders+".id", "SELECT"), b.grant(r, "column", orders+".amount", "SELECT"),
		b.grant(r, "column", orders+".id", "UPDATE"))
	b.must(t, b.revoke(r, "table", orders, "SELECT"), b.revoke(r, "column", orders+".amount", "SELECT"))
	b.want(t, r, "column "+orders+".id SELECT", "column "+orders+".id UPDATE")
}

// testOrphan deletes an account but not its membership, as a careless administrator does in the tables.
func testOrphan(t *testing.T, b *bench) {
	r, other := b.Name("r"), b.Name("other")
	b.must(t, b.create(r), b.create(other))
	b.exec(t, "INSERT INTO mysql.roles_mapping (Host, User, Role, Admin_option) VALUES ('%', 'ghost', '"+r+"', 'N')", "FLUSH PRIVILEGES")
	t.Cleanup(func() { b.exec(t, "DELETE FROM mysql.roles_mapping WHERE User = 'ghost'", "FLUSH PRIVILEGES") })
	b.want(t, other)
	s, err := b.w.Read(t.Context(), schemas.Selection{Names: []schemas.Name{{Type: "role", SourceName: r}}})
	if err != nil || s.Incomplete != "" || len(s.Connections) != 1 {
		t.Fatalf("Read: %+v, %v", s, err)
	}
	want := []schemas.Entitlement{{Target: schemas.Name{Type: "user", SourceName: "ghost@%"}, Privilege: "MEMBER", State: schemas.StateUnresolved}}
	if diff := cmp.Diff(want, s.Connections[0].Entitlements); diff != "" {
		t.Errorf("entitlements (-want +got):\n%s", diff)
	}
	b.must(t, b.drop(other))
}

// testMissing are objects that do not exist: the server itself would take some of them.
func testMissing(t *testing.T, b *bench) {
	sales, r := b.Name("sales"), b.Name("r")
	b.must(t, b.create(r))
	b.exec(t, "CREATE TABLE "+name(sales)+".orders (id int, Amount int)", "CREATE FUNCTION "+name(sales)+".Total() RETURNS int RETURN 1",
		"CREATE FUNCTION "+name(sales)+".`zähle`() RETURNS int RETURN 1")
	long := strings.Repeat("xxxxxxxxx_", 6)
	b.exec(t, "CREATE DATABASE "+name(long))
	for _, c := range []struct {
		typ, target, privilege string
		code                   connectors.Code
		wants                  string
	}{
		{"database", "nowhere", "SELECT", connectors.NotFound, "database/nowhere does not exist"},
		{"database", strings.ToUpper(sales), "SELECT", connectors.NotFound, "did you mean database/" + sales},
		{"database", long, "SELECT", connectors.Unsupported, "grant privileges on its tables"},
		{"table", sales + ".nothing", "CREATE", connectors.NotFound, "table/" + sales + ".nothing does not exist"},
		{"table", "orders", "SELECT", connectors.Invalid, "database.name"},
		{"table", "`" + sales + "`.orders", "SELECT", connectors.Invalid, "must be written"},
		{"column", sales + ".orders.amount", "SELECT", connectors.NotFound, "did you mean column/" + sales + ".orders.Amount"},
		{"function", sales + ".total", "EXECUTE", connectors.NotFound, "did you mean function/" + sales + ".Total"},
		{"function", sales + ".zähle", "EXECUTE", connectors.Invalid, "does not fit"},
		{"function", "`" + sales + ".zä.x`.f", "EXECUTE", connectors.NotFound, ""},
		{"function", sales + ".`é.x`", "EXECUTE", connectors.Unsupported, "ASCII"},
		{"procedure", sales + ".Total", "EXECUTE", connectors.NotFound, ""},
		{"database", "information_schema", "SELECT", connectors.Denied, "cannot be granted"},
		{"table", "information_schema.TABLES", "SELECT", connectors.Denied, "cannot be granted"},
		{"table", sales + ".orders", "ALL PRIVILEGES", connectors.Invalid, "expected one of"},
		{"table", sales + ".orders", "ALL", connectors.Invalid, ""},
		{"database", sales, "BACKUP_ADMIN", connectors.Invalid, ""},
		{"global", "*.*", "BACKUP_ADMIN", connectors.Invalid, ""},
		{"global", "*", "SELECT", connectors.Invalid, ""},
		{"user", "nobody@%", "MEMBER", connectors.NotFound, ""},
		{"user", "nobody", "MEMBER", connectors.NotFound, "user@host"},
		{"role", "admin", "MEMBER", connectors.NotFound, "does not exist"},
		{"role", r, "MEMBER", connectors.Conflict, ""},
	} {
		errs, codes := b.errors(t, b.grant(r, c.typ, c.target, c.privilege))
		if codes[0] != c.code || !strings.Contains(fmt.Sprint(errs[0]), c.wants) {
			t.Errorf("%s on %s %s: %q %v, want %s and %q", c.privilege, c.typ, c.target, codes[0], errs[0], c.code, c.wants)
		}
	}
	b.want(t, r)
}

// testLeftovers are privileges on what was dropped: they are there, and come into force when it is made again.
func testLeftovers(t *testing.T, b *bench) {
	r, gone := b.Name("r"), b.Name("gone")
	b.exec(t, "CREATE DATABASE "+name(gone), "CREATE TABLE "+name(gone)+".t (id int)")
	b.must(t, b.create(r), b.grant(r, "database", gone, "SELECT"), b.grant(r, "table", gone+".t", "INSERT"), b.grant(r, "table", gone+".t", "GRANT OPTION"),
		b.grant(r, "column", gone+".t.id", "SELECT"))
	b.exec(t, "DROP DATABASE "+name(gone))
	b.want(t, r, "column "+gone+".t.id SELECT", "database "+gone+" SELECT", "table "+gone+".t GRANT OPTION", "table "+gone+".t INSERT")
	b.must(t, b.revoke(r, "column", gone+".t.id", "SELECT"), b.revoke(r, "database", gone, "SELECT"), b.revoke(r, "table", gone+".t", "INSERT"),
		b.revoke(r, "table", gone+".t", "GRANT OPTION"))
	b.want(t, r)
}

// testAllPrivileges are shown one by one, at each level, and can be taken away at once.
func testAllPrivileges(t *testing.T, b *bench) {
	r, sales := b.Name("r"), b.Name("sales")
	b.must(t, b.create(r))
	b.exec(t, "CREATE TABLE "+name(sales)+".t (id int)", "GRANT ALL PRIVILEGES ON *.* TO "+name(r)+" WITH GRANT OPTION",
		"GRANT ALL PRIVILEGES ON "+on(sales)+".* TO "+name(r)+" WITH GRANT OPTION", "GRANT ALL PRIVILEGES ON "+name(sales)+".t TO "+name(r))
	d, err := b.w.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := b.holds(t, r)
	for _, typ := range []string{"global", "database", "table"} {
		g, _ := d.Types[0].Target(typ)
		target := map[string]string{"global": "*.*", "database": sales, "table": sales + ".t"}[typ]
		for _, p := range g.Privileges {
			if has := slices.Contains(got, typ+" "+target+" "+p); !has && (typ != "table" || p != "GRANT OPTION") {
				t.Errorf("GRANT ALL on a %s does not show %s", typ, p)
			}
		}
	}
	for _, e := range got {
		if strings.Contains(e, "BIT") {
			t.Errorf("a privilege of this server has no name: %s", e)
		}
	}
	var ops []schemas.Operation
	for _, e := range got {
		part := strings.SplitN(e, " ", 3)
		ops = append(ops, b.revoke(r, part[0], part[1], part[2]))
	}
	before := b.statements(t)
	b.must(t, ops...)
	b.want(t, r)
	if n := b.statements(t) - before; n != 3 {
		t.Errorf("%d statements took away %d privileges on 3 objects, want 3", n, len(ops))
	}
}

// statements is how many GRANT and REVOKE the server has carried out.
func (b *bench) statements(t connectortest.TB) int {
	t.Helper()
	n := 0
	rows, err := b.server.DB.Query("SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME IN ('COM_GRANT', 'COM_REVOKE', 'COM_GRANT_ROLE', 'COM_REVOKE_ROLE', 'COM_CREATE_ROLE', 'COM_DROP_ROLE')")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var v int
		if err := rows.Scan(&v); err != nil {
			t.Fatal(err)
		}
		n += v
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// testGrouped counts the statements of an Apply of many operations.
func testGrouped(t *testing.T, b *bench) {
	sales := b.Name("sales")
	b.exec(t, "CREATE USER a@'%'", "CREATE USER b@'%'")
	var ops, undo []schemas.Operation
	const roles = 50
	for i := range roles {
		r := b.Name(fmt.Sprintf("r%02d", i))
		made := b.create(r)
		ops = append(ops, made)
		for _, p := range []string{"SELECT", "INSERT", "UPDATE"} {
			g := b.grant(r, "database", sales, p)
			g.DependsOn = []string{made.ID}
			ops, undo = append(ops, g), append(undo, b.revoke(r, "database", sales, p))
		}
		undo = append(undo, b.drop(r))
	}
	// One that fails takes nothing else with it, and all are still done.
	bad := b.grant(b.Name("r00"), "role", b.Name("r00"), "MEMBER")
	ops = append(ops, bad)
	before := b.statements(t)
	errs, codes := b.errors(t, ops...)
	for i, o := range ops {
		if want := map[bool]connectors.Code{true: connectors.Conflict}[o.ID == bad.ID]; codes[i] != want {
			t.Fatalf("%s: %v, want %q", connectors.Title(&ops[i]), errs[i], want)
		}
	}
	if n := b.statements(t) - before; n > 3 {
		t.Errorf("%d statements for %d operations, want 3: roles, privileges, and what fails", n, len(ops))
	}
	b.want(t, b.Name("r49"), "database "+sales+" INSERT", "database "+sales+" SELECT", "database "+sales+" UPDATE")
	before = b.statements(t)
	b.must(t, ops[:len(ops)-1]...)
	if n := b.statements(t) - before; n != 0 {
		t.Errorf("%d statements the second time, want 0", n)
	}
	b.must(t, undo...)
	if n := b.statements(t) - before; n != 2 {
		t.Errorf("%d statements to take all away, want 2", n)
	}
}

// testRefusedInAGroup has one of several that share a statement refused by the server.
func testRefusedInAGroup(t *testing.T, b *bench) {
	in, out, loop := b.Name("in"), b.Name("out"), b.Name("loop")
	b.must(t, b.create(in), b.create(out), b.create(loop), b.grant(in, "role", loop, "MEMBER"))
	codes := b.apply(t, b.grant(out, "role", in, "MEMBER"), b.grant(loop, "role", in, "MEMBER"), b.grant(out, "role", in, "ADMIN"))
	if want := []connectors.Code{"", connectors.Conflict, ""}; !slices.Equal(codes, want) {
		t.Errorf("got %q, want %q", codes, want)
	}
	b.want(t, out, "role "+in+" ADMIN", "role "+in+" MEMBER")
	b.want(t, loop, "member "+in+" MEMBER")
}

// TestDroppedMeanwhile has a role dropped between the look at it and the grant. On a server with an old sql_mode,
// that would make a user of the role's name, who can log in without a password.
func TestDroppedMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBench(t, "--sql-mode=")
	first, second, sales := b.Name("first"), b.Name("second"), b.Name("sales")
	b.must(t, b.create(second))
	made := b.create(first)
	given := b.grant(second, "database", sales, "SELECT")
	given.DependsOn = []string{made.ID}
	codes := map[string]connectors.Code{}
	if err := b.w.Apply(t.Context(), []schemas.Operation{made, given}, func(o connectors.Outcome) {
		codes[o.Operation] = connectors.CodeOf(o.Err)
		if o.Operation == made.ID {
			b.exec(t, "DROP ROLE "+name(second))
		}
	}); err != nil {
		t.Fatal(err)
	}
	if codes[given.ID] != connectors.NotFound {
		t.Errorf("the grant ends in %q, want %s", codes[given.ID], connectors.NotFound)
	}
	var n int
	if err := b.server.DB.QueryRow("SELECT COUNT(*) FROM mysql.global_priv WHERE User = ?", second).Scan(&n); err != nil || n != 0 {
		t.Errorf("there are %d accounts of the dropped role's name (%v), want none", n, err)
	}
	// Plainly, the server does make one.
	b.exec(t, "GRANT SELECT ON "+on(sales)+".* TO "+name(second))
	if err := b.server.DB.QueryRow("SELECT COUNT(*) FROM mysql.global_priv WHERE User = ?", second).Scan(&n); err != nil || n != 1 {
		t.Errorf("the server makes %d users (%v): this test shows nothing", n, err)
	}
}

// TestUserOfTheRolesName drops a role between two operations, where a user of its name exists.
func TestUserOfTheRolesName(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first, second, sales := b.Name("first"), b.Name("second"), b.Name("sales")
	b.exec(t, "CREATE USER "+name(second)+"@'%'")
	b.must(t, b.create(second))
	made := b.create(first)
	given := b.grant(second, "database", sales, "SELECT")
	given.DependsOn = []string{made.ID}
	codes := map[string]connectors.Code{}
	if err := b.w.Apply(t.Context(), []schemas.Operation{made, given}, func(o connectors.Outcome) {
		codes[o.Operation] = connectors.CodeOf(o.Err)
		if o.Operation == made.ID {
			b.exec(t, "DROP ROLE "+name(second))
		}
	}); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := b.server.DB.QueryRow("SELECT COUNT(*) FROM mysql.db WHERE User = ?", second).Scan(&n); err != nil || n != 0 {
		t.Errorf("the user of that name has %d privileges (%v), want none; outcome %q", n, err, codes[given.ID])
	}
}

// TestServerSettings reads and changes on a server whose defaults are as far from ours as they can be.
func TestServerSettings(t *testing.T) {
	t.Parallel()
	b := newBench(t, "--sql-mode=ORACLE", "--character-set-server=latin1", "--collation-server=latin1_german1_ci", "--max-connections=50")
	b.server.Exec(t, "SET GLOBAL sql_select_limit = 3", "SET GLOBAL autocommit = 0", "SET GLOBAL sql_big_selects = 0", "SET GLOBAL max_join_size = 1", "SET GLOBAL lock_wait_timeout = 86400")
	b = openBench(t, b.application)
	sales := b.Name("sales")
	var ops []schemas.Operation
	for i := range 20 {
		r := b.Name(fmt.Sprintf(`r\%02d"é'`, i))
		ops = append(ops, b.create(r), b.grant(r, "database", sales, "SELECT"))
	}
	b.must(t, ops...)
	s, err := b.w.Read(t.Context(), schemas.Selection{Scope: map[string][]string{"role": {b.Name("*")}}})
	if err != nil || s.Incomplete != "" || len(s.Connections) != 20 {
		t.Fatalf("Read: %d roles, %v %s, want 20", len(s.Connections), err, s.Incomplete)
	}
	for _, c := range s.Connections {
		if len(c.Entitlements) != 1 {
			t.Errorf("%q holds %v", c.Name, c.Entitlements)
		}
	}
	page, err := b.w.List(t.Context(), connectors.Query{Type: "role"})
	if err != nil || len(page.Items) != 20 {
		t.Errorf("List: %d roles, %v, want 20", len(page.Items), err)
	}
}

// testNewerServer has a role with a privilege that only a newer server knows.
func testNewerServer(t *testing.T, b *bench) {
	r := b.Name("r")
	b.must(t, b.create(r))
	b.server.Exec(t, fmt.Sprintf("UPDATE mysql.global_priv SET Priv = JSON_SET(Priv, '$.access', %d) WHERE User = '%s'", uint64(1)<<50|1, r))
	b.want(t, r, "global *.* PRIVILEGE BIT 50", "global *.* SELECT")
	if got := b.apply(t, b.revoke(r, "global", "*.*", "PRIVILEGE BIT 50")); got[0] != connectors.Unsupported {
		t.Errorf("revoking it: %q, want %s", got[0], connectors.Unsupported)
	}
}

// TestOwnAccounts are left out of what is read, and are never given anything; others with ADMIN are seen.
func TestOwnAccounts(t *testing.T) {
	t.Parallel()
	server, as := leastPrivileges(t)
	b := openBench(t, newApplication(t, server, 1, as))
	r := b.Name("r")
	b.must(t, b.create(r))
	b.exec(t, "CREATE USER boss@'%'")
	b.must(t, b.grant(r, "user", "boss@%", "ADMIN"))
	reader, err := mysql.New().OpenReader(t.Context(), b.config)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for what, x := range map[string]connectors.Reader{"writer": b.w, "reader": reader} {
		s, err := x.Read(t.Context(), schemas.Selection{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range s.Connections {
			for _, e := range c.Entitlements {
				got = append(got, e.Target.SourceName+" "+e.Privilege)
			}
		}
		if want := []string{"boss@% ADMIN", "boss@% MEMBER"}; !slices.Equal(got, want) {
			t.Errorf("the %s sees %q, want %q", what, got, want)
		}
	}
	for _, own := range []string{"countersign_apply@%", "countersign_plan@%"} {
		for _, o := range []schemas.Operation{b.grant(r, "user", own, "MEMBER"), b.revoke(r, "user", own, "MEMBER"), b.revoke(r, "user", own, "ADMIN")} {
			if got := b.apply(t, o); got[0] != connectors.Denied {
				t.Errorf("%s: %q, want %s", connectors.Title(&o), got[0], connectors.Denied)
			}
		}
	}
	// It still may hand the role on.
	b.exec(t, "CREATE USER late@'%'")
	b.must(t, b.grant(r, "user", "late@%", "MEMBER"))
	// Roles created by others cannot be granted without ADMIN, and the message explains it.
	foreign := b.Name("foreign")
	b.exec(t, "CREATE ROLE "+name(foreign))
	errs, codes := b.errors(t, b.grant(foreign, "user", "late@%", "MEMBER"))
	if codes[0] != connectors.Denied || !strings.Contains(errs[0].Error(), "lacks the privilege") {
		t.Errorf("granting what is not ours: %v, want %s", errs[0], connectors.Denied)
	}
	// Neither credential can read what passwords are made of.
	for _, who := range []string{as.plan, as.apply} {
		db, err := sql.Open("mysql", server.DSN(who, as.password))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var said *driver.MySQLError
		if err := db.QueryRow("SELECT Priv FROM mysql.global_priv LIMIT 1").Scan(new(string)); !errors.As(err, &said) || said.Number != 1142 {
			t.Errorf("%s reads mysql.global_priv: %v, want 1142", who, err)
		}
	}
}

// TestColumnsHidden logs in with a credential to which a column of the grant tables is not shown.
func TestColumnsHidden(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rows, err := b.server.DB.Query("SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'mysql' AND TABLE_NAME = 'db'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var columns []string
	for rows.Next() {
		var c string
		if err := rows.Scan(&c); err != nil {
			t.Fatal(err)
		}
		if c != "Event_priv" {
			columns = append(columns, name(c))
		}
	}
	b.exec(t, "CREATE USER narrow@'%'", "GRANT SELECT ("+strings.Join(columns, ", ")+") ON mysql.db TO narrow@'%'")
	for _, table := range []string{"global_priv", "tables_priv", "columns_priv", "procs_priv", "roles_mapping", "proc"} {
		b.exec(t, "GRANT SELECT ON mysql."+table+" TO narrow@'%'")
	}
	cfg := b.Config()
	cfg.Values = map[string]any{"dsn": connectors.NewSecret(b.server.DSN("narrow", ""))}
	r, err := mysql.New().OpenReader(t.Context(), cfg)
	if err == nil {
		t.Cleanup(func() { _ = r.Close() })
	}
	if connectors.CodeOf(err) != connectors.Denied {
		t.Errorf("OpenReader: %v, want %s", err, connectors.Denied)
	}
	b.exec(t, "GRANT SELECT (Event_priv) ON mysql.db TO narrow@'%'")
	if r, err = mysql.New().OpenReader(t.Context(), cfg); err != nil {
		t.Fatalf("OpenReader with all columns: %v", err)
	}
	if _, err := r.Read(t.Context(), schemas.Selection{}); err != nil {
		t.Errorf("Read: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// TestHashesAreNotRead looks at every statement that the server got.
func TestHashesAreNotRead(t *testing.T) {
	t.Parallel()
	b := newBench(t, "--general-log=1", "--log-output=TABLE")
	r := b.Name("r")
	b.must(t, b.create(r), b.grant(r, "global", "*.*", "PROCESS"), b.drop(r))
	for _, typ := range []string{"role", "user", "member", "database", "table", "column", "function", "database_pattern"} {
		if _, err := b.w.List(t.Context(), connectors.Query{Type: typ}); err != nil {
			t.Fatal(err)
		}
	}
	b.holds(t, func() string { b.must(t, b.create(r)); return r }())
	rows, err := b.server.DB.Query("SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log WHERE user_host LIKE '%admin%'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		n++
		plain := strings.ReplaceAll(text, "JSON_VALUE(Priv, '$.", "")
		for _, never := range []string{"authentication_string", "Password", "SELECT *", "SHOW GRANTS", "SHOW CREATE USER", "Priv,", "Priv "} {
			if strings.Contains(plain, never) {
				t.Errorf("the server was asked with %s: %s", never, text)
			}
		}
	}
	if err := rows.Err(); err != nil || n < 20 {
		t.Errorf("%d statements in the log (%v): this test shows nothing", n, err)
	}
}

// testDefiners lists the objects of every kind that prevent a deletion.
func testDefiners(t *testing.T, b *bench) {
	r, like, sales := b.Name("r"), b.Name("R"), b.Name("sales")
	b.must(t, b.create(r), b.create(like))
	n, db := name(r), name(sales)
	b.exec(t, "CREATE TABLE "+db+".t (i int)", "CREATE DEFINER = "+n+" VIEW "+db+".v AS SELECT 1 AS one", "CREATE DEFINER = "+n+" FUNCTION "+db+".f() RETURNS int RETURN 1",
		"CREATE DEFINER = "+n+" TRIGGER "+db+".g BEFORE INSERT ON "+db+".t FOR EACH ROW SET NEW.i = 1",
		"CREATE DEFINER = "+n+" EVENT "+db+".e ON SCHEDULE EVERY 1 YEAR DO SELECT 1", "CREATE USER "+n+"@'%'", "CREATE DEFINER = "+n+"@'%' VIEW "+db+".users AS SELECT 1 AS one")
	errs, _ := b.errors(t, b.drop(r), b.drop(like))
	var e *connectors.Error
	if !errors.As(errs[0], &e) || e.Code != connectors.Conflict || errs[1] != nil {
		t.Fatalf("got %v, want a conflict for the first alone", errs)
	}
	if diff := cmp.Diff([]string{"event " + sales + ".e", "function " + sales + ".f", "trigger " + sales + ".g", "view " + sales + ".v"}, e.Dependents); diff != "" {
		t.Errorf("dependents (-want +got):\n%s", diff)
	}
	b.exec(t, "DROP VIEW "+db+".v", "DROP FUNCTION "+db+".f", "DROP TRIGGER "+db+".g", "DROP EVENT "+db+".e")
	b.must(t, b.drop(r))
}

// testRoutineNames are kept by the server as they were first granted.
func testRoutineNames(t *testing.T, b *bench) {
	r, sales := b.Name("r"), b.Name("sales")
	b.must(t, b.create(r))
	b.exec(t, "CREATE FUNCTION "+name(sales)+".Total() RETURNS int RETURN 1", "GRANT EXECUTE ON FUNCTION "+name(sales)+".TOTAL TO "+name(r))
	b.want(t, r, "function "+sales+".Total EXECUTE")
	b.must(t, b.grant(r, "function", sales+".Total", "ALTER ROUTINE"), b.revoke(r, "function", sales+".Total", "EXECUTE"))
	b.want(t, r, "function "+sales+".Total ALTER ROUTINE")
}

// testColumnNames gives a privilege on a column in another case than the table has it: the server takes both for one.
func testColumnNames(t *testing.T, b *bench) {
	r, sales := b.Name("r"), b.Name("sales")
	b.must(t, b.create(r))
	b.exec(t, "CREATE TABLE "+name(sales)+".c (id int, Amount int)", "GRANT SELECT (ID) ON "+name(sales)+".c TO "+name(r))
	b.want(t, r, "column "+sales+".c.id SELECT")
	db := b.session(t, r)
	if _, err := db.Exec("SELECT id FROM " + name(sales) + ".c"); err != nil {
		t.Fatalf("reading the column before: %v", err)
	}
	b.must(t, b.revoke(r, "column", sales+".c.id", "SELECT"))
	b.want(t, r, "user "+b.Name("tester")+"@% MEMBER")
	if _, err := db.Exec("SELECT id FROM " + name(sales) + ".c"); err == nil {
		t.Error("the column can still be read")
	}

	// Given in both spellings, the server keeps two rows, and revokes both.
	b.exec(t, "GRANT SELECT (ID) ON "+name(sales)+".c TO "+name(r), "GRANT SELECT (id) ON "+name(sales)+".c TO "+name(r), "GRANT SELECT (amount) ON "+name(sales)+".c TO "+name(r))
	for range 2 {
		b.must(t, b.revoke(r, "column", sales+".c.id", "SELECT"))
		b.exec(t, "FLUSH PRIVILEGES")
	}
	b.want(t, r, "column "+sales+".c.Amount SELECT", "user "+b.Name("tester")+"@% MEMBER")
}

// testViewPowerful asks whether the database of the view, by which accounts are read, takes more sign-off.
func testViewPowerful(t *testing.T, b *bench) {
	for _, c := range []struct{ view, db string }{{"", "countersign"}, {"countersign_views.accounts", "countersign_views"}} {
		cfg := b.Config()
		cfg.Values = map[string]any{"dsn": b.config.Values["dsn"]}
		if c.view != "" {
			b.exec(t, "CREATE DATABASE "+name(c.db), "CREATE VIEW "+name(c.db)+".accounts AS SELECT User, Host, "+
				"JSON_VALUE(Priv, '$.access') AS Access, JSON_VALUE(Priv, '$.is_role') AS Is_role, NULL AS Locked, NULL AS Expired FROM mysql.global_priv")
			cfg.Values["accounts_view"] = c.view
		}
		r, err := mysql.New().OpenReader(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		d, err := r.Describe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for typ, target := range map[string]string{"database": c.db, "table": c.db + ".accounts", "column": c.db + ".accounts.User", "procedure": c.db + ".p"} {
			if g, _ := d.Types[0].Target(typ); !schemas.Match(g.Privileged, target) || schemas.Match(g.Privileged, b.Name("sales")+".accounts") {
				t.Errorf("view %q: %s %s is privileged by %v", c.view, typ, target, g.Privileged)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLowerCaseTables is a server that keeps the names of databases and tables in lower case.
func TestLowerCaseTables(t *testing.T) {
	t.Parallel()
	b := newBench(t, "--lower-case-table-names=1")
	r := b.Name("R")
	b.exec(t, "CREATE DATABASE Shop", "CREATE TABLE Shop.Orders (Id int)")
	b.must(t, b.create(r), b.grant(r, "database", "shop", "SELECT"), b.grant(r, "table", "shop.orders", "SELECT"), b.grant(r, "column", "shop.orders.Id", "UPDATE"))
	b.exec(t, "GRANT INSERT ON Shop.* TO "+name(r))
	b.want(t, r, "column shop.orders.Id UPDATE", "database shop INSERT", "database shop SELECT", "table shop.orders SELECT")
	errs, codes := b.errors(t, b.grant(r, "database", "Shop", "SELECT"), b.grant(r, "table", "Shop.Orders", "SELECT"))
	for i := range errs {
		if codes[i] != connectors.NotFound || !strings.Contains(errs[i].Error(), "shop") {
			t.Errorf("got %v, want what it is called", errs[i])
		}
	}
	// Roles are still case-sensitive.
	b.must(t, b.create(b.Name("r")))
	b.want(t, b.Name("r"))
}

// TestActiveRole is a role that the credential has its own rights from.
func TestActiveRole(t *testing.T) {
	t.Parallel()
	server, as := leastPrivileges(t)
	a := newApplication(t, server, 1, as)
	server.Exec(t, "CREATE ROLE inner_engine", "CREATE ROLE engine", "GRANT inner_engine TO engine", "GRANT engine TO countersign_apply@'%'", "SET DEFAULT ROLE engine FOR countersign_apply@'%'")
	b := openBench(t, a)
	if got := b.apply(t, b.drop("engine"), b.drop("inner_engine"), b.revoke("engine", "role", "inner_engine", "MEMBER")); !slices.Equal(got, []connectors.Code{connectors.Denied, connectors.Denied, connectors.Denied}) {
		t.Errorf("got %q, want it refused", got)
	}
}

// TestReadOnlyServer is a replica.
func TestReadOnlyServer(t *testing.T) {
	t.Parallel()
	server, as := leastPrivileges(t)
	b := openBench(t, newApplication(t, server, 1, as))
	server.Exec(t, "SET GLOBAL read_only = 1")
	if errs, codes := b.errors(t, b.create(b.Name("r"))); codes[0] != connectors.Denied || !strings.Contains(errs[0].Error(), "read-only") {
		t.Errorf("got %v, want %s", errs[0], connectors.Denied)
	}
}

// testReadSeesOneMoment reads while roles come, get something, and go. A role is never seen in one table and
// missed in another.
func testReadSeesOneMoment(t *testing.T, b *bench) {
	a, z, sales := b.Name("a"), b.Name("z"), b.Name("sales")
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var rounds int
	var fault error
	group.Go(func() {
		w, err := mysql.New().OpenWriter(ctx, b.config)
		if err != nil {
			fault = err
			return
		}
		defer w.Close()
		for ; ctx.Err() == nil; rounds++ {
			for _, ops := range [][]schemas.Operation{
				{{ID: "1", Kind: "create", Connection: schemas.Name{Type: "role", SourceName: a}}, {ID: "2", Kind: "create", Connection: schemas.Name{Type: "role", SourceName: z}},
					{ID: "3", Kind: "grant", Connection: schemas.Name{Type: "role", SourceName: a}, Target: &schemas.Name{Type: "role", SourceName: z}, Privilege: "MEMBER"},
					{ID: "4", Kind: "grant", Connection: schemas.Name{Type: "role", SourceName: a}, Target: &schemas.Name{Type: "database", SourceName: sales}, Privilege: "SELECT"}},
				{{ID: "5", Kind: "delete", Connection: schemas.Name{Type: "role", SourceName: z}}, {ID: "6", Kind: "delete", Connection: schemas.Name{Type: "role", SourceName: a}}},
			} {
				if err := w.Apply(ctx, ops, func(o connectors.Outcome) { fault = errors.Join(fault, o.Err) }); err != nil && ctx.Err() == nil {
					fault = errors.Join(fault, err)
					return
				}
			}
		}
	})
	for range 300 {
		s, err := b.w.Read(t.Context(), schemas.Selection{})
		if err != nil || s.Incomplete != "" {
			t.Errorf("Read: %v %s", err, s.Incomplete)
			break
		}
	}
	cancel()
	group.Wait()
	if fault != nil || rounds < 3 {
		t.Errorf("the other one did %d rounds: %v", rounds, fault)
	}
}

// TestTLS checks that the connection follows the config.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "countersign-tls-") // the server's account must be able to read it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	ours, theirs := certificate(t, dir, "ours"), certificate(t, dir, "theirs")
	b := newBench(t, "--ssl-cert="+ours+".pem", "--ssl-key="+ours+".key")
	b.server.Exec(t, "SET GLOBAL require_secure_transport = ON")
	for _, c := range []struct {
		name   string
		values map[string]any
		query  string
		code   connectors.Code
		wants  string
	}{
		{"authority named", map[string]any{"tls": "verify", "ca_file": ours + ".pem"}, "", "", ""},
		{"authority is enough", map[string]any{"ca_file": ours + ".pem"}, "", "", ""},
		{"within the repository", map[string]any{"ca_file": filepath.Base(ours) + ".pem"}, "", "", ""},
		{"its name", map[string]any{"ca_file": ours + ".pem", "server_name": "db.example.test"}, "", "", ""},
		{"another name", map[string]any{"ca_file": ours + ".pem", "server_name": "other.example.test"}, "", connectors.Denied, "certificate"},
		{"another authority", map[string]any{"ca_file": theirs + ".pem"}, "", connectors.Denied, "ca_file"},
		{"the system's authorities", map[string]any{"tls": "verify"}, "", connectors.Denied, "ca_file"},
		{"asked for in the connection string", nil, "tls=true", connectors.Denied, "ca_file"},
		{"no TLS on this machine", nil, "", connectors.Denied, "config.tls"},
		{"skip-verify", nil, "tls=skip-verify", connectors.Invalid, "remove it"},
		{"preferred", nil, "tls=preferred", connectors.Invalid, "remove it"},
		{"off and on", map[string]any{"tls": "off"}, "tls=true", connectors.Invalid, "tls=true"},
		{"off with an authority", map[string]any{"tls": "off", "ca_file": ours + ".pem"}, "", connectors.Invalid, "TLS is off"},
		{"no such file", map[string]any{"ca_file": "/nowhere.pem"}, "", connectors.Invalid, "cannot be read"},
		{"no certificate", map[string]any{"ca_file": ours + ".key"}, "", connectors.Invalid, "no certificate"},
		{"out of the repository", map[string]any{"ca_file": "../x.pem"}, "", connectors.Invalid, "outside the access repository"},
	} {
		cfg := b.config
		cfg.Directory = dir
		cfg.Values = map[string]any{"dsn": connectors.NewSecret(b.server.DSN("admin", connectortest.Canary) + "?" + c.query)}
		for k, v := range c.values {
			cfg.Values[k] = v
		}
		r, err := mysql.New().OpenReader(t.Context(), cfg)
		if err == nil {
			_ = r.Close()
		}
		if connectors.CodeOf(err) != c.code || (c.code == "") != (err == nil) || !strings.Contains(fmt.Sprint(err), c.wants) {
			t.Errorf("%s: %v, want %q and %q", c.name, err, c.code, c.wants)
		}
	}
	plain := newBench(t)
	cfg := plain.config
	cfg.Values = map[string]any{"dsn": cfg.Values["dsn"], "tls": "verify"}
	if _, err := mysql.New().OpenReader(t.Context(), cfg); connectors.CodeOf(err) != connectors.Denied || !strings.Contains(err.Error(), "does not support TLS") {
		t.Errorf("a server without TLS: %v, want %s", err, connectors.Denied)
	}
}

// certificate writes a self-signed certificate and its key, and returns the path without ending.
func certificate(t connectortest.TB, dir, who string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: who}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"db.example.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, who)
	for ending, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		var b bytes.Buffer
		if err := pem.Encode(&b, block); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+ending, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// testQuoting has the server itself read identifiers and accounts that are made of everything that could end them.
func testQuoting(t *testing.T, b *bench) {
	var names []string
	for _, s := range []string{"`", "``", "a`b", "'", `"`, `\`, `\'`, "`; DROP ROLE x; --", "/*", "*/", "--", "#", "@", "`@`", "a`@`%", "\t", "\n", "é`", "%", "_", "?", ":a", "$1", "{}"} {
		names = append(names, b.Name(s+"."), b.Name("x"+s+"y"))
	}
	var ops []schemas.Operation
	for _, n := range names {
		ops = append(ops, b.create(n))
	}
	b.must(t, ops...)
	s, err := b.w.Read(t.Context(), schemas.Selection{Scope: map[string][]string{"role": {b.Name("*")}}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range s.Connections {
		got = append(got, c.SourceName)
	}
	slices.Sort(names)
	if diff := cmp.Diff(names, got); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
	for _, n := range names {
		b.exec(t, "CREATE TABLE "+name(b.Name("sales"))+"."+name(n)+" (id int)")
	}
	ops = nil
	var want []string
	r := names[0]
	for _, n := range names {
		target := path(b.Name("sales"), n)
		ops = append(ops, b.grant(r, "table", target, "SELECT"))
		want = append(want, "table "+target+" SELECT")
	}
	b.must(t, ops...)
	slices.Sort(want)
	b.want(t, r, want...)
}
