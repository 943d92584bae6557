package aws_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/countersign/countersign/connectors/connectortest"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

const accountID = "123456789012"

// server behaves as IAM's documentation says that IAM does. Each request and each answer is held to the vendor's
// description; a request that does not fit it fails the test.
type server struct {
	t      connectortest.TB
	models map[string]*model
	url    string

	mu       sync.Mutex
	users    map[string]*thing
	groups   map[string]*thing
	roles    map[string]*thing
	policies map[string]*thing // by ARN
	profiles map[string][]string
	groupsOf map[string][]string
	keys     map[string]key // by access key id
	next     int
	calls    map[string]int
	log      []call
	// Switches.
	lag        int  // requests for what was just made that do not find it yet
	quotas     bool // those of a new account
	throttle   int  // how many requests to refuse from now on
	retryAfter string
	hideBounds bool               // the details leave permissions boundaries out
	fail       map[string]failure // by action
	deny       map[string]bool
}

type key struct{ secret, token, arn string }

type failure struct {
	code   string
	status int
	times  int
	after  bool // the change is made all the same
}

type call struct {
	Action string
	In     object
}

// thing is a user, group, role or policy.
type thing struct {
	kind                string
	name, id, path, arn string
	members             map[string]bool // of a group
	attached            map[string]bool // policies
	inline              map[string]string
	document            string
	description         string
	session             int
	boundary            string
	tags                map[string]string
	versions            []version
	last                int // number of the newest version
	lag                 int
	created             time.Time
}

type version struct {
	id       string
	document string
	standard bool
}

type apiError struct {
	code, message string
	status        int
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func fault(code string, status int, format string, args ...any) error {
	return &apiError{code, fmt.Sprintf(format, args...), status}
}

func noSuch(what, name string) error {
	return fault("NoSuchEntity", 404, "The %s with name %s cannot be found.", what, name)
}

func newServer(t connectortest.TB) *server {
	t.Helper()
	s := &server{t: t, models: loadModels(t), users: map[string]*thing{}, groups: map[string]*thing{}, roles: map[string]*thing{}, policies: map[string]*thing{},
		profiles: map[string][]string{}, groupsOf: map[string][]string{}, keys: map[string]key{}, calls: map[string]int{}, fail: map[string]failure{}, deny: map[string]bool{}}
	s.url = s.listen(t, nil)
	return s
}

// listen opens an address of the server; change has the last word about what is answered there.
func (s *server) listen(t connectortest.TB, change func(action string, status int, body []byte) (int, []byte)) string {
	t.Helper()
	h := network.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the client went away
		}
		action, status, answer := s.answer(req, body)
		if change != nil {
			status, answer = change(action, status, answer)
		}
		w.Header().Set("Content-Type", "text/xml")
		w.Header().Set("X-Amzn-Requestid", "7a62c49f-347e-4fc4-9331-6e8eEXAMPLE")
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		if s.retryAfter != "" && status == http.StatusBadRequest {
			w.Header().Set("Retry-After", s.retryAfter)
		}
		w.WriteHeader(status)
		_, _ = w.Write(answer) // the client may have gone away
	}))
	return h.URL
}

func errorAnswer(e *apiError) (int, []byte) {
	var buf bytes.Buffer
	buf.WriteString(`<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>` + e.code + `</Code><Message>`)
	buf.WriteString(strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(e.message))
	buf.WriteString(`</Message></Error><RequestId>7a62c49f-347e-4fc4-9331-6e8eEXAMPLE</RequestId></ErrorResponse>`)
	return e.status, buf.Bytes()
}

