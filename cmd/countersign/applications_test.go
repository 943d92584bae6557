package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/mysql"
	"github.com/countersign/countersign/schemas"
)

var long = flag.Bool("long", false, "give each of the four applications 100 requests, not 20, and run every command for each misplaced secret")

// perApplication is how many requests each of the four applications gets. Each has as many accounts.
func perApplication() int {
	if *long {
		return 100
	}
	return 20
}

// estate is one application of a company: where its control file comes from, what a request to it looks like, and
// somebody who changes it by hand.
type estate struct {
	name, typ   string
	application string
	user        func(i int) string // the account's name in the application
	payload     string             // of a creation, "" for none
	grants      func(i int) string // besides the user
	// byHand are changes behind countersign's back; connections 0 to 9 of the application have one each.
	byHand map[handmadeKind]func(t *testing.T)
}

type handmadeKind string

const (
	handDrops   handmadeKind = "a connection dropped"
	handAdds    handmadeKind = "a membership added"
	handRemoves handmadeKind = "a membership removed"
	handAlters  handmadeKind = "an attribute or a privilege changed"
)

func (e *estate) connection(i int) string { return fmt.Sprintf("%s_c%02d", e.name, i) }

func (e *estate) request(i int) string {
	payload := ""
	if e.payload != "" {
		payload = "\n  payload: " + e.payload
	}
	return fmt.Sprintf(`apiVersion: countersign.dev/v1
kind: ConnectionCreation
metadata: {name: %[1]s, reason: The quarterly dashboards need it}
spec:
  application: %[2]s
  connection: {type: %[3]s, source_name: %[4]s}%[5]s
---
apiVersion: countersign.dev/v1
kind: ConnectionAssignment
metadata: {name: %[1]s-access, reason: The quarterly dashboards need it}
spec:
  application: %[2]s
  connection: {type: %[3]s, source_name: %[4]s}
  grants:
    - {type: user, source_name: %[6]q}
%[7]s`, strings.ReplaceAll(e.connection(i), "_", "-"), e.name, e.typ, e.connection(i), payload, e.user(i), e.grants(i))
}

func control(name, connector, config, scope, grantable string) string {
	return fmt.Sprintf(`apiVersion: countersign.dev/v1
kind: Application
metadata: {name: %[1]s}
spec:
  connector: %[2]s
  config: %[3]s
  owners: [user:bob@acme.test]
  scope: {%[4]s: ["%[1]s_c*"]}
  grantable: %[5]s
  unmanaged: revoke
`, name, connector, config, scope, grantable)
}

// warehouseEstate is a PostgreSQL database.
func warehouseEstate(t *testing.T) *estate {
	t.Helper()
	w := warehouse{"warehouse", servers.PostgreSQL(t)}
	w.prepare(t, perApplication())
	t.Setenv("FOUR_WAREHOUSE_PLAN", w.server.DSN("warehouse_plan", "warehouse"))
	t.Setenv("FOUR_WAREHOUSE_APPLY", w.server.DSN("warehouse_apply", "warehouse"))
	e := &estate{name: "warehouse", typ: "role", user: w.user, payload: "{comment: Readers}",
		application: control("warehouse", "postgres", "{dsn: {env: FOUR_WAREHOUSE_PLAN}, apply_dsn: {env: FOUR_WAREHOUSE_APPLY}}", "role",
			`{user: ["*"], role: ["warehouse_c*"], schema: [sales], table: ["sales.*"]}`)}
	e.grants = func(i int) string {
		s := fmt.Sprintf("    - {type: schema, source_name: sales, privileges: [USAGE]}\n    - {type: table, source_name: sales.t%d, privileges: [SELECT, INSERT]}\n", i%10)
		if i%5 != 0 {
			s += fmt.Sprintf("    - {type: role, source_name: %s}\n", e.connection(i/5*5))
		}
		return s
	}
	by := func(text string) func(*testing.T) {
		return func(t *testing.T) { t.Helper(); w.server.Exec(t, "warehouse", text) }
	}
	e.byHand = map[handmadeKind]func(*testing.T){
		handDrops:   by("DROP OWNED BY warehouse_c01; DROP ROLE warehouse_c01"),
		handAdds:    by("GRANT warehouse_c02 TO warehouse_u15"),
		handRemoves: by("REVOKE warehouse_c03 FROM warehouse_u03"),
		handAlters:  by("ALTER ROLE warehouse_c04 CREATEDB"),
	}
	return e
}

