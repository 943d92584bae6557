package github_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/virtual"
	"github.com/countersign/countersign/connectors/github"
	"github.com/countersign/countersign/schemas"
)

func writer(t connectortest.TB, cfg connectors.Config) connectors.Writer {
	t.Helper()
	w, err := github.New().OpenWriter(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// operation reads "grant sales user alice ADMIN", "revoke sales team base MEMBER", "create sales", "delete sales".
func operation(text string) schemas.Operation {
	word := strings.Fields(text)
	o := schemas.Operation{ID: text, Kind: schemas.OperationKind(word[0]), Application: "code", Connection: schemas.Name{Type: "team", SourceName: word[1]}}
	if len(word) > 2 {
		o.Target, o.Privilege = &schemas.Name{Type: word[2], SourceName: word[3]}, word[4]
	}
	return o
}

// apply carries operations out, and returns the codes of those that failed.
func apply(t connectortest.TB, w connectors.Writer, ops ...schemas.Operation) map[string]error {
	t.Helper()
	failed := map[string]error{}
	if err := w.Apply(t.Context(), ops, func(o connectors.Outcome) {
		if o.Err != nil {
			failed[o.Operation] = o.Err
		}
	}); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return failed
}

func texts(list ...string) []schemas.Operation {
	var ops []schemas.Operation
	for _, text := range list {
		ops = append(ops, operation(text))
	}
	return ops
}

func must(t connectortest.TB, w connectors.Writer, list ...string) {
	t.Helper()
	for op, err := range apply(t, w, texts(list...)...) {
		t.Fatalf("%s: %v", op, err)
	}
}

// refused carries out one operation that must fail, and returns its error.
func refused(t connectortest.TB, w connectors.Writer, o schemas.Operation, code connectors.Code, says string) {
	t.Helper()
	err := apply(t, w, o)[o.ID]
	if connectors.CodeOf(err) != code || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: got %q (%v), want %q and %q", o.ID, connectors.CodeOf(err), err, code, says)
	}
}

// read are the entitlements of teams, as "sales: user/alice MEMBER".
func read(t connectortest.TB, r connectors.Reader, slugs ...string) []string {
	t.Helper()
	var sel schemas.Selection
	for _, s := range slugs {
		sel.Names = append(sel.Names, schemas.Name{Type: "team", SourceName: s})
	}
	s, err := r.Read(t.Context(), sel)
	if err != nil || s.Incomplete != "" {
		t.Fatalf("Read: %v %s", err, s.Incomplete)
	}
	var out []string
	for _, c := range s.Connections {
		for _, e := range c.Entitlements {
			line := fmt.Sprintf("%s: %s %s", c.SourceName, e.Target, e.Privilege)
			if e.State != "" {
				line += " " + string(e.State)
			}
			out = append(out, line)
		}
	}
	return out
}

func same(t connectortest.TB, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.repo("App")
	w := writer(t, h.config())
	must(t, w, "create sales")
	// A plan grants a level with all below it, by name.
	must(t, w, "grant sales repository app pull", "grant sales repository app push", "grant sales repository app triage")
	same(t, read(t, w, "sales"), "sales: repository/app pull", "sales: repository/app push", "sales: repository/app triage")
	const put, remove = "teams/add-or-update-repo-permissions-in-org", "teams/remove-repo-in-org"
	if n := h.count(put); n != 1 {
		t.Errorf("%d calls to set one role, want 1", n)
	}
	must(t, w, "grant sales repository APP pull")
	if h.teams["sales"].repos[h.repo("app")] != "push" {
		t.Error("granting a lower level took the higher one away")
	}
	// Where pull is still wanted, revoking push sets what is below.
	must(t, w, "revoke sales repository app push", "revoke sales repository app triage", "revoke sales repository app admin", "revoke sales repository app maintain")
	same(t, read(t, w, "sales"), "sales: repository/app pull")
	if n := h.count(put) + h.count(remove); n != 2 {
		t.Errorf("%d calls, want one more", n)
	}
	must(t, w, "grant sales repository app admin")
	must(t, w, "revoke sales repository app admin", "revoke sales repository app maintain", "revoke sales repository app pull",
		"revoke sales repository app push", "revoke sales repository app triage")
	same(t, read(t, w, "sales"))
	if n := h.count(remove); n != 1 {
		t.Errorf("%d calls to take a repository away, want 1", n)
	}
	refused(t, w, operation("grant sales repository nothing pull"), connectors.NotFound, "repository not found")
}

// What one call does for several operations, it does for those alone that may be carried out.
func TestLevelsOfOperationsThatFail(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.repo("app")
	w := writer(t, h.config())
	must(t, w, "create sales")
	bad := operation("update nowhere")
	pull, push, own := operation("grant sales repository app pull"), operation("grant sales repository app push"), operation("grant sales repository app admin")
	push.DependsOn = []string{bad.ID}
	own.TargetID = "7"
	later := operation("create later")
	maintain := operation("grant sales repository app maintain")
	maintain.DependsOn = []string{later.ID}
	failed := apply(t, w, bad, pull, push, own, later)
	if len(failed) != 3 || failed[pull.ID] != nil {
		t.Errorf("failed: %v", failed)
	}
	same(t, read(t, w, "sales"), "sales: repository/app pull")
	if failed := apply(t, w, bad, operation("grant sales repository app triage"), push, maintain, later); failed[maintain.ID] != nil {
		t.Error(failed)
	}
}

func TestNesting(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for _, r := range []string{"app", "docs", "site"} {
		h.repo(r)
	}
	for _, u := range []string{"alice", "bob"} {
		h.user(u).role = "member"
	}
	w := writer(t, h.config())
	must(t, w, "create base", "create sales", "create inner", "create other")
	must(t, w, "grant base user alice MEMBER", "grant sales user bob MEMBER", "grant base repository app push", "grant base repository docs pull",
		"grant sales repository docs triage", "grant sales repository docs pull", "grant sales team base MEMBER", "grant inner team sales MEMBER")
	// What lies within gives nothing of its own to what is around it, and shows nothing that it inherits.
	want := []string{"base: repository/app pull", "base: repository/app push", "base: repository/app triage", "base: repository/docs pull", "base: user/alice MEMBER",
		"inner: team/sales MEMBER", "sales: repository/docs pull", "sales: repository/docs triage", "sales: team/base MEMBER", "sales: user/bob MEMBER"}
	same(t, read(t, w, "base", "inner", "sales"), want...)
	same(t, read(t, w, "sales"), want[6:]...) // also where the parent was not asked for
	// What a team has besides, at no higher level, is its own.
	must(t, w, "grant inner repository docs pull")
	same(t, read(t, w, "inner"), "inner: repository/docs pull", "inner: repository/docs triage", "inner: team/sales MEMBER")
	refused(t, w, operation("revoke inner repository docs triage"), connectors.Conflict, "from its parent sales")
	must(t, w, "revoke inner repository docs triage", "revoke inner repository docs pull") // the whole of it can go
	same(t, read(t, w, "inner"), "inner: team/sales MEMBER")

	refused(t, w, operation("grant sales team other MEMBER"), connectors.Conflict, "is a child of base")
	refused(t, w, operation("grant base team inner MEMBER"), connectors.Invalid, "descendant")
	refused(t, w, operation("grant base team base MEMBER"), connectors.Invalid, "itself")
	refused(t, w, operation("grant other team nowhere MEMBER"), connectors.NotFound, "nowhere")
	secret := operation("update sales")
	secret.After = map[string]any{"privacy": "secret"}
	refused(t, w, secret, connectors.Conflict, "nested teams can't be secret")
	secret = operation("update other")
	secret.After = map[string]any{"privacy": "secret"}
	if failed := apply(t, w, secret); len(failed) > 0 {
		t.Fatal(failed)
	}
	refused(t, w, operation("grant other team base MEMBER"), connectors.Conflict, "nested teams can't be secret")
	wrong := operation("grant inner team sales MEMBER")
	wrong.TargetID = "1"
	refused(t, w, wrong, connectors.Conflict, "another team")

	// A deletion takes no children with it, and leaves theirs alone.
	must(t, w, "delete base")
	same(t, read(t, w, "base", "inner", "sales"), "inner: team/sales MEMBER", "sales: repository/docs pull", "sales: repository/docs triage", "sales: user/bob MEMBER")
}

func TestPrivacy(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	w := writer(t, h.config())
	o := operation("create sales")
	for _, privacy := range []string{"secret", "closed", "secret"} {
		o.After = map[string]any{"privacy": privacy}
		for range 2 {
			if failed := apply(t, w, o); len(failed) > 0 {
				t.Fatal(failed)
			}
		}
		if got := h.teams["sales"].privacy; got != privacy {
			t.Errorf("the team is %s, want %s", got, privacy)
		}
		o = operation("update sales")
	}
	if n := h.count("teams/update-in-org"); n != 2 {
		t.Errorf("%d calls, want one for each change", n)
	}
}

// Where it cannot be known what a team has, nothing is said of it, and nothing done.
func TestUnknown(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.repo("app")
	w := writer(t, h.config())
	must(t, w, "create base", "create sales", "grant base repository app push", "grant sales repository app pull", "grant sales team base MEMBER")
	h.answer("repos/list-teams", http.StatusNotFound, nil, `{"message": "Not Found"}`)
	s, err := w.Read(t.Context(), schemas.Selection{})
	if err != nil || !strings.Contains(s.Incomplete, "the repository app") {
		t.Errorf("%v, incomplete %q", err, s.Incomplete)
	}
	refused(t, w, operation("revoke sales repository app pull"), connectors.Unavailable, "could not be read completely")
	h.change(func() {
		h.before = nil
		h.after = func(op string, _ int, _ http.Header, body []byte) []byte {
			if op == "graphql" {
				return bytes.ReplaceAll(body, []byte(`"invitations":{`), []byte(`"invitations":null,"other":{`))
			}
			return body
		}
	})
	refused(t, w, operation("revoke sales repository app pull"), connectors.Denied, "invitations")
	// A deletion that cannot learn of the children would take them along.
	h.change(func() { h.after = nil })
	h.answer("teams/list-child-in-org", http.StatusNotFound, nil, `{"message": "Not Found"}`)
	refused(t, w, operation("delete base"), connectors.NotFound, "")
	if h.teams["base"] == nil || h.teams["sales"] == nil {
		t.Error("a team went")
	}
}

func TestInvitations(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.user("Stranger")
	w := writer(t, h.config())
	must(t, w, "create sales")
	refused(t, w, operation("grant sales user stranger MEMBER"), connectors.NotFound, "invite: true")
	if n := h.count("teams/add-or-update-membership"); n != 0 {
		t.Errorf("%d calls that would invite, want 0", n)
	}
	listed := func(w connectors.Reader) int {
		t.Helper()
		p, err := w.List(t.Context(), connectors.Query{Type: "user", Names: []string{"Stranger", "nobody", "not a login"}})
		if err != nil {
			t.Fatal(err)
		}
		return len(p.Items)
	}
	if n := listed(w); n != 0 {
		t.Errorf("%d accounts outside of the organisation are listed, want 0", n)
	}
	cfg := h.config()
	cfg.Values["invite"] = true
	w = writer(t, cfg)
	if n := listed(w); n != 1 {
		t.Errorf("%d accounts that may be invited are listed, want 1", n)
	}
	wrong := operation("grant sales user stranger MEMBER")
	wrong.TargetID = "1"
	refused(t, w, wrong, connectors.Conflict, "another account")
	refused(t, w, operation("grant sales user nobody MEMBER"), connectors.NotFound, "")
	must(t, w, "grant sales user Stranger ADMIN", "grant sales user Stranger MEMBER")
	h.change(func() { h.teams["sales"].mails = 5 }) // addresses have no account, and are no cause of doubt
	same(t, read(t, w, "sales"), "sales: user/stranger ADMIN invited", "sales: user/stranger MEMBER invited")
	must(t, w, "revoke sales user stranger ADMIN")
	same(t, read(t, w, "sales"), "sales: user/stranger MEMBER invited")
	must(t, w, "revoke sales user stranger MEMBER")
	same(t, read(t, w, "sales"))
}

func TestOwners(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.user("Boss").role = "admin"
	w := writer(t, h.config())
	must(t, w, "create sales", "grant sales user boss MEMBER")
	if got := h.teams["sales"].members[h.user("boss")]; got != "maintainer" {
		t.Fatalf("the owner is %s", got)
	}
	same(t, read(t, w, "sales"), "sales: user/boss MEMBER")
	refused(t, w, operation("grant sales user boss ADMIN"), connectors.Unsupported, "owner")
	must(t, w, "revoke sales user boss ADMIN")
	same(t, read(t, w, "sales"), "sales: user/boss MEMBER")
	must(t, w, "revoke sales user boss MEMBER")
	same(t, read(t, w, "sales"))
}

func TestCustomRoles(t *testing.T) {
	t.Parallel()
	for _, hidden := range []bool{false, true} {
		h := newHub(t)
		h.custom = map[string]string{"auditor": "pull", "deployer": "push"}
		h.repo("app")
		h.repo("docs")
		if hidden {
			h.before = func(w http.ResponseWriter, _ *http.Request, op string, _ []byte) bool {
				if op == "orgs/list-custom-repo-roles" {
					w.WriteHeader(http.StatusForbidden)
					return true
				}
				return false
			}
		}
		w := writer(t, h.config())
		d, err := w.Describe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		typ, _ := d.Type("team")
		g, _ := typ.Target("repository")
		must(t, w, "create sales", "create inner", "grant inner team sales MEMBER")
		if hidden {
			if slices.Contains(g.Privileges, "auditor") {
				t.Error("a role that nobody shows is described")
			}
			// What somebody else gave is read as what it is all the same, and can be taken away.
			h.change(func() { h.teams["sales"].repos[h.repo("app")] = "auditor" })
			same(t, read(t, w, "sales"), "sales: repository/app auditor")
			must(t, w, "revoke sales repository app auditor")
			same(t, read(t, w, "sales"))
			continue
		}
		if !slices.Contains(g.Privileges, "auditor") || !slices.Contains(g.PrivilegedPrivileges, "deployer") {
			t.Errorf("the custom roles are not described: %v", g)
		}
		must(t, w, "grant sales repository app auditor", "grant sales repository docs push")
		want := []string{"sales: repository/app auditor", "sales: repository/docs pull", "sales: repository/docs push", "sales: repository/docs triage"}
		same(t, read(t, w, "sales"), want...)
		same(t, read(t, w, "inner"), "inner: team/sales MEMBER")
		refused(t, w, operation("grant sales repository app push"), connectors.Conflict, `"auditor"`)
		refused(t, w, operation("grant sales repository app deployer"), connectors.Conflict, `"auditor"`)
		refused(t, w, operation("grant sales repository docs auditor"), connectors.Conflict, `"push"`)
		must(t, w, "revoke sales repository app push", "revoke sales repository app deployer", "revoke sales repository docs auditor")
		same(t, read(t, w, "sales"), want...)
		must(t, w, "revoke sales repository app auditor", "grant sales repository app deployer")
		same(t, read(t, w, "sales"), append([]string{"sales: repository/app deployer"}, want[1:]...)...)
		must(t, w, "revoke sales repository app deployer")
		same(t, read(t, w, "sales"), want[1:]...)
	}
}

func TestOrganisationRoles(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for _, u := range []string{"alice", "bob"} {
		h.user(u).role = "member"
	}
	h.user("invited").asked = true
	h.orgRole("all_repo_read")
	h.orgRole("Deploys everything")
	cfg := h.config()
	if d, err := writer(t, cfg).Describe(t.Context()); err != nil || len(d.Types) != 1 {
		t.Errorf("roles that nobody asked for are described: %v, %v", d.Types, err)
	}
	cfg.Values["organisation_roles"] = true
	w := writer(t, cfg)
	role := func(kind, name, typ, target string) schemas.Operation {
		return schemas.Operation{ID: kind + typ + target, Kind: schemas.OperationKind(kind), Application: "code", Privilege: "MEMBER",
			Connection: schemas.Name{Type: "organisation_role", SourceName: name}, Target: &schemas.Name{Type: typ, SourceName: target}}
	}
	must(t, w, "create sales", "create inner", "grant inner team sales MEMBER", "grant inner user bob MEMBER")
	// In one run with a team that is made.
	made, grant := operation("create later"), role("grant", "all_repo_read", "team", "later")
	grant.DependsOn = []string{made.ID}
	if failed := apply(t, w, made, grant, role("grant", "all_repo_read", "team", "sales"), role("grant", "all_repo_read", "user", "Alice")); len(failed) > 0 {
		t.Fatal(failed)
	}
	all := func() []string {
		t.Helper()
		s, err := w.Read(t.Context(), schemas.Selection{Scope: map[string][]string{"organisation_role": {"*"}}})
		if err != nil || s.Incomplete != "" {
			t.Fatal(err, s.Incomplete)
		}
		var out []string
		for _, c := range s.Connections {
			for _, e := range c.Entitlements {
				out = append(out, c.SourceName+": "+e.Target.String())
			}
		}
		return out
	}
	// Who has a role through a team, or a team through its parent, was not assigned it.
	same(t, all(), "all_repo_read: team/later", "all_repo_read: team/sales", "all_repo_read: user/alice")
	refused(t, w, role("grant", "all_repo_read", "user", "invited"), connectors.Conflict, "invitation")
	refused(t, w, role("grant", "all_repo_read", "user", "nobody"), connectors.NotFound, "")
	refused(t, w, role("grant", "all_repo_read", "team", "nothing"), connectors.NotFound, "")
	refused(t, w, role("grant", "no_such_role", "user", "alice"), connectors.NotFound, "unknown role")
	wrong := role("revoke", "all_repo_read", "user", "alice")
	wrong.TargetID = "1"
	refused(t, w, wrong, connectors.Conflict, "another user")
	wrong.TargetID, wrong.NativeID = "", "1"
	refused(t, w, wrong, connectors.Conflict, "another role")
	for kind, target := range map[string]int64{"user": h.user("alice").id, "team": h.teams["sales"].id} {
		wrong = role("revoke", "all_repo_read", kind, "before")
		wrong.TargetID = strconv.FormatInt(target, 10)
		refused(t, w, wrong, connectors.Conflict, "now")
		wrong = role("revoke", "before", kind, "alice")
		wrong.NativeID = strconv.FormatInt(h.roles[0].id, 10)
		refused(t, w, wrong, connectors.Conflict, "is now named")
	}
	if failed := apply(t, w, role("revoke", "all_repo_read", "user", "alice"), role("revoke", "all_repo_read", "team", "sales"),
		role("revoke", "no_such_role", "user", "alice"), role("revoke", "all_repo_read", "user", "bob")); len(failed) > 0 {
		t.Fatal(failed)
	}
	same(t, all(), "all_repo_read: team/later")
	// Their names are told apart by case, and found by the letters that they have.
	for n, want := range map[string]int{"Deploys everything": 1, "deploys everything": 0, "all_repo_read": 1} {
		p, err := w.List(t.Context(), connectors.Query{Type: "organisation_role", Names: []string{n}})
		if err != nil || len(p.Items) != want {
			t.Errorf("List of %q: %+v, %v; want %d", n, p.Items, err, want)
		}
	}
	// Two of one name can be told apart by their ids alone.
	h.change(func() {
		h.roles = append(h.roles, &orgRole{h.next(), "all_repo_read", map[*user]bool{}, map[*team]bool{}})
	})
	refused(t, w, role("grant", "all_repo_read", "user", "alice"), connectors.Conflict, "source_id")
	second := role("grant", "all_repo_read", "user", "alice")
	second.NativeID = strconv.FormatInt(h.roles[2].id, 10)
	if failed := apply(t, w, second); len(failed) > 0 || !h.roles[2].users[h.user("alice")] || h.roles[0].users[h.user("alice")] {
		t.Errorf("the second of one name: %v", failed)
	}
}

func TestIdentityProvider(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	for _, u := range []string{"alice", "bob"} {
		h.user(u).role = "member"
	}
	w := writer(t, h.config())
	must(t, w, "create sales", "grant sales user bob MEMBER")
	h.change(func() { h.teams["sales"].group = "Sales of Acme" })
	refused(t, w, operation("grant sales user alice MEMBER"), connectors.Unsupported, `"Sales of Acme"`)
	refused(t, w, operation("revoke sales user bob MEMBER"), connectors.Unsupported, `"Sales of Acme"`)
	h.change(func() { h.teams["sales"].group = "" })
	h.before = func(w http.ResponseWriter, req *http.Request, op string, _ []byte) bool {
		if strings.Contains(op, "membership-for-user") && req.Method == http.MethodPut {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	}
	refused(t, w, operation("grant sales user alice MEMBER"), connectors.Denied, "lacks the right")
}

func TestCreation(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	w := writer(t, h.config())
	must(t, w, "create sales")
	if n := len(h.teams["sales"].members); n != 0 {
		t.Errorf("whoever made the team is in it: %d members", n)
	}
	// A team that people named otherwise keeps its name, and its name is taken.
	h.change(func() { h.team("finance").name = "People" })
	refused(t, w, operation("create people"), connectors.Conflict, "another slug")
	// GitHub may choose another slug than we asked for.
	h.change(func() {
		h.after = func(op string, _ int, _ http.Header, body []byte) []byte {
			if op == "teams/create" {
				h.teams["ops-1"] = h.teams["ops"]
				h.teams["ops-1"].slug = "ops-1"
				delete(h.teams, "ops")
				return bytes.ReplaceAll(body, []byte(`"slug":"ops"`), []byte(`"slug":"ops-1"`))
			}
			return body
		}
	})
	refused(t, w, operation("create ops"), connectors.Conflict, `"ops-1"`)
	if h.teams["ops-1"] != nil {
		t.Error("the team of another slug was left")
	}
}

// A team that answers to the name of one whose creation has no answer is deleted by nobody.
func TestCreationWithoutAnswer(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	w := writer(t, h.config())
	must(t, w, "create other")
	h.change(func() {
		h.before = func(w http.ResponseWriter, _ *http.Request, op string, _ []byte) bool {
			if op == "teams/create" {
				w.WriteHeader(http.StatusBadGateway)
			}
			return op == "teams/create"
		}
	})
	refused(t, w, operation("create sales"), connectors.Unavailable, "")
	h.change(func() {
		answer := h.before
		h.before = func(w http.ResponseWriter, req *http.Request, op string, body []byte) bool {
			if op == "teams/get-by-name" {
				fmt.Fprintf(w, `{"id": %d, "slug": "other"}`, h.teams["other"].id)
				return true
			}
			return answer(w, req, op, body)
		}
	})
	refused(t, w, operation("create sales"), connectors.Unavailable, "isn't this API's")
	if h.teams["other"] == nil {
		t.Error("another team was deleted")
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.user("alice").role = "member"
	h.repo("app")
	w := writer(t, h.config())
	must(t, w, "create sales")
	for _, kind := range []string{"grant", "revoke"} {
		for _, text := range []string{"user alice ADMIN", "user alice MEMBER", "repository app push"} {
			o := operation(kind + " sales " + text)
			o.TargetID = "1"
			refused(t, w, o, connectors.Conflict, "(id ")
			o.TargetID, o.NativeID = "", "1"
			refused(t, w, o, connectors.Conflict, "another team")
		}
		must(t, w, "grant sales user alice ADMIN", "grant sales repository app push")
	}
	o := operation("delete sales")
	o.NativeID = "1"
	refused(t, w, o, connectors.Conflict, "another team")
	for text, id := range map[string]int64{"revoke sales user alice MEMBER": h.user("alice").id, "revoke sales repository app pull": h.repo("app").id} {
		o := operation(text)
		o.TargetID, o.NativeID = strconv.FormatInt(id, 10), strconv.FormatInt(h.teams["sales"].id, 10)
		if failed := apply(t, w, o); len(failed) > 0 {
			t.Error(failed)
		}
	}
	same(t, read(t, w, "sales"))
}

// What was renamed since is there all the same: taking away what it had under its old name is not done.
func TestRenamed(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.user("alice").role = "member"
	h.repo("app")
	w := writer(t, h.config())
	must(t, w, "create base", "create sales", "grant sales user alice MEMBER", "grant sales repository app pull", "grant sales team base MEMBER")
	before := read(t, w, "sales")
	for text, id := range map[string]int64{"revoke sales user before MEMBER": h.user("alice").id, "revoke sales repository before pull": h.repo("app").id,
		"revoke sales team before MEMBER": h.teams["base"].id} {
		o := operation(text)
		o.TargetID = strconv.FormatInt(id, 10)
		refused(t, w, o, connectors.Conflict, "now")
		o.TargetID = "1"
		if failed := apply(t, w, o); len(failed) > 0 {
			t.Error(failed)
		}
	}
	for _, text := range []string{"delete before", "revoke before user alice MEMBER"} {
		o := operation(text)
		o.NativeID = strconv.FormatInt(h.teams["sales"].id, 10)
		refused(t, w, o, connectors.Conflict, "now has the slug sales")
		o.NativeID = "1"
		if failed := apply(t, w, o); len(failed) > 0 {
			t.Error(failed)
		}
	}
	same(t, read(t, w, "sales"), before...)
}

// What the credential for applying does not see is not gone for that.
func TestRemovalOfWhatIsNotSeen(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	w := writer(t, h.config())
	must(t, w, "create sales", "create inner")
	h.change(func() {
		h.teams["inner"].privacy = "secret"
		h.tokens[applyToken].owner = false
	})
	refused(t, w, operation("delete inner"), connectors.Denied, "sees only its own secret teams")
	refused(t, w, operation("revoke inner user alice MEMBER"), connectors.Denied, "sees only its own secret teams")
	h.change(func() { h.chosen = true })
	app := writer(t, appConfig(t, h))
	refused(t, app, operation("revoke sales repository unseen pull"), connectors.Denied, "selected repositories")
	h.repo("seen")
	if failed := apply(t, app, operation("revoke sales user alice MEMBER"), operation("revoke sales repository seen pull"), operation("delete gone")); len(failed) > 0 {
		t.Errorf("what is seen not to be there: %v", failed)
	}
}

// appConfig is the config of an App.
func appConfig(t connectortest.TB, h *hub) connectors.Config {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	cfg := h.config()
	for _, k := range []string{"token", "apply_token"} {
		delete(cfg.Values, k)
	}
	cfg.Values["app_id"], cfg.Values["installation_id"], cfg.Values["private_key"] = 5, 77, connectors.NewSecret(string(text))
	return cfg
}

func TestApp(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	cfg := appConfig(t, h)
	w := writer(t, cfg)
	must(t, w, "create sales")
	if n := h.count("teams/remove-membership"); n != 0 {
		t.Error("an App is in no team that it makes")
	}
	same(t, read(t, w, "sales"))
	h.change(func() { h.chosen = true })
	s, err := w.Read(t.Context(), schemas.Selection{})
	if err != nil || !strings.Contains(s.Incomplete, "selected repositories") {
		t.Errorf("an App that does not see all repositories: %v, incomplete %q", err, s.Incomplete)
	}
	h.answer("apps/list-repos-accessible-to-installation", http.StatusOK, nil, `{"total_count": 0, "repositories": []}`)
	if s, err := w.Read(t.Context(), schemas.Selection{}); connectors.CodeOf(err) != connectors.Unavailable {
		t.Errorf("an App of which nobody says what it sees: %v, %v", s, err)
	}
	cfg.Values["installation_id"] = 78
	if _, err := writer(t, cfg).Read(t.Context(), schemas.Selection{}); connectors.CodeOf(err) != connectors.Denied || strings.Contains(err.Error(), "PRIVATE") {
		t.Errorf("an installation that is not there: %v", err)
	}
	h.http.Close()
	cfg.Values["installation_id"] = 77
	if _, err := writer(t, cfg).Read(t.Context(), schemas.Selection{}); connectors.CodeOf(err) != connectors.Unavailable {
		t.Errorf("nobody listens: %v", err)
	}
}

// answer makes the hub answer one operation so.
func (h *hub) answer(op string, status int, header map[string]string, body string) {
	h.change(func() {
		h.before = func(w http.ResponseWriter, _ *http.Request, got string, _ []byte) bool {
			if got != op {
				return false
			}
			for k, v := range header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(status)
			if _, err := w.Write([]byte(body)); err != nil {
				h.t.Error(err)
			}
			return true
		}
	})
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	reset := strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	for _, tt := range []struct {
		name, op string
		status   int
		header   map[string]string
		body     string
		code     connectors.Code
		says     string
		wait     time.Duration // at least
	}{
		{"SAML wants the token authorised", "orgs/list-members", 403, map[string]string{"X-GitHub-SSO": "required; url=https://github.com/orgs/acme/sso?authorization_request=x"},
			`{"message": "Resource protected by organization SAML enforcement."}`, connectors.Denied, "Configure SSO", 0},
		{"SAML wants it, custom roles", "orgs/list-custom-repo-roles", 403, map[string]string{"X-GitHub-SSO": "required; url=x"}, `{}`, connectors.Denied, "Configure SSO", 0},
		{"SAML in GraphQL", "graphql", 200, nil,
			`{"data": {"organization": null}, "errors": [{"type": "FORBIDDEN", "path": ["organization"], "extensions": {"saml_failure": true}, "message": "x"}]}`, connectors.Denied, "Configure SSO", 0},
		{"SAML keeps a part", "orgs/list-members", 200, map[string]string{"X-GitHub-SSO": "partial-results; organizations=21955855"}, `[]`, connectors.Denied, "omitted items", 0},
		{"GraphQL lacks a scope", "graphql", 200, nil,
			`{"data": null, "errors": [{"type": "INSUFFICIENT_SCOPES", "message": "Your token has not been granted the required scopes"}]}`, connectors.Denied, "lacks the right", 0},
		{"the primary limit", "graphql", 200, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset},
			`{"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}`, connectors.Unavailable, "rate limit", 59 * time.Minute},
		{"the primary limit without a time", "graphql", 200, nil, `{"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}`, connectors.Unavailable, "rate limit", time.Minute},
		{"the primary limit of REST", "orgs/list-members", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}, `{"message": "API rate limit exceeded"}`, connectors.Unavailable, "rate-limited", 59 * time.Minute},
		{"a secondary limit", "orgs/list-members", 403, map[string]string{"Retry-After": "600"}, `{"message": "You have exceeded a secondary rate limit."}`, connectors.Unavailable, "rate-limited", 10 * time.Minute},
		{"no right", "orgs/list-members", 403, nil, `{"message": "Resource not accessible by integration"}`, connectors.Denied, "lacks the right", 0},
		{"renamed", "orgs/list-members", 301, map[string]string{"Location": "/organizations/7/members"}, ``, connectors.Conflict, "has renamed it", 0},
		{"a page elsewhere", "orgs/list-members", 200, map[string]string{"Link": `<https://elsewhere.test/x?page=2>; rel="next"`}, `[]`, connectors.Unavailable, "another host", 0},
		{"a link that is none", "orgs/list-members", 200, map[string]string{"Link": `nonsense`}, `[]`, connectors.Unavailable, "isn't this API's", 0},
		{"roles of the organisation that do not count up", "orgs/list-org-roles", 200, nil, `{"total_count": 2, "roles": [{"id": 1, "name": "x"}]}`, connectors.Unavailable, "isn't this API's", 0},
		{"roles of the organisation that only owners see", "orgs/list-org-roles", 403, nil, `{"message": "Must be an organization owner"}`, connectors.Denied, "lacks the right", 0},
		{"an assignment to nobody", "orgs/list-org-role-teams", 200, nil, `[{"id": 1, "assignment": "direct"}]`, connectors.Unavailable, "isn't this API's", 0},
		{"custom roles that do not count up", "orgs/list-custom-repo-roles", 200, nil, `{"total_count": 2, "custom_roles": [{"name": "x"}]}`, connectors.Unavailable, "isn't this API's", 0},
		{"a custom role of a built-in's name", "orgs/list-custom-repo-roles", 200, nil, `{"total_count": 1, "custom_roles": [{"name": "push"}]}`, connectors.Unavailable, "isn't this API's", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t)
			h.orgRole("all_repo_read")
			h.answer(tt.op, tt.status, tt.header, tt.body)
			cfg := h.config()
			cfg.Values["organisation_roles"] = true
			_, err := writer(t, cfg).Read(t.Context(), schemas.Selection{})
			var e *connectors.Error
			if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(err.Error(), tt.says) || e.RetryAfter < tt.wait {
				t.Errorf("got %q, retry after %v (%v), want %q, %v and %q", connectors.CodeOf(err), e.RetryAfter, err, tt.code, tt.wait, tt.says)
			}
		})
	}
}

