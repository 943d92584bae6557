package mysql

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	driverapi "github.com/go-sql-driver/mysql"

	"github.com/countersign/countersign/connectors"
)

// login is a credential with its connection settings.
type login struct {
	config  *driverapi.Config
	timeout time.Duration
}

// login parses the connection string of a setting.
func (s *settings) login(field string, dsn connectors.Secret) (*login, error) {
	// The driver's messages may quote the connection string.
	c, err := driverapi.ParseDSN(dsn.Reveal())
	if err != nil {
		return nil, s.config.Invalid(field, "not a connection string (expected user:password@tcp(host:3306)/)")
	}
	if c.User == "" {
		return nil, s.config.Invalid(field, "user missing (expected user:password@tcp(host:3306)/)")
	}
	l := &login{config: c, timeout: s.Timeout}
	c.Timeout, c.ReadTimeout, c.WriteTimeout = l.timeout, l.timeout, l.timeout
	c.DBName = ""
	c.MultiStatements, c.InterpolateParams = false, false
	c.AllowAllFiles, c.AllowOldPasswords, c.AllowFallbackToPlaintext = false, false, false
	c.Logger = &driverapi.NopLogger{}
	return l, s.secure(field, l)
}

// secure configures TLS. The connection string must not weaken the config.
func (s *settings) secure(field string, l *login) error {
	mode := s.TLS
	switch l.config.TLSConfig {
	case "":
	case "true":
		if mode == "off" {
			return s.config.Invalid("tls", "off conflicts with tls=true in the connection string of config.%s", field)
		}
		mode = "verify"
	case "false":
		if mode == "" {
			mode = "off"
		}
	default:
		return s.config.Invalid(field, "tls=%s in the connection string is not supported: remove it, and set config.tls to verify, with config.ca_file, or to off", l.config.TLSConfig)
	}
	plain := ""
	switch {
	case mode == "off":
		plain = "TLS is off"
	case mode == "" && l.config.Net == "unix":
		plain = "the connection string names a socket, which does not use TLS"
	case mode == "" && (s.CAFile != "" || s.ServerName != "" || !l.local()):
		mode = "verify"
	}
	if plain != "" && s.ServerName != "" {
		return s.config.Invalid("server_name", "%s, so certificates are not checked", plain)
	}
	check, err := s.config.TLS(s.CAFile, plain)
	if err != nil {
		return err
	}
	if mode != "verify" {
		if l.config.AllowCleartextPasswords && !l.local() {
			return s.config.Invalid(field, "the connection string allows cleartext passwords, and TLS is off")
		}
		l.config.TLS, l.config.TLSConfig = nil, ""
		return nil
	}
	check.ServerName = cmp.Or(s.ServerName, l.host())
	l.config.TLS = check
	return nil
}

// host is the server's, without the port.
func (l *login) host() string {
	host, _, err := net.SplitHostPort(l.config.Addr)
	if err != nil {
		return l.config.Addr
	}
	return host
}

// local reports whether the connection stays on this machine.
func (l *login) local() bool { return l.config.Net == "unix" || connectors.Loopback(l.host()) }

// open returns a pool of one session, which is opened when first needed and reopened after it was lost.
func (l *login) open(readOnly bool) (*sql.DB, error) {
	c, err := driverapi.NewConnector(l.config)
	if err != nil {
		return nil, &connectors.Error{Code: connectors.Invalid, Op: opConnect, Message: "the connection string does not fit together", Err: err}
	}
	db := sql.OpenDB(&dialer{Connector: c, timeout: l.timeout, readOnly: readOnly})
	db.SetMaxOpenConns(1)
	return db, nil
}

// dialer opens sessions with the same settings, regardless of the server's defaults.
type dialer struct {
	driver.Connector
	timeout  time.Duration
	readOnly bool
}

var _ driver.Connector = (*dialer)(nil)

// The statements here require this mode: backslashes are plain in strings, double quotes delimit strings, and errors
// are not downgraded to warnings.
const sqlMode = "STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES"

// Without this mode, a GRANT to a role that was just dropped makes MariaDB create a user of that name without a
// password. MySQL doesn't know the mode, and never creates users that way.
const noAutoCreate = ",NO_AUTO_CREATE_USER"

