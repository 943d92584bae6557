package scim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/scim"
	"github.com/countersign/countersign/schemas"
)

// testToken is the token of the servers in this process.
const testToken = "a-token-of-the-tests"

// protectedGroup is the word of the group that the tests' config protects.
const protectedGroup = "keepers"

// application is one SCIM server with somebody who works in it by hand.
type application struct {
	cfg    connectors.Config
	direct string // where the server's own API begins, without quirks
	token  string
	again  func(t connectortest.TB) connectortest.Application // as another case reaches it
	// hidden is the id of the user whom the service doesn't show, as some do with those who are deactivated. It is nil where
	// the connector reaches the service directly.
	hidden *atomic.Value
}

var (
	_ connectortest.Application    = (*application)(nil)
	_ connectortest.Breaker        = (*application)(nil)
	_ connectortest.IdentityStater = (*application)(nil)
	_ connectortest.Protector      = (*application)(nil)
	_ connectortest.Hider          = (*application)(nil)
)

// newApplication is the server at direct, seen by the connector through quirks.
func newApplication(t connectortest.TB, direct, token string, values map[string]any, quirks ...quirk) *application {
	t.Helper()
	address := direct
	var hidden *atomic.Value
	if strings.Contains(t.Name(), "unresolved_members") {
		hidden = &atomic.Value{}
		quirks = append(slices.Clone(quirks), hiding(hidden, http.StatusNotFound))
	}
	if len(quirks) > 0 {
		address = front(t, direct, quirks...)
	}
	all := map[string]any{"url": address, "token": connectors.NewSecret(token), "protected": []any{protectedGroup}, "settle": "100ms"}
	if strings.Contains(t.Name(), "more_than_a_page") {
		all["page_size"] = 20 // a world of a few pages
	}
	for k, v := range values {
		if all[k] = v; v == nil {
			delete(all, k)
		}
	}
	return &application{direct: direct, token: token, hidden: hidden,
		cfg: connectors.Config{Application: "scim", Values: all, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}}
}

// onSCIMMY starts applications in one server.
func onSCIMMY(server *servers.SCIM, values map[string]any, quirks ...quirk) func(t connectortest.TB) connectortest.Application {
	var n atomic.Int64
	return func(t connectortest.TB) connectortest.Application {
		name := fmt.Sprintf("app%d-%s", n.Add(1), strings.ReplaceAll(url.PathEscape(t.Name()), "/", "."))
		return newApplication(t, server.URL(url.PathEscape(name)), server.Token, values, quirks...)
	}
}

// onElimity starts a server for each application.
func onElimity(values map[string]any, quirks ...quirk) func(t connectortest.TB) connectortest.Application {
	return func(t connectortest.TB) connectortest.Application {
		return newApplication(t, elimityServer(t), testToken, values, quirks...)
	}
}

func (a *application) Config() connectors.Config { return a.cfg }

func (a *application) Name(word string) string { return word }

// do is the outside hand's request. It returns nil where the thing is not there.
func (a *application) do(t connectortest.TB, method, path string, body any) map[string]any {
	t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, a.direct+"/"+path, in)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	req.Header.Set("Content-Type", "application/scim+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusNotFound {
		return nil
	}
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s: status %d: %s", method, path, resp.StatusCode, b)
	}
	out := map[string]any{}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &out); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, b)
		}
	}
	return out
}

func endpoint(typ string) (path, key string) {
	switch typ {
	case "group":
		return "Groups", "displayName"
	case "service_principal":
		return "ServicePrincipals", "applicationId"
	}
	return "Users", "userName"
}

// id finds something by its name, or returns "".
func (a *application) id(t connectortest.TB, n schemas.Name) string {
	t.Helper()
	path, key := endpoint(n.Type)
	for start := 1; ; {
		page := a.do(t, http.MethodGet, path+"?count=50&startIndex="+strconv.Itoa(start), nil)
		list, _ := page["Resources"].([]any)
		for _, r := range list {
			if object(r)[key] == n.SourceName {
				return fmt.Sprint(object(r)["id"])
			}
		}
		// Beyond its end, SCIMMY answers with the first page again.
		if start += len(list); float64(start) > page["totalResults"].(float64) {
			return ""
		}
	}
}

func (a *application) AddIdentity(t connectortest.TB, typ, word string) schemas.Name {
	t.Helper()
	return a.add(t, schemas.Name{Type: typ, SourceName: "u:" + word})
}

func (a *application) add(t connectortest.TB, n schemas.Name) schemas.Name {
	t.Helper()
	path, key := endpoint(n.Type)
	if a.id(t, n) == "" {
		body := map[string]any{key: n.SourceName}
		if n.Type != "group" {
			body["active"] = true
		}
		body["schemas"] = []any{"urn:ietf:params:scim:schemas:core:2.0:" + strings.TrimSuffix(path, "s")}
		if n.Type == "service_principal" {
			body["schemas"] = []any{principalSchema}
		}
		a.do(t, http.MethodPost, path, body)
	}
	return n
}

