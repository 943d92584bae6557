package github_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/connectortest/virtual"
	"github.com/countersign/countersign/connectors/github"
	"github.com/countersign/countersign/schemas"
)

// emulated is an emulator made by others, with what it lacks added in front of it: GraphQL, answered out of its own
// REST API, and the list of a team's children. It does not keep a team's level on a repository, does not show a team's
// parent, and holds every maintainer for an owner of the organisation.
type emulated struct {
	t     connectortest.TB
	url   string
	front *virtual.Server
}

func newEmulated(t connectortest.TB) *emulated {
	t.Helper()
	e := &emulated{t: t, url: servers.Emulate(t, "github", map[string]any{
		"tokens": map[string]any{applyToken: map[string]any{"login": "admin", "scopes": []string{"admin:org", "repo"}}},
		"github": map[string]any{
			"users": []any{map[string]any{"login": "alice"}, map[string]any{"login": "bob"}, map[string]any{"login": "stranger"}},
			"orgs": []any{map[string]any{"login": "acme", "members": []any{map[string]any{"login": "admin", "role": "admin"},
				map[string]any{"login": "alice", "role": "member"}, map[string]any{"login": "bob", "role": "member"}}}},
			"repos": []any{map[string]any{"owner": "acme", "name": "app"}, map[string]any{"owner": "acme", "name": "docs"}},
		},
	})}
	target, err := url.Parse(e.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc("POST /graphql", e.graphql)
	mux.HandleFunc("GET /orgs/acme/teams/{slug}/teams", func(w http.ResponseWriter, _ *http.Request) { e.reply(w, []any{}) })
	e.front = network.Serve(t, mux)
	return e
}

func (e *emulated) reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		e.t.Error(err)
	}
}

// list asks the emulator itself.
func (e *emulated) list(path string) []map[string]any {
	req, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, e.url+path, nil)
	if err != nil {
		e.t.Error(err)
		return nil
	}
	req.Header.Set("Authorization", "Bearer "+applyToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		e.t.Error(err)
		return nil
	}
	defer resp.Body.Close()
	var out []map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		e.t.Errorf("%s: %v", path, err)
	}
	return out
}

func (e *emulated) graphql(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var q struct {
		Query     string
		Variables map[string]any
	}
	if err == nil {
		err = json.Unmarshal(body, &q)
	}
	if err != nil {
		e.t.Error(err)
		return
	}
	number := func(v any) int { n, _ := v.(float64); return int(n) }
	var teams []tree
	for _, x := range e.list("/orgs/acme/teams") {
		slug, _ := x["slug"].(string)
		var members, repos []tree
		for _, role := range []string{"member", "maintainer"} {
			for _, u := range e.list("/orgs/acme/teams/" + slug + "/members?role=" + role) {
				members = append(members, tree{"role": strings.ToUpper(role), "node": tree{"login": u["login"], "databaseId": number(u["id"])}})
			}
		}
		for _, r := range e.list("/orgs/acme/teams/" + slug + "/repos") {
			repos = append(repos, tree{"permission": "READ", "node": tree{"name": r["name"], "databaseId": number(r["id"])}})
		}
		paged := func(list []tree, edges bool) field {
			return connection(100, len(list), edges, func(i int) tree { return list[i] })
		}
		node := tree{"databaseId": number(x["id"]), "slug": slug, "description": x["description"], "privacy": "VISIBLE", "notificationSetting": "NOTIFICATIONS_ENABLED",
			"parentTeam": nil, "members": paged(members, true), "repositories": paged(repos, true), "invitations": paged(nil, false)}
		if x["privacy"] == "secret" {
			node["privacy"] = "SECRET"
		}
		teams = append(teams, node)
	}
	answer, err := execute(q.Query, q.Variables, tree{"viewer": tree{"login": "admin"}, "organization": tree{
		"login": "acme", "viewerCanAdminister": true, "viewerIsAMember": true, "teams": connection(100, len(teams), false, func(i int) tree { return teams[i] }),
		"team": field(func(args map[string]any) (any, error) {
			i := slices.IndexFunc(teams, func(t tree) bool { return t["slug"] == args["slug"] })
			if i < 0 {
				return nil, nil
			}
			return teams[i], nil
		})}})
	if err != nil {
		e.t.Errorf("%v\n%s", err, q.Query)
	}
	e.reply(w, answer)
}

// TestEmulated holds the connector to a server that others made.
func TestEmulated(t *testing.T) {
	t.Parallel()
	e := newEmulated(t)
	h := newHub(t)
	cfg := h.config()
	cfg.Values["url"] = e.front.URL
	w := writer(t, cfg)
	made := operation("create sales")
	made.After = map[string]any{"description": "Readers", "privacy": "secret"}
	if failed := apply(t, w, made); len(failed) > 0 {
		t.Fatal(failed)
	}
	must(t, w, "create base", "grant sales user Alice MEMBER", "grant sales user bob MEMBER", "grant sales repository App pull", "grant base repository docs pull")
	want := []string{"base: repository/docs pull", "sales: repository/app pull", "sales: user/alice MEMBER", "sales: user/bob MEMBER"}
	same(t, read(t, w, "base", "sales"), want...)
	must(t, w, "create sales", "grant sales user alice MEMBER", "grant sales repository app pull")
	same(t, read(t, w, "base", "sales"), want...)
	refused(t, w, operation("grant sales user stranger MEMBER"), connectors.NotFound, "invite")
	refused(t, w, operation("grant sales user nobody MEMBER"), connectors.NotFound, "invite")
	refused(t, w, operation("grant sales repository nothing pull"), connectors.NotFound, "repository not found")

	s, err := w.Read(t.Context(), schemas.Selection{Names: []schemas.Name{{Type: github.TypeTeam, SourceName: "sales"}}})
	if err != nil || len(s.Connections) != 1 || s.Connections[0].Payload["description"] != "Readers" || s.Connections[0].Payload["privacy"] != "secret" {
		t.Errorf("%+v, %v", s, err)
	}
	changed := operation("update sales")
	changed.After = map[string]any{"description": "All readers", "privacy": "closed"}
	if failed := apply(t, w, changed); len(failed) > 0 {
		t.Fatal(failed)
	}
	must(t, w, "revoke sales user alice MEMBER", "revoke sales repository app pull", "revoke sales user stranger MEMBER", "revoke sales user nobody MEMBER")
	same(t, read(t, w, "sales"), "sales: user/bob MEMBER")
	must(t, w, "delete sales", "delete never")
	s, err = w.Read(t.Context(), schemas.Selection{Scope: map[string][]string{"team": {"*"}}})
	if err != nil || len(s.Connections) != 2 || s.Connections[0].SourceName != "base" || s.Connections[1].SourceName != "members" {
		t.Errorf("after the deletion: %+v, %v, want the other team, and the one that the emulator keeps its members in", s.Connections, err)
	}
}
