package okta

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
	"github.com/countersign/countersign/schemas"
)

// Connector is the connector of Okta.
type Connector struct{}

var (
	_ connectors.Connector = Connector{}
	_ connectors.Reader    = (*reader)(nil)
	_ connectors.Writer    = (*writer)(nil)
)

// New returns the connector.
func New() connectors.Connector { return Connector{} }

// Describe returns the connector's abilities.
func (Connector) Describe() schemas.Description { return description(true) }

// OpenReader checks the config. The first call sends the first request.
func (Connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return connectors.Guard(open(ctx, cfg, false))
}

// OpenWriter is like OpenReader, with the credential for applying.
func (Connector) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	r, err := open(ctx, cfg, true)
	return connectors.GuardWriter(&writer{r}, err)
}

// settings are spec.config.
type settings struct {
	URL        connectors.Address `json:"url"`
	Plan       credential         `prefix:""`
	Apply      credential         `prefix:"apply_"`
	AdminRoles bool               `json:"admin_roles"`
	OnRule     string             `json:"on_rule"`
	Timeout    time.Duration      `json:"timeout"`
	CAFile     connectors.CAFile  `json:"ca_file"`

	credential credential // the one in use
	transport  http.RoundTripper
	now        func() time.Time
}

// credential is an API token, or a service app.
type credential struct {
	Token      connectors.Secret `json:"token"`
	ClientID   string            `json:"client_id"`
	PrivateKey connectors.Secret `json:"private_key"`
	KeyID      string            `json:"key_id"`
}

func (c credential) empty() bool { return c == credential{} }

func open(ctx context.Context, cfg connectors.Config, apply bool) (*reader, error) {
	if err := connectors.Stopped(ctx, "configure Okta"); err != nil {
		return nil, err
	}
	s, err := configure(cfg, apply)
	if err != nil {
		return nil, err
	}
	a, err := newAPI(s, apply)
	if err != nil {
		return nil, err
	}
	return &reader{settings: s, api: a}, nil
}

// configure binds the config. Both credentials are checked, so that the preview reports a fault of the one for
// applying.
func configure(cfg connectors.Config, apply bool) (settings, error) {
	s := settings{now: cfg.Now}
	if err := connectors.Bind(cfg, json.RawMessage(configSchema), &s); err != nil {
		return s, err
	}
	for prefix, c := range map[string]credential{"": s.Plan, connectors.ApplyPrefix: s.Apply} {
		if c.empty() && prefix != "" {
			continue
		}
		token, app := c.Token.Reveal() != "", c.ClientID != "" && c.PrivateKey.Reveal() != ""
		if token == app || (token && (c.ClientID != "" || c.PrivateKey.Reveal() != "" || c.KeyID != "")) {
			return s, cfg.Invalid("", "either %stoken, or %[1]sclient_id with %[1]sprivate_key, is required", prefix)
		}
	}
	s.credential = s.Plan
	if apply && !s.Apply.empty() {
		s.credential = s.Apply
	}
	var err error
	s.transport, err = rest.Transport(cfg, s.URL, s.CAFile)
	return s, err
}

// newAPI returns the client of a credential.
func newAPI(s settings, apply bool) (*api, error) {
	a := &api{now: s.now}
	// With a short timeout, long waits between tries make no sense.
	c := rest.Config{URL: string(s.URL), Timeout: s.Timeout, MinWait: min(s.Timeout/8, 250*time.Millisecond), Transport: s.transport, Now: s.now, MaxWait: maxWait,
		Explain: a.explain, Limited: a.limited, Pause: a.pause,
		Secrets: []connectors.Secret{s.credential.Token, s.credential.PrivateKey}}
	if s.credential.ClientID == "" {
		value := "SSWS " + s.credential.Token.Reveal()
		c.Authorize = func(r *http.Request) error {
			r.Header.Set("Authorization", value)
			return nil
		}
	} else {
		var err error
		if a.tokens, err = newTokens(s, c, apply); err != nil {
			return nil, err
		}
		c.Authorize = a.tokens.authorize
	}
	client, err := rest.New(c)
	if err != nil {
		return nil, err
	}
	a.client = client
	return a, nil
}
