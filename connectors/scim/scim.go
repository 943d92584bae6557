package scim

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
)

// Connector is the connector for applications that support SCIM 2.0.
type Connector struct{}

var _ connectors.Connector = Connector{}

// New returns the connector.
func New() connectors.Connector { return Connector{} }

// OpenReader checks the config. The first use connects to the application.
func (Connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return connectors.Guard(open(ctx, cfg, false))
}

// OpenWriter checks the config. The first use connects to the application.
func (Connector) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	r, err := open(ctx, cfg, true)
	return connectors.GuardWriter(&writer{reader: r}, err)
}

// settings are spec.config.
type settings struct {
	URL           connectors.Address `json:"url"`
	Profile       string             `json:"profile"`
	Plan          credential         `prefix:""`
	Apply         credential         `prefix:"apply_"`
	CAFile        connectors.CAFile  `json:"ca_file"`
	Protected     []string           `json:"protected"`
	Write         string             `json:"write"`
	Filter        string             `json:"filter"`
	FoldUserNames *bool              `json:"fold_user_names"`
	PageSize      int                `json:"page_size"`
	MaxLookups    int                `json:"max_lookups"`
	Timeout       time.Duration      `json:"timeout"`
	Retries       int                `json:"retries"`
	Settle        time.Duration      `json:"settle" zero:"ok"`

	profile    profile
	credential credential // the one in use
	transport  *http.Transport
	now        func() time.Time
	logger     *slog.Logger
}

// credential is a token, a user with a password, or a client that fetches tokens.
type credential struct {
	Token    connectors.Secret `json:"token"`
	Username string            `json:"username"`
	Password connectors.Secret `json:"password"`
	OAuth    *client           `json:"oauth"`
}

func (c credential) empty() bool { return c == credential{} }

// check checks that the credential has one kind. prefix is the prefix of its settings' names.
func (c credential) check(cfg connectors.Config, prefix string) error {
	kinds := 0
	for _, is := range []bool{c.Token.Reveal() != "", c.Username != "", c.OAuth != nil} {
		if is {
			kinds++
		}
	}
	if kinds > 1 || (c.Username == "") != (c.Password.Reveal() == "") {
		return cfg.Invalid("", "invalid credential (expected one of: %stoken; %[1]susername and %[1]spassword; %[1]soauth)", prefix)
	}
	if c.OAuth != nil && (c.OAuth.Grant == "account_credentials") != (c.OAuth.AccountID != "") {
		return cfg.Invalid(prefix+"oauth.account_id", "only valid with the grant account_credentials; set both or neither")
	}
	return nil
}

// configure binds the config and selects the credential.
func configure(cfg connectors.Config, applying bool) (settings, error) {
	s := settings{now: cfg.Now, logger: cfg.Logger}
	if err := connectors.Bind(cfg, configSchema(), &s); err != nil {
		return s, err
	}
	s.profile, _ = findProfile(s.Profile)
	if s.FoldUserNames != nil {
		s.profile.foldUsers = *s.FoldUserNames
	}
	if err := cmp.Or(s.Plan.check(cfg, ""), s.Apply.check(cfg, connectors.ApplyPrefix)); err != nil {
		return s, err
	}
	if s.Plan.empty() {
		return s, cfg.Invalid("", "credential for planning: required (expected token, or username and password, or oauth)")
	}
	s.credential = s.Plan
	if applying && !s.Apply.empty() {
		s.credential = s.Apply
	}
	var err error
	if s.transport, err = rest.Transport(cfg, s.URL, s.CAFile); err != nil {
		return s, err
	}
	if s.credential.OAuth != nil {
		return s, s.credential.OAuth.open(s)
	}
	return s, nil
}

func open(ctx context.Context, cfg connectors.Config, applying bool) (*reader, error) {
	if err := connectors.Stopped(ctx, "open the SCIM application"); err != nil {
		return nil, err
	}
	s, err := configure(cfg, applying)
	if err != nil {
		return nil, err
	}
	secrets := []connectors.Secret{s.credential.Token, s.credential.Password}
	if s.credential.OAuth != nil {
		secrets = append(secrets, s.credential.OAuth.Secret)
	}
	r := &reader{settings: s}
	r.http, err = rest.New(rest.Config{URL: string(s.URL), Authorize: r.authorize, Secrets: secrets, ContentType: "application/scim+json",
		Header:  http.Header{"Accept": {"application/scim+json, application/json;q=0.9"}},
		Explain: explain, Timeout: s.Timeout, MaxWait: 2 * s.Timeout, Retries: orNever(s.Retries), Transport: s.transport, Now: s.now})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// orNever converts a number of retries for rest.Config, whose 0 means its default.
func orNever(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

func (r *reader) authorize(req *http.Request) error {
	switch c := r.settings.credential; {
	case c.OAuth != nil:
		token, err := c.OAuth.fetch(req.Context())
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	case c.Token.Reveal() != "":
		req.Header.Set("Authorization", "Bearer "+c.Token.Reveal())
	case c.Username != "":
		req.SetBasicAuth(c.Username, c.Password.Reveal())
	}
	return nil
}
