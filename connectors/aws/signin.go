package aws

import (
	"context"
	"net/http"
	"os"
	"regexp"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/countersign/countersign/connectors"
)

// self has our own credentials' users and roles, by folded name: a change of their rights would change the rules for
// countersign itself. user or role is the one that STS returned: a reading without it is incomplete.
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

// accountOf returns the account's number in an ARN.
func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 {
		return ""
	}
	return parts[4]
}

func (r *reader) sts(cfg sdk.Config) *sts.Client {
	return sts.NewFromConfig(cfg, func(o *sts.Options) {
		if r.STSEndpoint != "" {
			o.BaseEndpoint = sdk.String(string(r.STSEndpoint))
		}
	})
}

var sessionName = regexp.MustCompile(`[^A-Za-z0-9_+=,.@-]+`)

// authenticate puts the credentials that the settings name into a config, and no others.
func (r *reader) authenticate(ctx context.Context, cfg connectors.Config, base *sdk.Config, apply bool) error {
	const op = "sign in to AWS"
	keys, role, prefix := r.Plan, r.Plan.RoleARN, ""
	if apply && r.Apply.AccessKeyID.Reveal() != "" {
		keys, prefix = r.Apply, connectors.ApplyPrefix
	}
	if apply && r.Apply.RoleARN != "" {
		role = r.Apply.RoleARN
	}
	session := "countersign-" + sessionName.ReplaceAllString(r.application, "-")
	session = session[:min(len(session), 64)]
	switch r.SignIn {
	case fromKeys:
		id, secret := keys.AccessKeyID.Reveal(), keys.SecretAccessKey.Reveal()
		if id == "" || secret == "" {
			return cfg.Invalid("", "%saccess_key_id and %[1]ssecret_access_key are required with sign_in: keys", prefix)
		}
		base.Credentials = credentials.NewStaticCredentialsProvider(id, secret, keys.SessionToken.Reveal())
	case fromEnvironment:
		id, secret, token := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")
		if id == "" || secret == "" {
			return cfg.Invalid("sign_in", "environment requires AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
		}
		r.secrets = append(r.secrets, connectors.NewSecret(secret), connectors.NewSecret(token))
		base.Credentials = credentials.NewStaticCredentialsProvider(id, secret, token)
	case fromInstance:
		// The metadata service is asked at its own address, or at the one in the machine's environment.
		client := imds.New(imds.Options{Endpoint: os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"), EnableFallback: sdk.FalseTernary,
			HTTPClient: &http.Client{Timeout: r.Timeout}, Retryer: newPatience(r.MaxWait)})
		base.Credentials = sdk.NewCredentialsCache(ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client }))
	case fromWebIdentity:
		token := r.WebIdentityToken.Reveal()
		if role == "" || token == "" {
			return cfg.Invalid("sign_in", "web_identity requires role_arn and web_identity_token")
		}
		anonymous := *base
		anonymous.Credentials = sdk.AnonymousCredentials{}
		base.Credentials = sdk.NewCredentialsCache(stscreds.NewWebIdentityRoleProvider(r.sts(anonymous), role, identityToken(token),
			func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = session }))
		return nil
	}
	if role == "" {
		return nil
	}
	// A user or role that may assume the role is one of our own, too.
	caller, err := r.sts(*base).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return r.fault(ctx, op, err)
	}
	if arn := sdk.ToString(caller.Arn); accountOf(arn) == r.Account {
		r.self.add(arn)
	}
	base.Credentials = sdk.NewCredentialsCache(stscreds.NewAssumeRoleProvider(r.sts(*base), role, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = session
		if r.ExternalID != "" {
			o.ExternalID = sdk.String(r.ExternalID)
		}
	}))
	return nil
}

// identityToken is a token that has been read.
type identityToken string

// GetIdentityToken returns the token.
func (t identityToken) GetIdentityToken() ([]byte, error) { return []byte(t), nil }
