package ldap

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Connector is the connector for LDAP directories.
type Connector struct{}

var (
	_ connectors.Connector = Connector{}
	_ connectors.Reader    = (*reader)(nil)
	_ connectors.Writer    = (*writer)(nil)
)

// New returns the connector.
func New() connectors.Connector { return Connector{} }

// Describe describes the connector for all kinds of directories.
func (Connector) Describe() schemas.Description { return description(anyKind) }

// OpenReader logs in with the account for planning.
func (Connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return connectors.Guard(open(ctx, cfg, false))
}

// OpenWriter logs in with the account for applying.
func (Connector) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	r, err := open(ctx, cfg, true)
	return connectors.GuardWriter(&writer{reader: r}, err)
}

// settings are spec.config.
type settings struct {
	URL            location          `json:"url"`
	StartTLS       bool              `json:"start_tls"`
	AllowPlaintext bool              `json:"allow_plaintext"`
	CAFile         connectors.CAFile `json:"ca_file"`
	Plan           login             `prefix:""`
	Apply          login             `prefix:"apply_"`
	Flavour        string            `json:"flavour"` // "": detected
	BaseDN         dn                `json:"base_dn"`
	UserBaseDN     dn                `json:"user_base_dn"`
	GroupFilter    filter            `json:"group_filter"` // "": by flavour, as the three below
	UserFilter     filter            `json:"user_filter"`
	GroupName      string            `json:"group_name"`
	UserName       string            `json:"user_name"`
	Create         template          `json:"create"`
	PlaceholderDN  dn                `json:"placeholder_dn"`
	IgnoredMembers []dn              `json:"ignored_members"`
	PageSize       uint32            `json:"page_size"`
	Timeout        time.Duration     `json:"timeout"`

	config   connectors.Config
	login    login           // the one in use
	accounts []string        // all accounts in the config
	tls      *tls.Config     // with the server's name and the authorities
	ignored  map[string]bool // IgnoredMembers by key
	now      func() time.Time
	logger   *slog.Logger
}

// login is an account with its password.
type login struct {
	BindDN   string            `json:"bind_dn"`
	Password connectors.Secret `json:"password"`
}

// template describes new groups.
type template struct {
	ParentDN      dn                  `json:"parent_dn"`
	ObjectClasses []string            `json:"object_classes"` // nil: by flavour
	Attributes    map[string][]string `json:"attributes"`
	GIDNumbers    span                `json:"gid_numbers"`
}

// span is a range of numbers, both ends included; the zero span is none.
type span struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

// The flavours.
const (
	flavourOpenLDAP = "openldap"
	flavourAD       = "active_directory"
)

// location is where the server is.
type location struct {
	host    string
	address string // host:port
	tls     bool   // ldaps
}

// UnmarshalText reads ldaps://HOST[:PORT] or ldap://HOST[:PORT].
func (l *location) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" ||
		(u.Scheme != "ldap" && u.Scheme != "ldaps") {
		return errors.New("ldaps://HOST[:PORT] or ldap://HOST[:PORT], without account, path or query")
	}
	l.host, l.tls = u.Hostname(), u.Scheme == "ldaps"
	port := u.Port()
	if port == "" {
		port = map[bool]string{true: "636", false: "389"}[l.tls]
	}
	l.address = net.JoinHostPort(l.host, port)
	return nil
}

// filter is a search filter (RFC 4515).
type filter string

// UnmarshalText checks a filter.
func (f *filter) UnmarshalText(text []byte) error {
	if _, err := goldap.CompileFilter(string(text)); err != nil {
		return errors.New("a filter such as (objectClass=groupOfNames)")
	}
	*f = filter(text)
	return nil
}

// UnmarshalText reads a distinguished name.
func (d *dn) UnmarshalText(text []byte) error {
	parsed, err := parseDN(string(text))
	if err != nil {
		return errors.New("a distinguished name such as ou=groups,dc=example,dc=com")
	}
	*d = parsed
	return nil
}

// configure binds the config and selects the account.
func configure(cfg connectors.Config, apply bool) (*settings, error) {
	s := &settings{config: cfg, now: cfg.Now, logger: cfg.Logger, ignored: map[string]bool{}}
	if err := connectors.Bind(cfg, json.RawMessage(configSchema), s); err != nil {
		return nil, err
	}
	s.GroupName, s.UserName = strings.ToLower(s.GroupName), strings.ToLower(s.UserName)
	if s.Plan.Password == (connectors.Secret{}) {
		return nil, cfg.Invalid("password", "required")
	}
	if (s.Apply.BindDN == "") != (s.Apply.Password == connectors.Secret{}) {
		return nil, cfg.Invalid("", "apply_bind_dn, apply_password: set both or neither")
	}
	s.login, s.accounts = s.Plan, []string{s.Plan.BindDN}
	if s.Apply.BindDN != "" {
		s.accounts = append(s.accounts, s.Apply.BindDN)
		if apply {
			s.login = s.Apply
		}
	}
	if s.PlaceholderDN.text == "" {
		if err := s.PlaceholderDN.UnmarshalText([]byte(s.BaseDN.child("cn", "countersign-placeholder"))); err != nil {
			return nil, cfg.Invalid("base_dn", "invalid base (expected a DN that can have entries below it)")
		}
	}
	for _, d := range s.IgnoredMembers {
		s.ignored[d.key()] = true
	}
	if err := s.Create.check(cfg, s.BaseDN); err != nil {
		return nil, err
	}
	return s, s.secure()
}

// secure checks the settings for TLS.
func (s *settings) secure() error {
	plain := ""
	switch {
	case s.URL.tls && s.StartTLS:
		return s.config.Invalid("start_tls", "invalid with ldaps://, which uses TLS already; leave it out")
	case !s.URL.tls && !s.StartTLS && !s.AllowPlaintext && !connectors.Loopback(s.URL.host):
		return s.config.Invalid("url", "passwords would be sent without TLS; use ldaps:// or start_tls")
	case !s.URL.tls && !s.StartTLS:
		plain = "the URL is ldap:// without start_tls"
	}
	var err error
	if s.tls, err = s.config.TLS(s.CAFile, plain); err != nil {
		return err
	}
	s.tls.ServerName = s.URL.host
	return nil
}

// check completes the template and rejects attributes that the connector sets itself.
func (t *template) check(cfg connectors.Config, base dn) error {
	if t.ParentDN.text == "" {
		t.ParentDN = base
	}
	if !t.ParentDN.below(base) && t.ParentDN.key() != base.key() {
		return cfg.Invalid("create.parent_dn", "invalid entry (expected base_dn or one below it)")
	}
	for name := range t.Attributes {
		if !attributeType.MatchString(name) {
			return cfg.Invalid("create.attributes", "invalid key (expected the name of an attribute)")
		}
		switch strings.ToLower(name) {
		case attrMember, "uniquemember", "memberuid", "objectclass", "gidnumber", "grouptype", keyDescription, "cn", "samaccountname":
			return cfg.Invalid("create.attributes", "the connector sets %s itself", name)
		}
	}
	if t.GIDNumbers.Max < t.GIDNumbers.Min {
		return cfg.Invalid("create.gid_numbers", "max is less than min")
	}
	return nil
}
