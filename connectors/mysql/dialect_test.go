package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	driverapi "github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/schemas"
)

func TestStatements(t *testing.T) {
	t.Parallel()
	role := func(d dialect, name string) accountID {
		id, ok := d.role(name)
		if !ok {
			t.Fatalf("%s is not a role", name)
		}
		return id
	}
	table := object{typ: typeTable, db: "my_db", name: "or`ders"}
	for _, c := range []struct {
		name string
		got  []string
		want []string
	}{
		{"global", mySQL.grant(object{typ: typeGlobal}, []string{"SELECT", "BACKUP_ADMIN"}, []string{"`r`@`%`"}),
			[]string{"GRANT SELECT, BACKUP_ADMIN ON *.* TO `r`@`%`"}},
		{"database", mySQL.grant(object{typ: typeDatabase, db: `my_db`}, []string{"SELECT", grantOption}, []string{"`r`@`%`", "`s`@`h`"}),
			[]string{"GRANT SELECT, GRANT OPTION ON `my\\_db`.* TO `r`@`%`, `s`@`h`"}},
		{"pattern", mariaDB.revoke(object{typ: typePattern, db: `my_db`}, []string{"SELECT"}, []string{"`r`"}), []string{"REVOKE SELECT ON `my_db`.* FROM `r`"}},
		{"table", mariaDB.grant(table, []string{"SELECT"}, []string{"`r`"}), []string{"GRANT SELECT ON TABLE `my_db`.`or``ders` TO `r`"}},
		{"column", mySQL.grant(object{typ: typeColumn, db: "d", name: "t"}, []string{"SELECT (`a`)", "UPDATE (`b`)"}, []string{"`r`@`%`"}),
			[]string{"GRANT SELECT (`a`), UPDATE (`b`) ON TABLE `d`.`t` TO `r`@`%`"}},
		{"function", mySQL.revoke(object{typ: typeFunction, db: "d", name: "f"}, []string{"EXECUTE"}, []string{"`r`@`%`"}),
			[]string{"REVOKE EXECUTE ON FUNCTION `d`.`f` FROM `r`@`%`"}},
		{"package body", mariaDB.grant(object{typ: typePackageBody, db: "d", name: "p"}, []string{"EXECUTE"}, []string{"`r`"}),
			[]string{"GRANT EXECUTE ON PACKAGE BODY `d`.`p` TO `r`"}},
		{"member", mySQL.grant(object{typ: typeRole, role: role(mySQL, "r@h")}, []string{"MEMBER"}, []string{"`u`@`%`"}), []string{"GRANT `r`@`h` TO `u`@`%`"}},
		{"member and admin", mariaDB.grant(object{typ: typeRole, role: role(mariaDB, "r")}, []string{"ADMIN", "MEMBER"}, []string{"`u`@`%`", "`s`"}),
			[]string{"GRANT `r` TO `u`@`%`, `s` WITH ADMIN OPTION"}},
		{"no member", mySQL.revoke(object{typ: typeRole, role: role(mySQL, "r")}, []string{"ADMIN", "MEMBER"}, []string{"`u`@`%`"}), []string{"REVOKE `r`@`%` FROM `u`@`%`"}},
		{"no admin", mariaDB.revoke(object{typ: typeRole, role: role(mariaDB, "r")}, []string{"ADMIN"}, []string{"`u`@`%`"}), []string{"REVOKE ADMIN OPTION FOR `r` FROM `u`@`%`"}},
		{"no admin in MySQL", mySQL.revoke(object{typ: typeRole, role: role(mySQL, "r")}, []string{"ADMIN"}, []string{"`u`@`%`"}),
			[]string{"REVOKE `r`@`%` FROM `u`@`%`", "GRANT `r`@`%` TO `u`@`%`"}},
		{"dynamic, not to be handed on", mySQL.revoke(object{typ: typeGlobal}, []string{"BACKUP_ADMIN" + withGrantOption, "CLONE_ADMIN", "CLONE_ADMIN" + withGrantOption}, []string{"`r`@`%`"}),
			[]string{"REVOKE CLONE_ADMIN ON *.* FROM `r`@`%`", "REVOKE BACKUP_ADMIN ON *.* FROM `r`@`%`", "GRANT BACKUP_ADMIN ON *.* TO `r`@`%`"}},
		{"create", []string{mySQL.create([]string{"`a`@`%`", "`b`@`%`"})}, []string{"CREATE ROLE IF NOT EXISTS `a`@`%`, `b`@`%`"}},
		{"drop", []string{mariaDB.drop([]string{"`a`"})}, []string{"DROP ROLE IF EXISTS `a`"}},
		{"comment", []string{mySQL.comment("`a`@`%`", `it's \ "x"`)}, []string{"ALTER USER `a`@`%` COMMENT 'it''s \\ \"x\"'"}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestCatalogueOfMySQL holds the query to the columns that the manual names (8.2.3 Grant Tables), and to those
// that must never be read.
func TestCatalogueOfMySQL(t *testing.T) {
	t.Parallel()
	q := mySQL.catalogue("", []string{"Host", "Db", "User", "Select_priv", "Create_tmp_table_priv", "Trigger_priv"}, true)
	for _, want := range []string{"FROM mysql.user", "FROM mysql.role_edges", "FROM mysql.global_grants", "FROM mysql.db", "FROM mysql.tables_priv",
		"FROM mysql.columns_priv", "FROM mysql.procs_priv", "information_schema.USER_ATTRIBUTES", "`Create_role_priv` = 'Y', 'CREATE ROLE'",
		"TO_USER", "FROM_HOST", "WITH_ADMIN_OPTION", "'CREATE TEMPORARY TABLES'", "account_locked = 'Y'", "password_expired = 'Y'"} {
		if !strings.Contains(q, want) {
			t.Errorf("the query has no %s", want)
		}
	}
	for _, never := range []string{"authentication_string", "User_attributes", "*", "Password", "global_priv"} {
		if strings.Contains(q, never) {
			t.Errorf("the query has %s", never)
		}
	}
	if strings.Contains(mySQL.catalogue("", nil, false), "USER_ATTRIBUTES") {
		t.Error("accounts have no comments before 8.0.21")
	}
	if strings.Contains(strings.ReplaceAll(mariaDB.catalogue("", nil, false), "JSON_VALUE(Priv, '$.", ""), "Priv,") {
		t.Error("the query of MariaDB reads all of Priv")
	}
	if q := mariaDB.catalogue("countersign.accounts", nil, false); strings.Contains(q, "global_priv") || !strings.Contains(q, "`countersign`.`accounts`") {
		t.Error("the query does not read through the view")
	}
}

// fake answers as its manual describes, and records the statements.
type fake struct {
	answers    map[string][][]string // by the start of the query
	fail       map[string]error      // by the statement
	statements []string
}

var (
	_ driver.Connector     = (*fake)(nil)
	_ driver.ExecerContext = (*fakeConn)(nil)
)

type fakeConn struct{ f *fake }

func (f *fake) Connect(context.Context) (driver.Conn, error) { return &fakeConn{f}, nil }
func (f *fake) Driver() driver.Driver                        { return nil }
func (c *fakeConn) Prepare(string) (driver.Stmt, error)      { return nil, errors.New("not prepared") }
func (c *fakeConn) Close() error                             { return nil }
func (c *fakeConn) Begin() (driver.Tx, error)                { return nil, errors.New("no transactions") }

func (c *fakeConn) ExecContext(_ context.Context, q string, _ []driver.NamedValue) (driver.Result, error) {
	c.f.statements = append(c.f.statements, q)
	return driver.ResultNoRows, c.f.fail[q]
}

func (c *fakeConn) QueryContext(_ context.Context, q string, _ []driver.NamedValue) (driver.Rows, error) {
	for start, rows := range c.f.answers {
		if strings.HasPrefix(q, start) {
			n := strings.Count(start, "\x00") // none
			if len(rows) > 0 {
				n = len(rows[0])
			}
			return &fakeRows{rows, n}, nil
		}
	}
	return nil, fmt.Errorf("nothing is known of %s", q)
}

type fakeRows struct {
	rows [][]string
	n    int
}

func (r *fakeRows) Columns() []string { return make([]string, r.n) }
func (r *fakeRows) Close() error      { return nil }
func (r *fakeRows) Next(into []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	for i, v := range r.rows[0] {
		into[i] = []byte(v)
	}
	r.rows = r.rows[1:]
	return nil
}

// mysqlServer answers with the rows that the manual shows for a server with a few accounts.
func mysqlServer(version string) *fake {
	f := &fake{fail: map[string]error{}, answers: map[string][][]string{
		"SHOW GLOBAL VARIABLES":    {{"version", version}, {"mandatory_roles", ""}},
		"SHOW COLUMNS":             {},
		"SHOW PRIVILEGES":          {},
		"SELECT CURRENT_USER()":    {{"countersign_apply@%", "`engine`@`%`"}},
		"SELECT SCHEMA_NAME":       {{"sales"}, {"my_db"}},
		"SELECT TABLE_SCHEMA":      {{"sales", "orders", ""}},
		"SELECT ROUTINE_SCHEMA":    {{"sales", "total", ""}},
		"SELECT CONVERT('view'":    {},
		"SELECT CONVERT('account'": {},
	}}
	for _, c := range []string{"Host", "Db", "User", "Select_priv", "Insert_priv", "Update_priv", "Delete_priv", "Create_priv", "Drop_priv", "Grant_priv",
		"Alter_priv", "Execute_priv", "Alter_routine_priv"} {
		f.answers["SHOW COLUMNS"] = append(f.answers["SHOW COLUMNS"], []string{c, "enum('N','Y')", "NO", "", "N", ""})
	}
	for _, p := range []string{"Alter", "Select", "Insert", "Update", "Delete", "Create", "Drop", "Grant option", "Create role", "Usage", "Proxy", "Execute", "Alter routine",
		"Show databases", "BACKUP_ADMIN", "CLONE_ADMIN", "SOME_PLUGIN_ADMIN"} {
		f.answers["SHOW PRIVILEGES"] = append(f.answers["SHOW PRIVILEGES"], []string{p, "Server Admin", ""})
	}
	row := func(cells ...string) {
		for len(cells) < 7 {
			cells = append(cells, "")
		}
		f.answers["SELECT CONVERT('account'"] = append(f.answers["SELECT CONVERT('account'"], cells)
	}
	row("account", "reader", "%", "SELECT,GRANT OPTION", "", "1", "1")
	row("account", "local", "localhost", "", "", "1", "1")
	row("account", "engine", "%", "", "", "1", "1")
	row("account", "alice", "%", "", "", "0", "0")
	row("account", "bob", "10.0.0.%", "", "", "1", "0")
	row("account", "carol", "%", "", "", "0", "1")
	row("account", "team", "%", "", "", "0", "0")
	row("account", "countersign_apply", "%", "CREATE USER", "", "0", "0")
	row("account", "mysql.sys", "localhost", "", "", "1", "0")
	row("comment", "reader", "%", "it's for reports")
	row("edge", "alice", "%", "reader", "%", "N")
	row("edge", "bob", "10.0.0.%", "reader", "%", "Y")
	row("edge", "alice", "%", "team", "%", "N")
	row("edge", "local", "localhost", "reader", "%", "N")
	row("edge", "countersign_apply", "%", "reader", "%", "Y")
	row("dynamic", "reader", "%", "BACKUP_ADMIN", "Y")
	row("dynamic", "reader", "%", "CLONE_ADMIN", "N")
	row("database", "reader", "%", `my\_db`, "SELECT,INSERT")
	row("database", "reader", "%", `my_db`, "SELECT")
	row("database", "alice", "%", `private`, "SELECT")
	row("table", "reader", "%", "sales", "orders", "Select,Grant,Show view")
	row("table", "reader", "%", "sales", "half", "")
	row("column", "reader", "%", "sales", "orders", "id", "Select,References")
	row("routine", "reader", "%", "sales", "total", "FUNCTION", "Execute,Alter Routine")
	row("end")
	return f
}

func (f *fake) open(t connectortest.TB) (*writer, error) {
	t.Helper()
	r := &reader{settings: &settings{}, now: time.Now,
		db: sql.OpenDB(f), others: map[string]bool{}}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := r.look(t.Context()); err != nil {
		return nil, err
	}
	checker, err := connectors.NewChecker(r.description)
	if err != nil {
		return nil, err
	}
	return &writer{r, checker}, nil
}

// TestMySQL reads and changes a server that answers as the manual of MySQL describes.
func TestMySQL(t *testing.T) {
	t.Parallel()
	f := mysqlServer("8.0.36")
	w, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	global, _ := d.Types[0].Target(typeGlobal)
	if !d.Types[0].Update || !slices.Contains(global.Privileges, "SOME_PLUGIN_ADMIN") || slices.Contains(global.Privileges, "BINLOG MONITOR") {
		t.Errorf("the description is not MySQL's: update %v, global %v", d.Types[0].Update, global.Privileges)
	}
	if _, ok := d.Types[0].Target(typePackage); ok {
		t.Error("MySQL has no packages")
	}
	state, err := w.Read(t.Context(), schemas.Selection{})
	if err != nil || state.Incomplete != "" {
		t.Fatalf("Read: %v %s", err, state.Incomplete)
	}
	held := func(typ, name, privilege string) schemas.Entitlement {
		e := schemas.Entitlement{Target: schemas.Name{Type: typ, SourceName: name}, Privilege: privilege}
		if strings.HasPrefix(name, "bob@") {
			e.State = schemas.StateBlocked
		}
		return e
	}
	role := func(name, comment, protected string, e ...schemas.Entitlement) schemas.Connection {
		return schemas.Connection{Name: schemas.Name{Type: typeRole, SourceName: name}, Payload: map[string]any{"comment": comment}, Protected: protected, Entitlements: e}
	}
	want := []schemas.Connection{
		role("engine", "", "countersign gets its own privileges from it"),
		role("local@localhost", "", "", held("role", "reader", "MEMBER")),
		role("reader", "it's for reports", "",
			held("column", "sales.orders.id", "REFERENCES"), held("column", "sales.orders.id", "SELECT"),
			held("database", "my_db", "INSERT"), held("database", "my_db", "SELECT"), held("database_pattern", "my_db", "SELECT"),
			held("function", "sales.total", "ALTER ROUTINE"), held("function", "sales.total", "EXECUTE"),
			held("global", "*.*", "BACKUP_ADMIN"), held("global", "*.*", "BACKUP_ADMIN WITH GRANT OPTION"), held("global", "*.*", "CLONE_ADMIN"),
			held("global", "*.*", "GRANT OPTION"), held("global", "*.*", "SELECT"),
			held("table", "sales.orders", "GRANT OPTION"), held("table", "sales.orders", "SELECT"), held("table", "sales.orders", "SHOW VIEW"),
			held("user", "alice@%", "MEMBER"), held("user", "bob@10.0.0.%", "ADMIN"), held("user", "bob@10.0.0.%", "MEMBER")),
		role("team", "", "it has members and can log in: lock it (ALTER USER ... ACCOUNT LOCK) to have it managed as a role", held("user", "alice@%", "MEMBER")),
	}
	if diff := cmp.Diff(want, state.Connections, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	page, err := w.List(t.Context(), connectors.Query{Type: typeUser})
	if err != nil {
		t.Fatal(err)
	}
	var users []string
	for _, i := range page.Items {
		users = append(users, i.SourceName+" "+string(i.State)+" "+i.Protected)
	}
	if diff := cmp.Diff([]string{"alice@%  ", "bob@10.0.0.% blocked ", "carol@% expired ", "countersign_apply@%  it is the account that countersign logs in with",
		"mysql.sys@localhost blocked it belongs to the server"}, users); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	named, err := w.List(t.Context(), connectors.Query{Type: typeUser, Names: []string{"reader@%"}})
	if err != nil || len(named.Items) != 1 || !named.Items[0].Connection {
		t.Errorf("a role asked for as a user: %+v, %v, want an item that is a connection", named.Items, err)
	}
}

// TestApplyOnMySQL compares the statements with the manual.
func TestApplyOnMySQL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		ops  []schemas.Operation
		fail map[string]error
		want []string
		code []connectors.Code
	}{
		{"create with a comment", []schemas.Operation{
			change("create", "new", nil, "", map[string]any{"comment": "a'b"}), change("create", "second@localhost", nil, "", nil)}, nil,
			[]string{"CREATE ROLE IF NOT EXISTS `new`@`%`, `second`@`localhost`", "ALTER USER `new`@`%` COMMENT 'a''b'"}, []connectors.Code{"", ""}},
		{"create what is there", []schemas.Operation{change("create", "reader", nil, "", map[string]any{"comment": "it's for reports"})}, nil, nil, []connectors.Code{""}},
		{"create over a user", []schemas.Operation{change("create", "alice", nil, "", nil)}, nil, nil, []connectors.Code{connectors.Conflict}},
		{"update", []schemas.Operation{change("update", "reader", nil, "", map[string]any{"comment": "new"})}, nil, []string{"ALTER USER `reader`@`%` COMMENT 'new'"}, []connectors.Code{""}},
		{"drop a user", []schemas.Operation{change("delete", "alice", nil, "", nil)}, nil, nil, []connectors.Code{connectors.Conflict}},
		{"drop what can log in", []schemas.Operation{change("delete", "team", nil, "", nil)}, nil, nil, []connectors.Code{connectors.Denied}},
		{"drop our own role", []schemas.Operation{change("delete", "engine", nil, "", nil)}, nil, nil, []connectors.Code{connectors.Denied}},
		{"drop", []schemas.Operation{change("delete", "reader", nil, "", nil)}, nil, []string{"DROP ROLE IF EXISTS `reader`@`%`"}, []connectors.Code{""}},
		{"drop a definer", []schemas.Operation{change("delete", "reader", nil, "", nil)},
			map[string]error{"DROP ROLE IF EXISTS `reader`@`%`": &driverapi.MySQLError{Number: 4006, Message: "it is referenced as a definer account"}},
			[]string{"DROP ROLE IF EXISTS `reader`@`%`"}, []connectors.Code{connectors.Conflict}},
		{"members", []schemas.Operation{change("grant", "local@localhost", target("user", "carol@%"), "MEMBER", nil), change("grant", "local@localhost", target("user", "alice@%"), "MEMBER", nil)}, nil,
			[]string{"GRANT `local`@`localhost` TO `alice`@`%`, `carol`@`%`"}, []connectors.Code{"", ""}},
		// To grant without ADMIN what is held with it might take ADMIN away.
		{"member already", []schemas.Operation{change("grant", "reader", target("user", "bob@10.0.0.%"), "MEMBER", nil)}, nil, nil, []connectors.Code{""}},
		{"no more admin", []schemas.Operation{change("revoke", "reader", target("user", "bob@10.0.0.%"), "ADMIN", nil)}, nil,
			[]string{"REVOKE `reader`@`%` FROM `bob`@`10.0.0.%`", "GRANT `reader`@`%` TO `bob`@`10.0.0.%`"}, []connectors.Code{""}},
		{"a role as a user", []schemas.Operation{change("grant", "reader", target("user", "local@localhost"), "MEMBER", nil)}, nil, nil, []connectors.Code{connectors.Conflict}},
		{"our own account", []schemas.Operation{change("grant", "local@localhost", target("user", "countersign_apply@%"), "MEMBER", nil)}, nil, nil, []connectors.Code{connectors.Denied}},
		{"privileges", []schemas.Operation{change("grant", "reader", target("database", "sales"), "SELECT", nil), change("grant", "reader", target("database", "sales"), "INSERT", nil),
			change("grant", "reader", target("function", "sales.total"), "EXECUTE", nil), change("grant", "reader", target("database", "nowhere"), "SELECT", nil)}, nil,
			[]string{"GRANT INSERT, SELECT ON `sales`.* TO `reader`@`%`"}, []connectors.Code{"", "", "", connectors.NotFound}},
		// With partial_revokes, what is not held would become a restriction.
		{"revoke what is not held", []schemas.Operation{change("revoke", "reader", target("database", "sales"), "SELECT", nil)}, nil, nil, []connectors.Code{""}},
		{"revoke", []schemas.Operation{change("revoke", "reader", target("database_pattern", "my_db"), "SELECT", nil),
			change("revoke", "reader", target("global", "*.*"), "BACKUP_ADMIN WITH GRANT OPTION", nil)}, nil,
			[]string{"REVOKE SELECT ON `my_db`.* FROM `reader`@`%`", "REVOKE BACKUP_ADMIN ON *.* FROM `reader`@`%`", "GRANT BACKUP_ADMIN ON *.* TO `reader`@`%`"},
			[]connectors.Code{"", ""}},
		{"a longer name of a role", []schemas.Operation{change("grant", "reader@%", target("user", "carol@%"), "MEMBER", nil)}, nil, nil, []connectors.Code{connectors.Invalid}},
		{"an id", []schemas.Operation{func() schemas.Operation {
			o := change("delete", "reader", nil, "", nil)
			o.NativeID = "7"
			return o
		}()}, nil, nil, []connectors.Code{connectors.Conflict}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := mysqlServer("8.4.0")
			f.fail = c.fail
			w, err := f.open(t)
			if err != nil {
				t.Fatal(err)
			}
			codes := map[string]connectors.Code{}
			for i := range c.ops {
				c.ops[i].ID = fmt.Sprint(i)
			}
			if err := w.Apply(t.Context(), c.ops, func(o connectors.Outcome) {
				codes[o.Operation] = connectors.CodeOf(o.Err)
				if o.Err != nil && codes[o.Operation] == "" {
					t.Errorf("%v has no code", o.Err)
				}
			}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, f.statements, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("statements (-want +got):\n%s", diff)
			}
			for i, code := range c.code {
				if got, ok := codes[fmt.Sprint(i)]; !ok || got != code {
					t.Errorf("operation %d: code %q (%v), want %q", i, got, ok, code)
				}
			}
		})
	}
}

func change(kind, role string, on *schemas.Name, privilege string, after map[string]any) schemas.Operation {
	return schemas.Operation{Kind: schemas.OperationKind(kind), Application: "warehouse", Connection: schemas.Name{Type: typeRole, SourceName: role},
		Target: on, Privilege: privilege, After: after}
}

func target(typ, name string) *schemas.Name { return &schemas.Name{Type: typ, SourceName: name} }

// TestMandatoryRoles is a server that gives some roles to every account: what they are given, everybody has.
func TestMandatoryRoles(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]accountID{
		"":   nil,
		"r1": {{"r1", "%"}},
		" r1 ,r2@LocalHost,`r`` 3`@`%`, 'r,4'@'10.0.0.%',\"r@5\"": {{"r1", "%"}, {"r2", "localhost"}, {"r` 3", "%"}, {"r,4", "10.0.0.%"}, {"r@5", "%"}},
		"zähler": {{"zähler", "%"}},
	} {
		if diff := cmp.Diff(want, parseMandatory(text), cmp.AllowUnexported(accountID{})); diff != "" {
			t.Errorf("parseMandatory(%s) (-want +got):\n%s", text, diff)
		}
	}
	f := mysqlServer("8.0.36")
	f.answers["SHOW GLOBAL VARIABLES"] = [][]string{{"version", "8.0.36"}, {"mandatory_roles", "`reader`@`%`"}}
	w, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	o := change("grant", "reader", target(typeGlobal, everything), "SELECT", nil)
	if err := w.Apply(t.Context(), []schemas.Operation{o}, func(o connectors.Outcome) {
		if connectors.CodeOf(o.Err) != connectors.Denied {
			t.Errorf("a grant to a role that everybody has: %v, want %s", o.Err, connectors.Denied)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"10.11.19-MariaDB-0+deb12u1": 101119, "8.0.36": 80036, "8.4.0-log": 80400, "11.4.2-MariaDB": 110402, "x": 0, "8.0": 80000} {
		if got := versionOf(text); got != want {
			t.Errorf("versionOf(%s) = %d, want %d", text, got, want)
		}
	}
	old := mysqlServer("8.0.20")
	w, err := old.open(t)
	if err != nil {
		t.Fatal(err)
	}
	if w.description.Types[0].Update || strings.Contains(w.catalogue, "USER_ATTRIBUTES") {
		t.Error("accounts have no comments before 8.0.21")
	}
	for name, rows := range map[string][][]string{
		"MySQL 5.7":     {{"version", "5.7.44"}},
		"MariaDB 10.6":  {{"version", "10.6.1-MariaDB"}, {"aria_block_size", "8192"}},
		"no answer":     {},
		"MariaDB, told": {{"version", "5.5.5"}, {"aria_block_size", "8192"}},
	} {
		f := mysqlServer("")
		f.answers["SHOW GLOBAL VARIABLES"] = rows
		if _, err := f.open(t); connectors.CodeOf(err) != connectors.Unsupported {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}

// TestCutAnswers checks that truncated answers do not pass for a complete state.
func TestCutAnswers(t *testing.T) {
	t.Parallel()
	const catalogue = "SELECT CONVERT('account'"
	for name, damage := range map[string]func(*fake){
		"no end":    func(f *fake) { f.answers[catalogue] = f.answers[catalogue][:len(f.answers[catalogue])-1] },
		"empty":     func(f *fake) { f.answers[catalogue] = nil },
		"no reader": func(f *fake) { f.answers[catalogue] = f.answers[catalogue][1:] },
	} {
		f := mysqlServer("8.0.36")
		damage(f)
		w, err := f.open(t)
		if err != nil {
			t.Fatal(err)
		}
		state, err := w.Read(t.Context(), schemas.Selection{})
		if err == nil && state.Incomplete == "" {
			t.Errorf("%s: Read reports a complete state", name)
		}
		if err := w.Apply(t.Context(), []schemas.Operation{change("delete", "local@localhost", nil, "", nil)}, func(connectors.Outcome) {}); err == nil {
			t.Errorf("%s: Apply works on it", name)
		}
		if len(f.statements) > 0 {
			t.Errorf("%s: %q was sent", name, f.statements)
		}
	}
	// Privileges that are not listed are not known to be none.
	f := mysqlServer("8.0.36")
	f.answers["SHOW COLUMNS"] = f.answers["SHOW COLUMNS"][:4]
	if _, err := f.open(t); connectors.CodeOf(err) != connectors.Denied {
		t.Errorf("columns of mysql.db are hidden: %v, want %s", err, connectors.Denied)
	}
}

// TestSteps holds the plan of an Apply to the order that its operations need.
func TestSteps(t *testing.T) {
	t.Parallel()
	var ops []schemas.Operation
	add := func(o schemas.Operation, after ...string) string {
		o.ID = fmt.Sprint(len(ops))
		o.DependsOn = after
		ops = append(ops, o)
		return o.ID
	}
	a := add(change("create", "a", nil, "", nil))
	add(change("grant", "a", target("database", "d"), "SELECT", nil), a)
	b := add(change("create", "b", nil, "", nil))
	add(change("grant", "b", target("database", "d"), "SELECT", nil), b)
	add(change("grant", "b", target("role", "a"), "MEMBER", nil), a, b)
	add(change("revoke", "a", target("user", "u@%"), "MEMBER", nil))
	add(change("grant", "c", target("user", "u@%"), "MEMBER", nil)) // the same user is taken from a first
	add(change("grant", "d", target("database", "d"), "SELECT", nil))
	add(change("delete", "a", nil, "", nil))
	add(change("create", "a", nil, "", nil))
	add(change("create", "e", nil, "", nil), "7")
	var got []string
	for _, s := range mariaDB.steps(ops) {
		line := string(s.kind)
		for _, o := range s.ops {
			line += " " + o.ID
		}
		got = append(got, line)
	}
	if diff := cmp.Diff([]string{"create 0 2", "grant 1 3 4 7", "revoke 5", "grant 6", "delete 8", "create 9 10"}, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}
