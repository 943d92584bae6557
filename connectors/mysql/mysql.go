package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Connector manages roles in MySQL and MariaDB.
type Connector struct{}

var (
	_ connectors.Connector = Connector{}
	_ connectors.Reader    = (*reader)(nil)
	_ connectors.Writer    = (*writer)(nil)
)

// New returns the connector.
func New() connectors.Connector { return Connector{} }

// Describe returns the capabilities for both dialects.
func (Connector) Describe() schemas.Description { return description() }

// OpenReader connects with the planning credential, in read-only sessions.
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

// settings holds spec.config.
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

// logins returns the login in use, and the other one if it is configured and valid.
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
		other = nil // reading doesn't need a valid applying credential
	}
	return used, other, nil
}

type reader struct {
	settings *settings
	now      func() time.Time
	db       *sql.DB
	dialect  dialect
	// description is narrowed to the server.
	description schemas.Description
	// catalogue is the query for all accounts.
	catalogue string
	// self is the account of this session. others has the users, at any host, of the other connection string.
	self   accountID
	others map[string]bool
	// address is the server's, from the connection string in use.
	address string
	// active has the roles that are enabled in this session.
	active map[string]bool
	// mandatory has the roles that MySQL grants to every account (mandatory_roles).
	mandatory map[accountID]bool
	lister    connectors.Lister
	// queries counts sent statements, for benchmarks.
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
	r.address = used.config.Addr
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

// Describe returns the capabilities of this server.
func (r *reader) Describe(context.Context) (schemas.Description, error) {
	d := r.description
	d.Server = connectors.Server(r.address)
	for _, user := range append([]string{r.self.user}, slices.Sorted(maps.Keys(r.others))...) {
		d.Credentials = append(d.Credentials, schemas.Name{Type: typeUser, SourceName: user})
	}
	return d, nil
}

// Read returns the selected roles, from one query for all accounts.
func (r *reader) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
	const op = "read"
	c, err := r.load(ctx)
	if err != nil {
		return schemas.State{}, wrap(op, err)
	}
	return r.state(c, sel), nil
}

// Normalize adds the MEMBER that ADMIN implies, and sorts. Names are exact.
func (r *reader) Normalize(s schemas.State) (schemas.State, error) {
	return normalize(r.description, r.dialect, s)
}
