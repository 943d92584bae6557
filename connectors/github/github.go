package github

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
	"github.com/countersign/countersign/schemas"
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

// Describe returns the connector's abilities. A reader's Describe adds the organisation's custom roles.
func (Connector) Describe() schemas.Description { return describe(nil, true) }

// OpenReader checks the config. The first request to GitHub comes with the first read.
func (Connector) OpenReader(_ context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return connectors.Guard(open(cfg, false))
}

// OpenWriter checks the config, and uses the credential for applying if one is configured.
func (Connector) OpenWriter(_ context.Context, cfg connectors.Config) (connectors.Writer, error) {
	r, err := open(cfg, true)
	return connectors.GuardWriter(&writer{r}, err)
}

// settings are spec.config.
type settings struct {
	Organisation      string             `json:"organisation"`
	URL               connectors.Address `json:"url"`
	Plan              credential         `prefix:""`
	Apply             credential         `prefix:"apply_"`
	Invite            bool               `json:"invite"`
	OrganisationRoles bool               `json:"organisation_roles"`
	Timeout           time.Duration      `json:"timeout"`
	CAFile            connectors.CAFile  `json:"ca_file"`

	credential credential // the one in use
}

// credential is a token, or the installation of an App.
type credential struct {
	Token          connectors.Secret `json:"token"`
	AppID          int64             `json:"app_id"`
	InstallationID int64             `json:"installation_id"`
	PrivateKey     connectors.Secret `json:"private_key"`
}

// configure binds the config, and chooses the credential.
func configure(cfg connectors.Config, apply bool) (*settings, error) {
	s := &settings{}
	if err := connectors.Bind(cfg, json.RawMessage(configSchema), s); err != nil {
		return nil, err
	}
	prefix := ""
	s.credential = s.Plan
	if apply && s.Apply != (credential{}) {
		prefix, s.credential = connectors.ApplyPrefix, s.Apply
	}
	c := s.credential
	token, key := c.Token.Reveal() != "", c.PrivateKey.Reveal() != ""
	switch {
	case token && (c.AppID != 0 || c.InstallationID != 0 || key):
		return nil, cfg.Invalid("", "%stoken and an App are both set; remove one of them", prefix)
	case !token && (c.AppID == 0 || c.InstallationID == 0 || !key):
		return nil, cfg.Invalid("", "%stoken is required, or %[1]sapp_id, %[1]sinstallation_id and %[1]sprivate_key of an App", prefix)
	}
	return s, nil
}

func open(cfg connectors.Config, apply bool) (*reader, error) {
	s, err := configure(cfg, apply)
	if err != nil {
		return nil, err
	}
	transport, err := rest.Transport(cfg, s.URL, s.CAFile)
	if err != nil {
		return nil, err
	}
	c := &client{organisation: s.Organisation, now: cfg.Now}
	authorize := func(req *http.Request) error {
		req.Header.Set("Authorization", "Bearer "+s.credential.Token.Reveal())
		return nil
	}
	if s.credential.AppID != 0 {
		if authorize, err = appToken(cfg, s, transport); err != nil {
			return nil, err
		}
	}
	c.rest, err = rest.New(rest.Config{
		URL: string(s.URL), Authorize: authorize, Secrets: []connectors.Secret{s.credential.Token, s.credential.PrivateKey}, Timeout: s.Timeout, Transport: transport, Now: cfg.Now,
		Header:  http.Header{"Accept": {"application/vnd.github+json"}, "X-Github-Api-Version": {"2022-11-28"}},
		Explain: explain, Limited: c.limited, Pause: c.pause,
	})
	if err != nil {
		return nil, err
	}
	// GitHub Enterprise Server's GraphQL is beside the root of REST.
	c.graphql = "graphql"
	if root, ok := strings.CutSuffix(strings.TrimSuffix(string(s.URL), "/"), "/api/v3"); ok {
		c.graphql = root + "/api/graphql"
	}
	return &reader{client: c, invite: s.Invite, roles: s.OrganisationRoles, server: connectors.Server(string(s.URL), strings.ToLower(s.Organisation))}, nil
}

// appToken authorises requests with the token of an App's installation, which is renewed before it expires.
func appToken(cfg connectors.Config, s *settings, transport http.RoundTripper) (func(*http.Request) error, error) {
	c := s.credential
	app, err := ghinstallation.New(transport, c.AppID, c.InstallationID, []byte(c.PrivateKey.Reveal()))
	if err != nil {
		return nil, cfg.Invalid("", "the App's private key is invalid (expected GitHub's PEM file)")
	}
	app.InstallationTokenOptions = &gh.InstallationTokenOptions{} // all rights of the installation; null isn't an object
	app.BaseURL = strings.TrimSuffix(string(s.URL), "/")
	app.Client = &http.Client{Transport: transport, Timeout: s.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return func(req *http.Request) error {
		const op = "get a token for the App's installation"
		token, err := app.Token(req.Context())
		if err != nil {
			if stopped := connectors.Stopped(req.Context(), op); stopped != nil {
				return stopped
			}
			e := &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "GitHub can't be reached, or failed"}
			var answered *ghinstallation.HTTPError
			if errors.As(err, &answered) && answered.Response != nil && answered.Response.StatusCode >= 300 && answered.Response.StatusCode < 500 {
				e.Code, e.Message = connectors.Denied, "GitHub refused it: check app_id, installation_id and private_key, and that the App isn't suspended"
			}
			return e
		}
		req.Header.Set("Authorization", "Bearer "+token)
		return nil
	}, nil
}
