// Package servers starts real servers for tests: on loopback, in a temporary folder, each its own. A server
// that is not installed fails the test and says how to get it.
package servers

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is a PostgreSQL cluster with the superuser admin and no passwords.
type Postgres struct {
	Port int
	// Log is the server's log: with log_statement = all every statement stands in it.
	Log string
}

// DSN is the connection string of a role to a database.
func (p *Postgres) DSN(role, database string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=%s sslmode=disable", p.Port, role, database)
}

// Exec runs statements as the superuser.
func (p *Postgres) Exec(t testing.TB, database string, statements ...string) {
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

// PostgreSQL starts a cluster that stops with the test.
func PostgreSQL(t testing.TB) *Postgres {
	t.Helper()
	bin := binaries(t)
	// Not t.TempDir: the server's own user must be able to enter.
	dir, err := os.MkdirTemp("", "countersign-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the cluster: %v", err)
		}
	})
	if os.Geteuid() == 0 {
		owner, err := user.Lookup("postgres")
		if err != nil {
			t.Fatalf("PostgreSQL does not run as root, and there is no user postgres: run .ci/test")
		}
		uid, err1 := strconv.Atoi(owner.Uid)
		gid, err2 := strconv.Atoi(owner.Gid)
		if err1 != nil || err2 != nil {
			t.Fatalf("user postgres has the ids %s and %s", owner.Uid, owner.Gid)
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	run(t, dir, filepath.Join(bin, "initdb"), "-D", data, "-U", "admin", "--auth=trust", "-E", "UTF8", "--no-sync")
	p := &Postgres{Log: filepath.Join(dir, "log")}
	for attempt := 1; ; attempt++ {
		p.Port = freePort(t)
		options := fmt.Sprintf("-p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories=%s -c fsync=off -c log_statement=all -c max_connections=50", p.Port, dir)
		out, err := command(dir, filepath.Join(bin, "pg_ctl"), "-D", data, "-w", "-l", p.Log, "-o", options, "start").CombinedOutput()
		if err == nil {
			break
		}
		if attempt == 5 {
			t.Fatalf("start PostgreSQL: %v\n%s", err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := command(dir, filepath.Join(bin, "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop").CombinedOutput(); err != nil {
			t.Errorf("stop PostgreSQL: %v\n%s", err, out)
		}
	})
	// Another server may have been quicker on the port: ask which data this one serves.
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

// binaries is the folder of the newest installed server.
func binaries(t testing.TB) string {
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

// command runs a program as the server's own user.
func command(dir, name string, args ...string) *exec.Cmd {
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "postgres", "--", name}, args...)
		name = "runuser"
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC"}
	return cmd
}

func run(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	if out, err := command(dir, name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(name), err, out)
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("no TCP address: %v", l.Addr())
	}
	return addr.Port
}
