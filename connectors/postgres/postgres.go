package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Connector manages roles in PostgreSQL.
type Connector struct{}

var (
	_ connectors.Connector = Connector{}
	_ connectors.Reader    = (*reader)(nil)
	_ connectors.Writer    = (*writer)(nil)
)

// New returns the connector.
func New() connectors.Connector { return Connector{} }

// Describe returns the capabilities of the connector.
func (Connector) Describe() schemas.Description { return description() }

// OpenReader connects with the planning credential, in read-only sessions.
func (Connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return connectors.Guard(open(ctx, cfg, false))
}

// OpenWriter connects with the applying credential.
func (Connector) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	r, err := open(ctx, cfg, true)
	return connectors.GuardWriter(&writer{reader: r, epoch: cfg.Epoch}, err)
}

// settings holds spec.config.
type settings struct {
	DSN      connectors.Secret `json:"dsn"`
	ApplyDSN connectors.Secret `json:"apply_dsn"`
	// These two keep the server's syntax, in which minutes are min.
	StatementTimeout string            `json:"statement_timeout"`
	LockTimeout      string            `json:"lock_timeout"`
	Timeout          time.Duration     `json:"timeout"`
	CAFile           connectors.CAFile `json:"ca_file"`
	Databases        []string          `json:"databases"`

	config connectors.Config
}

type reader struct {
	config *pgx.ConnConfig
	conn   *pgx.Conn // with the first database
	// databases are those that the application covers; one unless the settings name several.
	databases []*database
	version   string
	// cluster is the system identifier, "" where the server doesn't tell.
	cluster string
	// number is server_version_num, such as 160003.
	number int
	// usable is the SQL condition of a membership m whose member can use the role.
	usable string
	// inherited is that of a membership whose member uses the role without SET ROLE, if the member's own attribute allows
	// it: from PostgreSQL 16 on that attribute is only the default for new memberships.
	inherited string
	// limit bounds one call, or one transaction of an Apply, even if the network drops answers.
	limit  time.Duration
	lister connectors.Lister
	// warnings has the server's warnings since it was last reset: that a privilege was not granted, or not revoked.
	warnings []string
	// own lists the roles that countersign logs in with.
	own []string
}

func open(ctx context.Context, cfg connectors.Config, apply bool) (*reader, error) {
	s := &settings{config: cfg}
	if err := connectors.Bind(cfg, json.RawMessage(configSchema), s); err != nil {
		return nil, err
	}
	field, other := "dsn", "apply_dsn"
	if apply && s.ApplyDSN.Reveal() != "" {
		field, other = other, field
	}
	config, err := s.parse(field)
	if err != nil {
		return nil, err
	}
	if len(s.Databases) > 0 {
		config.Database = s.Databases[0]
	}
	if !apply {
		config.RuntimeParams["default_transaction_read_only"] = "on"
	}
	r := &reader{config: config, limit: s.Timeout, own: []string{config.User}}
	ctx, cancel := context.WithTimeout(ctx, config.ConnectTimeout)
	defer cancel()
	noticing := config.Copy()
	noticing.OnNotice = r.notice
	conn, err := pgx.ConnectConfig(ctx, noticing)
	if err != nil {
		return nil, refused(opConnect, field, err)
	}
	r.conn = conn
	if c, err := s.parse(other); err == nil {
		r.own = append(r.own, c.User)
	}
	if err := conn.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('server_version_num')::int`).Scan(&r.version, &r.number); err != nil {
		return nil, errors.Join(wrap(opConnect, err), conn.Close(context.WithoutCancel(ctx)))
	}
	// Some managed services keep it to themselves.
	if err := conn.QueryRow(ctx, `SELECT system_identifier::text FROM pg_catalog.pg_control_system()`).Scan(&r.cluster); err != nil {
		var refused *pgconn.PgError
		if !errors.As(err, &refused) {
			return nil, errors.Join(wrap(opConnect, err), conn.Close(context.WithoutCancel(ctx)))
		}
		r.cluster = ""
	}
	if err := r.findDatabases(ctx, s.Databases); err != nil {
		return nil, errors.Join(wrap(opConnect, err), conn.Close(context.WithoutCancel(ctx)))
	}
	r.usable, r.inherited = "true", "true"
	if r.grantors() {
		r.inherited = "m.inherit_option"
		r.usable = "m.inherit_option OR m.set_option"
	}
	return r, nil
}

// Close ends the session.
func (r *reader) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := errors.Join(r.closeOthers(ctx), r.conn.Close(ctx)); err != nil {
		return wrap("close the session", err)
	}
	return nil
}

// notice collects warnings.
func (r *reader) notice(_ *pgconn.PgConn, n *pgconn.Notice) {
	switch n.Code {
	case "01006", "01007": // privilege_not_revoked, privilege_not_granted
		r.warnings = append(r.warnings, n.Message)
	}
}

// grantors reports whether memberships have options and a row for each grantor, as from PostgreSQL 16 on.
func (r *reader) grantors() bool { return r.number >= 160000 }

// Describe returns the capabilities of this server.
func (r *reader) Describe(context.Context) (schemas.Description, error) {
	d := describe(r.number)
	d.Version, d.Server = r.version, r.cluster
	for _, name := range r.own {
		if n := (schemas.Name{Type: typeUser, SourceName: name}); !slices.Contains(d.Credentials, n) {
			d.Credentials = append(d.Credentials, n)
		}
	}
	return d, nil
}
