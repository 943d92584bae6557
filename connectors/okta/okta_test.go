package okta_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/okta"
	"github.com/countersign/countersign/schemas"
)

// set changes the organisation's state without asking the API.
func (o *organisation) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

func (o *organisation) with(values map[string]any) *organisation {
	o.cfg.Values = maps.Clone(o.cfg.Values)
	for k, v := range values {
		if o.cfg.Values[k] = v; v == nil {
			delete(o.cfg.Values, k)
		}
	}
	return o
}

func (o *organisation) writer(t connectortest.TB) connectors.Writer {
	t.Helper()
	w, err := okta.New().OpenWriter(t.Context(), o.cfg)
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

func named(typ, name string) schemas.Name { return schemas.Name{Type: typ, SourceName: name} }

func change(kind schemas.OperationKind, name string, more ...schemas.Name) schemas.Operation {
	op := schemas.Operation{ID: "op", Kind: kind, Connection: named("group", name)}
	if len(more) > 0 {
		op.Target = &more[0]
		op.Privilege = map[string]string{"user": "MEMBER", "application": "ACCESS", "admin_role": "ASSIGNED"}[more[0].Type]
	}
	return op
}

// apply carries one operation out.
func apply(t connectortest.TB, w connectors.Writer, op schemas.Operation) error {
	t.Helper()
	var outcomes []connectors.Outcome
	err := w.Apply(t.Context(), []schemas.Operation{op}, func(out connectors.Outcome) { outcomes = append(outcomes, out) })
	if err != nil {
		return err
	}
	if len(outcomes) != 1 {
		t.Fatalf("%d outcomes, want 1", len(outcomes))
	}
	return outcomes[0].Err
}

// refused fails unless the error has the code, and holds each of the words or has it among what stands in the way.
func refused(t connectortest.TB, err error, code connectors.Code, words ...string) {
	t.Helper()
	var e *connectors.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want an error with the code %s", err, code)
	}
	said := e.Error() + " " + strings.Join(e.Dependents, " ")
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("the error says %q, want %q in it", said, w)
		}
	}
}

func read(t connectortest.TB, r connectors.Reader, names ...string) []schemas.Connection {
	t.Helper()
	var sel schemas.Selection
	for _, n := range names {
		sel.Names = append(sel.Names, named("group", n))
	}
	s, err := r.Read(t.Context(), sel)
	if err != nil || s.Incomplete != "" {
		t.Fatalf("Read: %v %s", err, s.Incomplete)
	}
	return s.Connections
}

// holding are the targets of a connection with their ids, as text.
func holding(c schemas.Connection) []string {
	var out []string
	for _, e := range c.Entitlements {
		out = append(out, e.Target.String()+" "+e.TargetID)
	}
	return out
}