// shopEstate is a MariaDB server, with the credentials of the connector's scripts.
func shopEstate(t *testing.T) *estate {
	t.Helper()
	s := servers.MariaDB(t)
	prepare := []string{"CREATE DATABASE sales"}
	for i := range 10 {
		prepare = append(prepare, fmt.Sprintf("CREATE TABLE sales.t%d (id int)", i))
	}
	for i := range perApplication() {
		prepare = append(prepare, fmt.Sprintf("CREATE USER 'shop_u%02d'@'%%'", i))
	}
	s.Exec(t, prepare...)
	d := mysql.New().Describe()
	s.Script(t, d.PlanScript)
	s.Script(t, d.ApplyScript)
	for _, who := range []string{"countersign_plan", "countersign_apply"} {
		s.Exec(t, "ALTER USER '"+who+"'@'%' IDENTIFIED BY 'secret-of-the-shop' ACCOUNT UNLOCK")
		t.Setenv("FOUR_"+strings.ToUpper(who), s.DSN(who, "secret-of-the-shop"))
	}
	s.Exec(t, "GRANT SELECT, INSERT, DELETE ON sales.* TO 'countersign_apply'@'%' WITH GRANT OPTION")
	e := &estate{name: "shop", typ: "role", user: func(i int) string { return fmt.Sprintf("shop_u%02d@%%", i) },
		application: control("shop", "mysql", "{dsn: {env: FOUR_COUNTERSIGN_PLAN}, apply_dsn: {env: FOUR_COUNTERSIGN_APPLY}, accounts_view: countersign.accounts}", "role",
			`{user: ["*"], role: ["shop_c*"], table: ["sales.*"]}`)}
	e.grants = func(i int) string {
		s := fmt.Sprintf("    - {type: table, source_name: sales.t%d, privileges: [SELECT, INSERT]}\n", i%10)
		if i%5 != 0 {
			s += fmt.Sprintf("    - {type: role, source_name: %s}\n", e.connection(i/5*5))
		}
		return s
	}
	// MariaDB lets nobody but the maker of a role grant it, not even root: the hand has got hold of that account.
	apply, err := sql.Open("mysql", s.DSN("countersign_apply", "secret-of-the-shop"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := apply.Close(); err != nil {
			t.Error(err)
		}
	})
	by := func(db *sql.DB, text string) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if _, err := db.ExecContext(t.Context(), text); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
		}
	}
	e.byHand = map[handmadeKind]func(*testing.T){
		handDrops:   by(s.DB, "DROP ROLE shop_c01"),
		handAdds:    by(apply, "GRANT shop_c02 TO 'shop_u15'@'%'"),
		handRemoves: by(apply, "REVOKE shop_c03 FROM 'shop_u03'@'%'"),
		handAlters:  by(s.DB, "GRANT DELETE ON sales.t4 TO shop_c04"),
	}
	return e
}

