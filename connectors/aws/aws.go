package aws

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/countersign/countersign/connectors"
)

// Connector is the connector of AWS IAM.
type Connector struct{}

var (
	_ connectors.Connector = Connector{}
	_ connectors.Reader    = (*reader)(nil)
	_ connectors.Writer    = (*writer)(nil)
)

// New returns the connector.
func New() connectors.Connector { return Connector{} }

// Describe says what the connector can do.
func (Connector) Describe() connectors.Description { return describe() }

// OpenReader signs in with the credential for planning, and makes sure that it belongs to the account.
func (Connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return open(ctx, cfg, false)
}

// OpenWriter signs in with the credential for applying, and makes sure that it belongs to the account.
func (Connector) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	r, err := open(ctx, cfg, true)
	if err != nil {
		return nil, err
	}
	checker, err := connectors.NewChecker(describe())
	if err != nil {
		return nil, err
	}
	return &writer{reader: r, checker: checker}, nil
}

// settings are a config that was checked.
type settings struct {
	account, region, source string
	roleARN, applyRoleARN   string
	externalID              string
	prefix                  string
	tagKey, tagValue        string
	boundary                string
	endpoint, stsEndpoint   string
	caFile                  string
	timeout, maxWait        time.Duration
	settle                  time.Duration
	pageSize                int32
	secrets                 map[string]connectors.Secret
	application             string
	now                     func() time.Time
}

// Where credentials come from.
const (
	fromKeys        = "keys"
	fromEnvironment = "environment"
	fromWebIdentity = "web_identity"
	fromInstance    = "instance"
)

var (
	roleARNForm   = regexp.MustCompile(`\Aarn:aws[a-z-]*:iam::[0-9]{12}:role/[!-~]+\z`)
	policyARNForm = regexp.MustCompile(`\Aarn:aws[a-z-]*:iam::(aws|[0-9]{12}):policy/[!-~]+\z`)
	pathForm      = regexp.MustCompile(`\A/([!-~]+/)?\z`)
	regionForm    = regexp.MustCompile(`\A[a-z]{2}(-[a-z]+)+-[0-9]\z`)
	externalForm  = regexp.MustCompile(`\A[A-Za-z0-9_+=,.@:/-]{2,}\z`)
)

const opConfigure = "configure AWS"

func invalid(format string, args ...any) error {
	return &connectors.Error{Code: connectors.Invalid, Op: opConfigure, Message: fmt.Sprintf(format, args...)}
}

// configure checks a config. Its errors repeat no value: a secret may stand in the wrong place.
func configure(cfg connectors.Config) (*settings, error) {
	s := &settings{region: "us-east-1", source: fromKeys, prefix: "/", timeout: 30 * time.Second, maxWait: 20 * time.Second,
		settle: 30 * time.Second, pageSize: 1000, secrets: map[string]connectors.Secret{},
		application: cfg.Application, now: cfg.Now}
	for key, v := range cfg.Values {
		ok := true
		text := func(to *string, form *regexp.Regexp) {
			if *to, ok = v.(string); ok && form != nil {
				ok = form.MatchString(*to)
			}
		}
		duration := func(to *time.Duration) {
			var written string
			if written, ok = v.(string); ok {
				var err error
				*to, err = time.ParseDuration(written)
				ok = err == nil && *to > 0
			}
		}
		switch key {
		case "account":
			text(&s.account, nil)
			ok = ok && isAccount(s.account)
		case "region":
			text(&s.region, regionForm)
		case "sign_in":
			text(&s.source, nil)
			ok = ok && slices.Contains([]string{fromKeys, fromEnvironment, fromWebIdentity, fromInstance}, s.source)
		case "role_arn":
			text(&s.roleARN, roleARNForm)
		case "apply_role_arn":
			text(&s.applyRoleARN, roleARNForm)
		case "external_id":
			text(&s.externalID, externalForm)
		case "path_prefix":
			text(&s.prefix, pathForm)
		case "permissions_boundary":
			text(&s.boundary, policyARNForm)
		case "endpoint":
			text(&s.endpoint, nil)
			ok = ok && isAddress(s.endpoint)
		case "sts_endpoint":
			text(&s.stsEndpoint, nil)
			ok = ok && isAddress(s.stsEndpoint)
		case "ca_file":
			text(&s.caFile, nil)
			ok = ok && filepath.IsAbs(s.caFile)
		case "timeout":
			duration(&s.timeout)
		case "max_wait":
			duration(&s.maxWait)
		case "settle":
			duration(&s.settle)
		case "page_size":
			n, isNumber := number(v)
			ok = isNumber && n >= 1 && n <= 1000
			s.pageSize = int32(min(max(n, 1), 1000))
		case "tag":
			tag, isObject := v.(map[string]any)
			s.tagKey, ok = tag["key"].(string)
			value, isText := tag["value"].(string)
			s.tagValue = value
			ok = ok && isObject && isText && s.tagKey != "" && len(tag) == 2
		case "access_key_id", "secret_access_key", "session_token", "apply_access_key_id", "apply_secret_access_key", "apply_session_token", "web_identity_token":
			var secret connectors.Secret
			if secret, ok = v.(connectors.Secret); !ok {
				return nil, invalid("config.%s must be a reference to a secret: {env: NAME} or {file: /path}", key)
			}
			s.secrets[key] = secret
		default:
			return nil, invalid("the config has a setting that this connector does not know")
		}
		if !ok {
			return nil, invalid("config.%s has a wrong form", key)
		}
	}
	if s.account == "" {
		return nil, invalid("config.account is missing: the number of the account, so that credentials of another one change nothing")
	}
	if s.stsEndpoint == "" {
		s.stsEndpoint = s.endpoint
	}
	return s, nil
}

