package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	driverapi "github.com/go-sql-driver/mysql"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/schemas"
)

func rootConfig(server *servers.MariaDBServer) connectors.Config {
	return connectors.Config{Application: "warehouse", Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Values: map[string]any{"dsn": connectors.NewSecret(server.DSN("root", ""))}}
}

// TestSession shows what a session can do, and that a lost one is replaced by one that means the same.
func TestSession(t *testing.T) {
	t.Parallel()
	server := servers.MariaDB(t)
	cfg := rootConfig(server)
	opened, err := New().OpenReader(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, ok := connectors.Unguard(opened).(*reader)
	if !ok {
		t.Fatalf("OpenReader returns a %T", opened)
	}
	defer r.Close()
	if _, ok := opened.(connectors.Writer); ok {
		t.Error("a reader can write")
	}
	refused := func() {
		t.Helper()
		for _, s := range []string{"CREATE ROLE x", "GRANT SELECT ON *.* TO PUBLIC", "CREATE DATABASE x", "DROP USER root@localhost", "INSERT INTO mysql.roles_mapping VALUES ('', 'a', 'b', 'Y')"} {
			_, err := r.db.ExecContext(t.Context(), s)
			var said *driverapi.MySQLError
			if !errors.As(err, &said) || said.Number != errReadOnlyTransaction {
				t.Errorf("%s: %v, want %d", s, err, errReadOnlyTransaction)
			}
		}
	}
	refused()
	session := func() (id int, mode string) {
		t.Helper()
		if err := r.db.QueryRowContext(t.Context(), "SELECT CONNECTION_ID(), @@sql_mode").Scan(&id, &mode); err != nil {
			t.Fatal(err)
		}
		return id, mode
	}
	first, mode := session()
	for _, want := range []string{"NO_AUTO_CREATE_USER", "NO_BACKSLASH_ESCAPES"} {
		if !strings.Contains(mode, want) || strings.Contains(mode, "ANSI_QUOTES") {
			t.Errorf("sql_mode is %s, want %s in it", mode, want)
		}
	}
	server.Exec(t, fmt.Sprintf("KILL %d", first))
	if _, err := r.Read(t.Context(), schemas.Selection{}); err != nil && connectors.CodeOf(err) != connectors.Unavailable {
		t.Errorf("Read after the session was killed: %v", err)
	}
	if _, err := r.Read(t.Context(), schemas.Selection{}); err != nil {
		t.Errorf("Read with a new session: %v", err)
	}
	if second, again := session(); second == first || again != mode {
		t.Errorf("session %d has the mode %s, the first, %d, had %s", second, again, first, mode)
	}
	refused()
}

// TestOracleSession runs a statement in another mode, and comes back from it, whatever becomes of the statement.
func TestOracleSession(t *testing.T) {
	t.Parallel()
	server := servers.MariaDB(t)
	w, err := New().OpenWriter(t.Context(), rootConfig(server))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	x, ok := connectors.Unguard(w).(*writer)
	if !ok {
		t.Fatalf("OpenWriter returns a %T", w)
	}
	mode := func() (s string) {
		t.Helper()
		if err := x.db.QueryRowContext(t.Context(), "SELECT @@sql_mode").Scan(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := mode()
	if err := x.exec(t.Context(), "GRANT EXECUTE ON PACKAGE no.such TO nobody", true); number(err) == 0 {
		t.Errorf("got %v, want the server's refusal", err)
	}
	if after := mode(); after != before {
		t.Errorf("the mode is %s after it, and was %s", after, before)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := x.exec(ctx, "DO SLEEP(20)", true); err == nil {
		t.Error("a statement goes on after its time")
	}
	if after := mode(); after != before {
		t.Errorf("the mode is %s after it was stopped, and was %s", after, before)
	}
}

// fill makes n roles, each with a member and a privilege on one of 100 databases, by the tables themselves.
func fill(b *testing.B, server *servers.MariaDBServer, n int) {
	b.Helper()
	for start := 0; start < n; start += 500 {
		var accounts, members, grants []string
		for i := start; i < min(start+500, n); i++ {
			accounts = append(accounts, fmt.Sprintf(`('', 'role%05d', '{"access":0,"version_id":101119,"is_role":true}')`, i),
				fmt.Sprintf(`('%%', 'user%05d', '{"access":0,"version_id":101119,"plugin":"mysql_native_password"}')`, i))
			members = append(members, fmt.Sprintf(`('%%', 'user%05d', 'role%05d', 'N')`, i, i), fmt.Sprintf(`('127.0.0.1', 'root', 'role%05d', 'Y')`, i))
			grants = append(grants, fmt.Sprintf(`('', 'db%02d', 'role%05d', 'Y')`, i%100, i))
		}
		server.Exec(b, "INSERT INTO mysql.global_priv (Host, User, Priv) VALUES "+strings.Join(accounts, ", "),
			"INSERT INTO mysql.roles_mapping (Host, User, Role, Admin_option) VALUES "+strings.Join(members, ", "),
			"INSERT INTO mysql.db (Host, Db, User, Select_priv) VALUES "+strings.Join(grants, ", "))
	}
	server.Exec(b, "FLUSH PRIVILEGES")
}

func BenchmarkRead(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("%d roles", n), func(b *testing.B) {
			server := servers.MariaDB(b)
			fill(b, server, n)
			opened, err := New().OpenReader(b.Context(), rootConfig(server))
			if err != nil {
				b.Fatal(err)
			}
			defer opened.Close()
			r, ok := connectors.Unguard(opened).(*reader)
			if !ok {
				b.Fatalf("OpenReader returns a %T", opened)
			}
			r.queries = 0
			b.ReportAllocs()
			for b.Loop() {
				s, err := r.Read(b.Context(), schemas.Selection{})
				if err != nil || s.Incomplete != "" || len(s.Connections) != n || len(s.Connections[n-1].Entitlements) != 2 {
					b.Fatalf("%d roles, %v %s", len(s.Connections), err, s.Incomplete)
				}
			}
			b.ReportMetric(float64(r.queries)/float64(b.N), "calls/op")
		})
	}
}

// BenchmarkApply makes roles, each with a member and a privilege, beside as many that are there.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{100, 1_000} {
		b.Run(fmt.Sprintf("%d roles", n), func(b *testing.B) {
			server := servers.MariaDB(b)
			fill(b, server, n)
			server.Exec(b, "CREATE DATABASE sales")
			opened, err := New().OpenWriter(b.Context(), rootConfig(server))
			if err != nil {
				b.Fatal(err)
			}
			defer opened.Close()
			w, ok := connectors.Unguard(opened).(*writer)
			if !ok {
				b.Fatalf("OpenWriter returns a %T", opened)
			}
			var ops, undo []schemas.Operation
			for i := range n {
				name := schemas.Name{Type: typeRole, SourceName: fmt.Sprintf("new%05d", i)}
				ops = append(ops, schemas.Operation{ID: fmt.Sprint("c", i), Kind: schemas.OperationCreate, Connection: name},
					schemas.Operation{ID: fmt.Sprint("m", i), Kind: schemas.OperationGrant, Connection: name, Privilege: "MEMBER",
						Target: &schemas.Name{Type: typeUser, SourceName: fmt.Sprintf("user%05d@%%", i)}, DependsOn: []string{fmt.Sprint("c", i)}},
					schemas.Operation{ID: fmt.Sprint("g", i), Kind: schemas.OperationGrant, Connection: name, Privilege: "SELECT",
						Target: &schemas.Name{Type: typeDatabase, SourceName: "sales"}, DependsOn: []string{fmt.Sprint("c", i)}})
				undo = append(undo, schemas.Operation{ID: fmt.Sprint("d", i), Kind: schemas.OperationDelete, Connection: name})
			}
			do := func(list []schemas.Operation) {
				if err := w.Apply(b.Context(), list, func(o connectors.Outcome) {
					if o.Err != nil {
						b.Fatal(o.Err)
					}
				}); err != nil {
					b.Fatal(err)
				}
			}
			calls := 0
			for b.Loop() {
				w.queries = 0
				do(ops)
				calls += w.queries
				b.StopTimer()
				do(undo)
				b.StartTimer()
			}
			b.ReportMetric(float64(calls)/float64(b.N), "calls/op")
			b.ReportMetric(float64(len(ops)), "operations/op")
		})
	}
}

// TestWorthAnotherTry are errors that go away by themselves: none may end a run for good.
func TestWorthAnotherTry(t *testing.T) {
	t.Parallel()
	for _, number := range []uint16{1037, 1040, errNotReady, 1053, 1135, 1205, 1213, 1317} {
		if got := connectors.CodeOf(wrap("read", &driverapi.MySQLError{Number: number})); got != connectors.Unavailable {
			t.Errorf("error %d is %s, want %s", number, got, connectors.Unavailable)
		}
	}
}
