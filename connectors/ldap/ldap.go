package ldap

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors"
)

// Connector is the connector of LDAP directories.
type Connector struct{}

var (
	_ connectors.Connector = Connector{}
	_ connectors.Reader    = (*reader)(nil)
	_ connectors.Writer    = (*writer)(nil)
)

// New returns the connector.
func New() connectors.Connector { return Connector{} }

// Describe says what the connector can do in one directory or another.
func (Connector) Describe() connectors.Description { return description(anyKind) }

// OpenReader logs in with the account for planning.
func (Connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return open(ctx, cfg, false)
}

// OpenWriter logs in with the account for applying.
func (Connector) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	r, err := open(ctx, cfg, true)
	if err != nil {
		return nil, err
	}
	return &writer{reader: r}, nil
}

const opConfig = "configure the directory"

func misconfigured(format string, args ...any) error {
	return &connectors.Error{Code: connectors.Invalid, Op: opConfig, Message: fmt.Sprintf(format, args...)}
}

// settings are a config that was checked.
type settings struct {
	address        string // host:port
	host           string
	tls, startTLS  bool
	authorities    *x509.CertPool // nil: the system's
	bind           string
	password       connectors.Secret
	accounts       []string // every name that the config logs in with
	base, userBase dn
	flavour        string // "": as the server says
	groupFilter    string // "": by flavour, as the three below
	userFilter     string
	groupName      string
	userName       string
	create         template
	placeholder    dn
	ignored        map[string]bool // by key
	pageSize       uint32
	timeout        time.Duration
	now            func() time.Time
	logger         *slog.Logger
}

// template is how a new group is made.
type template struct {
	parent     dn
	classes    []string // nil: by flavour
	attributes map[string][]string
	gidMin     int
	gidMax     int // 0: no range
}

// The flavours.
const (
	flavourOpenLDAP = "openldap"
	flavourAD       = "active_directory"
)

// values reads a config's settings and remembers the first that has a wrong form.
type values struct {
	all map[string]any
	err error
}

func (v *values) fail(key, want string) {
	if v.err == nil {
		v.err = misconfigured("config.%s %s", key, want)
	}
}

func (v *values) text(key string) string {
	x, ok := v.all[key]
	if !ok {
		return ""
	}
	s, ok := x.(string)
	if !ok || s == "" || strings.ContainsRune(s, 0) {
		v.fail(key, "is no text")
	}
	return s
}

func (v *values) truth(key string) bool {
	x, ok := v.all[key]
	if !ok {
		return false
	}
	b, ok := x.(bool)
	if !ok {
		v.fail(key, "is neither true nor false")
	}
	return b
}

func (v *values) number(key string, otherwise, least, most int) int {
	x, ok := v.all[key]
	if !ok {
		return otherwise
	}
	n, ok := integer(x)
	if !ok || n < least || n > most {
		v.fail(key, fmt.Sprintf("is no number from %d to %d", least, most))
		return otherwise
	}
	return n
}

func (v *values) texts(key string) []string {
	x, ok := v.all[key]
	if !ok {
		return nil
	}
	list, ok := texts(x)
	if !ok {
		v.fail(key, "is no list of texts")
	}
	return list
}

func (v *values) secret(key string) connectors.Secret {
	s, ok := v.all[key].(connectors.Secret)
	if !ok || s.Reveal() == "" {
		// An empty password logs in as nobody, and most servers call that a success (RFC 4513, 5.1.2).
		v.fail(key, "is missing: {env: NAME} or {file: /path}")
	}
	return s
}

func (v *values) dn(key string, required bool) dn {
	s := v.text(key)
	if s == "" && !required {
		return dn{}
	}
	d, err := parseDN(s)
	if err != nil {
		v.fail(key, "is no distinguished name, such as ou=groups,dc=example,dc=com")
	}
	return d
}

func (v *values) filter(key string) string {
	s := v.text(key)
	if s != "" {
		if _, err := goldap.CompileFilter(s); err != nil {
			v.fail(key, "is no filter, such as (objectClass=groupOfNames)")
		}
	}
	return s
}

func (v *values) attribute(key string) string {
	s := v.text(key)
	if s != "" && !attributeType.MatchString(s) {
		v.fail(key, "is no name of an attribute")
	}
	return strings.ToLower(s)
}

func integer(x any) (int, bool) {
	switch n := x.(type) {
	case int:
		return n, true
	case int64:
		return int(n), true
	case uint64:
		return int(n), n < 1<<31
	case float64:
		return int(n), n == float64(int(n))
	}
	return 0, false
}

