package aws

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
	"github.com/countersign/countersign/schemas"
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

// Describe returns the connector's abilities.
func (Connector) Describe() schemas.Description { return describe() }

// OpenReader signs in with the credential for planning, and checks that it belongs to the account.
func (Connector) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	return connectors.Guard(open(ctx, cfg, false))
}

// OpenWriter signs in with the credential for applying, and checks that it belongs to the account.
func (Connector) OpenWriter(ctx context.Context, cfg connectors.Config) (connectors.Writer, error) {
	return connectors.GuardWriter(openWriter(ctx, cfg))
}

func openWriter(ctx context.Context, cfg connectors.Config) (*writer, error) {
	r, err := open(ctx, cfg, true)
	if err != nil {
		return nil, err
	}
	checker, err := connectors.NewChecker(describe())
	return &writer{reader: r, checker: checker}, err
}

// settings are spec.config.
type settings struct {
	Account             string             `json:"account"`
	Region              string             `json:"region"`
	SignIn              string             `json:"sign_in"`
	Plan                identity           `prefix:""`
	Apply               identity           `prefix:"apply_"`
	WebIdentityToken    connectors.Secret  `json:"web_identity_token"`
	ExternalID          string             `json:"external_id"`
	PathPrefix          string             `json:"path_prefix"`
	Tag                 *tag               `json:"tag"`
	PermissionsBoundary string             `json:"permissions_boundary"`
	Endpoint            connectors.Address `json:"endpoint"`
	STSEndpoint         connectors.Address `json:"sts_endpoint"`
	CAFile              connectors.CAFile  `json:"ca_file"`
	Timeout             time.Duration      `json:"timeout"`
	MaxWait             time.Duration      `json:"max_wait"`
	Settle              time.Duration      `json:"settle"`
	PageSize            int32              `json:"page_size"`

	// secrets never appear in an error.
	secrets     []connectors.Secret
	application string
	now         func() time.Time
}

// identity is a credential: keys, and a role to assume.
type identity struct {
	AccessKeyID     connectors.Secret `json:"access_key_id"`
	SecretAccessKey connectors.Secret `json:"secret_access_key"`
	SessionToken    connectors.Secret `json:"session_token"`
	RoleARN         string            `json:"role_arn"`
}

// tag marks changeable roles and policies.
type tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// The sources of credentials.
const (
	fromKeys        = "keys"
	fromEnvironment = "environment"
	fromWebIdentity = "web_identity"
	fromInstance    = "instance"
)

func configure(cfg connectors.Config) (*settings, error) {
	s := &settings{application: cfg.Application, now: cfg.Now}
	if err := connectors.Bind(cfg, json.RawMessage(configSchema), s); err != nil {
		return nil, err
	}
	if s.STSEndpoint == "" {
		s.STSEndpoint = s.Endpoint
	}
	s.secrets = []connectors.Secret{s.WebIdentityToken}
	for _, i := range []identity{s.Plan, s.Apply} {
		s.secrets = append(s.secrets, i.AccessKeyID, i.SecretAccessKey, i.SessionToken)
	}
	return s, nil
}

// reader uses one credential. Its methods are called one at a time.
type reader struct {
	*settings
	description schemas.Description
	iam         *iam.Client
	transport   *transport
	partition   string
	self        self
	lister      connectors.Lister
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
	r := &reader{settings: s, description: describe(), self: self{users: map[string]bool{}, roles: map[string]bool{}}}
	if r.transport, err = newTransport(cfg, s); err != nil {
		return nil, err
	}
	base := sdk.Config{Region: s.Region, HTTPClient: r.transport, Retryer: func() sdk.Retryer { return newPatience(s.MaxWait) },
		Logger: nil, RetryMode: sdk.RetryModeStandard}
	if err := r.authenticate(ctx, cfg, &base, apply); err != nil {
		return nil, err
	}
	caller, err := r.sts(base).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, r.fault(ctx, op, err)
	}
	if got := sdk.ToString(caller.Account); got != s.Account {
		return nil, &connectors.Error{Code: connectors.Conflict, Op: op, Message: fmt.Sprintf(
			"the credential belongs to account %s, config.account is %s: correct one of them", strconv.QuoteToASCII(got), s.Account)}
	}
	arn := sdk.ToString(caller.Arn)
	parts := strings.Split(arn, ":")
	if len(parts) < 6 || accountOf(arn) != s.Account {
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "STS doesn't return the credential's identity"}
	}
	r.partition = parts[1]
	for _, known := range []string{arn, s.Plan.RoleARN, s.Apply.RoleARN} {
		if accountOf(known) == s.Account {
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
		if s.Endpoint != "" {
			o.BaseEndpoint = sdk.String(string(s.Endpoint))
		}
	})
	return r, nil
}

// Close ends the use of the credential. Nothing stays open at AWS.
func (r *reader) Close() error {
	r.transport.client.CloseIdleConnections()
	return nil
}

// Describe returns this account's abilities, which are those of every account, and its powerful connections.
func (r *reader) Describe(ctx context.Context) (schemas.Description, error) {
	d := describe()
	d.Version = "2010-05-08" // of the API
	d.Server = connectors.Server(string(r.settings.Endpoint), r.settings.Account)
	if err := r.privileged(ctx, &d); err != nil {
		return schemas.Description{}, err
	}
	return d, nil
}

func newTransport(cfg connectors.Config, s *settings) (*transport, error) {
	address := s.Endpoint
	if address == "" {
		address = "https://iam.amazonaws.com"
	}
	base, err := rest.Transport(cfg, address, s.CAFile)
	if err != nil {
		return nil, err
	}
	base.ResponseHeaderTimeout = s.Timeout
	// A redirect isn't an answer of AWS, and a signed request must not follow it.
	return &transport{maxWait: s.MaxWait, client: &http.Client{Transport: base, Timeout: s.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}, nil
}