// What holds the server to the description must see what breaks it.
func TestDescriptionIsHeld(t *testing.T) {
	t.Parallel()
	router, err := loadDescription()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, method, path, body, answer, want string }{
		{"nothing wrong", "GET", "/api/v1/groups?limit=2", "", `[{"id": "00g1", "type": "OKTA_GROUP", "profile": {"name": "x"}}]`, ""},
		{"a path that is none", "GET", "/api/v1/teams", "", `[]`, "no matching operation"},
		{"a method that is none", "PATCH", "/api/v1/groups/00g1", `{}`, `{}`, "method not allowed"},
		{"a parameter that is none", "GET", "/api/v1/groups?count=2", "", `[]`, "knows no parameter count"},
		{"a parameter out of bounds", "GET", "/api/v1/apps/0oa1/groups?limit=5", "", `[]`, "breaks the description"},
		{"a body of a wrong type", "POST", "/api/v1/groups", `{"profile": {"name": 7}}`, `{}`, "the request breaks"},
		{"no body", "POST", "/api/v1/groups", "", `{}`, "the request breaks"},
		{"an answer of a wrong type", "GET", "/api/v1/groups", "", `[{"profile": {"name": []}}]`, "the answer 200 breaks"},
		{"an object for a list", "GET", "/api/v1/groups/00g1/users", "", `{}`, "the answer 200 breaks"},
		{"half an application", "GET", "/api/v1/apps", "", `[{"id": "0oa1"}]`, "the answer 200 breaks"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var faults []string
			h := held(router, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if _, err := w.Write([]byte(c.answer)); err != nil {
					t.Error(err)
				}
			}), func(why string) { faults = append(faults, why) })
			r := httptest.NewRequest(c.method, "http://acme.okta.test"+c.path, strings.NewReader(c.body))
			if c.body != "" {
				r.Header.Set("Content-Type", "application/json")
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			if got := strings.Join(faults, "\n"); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAmbiguousGroups(t *testing.T) {
	t.Parallel()
	o := newOrganisation(t)
	var ours, theirs string
	o.set(func() {
		theirs, ours = o.id("00g"), o.id("00g")
		o.groups = append(o.groups, &groupState{id: theirs, kind: "APP_GROUP", name: "Sales"}, &groupState{id: ours, kind: "OKTA_GROUP", name: "Sales"})
	})
	alice := o.AddIdentity(t, "user", "alice")
	w := o.writer(t)
	got := read(t, w, "Sales")
	if len(got) != 2 || got[0].NativeID != theirs || got[0].Protected == "" || got[1].NativeID != ours || got[1].Protected != "" {
		t.Fatalf("got %+v, want the directory's group, protected, and ours", got)
	}
	for _, op := range []schemas.Operation{change("grant", "Sales", alice), change("revoke", "Sales", alice), change("delete", "Sales")} {
		refused(t, apply(t, w, op), connectors.Conflict, "source_id", ours, theirs)
	}
	refused(t, apply(t, w, change("create", "Sales")), connectors.Conflict, "source_id")
	grant := change("grant", "Sales", alice)
	grant.NativeID = ours
	if err := apply(t, w, grant); err != nil {
		t.Fatal(err)
	}
	grant.NativeID = theirs
	refused(t, apply(t, w, grant), connectors.Denied, "directory")
	if got := read(t, w, "Sales"); len(got[0].Entitlements) != 0 || len(got[1].Entitlements) != 1 {
		t.Errorf("got %+v, want a member in our group alone", got)
	}
}

// An id that is sent along stands for the thing only while the name is still its own.
func TestIDsStandBehindNames(t *testing.T) {
	t.Parallel()
	o := newOrganisation(t)
	o.AddConnection(t, named("group", "Sales"))
	o.AddConnection(t, named("group", "Support"))
	alice, bob := o.AddIdentity(t, "user", "alice"), o.AddIdentity(t, "user", "bob")
	wiki, _ := o.AddResource(t, "application", "Wiki")
	o.AddResource(t, "application", "CRM")
	var sales, support, aliceID, bobID, wikiID, crmID string
	o.set(func() {
		sales, support = o.named("Sales").id, o.named("Support").id
		aliceID, bobID = o.user(alice.SourceName).id, o.user(bob.SourceName).id
		wikiID, crmID = o.labelled("Wiki").id, o.labelled("CRM").id
	})
	w := o.writer(t)
	op := func(kind schemas.OperationKind, target schemas.Name, group, id string) schemas.Operation {
		out := change(kind, "Sales", target)
		out.NativeID, out.TargetID = group, id
		return out
	}
	for _, kind := range []schemas.OperationKind{"grant", "revoke"} {
		if err := apply(t, w, op("grant", alice, sales, aliceID)); err != nil {
			t.Fatal(err)
		}
		o.asked()
		for name, bad := range map[string]schemas.Operation{
			"another group":                 op(kind, alice, support, aliceID),
			"a group that is gone":          op(kind, alice, "00g99999999999999999", aliceID),
			"another user":                  op(kind, alice, sales, bobID),
			"a user who is gone":            op(kind, alice, sales, "00u99999999999999999"),
			"another application":           op(kind, wiki, sales, crmID),
			"an application that is gone":   op(kind, wiki, sales, "0oa99999999999999999"),
			"a group id that is a path":     op(kind, alice, "../users", aliceID),
			"a user id that is a path":      op(kind, alice, sales, "../../groups/"+support+"/users/"+bobID),
			"a user id that is a login":     op(kind, alice, sales, "alice"),
			"an application's id as a path": op(kind, wiki, sales, "../"+wikiID),
		} {
			err := apply(t, w, bad)
			if connectors.CodeOf(err) != connectors.Conflict {
				t.Errorf("%s of %s: %v, want %s", kind, name, err, connectors.Conflict)
			}
		}
		for _, call := range o.asked() {
			if !strings.HasPrefix(call, "GET /api/v1/") || strings.Contains(call, "..") {
				t.Errorf("%s: %s was asked", kind, call)
			}
		}
	}
}

func TestAmbiguousApplications(t *testing.T) {
	t.Parallel()
	o := newOrganisation(t)
	o.AddConnection(t, named("group", "Sales"))
	var one, two string
	o.set(func() {
		one, two = o.id("0oa"), o.id("0oa")
		g := o.named("Sales")
		o.apps = append(o.apps, &appState{id: one, name: "bookmark", label: "Wiki", groups: []*assignmentState{{group: g.id}}},
			&appState{id: two, name: "bookmark", label: "Wiki", groups: []*assignmentState{{group: g.id}}})
	})
	wiki := named("application", "Wiki")
	w := o.writer(t)
	want := []string{"application/Wiki " + one, "application/Wiki " + two}
	if diff := cmp.Diff(want, holding(read(t, w, "Sales")[0])); diff != "" {
		t.Errorf("two applications of one label (-want +got):\n%s", diff)
	}
	refused(t, apply(t, w, change("grant", "Sales", wiki)), connectors.Conflict, "source_id", one, two)
	revoke := change("revoke", "Sales", wiki)
	refused(t, apply(t, w, revoke), connectors.Conflict, "source_id")
	revoke.TargetID = two
	if err := apply(t, w, revoke); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[:1], holding(read(t, w, "Sales")[0])); diff != "" {
		t.Errorf("after one was taken away (-want +got):\n%s", diff)
	}
	p, err := w.List(t.Context(), connectors.Query{Type: "application", Names: []string{"Wiki"}})
	if err != nil || len(p.Items) != 2 || p.Items[0].NativeID == p.Items[1].NativeID {
		t.Errorf("List: %+v, %v, want both", p, err)
	}
}