func (a *application) RemoveIdentity(t connectortest.TB, n schemas.Name) { a.DropConnection(t, n) }

func (a *application) AddResource(connectortest.TB, string, string) (schemas.Name, bool) {
	return schemas.Name{}, false
}

func (a *application) AddConnection(t connectortest.TB, n schemas.Name) { a.add(t, n) }

func (a *application) DropConnection(t connectortest.TB, n schemas.Name) {
	t.Helper()
	path, _ := endpoint(n.Type)
	a.do(t, http.MethodDelete, path+"/"+url.PathEscape(a.id(t, n)), nil)
}

func (a *application) patch(t connectortest.TB, k schemas.Key, op map[string]any) {
	t.Helper()
	a.do(t, http.MethodPatch, "Groups/"+url.PathEscape(a.id(t, k.Connection)), map[string]any{
		"schemas": []any{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": []any{op}})
}

func (a *application) Grant(t connectortest.TB, k schemas.Key) {
	t.Helper()
	value := map[string]any{"value": a.id(t, k.Target)}
	if k.Target.Type == "group" {
		value["type"] = "Group"
	}
	a.patch(t, k, map[string]any{"op": "add", "path": "members", "value": []any{value}})
}

func (a *application) Revoke(t connectortest.TB, k schemas.Key) {
	t.Helper()
	a.patch(t, k, map[string]any{"op": "remove", "path": fmt.Sprintf("members[value eq %q]", a.id(t, k.Target))})
}

func (a *application) SetIdentityState(t connectortest.TB, n schemas.Name, state schemas.EntitlementState) bool {
	t.Helper()
	if state != schemas.StateBlocked {
		return false
	}
	path, _ := endpoint(n.Type)
	path += "/" + url.PathEscape(a.id(t, n))
	u := a.do(t, http.MethodGet, path, nil)
	delete(u, "meta")
	u["active"] = false
	a.do(t, http.MethodPut, path, u)
	return true
}

func (a *application) Hide(t connectortest.TB, n schemas.Name, hidden bool) bool {
	t.Helper()
	if n.Type != "user" || a.hidden == nil || a.cfg.Values["profile"] == "aws_identity_center" {
		return false // that service never lists members: each user is asked about
	}
	a.hidden.Store("")
	if hidden {
		a.hidden.Store(a.id(t, n))
	}
	return true
}

func (a *application) Protected(t connectortest.TB) schemas.Name {
	t.Helper()
	return a.add(t, schemas.Name{Type: "group", SourceName: protectedGroup})
}

func (a *application) with(values map[string]any) connectors.Config {
	cfg := a.cfg
	cfg.Values = map[string]any{}
	for k, v := range a.cfg.Values {
		cfg.Values[k] = v
	}
	for k, v := range values {
		if cfg.Values[k] = v; v == nil {
			delete(cfg.Values, k)
		}
	}
	return cfg
}

// Break puts servers before this one that do not tell all.
func (a *application) Break(connectortest.TB) []connectortest.Broken {
	before, _ := a.cfg.Values["url"].(string)
	through := func(name string, q quirk) connectortest.Broken {
		return connectortest.Broken{Name: name, Start: func(t connectortest.TB) connectors.Config {
			return a.with(map[string]any{"url": front(t, before, q), "retries": 0, "timeout": "5m"})
		}}
	}
	lists := func(change func(m map[string]any, r request)) quirk {
		return func(r request, ask func(request) answer) answer {
			got := ask(r)
			if r.list() && got.status == 200 {
				change(object(got.body), r)
			}
			return got
		}
	}
	var calls atomic.Int64
	broken := []connectortest.Broken{
		through("no answer", func(request, func(request) answer) answer { return refusal(503, "", "down") }),
		through("users are kept from us", func(r request, ask func(request) answer) answer {
			if strings.HasPrefix(r.path, "Users") {
				return refusal(403, "", "not for you")
			}
			return ask(r)
		}),
		through("resources without ids", lists(func(m map[string]any, _ request) {
			for _, r := range m["Resources"].([]any) {
				delete(object(r), "id")
			}
		})),
		through("another language", func(r request, ask func(request) answer) answer {
			if r.list() {
				return answer{status: 200, body: []any{"hello"}}
			}
			return ask(r)
		}),
		{Name: "the web page of a proxy", Start: func(t connectortest.TB) connectors.Config {
			srv := network.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, "<html>please log in</html>")
			}))
			return a.with(map[string]any{"url": srv.URL, "retries": 0})
		}},
	}
	if a.cfg.Values["profile"] == "aws_identity_center" {
		return append(broken, through("cursors in a circle", lists(func(m map[string]any, _ request) { m["nextCursor"] = "0" })))
	}
	return append(broken,
		through("fewer than the total", lists(func(m map[string]any, _ request) { m["Resources"] = []any{} })),
		through("more than the total", lists(func(m map[string]any, _ request) { m["totalResults"] = 0 })),
		through("no total", lists(func(m map[string]any, _ request) { delete(m, "totalResults") })),
		through("a total that changes", lists(func(m map[string]any, _ request) { m["totalResults"] = 1000 + calls.Add(1) })),
		through("the first page again and again", func(r request, ask func(request) answer) answer {
			r.query.Del("startIndex")
			got := ask(r)
			if r.list() && got.status == 200 {
				object(got.body)["totalResults"] = 1000
			}
			return got
		}))
}

