package github_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/github"
	"github.com/countersign/countersign/schemas"
)

func harness() connectortest.Harness {
	with := func(key string, value any) func(connectortest.TB, connectors.Config) connectors.Config {
		return func(_ connectortest.TB, cfg connectors.Config) connectors.Config {
			if value == nil {
				delete(cfg.Values, key)
				return cfg
			}
			cfg.Values[key] = value
			return cfg
		}
	}
	canary := connectors.NewSecret(connectortest.Canary)
	return connectortest.Harness{
		Connector: github.New(),
		// Secret teams cannot lie within each other, which the suite has them do: privacy has tests of its own.
		Payloads: map[string][2]map[string]any{"organisation_role": {{}, {}}, "team": {
			{"description": "Readers of all", "privacy": "closed", "notifications": true},
			{"description": " 100% of it, \"quoted\"\nin #2 lines; ünï ", "privacy": "closed", "notifications": false},
		}},
		Start: func(t connectortest.TB) connectortest.Application { return &organisation{newHub(t)} },
		Faulty: []connectortest.Faulty{
			{Name: "wrong token", Config: with("token", canary), Code: connectors.Denied},
			{Name: "empty token", Config: with("token", connectors.NewSecret("")), Code: connectors.Invalid},
			{Name: "no token", Config: with("token", nil), Code: connectors.Invalid},
			{Name: "a token as plain text", Config: with("token", "x"), Code: connectors.Invalid},
			{Name: "another organisation", Config: with("organisation", "nobody"), Code: connectors.NotFound},
			{Name: "no organisation", Config: with("organisation", nil), Code: connectors.Invalid},
			{Name: "an organisation with a slash", Config: with("organisation", "a/b"), Code: connectors.Invalid},
			{Name: "token and App", Config: with("app_id", 1), Code: connectors.Invalid},
			{Name: "without TLS", Config: with("url", "http://192.0.2.1"), Code: connectors.Invalid},
			{Name: "a password in the address", Config: with("url", "https://user:password@github.test"), Code: connectors.Invalid},
			{Name: "nobody listens", Config: with("url", "http://127.0.0.1:1"), Code: connectors.Unavailable},
			{Name: "no time", Config: with("timeout", "0s"), Code: connectors.Invalid},
			{Name: "a missing CA file", Config: with("ca_file", "/nowhere/ca.pem"), Code: connectors.Invalid},
			{Name: "unknown setting", Config: with("dsn", canary), Code: connectors.Invalid},
			{Name: "an App's key that is none", Code: connectors.Invalid, Config: func(_ connectortest.TB, cfg connectors.Config) connectors.Config {
				delete(cfg.Values, "token")
				cfg.Values["app_id"], cfg.Values["installation_id"], cfg.Values["private_key"] = 1, 77, canary
				return cfg
			}},
		},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	connectortest.Run(t, harness())
}

// organisation is the hub with the outside hand.
type organisation struct{ *hub }

var (
	_ connectortest.Application    = (*organisation)(nil)
	_ connectortest.Breaker        = (*organisation)(nil)
	_ connectortest.IdentityStater = (*organisation)(nil)
	_ connectortest.Protector      = (*organisation)(nil)
	_ connectortest.Renamer        = (*organisation)(nil)
)

func (o *organisation) Config() connectors.Config {
	cfg := o.config()
	cfg.Values["organisation_roles"] = true
	return cfg
}

func (o *organisation) Name(word string) string { return "ours-" + word }

// title spells a name as people do, to see that the connector folds it.
func title(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

func (o *organisation) AddIdentity(_ connectortest.TB, typ, word string) schemas.Name {
	o.change(func() { o.user(title(word)).role = "member" })
	return schemas.Name{Type: typ, SourceName: strings.ToLower(word)}
}

func (o *organisation) Rename(_ connectortest.TB, n schemas.Name, word string) (schemas.Name, bool) {
	to := schemas.Name{Type: n.Type, SourceName: strings.ToLower(word)}
	o.change(func() {
		switch n.Type {
		case github.TypeUser:
			u := o.user(n.SourceName)
			delete(o.users, n.SourceName)
			u.login, o.users[to.SourceName] = title(word), u
		case github.TypeRepository:
			r := o.repo(n.SourceName)
			delete(o.repos, n.SourceName)
			r.name, o.repos[to.SourceName] = title(word), r
		case github.TypeTeam:
			to.SourceName = o.Name(strings.ReplaceAll(word, "_", "-"))
			x := o.team(n.SourceName)
			delete(o.hub.teams, n.SourceName)
			x.slug, x.name, o.hub.teams[to.SourceName] = to.SourceName, to.SourceName, x
		}
	})
	return to, n.Type != github.TypeOrganisationRole
}

func (o *organisation) RemoveIdentity(_ connectortest.TB, n schemas.Name) {
	o.change(func() {
		u := o.user(n.SourceName)
		u.role, u.asked = "", false
		for _, x := range o.hub.teams {
			delete(x.members, u)
			delete(x.invited, u)
		}
		for _, r := range o.roles {
			delete(r.users, u)
		}
	})
}

func (o *organisation) AddResource(_ connectortest.TB, typ, word string) (schemas.Name, bool) {
	o.change(func() { o.repo(title(word)) })
	return schemas.Name{Type: typ, SourceName: strings.ToLower(word)}, true
}

func (o *organisation) AddConnection(_ connectortest.TB, n schemas.Name) {
	o.change(func() {
		if n.Type == github.TypeOrganisationRole {
			o.orgRole(n.SourceName)
			return
		}
		o.team(n.SourceName)
	})
}

func (o *organisation) DropConnection(_ connectortest.TB, n schemas.Name) {
	o.change(func() { o.remove(o.team(n.SourceName)) })
}

func (o *organisation) Grant(_ connectortest.TB, k schemas.Key) {
	o.change(func() {
		x := o.team(k.Connection.SourceName)
		switch k.Target.Type {
		case github.TypeUser:
			o.enter(x, o.user(k.Target.SourceName), map[string]string{"MEMBER": "member", "ADMIN": "maintainer"}[k.Privilege])
		case github.TypeRepository:
			x.repos[o.repo(k.Target.SourceName)] = k.Privilege
		default:
			x.parent = o.team(k.Target.SourceName)
		}
	})
}

func (o *organisation) Revoke(_ connectortest.TB, k schemas.Key) {
	o.change(func() {
		x := o.team(k.Connection.SourceName)
		switch k.Target.Type {
		case github.TypeUser:
			delete(x.members, o.user(k.Target.SourceName))
		case github.TypeRepository:
			delete(x.repos, o.repo(k.Target.SourceName))
		default:
			x.parent = nil
		}
	})
}

func (o *organisation) SetIdentityState(_ connectortest.TB, n schemas.Name, state schemas.EntitlementState) bool {
	// Who was only invited has no roles of the organisation.
	if state != schemas.StateInvited || len(o.roles) > 0 {
		return false
	}
	o.change(func() { u := o.user(n.SourceName); u.role, u.asked = "", true })
	return true
}

func (o *organisation) Protected(connectortest.TB) schemas.Name {
	o.change(func() { o.team("ent:everybody").members[o.user("Their-User-1")] = "member" })
	return schemas.Name{Type: github.TypeTeam, SourceName: "ent:everybody"}
}

// Break makes answers of GraphQL wrong, each in its way.
func (o *organisation) Break(connectortest.TB) []connectortest.Broken {
	o.change(func() { // more than a page of all that the suite looks at
		for i := range 4 {
			o.team(o.Name("whole")).members[o.user(fmt.Sprintf("Their-User-%d", i))] = "member"
			o.team(fmt.Sprintf("more-%d", i))
		}
	})
	graphql := func(name string, corrupt bool, change func(header http.Header, body []byte) []byte) connectortest.Broken {
		return connectortest.Broken{Name: name, Corrupt: corrupt, Start: func(connectortest.TB) connectors.Config {
			o.change(func() {
				o.after = func(op string, _ int, header http.Header, body []byte) []byte {
					if op == "graphql" {
						return change(header, body)
					}
					return body
				}
			})
			return o.config()
		}}
	}
	replace := func(name string, corrupt bool, from, to string) connectortest.Broken {
		return graphql(name, corrupt, func(_ http.Header, body []byte) []byte { return bytes.ReplaceAll(body, []byte(from), []byte(to)) })
	}
	deep := func(name string, change func(map[string]any)) connectortest.Broken {
		return graphql(name, true, func(_ http.Header, body []byte) []byte {
			var v any
			if err := json.Unmarshal(body, &v); err != nil {
				o.t.Fatal(err)
			}
			var walk func(any)
			walk = func(v any) {
				switch v := v.(type) {
				case map[string]any:
					for _, c := range v {
						walk(c)
					}
					change(v)
				case []any:
					for _, c := range v {
						walk(c)
					}
				}
			}
			walk(v)
			b, err := json.Marshal(v)
			if err != nil {
				o.t.Fatal(err)
			}
			return b
		})
	}
	lists := func(change func(list map[string]any)) func(map[string]any) {
		return func(m map[string]any) {
			if m["totalCount"] != nil {
				change(m)
			}
		}
	}
	return []connectortest.Broken{
		graphql("empty", true, func(http.Header, []byte) []byte { return nil }),
		graphql("no JSON", true, func(http.Header, []byte) []byte { return []byte("<html>Sign in</html>") }),
		graphql("cut", true, func(_ http.Header, b []byte) []byte { return b[:len(b)-2] }),
		graphql("null", true, func(http.Header, []byte) []byte { return []byte("null") }),
		graphql("no data", true, func(http.Header, []byte) []byte { return []byte(`{"data": null}`) }),
		graphql("no organisation", true, func(http.Header, []byte) []byte {
			return []byte(`{"data": {"viewer": {"login": "x"}, "organization": null}}`)
		}),
		graphql("an error beside data", true, func(_ http.Header, b []byte) []byte {
			return append(b[:len(b)-1], `, "errors": [{"message": "Something went wrong while executing your query"}]}`...)
		}),
		graphql("what SAML keeps", true, func(h http.Header, b []byte) []byte {
			h.Set("X-GitHub-SSO", "partial-results; organizations=21955855,20582480")
			return b
		}),
		replace("a page without end", true, `"hasNextPage":false`, `"hasNextPage":true`),
		replace("another role", false, `"MEMBER"`, `"OWNER"`),
		deep("a total that is higher", lists(func(l map[string]any) { l["totalCount"] = l["totalCount"].(float64) + 1 })),
		deep("no total", lists(func(l map[string]any) { delete(l, "totalCount") })),
		deep("no page", lists(func(l map[string]any) { delete(l, "pageInfo") })),
		deep("an end where there is none", lists(func(l map[string]any) { l["pageInfo"].(map[string]any)["hasNextPage"] = false })),
		deep("no cursor", lists(func(l map[string]any) { l["pageInfo"].(map[string]any)["endCursor"] = nil })),
		deep("entries that are kept", lists(func(l map[string]any) {
			l["edges"], l["nodes"] = []any{nil}, []any{nil}
		})),
		deep("no ids", func(m map[string]any) { delete(m, "databaseId") }),
		{Name: "a token of a member", Start: func(connectortest.TB) connectors.Config {
			o.change(func() { o.after, o.tokens[readToken].owner = nil, false })
			return o.config()
		}},
		{Name: "invitations that are not shown", Start: func(connectortest.TB) connectors.Config {
			o.change(func() {
				o.tokens[readToken].owner = true
				o.after = func(op string, _ int, _ http.Header, body []byte) []byte {
					if op != "graphql" {
						return body
					}
					return bytes.ReplaceAll(body, []byte(`"invitations":{`), []byte(`"invitations":null,"other":{`))
				}
			})
			return o.config()
		}},
		{Name: "owners that are not shown", Start: func(connectortest.TB) connectors.Config {
			o.change(func() {
				o.after = nil
				o.before = func(w http.ResponseWriter, _ *http.Request, op string, _ []byte) bool {
					if op == "orgs/list-members" {
						w.WriteHeader(http.StatusForbidden)
					}
					return op == "orgs/list-members"
				}
			})
			return o.config()
		}},
	}
}