// An application that the credential does not see is not gone.
func TestHiddenApplication(t *testing.T) {
	t.Parallel()
	o := newOrganisation(t)
	o.AddConnection(t, named("group", "Sales"))
	var id string
	o.set(func() {
		id = o.id("0oa")
		o.apps = append(o.apps, &appState{id: id, name: "bookmark", label: "Wiki", groups: []*assignmentState{{group: o.named("Sales").id}}})
	})
	o.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/api/v1/apps" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		_, err := w.Write([]byte("[]"))
		return err == nil
	})
	w := o.writer(t)
	revoke := change("revoke", "Sales", named("application", "Wiki"))
	revoke.TargetID = id
	refused(t, apply(t, w, revoke), connectors.Denied, "doesn't see that")
	revoke.TargetID = "0oagone"
	if err := apply(t, w, revoke); err != nil {
		t.Errorf("an application that is gone: %v", err)
	}
}

// An assignment that is there keeps what administrators set in it.
func TestAssignmentIsKept(t *testing.T) {
	t.Parallel()
	o := newOrganisation(t)
	sales := named("group", "Sales")
	o.AddConnection(t, sales)
	wiki, _ := o.AddResource(t, "application", "Wiki")
	o.Grant(t, schemas.Key{Connection: sales, Target: wiki, Privilege: "ACCESS"})
	if err := apply(t, o.writer(t), change("grant", "Sales", wiki)); err != nil {
		t.Fatal(err)
	}
	o.set(func() {
		got := o.labelled("Wiki").groups
		if len(got) != 1 || got[0].priority != 7 || got[0].profile["role"] != "editor" {
			t.Errorf("the assignment is %+v, want it with its priority and profile", got[0])
		}
	})
}

func TestOwnApplications(t *testing.T) {
	t.Parallel()
	o := newOrganisation(t)
	o.AddConnection(t, named("group", "Sales"))
	o.set(func() {
		o.apps = append(o.apps, &appState{id: o.id("0oa"), name: "saasure", label: "Okta Admin Console"})
	})
	w := o.writer(t)
	console := named("application", "Okta Admin Console")
	refused(t, apply(t, w, change("grant", "Sales", console)), connectors.Denied)
	refused(t, apply(t, w, change("revoke", "Sales", console)), connectors.Denied)
	p, err := w.List(t.Context(), connectors.Query{Type: "application", Names: []string{console.SourceName}})
	if err != nil || len(p.Items) != 1 || p.Items[0].Protected == "" {
		t.Errorf("List: %+v, %v, want it protected", p, err)
	}
}

