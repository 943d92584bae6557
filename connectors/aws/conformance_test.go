package aws_test

import (
	"encoding/xml"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/aws"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/schemas"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, harness())
}

const (
	accessKey   = "AKIAIOSFODNN7EXAMPLE"
	boundaryARN = "arn:aws:iam::" + accountID + ":policy/boundary"
	teamPath    = "/team/"
)

func statement(pairs ...any) map[string]any {
	out := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i].(string)] = pairs[i+1]
	}
	return out
}

func document(statements ...any) map[string]any {
	return map[string]any{"Version": "2012-10-17", "Statement": statements}
}

func payloads() map[string][2]map[string]any {
	ec2 := document(statement("Effect", "Allow", "Principal", map[string]any{"Service": "ec2.amazonaws.com"}, "Action", "sts:AssumeRole"))
	others := document(
		statement("Sid", "Partners", "Effect", "Allow", "Principal", map[string]any{"AWS": []any{"arn:aws:iam::210987654321:role/ci", "arn:aws:iam::210987654321:root"}},
			"Action", []any{"sts:AssumeRole", "sts:TagSession"}, "Condition", map[string]any{"StringEquals": map[string]any{"sts:ExternalId": "a+b 100%"}}),
		statement("Effect", "Deny", "Principal", map[string]any{"AWS": "*"}, "Action", "sts:AssumeRole", "Condition", map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}}))
	read := document(statement("Effect", "Allow", "Action", []any{"s3:GetObject", "s3:ListBucket"}, "Resource", []any{"arn:aws:s3:::sales", "arn:aws:s3:::sales/*"}))
	write := document(statement("Sid", "Write", "Effect", "Allow", "Action", "s3:PutObject", "Resource", "arn:aws:s3:::sales/${aws:username}/*"),
		statement("Effect", "Deny", "NotAction", "s3:*", "Resource", "*", "Condition", map[string]any{"StringLike": map[string]any{"aws:PrincipalTag/team": []any{"sales", "名前"}}}))
	return map[string][2]map[string]any{
		"group":  {{"path": teamPath}, {"path": teamPath + "inner/"}},
		"policy": {{"path": teamPath, "description": "Readers, 100% é", "document": read}, {"path": teamPath, "description": "Readers, 100% é", "document": write}},
		"role": {
			{"path": teamPath, "description": "", "max_session_duration": 3600, "permissions_boundary": "", "assume_role_policy": ec2},
			{"path": teamPath, "description": "It's \"quoted\" & <odd>,\nwith é", "max_session_duration": 43200, "permissions_boundary": boundaryARN, "assume_role_policy": others},
		},
	}
}

func with(values map[string]any) func(connectortest.TB, connectors.Config) connectors.Config {
	return func(_ connectortest.TB, cfg connectors.Config) connectors.Config {
		cfg.Values = maps.Clone(cfg.Values)
		for k, v := range values {
			if cfg.Values[k] = v; v == nil {
				delete(cfg.Values, k)
			}
		}
		return cfg
	}
}

