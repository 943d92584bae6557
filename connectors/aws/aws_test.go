package aws_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/aws"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/schemas"
)

func name(typ, source string) schemas.Name { return schemas.Name{Type: typ, SourceName: source} }

func writer(t connectortest.TB, cfg connectors.Config) connectors.Writer {
	t.Helper()
	w, err := aws.New().OpenWriter(t.Context(), cfg)
	if err != nil {
		t.Fatalf("OpenWriter: %v", err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return w
}

func apply(t connectortest.TB, w connectors.Writer, ops ...schemas.Operation) []error {
	t.Helper()
	var out []error
	for i := range ops {
		ops[i].ID = fmt.Sprintf("op-%d", i)
	}
	if err := w.Apply(t.Context(), ops, func(o connectors.Outcome) { out = append(out, o.Err) }); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return out
}

func must(t connectortest.TB, w connectors.Writer, ops ...schemas.Operation) {
	t.Helper()
	for i, err := range apply(t, w, ops...) {
		if err != nil {
			t.Fatalf("%s %s: %v", ops[i].Kind, ops[i].Connection, err)
		}
	}
}

// refused applies one operation that ends in an error, and returns it.
func refused(t connectortest.TB, w connectors.Writer, code connectors.Code, o schemas.Operation) *connectors.Error {
	t.Helper()
	err := apply(t, w, o)[0]
	var e *connectors.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("%s %s: got %v, want the code %s", o.Kind, o.Connection, err, code)
	}
	return e
}

func one(t connectortest.TB, r connectors.Reader, n schemas.Name) schemas.Connection {
	t.Helper()
	s, err := r.Read(t.Context(), schemas.Selection{Names: []schemas.Name{n}})
	if err != nil || s.Incomplete != "" || len(s.Connections) != 1 {
		t.Fatalf("Read of %s: %d connections, %s, %v", n, len(s.Connections), s.Incomplete, err)
	}
	return s.Connections[0]
}

func create(n schemas.Name, payload map[string]any) schemas.Operation {
	return schemas.Operation{Kind: schemas.OperationCreate, Connection: n, After: payload}
}

func update(n schemas.Name, payload map[string]any) schemas.Operation {
	return schemas.Operation{Kind: schemas.OperationUpdate, Connection: n, After: payload}
}

func remove(n schemas.Name) schemas.Operation {
	return schemas.Operation{Kind: schemas.OperationDelete, Connection: n}
}

func grant(c, target schemas.Name, privilege string) schemas.Operation {
	return schemas.Operation{Kind: schemas.OperationGrant, Connection: c, Target: &target, Privilege: privilege}
}

func revoke(c, target schemas.Name, privilege string) schemas.Operation {
	return schemas.Operation{Kind: schemas.OperationRevoke, Connection: c, Target: &target, Privilege: privilege}
}

func (s *server) count(action string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[action]
}

func (s *server) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// A change of a document is a new version: the oldest that is not in force goes when there are five, and a document
// that an older version has is made the default again.
func TestVersions(t *testing.T) {
	t.Parallel()
	a := start(t)
	w := writer(t, a.config)
	p := name("policy", "t-p")
	doc := func(i int) map[string]any {
		return document(statement("Effect", "Allow", "Action", "s3:GetObject", "Resource", fmt.Sprintf("arn:aws:s3:::b%d/*", i)))
	}
	must(t, w, create(p, map[string]any{"document": doc(1)}))
	for i := 2; i <= 7; i++ {
		must(t, w, update(p, map[string]any{"document": doc(i)}))
	}
	arn := a.arn(t, p)
	versions := func() []string {
		return texts(t, a.call(t, "ListPolicyVersions", "PolicyArn", arn), "VersionId")
	}
	if got, want := versions(), []string{"v7", "v6", "v5", "v4", "v3"}; !slices.Equal(got, want) {
		t.Errorf("versions %v, want %v", got, want)
	}
	made := a.srv.count("CreatePolicyVersion")
	must(t, w, update(p, map[string]any{"document": doc(4)}))
	if diff := cmp.Diff(any(doc(4)), one(t, w, p).Payload["document"]); diff != "" {
		t.Errorf("the document in force (-want +got):\n%s", diff)
	}
	if n := a.srv.count("CreatePolicyVersion"); n != made {
		t.Errorf("%d versions were made for a document that there is", n-made)
	}
	// The oldest is v3; v4 is in force, and stays when it is the oldest.
	must(t, w, update(p, map[string]any{"document": doc(8)}), update(p, map[string]any{"document": doc(4)}), update(p, map[string]any{"document": doc(9)}))
	if got, want := versions(), []string{"v9", "v8", "v7", "v6", "v4"}; !slices.Equal(got, want) {
		t.Errorf("versions %v, want %v", got, want)
	}
	// One who reads while another fills the versions up finds room all the same.
	fresh := writer(t, a.config)
	must(t, fresh, update(p, map[string]any{"document": doc(10)}))
	// A version that somebody took away is made anew.
	a.call(t, "DeletePolicyVersion", "PolicyArn", arn, "VersionId", "v9")
	must(t, w, update(p, map[string]any{"document": doc(9)}), remove(p))
}

// A version is made once: when the answer is lost, nobody knows whether it was, and the next run looks.
func TestVersionIsNotMadeTwice(t *testing.T) {
	t.Parallel()
	a := start(t)
	w := writer(t, a.config)
	p := name("policy", "t-p")
	must(t, w, create(p, nil))
	a.srv.set(func() {
		a.srv.fail["CreatePolicyVersion"] = failure{code: "ServiceFailure", status: 500, times: 1, after: true}
	})
	change := update(p, map[string]any{"document": payloads()["policy"][0]["document"]})
	refused(t, w, connectors.Unavailable, change)
	must(t, w, change)
	if n := a.srv.count("CreatePolicyVersion"); n != 1 {
		t.Errorf("%d versions were made, want 1", n)
	}
	a.srv.set(func() { a.srv.throttle = 2 })
	must(t, w, change)
}

// UpdateRole sets what it is not told to its default.
func TestRoleKeepsWhatIsNotChanged(t *testing.T) {
	t.Parallel()
	a := start(t)
	w := writer(t, a.config)
	r := name("role", "t-r")
	must(t, w, create(r, payloads()["role"][1]))
	// Somebody changes it between the reading and the change.
	must(t, w, update(r, map[string]any{"description": "new"}))
	if got := one(t, w, r).Payload; got["max_session_duration"] != 43200 || got["description"] != "new" {
		t.Errorf("after a change of the description: %v", got)
	}
	must(t, w, update(r, map[string]any{"max_session_duration": 7200}))
	if got := one(t, w, r).Payload; got["max_session_duration"] != 7200 || got["description"] != "new" || got["permissions_boundary"] != boundaryARN {
		t.Errorf("after a change of the session's length: %v", got)
	}
	must(t, w, update(r, map[string]any{"description": "", "permissions_boundary": ""}))
	if got := one(t, w, r).Payload; got["description"] != "" || got["permissions_boundary"] != "" {
		t.Errorf("after taking away: %v", got)
	}
}

// The details were known to leave permissions boundaries out; no role may seem to have none because of that.
func TestBoundariesThatDetailsLeaveOut(t *testing.T) {
	t.Parallel()
	a := start(t)
	w := writer(t, a.config)
	bound, free := name("role", "t-bound"), name("role", "t-free")
	must(t, w, create(bound, payloads()["role"][1]), create(free, payloads()["role"][0]))
	a.srv.set(func() { a.srv.hideBounds = true })
	if got := one(t, w, bound).Payload["permissions_boundary"]; got != boundaryARN {
		t.Errorf("the boundary is %v, want %s", got, boundaryARN)
	}
	if got := one(t, w, free).Payload["permissions_boundary"]; got != "" {
		t.Errorf("the boundary is %v, want none", got)
	}
}

// What was just made is not known everywhere at once.
func TestEventualConsistency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := start(t)
		w := writer(t, a.config)
		alice := name("user", a.AddIdentity(t, "user", "alice").SourceName)
		g, p, r, other := name("group", "t-g"), name("policy", "t-p"), name("role", "t-r"), name("role", "t-other")
		trust := document(statement("Effect", "Allow", "Principal", map[string]any{"AWS": "arn:aws:iam::" + accountID + ":role" + teamPath + "t-other"}, "Action", "sts:AssumeRole"))
		a.srv.set(func() { a.srv.lag = 2 })
		must(t, w, create(g, nil), create(p, nil), create(other, nil), create(r, map[string]any{"assume_role_policy": trust}),
			grant(g, alice, "MEMBER"), grant(g, p, "MEMBER"), grant(r, p, "MEMBER"), grant(p, alice, "MEMBER"), update(r, map[string]any{"description": "x"}))
		a.srv.set(func() { a.srv.lag = 0 })
		if got := len(one(t, w, g).Entitlements); got != 2 {
			t.Errorf("the group holds %d, want 2", got)
		}
		// It is not waited for what nobody made.
		begin := time.Now()
		refused(t, w, connectors.Invalid, update(r, map[string]any{"assume_role_policy": document(statement("Effect", "Allow",
			"Principal", map[string]any{"AWS": "arn:aws:iam::" + accountID + ":role/absent"}, "Action", "sts:AssumeRole"))}))
		refused(t, w, connectors.NotFound, grant(g, name("policy", "t-absent"), "MEMBER"))
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
		// The wait has an end.
		a.srv.set(func() { a.srv.lag = 1_000_000 })
		out := apply(t, w, create(name("group", "t-late"), nil), grant(name("group", "t-late"), alice, "MEMBER"))
		if out[0] != nil || connectors.CodeOf(out[1]) != connectors.NotFound {
			t.Errorf("what never becomes known: %v", out)
		}
	})
}