func (s *server) answer(req *http.Request, body []byte) (action string, status int, answer []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	form, err := url.ParseQuery(string(body))
	if err != nil {
		s.t.Errorf("a request has a malformed body: %v", err)
	}
	action = form.Get("Action")
	service := "iam"
	if _, ok := s.models["sts"].Operations[action]; ok {
		service = "sts"
	}
	m := s.models[service]
	op, known := m.Operations[action]
	if !known || form.Get("Version") != m.Metadata.APIVersion {
		s.t.Errorf("a request for %q version %q", action, form.Get("Version"))
		status, answer = errorAnswer(&apiError{"InvalidAction", "Could not find operation", 400})
		return action, status, answer
	}
	delete(form, "Action")
	delete(form, "Version")
	in := object{}
	var faults []string
	if op.Input.Shape != "" {
		v, _, more := m.parse(op.Input.Shape, form, "")
		in, _ = v.(object)
		faults = append(more, m.faults(op.Input.Shape, v, action)...)
	}
	for _, f := range append(faults, sortedKeys(form)...) {
		s.t.Errorf("the request does not fit the description: %s", f)
	}
	byHand := req.Header.Get("Hand") != ""
	caller := key{arn: "arn:aws:iam::" + accountID + ":root"}
	if !byHand {
		s.calls[action]++
		s.log = append(s.log, call{action, in})
		if caller, err = s.authenticate(req, body, service, action); err != nil {
			status, answer = errorAnswer(err.(*apiError))
			return action, status, answer
		}
		if s.throttle > 0 {
			s.throttle--
			status, answer = errorAnswer(&apiError{"Throttling", "Rate exceeded", 400})
			return action, status, answer
		}
		if s.deny[action] {
			status, answer = errorAnswer(&apiError{"AccessDenied", "User: " + caller.arn + " is not authorized to perform: iam:" + action, 403})
			return action, status, answer
		}
	}
	f, failing := s.fail[action]
	if failing && !byHand {
		if f.times--; f.times == 0 {
			delete(s.fail, action)
		} else {
			s.fail[action] = f
		}
		if !f.after {
			status, answer = errorAnswer(&apiError{f.code, "injected", f.status})
			return action, status, answer
		}
	}
	do, ok := s.actions()[action]
	if !ok {
		s.t.Errorf("the server does not know %s", action)
		status, answer = errorAnswer(&apiError{"InvalidAction", "Could not find operation", 400})
		return action, status, answer
	}
	out, err := do(in, caller)
	if failing && !byHand {
		status, answer = errorAnswer(&apiError{f.code, "injected", f.status})
		return action, status, answer
	}
	if err != nil {
		status, answer = errorAnswer(err.(*apiError))
		return action, status, answer
	}
	if op.Output.Shape != "" {
		for _, f := range m.faults(op.Output.Shape, out, action) {
			s.t.Errorf("the server's answer does not fit the description: %s", f)
		}
	}
	return action, http.StatusOK, m.answer(action, out)
}