func harness() connectortest.Harness {
	canary := connectors.NewSecret(connectortest.Canary)
	return connectortest.Harness{
		Connector:  aws.New(),
		ExactCalls: true,
		// The config has pages of 20.
		BeyondPages: 45,
		Many:        200,
		Payloads:    payloads(),
		Start:       func(t connectortest.TB) connectortest.Application { return start(t) },
		Faulty: []connectortest.Faulty{
			{Name: "another account", Config: with(map[string]any{"account": "210987654321"}), Code: connectors.Conflict},
			{Name: "no account", Config: with(map[string]any{"account": nil}), Code: connectors.Invalid},
			{Name: "a short account", Config: with(map[string]any{"account": "12345"}), Code: connectors.Invalid},
			{Name: "an unknown key", Config: with(map[string]any{"access_key_id": canary}), Code: connectors.Denied},
			{Name: "a wrong secret", Config: with(map[string]any{"secret_access_key": connectors.NewSecret(connectortest.Canary + "x")}), Code: connectors.Denied},
			{Name: "no key", Config: with(map[string]any{"access_key_id": nil}), Code: connectors.Invalid},
			{Name: "half of the keys for applying", Config: with(map[string]any{"apply_access_key_id": canary, "access_key_id": nil}), Code: connectors.Invalid},
			{Name: "a secret as plain text", Config: with(map[string]any{"secret_access_key": "in plain text"}), Code: connectors.Invalid},
			{Name: "a secret where none belongs", Config: with(map[string]any{"region": canary}), Code: connectors.Invalid},
			{Name: "an unknown setting", Config: with(map[string]any{"dsn": canary}), Code: connectors.Invalid},
			{Name: "a token that is not good", Config: with(map[string]any{"sign_in": "web_identity", "role_arn": "arn:aws:iam::" + accountID + ":role/ci", "web_identity_token": canary}), Code: connectors.Denied},
			{Name: "a token without a role", Config: with(map[string]any{"sign_in": "web_identity", "web_identity_token": canary}), Code: connectors.Invalid},
			{Name: "a role that is not there", Config: with(map[string]any{"role_arn": "arn:aws:iam::" + accountID + ":role/absent"}), Code: connectors.Denied},
			{Name: "a role of a wrong form", Config: with(map[string]any{"role_arn": "absent"}), Code: connectors.Invalid},
			{Name: "somewhere else", Config: with(map[string]any{"sign_in": "sso"}), Code: connectors.Invalid},
			{Name: "an address without TLS", Config: with(map[string]any{"endpoint": "http://iam.example.test"}), Code: connectors.Invalid},
			{Name: "an address with a secret", Config: with(map[string]any{"endpoint": "https://user:password@iam.example.test"}), Code: connectors.Invalid},
			{Name: "nobody at the address", Config: with(map[string]any{"endpoint": "http://127.0.0.1:1"}), Code: connectors.Unavailable},
			{Name: "a path without an end", Config: with(map[string]any{"path_prefix": "/team"}), Code: connectors.Invalid},
			{Name: "no time", Config: with(map[string]any{"timeout": "soon"}), Code: connectors.Invalid},
			{Name: "no page", Config: with(map[string]any{"page_size": 0}), Code: connectors.Invalid},
			{Name: "half a tag", Config: with(map[string]any{"tag": map[string]any{"key": "k"}}), Code: connectors.Invalid},
			{Name: "no certificates", Config: with(map[string]any{"ca_file": "/nowhere/ca.pem"}), Code: connectors.Invalid},
		},
	}
}

// app is one account of the server, with somebody in it who speaks IAM's protocol without the connector's code.
type app struct {
	srv    *server // nil for another implementation
	url    string
	prefix string
	config connectors.Config
	// managed makes a policy of AWS.
	managed func(word string) (string, bool)
}

var (
	_ connectortest.Application = (*app)(nil)
	_ connectortest.Breaker     = (*app)(nil)
	_ connectortest.Owner       = (*app)(nil)
	_ connectortest.Protector   = (*app)(nil)
	_ connectortest.Renamer     = (*app)(nil)
)

func start(t connectortest.TB) *app {
	t.Helper()
	srv := newServer(t)
	a := &app{srv: srv, url: srv.url, prefix: "t-", managed: func(word string) (string, bool) {
		if strings.HasSuffix(word, "s") {
			word = "service-role/" + word
		}
		return srv.addManaged(word), true
	}}
	a.config = connectors.Config{Application: "cloud", Now: time.Now, Logger: slog.New(slog.DiscardHandler), Values: map[string]any{
		"account": accountID, "access_key_id": connectors.NewSecret(accessKey), "secret_access_key": connectors.NewSecret(connectortest.Canary),
		"path_prefix": teamPath, "endpoint": srv.url, "page_size": 20, "timeout": "5m", "max_wait": "20ms", "settle": "1s",
	}}
	srv.addKey(accessKey, connectortest.Canary, "arn:aws:iam::"+accountID+":user/countersign")
	// An account has more in it than what we look after.
	a.call(t, "CreateUser", "UserName", "countersign")
	a.call(t, "CreateGroup", "GroupName", "Administrators", "Path", teamPath)
	a.call(t, "AddUserToGroup", "GroupName", "Administrators", "UserName", "countersign")
	a.call(t, "CreatePolicy", "PolicyName", "boundary", "PolicyDocument", anyPolicy)
	a.call(t, "CreateRole", "RoleName", "AWSServiceRoleForSupport", "Path", "/aws-service-role/support.amazonaws.com/", "AssumeRolePolicyDocument", anyTrust)
	a.call(t, "CreateGroup", "GroupName", "keeper", "Path", "/elsewhere/")
	a.call(t, "AttachGroupPolicy", "GroupName", "keeper", "PolicyArn", "arn:aws:iam::aws:policy/"+srv.addManaged("AdministratorAccess"))
	return a
}

