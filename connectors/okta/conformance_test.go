package okta_test

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/okta"
	"github.com/countersign/countersign/schemas"
)

func harness() connectortest.Harness {
	with := func(key string, value any) func(connectortest.TB, connectors.Config) connectors.Config {
		return func(_ connectortest.TB, cfg connectors.Config) connectors.Config {
			values := map[string]any{"url": cfg.Values["url"], "token": cfg.Values["token"]}
			if values[key] = value; value == nil {
				delete(values, key)
			}
			cfg.Values = values
			return cfg
		}
	}
	return connectortest.Harness{
		Connector: okta.New(),
		Start:     func(t connectortest.TB) connectortest.Application { return newOrganisation(t) },
		Payloads: map[string][2]map[string]any{"group": {
			{"description": "Readers of sales"},
			{"description": " 100% of \"it\",\nin #2 lines; ünï "},
		}},
		Faulty: []connectortest.Faulty{
			{Name: "no address", Config: with("url", nil), Code: connectors.Invalid},
			{Name: "plain HTTP", Config: with("url", "http://acme.okta.test"), Code: connectors.Invalid},
			{Name: "a credential in the address", Config: with("url", "https://user:password@acme.okta.test"), Code: connectors.Invalid},
			{Name: "no credential", Config: with("token", nil), Code: connectors.Invalid},
			{Name: "a literal secret", Config: with("token", "literal"), Code: connectors.Invalid},
			{Name: "a wrong token", Config: with("token", connectors.NewSecret(connectortest.Canary+"-wrong")), Code: connectors.Denied},
			{Name: "two credentials", Config: with("client_id", "0oa1"), Code: connectors.Invalid},
			{Name: "half a service app for applying", Config: with("apply_client_id", "0oa1"), Code: connectors.Invalid},
			{Name: "unknown setting", Config: with("password", connectors.NewSecret(connectortest.Canary)), Code: connectors.Invalid},
			{Name: "malformed timeout", Config: with("timeout", "soon"), Code: connectors.Invalid},
			{Name: "unknown on_rule", Config: with("on_rule", "ignore"), Code: connectors.Invalid},
			{Name: "missing CA file", Config: with("ca_file", "/nowhere/ca.pem"), Code: connectors.Invalid},
			{Name: "CA file out of the repository", Config: with("ca_file", "../ca.pem"), Code: connectors.Invalid},
			{Name: "nobody there", Config: with("url", "http://127.0.0.1:1"), Code: connectors.Unavailable},
			{Name: "a key that is none", Config: func(t connectortest.TB, cfg connectors.Config) connectors.Config {
				cfg.Values = map[string]any{"url": cfg.Values["url"], "client_id": "0oa1", "private_key": connectors.NewSecret(connectortest.Canary)}
				return cfg
			}, Code: connectors.Invalid},
		},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, harness())
}

// organisation is a server with somebody who changes its state without asking the API.
type organisation struct {
	*server
	cfg   connectors.Config
	roles map[string]string // standard roles by the word that the suite asked with
}

var (
	_ connectortest.Application    = (*organisation)(nil)
	_ connectortest.Breaker        = (*organisation)(nil)
	_ connectortest.IdentityStater = (*organisation)(nil)
	_ connectortest.Owner          = (*organisation)(nil)
	_ connectortest.Protector      = (*organisation)(nil)
	_ connectortest.Renamer        = (*organisation)(nil)
)

func newOrganisation(t connectortest.TB) *organisation {
	t.Helper()
	s := newServer(t, connectortest.Canary)
	return &organisation{server: s, roles: map[string]string{}, cfg: connectors.Config{Application: "acme", Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Values: map[string]any{"url": s.http.URL, "token": connectors.NewSecret(connectortest.Canary), "timeout": "5m"}}}
}

func (o *organisation) Config() connectors.Config { return o.cfg }
func (o *organisation) Name(word string) string   { return "t-" + word }

func (o *organisation) AddIdentity(t connectortest.TB, typ, word string) schemas.Name {
	o.mu.Lock()
	defer o.mu.Unlock()
	login := strings.ToLower(word) + "@acme.test"
	if !slices.ContainsFunc(o.users, func(u *userState) bool { return strings.EqualFold(u.login, login) }) {
		// Okta keeps the spelling of a login, and compares without case.
		first, size := utf8.DecodeRuneInString(login)
		o.users = append(o.users, &userState{id: o.id("00u"), login: string(unicode.ToUpper(first)) + login[size:], status: "ACTIVE"})
	}
	return schemas.Name{Type: typ, SourceName: login}
}