// A custom attribute of the profile is nobody's business here, and a replaced profile must still have it.
func TestUpdateKeepsTheProfile(t *testing.T) {
	t.Parallel()
	o := newOrganisation(t)
	o.AddConnection(t, named("group", "Sales"))
	custom := map[string]any{"cost_center": json.Number("12345678901234567890"), "tags": []any{"a", "b"}}
	o.set(func() { o.named("Sales").custom = maps.Clone(custom) })
	op := change("update", "Sales")
	op.After = map[string]any{"description": "new"}
	w := o.writer(t)
	if err := apply(t, w, op); err != nil {
		t.Fatal(err)
	}
	o.set(func() {
		g := o.named("Sales")
		want, _ := json.Marshal(custom)
		got, err := json.Marshal(g.custom)
		// The server's decoder keeps large numbers as floats, which shows in the spelling alone.
		if err != nil || !strings.Contains(string(got), `"tags":["a","b"]`) || !strings.Contains(string(got), `"cost_center"`) {
			t.Errorf("the attributes are %s (%v), want %s", got, err, want)
		}
		if g.description == nil || *g.description != "new" {
			t.Errorf("the description is %v, want new", g.description)
		}
	})
	o.asked()
	if err := apply(t, w, op); err != nil {
		t.Fatal(err)
	}
	for _, call := range o.asked() {
		if strings.HasPrefix(call, "PUT") {
			t.Errorf("an update of nothing sent %s", call)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		status string
		member string // the rule's id where it says so
		silent bool   // Okta does not say by which rule members came
		others bool   // another member came by the rule
		onRule any
		code   connectors.Code // "" when the member is gone
	}{
		{name: "by the rule", status: "ACTIVE", member: "rule", code: connectors.Conflict},
		{name: "by a rule that was switched off", status: "INACTIVE", member: "rule"},
		{name: "by hand, beside the rule's", status: "ACTIVE", others: true},
		{name: "by hand, and nobody is there by the rule", status: "ACTIVE", code: connectors.Conflict},
		{name: "not told", status: "ACTIVE", member: "rule", silent: true, others: true, code: connectors.Conflict},
		{name: "by the rule, and the config says remove", status: "ACTIVE", member: "rule", onRule: "remove"},
		{name: "by the rule, and the config says refuse", status: "ACTIVE", member: "rule", onRule: "refuse", code: connectors.Conflict},
		{name: "not told, and the config says remove", status: "ACTIVE", silent: true, onRule: "remove"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newOrganisation(t).with(map[string]any{"on_rule": c.onRule})
			o.AddConnection(t, named("group", "Sales"))
			alice, bob := o.AddIdentity(t, "user", "alice"), o.AddIdentity(t, "user", "bob")
			var rule *ruleState
			o.set(func() {
				g := o.named("Sales")
				rule = o.addRule("Sales people", c.status, `user.department=="Sales"`, g.id)
				m := &memberState{user: o.user(alice.SourceName).id}
				if c.member != "" {
					m.rule = rule.id
				}
				g.members = append(g.members, m)
				if c.others {
					g.members = append(g.members, &memberState{user: o.user(bob.SourceName).id, rule: rule.id})
				}
				o.silent = c.silent
			})
			w := o.writer(t)
			op := change("revoke", "Sales", alice)
			found, err := w.(connectors.Foreseer).Foresee(t.Context(), []schemas.Operation{op})
			if err != nil || (len(found) == 1) != (c.code == connectors.Conflict) || c.code != "" && !strings.Contains(found[0].Message, "group rule Sales people") {
				t.Errorf("foreseen: %v, %v", found, err)
			}
			err = apply(t, w, op)
			held := slices.ContainsFunc(read(t, w, "Sales")[0].Entitlements, func(e schemas.Entitlement) bool { return e.Target == alice })
			if c.code == "" {
				if err != nil || held {
					t.Errorf("got %v, held %v, want the member gone", err, held)
				}
				return
			}
			refused(t, err, c.code, "Sales people", rule.id, "on_rule")
			o.set(func() {
				if len(rule.excluded) > 0 || !held {
					t.Errorf("a refused revoke changed the group or the rule: held %v, %+v", held, rule)
				}
			})
			// Somebody who is no member needs no rule to be gone.
			if err := apply(t, w, change("revoke", "Sales", o.AddIdentity(t, "user", "carol"))); err != nil {
				t.Errorf("a revoke of what nobody holds: %v", err)
			}
		})
	}
}

