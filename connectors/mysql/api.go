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

// login is one credential with the way to the server.
type login struct {
	config  *driverapi.Config
	timeout time.Duration
}

// login reads the connection string that a setting has.
func (s *settings) login(field string, dsn connectors.Secret) (*login, error) {
	// The driver's messages may quote the connection string.
	c, err := driverapi.ParseDSN(dsn.Reveal())
	if err != nil {
		return nil, s.config.Invalid(field, "not a connection string (expected user:password@tcp(host:3306)/)")
	}
	if c.User == "" {
		return nil, s.config.Invalid(field, "the connection string has no user (expected user:password@tcp(host:3306)/)")
	}
	l := &login{config: c, timeout: s.Timeout}
	c.Timeout, c.ReadTimeout, c.WriteTimeout = l.timeout, l.timeout, l.timeout
	c.DBName = ""
	c.MultiStatements, c.InterpolateParams = false, false
	c.AllowAllFiles, c.AllowOldPasswords, c.AllowFallbackToPlaintext = false, false, false
	c.Logger = &driverapi.NopLogger{}
	return l, s.secure(field, l)
}

// secure decides on TLS. What the connection string says about it may not weaken what the config says.
func (s *settings) secure(field string, l *login) error {
	mode := s.TLS
	switch l.config.TLSConfig {
	case "":
	case "true":
		if mode == "off" {
			return s.config.Invalid("tls", "it is off, and the connection string in config.%s has tls=true", field)
		}
		mode = "verify"
	case "false":
		if mode == "" {
			mode = "off"
		}
	default:
		return s.config.Invalid(field, "the connection string has tls=%s: take it out, and set config.tls to verify, with config.ca_file, or to off", l.config.TLSConfig)
	}
	plain := ""
	switch {
	case mode == "off":
		plain = "TLS is off"
	case mode == "" && l.config.Net == "unix":
		plain = "the connection string names a socket, which has no TLS"
	case mode == "" && (s.CAFile != "" || s.ServerName != "" || !l.local()):
		mode = "verify"
	}
	if plain != "" && s.ServerName != "" {
		return s.config.Invalid("server_name", "%s, so no certificate is checked", plain)
	}
	check, err := s.config.TLS(s.CAFile, plain)
	if err != nil {
		return err
	}
	if mode != "verify" {
		if l.config.AllowCleartextPasswords && !l.local() {
			return s.config.Invalid(field, "the connection string allows passwords in clear text, and TLS is off")
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

// local says whether the way to the server stays on this machine.
func (l *login) local() bool { return l.config.Net == "unix" || connectors.Loopback(l.host()) }

// open returns a pool of one session, which is made when it is first needed, and again when it was lost.
func (l *login) open(readOnly bool) (*sql.DB, error) {
	c, err := driverapi.NewConnector(l.config)
	if err != nil {
		return nil, &connectors.Error{Code: connectors.Invalid, Op: opConnect, Message: "the connection string does not fit together", Err: err}
	}
	db := sql.OpenDB(&dialer{Connector: c, timeout: l.timeout, readOnly: readOnly})
	db.SetMaxOpenConns(1)
	return db, nil
}

// dialer makes sessions that all mean the same by the same text, whatever the server's defaults are.
type dialer struct {
	driver.Connector
	timeout  time.Duration
	readOnly bool
}

var _ driver.Connector = (*dialer)(nil)

// What the statements here are written for: backslashes mean nothing in strings, double quotes are strings, and
// an error is an error.
const sqlMode = "STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES"

// Without this mode, MariaDB answers a GRANT to a role that was dropped meanwhile by making a user of that name
// with no password. MySQL does not know the mode, and never makes users so.
const noAutoCreate = ",NO_AUTO_CREATE_USER"

// Connect is the driver's, and sets the session up.
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
		// An administrator may have bounded answers: a part would look like the whole.
		"SET SESSION sql_select_limit = 18446744073709551615, SESSION sql_big_selects = 1, SESSION autocommit = 1, SESSION lock_wait_timeout = " +
			strconv.Itoa(max(1, int(d.timeout/time.Second)-1)),
	}
	if d.readOnly {
		// Statements that change accounts are refused in it, too.
		statements = append(statements, "SET SESSION TRANSACTION READ ONLY")
	}
	for _, s := range statements {
		if _, err := exec.ExecContext(ctx, s, nil); err != nil {
			return err
		}
	}
	return nil
}

// loginError is what the server or the way to it says at the login: the text may quote the connection string.
type loginError struct{ err error }

func (e *loginError) Error() string { return "log in: " + e.err.Error() }
func (e *loginError) Unwrap() error { return e.err }

const opConnect = "connect to MySQL or MariaDB"

// wrap gives a driver's error its code, and a message that holds no connection string.
func wrap(op string, err error) error {
	var known *connectors.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	out := &connectors.Error{Op: op, Err: err, Code: connectors.Unavailable}
	var said *driverapi.MySQLError
	var login *loginError
	var netErr net.Error
	var unknownCA x509.UnknownAuthorityError
	var wrongHost x509.HostnameError
	var badCert *tls.CertificateVerificationError
	atLogin := errors.As(err, &login)
	switch {
	case errors.As(err, &said) && atLogin:
		out.Code, out.Message = codeOf(said.Number), loginMessage(said.Number)+" ("+strconv.Itoa(int(said.Number))+")"
	case errors.As(err, &said):
		out.Code, out.Message = codeOf(said.Number), said.Message+" ("+strconv.Itoa(int(said.Number))+")"
		if out.Code == connectors.Denied && said.Number != errReadOnly && said.Number != errReadOnlyTransaction {
			out.Message += ": the credential that countersign logs in with lacks the right; countersign schema mysql --scripts says what it needs"
		}
	case errors.Is(err, context.Canceled):
		out.Message = "stopped"
	case errors.Is(err, context.DeadlineExceeded):
		out.Message = "it took too long"
	case errors.As(err, &unknownCA), errors.As(err, &wrongHost), errors.As(err, &badCert):
		out.Code = connectors.Denied
		out.Message = "the server's certificate does not pass: name its authority in config.ca_file, and its name in config.server_name where it is not the host"
	case errors.Is(err, driverapi.ErrNoTLS):
		out.Code, out.Message = connectors.Denied, "the server has no TLS: set it up, or say config.tls: off where nobody else is on the way"
	case errors.Is(err, driverapi.ErrCleartextPassword), errors.Is(err, driverapi.ErrNativePassword), errors.Is(err, driverapi.ErrOldPassword), errors.Is(err, driverapi.ErrUnknownPlugin):
		out.Code, out.Message = connectors.Unsupported, "the server asks for a way to log in that is not allowed here or not known"
	case errors.As(err, &netErr) && netErr.Timeout():
		out.Message = "the server did not answer in time (config.timeout)"
	case errors.As(err, &netErr):
		out.Message = "the server cannot be reached: is it running, and are host and port of the connection string right?"
	default:
		out.Message = "the connection to the server failed"
	}
	return out
}

// Numbers of errors that decide something. Those below 1900 are shared; MariaDB and MySQL went apart after that.
const (
	errRoleExists          = 1396 // and other things that an account statement could not do
	errNoTLSHere           = 3159
	errNoGrant             = 1141
	errNoTableGrant        = 1147
	errNoRoutineGrant      = 1403
	errNotReady            = 1047 // a node of a Galera cluster that does not have the data yet
	errReadOnly            = 1290
	errReadOnlyTransaction = 1792
	errCannotRevokeRole    = 1962 // MariaDB
	errDefiner             = 4006 // MySQL
)

// codeOf sorts the servers' error numbers.
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
		return "the server refused the login: check user, password, the host that the account is for, and whether the server asks for TLS (config.tls)"
	case 1130:
		return "no account may log in from this machine"
	case 1129:
		return "the server lets this machine in no more after too many errors: an administrator says FLUSH HOSTS"
	case 1040, 1203, 1226:
		return "too many connections"
	case 1049:
		return "the database of the connection string does not exist"
	case 1820, 1862:
		return "the password of the credential has expired"
	case 3118, 4151:
		return "the account of the credential is locked"
	case errNoTLSHere:
		return "the server asks for TLS: say config.tls: verify"
	case 1053:
		return "the server is shutting down"
	}
	return "the server refused the login"
}

// lost says that a statement has no answer of the server's: it may have been carried out.
func lost(err error) bool {
	var said *driverapi.MySQLError
	return err != nil && !errors.As(err, &said)
}

// number is the server's error number, or 0.
func number(err error) uint16 {
	var said *driverapi.MySQLError
	if errors.As(err, &said) {
		return said.Number
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

// query runs a statement and gives each row, of so many columns, to row. NULL is "".
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
		// A session in another mode is not used again.
		discard := conn.Raw(func(any) error { return driver.ErrBadConn })
		if !errors.Is(discard, driver.ErrBadConn) && !errors.Is(discard, sql.ErrConnDone) {
			err = errors.Join(err, discard)
		}
	}
	return err
}

// closed gives a session back to the pool.
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