var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/[0-9]{8}/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$`)

// authenticate signs the request anew with the secret that belongs to its key.
func (s *server) authenticate(req *http.Request, body []byte, service, action string) (key, error) {
	if action == "AssumeRoleWithWebIdentity" {
		return key{}, nil
	}
	part := authorization.FindStringSubmatch(req.Header.Get("Authorization"))
	if part == nil {
		return key{}, fault("MissingAuthenticationToken", 403, "Request is missing Authentication Token")
	}
	k, ok := s.keys[part[1]]
	if !ok || k.token != req.Header.Get("X-Amz-Security-Token") {
		return key{}, fault("InvalidClientTokenId", 403, "The security token included in the request is invalid.")
	}
	again, err := http.NewRequest(req.Method, s.url+req.URL.Path, bytes.NewReader(body))
	if err != nil {
		return key{}, err
	}
	again.Host = req.Host
	for _, h := range strings.Split(part[4], ";") {
		if v := req.Header.Get(h); v != "" {
			again.Header.Set(h, v)
		}
	}
	at, err := time.Parse("20060102T150405Z", req.Header.Get("X-Amz-Date"))
	if err != nil {
		return key{}, fault("IncompleteSignature", 400, "no date")
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(context.Background(), sdk.Credentials{AccessKeyID: part[1], SecretAccessKey: k.secret, SessionToken: k.token},
		again, hex.EncodeToString(sum[:]), service, part[2], at); err != nil {
		return key{}, err
	}
	if again.Header.Get("Authorization") != req.Header.Get("Authorization") || part[3] != service {
		return key{}, fault("SignatureDoesNotMatch", 403, "The request signature we calculated does not match the signature you provided.")
	}
	return k, nil
}

func (s *server) newThing(kind, prefix, name, path string) *thing {
	s.next++
	x := &thing{kind: kind, name: name, path: path, id: fmt.Sprintf("%s%016d", prefix, s.next), members: map[string]bool{}, attached: map[string]bool{},
		inline: map[string]string{}, tags: map[string]string{}, lag: s.lag, created: time.Now().Add(-24 * time.Hour)}
	x.arn = "arn:aws:iam::" + accountID + ":" + kind + path + name
	return x
}

// addManaged makes a policy of AWS.
func (s *server) addManaged(pathAndName string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := strings.LastIndex(pathAndName, "/") + 1
	x := s.newThing("policy", "ANPA", pathAndName[i:], "/"+pathAndName[:i])
	x.lag = 0
	x.arn = "arn:aws:iam::aws:policy/" + pathAndName
	x.versions = []version{{"v1", `{"Version":"2012-10-17","Statement":[]}`, true}}
	if _, ok := s.policies[x.arn]; !ok {
		s.policies[x.arn] = x
	}
	return pathAndName
}

// addKey makes a credential of somebody.
func (s *server) addKey(id, secret, arn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[id] = key{secret: secret, arn: arn}
}

// find finds a thing by its exact name, once IAM knows it everywhere.
func find(m map[string]*thing, kind, name string) (*thing, error) {
	x := m[name]
	if x == nil || x.late() {
		return nil, noSuch(kind, name)
	}
	return x, nil
}

func (x *thing) late() bool {
	if x.lag > 0 {
		x.lag--
		return true
	}
	return false
}

func taken(m map[string]*thing, kind, name string) error {
	for _, x := range m {
		if strings.EqualFold(x.name, name) && !strings.HasPrefix(x.arn, "arn:aws:iam::aws:") {
			return fault("EntityAlreadyExists", 409, "%s with name %s already exists.", kind, name)
		}
	}
	return nil
}

func str(in object, key string) string { v, _ := in[key].(string); return v }

func pathOf(in object) string { return cmp.Or(str(in, "Path"), "/") }

func escape(doc string) string { return strings.ReplaceAll(url.QueryEscape(doc), "+", "%20") }

// checkDocument holds a document to the grammar as far as IAM refuses it.
func (s *server) checkDocument(text string, isTrust bool) error {
	malformed := func(why string) error { return fault("MalformedPolicyDocument", 400, "%s", why) }
	var doc struct {
		Version   string
		ID        string `json:"Id"`
		Statement []map[string]any
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return malformed("Syntax errors in policy.")
	}
	if len(doc.Statement) == 0 {
		return malformed("Syntax errors in policy: no statement.")
	}
	for _, st := range doc.Statement {
		_, principal := st["Principal"]
		_, resource := st["Resource"]
		if principal != isTrust || resource == isTrust {
			return malformed("The policy has principals or resources where it must not.")
		}
		p, ok := st["Principal"].(map[string]any)
		if !ok {
			continue
		}
		list, ok := p["AWS"].([]any)
		if !ok {
			list = []any{p["AWS"]}
		}
		for _, item := range list {
			arn, _ := item.(string)
			who, ours := strings.CutPrefix(arn, "arn:aws:iam::"+accountID+":")
			if !ours || who == "root" {
				continue
			}
			found := false
			for _, m := range []map[string]*thing{s.users, s.roles} {
				for _, x := range m {
					found = found || x.arn == arn && !x.late()
				}
			}
			if !found {
				return malformed(fmt.Sprintf("Invalid principal in policy: \"AWS\":\"%s\"", arn))
			}
		}
	}
	size := 0
	for _, r := range text {
		if r != ' ' && r != '\t' && r != '\n' && r != '\r' {
			size++
		}
	}
	if limit := map[bool]int{true: 2048, false: 6144}[isTrust]; size > limit {
		return fault("LimitExceeded", 409, "Cannot exceed quota for PolicySize: %d", limit)
	}
	return nil
}

// rewrite is what IAM makes of a trust policy: it writes an account as its root.
func rewrite(text string) string {
	return regexp.MustCompile(`"AWS":"([0-9]{12})"`).ReplaceAllString(text, `"AWS":"arn:aws:iam::$1:root"`)
}

// page cuts a page, and puts IsTruncated and Marker beside it.
func page(in object, out object, key string, list []any) object {
	size, ok := in["MaxItems"].(int)
	if !ok {
		size = 100
	}
	start, _ := strconv.Atoi(strings.TrimPrefix(str(in, "Marker"), "m"))
	end := min(start+size, len(list))
	out[key] = list[min(start, len(list)):end]
	out["IsTruncated"] = end < len(list)
	if end < len(list) {
		out["Marker"] = "m" + strconv.Itoa(end)
	}
	return out
}

func tagList(tags map[string]string) []any {
	out := []any{}
	for _, k := range sortedKeys(tags) {
		out = append(out, object{"Key": k, "Value": tags[k]})
	}
	return out
}

func setTags(x *thing, in object) {
	list, _ := in["Tags"].([]any)
	for _, item := range list {
		o, _ := item.(object)
		x.tags[str(o, "Key")] = str(o, "Value")
	}
}

// short is a thing as the calls for one of it give it.
func (x *thing) short() object {
	o := object{"Path": x.path, "Arn": x.arn, "CreateDate": x.created}
	switch x.kind {
	case "user":
		o["UserName"], o["UserId"] = x.name, x.id
	case "group":
		o["GroupName"], o["GroupId"] = x.name, x.id
	case "role":
		o["RoleName"], o["RoleId"] = x.name, x.id
		o["AssumeRolePolicyDocument"], o["MaxSessionDuration"] = escape(x.document), x.session
		if x.description != "" {
			o["Description"] = x.description
		}
	case "policy":
		o["PolicyName"], o["PolicyId"], o["IsAttachable"], o["UpdateDate"] = x.name, x.id, true, x.created
		for _, v := range x.versions {
			if v.standard {
				o["DefaultVersionId"] = v.id
			}
		}
	}
	return o
}

func (x *thing) whole(s *server) object {
	o := x.short()
	switch x.kind {
	case "role":
		if x.boundary != "" {
			o["PermissionsBoundary"] = object{"PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": x.boundary}
		}
		if len(x.tags) > 0 {
			o["Tags"] = tagList(x.tags)
		}
	case "policy":
		if x.description != "" {
			o["Description"] = x.description
		}
		o["AttachmentCount"], o["PermissionsBoundaryUsageCount"] = len(s.attachedTo(x.arn)), len(s.boundedBy(x.arn))
		o["Tags"] = tagList(x.tags)
	}
	return o
}

func (s *server) everybody() []*thing {
	var out []*thing
	for _, m := range []map[string]*thing{s.users, s.groups, s.roles} {
		for _, k := range sortedKeys(m) {
			out = append(out, m[k])
		}
	}
	return out
}

func (s *server) attachedTo(arn string) (out []*thing) {
	for _, x := range s.everybody() {
		if x.attached[arn] {
			out = append(out, x)
		}
	}
	return out
}

func (s *server) boundedBy(arn string) (out []*thing) {
	for _, x := range s.everybody() {
		if x.boundary == arn {
			out = append(out, x)
		}
	}
	return out
}

func (x *thing) attachments() []any {
	out := []any{}
	for _, arn := range sortedKeys(x.attached) {
		out = append(out, object{"PolicyArn": arn, "PolicyName": arn[strings.LastIndex(arn, "/")+1:]})
	}
	return out
}

func (x *thing) inlines() []any {
	out := []any{}
	for _, n := range sortedKeys(x.inline) {
		out = append(out, object{"PolicyName": n, "PolicyDocument": escape(x.inline[n])})
	}
	return out
}

func (s *server) profilesOf(role string) []any {
	out := []any{}
	for _, p := range sortedKeys(s.profiles) {
		if slices.Contains(s.profiles[p], role) {
			out = append(out, object{"Path": "/", "InstanceProfileName": p, "InstanceProfileId": "AIPA0000000000000000", "Arn": "arn:aws:iam::" + accountID + ":instance-profile/" + p,
				"CreateDate": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), "Roles": []any{s.roles[role].short()}})
		}
	}
	return out
}

// details are what GetAccountAuthorizationDetails says of a thing. It says less of roles than GetRole does.
func (s *server) details(x *thing) object {
	o := object{"Path": x.path, "Arn": x.arn, "CreateDate": x.created}
	if x.kind != "policy" {
		o["AttachedManagedPolicies"] = x.attachments()
		if x.boundary != "" && !s.hideBounds {
			o["PermissionsBoundary"] = object{"PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": x.boundary}
		}
	}
	switch x.kind {
	case "user":
		o["UserName"], o["UserId"], o["Tags"] = x.name, x.id, tagList(x.tags)
		in := []any{}
		if known, ok := s.groupsOf[x.name]; ok { // of benchmarks, where to look through all would cost more than the rest
			for _, g := range known {
				in = append(in, g)
			}
		} else {
			for _, g := range sortedKeys(s.groups) {
				if s.groups[g].members[x.name] {
					in = append(in, g)
				}
			}
		}
		o["GroupList"] = in
	case "group":
		o["GroupName"], o["GroupId"], o["GroupPolicyList"] = x.name, x.id, x.inlines()
	case "role":
		o["RoleName"], o["RoleId"], o["RolePolicyList"], o["Tags"] = x.name, x.id, x.inlines(), tagList(x.tags)
		o["AssumeRolePolicyDocument"], o["InstanceProfileList"] = escape(x.document), s.profilesOf(x.name)
	case "policy":
		o = x.whole(s)
		delete(o, "Tags")
		versions := []any{}
		for _, v := range slices.Backward(x.versions) {
			versions = append(versions, object{"VersionId": v.id, "Document": escape(v.document), "IsDefaultVersion": v.standard, "CreateDate": x.created})
		}
		o["PolicyVersionList"] = versions
	}
	return o
}

type action func(in object, caller key) (object, error)

func (s *server) actions() map[string]action {
	return map[string]action{
		"GetCallerIdentity": func(_ object, caller key) (object, error) {
			return object{"Arn": caller.arn, "Account": strings.Split(caller.arn, ":")[4], "UserId": "AIDA0000000000000000"}, nil
		},
		"AssumeRole":                func(in object, _ key) (object, error) { return s.assume(in) },
		"AssumeRoleWithWebIdentity": s.assumeByToken,

		"GetAccountAuthorizationDetails": s.authorizationDetails,
		"ListRoles":                      s.listRoles,
		"ListPolicies":                   s.listPolicies,
		"ListEntitiesForPolicy":          s.listEntities,

		"CreateUser": func(in object, _ key) (object, error) {
			if err := taken(s.users, "User", str(in, "UserName")); err != nil {
				return nil, err
			}
			x := s.newThing("user", "AIDA", str(in, "UserName"), pathOf(in))
			x.boundary = str(in, "PermissionsBoundary")
			s.users[x.name] = x
			return object{"User": x.short()}, nil
		},
		"GetUser": func(in object, _ key) (object, error) {
			x, err := find(s.users, "user", str(in, "UserName"))
			if err != nil {
				return nil, err
			}
			return object{"User": x.short()}, nil
		},
		"DeleteUser": func(in object, _ key) (object, error) {
			x, err := find(s.users, "user", str(in, "UserName"))
			if err != nil {
				return nil, err
			}
			for _, g := range s.groups {
				if g.members[x.name] {
					return nil, fault("DeleteConflict", 409, "Cannot delete entity, must remove users from group first.")
				}
			}
			if len(x.attached) > 0 {
				return nil, fault("DeleteConflict", 409, "Cannot delete entity, must detach all policies first.")
			}
			delete(s.users, x.name)
			return object{}, nil
		},
		"ListGroupsForUser": func(in object, _ key) (object, error) {
			list := []any{}
			for _, g := range sortedKeys(s.groups) {
				if s.groups[g].members[str(in, "UserName")] {
					list = append(list, s.groups[g].short())
				}
			}
			return page(in, object{}, "Groups", list), nil
		},
		"ListAttachedUserPolicies": s.listAttached(s.users, "User"),
		"CreateGroup": func(in object, _ key) (object, error) {
			if err := taken(s.groups, "Group", str(in, "GroupName")); err != nil {
				return nil, err
			}
			x := s.newThing("group", "AGPA", str(in, "GroupName"), pathOf(in))
			s.groups[x.name] = x
			return object{"Group": x.short()}, nil
		},
		"GetGroup": func(in object, _ key) (object, error) {
			x, err := find(s.groups, "group", str(in, "GroupName"))
			if err != nil {
				return nil, err
			}
			list := []any{}
			for _, u := range sortedKeys(x.members) {
				list = append(list, s.users[u].short())
			}
			return page(in, object{"Group": x.short()}, "Users", list), nil
		},
		"UpdateGroup": func(in object, _ key) (object, error) {
			x, err := find(s.groups, "group", str(in, "GroupName"))
			if err != nil {
				return nil, err
			}
			x.path = cmp.Or(str(in, "NewPath"), x.path)
			x.arn = "arn:aws:iam::" + accountID + ":group" + x.path + x.name
			return object{}, nil
		},
		"DeleteGroup": func(in object, _ key) (object, error) {
			x, err := find(s.groups, "group", str(in, "GroupName"))
			if err != nil {
				return nil, err
			}
			if len(x.members)+len(x.attached)+len(x.inline) > 0 {
				return nil, fault("DeleteConflict", 409, "Cannot delete entity, must empty it first.")
			}
			delete(s.groups, x.name)
			return object{}, nil
		},
		"AddUserToGroup":            func(in object, _ key) (object, error) { return s.membership(in, true) },
		"RemoveUserFromGroup":       func(in object, _ key) (object, error) { return s.membership(in, false) },
		"AttachUserPolicy":          s.attach(s.users, "User", true),
		"AttachGroupPolicy":         s.attach(s.groups, "Group", true),
		"AttachRolePolicy":          s.attach(s.roles, "Role", true),
		"DetachUserPolicy":          s.attach(s.users, "User", false),
		"DetachGroupPolicy":         s.attach(s.groups, "Group", false),
		"DetachRolePolicy":          s.attach(s.roles, "Role", false),
		"PutGroupPolicy":            s.embed(s.groups, "Group", true),
		"PutRolePolicy":             s.embed(s.roles, "Role", true),
		"DeleteGroupPolicy":         s.embed(s.groups, "Group", false),
		"DeleteRolePolicy":          s.embed(s.roles, "Role", false),
		"ListGroupPolicies":         s.listInline(s.groups, "Group"),
		"ListRolePolicies":          s.listInline(s.roles, "Role"),
		"ListAttachedGroupPolicies": s.listAttached(s.groups, "Group"),
		"ListAttachedRolePolicies":  s.listAttached(s.roles, "Role"),
		"ListInstanceProfilesForRole": func(in object, _ key) (object, error) {
			x, err := find(s.roles, "role", str(in, "RoleName"))
			if err != nil {
				return nil, err
			}
			return page(in, object{}, "InstanceProfiles", s.profilesOf(x.name)), nil
		},
		"CreateInstanceProfile": func(in object, _ key) (object, error) {
			n := str(in, "InstanceProfileName")
			s.profiles[n] = nil
			return object{"InstanceProfile": object{"Path": "/", "InstanceProfileName": n, "InstanceProfileId": "AIPA0000000000000000",
				"Arn": "arn:aws:iam::" + accountID + ":instance-profile/" + n, "CreateDate": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), "Roles": []any{}}}, nil
		},
		"AddRoleToInstanceProfile": func(in object, _ key) (object, error) {
			n := str(in, "InstanceProfileName")
			s.profiles[n] = append(s.profiles[n], str(in, "RoleName"))
			return object{}, nil
		},

		"CreateRole":             s.createRole,
		"GetRole":                s.withRole(func(x *thing, _ object) (object, error) { return object{"Role": x.whole(s)}, nil }),
		"UpdateRole":             s.withRole(updateRole),
		"UpdateAssumeRolePolicy": s.withRole(s.updateTrust),
		"PutRolePermissionsBoundary": s.withRole(func(x *thing, in object) (object, error) {
			if s.policies[str(in, "PermissionsBoundary")] == nil {
				return nil, noSuch("policy", str(in, "PermissionsBoundary"))
			}
			x.boundary = str(in, "PermissionsBoundary")
			return object{}, nil
		}),
		"DeleteRolePermissionsBoundary": s.withRole(func(x *thing, _ object) (object, error) {
			x.boundary = ""
			return object{}, nil
		}),
		"DeleteRole": s.withRole(func(x *thing, _ object) (object, error) {
			if len(x.attached)+len(x.inline)+len(s.profilesOf(x.name)) > 0 {
				return nil, fault("DeleteConflict", 409, "Cannot delete entity, must detach all policies and remove it from instance profiles first.")
			}
			delete(s.roles, x.name)
			return object{}, nil
		}),

		"CreatePolicy":            s.createPolicy,
		"GetPolicy":               s.withPolicy(func(x *thing, _ object) (object, error) { return object{"Policy": x.whole(s)}, nil }),
		"CreatePolicyVersion":     s.withPolicy(s.createVersion),
		"GetPolicyVersion":        s.withPolicy(getVersion),
		"ListPolicyVersions":      s.withPolicy(listVersions),
		"SetDefaultPolicyVersion": s.withPolicy(setDefault),
		"DeletePolicyVersion":     s.withPolicy(deleteVersion),
		"DeletePolicy": s.withPolicy(func(x *thing, _ object) (object, error) {
			if len(s.attachedTo(x.arn))+len(s.boundedBy(x.arn)) > 0 {
				return nil, fault("DeleteConflict", 409, "Cannot delete a policy attached to entities.")
			}
			if len(x.versions) > 1 {
				return nil, fault("DeleteConflict", 409, "This policy has more than one version. Before you delete a policy, you must delete the policy's versions.")
			}
			delete(s.policies, x.arn)
			return object{}, nil
		}),
	}
}

func (s *server) session(arn string) (object, object) {
	s.next++
	id, secret, token := fmt.Sprintf("ASIA%016d", s.next), "session-secret", "session-token"
	s.keys[id] = key{secret, token, arn}
	return object{"AccessKeyId": id, "SecretAccessKey": secret, "SessionToken": token, "Expiration": time.Now().Add(time.Hour)},
		object{"Arn": arn, "AssumedRoleId": "AROA0000000000000000:countersign"}
}

func (s *server) assume(in object) (object, error) {
	arn := str(in, "RoleArn")
	for _, x := range s.roles {
		if x.arn == arn && (x.tags["external"] == "" || x.tags["external"] == str(in, "ExternalId")) {
			credentials, who := s.session("arn:aws:sts::" + accountID + ":assumed-role/" + x.name + "/" + str(in, "RoleSessionName"))
			return object{"Credentials": credentials, "AssumedRoleUser": who}, nil
		}
	}
	return nil, fault("AccessDenied", 403, "not authorized to perform: sts:AssumeRole on resource: %s", arn)
}

func (s *server) assumeByToken(in object, _ key) (object, error) {
	if str(in, "WebIdentityToken") != webToken {
		return nil, fault("InvalidIdentityToken", 400, "The token is not good: %s", str(in, "WebIdentityToken"))
	}
	return s.assume(in)
}

const webToken = "eyJhbGciOiJub25lIn0.web.identity"

func (s *server) authorizationDetails(in object, _ key) (object, error) {
	type item struct {
		list string
		of   *thing
	}
	var all []item
	filter, _ := in["Filter"].([]any)
	add := func(kind, list string, m map[string]*thing) {
		if len(filter) > 0 && !slices.Contains(filter, any(kind)) {
			return
		}
		for _, k := range sortedKeys(m) {
			if !strings.HasPrefix(m[k].arn, "arn:aws:iam::aws:") {
				all = append(all, item{list, m[k]})
			}
		}
	}
	add("User", "UserDetailList", s.users)
	add("Group", "GroupDetailList", s.groups)
	add("Role", "RoleDetailList", s.roles)
	add("LocalManagedPolicy", "Policies", s.policies)
	var list []any
	for _, i := range all {
		list = append(list, i)
	}
	cut := page(in, object{}, "All", list)
	out := object{"UserDetailList": []any{}, "GroupDetailList": []any{}, "RoleDetailList": []any{}, "Policies": []any{}, "IsTruncated": cut["IsTruncated"]}
	if m, ok := cut["Marker"]; ok {
		out["Marker"] = m
	}
	some, _ := cut["All"].([]any)
	for _, x := range some {
		i, _ := x.(item)
		sofar, _ := out[i.list].([]any)
		out[i.list] = append(sofar, s.details(i.of))
	}
	return out, nil
}

func (s *server) listRoles(in object, _ key) (object, error) {
	list := []any{}
	for _, k := range sortedKeys(s.roles) {
		if strings.HasPrefix(s.roles[k].path, str(in, "PathPrefix")) {
			list = append(list, s.roles[k].short())
		}
	}
	return page(in, object{}, "Roles", list), nil
}

func (s *server) listPolicies(in object, _ key) (object, error) {
	list := []any{}
	for _, k := range sortedKeys(s.policies) {
		x := s.policies[k]
		ofAWS := strings.HasPrefix(x.arn, "arn:aws:iam::aws:")
		if scope := str(in, "Scope"); scope == "AWS" && !ofAWS || scope == "Local" && ofAWS ||
			str(in, "PolicyUsageFilter") == "PermissionsBoundary" && len(s.boundedBy(x.arn)) == 0 {
			continue
		}
		o := x.short()
		o["AttachmentCount"], o["PermissionsBoundaryUsageCount"] = len(s.attachedTo(x.arn)), len(s.boundedBy(x.arn))
		list = append(list, o)
	}
	return page(in, object{}, "Policies", list), nil
}

func (s *server) listEntities(in object, _ key) (object, error) {
	arn := str(in, "PolicyArn")
	if s.policies[arn] == nil {
		return nil, noSuch("policy", arn)
	}
	var holders []*thing
	if str(in, "PolicyUsageFilter") != "PermissionsBoundary" {
		holders = append(holders, s.attachedTo(arn)...)
	}
	if str(in, "PolicyUsageFilter") != "PermissionsPolicy" {
		holders = append(holders, s.boundedBy(arn)...)
	}
	var list []any
	for _, x := range holders {
		list = append(list, x)
	}
	cut := page(in, object{}, "All", list)
	out := object{"PolicyUsers": []any{}, "PolicyGroups": []any{}, "PolicyRoles": []any{}, "IsTruncated": cut["IsTruncated"]}
	if m, ok := cut["Marker"]; ok {
		out["Marker"] = m
	}
	some, _ := cut["All"].([]any)
	for _, i := range some {
		x, _ := i.(*thing)
		title := map[string]string{"user": "User", "group": "Group", "role": "Role"}[x.kind]
		sofar, _ := out["Policy"+title+"s"].([]any)
		out["Policy"+title+"s"] = append(sofar, object{title + "Name": x.name, title + "Id": x.id})
	}
	return out, nil
}

func (s *server) membership(in object, member bool) (object, error) {
	g, err := find(s.groups, "group", str(in, "GroupName"))
	if err != nil {
		return nil, err
	}
	u, err := find(s.users, "user", str(in, "UserName"))
	if err != nil {
		return nil, err
	}
	if !member {
		if !g.members[u.name] {
			return nil, fault("NoSuchEntity", 404, "User %s is not in group %s", u.name, g.name)
		}
		delete(g.members, u.name)
		return object{}, nil
	}
	if s.quotas {
		n := 0
		for _, other := range s.groups {
			if other.members[u.name] && other != g {
				n++
			}
		}
		if n >= 10 {
			return nil, fault("LimitExceeded", 409, "Cannot exceed quota for GroupsPerUser: 10")
		}
	}
	g.members[u.name] = true
	return object{}, nil
}

func (s *server) attach(m map[string]*thing, title string, attached bool) action {
	return func(in object, _ key) (object, error) {
		x, err := find(m, strings.ToLower(title), str(in, title+"Name"))
		if err != nil {
			return nil, err
		}
		arn := str(in, "PolicyArn")
		if !attached {
			if !x.attached[arn] {
				return nil, fault("NoSuchEntity", 404, "Policy %s was not found.", arn)
			}
			delete(x.attached, arn)
			return object{}, nil
		}
		if p := s.policies[arn]; p == nil || p.late() {
			return nil, fault("NoSuchEntity", 404, "Policy %s does not exist or is not attachable.", arn)
		}
		if s.quotas && len(x.attached) >= 10 && !x.attached[arn] {
			return nil, fault("LimitExceeded", 409, "Cannot exceed quota for PoliciesPer%s: 10", title)
		}
		x.attached[arn] = true
		return object{}, nil
	}
}

func (s *server) embed(m map[string]*thing, title string, embedded bool) action {
	return func(in object, _ key) (object, error) {
		x, err := find(m, strings.ToLower(title), str(in, title+"Name"))
		if err != nil {
			return nil, err
		}
		n := str(in, "PolicyName")
		if _, ok := x.inline[n]; !ok && !embedded {
			return nil, fault("NoSuchEntity", 404, "The %s policy with name %s cannot be found.", title, n)
		}
		if delete(x.inline, n); embedded {
			x.inline[n] = str(in, "PolicyDocument")
		}
		return object{}, nil
	}
}

func (s *server) listInline(m map[string]*thing, title string) action {
	return func(in object, _ key) (object, error) {
		x, err := find(m, strings.ToLower(title), str(in, title+"Name"))
		if err != nil {
			return nil, err
		}
		list := []any{}
		for _, n := range sortedKeys(x.inline) {
			list = append(list, n)
		}
		return page(in, object{}, "PolicyNames", list), nil
	}
}

func (s *server) listAttached(m map[string]*thing, title string) action {
	return func(in object, _ key) (object, error) {
		x, err := find(m, strings.ToLower(title), str(in, title+"Name"))
		if err != nil {
			return nil, err
		}
		return page(in, object{}, "AttachedPolicies", x.attachments()), nil
	}
}

func (s *server) withRole(do func(*thing, object) (object, error)) action {
	return func(in object, _ key) (object, error) {
		x, err := find(s.roles, "role", str(in, "RoleName"))
		if err != nil {
			return nil, err
		}
		return do(x, in)
	}
}

func (s *server) createRole(in object, _ key) (object, error) {
	name := str(in, "RoleName")
	if err := taken(s.roles, "Role", name); err != nil {
		return nil, err
	}
	doc := str(in, "AssumeRolePolicyDocument")
	if err := s.checkDocument(doc, true); err != nil {
		return nil, err
	}
	if b := str(in, "PermissionsBoundary"); b != "" && s.policies[b] == nil {
		return nil, noSuch("policy", b)
	}
	x := s.newThing("role", "AROA", name, pathOf(in))
	x.document, x.description, x.session, x.boundary = rewrite(doc), str(in, "Description"), 3600, str(in, "PermissionsBoundary")
	if n, ok := in["MaxSessionDuration"].(int); ok {
		x.session = n
	}
	setTags(x, in)
	s.roles[name] = x
	return object{"Role": x.whole(s)}, nil
}

func updateRole(x *thing, in object) (object, error) {
	// What is not said falls back to its default.
	x.session, x.description = 3600, str(in, "Description")
	if n, ok := in["MaxSessionDuration"].(int); ok {
		x.session = n
	}
	return object{}, nil
}

func (s *server) updateTrust(x *thing, in object) (object, error) {
	if err := s.checkDocument(str(in, "PolicyDocument"), true); err != nil {
		return nil, err
	}
	x.document = rewrite(str(in, "PolicyDocument"))
	return object{}, nil
}

func (s *server) withPolicy(do func(*thing, object) (object, error)) action {
	return func(in object, _ key) (object, error) {
		x, err := find(s.policies, "policy", str(in, "PolicyArn"))
		if err != nil {
			return nil, err
		}
		return do(x, in)
	}
}

func (s *server) createPolicy(in object, _ key) (object, error) {
	if err := taken(s.policies, "A policy", str(in, "PolicyName")); err != nil {
		return nil, err
	}
	if err := s.checkDocument(str(in, "PolicyDocument"), false); err != nil {
		return nil, err
	}
	x := s.newThing("policy", "ANPA", str(in, "PolicyName"), pathOf(in))
	x.description, x.versions = str(in, "Description"), []version{{"v1", str(in, "PolicyDocument"), true}}
	setTags(x, in)
	s.policies[x.arn] = x
	return object{"Policy": x.short()}, nil
}

func (s *server) createVersion(x *thing, in object) (object, error) {
	if err := s.checkDocument(str(in, "PolicyDocument"), false); err != nil {
		return nil, err
	}
	if len(x.versions) >= 5 {
		return nil, fault("LimitExceeded", 409, "A managed policy can have up to 5 versions.")
	}
	x.last = max(x.last, 1) + 1 // numbers are never given again
	v := version{"v" + strconv.Itoa(x.last), str(in, "PolicyDocument"), false}
	x.versions = append(x.versions, v)
	if in["SetAsDefault"] == true {
		if _, err := setDefault(x, object{"VersionId": v.id}); err != nil {
			return nil, err
		}
	}
	return object{"PolicyVersion": object{"VersionId": v.id, "IsDefaultVersion": in["SetAsDefault"] == true, "CreateDate": x.created}}, nil
}

func getVersion(x *thing, in object) (object, error) {
	for _, v := range x.versions {
		if v.id == str(in, "VersionId") {
			return object{"PolicyVersion": object{"VersionId": v.id, "Document": escape(v.document), "IsDefaultVersion": v.standard, "CreateDate": x.created}}, nil
		}
	}
	return nil, noSuch("version", str(in, "VersionId"))
}

func listVersions(x *thing, in object) (object, error) {
	list := []any{}
	for _, v := range slices.Backward(x.versions) {
		list = append(list, object{"VersionId": v.id, "IsDefaultVersion": v.standard, "CreateDate": x.created})
	}
	return page(in, object{}, "Versions", list), nil
}

func setDefault(x *thing, in object) (object, error) {
	i := slices.IndexFunc(x.versions, func(v version) bool { return v.id == str(in, "VersionId") })
	if i < 0 {
		return nil, noSuch("version", str(in, "VersionId"))
	}
	for j := range x.versions {
		x.versions[j].standard = j == i
	}
	return object{}, nil
}

func deleteVersion(x *thing, in object) (object, error) {
	i := slices.IndexFunc(x.versions, func(v version) bool { return v.id == str(in, "VersionId") })
	switch {
	case i < 0:
		return nil, noSuch("version", str(in, "VersionId"))
	case x.versions[i].standard:
		return nil, fault("DeleteConflict", 409, "Cannot delete the default version of a policy.")
	}
	x.versions = slices.Delete(x.versions, i, i+1)
	return object{}, nil
}