func TestDeleteWhatRulesName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, status, expression string
		feeds, gone              bool
	}{
		{"a rule feeds it", "ACTIVE", `true`, true, false},
		{"a rule that is switched off feeds it", "INACTIVE", `true`, true, false},
		{"a broken rule feeds it", "INVALID", `true`, true, true},
		{"a rule asks for its id", "ACTIVE", `isMemberOfGroup("ID") and true`, false, false},
		{"a rule asks for its name", "ACTIVE", `isMemberOfAnyGroup('x') or isMemberOfGroupName('Sales')`, false, false},
		{"a rule asks for a longer name", "ACTIVE", `isMemberOfGroupName("Sales EMEA")`, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newOrganisation(t)
			o.AddConnection(t, named("group", "Sales"))
			o.set(func() {
				g := o.named("Sales")
				rule := o.addRule("A rule", c.status, strings.ReplaceAll(c.expression, "ID", g.id))
				if c.feeds {
					rule.groups = []string{g.id}
				} else {
					rule.groups = []string{o.groups[0].id}
				}
			})
			w := o.writer(t)
			err := apply(t, w, change("delete", "Sales"))
			if there := len(read(t, w, "Sales")) > 0; there == c.gone {
				t.Errorf("there %v, want gone %v (%v)", there, c.gone, err)
			}
			if !c.gone {
				refused(t, err, connectors.Conflict, "A rule")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// Okta takes more than a login where a user is asked for.
func TestLogins(t *testing.T) {
	t.Parallel()
	o := newOrganisation(t)
	o.AddConnection(t, named("group", "Sales"))
	alice := o.AddIdentity(t, "user", "alice")
	slash := o.AddIdentity(t, "user", "a/b?c")
	gone := o.AddIdentity(t, "user", "gone")
	var id string
	o.set(func() {
		id = o.user(alice.SourceName).id
		o.user(gone.SourceName).status = "DEPROVISIONED"
	})
	w := o.writer(t)
	for _, name := range []string{"me", "alice", id, strings.ToLower(id), "..", "."} {
		refused(t, apply(t, w, change("grant", "Sales", named("user", name))), connectors.NotFound)
		p, err := w.List(t.Context(), connectors.Query{Type: "user", Names: []string{name}})
		if err != nil || len(p.Items) > 0 {
			t.Errorf("List of %q: %+v, %v, want nobody", name, p.Items, err)
		}
	}
	if got := read(t, w, "Sales")[0].Entitlements; len(got) > 0 {
		t.Errorf("somebody else became a member: %+v", got)
	}
	for _, name := range []string{"ALICE@acme.TEST", slash.SourceName} {
		if err := apply(t, w, change("grant", "Sales", named("user", name))); err != nil {
			t.Errorf("grant to %q: %v", name, err)
		}
	}
	var got []string
	for _, e := range read(t, w, "Sales")[0].Entitlements {
		got = append(got, e.Target.SourceName)
	}
	if want := []string{slash.SourceName, alice.SourceName}; !slices.Equal(got, want) {
		t.Errorf("members %q, want %q", got, want)
	}
	for _, q := range []connectors.Query{{Type: "user", Names: []string{gone.SourceName}}, {Type: "user", Names: []string{slash.SourceName, gone.SourceName}}, {Type: "user"}} {
		p, err := w.List(t.Context(), q)
		i := slices.IndexFunc(p.Items, func(i schemas.Item) bool { return i.Name == gone })
		if err != nil || i < 0 || p.Items[i].State != schemas.StateBlocked {
			t.Errorf("List of %v: %+v, %v, want the deprovisioned user as blocked", q.Names, p.Items, err)
		}
	}
}

// Each status of the documentation has its state.
func TestUserStatus(t *testing.T) {
	t.Parallel()
	o := newOrganisation(t)
	sales := named("group", "Sales")
	o.AddConnection(t, sales)
	want := map[string]schemas.EntitlementState{"ACTIVE": "", "RECOVERY": "", "STAGED": schemas.StateInvited, "PROVISIONED": schemas.StateInvited,
		"SUSPENDED": schemas.StateBlocked, "LOCKED_OUT": schemas.StateBlocked, "DEPROVISIONED": schemas.StateBlocked, "PASSWORD_EXPIRED": schemas.StateExpired}
	for status := range want {
		u := o.AddIdentity(t, "user", status)
		o.Grant(t, schemas.Key{Connection: sales, Target: u})
		o.set(func() { o.user(u.SourceName).status = status })
	}
	got := map[string]schemas.EntitlementState{}
	for _, e := range read(t, o.writer(t), "Sales")[0].Entitlements {
		status, _, _ := strings.Cut(e.Target.SourceName, "@")
		got[strings.ToUpper(status)] = e.State
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}

func TestAdminRoles(t *testing.T) {
	t.Parallel()
	o := newOrganisation(t)
	for _, n := range []string{"Sales", "Help*", "Plain"} {
		o.AddConnection(t, named("group", n))
	}
	var sets [2]string
	o.set(func() {
		o.named("Help*").roles = append(o.named("Help*").roles, &roleState{id: o.id("gra"), kind: "HELP_DESK_ADMIN", label: "Help Desk Administrator"})
		for i := range sets {
			sets[i] = o.id("iam")
			o.named("Sales").roles = append(o.named("Sales").roles, &roleState{id: o.id("irb"), kind: "CUSTOM", label: "Wiki operators", role: "cr01", set: sets[i]})
		}
	})
	w := o.writer(t)
	custom := named("admin_role", "custom:Wiki operators")
	want := []string{custom.String() + " cr01@" + sets[0], custom.String() + " cr01@" + sets[1]}
	if diff := cmp.Diff(want, holding(read(t, w, "Sales")[0])); diff != "" {
		t.Errorf("custom roles (-want +got):\n%s", diff)
	}
	d, err := w.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, powerful := range map[string]bool{"Sales": true, "Help*": true, "Helper": false, "Plain": false} {
		if got := schemas.Match(d.Types[0].Privileged, name); got != powerful {
			t.Errorf("%s is privileged: %v, want %v (%q)", name, got, powerful, d.Types[0].Privileged)
		}
	}
	refused(t, apply(t, w, change("grant", "Plain", custom)), connectors.Unsupported)
	refused(t, apply(t, w, change("grant", "Plain", named("admin_role", "super_admin"))), connectors.Unsupported)
	revoke := change("revoke", "Sales", custom)
	revoke.TargetID = "cr01@" + sets[1]
	if err := apply(t, w, revoke); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[:1], holding(read(t, w, "Sales")[0])); diff != "" {
		t.Errorf("after one was taken away (-want +got):\n%s", diff)
	}
	// A role that is held already, perhaps for some resources alone, is not given again.
	o.asked()
	if err := apply(t, w, change("grant", "Help*", named("admin_role", "HELP_DESK_ADMIN"))); err != nil {
		t.Fatal(err)
	}
	if calls := o.asked(); slices.ContainsFunc(calls, func(c string) bool { return strings.HasPrefix(c, "POST") }) {
		t.Errorf("a role that is held was given: %v", calls)
	}
}

// Where roles are left out, who holds one is protected, and no role is asked for.
func TestWithoutAdminRoles(t *testing.T) {
	t.Parallel()
	for _, mute := range []bool{false, true} {
		o := newOrganisation(t).with(map[string]any{"admin_roles": false})
		alice := o.AddIdentity(t, "user", "alice")
		o.AddConnection(t, named("group", "Admins"))
		o.AddConnection(t, named("group", "Plain"))
		var plain, admins string
		o.set(func() {
			o.named("Admins").roles = []*roleState{{id: o.id("gra"), kind: "SUPER_ADMIN"}}
			plain, admins = o.named("Plain").id, o.named("Admins").id
			o.mute = mute
		})
		w := o.writer(t)
		for name, closed := range map[string]bool{"Admins": true, "Plain": mute} {
			if got := read(t, w, name)[0].Protected; (got != "") != closed {
				t.Errorf("mute %v: %s is protected: %q, want %v", mute, name, got, closed)
			}
			id := map[string]string{"Admins": admins, "Plain": plain}[name]
			for _, native := range []string{"", id} {
				op := change("grant", name, alice)
				op.NativeID = native
				if err := apply(t, w, op); (connectors.CodeOf(err) == connectors.Denied) != closed || (err == nil) == closed {
					t.Errorf("mute %v: grant in %s: %v", mute, name, err)
				}
			}
		}
		d, err := w.Describe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := d.Types[0].Target("admin_role"); ok {
			t.Error("the installation says that it gives roles")
		}
		if got := schemas.Match(d.Types[0].Privileged, "Plain"); got != mute {
			t.Errorf("mute %v: an ordinary group is privileged: %v", mute, got)
		}
		// What is made in this Apply can be given members in it.
		made, grant := change("create", "Made"), change("grant", "Made", alice)
		grant.ID, grant.DependsOn = "op2", []string{"op"}
		err = w.Apply(t.Context(), []schemas.Operation{made, grant}, func(out connectors.Outcome) {
			if out.Err != nil {
				t.Errorf("%s: %v", out.Operation, out.Err)
			}
		})
		if err != nil {
			t.Error(err)
		}
		for _, call := range o.asked() {
			if strings.Contains(call, "/roles") {
				t.Errorf("roles were asked for: %s", call)
			}
		}
	}
}

// The number of calls is as the package says: it grows with the groups selected, not with what is beside them.
func TestCallsOfARead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ groups, apps, want int }{
		{groups: 2, apps: 10, want: 1 + 1 + 2 + 2 + 2}, // each group for its applications
		{groups: 10, apps: 2, want: 1 + 1 + 10 + 10 + 2},
		{groups: 0, apps: 5, want: 1},
	} {
		o := newOrganisation(t)
		o.set(func() {
			o.page, o.apps = 1000, nil
			for i := range 50 {
				o.groups = append(o.groups, &groupState{id: o.id("00g"), kind: "OKTA_GROUP", name: fmt.Sprintf("beside %d", i)})
			}
			for i := range c.groups {
				o.groups = append(o.groups, &groupState{id: o.id("00g"), kind: "OKTA_GROUP", name: fmt.Sprintf("t-%d", i)})
			}
			for i := range c.apps {
				a := &appState{id: o.id("0oa"), name: "bookmark", label: fmt.Sprintf("app %d", i)}
				for _, g := range o.groups {
					a.groups = append(a.groups, &assignmentState{group: g.id})
				}
				o.apps = append(o.apps, a)
			}
		})
		s, err := o.writer(t).Read(t.Context(), schemas.Selection{Scope: map[string][]string{"group": {"t-*"}}})
		if err != nil || len(s.Connections) != c.groups {
			t.Fatalf("%d connections, %v", len(s.Connections), err)
		}
		for _, conn := range s.Connections {
			if len(conn.Entitlements) != c.apps {
				t.Errorf("%s has %d applications, want %d", conn.Name, len(conn.Entitlements), c.apps)
			}
		}
		if got := o.asked(); len(got) != c.want {
			t.Errorf("%d groups, %d applications: %d calls, want %d: %q", c.groups, c.apps, len(got), c.want, got)
		}
	}
}

// A group that goes while it is read is left out; the others are there.
func TestGoneWhileReading(t *testing.T) {
	t.Parallel()
	o := newOrganisation(t)
	for _, n := range []string{"t-a", "t-b", "t-c"} {
		o.AddConnection(t, named("group", n))
	}
	o.setFault(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/roles") || strings.HasSuffix(r.URL.Path, "/groups") && strings.HasPrefix(r.URL.Path, "/api/v1/apps") {
			o.set(func() { o.groups = slices.DeleteFunc(o.groups, func(g *groupState) bool { return g.name == "t-b" }) })
		}
		return false
	})
	s, err := o.writer(t).Read(t.Context(), schemas.Selection{Scope: map[string][]string{"group": {"t-*"}}})
	if err != nil || len(s.Connections) != 2 || s.Connections[1].SourceName != "t-c" {
		t.Errorf("got %+v, %v, want the two that are there", s, err)
	}
}

