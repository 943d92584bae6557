package okta

import (
	"context"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
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

// Describe says what the connector can do.
func (Connector) Describe() connectors.Description { return description(true) }

// OpenReader checks the config. Okta is asked by the first call.
func (Connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return open(ctx, cfg, false)
}

// OpenWriter is OpenReader with the credential for applying.
func (Connector) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	r, err := open(ctx, cfg, true)
	if err != nil {
		return nil, err
	}
	return &writer{r}, nil
}

const opOpen = "configure Okta"

// settings are a config that was checked.
type settings struct {
	url        string
	credential credential
	adminRoles bool
	removeRule bool // on_rule: remove
	timeout    time.Duration
	transport  http.RoundTripper
	now        func() time.Time
}

// credential is an API token, or a service app.
type credential struct {
	token      connectors.Secret
	clientID   string
	privateKey connectors.Secret
	keyID      string
}

func (c credential) empty() bool { return c == credential{} }

func invalid(op, message string) error {
	return &connectors.Error{Code: connectors.Invalid, Op: op, Message: message}
}

func open(ctx context.Context, cfg connectors.Config, apply bool) (*reader, error) {
	if err := connectors.Stopped(ctx, opOpen); err != nil {
		return nil, err
	}
	s, err := parse(cfg, apply)
	if err != nil {
		return nil, err
	}
	a, err := newAPI(s, apply)
	if err != nil {
		return nil, err
	}
	return &reader{s: s, api: a}, nil
}

// parse checks the config. Both credentials are looked at, so that a fault of the one for applying is seen by the
// preview.
func parse(cfg connectors.Config, apply bool) (settings, error) {
	s := settings{adminRoles: true, timeout: 30 * time.Second, now: cfg.Now}
	var plan, applying credential
	ca := ""
	for key, v := range cfg.Values {
		ok := true
		text := func(to *string) { *to, ok = v.(string); ok = ok && *to != "" }
		secret := func(to *connectors.Secret) { *to, ok = v.(connectors.Secret); ok = ok && to.Reveal() != "" }
		switch key {
		case "url":
			text(&s.url)
		case "token":
			secret(&plan.token)
		case "client_id":
			text(&plan.clientID)
		case "private_key":
			secret(&plan.privateKey)
		case "key_id":
			text(&plan.keyID)
		case "apply_token":
			secret(&applying.token)
		case "apply_client_id":
			text(&applying.clientID)
		case "apply_private_key":
			secret(&applying.privateKey)
		case "apply_key_id":
			text(&applying.keyID)
		case "admin_roles":
			s.adminRoles, ok = v.(bool)
		case "on_rule":
			var what string
			text(&what)
			ok = ok && (what == "refuse" || what == "remove")
			s.removeRule = what == "remove"
		case "timeout":
			var given string
			text(&given)
			var err error
			s.timeout, err = time.ParseDuration(given)
			ok = ok && err == nil && s.timeout > 0
		case "ca_file":
			text(&ca)
		default:
			return s, invalid(opOpen, "the config has a setting that the connector does not know")
		}
		if !ok {
			return s, invalid(opOpen, "config."+key+" has a wrong form")
		}
	}
	if s.url == "" {
		return s, invalid(opOpen, "config.url is missing: the organisation's address, as https://acme.okta.com")
	}
	for prefix, c := range map[string]credential{"": plan, "apply_": applying} {
		if c.empty() && prefix != "" {
			continue
		}
		token, app := c.token.Reveal() != "", c.clientID != "" && c.privateKey.Reveal() != ""
		if token == app || (token && (c.clientID != "" || c.privateKey.Reveal() != "" || c.keyID != "")) {
			return s, invalid(opOpen, "the config needs either "+prefix+"token, or "+prefix+"client_id with "+prefix+"private_key")
		}
	}
	s.credential = plan
	if apply && !applying.empty() {
		s.credential = applying
	}
	if ca != "" {
		var err error
		if s.transport, err = trusting(cfg.Directory, ca); err != nil {
			return s, err
		}
	}
	return s, nil
}

// trusting is a transport that trusts the authorities of a file as well.
func trusting(directory, path string) (http.RoundTripper, error) {
	if !filepath.IsAbs(path) {
		if directory == "" || !filepath.IsLocal(path) {
			return nil, invalid(opOpen, "config.ca_file is relative and leads out of the access repository; name the file by its absolute path")
		}
		path = filepath.Join(directory, path)
	}
	pem, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, &connectors.Error{Code: connectors.Invalid, Op: opOpen, Message: "config.ca_file cannot be read", Err: err}
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, invalid(opOpen, "config.ca_file holds no certificate in PEM form")
	}
	plain, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, invalid(opOpen, "config.ca_file cannot be used with this program's HTTP transport")
	}
	t := plain.Clone()
	t.TLSClientConfig = tlsConfig(pool)
	return t, nil
}

// newAPI makes the client of a credential.
func newAPI(s settings, apply bool) (*api, error) {
	a := &api{now: s.now}
	// Who gives a try little time wants no long wait before the next.
	c := rest.Config{URL: s.url, Timeout: s.timeout, MinWait: min(s.timeout/8, 250*time.Millisecond), Transport: s.transport, Now: s.now, MaxWait: maxWait,
		Explain: a.explain, Limited: a.limited, Pause: a.pause,
		Secrets: []connectors.Secret{s.credential.token, s.credential.privateKey}}
	if s.credential.clientID == "" {
		value := "SSWS " + s.credential.token.Reveal()
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
