package okta_test

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/schemas"
)

// TestEmulator runs what it can against a server by others. It plays no group rules, no assignments of applications to
// groups and no administrator roles: a gate in front says that there are none. It tells upper from lower case in logins, which Okta does not, so
// that all are in lower case here. It pages by numbers where Okta has
// cursors, so that following its links, and not making them, is what reads all.
func TestEmulator(t *testing.T) {
	t.Parallel()
	const users, groups = 70, 65
	seed := map[string]any{"tokens": map[string]any{"t0ken": map[string]any{"login": "admin", "scopes": []string{}}}}
	var people, teams []any
	for i := range users {
		status := "ACTIVE"
		if i == 1 {
			status = "SUSPENDED"
		}
		people = append(people, map[string]any{"login": fmt.Sprintf("user%d@acme.test", i), "status": status})
	}
	for i := range groups {
		teams = append(teams, map[string]any{"name": fmt.Sprintf("t-%02d", i), "description": "seeded"})
	}
	seed["okta"] = map[string]any{"users": people, "groups": teams, "apps": []any{map[string]any{"name": "wiki", "label": "Wiki"}}}
	upstream, err := url.Parse(servers.Emulate(t, "okta", seed))
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(upstream)
		r.Out.Host = r.In.Host // the links lead back here
	}}
	gate := network.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The lists of all groups and applications have no such thing before them.
		part := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/"), "/")
		if r.URL.Path == "/api/v1/groups/rules" || len(part) == 3 && (part[0] == "apps" || part[2] == "apps" || part[2] == "roles") {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, "[]")
			return
		}
		forward.ServeHTTP(w, r)
	}))
	o := newOrganisation(t).with(map[string]any{"url": gate.URL, "token": connectors.NewSecret("t0ken")})
	w := o.writer(t)

	d, err := w.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !schemas.Match(d.Types[0].Privileged, "t-00") {
		t.Error("the server does not say who holds administrator roles, and its groups are ordinary ones")
	}
	all := schemas.Selection{Scope: map[string][]string{"group": {"t-*"}}}
	state, err := w.Read(t.Context(), all)
	if err != nil || len(state.Connections) != groups {
		t.Fatalf("%d connections, %v, want %d", len(state.Connections), err, groups)
	}
	if got := state.Connections[7]; got.SourceName != "t-07" || got.Payload["description"] != "seeded" || got.Protected != "" {
		t.Errorf("got %+v", got)
	}
	if got := read(t, w, "Everyone"); len(got) != 1 || got[0].Protected == "" || len(got[0].Entitlements) != 1 {
		t.Errorf("got %+v, want Okta's own group, protected, with its member", got)
	}
	page, err := w.List(t.Context(), connectors.Query{Type: "user"})
	if err != nil || len(page.Items) < users {
		t.Errorf("%d users, %v, want at least %d", len(page.Items), err, users)
	}
	page, err = w.List(t.Context(), connectors.Query{Type: "application"})
	if err != nil || !slices.ContainsFunc(page.Items, func(i schemas.Item) bool { return i.SourceName == "Wiki" && i.Protected == "" }) {
		t.Errorf("applications %+v, %v, want Wiki among them", page.Items, err)
	}

	made, alice, bob := named("group", "made"), named("user", "user0@acme.test"), named("user", "user1@acme.test")
	create, update := change("create", made.SourceName), change("update", made.SourceName)
	create.After, update.After = map[string]any{"description": "one"}, map[string]any{"description": "two"}
	twice := func(ops ...schemas.Operation) {
		t.Helper()
		for range 2 {
			for _, op := range ops {
				if err := apply(t, w, op); err != nil {
					t.Fatalf("%s: %v", op.Kind, err)
				}
			}
		}
	}
	if err := apply(t, w, create); err != nil {
		t.Fatal(err)
	}
	twice(update, change("grant", made.SourceName, alice), change("grant", made.SourceName, bob))
	want := []schemas.Entitlement{{Target: alice, Privilege: "MEMBER"}, {Target: bob, Privilege: "MEMBER", State: schemas.StateBlocked}}
	got := read(t, w, made.SourceName)[0]
	for i := range got.Entitlements {
		got.Entitlements[i].TargetID = ""
	}
	if diff := cmp.Diff(want, got.Entitlements); diff != "" || got.Payload["description"] != "two" {
		t.Errorf("%v (-want +got):\n%s", got.Payload, diff)
	}
	refused(t, apply(t, w, change("grant", made.SourceName, named("user", "nobody@acme.test"))), connectors.NotFound)
	refused(t, apply(t, w, change("grant", "Everyone", alice)), connectors.Denied)
	twice(change("revoke", made.SourceName, alice), change("revoke", made.SourceName, named("user", "nobody@acme.test")))
	if got := read(t, w, made.SourceName)[0].Entitlements; len(got) != 1 || got[0].Target != bob {
		t.Errorf("got %+v, want %s alone", got, bob)
	}
	twice(change("delete", made.SourceName))
	if got := read(t, w, made.SourceName); len(got) > 0 {
		t.Errorf("got %+v after the deletion", got)
	}
	if after, err := w.Read(t.Context(), all); err != nil || !cmp.Equal(after, state) {
		t.Errorf("others changed (-before +after): %v\n%s", err, cmp.Diff(state, after))
	}
}