// Connect opens a session and sets it up.
func (d *dialer) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := d.Connector.Connect(ctx)
	if err != nil {
		return nil, &loginError{err}
	}
	if err := d.setup(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (d *dialer) setup(ctx context.Context, conn driver.Conn) error {
	exec, ok := conn.(driver.ExecerContext)
	if !ok {
		return errors.New("the driver cannot execute statements")
	}
	_, err := exec.ExecContext(ctx, "SET SESSION sql_mode = '"+sqlMode+noAutoCreate+"'", nil)
	var refused *driverapi.MySQLError
	if errors.As(err, &refused) && refused.Number == 1231 {
		_, err = exec.ExecContext(ctx, "SET SESSION sql_mode = '"+sqlMode+"'", nil)
	}
	if err != nil {
		return err
	}
	statements := []string{
		"SET NAMES utf8mb4",
		// An administrator may have limited result sets: a part would look complete.
		"SET SESSION sql_select_limit = 18446744073709551615, SESSION sql_big_selects = 1, SESSION autocommit = 1, SESSION lock_wait_timeout = " +
			strconv.Itoa(max(1, int(d.timeout/time.Second)-1)),
	}
	if d.readOnly {
		// It also refuses statements that change accounts.
		statements = append(statements, "SET SESSION TRANSACTION READ ONLY")
	}
	for _, s := range statements {
		if _, err := exec.ExecContext(ctx, s, nil); err != nil {
			return err
		}
	}
	return nil
}

// loginError is an error at login. Its text may quote the connection string.
type loginError struct{ err error }

func (e *loginError) Error() string { return "log in: " + e.err.Error() }
func (e *loginError) Unwrap() error { return e.err }

const opConnect = "connect to MySQL or MariaDB"

// wrap gives a driver's error a code, and a message without the connection string.
func wrap(op string, err error) error {
	var known *connectors.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	out := &connectors.Error{Op: op, Err: err, Code: connectors.Unavailable}
	var failure *driverapi.MySQLError
	var login *loginError
	var netErr net.Error
	var unknownCA x509.UnknownAuthorityError
	var wrongHost x509.HostnameError
	var badCert *tls.CertificateVerificationError
	atLogin := errors.As(err, &login)
	switch {
	case errors.As(err, &failure) && atLogin:
		out.Code, out.Message = codeOf(failure.Number), loginMessage(failure.Number)+" ("+strconv.Itoa(int(failure.Number))+")"
	case errors.As(err, &failure):
		out.Code, out.Message = codeOf(failure.Number), failure.Message+" ("+strconv.Itoa(int(failure.Number))+")"
		if out.Code == connectors.Denied && failure.Number != errReadOnly && failure.Number != errReadOnlyTransaction {
			out.Message += ": the credential that countersign logs in with lacks the privilege; countersign schema mysql --scripts lists what it needs"
		}
	case errors.Is(err, context.Canceled):
		out.Message = "stopped"
	case errors.Is(err, context.DeadlineExceeded):
		out.Message = "timed out"
	case errors.As(err, &unknownCA), errors.As(err, &wrongHost), errors.As(err, &badCert):
		out.Code = connectors.Denied
		out.Message = "the server's certificate is invalid: set its authority in config.ca_file, and its name in config.server_name if that is not the host"
	case errors.Is(err, driverapi.ErrNoTLS):
		out.Code, out.Message = connectors.Denied, "the server does not support TLS: enable it, or set config.tls to off if the network is trusted"
	case errors.Is(err, driverapi.ErrCleartextPassword), errors.Is(err, driverapi.ErrNativePassword), errors.Is(err, driverapi.ErrOldPassword), errors.Is(err, driverapi.ErrUnknownPlugin):
		out.Code, out.Message = connectors.Unsupported, "the server requires an authentication method that is unsupported or not allowed"
	case errors.As(err, &netErr) && netErr.Timeout():
		out.Message = "timed out waiting for the server (config.timeout)"
	case errors.As(err, &netErr):
		out.Message = "could not reach the server: check that it is running, and check host and port in the connection string"
	default:
		out.Message = "the connection to the server failed"
	}
	return out
}

// Error numbers that the code depends on. MariaDB and MySQL share those below 1900 and differ above.
const (
	errRoleExists          = 1396 // also for other failures of account statements
	errNoTLSHere           = 3159
	errNoGrant             = 1141
	errNoTableGrant        = 1147
	errNoRoutineGrant      = 1403
	errNotReady            = 1047 // a node of a Galera cluster that has not synced yet
	errReadOnly            = 1290
	errReadOnlyTransaction = 1792
	errCannotRevokeRole    = 1962 // MariaDB
	errDefiner             = 4006 // MySQL
)

// codeOf classifies the servers' error numbers.
func codeOf(number uint16) connectors.Code {
	switch number {
	case 1044, 1045, 1095, 1130, 1142, 1143, 1211, 1227, 1370, 1419, 1698, 1820, 1862, errReadOnlyTransaction, errReadOnly, 1836, errNoTLSHere, 3118, 3879, 4151:
		return connectors.Denied
	case 1049, 1051, 1054, 1109, 1133, 1146, 1305, 1356, 1959, 3523, 3162:
		return connectors.NotFound
	case errRoleExists, 1410, 1961, errCannotRevokeRole, 3530, 3638, errDefiner:
		return connectors.Conflict
	case 1021, 1037, 1038, 1040, 1041, errNotReady, 1053, 1129, 1135, 1152, 1158, 1159, 1160, 1161, 1203, 1205, 1206, 1213, 1226, 1317, 1637, 1927, 1969, 3024, 3168:
		return connectors.Unavailable
	}
	return connectors.Invalid
}

func loginMessage(number uint16) string {
	switch number {
	case 1045, 1698, 1044:
		return "the server refused the login: check user, password, the account's host, and whether the server requires TLS (config.tls)"
	case 1130:
		return "no account allows logins from this machine"
	case 1129:
		return "the server blocks this machine after too many errors: ask an administrator to run FLUSH HOSTS"
	case 1040, 1203, 1226:
		return "too many connections"
	case 1049:
		return "the database of the connection string does not exist"
	case 1820, 1862:
		return "the password of the credential has expired"
	case 3118, 4151:
		return "the account of the credential is locked"
	case errNoTLSHere:
		return "the server requires TLS: set config.tls to verify"
	case 1053:
		return "the server is shutting down"
	}
	return "the server refused the login"
}

// lost reports whether a statement went without an answer of the server: it may have been carried out.
func lost(err error) bool {
	var failure *driverapi.MySQLError
	return err != nil && !errors.As(err, &failure)
}

// number is the server's error number, or 0.
func number(err error) uint16 {
	var failure *driverapi.MySQLError
	if errors.As(err, &failure) {
		return failure.Number
	}
	return 0
}

// versionOf is the number of a version such as 10.11.19-MariaDB-0+deb12u1, as 101119.
func versionOf(text string) int {
	text, _, _ = strings.Cut(text, "-")
	n := 0
	for i, part := range strings.SplitN(text, ".", 3) {
		v, err := strconv.Atoi(part)
		if err != nil || v > 999 {
			return 0
		}
		n += v * []int{10000, 100, 1}[i]
	}
	return n
}

// query runs a statement and calls row for each row, which has that many columns. NULL is "".
func (r *reader) query(ctx context.Context, row func([]string) error, columns int, text string, args ...any) (err error) {
	r.queries++
	rows, err := r.db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]sql.RawBytes, columns)
	into := make([]any, columns)
	for i := range values {
		into[i] = &values[i]
	}
	texts := make([]string, columns)
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range values {
			texts[i] = string(v)
		}
		if err := row(texts); err != nil {
			return err
		}
	}
	return rows.Err()
}