func harness(start func(t connectortest.TB) connectortest.Application) connectortest.Harness {
	change := func(values map[string]any) func(connectortest.TB, connectors.Config) connectors.Config {
		return func(_ connectortest.TB, cfg connectors.Config) connectors.Config {
			app := application{cfg: cfg}
			return app.with(values)
		}
	}
	canary := connectors.NewSecret(connectortest.Canary)
	return connectortest.Harness{
		Connector: scim.New(), Start: start, BeyondPages: 45, Many: 400, // see newApplication
		Payloads: map[string][2]map[string]any{"group": {{"external_id": "ext-1"}, {"external_id": "Ä \"2\" \\"}}},
		Faulty: []connectortest.Faulty{
			{Name: "wrong token", Config: change(map[string]any{"token": canary}), Code: connectors.Denied},
			{Name: "wrong password", Config: change(map[string]any{"token": nil, "username": "planner", "password": canary}), Code: connectors.Denied},
			{Name: "no credential", Config: change(map[string]any{"token": nil}), Code: connectors.Invalid},
			{Name: "two credentials", Config: change(map[string]any{"username": "planner", "password": canary}), Code: connectors.Invalid},
			{Name: "a user without password", Config: change(map[string]any{"token": nil, "username": "planner"}), Code: connectors.Invalid},
			{Name: "no address", Config: change(map[string]any{"url": nil}), Code: connectors.Invalid},
			{Name: "a password in the address", Config: change(map[string]any{"url": "https://somebody:something@scim.example.test"}), Code: connectors.Invalid},
			{Name: "http beyond this machine", Config: change(map[string]any{"url": "http://scim.example.test"}), Code: connectors.Invalid},
			{Name: "nobody answers", Config: change(map[string]any{"url": "http://127.0.0.1:1", "retries": 0}), Code: connectors.Unavailable},
			{Name: "unknown profile", Config: change(map[string]any{"profile": "acme"}), Code: connectors.Invalid},
			{Name: "unknown setting", Config: change(map[string]any{"dsn": canary}), Code: connectors.Invalid},
			{Name: "a timeout of no length", Config: change(map[string]any{"timeout": "0s"}), Code: connectors.Invalid},
			{Name: "a certificate that is none", Config: change(map[string]any{"ca_file": "/dev/null"}), Code: connectors.Invalid},
		},
	}
}

func scimmy(t connectortest.TB) *servers.SCIM {
	t.Helper()
	return servers.SCIMMY(t, "testdata/scimmy/server.mjs")
}

// patchOff is a server without PATCH.
func patchOff() []quirk {
	return []quirk{says("patch", map[string]any{"supported": false}), refuses(http.MethodPatch)}
}

// The whole suite, on both servers as they are, and on each as the applications that profiles describe.
func TestConformance(t *testing.T) {
	t.Parallel()
	server := scimmy(t)
	profile := func(name string) map[string]any { return map[string]any{"profile": name} }
	for _, c := range []struct {
		name  string
		start func(t connectortest.TB) connectortest.Application
	}{
		{name: "SCIMMY", start: onSCIMMY(server, nil)},
		{name: "elimity", start: onElimity(nil)},
		{name: "PUT only", start: func(t connectortest.TB) connectortest.Application {
			// Where two write at once, the wait is long enough for a slow machine; elsewhere nobody interferes.
			settle := "1ms"
			if strings.Contains(t.Name(), "two_writers") {
				settle = "400ms"
			}
			return onElimity(map[string]any{"settle": settle}, patchOff()...)(t)
		}},
		{name: "no filters", start: onElimity(nil, says("filter", map[string]any{"supported": false}), filters())},
		{name: "AWS IAM Identity Center", start: onElimity(profile("aws_identity_center"), membersByFilter, pagesByCursor(100), changesAtMost(100),
			refuses(http.MethodPut), filters(`displayName eq "[^"]*"`, `externalId eq "[^"]*"`, `userName eq "[^"]*"`, inFilter.String()))},
		{name: "Databricks, with no members in lists", start: onElimity(profile("databricks"), listsWithoutMembers, lowersUserNames)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			connectortest.Run(t, harness(c.start))
		})
	}
}