// corpEstate is an OpenLDAP directory, where accounts have what the connector's scripts give.
func corpEstate(t *testing.T) *estate {
	t.Helper()
	d := servers.OpenLDAP(t, servers.Slapd{Overlays: true})
	conn := d.Dial(t)
	add := func(dn string, attributes map[string][]string) {
		t.Helper()
		r := ldap.NewAddRequest(dn, nil)
		for k, v := range attributes {
			r.Attribute(k, v)
		}
		if err := conn.Add(r); err != nil {
			t.Fatalf("add %s: %v", dn, err)
		}
	}
	person := func(i int) string { return fmt.Sprintf("uid=corp_u%02d,ou=people,%s", i, d.Suffix) }
	for _, unit := range []string{"people", "groups"} {
		add("ou="+unit+","+d.Suffix, map[string][]string{"objectClass": {"organizationalUnit"}})
	}
	for i := range perApplication() {
		add(person(i), map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {"Somebody"}, "sn": {"Somebody"}})
	}
	t.Setenv("FOUR_CORP_PLAN", "countersign-plan")
	t.Setenv("FOUR_CORP_APPLY", "countersign-apply")
	e := &estate{name: "corp", typ: "group", user: func(i int) string { return fmt.Sprintf("corp_u%02d", i) }, payload: "{description: Readers}",
		application: control("corp", "ldap", fmt.Sprintf(`
    url: ldap://%[1]s
    base_dn: ou=groups,%[2]s
    user_base_dn: ou=people,%[2]s
    bind_dn: cn=countersign-plan,ou=services,%[2]s
    password: {env: FOUR_CORP_PLAN}
    apply_bind_dn: cn=countersign-apply,ou=services,%[2]s
    apply_password: {env: FOUR_CORP_APPLY}`, d.Address, d.Suffix), "group", `{user: ["*"], group: ["corp_c*"]}`)}
	e.grants = func(i int) string {
		if i%5 == 0 {
			return ""
		}
		return fmt.Sprintf("    - {type: group, source_name: %s}\n", e.connection(i/5*5))
	}
	group := func(i int) string { return fmt.Sprintf("cn=%s,ou=groups,%s", e.connection(i), d.Suffix) }
	modify := func(i int, change func(*ldap.ModifyRequest)) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			r := ldap.NewModifyRequest(group(i), nil)
			change(r)
			if err := d.Dial(t).Modify(r); err != nil {
				t.Fatalf("change %s: %v", group(i), err)
			}
		}
	}
	e.byHand = map[handmadeKind]func(*testing.T){
		handDrops: func(t *testing.T) {
			t.Helper()
			if err := d.Dial(t).Del(ldap.NewDelRequest(group(1), nil)); err != nil {
				t.Fatalf("delete %s: %v", group(1), err)
			}
		},
		handAdds:    modify(2, func(r *ldap.ModifyRequest) { r.Add("member", []string{person(15)}) }),
		handRemoves: modify(3, func(r *ldap.ModifyRequest) { r.Delete("member", []string{person(3)}) }),
		handAlters:  modify(4, func(r *ldap.ModifyRequest) { r.Replace("description", []string{"mine now"}) }),
	}
	return e
}