func texts(x any) ([]string, bool) {
	switch x := x.(type) {
	case []string:
		return x, true
	case []any:
		out := make([]string, 0, len(x))
		for _, item := range x {
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

const (
	defaultPageSize = 500
	defaultTimeout  = 30 * time.Second
)

func parse(cfg connectors.Config, apply bool) (*settings, error) {
	v := &values{all: cfg.Values}
	s := &settings{now: cfg.Now, logger: cfg.Logger, ignored: map[string]bool{}}
	known := description(anyKind)
	for key := range cfg.Values {
		if !(connectors.ConnectionType{Payload: known.Config}).Attributes()[key] {
			return nil, misconfigured("the config has a setting that the connector does not know")
		}
	}
	s.location(v, cfg.Directory)

	s.bind, s.password = v.text("bind_dn"), v.secret("password")
	if s.bind == "" {
		v.fail("bind_dn", "is missing")
	}
	s.accounts = []string{s.bind}
	if other := v.text("apply_bind_dn"); other != "" {
		s.accounts = append(s.accounts, other)
		secret := v.secret("apply_password")
		if apply {
			s.bind, s.password = other, secret
		}
	} else if _, ok := cfg.Values["apply_password"]; ok {
		v.fail("apply_bind_dn", "is missing, and apply_password is there")
	}

	s.base, s.userBase = v.dn("base_dn", true), v.dn("user_base_dn", true)
	s.flavour = v.text("flavour")
	if s.flavour != "" && s.flavour != flavourOpenLDAP && s.flavour != flavourAD {
		v.fail("flavour", "is neither openldap nor active_directory")
	}
	s.groupFilter, s.userFilter = v.filter("group_filter"), v.filter("user_filter")
	s.groupName, s.userName = v.attribute("group_name"), v.attribute("user_name")
	s.template(v)
	if s.placeholder = v.dn("placeholder_dn", false); s.placeholder.text == "" && v.err == nil {
		var err error
		if s.placeholder, err = parseDN(s.base.child("cn", "countersign-placeholder")); err != nil {
			v.fail("base_dn", "is no distinguished name")
		}
	}
	for _, text := range v.texts("ignored_members") {
		d, err := parseDN(text)
		if err != nil {
			v.fail("ignored_members", "has something that is no distinguished name")
		}
		s.ignored[d.key()] = true
	}
	s.pageSize = uint32(v.number("page_size", defaultPageSize, 1, 100_000)) //nolint:gosec // within bounds
	s.timeout = defaultTimeout
	if text := v.text("timeout"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 || d > time.Hour {
			v.fail("timeout", "is no length of time up to an hour, such as 30s")
		}
		s.timeout = d
	}
	if v.err != nil {
		return nil, v.err
	}
	return s, nil
}

// location reads where the server is and how safe the way to it is. The URL is never repeated in an error: a
// password may stand in it by mistake.
func (s *settings) location(v *values, directory string) {
	u, err := url.Parse(v.text("url"))
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" ||
		(u.Scheme != "ldap" && u.Scheme != "ldaps") {
		v.fail("url", "is no ldaps://HOST[:PORT] or ldap://HOST[:PORT], without account, path or query")
		return
	}
	s.host, s.tls, s.startTLS = u.Hostname(), u.Scheme == "ldaps", v.truth("start_tls")
	port := u.Port()
	if port == "" {
		port = map[bool]string{true: "636", false: "389"}[s.tls]
	}
	s.address = net.JoinHostPort(s.host, port)
	switch ip := net.ParseIP(s.host); {
	case s.tls && s.startTLS:
		v.fail("start_tls", "is for ldap://: ldaps:// speaks TLS from the beginning")
	case !s.tls && !s.startTLS && !v.truth("allow_plaintext") && s.host != "localhost" && !ip.IsLoopback():
		v.fail("url", "would send passwords without TLS: use ldaps://, or start_tls")
	}
	path := v.text("ca_file")
	if path == "" {
		return
	}
	if !filepath.IsAbs(path) {
		if directory == "" || !filepath.IsLocal(path) {
			v.fail("ca_file", "leads out of the access repository: name the file by its absolute path")
			return
		}
		path = filepath.Join(directory, path)
	}
	pem, err := os.ReadFile(filepath.Clean(path))
	s.authorities = x509.NewCertPool()
	if err != nil || !s.authorities.AppendCertsFromPEM(pem) {
		v.fail("ca_file", "is not readable, or has no certificate in PEM form")
	}
}

var className = regexp.MustCompile(`\A[A-Za-z][A-Za-z0-9-]*\z`)

func (s *settings) template(v *values) {
	s.create.parent = s.base
	x, ok := v.all["create"]
	if !ok {
		return
	}
	all, ok := x.(map[string]any)
	if !ok {
		v.fail("create", "is no mapping")
		return
	}
	t := &values{all: all}
	for key := range all {
		switch key {
		case "parent_dn", "object_classes", "attributes", "gid_numbers":
		default:
			v.fail("create", "has a setting that the connector does not know")
		}
	}
	if parent := t.dn("parent_dn", false); parent.text != "" {
		s.create.parent = parent
		if v.err == nil && !parent.below(s.base) && parent.key() != s.base.key() {
			v.fail("create.parent_dn", "is not below base_dn")
		}
	}
	s.create.classes = t.texts("object_classes")
	for _, c := range s.create.classes {
		if !className.MatchString(c) {
			t.fail("object_classes", "has something that is no name of a class")
		}
	}
	if x, ok := all["attributes"]; ok {
		list, ok := x.(map[string]any)
		if !ok {
			t.fail("attributes", "is no mapping")
		}
		s.create.attributes = make(map[string][]string, len(list))
		for name, value := range list {
			texts, ok := texts(value)
			if !ok || !attributeType.MatchString(name) {
				t.fail("attributes", "maps the names of attributes to lists of texts")
			}
			switch strings.ToLower(name) {
			case attrMember, "uniquemember", "memberuid", "objectclass", "gidnumber", "grouptype", keyDescription, "cn", "samaccountname":
				t.fail("attributes", "has one that the connector sets itself")
			}
			s.create.attributes[name] = texts
		}
	}
	if x, ok := all["gid_numbers"]; ok {
		bounds, ok := x.(map[string]any)
		if !ok {
			t.fail("gid_numbers", "has no min and max")
		}
		b := &values{all: bounds}
		s.create.gidMin, s.create.gidMax = b.number("min", 0, 1, 1<<31-1), b.number("max", 0, 1, 1<<31-1)
		if b.err != nil || s.create.gidMin == 0 || s.create.gidMax < s.create.gidMin {
			t.fail("gid_numbers", "needs a min from 1, and a max that is not less")
		}
	}
	if t.err != nil && v.err == nil {
		var e *connectors.Error
		if errors.As(t.err, &e) {
			v.err = misconfigured("%s", strings.Replace(e.Message, "config.", "config.create.", 1))
		}
	}
}