// Names are one to IAM that differ in case alone, and a request writes what IAM has.
func TestCase(t *testing.T) {
	t.Parallel()
	a := start(t)
	w := writer(t, a.config)
	a.call(t, "CreateGroup", "GroupName", "Sales", "Path", teamPath)
	a.call(t, "CreateUser", "UserName", "Alice")
	for _, o := range []schemas.Operation{
		create(name("group", "sales"), nil),
		remove(name("group", "SALES")),
		grant(name("group", "sales"), name("user", "Alice"), "MEMBER"),
		grant(name("group", "Sales"), name("user", "alice"), "MEMBER"),
	} {
		if e := refused(t, w, connectors.Conflict, o); !strings.Contains(e.Message, "Sales") && !strings.Contains(e.Message, "Alice") {
			t.Errorf("the error does not say how it is written: %v", e)
		}
	}
	if c := one(t, w, name("group", "sales")); c.SourceName != "Sales" {
		t.Errorf("Read finds %q", c.SourceName)
	}
	page, err := w.List(t.Context(), connectors.Query{Type: "user", Names: []string{"ALICE"}})
	if err != nil || len(page.Items) != 1 || page.Items[0].SourceName != "Alice" {
		t.Errorf("List finds %v, %v", page.Items, err)
	}
}

