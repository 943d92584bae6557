package servers

import (
	"context"
	"database/sql"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"
)

// MariaDBServer is a MariaDB server with the superuser root without a password.
type MariaDBServer struct {
	Port int
	// DB is a pool of sessions of root.
	DB *sql.DB
}

// Address is host:port.
func (s *MariaDBServer) Address() string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

// DSN returns the connection string of a user.
func (s *MariaDBServer) DSN(user, password string) string {
	c := driver.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr = user, password, "tcp", s.Address()
	return c.FormatDSN()
}

// Exec runs statements as root, each by itself, in one session.
func (s *MariaDBServer) Exec(t TB, statements ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := s.DB.Conn(ctx)
	if err != nil {
		t.Fatalf("connect to MariaDB: %v", err)
	}
	defer conn.Close()
	for _, text := range statements {
		if _, err := conn.ExecContext(ctx, text); err != nil {
			t.Fatalf("%s: %v", text[:min(len(text), 300)], err)
		}
	}
}

// Script runs a script as an administrator does, with the server's own client.
func (s *MariaDBServer) Script(t TB, script string) {
	t.Helper()
	cmd := exec.Command(program(t, "mariadb"), "--no-defaults", "--user=root", "--host=127.0.0.1", fmt.Sprintf("--port=%d", s.Port))
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("mariadb: %v\n%s", err, out)
	}
}

// MariaDB starts a server, with the additional options, that stops with the test.
func MariaDB(t TB, options ...string) *MariaDBServer {
	t.Helper()
	const owner = "mysql"
	server, install := program(t, "mariadbd"), program(t, "mariadb-install-db")
	dir := folder(t, owner)
	data := filepath.Join(dir, "data")
	// A starting server removes all temporary tables in the folder for its own.
	temporary := "--tmpdir=" + dir
	args := []string{"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=8M"}
	for _, o := range options {
		if strings.HasPrefix(o, "--lower-case-table-names") {
			args = append(args, o)
		}
	}
	installed.data(t, owner, data, "mariadb "+strings.Join(args, " "), func(t TB, into string) {
		run(t, owner, filepath.Dir(into), install, append([]string{"--no-defaults", "--datadir=" + into, "--tmpdir=" + filepath.Dir(into)}, args...)...)
	})
	s := &MariaDBServer{}
	for attempt := 1; ; attempt++ {
		s.Port = freePort(t)
		db, err := sql.Open("mysql", s.DSN("root", "")+"?timeout=10s")
		if err != nil {
			t.Fatal(err)
		}
		// The binary log and crash safety are off: the folder is deleted with the test.
		cmd := command(t, owner, dir, server, append([]string{"--no-defaults", "--datadir=" + data, "--bind-address=127.0.0.1",
			fmt.Sprintf("--port=%d", s.Port), "--socket=" + filepath.Join(dir, "s.sock"), "--pid-file=" + filepath.Join(dir, "pid"),
			"--skip-log-bin", "--skip-name-resolve", temporary, "--innodb-buffer-pool-size=8M", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0",
			"--performance-schema=OFF", "--max-connections=400", "--thread-handling=one-thread-per-connection"}, options...)...)
		// Another server may have taken the port: ask which data this one serves.
		err = try(t, cmd, func(ctx context.Context) error {
			var where string
			if err := db.QueryRowContext(ctx, "SELECT @@datadir").Scan(&where); err != nil {
				return err
			}
			if filepath.Clean(where) != data {
				return fmt.Errorf("the server on port %d serves %q, want %q", s.Port, where, data)
			}
			return nil
		})
		if err == nil {
			s.DB = db
			t.Cleanup(func() {
				if err := db.Close(); err != nil {
					t.Errorf("close the sessions of MariaDB: %v", err)
				}
			})
			return s
		}
		if cerr := db.Close(); cerr != nil || attempt == 5 {
			t.Fatalf("start MariaDB: %v (%v)", err, cerr)
		}
	}
}