// A secondary limit that names no time is one all the same.
func TestSecondaryLimitWithoutTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t)
		h.answer("orgs/list-members", 403, nil, `{"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}`)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := writer(t, h.config()).Read(ctx, schemas.Selection{})
		if connectors.CodeOf(err) != connectors.Unavailable || h.count("orgs/list-members") != 1 {
			t.Errorf("%v after %d calls, want %s after one: it waits a minute", err, h.count("orgs/list-members"), connectors.Unavailable)
		}
	})
}

func TestRenamedRepository(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.repo("app")
	w := writer(t, h.config())
	must(t, w, "create sales")
	h.answer("teams/add-or-update-repo-permissions-in-org", http.StatusTemporaryRedirect, map[string]string{"Location": h.http.URL + "/repositories/7/x"}, "")
	refused(t, w, operation("grant sales repository app push"), connectors.Conflict, "has renamed it")
}

// A repository's pages may go in a circle.
func TestCircle(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.answer("orgs/list-members", 200, map[string]string{"Link": `<` + h.http.URL + `/orgs/acme/members?page=2>; rel="next"`}, `[]`)
	if _, err := writer(t, h.config()).Read(t.Context(), schemas.Selection{}); connectors.CodeOf(err) != connectors.Unavailable || !strings.Contains(err.Error(), "cycle") {
		t.Errorf("got %v, want an error about a cycle", err)
	}
}