// A rate limit that is nearly used up is left to others until its window ends.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := newOrganisation(t)
		o.AddConnection(t, named("group", "Sales"))
		o.set(func() { o.limit, o.reset = "60", 5*time.Minute })
		_, err := o.writer(t).Read(t.Context(), schemas.Selection{})
		var e *connectors.Error
		if !errors.As(err, &e) || e.Code != connectors.Unavailable || e.RetryAfter < 4*time.Minute || e.RetryAfter > 6*time.Minute {
			t.Errorf("got %v, want %s for the rest of the window", err, connectors.Unavailable)
		}
		if calls := o.asked(); len(calls) != 1 {
			t.Errorf("asked %q, want nothing after the first answer", calls)
		}
		for name, limit := range map[string]struct {
			left  string
			reset time.Duration
		}{"more than a tenth is left": {"61", 5 * time.Minute}, "the end is no window's": {"0", time.Hour}, "no number": {"x", 5 * time.Minute}} {
			o.set(func() { o.limit, o.reset = limit.left, limit.reset })
			if _, err := o.writer(t).Read(t.Context(), schemas.Selection{}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		// Too many: Okta has no Retry-After, and says when the window ends.
		o.set(func() { o.limit = "599" })
		n := 0
		o.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			n++
			w.Header().Set("X-Rate-Limit-Limit", "600")
			w.Header().Set("X-Rate-Limit-Remaining", "0")
			w.Header().Set("X-Rate-Limit-Reset", fmt.Sprint(time.Now().Add(5*time.Minute).Unix()))
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusTooManyRequests)
			_, err := w.Write([]byte(`{"errorCode": "E0000047", "errorSummary": "API call exceeded rate limit due to too many requests."}`))
			return err == nil
		})
		_, err = o.writer(t).Read(t.Context(), schemas.Selection{})
		if !errors.As(err, &e) || e.Code != connectors.Unavailable || !e.Whole || e.RetryAfter < 4*time.Minute || !strings.Contains(e.Message, "E0000047") || n != 1 {
			t.Errorf("got %v after %d calls, want %s for the rest of the window", err, n, connectors.Unavailable)
		}
	})
}