func (o *organisation) RemoveIdentity(t connectortest.TB, n schemas.Name) {
	o.mu.Lock()
	defer o.mu.Unlock()
	gone := o.user(n.SourceName)
	o.users = slices.DeleteFunc(o.users, func(u *userState) bool { return u == gone })
	for _, g := range o.groups {
		g.members = slices.DeleteFunc(g.members, func(m *memberState) bool { return m.user == gone.id })
	}
}

func (o *organisation) Rename(_ connectortest.TB, n schemas.Name, word string) (schemas.Name, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	to := schemas.Name{Type: n.Type, SourceName: word}
	switch n.Type {
	case "user":
		to.SourceName = strings.ToLower(word) + "@acme.test"
		o.user(n.SourceName).login = to.SourceName
	case "application":
		o.labelled(n.SourceName).label = to.SourceName
	case "group":
		to.SourceName = o.Name(word)
		o.named(n.SourceName).name = to.SourceName
	default:
		return n, false
	}
	return to, true
}

func (o *organisation) SetIdentityState(t connectortest.TB, n schemas.Name, state schemas.EntitlementState) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.user(n.SourceName).status = map[schemas.EntitlementState]string{schemas.StateInvited: "PROVISIONED", schemas.StateBlocked: "SUSPENDED", schemas.StateExpired: "PASSWORD_EXPIRED"}[state]
	return true
}

func (o *organisation) AddResource(t connectortest.TB, typ, word string) (schemas.Name, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := schemas.Name{Type: typ, SourceName: word}
	if typ == "admin_role" {
		standard := []string{"APP_ADMIN", "GROUP_MEMBERSHIP_ADMIN", "HELP_DESK_ADMIN", "MOBILE_ADMIN", "ORG_ADMIN", "READ_ONLY_ADMIN", "REPORT_ADMIN", "SUPER_ADMIN"}
		if o.roles[word] == "" && len(o.roles) < len(standard) {
			o.roles[word] = standard[len(o.roles)]
		}
		n.SourceName = o.roles[word]
		return n, n.SourceName != ""
	}
	if !slices.ContainsFunc(o.apps, func(a *appState) bool { return a.label == word }) {
		o.apps = append(o.apps, &appState{id: o.id("0oa"), name: "bookmark", label: word})
	}
	return n, true
}

func (o *organisation) named(name string) *groupState {
	i := slices.IndexFunc(o.groups, func(g *groupState) bool { return g.name == name })
	if i < 0 {
		o.t.Fatalf("there is no group %q", name)
	}
	return o.groups[i]
}

func (o *organisation) labelled(label string) *appState {
	i := slices.IndexFunc(o.apps, func(a *appState) bool { return a.label == label })
	if i < 0 {
		o.t.Fatalf("there is no application %q", label)
	}
	return o.apps[i]
}

func (o *organisation) AddConnection(t connectortest.TB, n schemas.Name) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.groups = append(o.groups, &groupState{id: o.id("00g"), kind: "OKTA_GROUP", name: n.SourceName})
}

func (o *organisation) DropConnection(t connectortest.TB, n schemas.Name) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropGroup(o.named(n.SourceName))
}

func (o *organisation) Grant(t connectortest.TB, k schemas.Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	g := o.named(k.Connection.SourceName)
	switch k.Target.Type {
	case "user":
		g.members = append(g.members, &memberState{user: o.user(k.Target.SourceName).id})
	case "application":
		a := o.labelled(k.Target.SourceName)
		a.groups = append(a.groups, &assignmentState{group: g.id, priority: 7, profile: map[string]any{"role": "editor"}})
	case "admin_role":
		g.roles = append(g.roles, &roleState{id: o.id("gra"), kind: k.Target.SourceName, label: k.Target.SourceName})
	}
}

func (o *organisation) Revoke(t connectortest.TB, k schemas.Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	g := o.named(k.Connection.SourceName)
	switch k.Target.Type {
	case "user":
		id := o.user(k.Target.SourceName).id
		g.members = slices.DeleteFunc(g.members, func(m *memberState) bool { return m.user == id })
	case "application":
		a := o.labelled(k.Target.SourceName)
		a.groups = slices.DeleteFunc(a.groups, func(s *assignmentState) bool { return s.group == g.id })
	case "admin_role":
		g.roles = slices.DeleteFunc(g.roles, func(r *roleState) bool { return r.kind == k.Target.SourceName })
	}
}

func (o *organisation) addRule(name, status, expression string, groups ...string) *ruleState {
	rule := &ruleState{id: o.id("0pr"), name: name, status: status, expression: expression, groups: groups, excluded: []string{}}
	o.rules = append(o.rules, rule)
	return rule
}