func TestProtection(t *testing.T) {
	t.Parallel()
	a := start(t)
	for _, role := range [][2]string{{"AWSServiceRoleForX", "/team/"}, {"x", "/aws-service-role/x.amazonaws.com/"}, {"AWSReservedSSO_Admin_0", "/team/"},
		{"y", "/aws-reserved/sso.amazonaws.com/"}, {"OrganizationAccountAccessRole", "/team/"}, {"AWSControlTowerExecution", "/team/"},
		{"outside", "/"}, {"nearly", "/teams/"}, {"untagged", "/team/"}, {"planner", "/team/"}, {"applier", "/team/"}} {
		a.call(t, "CreateRole", "RoleName", role[0], "Path", role[1], "AssumeRolePolicyDocument", anyTrust)
	}
	a.call(t, "CreateRole", "RoleName", "ours", "Path", "/team/inner/", "AssumeRolePolicyDocument", anyTrust, "Tags.member.1.Key", "managed-by", "Tags.member.1.Value", "countersign")
	for _, p := range [][2]string{{"self", "/team/"}, {"plain", "/team/"}, {"far", "/"}, {"limit", "/team/"}} {
		a.call(t, "CreatePolicy", "PolicyName", p[0], "Path", p[1], "PolicyDocument", anyPolicy)
	}
	a.call(t, "CreatePolicy", "PolicyName", "tagged", "Path", "/team/", "PolicyDocument", anyPolicy, "Tags.member.1.Key", "managed-by", "Tags.member.1.Value", "countersign")
	a.call(t, "AttachUserPolicy", "UserName", "countersign", "PolicyArn", "arn:aws:iam::"+accountID+":policy/team/self")
	a.call(t, "CreateUser", "UserName", "alice")
	cfg := with(map[string]any{"tag": map[string]any{"key": "managed-by", "value": "countersign"}, "permissions_boundary": "arn:aws:iam::" + accountID + ":policy/team/limit",
		"role_arn": "arn:aws:iam::" + accountID + ":role/team/planner", "apply_role_arn": "arn:aws:iam::" + accountID + ":role/team/applier"})(t, a.config)
	w := writer(t, cfg)
	s, err := w.Read(t.Context(), schemas.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	var free []string
	for _, c := range s.Connections {
		if c.Protected == "" {
			free = append(free, c.String())
		}
	}
	// The policy without the tag is told from others only when it is to be changed.
	if want := []string{"policy/plain", "policy/tagged", "role/ours"}; !slices.Equal(free, want) {
		t.Errorf("changeable are %v, want %v", free, want)
	}
	// Where the whole account is ours to change, some of it still is not.
	all := writer(t, with(map[string]any{"path_prefix": "/"})(t, a.config))
	everything, err := all.Read(t.Context(), schemas.Selection{Scope: map[string][]string{"role": {"*"}}})
	if err != nil {
		t.Fatal(err)
	}
	free = nil
	for _, c := range everything.Connections {
		if c.Protected == "" {
			free = append(free, c.SourceName)
		}
	}
	if want := []string{"applier", "nearly", "ours", "outside", "planner", "untagged"}; !slices.Equal(free, want) {
		t.Errorf("in the whole account, changeable are %v, want %v", free, want)
	}
	before := s
	doc := map[string]any{"document": payloads()["policy"][1]["document"]}
	for _, o := range []schemas.Operation{
		update(name("role", "OrganizationAccountAccessRole"), map[string]any{"description": "x"}),
		remove(name("role", "AWSServiceRoleForX")), remove(name("role", "AWSReservedSSO_Admin_0")), remove(name("role", "outside")), remove(name("role", "nearly")),
		remove(name("role", "untagged")), remove(name("role", "planner")), update(name("role", "applier"), map[string]any{"description": "x"}),
		update(name("policy", "self"), doc), update(name("policy", "far"), doc), update(name("policy", "limit"), doc), update(name("policy", "plain"), doc), remove(name("policy", "plain")),
		create(name("role", "untagged"), nil),
		grant(name("policy", "plain"), name("user", "alice"), "MEMBER"),
		grant(name("policy", "tagged"), name("user", "countersign"), "MEMBER"),
		grant(name("role", "ours"), name("policy", "self"), "MEMBER"),
		grant(name("group", "Administrators"), name("user", "alice"), "MEMBER"),
		revoke(name("group", "Administrators"), name("user", "countersign"), "MEMBER"),
	} {
		refused(t, w, connectors.Denied, o)
	}
	refused(t, w, connectors.Invalid, update(name("role", "ours"), map[string]any{"permissions_boundary": boundaryARN}))
	refused(t, w, connectors.Invalid, create(name("role", "x1"), map[string]any{"path": "/elsewhere/"}))
	refused(t, w, connectors.Invalid, create(name("role", "AWSServiceRoleForY"), nil))
	after, err := w.Read(t.Context(), schemas.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("something changed (-before +after):\n%s", diff)
	}
	// What lies outside may be given, where the application lets it: that changes who has it, not what it is.
	must(t, w, grant(name("role", "ours"), name("policy", "far"), "MEMBER"))
	// What is made gets the tag and the boundary.
	must(t, w, create(name("role", "new"), nil), update(name("role", "new"), map[string]any{"description": "changeable"}), create(name("policy", "new"), nil), update(name("policy", "new"), doc))
	if got := one(t, w, name("role", "new")); got.Payload["permissions_boundary"] != cfg.Values["permissions_boundary"] || got.Protected != "" {
		t.Errorf("a new role: %+v", got)
	}
}

// A policy that others hold, and a role that machines run with, stay; the error says who is in the way.
// A harmless name makes no policy harmless, nor the group that has it.
func TestPowerfulPolicies(t *testing.T) {
	t.Parallel()
	a := start(t)
	allow := func(rest string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"},{"Effect":"Allow","Resource":"*",` + rest + `}]}`
	}
	powerful := map[string]bool{
		`"Action":"*"`: true, `"Action":["s3:GetObject","IAM:PutUserPolicy"]`: true, `"Action":"iam:g*"`: true, `"Action":"i?m:Get"`: true, `"NotAction":"s3:*"`: true,
		`"Action":"sts:AssumeRole"`: true, `"Action":"iam:PassRole"`: true, `"Action":"organizations:*"`: true,
		`"Action":"s3:*"`: false, `"Action":["iam:Get*","iam:ListRoles"]`: false, `"Action":"sts:GetCallerIdentity"`: false,
	}
	var policies, groups []string
	n := 0
	for action, is := range powerful {
		n++
		attached, embedded := fmt.Sprintf("a%02d", n), fmt.Sprintf("e%02d", n)
		a.call(t, "CreatePolicy", "PolicyName", attached, "Path", teamPath, "PolicyDocument", allow(action))
		a.call(t, "CreateGroup", "GroupName", attached, "Path", teamPath)
		a.call(t, "AttachGroupPolicy", "GroupName", attached, "PolicyArn", "arn:aws:iam::"+accountID+":policy"+teamPath+attached)
		a.call(t, "CreateGroup", "GroupName", embedded, "Path", teamPath)
		a.call(t, "PutGroupPolicy", "GroupName", embedded, "PolicyName", "x", "PolicyDocument", allow(action))
		if is {
			policies, groups = append(policies, attached), append(groups, attached, embedded)
		}
	}
	a.call(t, "CreateGroup", "GroupName", "plain", "Path", teamPath)
	groups = append(groups, "keeper") // it has AdministratorAccess
	slices.Sort(groups)
	d, err := writer(t, a.config).Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	named := func(patterns []string) []string {
		return slices.DeleteFunc(slices.Clone(patterns), func(p string) bool { return strings.Contains(p, "*") })
	}
	for _, typ := range d.Types {
		switch typ.Name {
		case "group":
			if diff := cmp.Diff(groups, named(typ.Privileged)); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
		case "policy":
			if diff := cmp.Diff(policies, named(typ.Privileged)); diff != "" {
				t.Errorf("policies (-want +got):\n%s", diff)
			}
			continue
		}
		if g, _ := typ.Target("policy"); !cmp.Equal(policies, named(g.Privileged)) {
			t.Errorf("policies for a %s: %v, want %v", typ.Name, g.Privileged, policies)
		}
	}
}

// What was renamed since is there all the same: taking away what it had under its old name is not done.
func TestRenamed(t *testing.T) {
	t.Parallel()
	a := start(t)
	a.call(t, "CreateUser", "UserName", "alice")
	w := writer(t, a.config)
	must(t, w, create(name("group", "sales"), nil), create(name("policy", "sales"), nil), grant(name("group", "sales"), name("user", "alice"), "MEMBER"),
		grant(name("group", "sales"), name("policy", "sales"), "MEMBER"))
	group := one(t, w, name("group", "sales"))
	for _, e := range group.Entitlements {
		o := revoke(group.Name, name(e.Target.Type, "before"), e.Privilege)
		o.TargetID = e.TargetID
		if err := refused(t, w, connectors.Conflict, o); !strings.Contains(err.Message, "is now named "+e.Target.SourceName) {
			t.Error(err)
		}
		o.TargetID = "AIDAGONE"
		must(t, w, o)
	}
	o := remove(name("group", "before"))
	o.NativeID = group.NativeID
	refused(t, w, connectors.Conflict, o)
	if diff := cmp.Diff(group, one(t, w, group.Name)); diff != "" {
		t.Errorf("something changed (-before +after):\n%s", diff)
	}
}

func TestDeletionThatIsBlocked(t *testing.T) {
	t.Parallel()
	a := start(t)
	w := writer(t, a.config)
	p, g := name("policy", "t-p"), name("group", "t-g")
	must(t, w, create(p, nil), update(p, map[string]any{"document": payloads()["policy"][0]["document"]}), create(g, nil), grant(g, p, "MEMBER"))
	arn := a.arn(t, p)
	a.call(t, "AttachGroupPolicy", "GroupName", "keeper", "PolicyArn", arn)
	a.call(t, "CreateRole", "RoleName", "far", "AssumeRolePolicyDocument", anyTrust, "PermissionsBoundary", arn)
	found, err := w.(connectors.Foreseer).Foresee(t.Context(), []schemas.Operation{remove(p), remove(g), update(p, map[string]any{"path": "/other/"})})
	if err != nil || len(found) != 2 || !strings.Contains(found[0].Message, "permissions boundary of role far") || !strings.Contains(found[1].Message, "can't change the path of a policy") {
		t.Errorf("foreseen: %v, %v", found, err)
	}
	machine := name("role", "t-machine")
	must(t, w, create(machine, payloads()["role"][0]))
	a.call(t, "CreateInstanceProfile", "InstanceProfileName", "web")
	a.call(t, "AddRoleToInstanceProfile", "InstanceProfileName", "web", "RoleName", machine.SourceName)
	if found, err := w.(connectors.Foreseer).Foresee(t.Context(), []schemas.Operation{remove(machine)}); err != nil || len(found) != 1 || !strings.Contains(found[0].Message, "instance profile web") {
		t.Errorf("foreseen: %v, %v", found, err)
	}
	e := refused(t, w, connectors.Conflict, remove(p))
	if got := strings.Join(e.Dependents, "\n"); !strings.Contains(got, "group keeper") || !strings.Contains(got, "role far") || strings.Contains(got, "t-g") {
		t.Errorf("in the way are %q", e.Dependents)
	}
	if got := len(one(t, w, g).Entitlements); got != 1 {
		t.Errorf("a refused deletion left the group with %d policies, want 1", got)
	}
	a.call(t, "DetachGroupPolicy", "GroupName", "keeper", "PolicyArn", arn)
	a.call(t, "DeleteRolePermissionsBoundary", "RoleName", "far")
	must(t, w, remove(p))
	if got := len(one(t, w, g).Entitlements); got != 0 {
		t.Errorf("the group still has %d policies", got)
	}
	// A member that comes while the group goes is taken out as well.
	a.AddIdentity(t, "user", "late")
	a.srv.set(func() { a.srv.fail["DeleteGroup"] = failure{code: "DeleteConflict", status: 409, times: 1} })
	a.call(t, "AddUserToGroup", "GroupName", g.SourceName, "UserName", "t-late")
	must(t, w, remove(g))
	a.srv.set(func() { a.srv.fail["DeleteGroup"] = failure{code: "DeleteConflict", status: 409, times: 1 << 30} })
	must(t, w, create(g, nil))
	refused(t, w, connectors.Conflict, remove(g))
}

func TestCreationOfWhatIsThere(t *testing.T) {
	t.Parallel()
	a := start(t)
	w := writer(t, a.config)
	for typ, want := range payloads() {
		n := name(typ, "t-"+typ)
		action := "Create" + strings.ToUpper(typ[:1]) + typ[1:]
		// The change was made, and its answer lost.
		a.srv.set(func() { a.srv.fail[action] = failure{code: "ServiceFailure", status: 500, times: 1, after: true} })
		must(t, w, create(n, want[0]))
		if diff := cmp.Diff(want[0], one(t, w, n).Payload); diff != "" {
			t.Errorf("%s (-want +got):\n%s", typ, diff)
		}
		a.srv.set(func() {
			if a.srv.calls[action] != 2 {
				t.Errorf("%s was sent %d times, want 2", action, a.srv.calls[action])
			}
		})
	}
	// What can never be changed is said to be so.
	for n, attribute := range map[schemas.Name]string{name("role", "t-role"): "path", name("policy", "t-policy"): "path"} {
		e := refused(t, w, connectors.Unsupported, update(n, map[string]any{attribute: teamPath + "inner/"}))
		if !strings.Contains(e.Message, teamPath) {
			t.Errorf("the error does not tell the path: %v", e)
		}
	}
	refused(t, w, connectors.Unsupported, update(name("policy", "t-policy"), map[string]any{"description": "other"}))
}

// An error of IAM becomes one that says what a user can do.
func TestFaultCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code   string
		status int
		want   connectors.Code
	}{
		{"Throttling", 400, connectors.Unavailable},
		{"ThrottlingException", 400, connectors.Unavailable},
		{"RequestLimitExceeded", 503, connectors.Unavailable},
		{"ServiceFailure", 500, connectors.Unavailable},
		{"EntityTemporarilyUnmodifiable", 409, connectors.Unavailable},
		{"ConcurrentModification", 409, connectors.Conflict},
		{"LimitExceeded", 409, connectors.Invalid},
		{"MalformedPolicyDocument", 400, connectors.Invalid},
		{"ValidationError", 400, connectors.Invalid},
		{"UnmodifiableEntity", 400, connectors.Denied},
		{"AccessDenied", 403, connectors.Denied},
		{"ExpiredToken", 403, connectors.Denied},
		{"SomethingNew", 400, connectors.Invalid},
	} {
		t.Run(c.code, func(t *testing.T) {
			t.Parallel()
			a := start(t)
			w := writer(t, a.config)
			a.srv.set(func() { a.srv.fail["CreateGroup"] = failure{code: c.code, status: c.status, times: 1 << 30} })
			var outcomes []error
			op := create(name("group", "t-g"), nil)
			op.ID = "op"
			err := w.Apply(t.Context(), []schemas.Operation{op}, func(o connectors.Outcome) { outcomes = append(outcomes, o.Err) })
			if err == nil && len(outcomes) == 1 {
				err = outcomes[0]
			}
			if connectors.CodeOf(err) != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
			calls := a.srv.count("CreateGroup")
			if again := c.want == connectors.Unavailable || c.want == connectors.Conflict; again != (calls > 1) || calls > 4 {
				t.Errorf("it was sent %d times", calls)
			}
		})
	}
}