// saasEstate is an application that speaks SCIM.
func saasEstate(t *testing.T) *estate {
	t.Helper()
	s := servers.SCIMMY(t, "../../connectors/scim/testdata/scimmy/server.mjs")
	root := s.URL("saas")
	call := func(t *testing.T, method, path string, body any) map[string]any {
		t.Helper()
		var sent bytes.Buffer
		if body != nil {
			if err := json.NewEncoder(&sent).Encode(body); err != nil {
				t.Fatal(err)
			}
		}
		req, err := http.NewRequestWithContext(t.Context(), method, root+path, &sent)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.Token)
		req.Header.Set("Content-Type", "application/scim+json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode >= 300 {
			t.Fatalf("%s %s: status %d %s (%v)", method, path, resp.StatusCode, answer, err)
		}
		out := map[string]any{}
		if len(answer) > 0 {
			if err := json.Unmarshal(answer, &out); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	ids := map[int]string{}
	e := &estate{name: "saas", typ: "group", user: func(i int) string { return fmt.Sprintf("saas_u%02d", i) }, grants: func(int) string { return "" },
		application: control("saas", "scim", fmt.Sprintf("{url: %q, token: {env: FOUR_SAAS_TOKEN}}", root), "group", `{user: ["*"]}`)}
	for i := range perApplication() {
		id, ok := call(t, http.MethodPost, "/Users", map[string]any{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:User"}, "userName": e.user(i), "active": true})["id"].(string)
		if !ok {
			t.Fatal("a user without an id")
		}
		ids[i] = id
	}
	t.Setenv("FOUR_SAAS_TOKEN", s.Token)
	group := func(t *testing.T, i int) string {
		t.Helper()
		found := call(t, http.MethodGet, "/Groups?filter="+url.QueryEscape(fmt.Sprintf("displayName eq %q", e.connection(i))), nil)
		list, ok := found["Resources"].([]any)
		if !ok || len(list) != 1 {
			t.Fatalf("there are %d groups %s", len(list), e.connection(i))
		}
		g, ok := list[0].(map[string]any)
		if !ok {
			t.Fatal("a group is not an object")
		}
		return fmt.Sprint("/Groups/", g["id"])
	}
	patch := func(i int, operation map[string]any) func(*testing.T) {
		return func(t *testing.T) {
			t.Helper()
			call(t, http.MethodPatch, group(t, i), map[string]any{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": []any{operation}})
		}
	}
	e.byHand = map[handmadeKind]func(*testing.T){
		handDrops:   func(t *testing.T) { t.Helper(); call(t, http.MethodDelete, group(t, 1), nil) },
		handAdds:    patch(2, map[string]any{"op": "add", "path": "members", "value": []any{map[string]any{"value": ids[15]}}}),
		handRemoves: patch(3, map[string]any{"op": "remove", "path": fmt.Sprintf("members[value eq %q]", ids[3])}),
		handAlters:  patch(4, map[string]any{"op": "replace", "path": "externalId", "value": "mine-now"}),
	}
	return e
}

// TestFourApplications takes requests over PostgreSQL, MariaDB, OpenLDAP and SCIM, in one access repository, from pull
// requests to verified access; then the four are changed by hand, and drift finds and corrects each change.
func TestFourApplications(t *testing.T) {
	estates := []*estate{warehouseEstate(t), shopEstate(t), corpEstate(t), saasEstate(t)}
	estates[3].payload = "{external_id: from-git}"
	files := map[string]string{"countersign.yaml": settingsFile}
	people := peopleFile
	for i := range perApplication() {
		people += fmt.Sprintf("    - {login: p%02d, identities: {", i)
		for j, e := range estates {
			people += fmt.Sprintf("%s%s: [%q]", strings.Repeat(", ", min(j, 1)), e.name, e.user(i))
		}
		people += "}}\n"
	}
	files["people.yaml"] = people
	for _, e := range estates {
		files["applications/"+e.name+".yaml"] = e.application
	}
	w := newWorld(t, files)
	styles := []string{"merge", "squash", "rebase"}
	for n, i := 0, 0; i < perApplication(); i += 10 {
		for _, e := range estates {
			proposal := map[string]string{}
			for j := i; j < i+10; j++ {
				proposal[fmt.Sprintf("requests/%s/%03d.yaml", e.name, j)] = e.request(j)
			}
			w.now = w.now.Add(time.Minute)
			branch := fmt.Sprintf("%s-%d", e.name, i)
			w.propose(alice(), branch, proposal)
			w.merge(bob(), styles[n%3], branch, bob())
			n++
		}
	}
	w.must(0, "apply")
	w.must(0, "preview", "--exit-code")
	w.must(0, "drift", "--exit-code")
	requests := decode[schemas.StatusReport](t, w.must(0, "status", "--format", "json")).Requests
	for _, q := range requests {
		if q.Verification != "verified" {
			t.Errorf("request %s #%d is %s, want verified", q.Document.Path, q.Document.Index, q.Verification)
		}
	}
	if len(requests) != 2*perApplication()*len(estates) {
		t.Errorf("%d documents have a status, want %d", len(requests), 2*perApplication()*len(estates))
	}

	for _, kind := range []handmadeKind{handDrops, handAdds, handRemoves, handAlters} {
		w.now = w.now.Add(25 * time.Hour) // each on a day of its own: the daily budget is not what this is about
		for _, e := range estates {
			e.byHand[kind](t)
		}
		found := decode[schemas.RunReport](t, w.must(2, "drift", "--exit-code", "--format", "json"))
		for _, e := range estates {
			i := slices.IndexFunc(found.Applications, func(a schemas.ApplicationOutcome) bool { return a.Application == e.name })
			if i < 0 || len(found.Applications[i].Plan.Operations) == 0 {
				t.Errorf("%s in %s is not found", kind, e.name)
			}
		}
		w.must(0, "drift", "--enforce")
		w.must(0, "drift", "--exit-code")
	}
	w.must(0, "audit", "verify")
}
