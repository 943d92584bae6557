package github

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
)

// Connector is the connector of GitHub.
type Connector struct{}

var (
	_ connectors.Connector = Connector{}
	_ connectors.Reader    = (*reader)(nil)
	_ connectors.Writer    = (*writer)(nil)
)

// New returns the connector.
func New() connectors.Connector { return Connector{} }

// Describe says what the connector can do. An organisation's custom roles come to it.
func (Connector) Describe() connectors.Description { return describe(nil, true) }

// OpenReader checks the config. GitHub is asked when something is read.
func (Connector) OpenReader(_ context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return open(cfg, "")
}

// OpenWriter checks the config, and takes the credential for applying where there is one.
func (Connector) OpenWriter(_ context.Context, cfg connectors.Config) (connectors.Writer, error) {
	for _, key := range []string{"token", "app_id", "installation_id", "private_key"} {
		if _, ok := cfg.Values["apply_"+key]; ok {
			r, err := open(cfg, "apply_")
			if err != nil {
				return nil, err
			}
			return &writer{r}, nil
		}
	}
	r, err := open(cfg, "")
	if err != nil {
		return nil, err
	}
	return &writer{r}, nil
}

const opOpen = "open the organisation at GitHub"

// DefaultURL is the root of github.com's API.
const defaultURL = "https://api.github.com"

func invalid(message string) error {
	return &connectors.Error{Code: connectors.Invalid, Op: opOpen, Message: message}
}

// settings are a config that was checked.
type settings struct {
	organisation, url, caFile string
	invite, roles             bool
	timeout                   time.Duration
	token, key                connectors.Secret
	app, installation         int64
}

// check reads the config, with the credential whose settings begin with prefix.
func check(cfg connectors.Config, prefix string) (settings, error) {
	s := settings{url: defaultURL, timeout: 30 * time.Second}
	text := map[string]*string{"organisation": &s.organisation, "url": &s.url, "ca_file": &s.caFile}
	secret := map[string]*connectors.Secret{prefix + "token": &s.token, prefix + "private_key": &s.key}
	number := map[string]*int64{prefix + "app_id": &s.app, prefix + "installation_id": &s.installation}
	other := map[string]bool{}
	for _, p := range []string{"", "apply_"} {
		for _, key := range []string{"token", "private_key", "app_id", "installation_id"} {
			other[p+key] = p != prefix
		}
	}
	for key, v := range cfg.Values {
		ok := true
		switch {
		case text[key] != nil:
			*text[key], ok = v.(string)
		case secret[key] != nil:
			*secret[key], ok = v.(connectors.Secret)
			ok = ok && secret[key].Reveal() != ""
		case number[key] != nil:
			*number[key], ok = positive(v)
		case other[key]:
		case key == "invite":
			s.invite, ok = v.(bool)
		case key == "organisation_roles":
			s.roles, ok = v.(bool)
		case key == "timeout":
			var d string
			d, ok = v.(string)
			var err error
			s.timeout, err = time.ParseDuration(d)
			ok = ok && err == nil && s.timeout > 0 && s.timeout <= 10*time.Minute
		default:
			return s, invalid("the config has a setting that GitHub's connector does not know")
		}
		if !ok {
			return s, invalid("config." + key + " has a wrong form")
		}
	}
	switch {
	case !regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9_-]{0,99}\z`).MatchString(s.organisation):
		return s, invalid("config.organisation is the organisation's login, as in https://github.com/LOGIN")
	case s.token.Reveal() != "" && (s.app != 0 || s.installation != 0 || s.key.Reveal() != ""):
		return s, invalid("config has a token and an App: name one of them")
	case s.token.Reveal() == "" && (s.app == 0 || s.installation == 0 || s.key.Reveal() == ""):
		return s, invalid("config needs " + prefix + "token, or " + prefix + "app_id, " + prefix + "installation_id and " + prefix + "private_key of an App")
	}
	return s, nil
}

func positive(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), n > 0
	case int64:
		return n, n > 0
	case float64:
		return int64(n), n > 0 && n == float64(int64(n))
	}
	return 0, false
}

// transport is the network, with the certificates of ca_file where one is named.
func (s *settings) transport(directory string) (http.RoundTripper, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport, nil
	}
	t := base.Clone()
	if s.caFile == "" {
		return t, nil
	}
	path := s.caFile
	if !filepath.IsAbs(path) {
		if directory == "" || !filepath.IsLocal(path) {
			return nil, invalid("config.ca_file leads out of the access repository: name it by its absolute path if that is meant")
		}
		path = filepath.Join(directory, path)
	}
	pem, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, &connectors.Error{Code: connectors.Invalid, Op: opOpen, Message: "config.ca_file cannot be read", Err: err}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, invalid("config.ca_file holds no certificate in PEM")
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

func open(cfg connectors.Config, prefix string) (*reader, error) {
	s, err := check(cfg, prefix)
	if err != nil {
		return nil, err
	}
	transport, err := s.transport(cfg.Directory)
	if err != nil {
		return nil, err
	}
	c := &client{organisation: s.organisation, now: cfg.Now}
	authorize := func(req *http.Request) error {
		req.Header.Set("Authorization", "Bearer "+s.token.Reveal())
		return nil
	}
	if s.app != 0 {
		if authorize, err = appToken(&s, transport); err != nil {
			return nil, err
		}
	}
	c.rest, err = rest.New(rest.Config{
		URL: s.url, Authorize: authorize, Secrets: []connectors.Secret{s.token, s.key}, Timeout: s.timeout, Transport: transport, Now: cfg.Now,
		Header:  http.Header{"Accept": {"application/vnd.github+json"}, "X-Github-Api-Version": {"2022-11-28"}},
		Explain: explain, Limited: c.limited, Pause: c.pause,
	})
	if err != nil {
		return nil, err
	}
	// GitHub Enterprise Server has GraphQL beside the root of REST.
	c.graphql = "graphql"
	if root, ok := strings.CutSuffix(strings.TrimSuffix(s.url, "/"), "/api/v3"); ok {
		c.graphql = root + "/api/graphql"
	}
	return &reader{c: c, invite: s.invite, roles: s.roles}, nil
}

// appToken authorises requests with the token of an App's installation, which is got anew before it runs out.
func appToken(s *settings, transport http.RoundTripper) (func(*http.Request) error, error) {
	if _, err := rest.New(rest.Config{URL: s.url}); err != nil {
		return nil, err // before the App's signature is sent there
	}
	app, err := ghinstallation.New(transport, s.app, s.installation, []byte(s.key.Reveal()))
	if err != nil {
		return nil, invalid("the App's private key cannot be read: it is a PEM file as GitHub made it")
	}
	app.InstallationTokenOptions = &gh.InstallationTokenOptions{} // all that the installation has; null is no object
	app.BaseURL = strings.TrimSuffix(s.url, "/")
	app.Client = &http.Client{Transport: transport, Timeout: s.timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return func(req *http.Request) error {
		const op = "get a token for the App's installation"
		token, err := app.Token(req.Context())
		if err != nil {
			if stopped := connectors.Stopped(req.Context(), op); stopped != nil {
				return stopped
			}
			e := &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "GitHub cannot be reached, or has a fault"}
			var answered *ghinstallation.HTTPError
			if errors.As(err, &answered) && answered.Response != nil && answered.Response.StatusCode >= 300 && answered.Response.StatusCode < 500 {
				e.Code, e.Message = connectors.Denied, "GitHub refused it: check app_id, installation_id and private_key, and that the App is not suspended"
			}
			return e
		}
		req.Header.Set("Authorization", "Bearer "+token)
		return nil
	}, nil
}