func (o *organisation) Own(t connectortest.TB, c schemas.Name) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for range o.page { // the rule that matters stands on another page
		o.addRule("Others", "ACTIVE", `user.department=="x"`, o.groups[0].id)
	}
	o.addRule("Everybody in sales", "ACTIVE", `user.department=="Sales"`, o.named(c.SourceName).id)
}

func (o *organisation) Protected(t connectortest.TB) schemas.Name {
	n := schemas.Name{Type: "group", SourceName: o.Name("directory")}
	o.AddConnection(t, n)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.named(n.SourceName).kind = "APP_GROUP"
	return n
}

// Break makes answers that are no whole state, each in the place of one kind of request.
func (o *organisation) Break(t connectortest.TB) []connectortest.Broken {
	o.AddResource(t, "application", "beside")
	o.AddConnection(t, schemas.Name{Type: "group", SourceName: o.Name("beside")})
	o.AddConnection(t, schemas.Name{Type: "group", SourceName: o.Name("beside it")})
	in := func(name, path, query string, h http.HandlerFunc) connectortest.Broken {
		return connectortest.Broken{Name: name, Start: func(t connectortest.TB) connectors.Config {
			o.setFault(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, path) || !strings.Contains(r.URL.RawQuery, query) {
					return false
				}
				w.Header().Set("Content-Type", "application/json")
				h(w, r)
				return true
			})
			return o.cfg
		}}
	}
	say := func(status int, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Add(header[i], header[i+1])
			}
			w.WriteHeader(status)
			if _, err := w.Write([]byte(body)); err != nil {
				t.Logf("%v", err)
			}
		}
	}
	const one = `[{"id": "00g9", "type": "OKTA_GROUP", "profile": {"name": "one"}}]`
	const denied = `{"errorCode": "E0000006", "errorSummary": "You do not have permission to perform the requested action"}`
	broken := []connectortest.Broken{
		in("no group", "/groups", "", say(200, `[]`)),
		in("null", "/groups", "", say(200, `null`)),
		in("an object", "/groups", "", say(200, `{}`)),
		in("cut short", "/groups", "", say(200, one[:len(one)-1])),
		in("nothing", "/groups", "", say(200, ``)),
		in("a page of another program", "/groups", "", say(200, `<html>Please log in</html>`)),
		in("a redirect", "/groups", "", say(302, ``, "Location", "https://elsewhere.test/")),
		in("a group without a name", "/groups", "", say(200, `[{"id": "00g9", "type": "OKTA_GROUP", "profile": {}}]`)),
		in("a group without an id", "/groups", "", say(200, `[{"type": "OKTA_GROUP", "profile": {"name": "x"}}]`)),
		in("the next page at another host", "/groups", "", say(200, one, "Link", `<https://elsewhere.test/api/v1/groups?after=1>; rel="next"`)),
		in("the next page of another list", "/groups", "", say(200, one, "Link", "<"+o.http.URL+`/api/v1/users?after=1>; rel="next"`)),
		in("two next pages", "/groups", "", say(200, one, "Link", "<"+o.http.URL+`/api/v1/groups?after=1>; rel="next"`, "Link", "<"+o.http.URL+`/api/v1/groups?after=2>; rel="next"`)),
		in("pages without end", "/groups", "", say(200, one, "Link", "<"+o.http.URL+`/api/v1/groups?after=1>; rel="next"`)),
		in("a link that is none", "/groups", "", say(200, one, "Link", `next page, please`)),
		in("a link that does not close", "/groups", "", say(200, one, "Link", `<`+o.http.URL+`/api/v1/groups?after=1; rel="next"`)),
		in("the second page denied", "/groups", "after=", say(403, denied)),
		in("the second page gone", "/groups", "after=", say(404, `{"errorCode": "E0000007", "errorSummary": "Not found"}`)),
		in("members denied", "/users", "", say(403, denied)),
		in("members not there", "/users", "", say(404, `<html>404</html>`)),
		in("members that Okta does not find", "/users", "", say(404, `{"errorCode": "E0000007", "errorSummary": "Not found"}`)),
		in("members null", "/users", "", say(200, `null`)),
		in("a member without a login", "/users", "", say(200, `[{"id": "00u9", "status": "ACTIVE", "profile": {}}]`)),
		in("members not implemented", "/users", "", say(501, ``)),
		in("applications denied", "/apps", "", say(403, denied)),
		in("applications without a label", "/apps", "", say(200, `[{"id": "0oa1"}]`)),
		in("applications moved", "/apps", "", say(404, `{"message": "no route"}`)),
		in("roles denied", "/roles", "", say(403, denied)),
		in("roles null", "/roles", "", say(200, `null`)),
		in("roles without a type", "/roles", "", say(200, `[{"id": "gra1"}]`)),
	}
	return broken
}