// Okta's own word decides what an error means.
func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		code   connectors.Code
		words  string
	}{
		{401, `{"errorCode": "E0000011", "errorSummary": "Invalid token provided"}`, connectors.Denied, "E0000011"},
		{403, `{"errorCode": "E0000006", "errorSummary": "You do not have permission"}`, connectors.Denied, "You do not have permission"},
		{403, `{"errorCode": "E0000038", "errorSummary": "This operation is not allowed in the user's current status."}`, connectors.Conflict, "current status"},
		{405, `{"errorCode": "E0000022", "errorSummary": "The endpoint does not support the provided HTTP method"}`, connectors.Unsupported, "E0000022"},
		{400, `{"errorCode": "E0000001", "errorSummary": "Api validation failed", "errorCauses": [{"errorSummary": "name: too long"}]}`, connectors.Invalid, "name: too long"},
		{400, `{"errorCode": "E0000001", "errorSummary": "Api validation failed", "errorCauses": [{"errorSummary": "name: An object with this field already exists"}]}`, connectors.Conflict, "already exists"},
		{400, `no JSON`, connectors.Invalid, ""},
		{404, `{"errorCode": "E0000007", "errorSummary": "Not found"}`, connectors.NotFound, "E0000007"},
		{404, `{"error": "no route"}`, connectors.Unavailable, "check the address"},
		{200, `{"id": ""}`, connectors.Unavailable, ""},
		{200, `<html>`, connectors.Unavailable, ""},
	} {
		o := newOrganisation(t)
		o.AddConnection(t, named("group", "Sales"))
		alice := o.AddIdentity(t, "user", "alice")
		o.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut {
				return false
			}
			w.WriteHeader(c.status)
			_, err := w.Write([]byte(c.body))
			return err == nil
		})
		err := apply(t, o.writer(t), change("grant", "Sales", alice))
		refused(t, err, c.code, "grant group", c.words)
	}
}

// A service app gets tokens by signing, uses one for many requests, and another when Okta wants no more of it.
func TestServiceApp(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	encoded := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	o := newOrganisation(t)
	o.AddConnection(t, named("group", "Sales"))
	alice := o.AddIdentity(t, "user", "alice")
	o.set(func() { o.client, o.key = "0oaclient", &key.PublicKey })
	o.with(map[string]any{"token": nil, "client_id": "0oaclient", "private_key": connectors.NewSecret(encoded), "key_id": "k1", "admin_roles": false})
	count := func() int {
		n := 0
		for _, c := range o.asked() {
			if c == "POST /oauth2/v1/token" {
				n++
			}
		}
		return n
	}
	reader, err := okta.New().OpenReader(t.Context(), o.cfg)
	if err != nil {
		t.Fatal(err)
	}
	read(t, reader)
	read(t, reader)
	if n := count(); n != 1 {
		t.Errorf("%d tokens for two reads, want 1", n)
	}
	o.set(func() {
		for _, scopes := range o.bearers {
			if strings.Contains(scopes, "manage") {
				t.Errorf("the reader's token may change things: %s", scopes)
			}
		}
		clear(o.bearers) // revoked before their time
	})
	read(t, reader)
	if n := count(); n != 1 {
		t.Errorf("%d tokens after the first was revoked, want 1", n)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	w := o.writer(t)
	if err := apply(t, w, change("grant", "Sales", alice)); err != nil {
		t.Fatal(err)
	}
	count()
	read(t, w)
	if n := count(); n != 0 {
		t.Errorf("%d tokens within the first's time, want 0", n)
	}
	for name, values := range map[string]map[string]any{
		"another key":         {"key_id": "k2"},
		"another client":      {"client_id": "0oaother"},
		"scopes not given":    {"admin_roles": true},
		"an API token of old": {"client_id": nil, "private_key": nil, "key_id": nil, "token": connectors.NewSecret("revoked")},
	} {
		bad := *o
		r, err := okta.New().OpenReader(t.Context(), bad.with(values).cfg)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err = r.Read(t.Context(), schemas.Selection{})
		refused(t, err, connectors.Denied)
		if strings.Contains(err.Error(), "PRIVATE") || strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%s: the error holds a secret: %v", name, err)
		}
	}
}