// A throttled request is sent again, and a long limit is given back to the caller.
func TestThrottling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := start(t)
		w := writer(t, a.config)
		a.srv.set(func() { a.srv.throttle = 3 })
		must(t, w, create(name("group", "t-g"), nil))
		a.srv.set(func() { a.srv.throttle, a.srv.retryAfter = 1, "60" })
		_, err := w.Read(t.Context(), schemas.Selection{})
		var e *connectors.Error
		if !errors.As(err, &e) || e.Code != connectors.Unavailable || e.RetryAfter != time.Minute {
			t.Errorf("got %v, want Unavailable with a minute", err)
		}
	})
}

// The quotas of a new account end in an error that names them, for the operation that went too far and no other.
func TestQuotas(t *testing.T) {
	t.Parallel()
	a := start(t)
	w := writer(t, a.config)
	a.srv.set(func() { a.srv.quotas = true })
	r := name("role", "t-r")
	ops := []schemas.Operation{create(r, nil)}
	for i := range 11 {
		p := name("policy", fmt.Sprintf("t-p%02d", i))
		ops = append(ops, create(p, nil), grant(r, p, "MEMBER"))
	}
	out := apply(t, w, ops...)
	for i, err := range out {
		if last := i == len(out)-1; last != (err != nil) {
			t.Errorf("operation %d of %d: %v", i, len(out), err)
		}
	}
	if err := out[len(out)-1]; connectors.CodeOf(err) != connectors.Invalid || !strings.Contains(err.Error(), "quota") {
		t.Errorf("got %v, want a word of the quota", err)
	}
	big := document(statement("Effect", "Allow", "Action", "s3:GetObject", "Resource", "arn:aws:s3:::"+strings.Repeat("b", 6200)))
	if e := refused(t, w, connectors.Invalid, update(name("policy", "t-p00"), map[string]any{"document": big})); !strings.Contains(e.Message, "6144") {
		t.Errorf("got %v, want the size", e)
	}
}