func TestEnterpriseServer(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.version = "3.19.0"
	cfg := h.config()
	var graphql string
	h.before = func(_ http.ResponseWriter, req *http.Request, op string, _ []byte) bool {
		if op == "graphql" {
			graphql = req.RequestURI
		}
		return false
	}
	cfg.Values["url"] = h.http.URL + "/api/v3"
	w := writer(t, cfg)
	d, err := w.Describe(t.Context())
	if err != nil || d.Version != "3.19.0" {
		t.Errorf("version %q, %v", d.Version, err)
	}
	must(t, w, "create sales")
	same(t, read(t, w, "sales"))
	if graphql != "/api/graphql" {
		t.Errorf("GraphQL was asked at %s", graphql)
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	secure := virtual.ServeTLS(t, h)
	cfg := h.config()
	cfg.Values["url"] = secure.URL
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := writer(t, cfg).Describe(t.Context()); connectors.CodeOf(err) != connectors.Unavailable {
		t.Errorf("a certificate of nobody: %v, want %s", err, connectors.Unavailable)
	}
	cfg.Values["ca_file"] = file
	if _, err := writer(t, cfg).Describe(t.Context()); err != nil {
		t.Errorf("with its certificate: %v", err)
	}
	cfg.Directory, cfg.Values["ca_file"] = filepath.Dir(file), "ca.pem"
	if _, err := writer(t, cfg).Describe(t.Context()); err != nil {
		t.Errorf("within the access repository: %v", err)
	}
	for _, bad := range []string{"../ca.pem", "nothing.pem"} {
		cfg.Values["ca_file"] = bad
		if _, err := github.New().OpenReader(t.Context(), cfg); connectors.CodeOf(err) != connectors.Invalid {
			t.Errorf("%s: %v, want %s", bad, err, connectors.Invalid)
		}
	}
}

// Each of the two credentials can stand alone, and applying takes its own.
func TestCredentials(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.tokens[readToken].owner = false
	must(t, writer(t, h.config()), "create sales")
	cfg := h.config()
	delete(cfg.Values, "apply_token")
	h.change(func() { h.tokens[readToken].owner = true })
	must(t, writer(t, cfg), "create finance")
	delete(cfg.Values, "token")
	cfg.Values["apply_token"] = connectors.NewSecret(applyToken)
	if _, err := github.New().OpenReader(t.Context(), cfg); connectors.CodeOf(err) != connectors.Invalid {
		t.Errorf("to read without a credential for it: %v, want %s", err, connectors.Invalid)
	}
	cfg.Values["apply_app_id"] = 3
	if _, err := github.New().OpenWriter(t.Context(), cfg); connectors.CodeOf(err) != connectors.Invalid {
		t.Errorf("a token and an App to apply: %v, want %s", err, connectors.Invalid)
	}
}

// How much a read costs does not hang on how many teams there are but by their pages.
func TestCalls(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.page = 100
	for i := range 120 {
		h.team(fmt.Sprintf("team-%03d", i)).members[h.user("their-user-1")] = "member"
	}
	w := writer(t, h.config())
	if _, err := w.Read(t.Context(), schemas.Selection{}); err != nil {
		t.Fatal(err)
	}
	// Three pages of teams, owners, custom roles.
	if n := h.count(""); n != 5 {
		t.Errorf("%d calls to read 121 teams, want 5: %v", n, h.calls)
	}
	h.calls = nil
	var sel schemas.Selection
	for i := range 25 {
		sel.Names = append(sel.Names, schemas.Name{Type: "team", SourceName: fmt.Sprintf("team-%03d", i)})
	}
	if s, err := w.Read(t.Context(), sel); err != nil || len(s.Connections) != 25 {
		t.Fatal(err, len(s.Connections))
	}
	// Who asks, two queries for the names, and owners.
	if n := h.count(""); n != 4 {
		t.Errorf("%d calls to read 25 teams by name, want 4: %v", n, h.calls)
	}
	h.calls = nil
	scope := schemas.Selection{Scope: map[string][]string{"team": {"team-001", "team-002"}}}
	if s, err := w.Read(t.Context(), scope); err != nil || len(s.Connections) != 2 {
		t.Fatal(err, len(s.Connections))
	}
	if n := h.count(""); n != 3 {
		t.Errorf("%d calls to read a scope of two names, want 3: %v", n, h.calls)
	}
}

// Requests hold no token in their address or body.
func TestSecretsStayInTheHeader(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.before = func(_ http.ResponseWriter, req *http.Request, _ string, body []byte) bool {
		if strings.Contains(req.URL.String()+string(body), "canary") {
			t.Errorf("%s holds a token", req.URL)
		}
		return false
	}
	w := writer(t, h.config())
	must(t, w, "create sales")
	if _, err := json.Marshal(h.config().Values); err != nil {
		t.Fatal(err)
	}
}

// TestForesee expects a finding for what GitHub is known to refuse, and the refusal itself.
func TestForesee(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.user("Boss").role, h.user("alice").role = "admin", "member"
	h.repo("Old")
	h.repo("app")
	w := writer(t, h.config())
	must(t, w, "create sales", "grant sales repository old pull", "grant sales user alice MEMBER")
	h.change(func() { h.repo("Old").archived = true })
	for _, tt := range []struct{ operation, finds string }{
		{"grant sales user boss ADMIN", "an owner of the organisation maintains each of their teams: grant MEMBER"},
		{"grant sales user boss MEMBER", ""},
		{"grant sales user alice ADMIN", ""},
		{"grant sales repository old push", "the repository is archived"},
		{"revoke sales repository old pull", "the repository is archived"},
		{"grant sales repository app push", ""},
		{"grant sales repository gone push", ""},
		{"grant other repository old push", "the repository is archived"},
	} {
		o := operation(tt.operation)
		found, err := w.(connectors.Foreseer).Foresee(t.Context(), []schemas.Operation{o})
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case tt.finds == "" && len(found) > 0:
			t.Errorf("%s: %v", tt.operation, found)
		case tt.finds != "" && (len(found) != 1 || !strings.Contains(found[0].Message, tt.finds) || found[0].Severity != schemas.SeverityError):
			t.Errorf("%s: %v, want %q", tt.operation, found, tt.finds)
		}
	}
	refused(t, w, operation("grant sales repository old push"), connectors.Conflict, "archived")
	refused(t, w, operation("revoke sales repository old pull"), connectors.Conflict, "archived")
}