const (
	anyPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`
	anyTrust  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
)

func (a *app) Config() connectors.Config { return a.config }

func (a *app) Name(word string) string { return a.prefix + word }

// call sends one request, and returns the answer.
func (a *app) call(t connectortest.TB, action string, pairs ...string) string {
	t.Helper()
	body, ok := a.try(t, action, pairs...)
	if !ok {
		t.Fatalf("%s %q: %s", action, pairs, body)
	}
	return body
}

func (a *app) try(t connectortest.TB, action string, pairs ...string) (string, bool) {
	t.Helper()
	form := url.Values{"Action": {action}, "Version": {"2010-05-08"}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	req, err := http.NewRequest(http.MethodPost, a.url, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Hand", "outside")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=HAND/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=00")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), res.StatusCode == http.StatusOK
}

// texts are the contents of all elements of a name.
func texts(t connectortest.TB, answer, element string) []string {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(answer))
	var out []string
	for {
		token, err := dec.Token()
		if err != nil {
			return out
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == element {
			var text string
			if err := dec.DecodeElement(&text, &start); err != nil {
				t.Fatal(err)
			}
			out = append(out, text)
		}
	}
}

func (a *app) AddIdentity(t connectortest.TB, typ, word string) schemas.Name {
	n := schemas.Name{Type: typ, SourceName: a.Name(word)}
	if body, ok := a.try(t, "CreateUser", "UserName", n.SourceName, "Path", "/people/"); !ok && !strings.Contains(body, "EntityAlreadyExists") {
		t.Fatal(body)
	}
	return n
}

// Rename does what UpdateUser and UpdateGroup do. Roles and policies can't be renamed.
func (a *app) Rename(_ connectortest.TB, n schemas.Name, word string) (schemas.Name, bool) {
	to := schemas.Name{Type: n.Type, SourceName: a.Name(word)}
	if a.srv == nil || n.Type != "user" && n.Type != "group" {
		return n, false
	}
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	things := map[string]map[string]*thing{"user": a.srv.users, "group": a.srv.groups}[n.Type]
	for key, x := range things {
		if x.name != n.SourceName {
			continue
		}
		delete(things, key)
		x.name, x.arn = to.SourceName, "arn:aws:iam::"+accountID+":"+x.kind+x.path+to.SourceName
		things[strings.ToLower(to.SourceName)] = x
	}
	for _, g := range a.srv.groups {
		for member := range g.members {
			if n.Type == "user" && strings.EqualFold(member, n.SourceName) {
				delete(g.members, member)
				g.members[strings.ToLower(to.SourceName)] = true
			}
		}
	}
	return to, true
}

func (a *app) RemoveIdentity(t connectortest.TB, n schemas.Name) {
	for _, g := range texts(t, a.call(t, "ListGroupsForUser", "UserName", n.SourceName), "GroupName") {
		a.call(t, "RemoveUserFromGroup", "GroupName", g, "UserName", n.SourceName)
	}
	for _, arn := range texts(t, a.call(t, "ListAttachedUserPolicies", "UserName", n.SourceName), "PolicyArn") {
		a.call(t, "DetachUserPolicy", "PolicyArn", arn, "UserName", n.SourceName)
	}
	a.call(t, "DeleteUser", "UserName", n.SourceName)
}

func (a *app) AddResource(t connectortest.TB, typ, word string) (schemas.Name, bool) {
	n := schemas.Name{Type: typ, SourceName: a.Name(word)}
	if typ == "inline_policy" {
		// It exists only within something; there it is listed from.
		a.call(t, "PutGroupPolicy", "GroupName", "keeper", "PolicyName", n.SourceName, "PolicyDocument", anyPolicy)
		return n, true
	}
	name, ok := a.managed(n.SourceName)
	n.SourceName = name
	return n, ok
}

// arn is that of a policy by its name.
func (a *app) arn(t connectortest.TB, n schemas.Name) string {
	t.Helper()
	if n.Type == "aws_policy" {
		return "arn:aws:iam::aws:policy/" + n.SourceName
	}
	for _, arn := range texts(t, a.call(t, "ListPolicies", "Scope", "Local", "MaxItems", "1000"), "Arn") {
		if arn[strings.LastIndex(arn, "/")+1:] == n.SourceName {
			return arn
		}
	}
	return "arn:aws:iam::" + accountID + ":policy/absent"
}

func (a *app) AddConnection(t connectortest.TB, n schemas.Name) {
	switch n.Type {
	case "group":
		a.call(t, "CreateGroup", "GroupName", n.SourceName, "Path", teamPath)
	case "policy":
		a.call(t, "CreatePolicy", "PolicyName", n.SourceName, "Path", teamPath, "PolicyDocument", anyPolicy)
	case "role":
		a.call(t, "CreateRole", "RoleName", n.SourceName, "Path", teamPath, "AssumeRolePolicyDocument", anyTrust)
	}
}

func (a *app) DropConnection(t connectortest.TB, n schemas.Name) {
	switch n.Type {
	case "group":
		a.call(t, "DeleteGroup", "GroupName", n.SourceName)
	case "policy":
		a.call(t, "DeletePolicy", "PolicyArn", a.arn(t, n))
	case "role":
		a.call(t, "DeleteRole", "RoleName", n.SourceName)
	}
}

func (a *app) Grant(t connectortest.TB, k schemas.Key)  { a.change(t, k, true) }
func (a *app) Revoke(t connectortest.TB, k schemas.Key) { a.change(t, k, false) }

func (a *app) change(t connectortest.TB, k schemas.Key, give bool) {
	t.Helper()
	c := strings.ToUpper(k.Connection.Type[:1]) + k.Connection.Type[1:] // Group or Role
	attach, put, add := "Detach", "Delete", "RemoveUserFromGroup"
	if give {
		attach, put, add = "Attach", "Put", "AddUserToGroup"
	}
	switch {
	case k.Connection.Type == "policy":
		a.call(t, attach+"UserPolicy", "PolicyArn", a.arn(t, k.Connection), "UserName", k.Target.SourceName)
	case k.Target.Type == "user":
		a.call(t, add, "GroupName", k.Connection.SourceName, "UserName", k.Target.SourceName)
	case k.Target.Type == "inline_policy":
		pairs := []string{c + "Name", k.Connection.SourceName, "PolicyName", k.Target.SourceName}
		if give {
			pairs = append(pairs, "PolicyDocument", anyPolicy)
		}
		a.call(t, put+c+"Policy", pairs...)
	default:
		a.call(t, attach+c+"Policy", c+"Name", k.Connection.SourceName, "PolicyArn", a.arn(t, k.Target))
	}
}

// Own puts a role into an instance profile, and makes a policy the boundary of a user.
func (a *app) Own(t connectortest.TB, n schemas.Name) {
	switch n.Type {
	case "role":
		profile := a.Name("machines")
		a.call(t, "CreateInstanceProfile", "InstanceProfileName", profile)
		a.call(t, "AddRoleToInstanceProfile", "InstanceProfileName", profile, "RoleName", n.SourceName)
	case "policy":
		a.call(t, "CreateUser", "UserName", a.Name("bounded"), "PermissionsBoundary", a.arn(t, n))
	default:
		t.Skip("nothing stands in the way of a group's deletion")
	}
}

// Protected is the group that gives us what we may do.
func (a *app) Protected(connectortest.TB) schemas.Name {
	return schemas.Name{Type: "group", SourceName: "Administrators"}
}

func (a *app) Break(t connectortest.TB) []connectortest.Broken {
	a.AddConnection(t, schemas.Name{Type: "role", SourceName: a.Name("bystander")})
	a.AddConnection(t, schemas.Name{Type: "policy", SourceName: a.Name("bystander")})
	truncated := regexp.MustCompile(`<IsTruncated>(true|false)</IsTruncated>`)
	marker := regexp.MustCompile(`<Marker>[^<]*</Marker>`)
	element := func(name string) *regexp.Regexp {
		return regexp.MustCompile(`(?s)<` + name + `>.*</` + name + `>`)
	}
	const details = "GetAccountAuthorizationDetails"
	broken := func(name, action string, change func(status int, body []byte) (int, []byte)) connectortest.Broken {
		return connectortest.Broken{Name: name, Start: func(t connectortest.TB) connectors.Config {
			at := a.srv.listen(t, func(sent string, status int, body []byte) (int, []byte) {
				if sent != action {
					return status, body
				}
				return change(status, body)
			})
			return with(map[string]any{"endpoint": at, "settle": "20ms"})(t, a.config)
		}}
	}
	text := func(s string) func(int, []byte) (int, []byte) {
		return func(status int, _ []byte) (int, []byte) { return status, []byte(s) }
	}
	failing := func(code string, status int) func(int, []byte) (int, []byte) {
		return func(int, []byte) (int, []byte) { return errorAnswer(&apiError{code, connectortest.Canary, status}) }
	}
	list := []connectortest.Broken{
		broken("not known here", details, failing("InvalidAction", 400)),
		broken("details without a group", details, func(status int, body []byte) (int, []byte) {
			return status, element("GroupDetailList").ReplaceAll(body, nil)
		}),
		broken("a policy without its document", details, func(status int, body []byte) (int, []byte) {
			return status, element("PolicyVersionList").ReplaceAll(body, nil)
		}),
		broken("details without a role", details, func(status int, body []byte) (int, []byte) {
			return status, element("RoleDetailList").ReplaceAll(body, nil)
		}),
		broken("details without the users", details, func(status int, body []byte) (int, []byte) {
			return status, element("UserDetailList").ReplaceAll(body, nil)
		}),
		broken("details of nothing", details, text("<"+details+"Response></"+details+"Response>")),
		broken("nobody", "GetCallerIdentity", text("")),
	}
	for _, action := range []string{details, "ListRoles", "ListPolicies"} {
		list = append(list,
			broken(action+": the first page alone", action, func(status int, body []byte) (int, []byte) {
				return status, marker.ReplaceAll(truncated.ReplaceAll(body, []byte("<IsTruncated>true</IsTruncated>")), nil)
			}),
			broken(action+": the same page again and again", action, func(status int, body []byte) (int, []byte) {
				body = marker.ReplaceAll(body, nil)
				return status, truncated.ReplaceAll(body, []byte("<IsTruncated>true</IsTruncated><Marker>m0</Marker>"))
			}),
			broken(action+": cut", action, func(status int, body []byte) (int, []byte) { return status, body[:len(body)/2] }),
			broken(action+": cut before the end", action, func(status int, body []byte) (int, []byte) { return status, body[:len(body)-1] }),
			broken(action+": nothing", action, text("")),
			broken(action+": a page of a portal", action, text("<html><body>Sign in</body></html>")),
			broken(action+": another answer", action, text("<GetUserResponse></GetUserResponse>")),
			broken(action+": not closed", action, text("<"+action+"Response><"+action+"Result></"+action+"Response>")),
			broken(action+": elsewhere", action, func(int, []byte) (int, []byte) { return http.StatusFound, nil }),
			broken(action+": denied", action, failing("AccessDenied", 403)),
			broken(action+": throttled", action, failing("Throttling", 400)),
			broken(action+": out of order", action, failing("ServiceFailure", 500)),
			broken(action+": too many", action, func(int, []byte) (int, []byte) { return http.StatusTooManyRequests, nil }),
			broken(action+": a gateway", action, func(int, []byte) (int, []byte) { return http.StatusBadGateway, []byte("<html>") }),
		)
	}
	names := map[string]bool{}
	for _, b := range list {
		if names[b.Name] {
			t.Fatalf("%s stands twice", b.Name)
		}
		names[b.Name] = true
	}
	return slices.Clip(list)
}