// In an account where others work, a role comes or goes between two listings, and that is no fault.
func TestRolesThatComeAndGo(t *testing.T) {
	t.Parallel()
	a := start(t)
	w := writer(t, a.config)
	must(t, w, create(name("role", "t-stays"), payloads()["role"][0]))
	roles := func(change func(action string, body []byte) []byte) (names []string, incomplete string) {
		at := a.srv.listen(t, func(action string, status int, body []byte) (int, []byte) { return status, change(action, body) })
		s, err := writer(t, with(map[string]any{"endpoint": at, "settle": "20ms"})(t, a.config)).Read(t.Context(), schemas.Selection{Scope: map[string][]string{"role": {"t-*"}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range s.Connections {
			names = append(names, c.SourceName)
			if _, ok := c.Payload["max_session_duration"]; !ok {
				t.Errorf("of %s it is not known how long a session lasts", c.SourceName)
			}
		}
		return names, s.Incomplete
	}
	once := true
	got, incomplete := roles(func(action string, body []byte) []byte {
		if action == "GetAccountAuthorizationDetails" && once && strings.Contains(string(body), "<RoleDetailList><member>") {
			once = false
			a.call(t, "CreateRole", "RoleName", "t-comes", "Path", teamPath, "AssumeRolePolicyDocument", anyTrust)
			a.srv.set(func() { a.srv.roles["t-comes"].created = time.Now() })
		}
		return body
	})
	if !slices.Equal(got, []string{"t-stays"}) || incomplete != "" {
		t.Errorf("when a role comes: %v %s", got, incomplete)
	}
	once = true
	got, incomplete = roles(func(action string, body []byte) []byte {
		if action == "GetAccountAuthorizationDetails" && once && strings.Contains(string(body), "<RoleName>t-comes") {
			once = false
			a.call(t, "DeleteRole", "RoleName", "t-comes")
		}
		return body
	})
	if !slices.Equal(got, []string{"t-stays"}) || incomplete != "" || once {
		t.Errorf("when a role goes: %v %s", got, incomplete)
	}
	// A listing that is empty is made up for, role by role.
	got, incomplete = roles(func(action string, body []byte) []byte {
		if action == "ListRoles" {
			return []byte("<ListRolesResponse><ListRolesResult><Roles></Roles><IsTruncated>false</IsTruncated></ListRolesResult></ListRolesResponse>")
		}
		return body
	})
	if !slices.Equal(got, []string{"t-stays"}) || incomplete != "" {
		t.Errorf("without a listing: %v %s", got, incomplete)
	}
}

// A reading costs few requests, whatever the number of connections.
func TestReadingIsCheap(t *testing.T) {
	t.Parallel()
	a := start(t)
	var ops []schemas.Operation
	for i := range 30 {
		ops = append(ops, create(name("role", fmt.Sprintf("t-%02d", i)), nil), create(name("policy", fmt.Sprintf("t-%02d", i)), nil))
	}
	w := writer(t, with(map[string]any{"page_size": 1000})(t, a.config))
	must(t, w, ops...)
	sent := func() int {
		a.srv.mu.Lock()
		defer a.srv.mu.Unlock()
		n := 0
		for _, calls := range a.srv.calls {
			n += calls
		}
		return n
	}
	before := sent()
	if _, err := w.Read(t.Context(), schemas.Selection{}); err != nil {
		t.Fatal(err)
	}
	if n := sent() - before; n != 3 {
		t.Errorf("%d requests for a reading, want 3", n)
	}
	small := writer(t, a.config)
	s, err := small.Read(t.Context(), schemas.Selection{Scope: map[string][]string{"role": {"t-*"}}})
	if err != nil || len(s.Connections) != 30 {
		t.Errorf("in small pages: %d roles, %v", len(s.Connections), err)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	a := start(t)
	role := func(n string) string { return "arn:aws:iam::" + accountID + ":role/ci/" + n }
	for _, n := range []string{"plan", "apply"} {
		a.call(t, "CreateRole", "RoleName", n, "Path", "/ci/", "AssumeRolePolicyDocument", anyTrust, "Tags.member.1.Key", "external", "Tags.member.1.Value", "our-id")
	}
	a.srv.addKey("AKIAAPPLYAPPLYAPPLY0", "other-secret", "arn:aws:iam::"+accountID+":user/applier")
	reads := func(cfg connectors.Config) error {
		r, err := aws.New().OpenReader(t.Context(), cfg)
		if err != nil {
			return err
		}
		_, err = r.Read(t.Context(), schemas.Selection{})
		return errors.Join(err, r.Close())
	}
	roles := map[string]any{"role_arn": role("plan"), "apply_role_arn": role("apply"), "external_id": "our-id"}
	if err := reads(with(roles)(t, a.config)); err != nil {
		t.Errorf("with a role: %v", err)
	}
	roles["external_id"] = "another"
	if err := reads(with(roles)(t, a.config)); connectors.CodeOf(err) != connectors.Denied {
		t.Errorf("with another external id: %v", err)
	}
	roles["external_id"] = "our-id"
	assumed := func() string {
		a.srv.mu.Lock()
		defer a.srv.mu.Unlock()
		for _, c := range slices.Backward(a.srv.log) {
			if strings.HasPrefix(c.Action, "AssumeRole") {
				return str(c.In, "RoleArn") + " " + str(c.In, "RoleSessionName")
			}
		}
		return ""
	}
	writer(t, with(roles)(t, a.config))
	if got, want := assumed(), role("apply")+" countersign-cloud"; got != want {
		t.Errorf("the writer became %q, want %q", got, want)
	}
	web := map[string]any{"sign_in": "web_identity", "web_identity_token": connectors.NewSecret(webToken), "role_arn": role("plan"), "access_key_id": nil, "secret_access_key": nil}
	a.srv.set(func() { a.srv.roles["plan"].tags = map[string]string{} })
	if err := reads(with(web)(t, a.config)); err != nil {
		t.Errorf("with a token: %v", err)
	}
	// The token is nobody's business.
	web["web_identity_token"] = connectors.NewSecret("canary-token")
	if err := reads(with(web)(t, a.config)); connectors.CodeOf(err) != connectors.Denied || strings.Contains(err.Error(), "canary") {
		t.Errorf("with a bad token: %v", err)
	}
	own := map[string]any{"apply_access_key_id": connectors.NewSecret("AKIAAPPLYAPPLYAPPLY0"), "apply_secret_access_key": connectors.NewSecret("other-secret")}
	a.call(t, "CreateUser", "UserName", "applier")
	w := writer(t, with(own)(t, a.config))
	page, err := w.List(t.Context(), connectors.Query{Type: "user", Names: []string{"applier"}})
	if err != nil || len(page.Items) != 1 || page.Items[0].Protected == "" {
		t.Errorf("the applier is %+v, want protected (%v)", page.Items, err)
	}
	// The writer's own key counts, not that for reading.
	own["apply_secret_access_key"] = connectors.NewSecret("wrong")
	if _, err := aws.New().OpenWriter(t.Context(), with(own)(t, a.config)); connectors.CodeOf(err) != connectors.Denied {
		t.Errorf("with a wrong key for applying: %v", err)
	}
}

// These look at the environment, and so run alone.
func TestCredentialsOfTheMachine(t *testing.T) {
	a := start(t)
	none := map[string]any{"access_key_id": nil, "secret_access_key": nil}
	t.Setenv("AWS_ACCESS_KEY_ID", accessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", connectortest.Canary)
	t.Setenv("AWS_SESSION_TOKEN", "")
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	// What lies about is not taken.
	if _, err := aws.New().OpenReader(t.Context(), with(none)(t, a.config)); connectors.CodeOf(err) != connectors.Invalid {
		t.Errorf("without credentials: %v, want %s", err, connectors.Invalid)
	}
	none["sign_in"] = "environment"
	writer(t, with(none)(t, a.config))
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	if _, err := aws.New().OpenReader(t.Context(), with(none)(t, a.config)); connectors.CodeOf(err) != connectors.Invalid {
		t.Errorf("with an empty environment: %v, want %s", err, connectors.Invalid)
	}
	none["sign_in"] = "instance"
	metadata := network.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const path = "/latest/meta-data/iam/security-credentials/"
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
			fmt.Fprint(w, "token")
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "token":
			w.WriteHeader(http.StatusUnauthorized) // version 2 asks for a token
		case r.URL.Path == path:
			fmt.Fprint(w, "machine")
		case r.URL.Path == path+"machine":
			fmt.Fprintf(w, `{"Code":"Success","AccessKeyId":%q,"SecretAccessKey":%q,"Token":"","Expiration":"2099-01-01T00:00:00Z"}`, accessKey, connectortest.Canary)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer metadata.Close()
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.URL)
	writer(t, with(none)(t, a.config))
}

// A user who has a policy by himself is its member; inline policies are seen and can only be revoked.
func TestWhatIsHeld(t *testing.T) {
	t.Parallel()
	a := start(t)
	w := writer(t, a.config)
	p, g := name("policy", "t-p"), name("group", "t-g")
	alice := a.AddIdentity(t, "user", "alice")
	managed := a.srv.addManaged("service-role/AWSLambdaRole")
	must(t, w, create(p, nil), create(g, nil), grant(p, alice, "MEMBER"), grant(g, alice, "MEMBER"), grant(g, p, "MEMBER"), grant(g, name("aws_policy", managed), "ATTACH"))
	a.call(t, "PutGroupPolicy", "GroupName", "t-g", "PolicyName", "extra", "PolicyDocument", anyPolicy)
	var got []string
	for _, e := range one(t, w, g).Entitlements {
		got = append(got, e.Target.String()+" "+e.Privilege+" "+e.TargetID)
	}
	users, policies := a.srv.users, a.srv.policies
	want := []string{"aws_policy/service-role/AWSLambdaRole ATTACH arn:aws:iam::aws:policy/service-role/AWSLambdaRole", "inline_policy/extra EMBED ",
		"policy/t-p MEMBER " + policies[a.arn(t, p)].id, "user/t-alice MEMBER " + users["t-alice"].id}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the group holds (-want +got):\n%s", diff)
	}
	if got := one(t, w, p).Entitlements; len(got) != 1 || got[0].Target != alice {
		t.Errorf("the policy is held by %v, want alice alone", got)
	}
	stale := revoke(g, alice, "MEMBER")
	stale.TargetID = "AIDA-of-another"
	refused(t, w, connectors.Conflict, stale)
	must(t, w, revoke(g, name("inline_policy", "extra"), "EMBED"), revoke(g, name("inline_policy", "no such name"), "EMBED"))
	if got := len(one(t, w, g).Entitlements); got != 3 {
		t.Errorf("the group holds %d, want 3", got)
	}
}

// Stopping in the middle of a wait stops.
func TestStopWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := start(t)
		w := writer(t, with(map[string]any{"settle": "10m"})(t, a.config))
		alice := a.AddIdentity(t, "user", "alice")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		a.srv.set(func() { a.srv.lag = 1 << 30 })
		ops := []schemas.Operation{create(name("group", "t-g"), nil), grant(name("group", "t-g"), alice, "MEMBER")}
		ops[0].ID, ops[1].ID = "a", "b"
		go func() { // somebody stops it while it waits
			time.Sleep(time.Minute)
			cancel()
		}()
		if err := w.Apply(ctx, ops, func(connectors.Outcome) {}); connectors.CodeOf(err) != connectors.Unavailable || a.srv.count("AddUserToGroup") < 2 {
			t.Errorf("got %v, want stopped", err)
		}
	})
}

