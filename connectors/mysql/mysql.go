package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/countersign/countersign/connectors"
)

// Connector is the connector of MySQL and MariaDB.
type Connector struct{}

var (
	_ connectors.Connector = Connector{}
	_ connectors.Reader    = (*reader)(nil)
	_ connectors.Writer    = (*writer)(nil)
)

// New returns the connector.
func New() connectors.Connector { return Connector{} }

// Describe says what the connector can do with either dialect.
func (Connector) Describe() connectors.Description { return description() }

// OpenReader connects with the planning credential, in sessions that the server lets read only.
func (Connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return connectors.Guard(open(ctx, cfg, false))
}

// OpenWriter connects with the applying credential.
func (Connector) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	return connectors.GuardWriter(openWriter(ctx, cfg))
}

func openWriter(ctx context.Context, cfg connectors.Config) (*writer, error) {
	r, err := open(ctx, cfg, true)
	if err != nil {
		return nil, err
	}
	checker, err := connectors.NewChecker(r.description)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &writer{r, checker}, nil
}

// settings are spec.config.
type settings struct {
	DSN          connectors.Secret `json:"dsn"`
	ApplyDSN     connectors.Secret `json:"apply_dsn"`
	TLS          string            `json:"tls"`
	CAFile       connectors.CAFile `json:"ca_file"`
	ServerName   string            `json:"server_name"`
	Timeout      time.Duration     `json:"timeout"`
	AccountsView string            `json:"accounts_view"`

	config connectors.Config
}

// logins are the ways to log in: the one in use, and the other where there is one that can be read.
func (s *settings) logins(apply bool) (used, other *login, err error) {
	plan := func() (*login, error) { return s.login("dsn", s.DSN) }
	if s.ApplyDSN.Reveal() == "" {
		used, err = plan()
		return used, nil, err
	}
	applying := func() (*login, error) { return s.login("apply_dsn", s.ApplyDSN) }
	first, second := plan, applying
	if apply {
		first, second = applying, plan
	}
	if used, err = first(); err != nil {
		return nil, nil, err
	}
	if other, err = second(); err != nil {
		other = nil // who only reads needn't have it right
	}
	return used, other, nil
}

type reader struct {
	settings *settings
	now      func() time.Time
	db       *sql.DB
	dialect  dialect
	// description is narrowed to the server.
	description connectors.Description
	// catalogue is the query for all accounts.
	catalogue string
	// self is the account that we are logged in as; others are the users, at whatever host, that the other
	// connection strings name.
	self   accountID
	others map[string]bool
	// active are the roles that our session has its own rights from.
	active map[string]bool
	// mandatory are the roles that MySQL gives to every account (mandatory_roles).
	mandatory map[accountID]bool
	lister    connectors.Lister
	// queries counts what was sent, for the benchmarks.
	queries int
}

func open(ctx context.Context, cfg connectors.Config, apply bool) (*reader, error) {
	s := &settings{config: cfg}
	if err := connectors.Bind(cfg, json.RawMessage(configSchema), s); err != nil {
		return nil, err
	}
	used, other, err := s.logins(apply)
	if err != nil {
		return nil, err
	}
	r := &reader{settings: s, now: cfg.Now, others: map[string]bool{}}
	if other != nil && other.config.User != used.config.User {
		r.others[other.config.User] = true
	}
	if r.db, err = used.open(!apply); err != nil {
		return nil, err
	}
	if err := r.look(ctx); err != nil {
		return nil, errors.Join(wrap(opConnect, err), r.Close())
	}
	return r, nil
}

// Close ends the session.
func (r *reader) Close() error {
	if err := r.db.Close(); err != nil {
		return wrap("close the session", err)
	}
	return nil
}

// Describe says what this server can do.
func (r *reader) Describe(context.Context) (connectors.Description, error) {
	return r.description, nil
}

// Read returns the selected roles, from one query for all accounts.
func (r *reader) Read(ctx context.Context, sel connectors.Selection) (connectors.State, error) {
	const op = "read"
	c, err := r.load(ctx)
	if err != nil {
		return connectors.State{}, wrap(op, err)
	}
	return r.state(c, sel), nil
}

// Normalize completes ADMIN by MEMBER and sorts. Names are exact.
func (r *reader) Normalize(s connectors.State) (connectors.State, error) {
	return normalize(r.description, r.dialect, s)
}