func number(v any) (int, bool) {
	switch v := v.(type) {
	case int:
		return v, true
	case int64:
		return int(v), true
	case uint64:
		return int(min(v, 1<<31)), true
	case float64:
		return int(v), v == float64(int(v))
	}
	return 0, false
}

// isAddress says whether credentials may be sent there.
func isAddress(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// reader is one credential at work. Its methods are called one at a time.
type reader struct {
	*settings
	d         connectors.Description
	iam       *iam.Client
	transport *transport
	partition string
	self      self
	// listed is what the pages of one List are cut from.
	listed []connectors.Item
	closed bool
}

// self are the accounts that we work with, by folded name: whoever changed what they may do would change the
// rules for countersign itself. user or role is the one that STS says we are: a reading without it is not whole.
type self struct {
	users, roles map[string]bool
	user, role   string
}

func (s self) add(arn string) {
	_, resource, _ := strings.Cut(arn, ":")
	parts := strings.SplitN(resource, ":", 5) // aws:iam::123456789012:user/path/name
	if len(parts) != 5 {
		return
	}
	what, rest, _ := strings.Cut(parts[4], "/")
	switch what {
	case "user":
		s.users[fold(rest[strings.LastIndex(rest, "/")+1:])] = true
	case "role":
		s.roles[fold(rest[strings.LastIndex(rest, "/")+1:])] = true
	case "assumed-role": // without the role's path
		name, _, _ := strings.Cut(rest, "/")
		s.roles[fold(name)] = true
	}
}

// accountOf is the account's number in an ARN.
func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 {
		return ""
	}
	return parts[4]
}

func fold(name string) string { return strings.ToLower(name) }

func open(ctx context.Context, cfg connectors.Config, apply bool) (*reader, error) {
	const op = "sign in to AWS"
	if err := connectors.Stopped(ctx, op); err != nil {
		return nil, err
	}
	s, err := configure(cfg)
	if err != nil {
		return nil, err
	}
	r := &reader{settings: s, d: describe(), self: self{users: map[string]bool{}, roles: map[string]bool{}}}
	if r.transport, err = newTransport(s); err != nil {
		return nil, err
	}
	base := sdk.Config{Region: s.region, HTTPClient: r.transport, Retryer: func() sdk.Retryer { return newPatience(s.maxWait) },
		Logger: nil, RetryMode: sdk.RetryModeStandard}
	if err := r.authenticate(ctx, &base, apply); err != nil {
		return nil, err
	}
	caller, err := r.sts(base).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, r.fault(ctx, op, err)
	}
	if got := sdk.ToString(caller.Account); got != s.account {
		return nil, &connectors.Error{Code: connectors.Conflict, Op: op, Message: fmt.Sprintf(
			"the credential belongs to account %s, config.account is %s: correct one of them", strconv.QuoteToASCII(got), s.account)}
	}
	arn := sdk.ToString(caller.Arn)
	parts := strings.Split(arn, ":")
	if len(parts) < 6 || accountOf(arn) != s.account {
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "STS does not say who we are"}
	}
	r.partition = parts[1]
	for _, known := range []string{arn, s.roleARN, s.applyRoleARN} {
		if accountOf(known) == s.account {
			r.self.add(known)
		}
	}
	who := self{users: map[string]bool{}, roles: map[string]bool{}}
	who.add(arn)
	for name := range who.users {
		r.self.user = name
	}
	for name := range who.roles {
		r.self.role = name
	}
	r.iam = iam.NewFromConfig(base, func(o *iam.Options) {
		if s.endpoint != "" {
			o.BaseEndpoint = sdk.String(s.endpoint)
		}
	})
	return r, nil
}

func (r *reader) sts(cfg sdk.Config) *sts.Client {
	return sts.NewFromConfig(cfg, func(o *sts.Options) {
		if r.stsEndpoint != "" {
			o.BaseEndpoint = sdk.String(r.stsEndpoint)
		}
	})
}