// The scripts are JSON where they say so.
func TestScripts(t *testing.T) {
	t.Parallel()
	d := aws.New().Describe()
	for name, script := range map[string]string{"plan": d.PlanScript, "apply": d.ApplyScript} {
		docs := 0
		for _, part := range strings.Split(script, "-document '")[1:] {
			docs++
			text, _, _ := strings.Cut(part, "\n}'")
			text = strings.NewReplacer(`'"${PRINCIPAL:?}"'`, "p", `'"$PRINCIPAL"'`, "p", `'"$BOUNDARY"'`, "b", `'"$IAM"'`, "iam").Replace(text)
			for _, kind := range []string{"group", "role", "policy"} {
				text = strings.ReplaceAll(text, `'"$IAM:`+kind+`$PREFIX"'`, kind)
			}
			if !jsonObject(text + "\n}") {
				t.Errorf("%s: a document is no JSON:\n%s", name, text)
			}
		}
		if docs != 2 {
			t.Errorf("%s has %d documents, want 2", name, docs)
		}
	}
	// Each action that the connector sends is in the script.
	for _, action := range slices.Sorted(maps.Keys((&server{}).actions())) {
		switch action {
		case "GetCallerIdentity", "AssumeRole", "AssumeRoleWithWebIdentity", "CreateUser", "DeleteUser", "ListGroupsForUser", "ListAttachedUserPolicies",
			"PutGroupPolicy", "PutRolePolicy", "CreateInstanceProfile", "AddRoleToInstanceProfile":
			continue // of others, or open to everybody
		}
		if !strings.Contains(d.ApplyScript, `"iam:`+action+`"`) {
			t.Errorf("apply.sh does not speak of %s", action)
		}
	}
}