// A service app that demands proofs of possession gets a token that is of no use here: the error says what to do.
func TestServiceAppWithDPoP(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encoded := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	o := newOrganisation(t).with(map[string]any{"token": nil, "client_id": "0oaclient", "private_key": connectors.NewSecret(encoded)})
	for body, status := range map[string]int{
		`{"token_type": "DPoP", "access_token": "x", "expires_in": 3600}`:                               200,
		`{"error": "invalid_dpop_proof", "error_description": "The DPoP proof JWT header is missing."}`: 400,
	} {
		o.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(status)
			_, err := w.Write([]byte(body))
			return err == nil
		})
		_, err := o.writer(t).Read(t.Context(), schemas.Selection{})
		refused(t, err, connectors.Denied, "DPoP")
	}
}

// What is applied with has a credential of its own.
func TestCredentialForApplying(t *testing.T) {
	t.Parallel()
	o := newOrganisation(t).with(map[string]any{"token": connectors.NewSecret("only-read"), "apply_token": connectors.NewSecret("may-write")})
	seen := map[string]bool{}
	o.setFault(func(_ http.ResponseWriter, r *http.Request) bool {
		seen[r.Header.Get("Authorization")] = true
		return false
	})
	for credential, open := range map[string]func(context.Context, connectors.Config) (connectors.Reader, error){
		"SSWS only-read": okta.New().OpenReader,
		"SSWS may-write": func(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
			return okta.New().OpenWriter(ctx, cfg)
		},
	} {
		clear(seen)
		r, err := open(t.Context(), o.cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Read(t.Context(), schemas.Selection{})
		refused(t, err, connectors.Denied)
		if len(seen) != 1 || !seen[credential] {
			t.Errorf("asked with %v, want %s", seen, credential)
		}
	}
}

// Some of Okta's servers do not know a group for a moment after it was made. That is no verdict.
func TestJustMade(t *testing.T) {
	t.Parallel()
	o := newOrganisation(t)
	alice := o.AddIdentity(t, "user", "alice")
	o.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		w.WriteHeader(http.StatusNotFound)
		_, err := w.Write([]byte(`{"errorCode": "E0000007", "errorSummary": "Not found: Resource not found: 00g (UserGroup)"}`))
		return err == nil
	})
	create, grant, nobody := change("create", "Sales"), change("grant", "Sales", alice), change("grant", "Sales", named("user", "nobody@acme.test"))
	grant.ID, nobody.ID = "grant", "nobody"
	got := map[string]connectors.Code{}
	w := o.writer(t)
	err := w.Apply(t.Context(), []schemas.Operation{create, grant, nobody}, func(out connectors.Outcome) { got[out.Operation] = connectors.CodeOf(out.Err) })
	want := map[string]connectors.Code{"op": "", "grant": connectors.Unavailable, "nobody": connectors.NotFound}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	// Of a group that was there before it is one.
	refused(t, apply(t, w, grant), connectors.NotFound)
}

// BenchmarkRead reads groups with a member and an application each. Calls are what counts: Okta answers a limited number
// each minute. The server holds nothing to the description here.
func BenchmarkRead(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := newOrganisation(b)
			o.set(func() {
				o.fast, o.page = true, 1000
				for i := range 20 {
					o.apps = append(o.apps, &appState{id: o.id("0oa"), name: "bookmark", label: fmt.Sprintf("app %d", i)})
				}
				u := o.users[0].id
				for i := range n {
					g := &groupState{id: o.id("00g"), kind: "OKTA_GROUP", name: fmt.Sprintf("t-%d", i), members: []*memberState{{user: u}}}
					o.groups = append(o.groups, g)
					a := o.apps[i%len(o.apps)]
					a.groups = append(a.groups, &assignmentState{group: g.id})
				}
			})
			r := o.writer(b)
			calls := 0
			for b.Loop() {
				o.asked()
				s, err := r.Read(b.Context(), schemas.Selection{Scope: map[string][]string{"group": {"t-*"}}})
				if err != nil || len(s.Connections) != n || len(s.Connections[0].Entitlements) != 2 {
					b.Fatalf("%d connections, %v", len(s.Connections), err)
				}
				calls = len(o.asked())
			}
			b.ReportMetric(float64(calls), "calls/op")
		})
	}
}