// exec runs a statement.
func (w *writer) exec(ctx context.Context, statement string, oracle bool) (err error) {
	w.queries++
	if !oracle {
		_, err := w.db.ExecContext(ctx, statement)
		return err
	}
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed(conn)) }()
	if _, err := conn.ExecContext(ctx, "SET SESSION sql_mode = 'ORACLE,"+sqlMode+noAutoCreate+"'"); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, statement)
	if _, back := conn.ExecContext(context.WithoutCancel(ctx), "SET SESSION sql_mode = '"+sqlMode+noAutoCreate+"'"); back != nil {
		// A session left in another mode must not be reused.
		discard := conn.Raw(func(any) error { return driver.ErrBadConn })
		if !errors.Is(discard, driver.ErrBadConn) && !errors.Is(discard, sql.ErrConnDone) {
			err = errors.Join(err, discard)
		}
	}
	return err
}

// closed returns a session to the pool.
func closed(conn *sql.Conn) error {
	if err := conn.Close(); !errors.Is(err, sql.ErrConnDone) {
		return err
	}
	return nil
}

// all runs statements until one fails.
func (w *writer) all(ctx context.Context, statements []string, oracle bool) error {
	for _, s := range statements {
		if err := w.exec(ctx, s, oracle); err != nil {
			return err
		}
	}
	return nil
}
