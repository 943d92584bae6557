package scim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
)

// The types of connections and of what they are given.
const (
	typeGroup     = "group"
	typeUser      = "user"
	typePrincipal = "service_principal"
	// typeOther is what other hands put into a group and no list names: it is shown, and not described.
	typeOther = "other"

	privilegeMember = "MEMBER"
)

// Connector is the connector for applications that speak SCIM 2.0.
type Connector struct{}

var _ connectors.Connector = Connector{}

// New returns the connector.
func New() connectors.Connector { return Connector{} }

const configTemplate = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "required": ["url"],
  "properties": {
    "url": {"type": "string", "minLength": 1, "maxLength": 2000, "description": "Where the application's SCIM API begins: what Users and Groups are below, as https://HOST/scim/v2."},
    "profile": {"enum": PROFILES, "default": "generic", "description": "Which application it is. generic is the RFC."},
    "token": {"x-secret": true, "description": "Bearer token for planning, which only reads."},
    "apply_token": {"x-secret": true, "description": "Bearer token for applying; default: that for planning."},
    "username": {"type": "string", "minLength": 1, "maxLength": 500, "description": "User for planning, with password, where the application takes basic authentication."},
    "password": {"x-secret": true, "description": "The password of username."},
    "apply_username": {"type": "string", "minLength": 1, "maxLength": 500, "description": "User for applying; default: that for planning."},
    "apply_password": {"x-secret": true, "description": "The password of apply_username."},
    "oauth": {"$ref": "#/$defs/oauth", "description": "Fetches tokens for planning by client credentials (RFC 6749, 4.4), where they are short-lived."},
    "apply_oauth": {"$ref": "#/$defs/oauth", "description": "The same for applying; default: that for planning."},
    "ca_file": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "PEM file of the authorities that may have signed the server's certificate, in place of the system's: absolute, or relative to the access repository and within it."},
    "protected": {"type": "array", "maxItems": 1000, "items": {"type": "string", "minLength": 1, "maxLength": 1024}, "default": [], "description": "Glob patterns of groups that are never changed, as those of the application's administrators."},
    "write": {"enum": ["auto", "patch", "put"], "default": "auto", "description": "How groups are changed: auto is what the application says of itself."},
    "filter": {"enum": ["auto", "always", "never"], "default": "auto", "description": "Whether names are looked up by filters: auto is what the application says of itself."},
    "fold_user_names": {"type": "boolean", "description": "Whether user names are one whatever their case; default: as the profile knows. With true they are shown in lower case."},
    "page_size": {"type": "integer", "minimum": 1, "maximum": 10000, "description": "How many resources to ask for at once; default: the profile's, within what the application says of itself."},
    "max_lookups": {"type": "integer", "minimum": 1, "maximum": 10000000, "default": 20000, "description": "How many single requests one reading may take, where lists do not show who is in a group."},
    "timeout": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$", "default": "30s", "description": "How long one request may take."},
    "retries": {"type": "integer", "minimum": 0, "maximum": 20, "default": 4, "description": "How often a request that failed is sent again, where that does no harm."},
    "settle": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$", "default": "2s", "description": "With PUT and without ETags: after how long a group is read again, to see whether somebody else overwrote it. Longer than another writer takes between reading and writing."}
  },
  "$defs": {
    "oauth": {
      "type": "object",
      "additionalProperties": false,
      "required": ["token_url", "client_id", "client_secret"],
      "properties": {
        "token_url": {"type": "string", "minLength": 1, "maxLength": 2000, "description": "Where tokens are made: https://HOST/PATH."},
        "client_id": {"type": "string", "minLength": 1, "maxLength": 500, "description": "The client's id."},
        "client_secret": {"x-secret": true, "description": "The client's secret."},
        "grant": {"enum": ["client_credentials", "account_credentials"], "default": "client_credentials", "description": "The grant_type: account_credentials is Zoom's."},
        "account_id": {"type": "string", "minLength": 1, "maxLength": 500, "description": "The account_id that account_credentials needs."},
        "scope": {"type": "string", "minLength": 1, "maxLength": 2000, "description": "The scopes to ask for, with spaces between."}
      }
    }
  }
}`

func configSchema() json.RawMessage {
	names, err := json.Marshal(profileNames())
	if err != nil {
		panic(err) // a list of constants
	}
	return json.RawMessage(strings.Replace(configTemplate, "PROFILES", string(names), 1))
}

const externalID = `"external_id": {"type": "string", "maxLength": 1024, "description": "The group's externalId, by which a directory that provisions it knows it again. Left alone when absent; \"\" takes it away."}`

func payloadSchema(e external) json.RawMessage {
	properties, required := externalID, ""
	switch e {
	case externalNone:
		properties = ""
	case externalRequired:
		properties, required = strings.Replace(externalID, `"maxLength"`, `"minLength": 1, "maxLength"`, 1), `, "required": ["external_id"]`
	case externalFree:
	}
	return json.RawMessage(`{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false, "properties": {` + properties + `}` + required + `}`)
}

// Describe says what the connector can do with any of its profiles.
func (Connector) Describe() connectors.Description {
	widest := generic()
	widest.principals = true
	d := describe(widest, rights{members: true, update: true})
	var plan, apply strings.Builder
	for _, p := range profiles() {
		fmt.Fprintf(&plan, "# %s (profile: %s)\n#   %s.\n", p.title, p.name, p.token)
	}
	fmt.Fprint(&apply, "# Applying uses what planning uses, where the application has one kind of credential only. It needs the rights to\n"+
		"# make, change and delete groups, and to read users; none to change users.\n", plan.String())
	d.PlanScript = "# SCIM has no script: credentials are made by hand, and most may do everything.\n" + plan.String()
	d.ApplyScript = apply.String()
	return d
}

// rights are what an installation lets be done.
type rights struct{ members, update bool }

func describe(p profile, can rights) connectors.Description {
	member := func(typ string, edge connectors.Edge, names connectors.NameRule) connectors.GrantableType {
		return connectors.GrantableType{Type: typ, Edge: edge, Privileges: []string{privilegeMember}, Default: []string{privilegeMember},
			Names: names, Grant: can.members, Revoke: can.members}
	}
	users := anyName()
	users.FoldCase = p.foldUsers
	group := connectors.ConnectionType{Name: typeGroup, Title: "Group", Payload: payloadSchema(p.external), Create: true,
		Update: can.update && p.external != externalNone, Delete: true, Names: p.names,
		Grantable: []connectors.GrantableType{member(typeUser, connectors.EdgeIdentity, users)}}
	if p.nested {
		target := p.names
		target.Reserved = nil
		group.Grantable = append(group.Grantable, member(typeGroup, connectors.EdgeMember, target))
	}
	if p.principals {
		group.Grantable = append(group.Grantable, member(typePrincipal, connectors.EdgeIdentity, anyName()))
	}
	script := "# " + p.title + "\n#   " + p.token + ".\n"
	return connectors.Description{Name: "scim", Title: "SCIM 2.0", Config: configSchema(), Types: []connectors.ConnectionType{group},
		PlanScript: script, ApplyScript: script}
}

// settings are a config that was checked.
type settings struct {
	url        string
	profile    profile
	auth       credential
	transport  *http.Transport
	protected  []string
	write      string
	filter     string
	pageSize   int
	maxLookups int
	timeout    time.Duration
	retries    int
	settle     time.Duration
	now        func() time.Time
	logger     *slog.Logger
}

// credential is one of a token, a user with a password, and a client that fetches tokens.
type credential struct {
	token, password connectors.Secret
	username        string
	client          *client
}

func (c credential) empty() bool {
	return c.token.Reveal() == "" && c.username == "" && c.password.Reveal() == "" && c.client == nil
}

// OpenReader checks the config. The application is asked when it is first needed.
func (Connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return open(ctx, cfg, false)
}

// OpenWriter checks the config. The application is asked when it is first needed.
func (Connector) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	r, err := open(ctx, cfg, true)
	if err != nil {
		return nil, err
	}
	return &writer{reader: r}, nil
}

const opOpen = "open the SCIM application"

func open(ctx context.Context, cfg connectors.Config, applying bool) (*reader, error) {
	if err := connectors.Stopped(ctx, opOpen); err != nil {
		return nil, err
	}
	s, err := parse(cfg, applying)
	if err != nil {
		return nil, err
	}
	secrets := []connectors.Secret{s.auth.token, s.auth.password}
	if s.auth.client != nil {
		secrets = append(secrets, s.auth.client.secret)
	}
	r := &reader{s: s}
	r.http, err = rest.New(rest.Config{URL: s.url, Authorize: r.authorize, Secrets: secrets, ContentType: "application/scim+json",
		Header:  http.Header{"Accept": {"application/scim+json, application/json;q=0.9"}},
		Explain: explain, Timeout: s.timeout, MaxWait: 2 * s.timeout, Retries: orNever(s.retries), Transport: s.transport, Now: s.now})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// orNever is a number of retries as rest.Config has it, where 0 is its default.
func orNever(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

func (r *reader) authorize(req *http.Request) error {
	switch c := r.s.auth; {
	case c.client != nil:
		token, err := c.client.fetch(req.Context())
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	case c.token.Reveal() != "":
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	case c.username != "":
		req.SetBasicAuth(c.username, c.password.Reveal())
	}
	return nil
}

func invalid(format string, args ...any) error {
	return &connectors.Error{Code: connectors.Invalid, Op: opOpen, Message: fmt.Sprintf(format, args...)}
}

// values reads a config, and keeps the first fault.
type values struct {
	at   string
	left map[string]any
	err  error
}

func (v *values) fail(key string) {
	if v.err == nil {
		v.err = invalid("%s.%s has a wrong form", v.at, key)
	}
}

func (v *values) take(key string) (any, bool) {
	x, ok := v.left[key]
	delete(v.left, key)
	return x, ok && x != nil
}

func (v *values) text(key, fallback string) string {
	x, ok := v.take(key)
	if !ok {
		return fallback
	}
	s, ok := x.(string)
	if !ok || s == "" {
		v.fail(key)
	}
	return s
}

func (v *values) secret(key string) connectors.Secret {
	x, ok := v.take(key)
	if !ok {
		return connectors.Secret{}
	}
	s, ok := x.(connectors.Secret)
	if !ok || s.Reveal() == "" {
		v.fail(key)
	}
	return s
}

func (v *values) duration(key string, fallback time.Duration) time.Duration {
	s := v.text(key, "")
	if s == "" {
		return fallback
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		v.fail(key)
	}
	return d
}

func (v *values) number(key string, fallback, low int) int {
	x, ok := v.take(key)
	if !ok {
		return fallback
	}
	n := 0
	switch x := x.(type) {
	case int:
		n = x
	case int64:
		n = int(x)
	case float64:
		n = int(x)
		ok = float64(n) == x
	case json.Number:
		i, err := x.Int64()
		n, ok = int(i), err == nil
	default:
		ok = false
	}
	if !ok || n < low {
		v.fail(key)
	}
	return n
}

func (v *values) one(key, fallback string, of ...string) string {
	s := v.text(key, fallback)
	if !slices.Contains(of, s) {
		v.fail(key)
	}
	return s
}

// end refuses what nobody took.
func (v *values) end() error {
	if v.err == nil && len(v.left) > 0 {
		v.err = invalid("%s has a setting that SCIM does not know", v.at)
	}
	return v.err
}

func (v *values) client(key string) *client {
	x, ok := v.take(key)
	if !ok {
		return nil
	}
	m, ok := x.(map[string]any)
	if !ok {
		v.fail(key)
		return nil
	}
	in := values{at: v.at + "." + key, left: clone(m)}
	c := &client{tokenURL: in.text("token_url", ""), id: in.text("client_id", ""), secret: in.secret("client_secret"),
		grant:   in.one("grant", "client_credentials", "client_credentials", "account_credentials"),
		account: in.text("account_id", ""), scope: in.text("scope", "")}
	err := in.end()
	if err == nil && (c.tokenURL == "" || c.id == "" || c.secret.Reveal() == "") {
		err = invalid("%s needs token_url, client_id and client_secret", in.at)
	}
	if err == nil && (c.grant == "account_credentials") != (c.account != "") {
		err = invalid("%s: account_id goes with the grant account_credentials", in.at)
	}
	if err != nil && v.err == nil {
		v.err = err
	}
	return c
}

func clone(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func parse(cfg connectors.Config, applying bool) (settings, error) {
	v := values{at: "config", left: clone(cfg.Values)}
	s := settings{now: cfg.Now, logger: cfg.Logger}
	s.url = v.text("url", "")
	name := v.one("profile", "generic", profileNames()...)
	plan := credential{token: v.secret("token"), username: v.text("username", ""), password: v.secret("password"), client: v.client("oauth")}
	apply := credential{token: v.secret("apply_token"), username: v.text("apply_username", ""), password: v.secret("apply_password"), client: v.client("apply_oauth")}
	ca := v.text("ca_file", "")
	s.write = v.one("write", "auto", "auto", "patch", "put")
	s.filter = v.one("filter", "auto", "auto", "always", "never")
	s.pageSize = v.number("page_size", 0, 1)
	s.maxLookups = v.number("max_lookups", 20_000, 1)
	s.timeout = v.duration("timeout", 30*time.Second)
	s.retries = v.number("retries", 4, 0)
	s.settle = v.duration("settle", 2*time.Second)
	fold, folding := v.take("fold_user_names")
	if list, ok := v.take("protected"); ok {
		if s.protected, ok = texts(list); !ok {
			v.fail("protected")
		}
	}
	if err := v.end(); err != nil {
		return settings{}, err
	}
	p, _ := findProfile(name)
	if folding {
		if p.foldUsers, folding = fold.(bool); !folding {
			return settings{}, invalid("config.fold_user_names has a wrong form")
		}
	}
	s.profile = p
	if s.url == "" {
		return settings{}, invalid("config.url is missing")
	}
	if s.timeout == 0 {
		return settings{}, invalid("config.timeout has a wrong form")
	}
	s.auth = plan
	if applying && !apply.empty() {
		s.auth = apply
	}
	for _, c := range []credential{plan, apply} {
		kinds := 0
		for _, is := range []bool{c.token.Reveal() != "", c.username != "", c.client != nil} {
			if is {
				kinds++
			}
		}
		if kinds > 1 || (c.username == "") != (c.password.Reveal() == "") {
			return settings{}, invalid("the credential is one of: a token; username and password; oauth")
		}
	}
	if plan.empty() {
		return settings{}, invalid("config has no credential for planning: give token, or username and password, or oauth")
	}
	var err error
	if s.transport, err = transport(cfg.Directory, ca); err != nil {
		return settings{}, err
	}
	if s.auth.client != nil {
		if err := s.auth.client.open(s); err != nil {
			return settings{}, err
		}
	}
	return s, nil
}

func texts(v any) ([]string, bool) {
	switch v := v.(type) {
	case []string:
		return slices.Clone(v), true
	case []any:
		out := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok || s == "" {
				return nil, false
			}
			out = append(out, s)
		}
		return out, true
	}
	return nil, false
}

// transport is a connection pool of its own, which Close empties.
func transport(directory, ca string) (*http.Transport, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		base = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	}
	t := base.Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if ca == "" {
		return t, nil
	}
	if !filepath.IsAbs(ca) {
		if directory == "" || !filepath.IsLocal(ca) {
			return nil, invalid("config.ca_file leads out of the access repository; name the file by its absolute path if that is meant")
		}
		root, err := os.OpenRoot(directory)
		if err != nil {
			return nil, invalid("config.ca_file: the access repository cannot be opened")
		}
		defer root.Close() // only read
		pem, err := root.ReadFile(ca)
		return withAuthorities(t, pem, err)
	}
	pem, err := os.ReadFile(filepath.Clean(ca))
	return withAuthorities(t, pem, err)
}

func withAuthorities(t *http.Transport, pem []byte, err error) (*http.Transport, error) {
	if err != nil {
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: opOpen, Message: "config.ca_file cannot be read", Err: err}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, invalid("config.ca_file holds no certificate in PEM form")
	}
	t.TLSClientConfig.RootCAs = pool
	return t, nil
}
