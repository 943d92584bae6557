package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/countersign/countersign/connectors"
)

const opConnect = "connect to PostgreSQL"

// maxMessageBytes bounds a message of the server, which holds one row at most.
const maxMessageBytes = 64 << 20

// parse reads the connection string of one of the two settings.
func (s *settings) parse(field string) (*pgx.ConnConfig, error) {
	secret := map[string]connectors.Secret{"dsn": s.DSN, "apply_dsn": s.ApplyDSN}[field]
	if secret.Reveal() == "" {
		return nil, s.config.Invalid(field, "required")
	}
	config, err := pgx.ParseConfig(secret.Reveal())
	if err != nil {
		// The driver's message may quote the connection string.
		return nil, s.config.Invalid(field, "invalid (expected a PostgreSQL connection string)")
	}
	for name, value := range map[string]string{"application_name": "countersign", "search_path": "", "timezone": "UTC",
		"statement_timeout": s.StatementTimeout, "lock_timeout": s.LockTimeout} {
		config.RuntimeParams[name] = value
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 15 * time.Second
	}
	// Another service's answer may look like a message of a gigabyte, for which the driver would reserve memory.
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		f := pgproto3.NewFrontend(r, w)
		f.SetMaxBodyLen(maxMessageBytes)
		return f
	}
	return config, s.secure(field, config)
}

// secure has the server's certificate checked against the authorities of ca_file. Without that setting, the connection
// string decides about TLS.
func (s *settings) secure(field string, config *pgx.ConnConfig) error {
	if s.CAFile == "" {
		return nil
	}
	// The driver tries these in order. Those without TLS are what sslmode=allow and sslmode=prefer, the default, add.
	all := append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	secure := slices.DeleteFunc(all, func(f *pgconn.FallbackConfig) bool { return f.TLSConfig == nil })
	plain := ""
	if len(secure) == 0 {
		plain = "the connection string of config." + field + " has sslmode=disable or names a socket"
	}
	check, err := s.config.TLS(s.CAFile, plain)
	if err != nil {
		return err
	}
	for _, f := range secure {
		if f.TLSConfig.RootCAs != nil {
			return s.config.Invalid("ca_file", "sslrootcert is set too, in the connection string of config.%s or in the environment (PGSSLROOTCERT, ~/.postgresql/root.crt); keep one of the two", field)
		}
		f.TLSConfig.RootCAs, f.TLSConfig.MinVersion = check.RootCAs, check.MinVersion
		if f.TLSConfig.VerifyPeerCertificate == nil { // which sslmode=verify-ca sets
			f.TLSConfig.InsecureSkipVerify, f.TLSConfig.ServerName = false, f.Host
		}
	}
	config.Host, config.Port, config.TLSConfig = secure[0].Host, secure[0].Port, secure[0].TLSConfig
	config.Fallbacks = secure[1:]
	return nil
}

// wrap gives a driver's error a code, and a message without the connection string.
func wrap(op string, err error) error {
	var known *connectors.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	out := &connectors.Error{Op: op, Err: err, Code: connectors.Unavailable}
	var pg *pgconn.PgError
	var netErr net.Error
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError // with sslmode=verify-ca
	switch {
	case errors.As(err, &pg):
		out.Code, out.Message = codeOf(pg.Code), pg.Message+" ("+pg.Code+")"
		if pg.Detail != "" && pg.Code == "2BP01" {
			out.Dependents = strings.Split(pg.Detail, "\n")
		}
		if pg.Hint != "" {
			out.Message += ": " + pg.Hint
		}
		if pg.Code == "42501" {
			out.Message += ": the credential that countersign logs in with lacks the privilege; countersign schema postgres --scripts lists what it needs"
		}
	case errors.Is(err, context.Canceled):
		out.Message = "stopped"
	case errors.Is(err, context.DeadlineExceeded):
		out.Message = "timed out"
	case errors.As(err, &certificate), errors.As(err, &authority):
		out.Code, out.Message = connectors.Denied, "the server's certificate is invalid: set its authority in config.ca_file, or in sslrootcert of the connection string"
	case errors.As(err, &netErr):
		out.Message = "could not reach the server: check that it is running, and check host and port in the connection string"
	case strings.Contains(err.Error(), "server refused TLS connection"): // the driver has no type for it
		out.Message = "the server does not support TLS: enable it (ssl = on), or remove config.ca_file and sslmode if the network is trusted"
	default:
		out.Message = "the connection to the server failed"
	}
	return out
}

// refused wraps an error of a login. The server's message quotes the user, the database or a setting from the
// connection string. Any of them can be part of an unescaped or misplaced password.
func refused(op, key string, err error) error {
	wrapped := wrap(op, err)
	var pg *pgconn.PgError
	var e *connectors.Error
	if !errors.As(err, &pg) || !errors.As(wrapped, &e) {
		return wrapped
	}
	switch pg.Code {
	case "28P01", "28000":
		e.Message = "the server refused the login: check user and password in config." + key + ", and the server's pg_hba.conf"
	case "3D000":
		e.Message = "the database in config." + key + " does not exist"
	case "42501":
		e.Message = "the user of config." + key + " may not connect to the database"
	case "53300":
		e.Message = "too many connections"
	case "57P03":
		e.Message = "the server is starting up or shutting down"
	case "22023", "42704":
		e.Message = "the server refused a setting in config." + key
	default:
		e.Message = "the server refused the connection"
	}
	e.Message += " (" + pg.Code + ")"
	return wrapped
}

// codeOf classifies SQLSTATEs (PostgreSQL 15, Appendix A).
func codeOf(state string) connectors.Code {
	switch state {
	case "42704", "3F000", "42P01", "42883", "3D000", "42703":
		return connectors.NotFound
	case "42710", "2BP01", "42P04":
		return connectors.Conflict
	case "42501", "28000", "28P01", "25006":
		return connectors.Denied
	case "0LP01", "22023", "42601", "42939", "42602", "22007", "22008", "0LP00":
		return connectors.Invalid
	case "0A000":
		return connectors.Unsupported
	case "XX000":
		return connectors.Unavailable // tuple concurrently updated: two writers met
	}
	switch state[:min(2, len(state))] {
	case "08", "53", "57", "40", "55", "58":
		return connectors.Unavailable
	}
	return connectors.Invalid
}