var sessionName = regexp.MustCompile(`[^A-Za-z0-9_+=,.@-]+`)

// authenticate puts the credentials into a config: those that the settings name, and no others.
func (r *reader) authenticate(ctx context.Context, cfg *sdk.Config, apply bool) error {
	const op = "sign in to AWS"
	role := r.roleARN
	if apply && r.applyRoleARN != "" {
		role = r.applyRoleARN
	}
	session := "countersign-" + sessionName.ReplaceAllString(r.application, "-")
	session = session[:min(len(session), 64)]
	switch r.source {
	case fromKeys:
		keys := ""
		if _, ok := r.secrets["apply_access_key_id"]; ok && apply {
			keys = "apply_"
		}
		id, secret := r.secrets[keys+"access_key_id"].Reveal(), r.secrets[keys+"secret_access_key"].Reveal()
		if id == "" || secret == "" {
			return invalid("config.%[1]saccess_key_id and config.%[1]ssecret_access_key are missing, or config.sign_in says where else credentials come from", keys)
		}
		cfg.Credentials = credentials.NewStaticCredentialsProvider(id, secret, r.secrets[keys+"session_token"].Reveal())
	case fromEnvironment:
		id, secret, token := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")
		if id == "" || secret == "" {
			return invalid("config.sign_in is environment, and AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set")
		}
		r.secrets["environment"], r.secrets["environment_token"] = connectors.NewSecret(secret), connectors.NewSecret(token)
		cfg.Credentials = credentials.NewStaticCredentialsProvider(id, secret, token)
	case fromInstance:
		// The service of metadata is asked at its own address, or where the environment of the machine says.
		client := imds.New(imds.Options{Endpoint: os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"), EnableFallback: sdk.FalseTernary,
			HTTPClient: &http.Client{Timeout: r.timeout}, Retryer: newPatience(r.maxWait)})
		cfg.Credentials = sdk.NewCredentialsCache(ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client }))
	case fromWebIdentity:
		token := r.secrets["web_identity_token"].Reveal()
		if role == "" || token == "" {
			return invalid("config.sign_in is web_identity: it needs config.role_arn and config.web_identity_token")
		}
		anonymous := *cfg
		anonymous.Credentials = sdk.AnonymousCredentials{}
		cfg.Credentials = sdk.NewCredentialsCache(stscreds.NewWebIdentityRoleProvider(r.sts(anonymous), role, identityToken(token),
			func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = session }))
		return nil
	}
	if role == "" {
		return nil
	}
	// Who may assume the role is one of those that we work with, too.
	caller, err := r.sts(*cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return r.fault(ctx, op, err)
	}
	if arn := sdk.ToString(caller.Arn); accountOf(arn) == r.account {
		r.self.add(arn)
	}
	cfg.Credentials = sdk.NewCredentialsCache(stscreds.NewAssumeRoleProvider(r.sts(*cfg), role, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = session
		if r.externalID != "" {
			o.ExternalID = sdk.String(r.externalID)
		}
	}))
	return nil
}

// identityToken is a token that was read before.
type identityToken string

// GetIdentityToken returns the token.
func (t identityToken) GetIdentityToken() ([]byte, error) { return []byte(t), nil }

// Close ends the use of the credential. Nothing is left open at AWS.
func (r *reader) Close() error {
	r.closed = true
	r.transport.client.CloseIdleConnections()
	return nil
}

func (r *reader) usable(ctx context.Context, op string) error {
	if r.closed {
		return &connectors.Error{Code: connectors.Invalid, Op: op, Message: "the connection was closed"}
	}
	return connectors.Stopped(ctx, op)
}

// Describe says what this account can do, which is what every account can, and what in it is powerful.
func (r *reader) Describe(ctx context.Context) (connectors.Description, error) {
	if err := r.usable(ctx, "describe AWS IAM"); err != nil {
		return connectors.Description{}, err
	}
	d := describe()
	d.Version = "2010-05-08" // of the API
	if err := r.privileged(ctx, &d); err != nil {
		return connectors.Description{}, err
	}
	return d, nil
}

func newTransport(s *settings) (*transport, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("the program has exchanged http.DefaultTransport")
	}
	base = base.Clone()
	base.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	base.ResponseHeaderTimeout = s.timeout
	if s.caFile != "" {
		pem, err := os.ReadFile(filepath.Clean(s.caFile))
		if err != nil {
			return nil, &connectors.Error{Code: connectors.Invalid, Op: opConfigure, Message: "config.ca_file cannot be read", Err: err}
		}
		base.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !base.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, invalid("config.ca_file holds no certificate in PEM form")
		}
	}
	// A redirect is no answer of AWS, and a signed request must not follow it.
	return &transport{maxWait: s.maxWait, client: &http.Client{Transport: base, Timeout: s.timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}
