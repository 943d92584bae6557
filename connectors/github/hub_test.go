package github_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/virtual"
)

// hub is an organisation at a GitHub of our own: it keeps state, and holds every request and answer against what
// GitHub publishes of its API.
type hub struct {
	t       connectortest.TB
	http    *virtual.Server
	strict  bool // holds requests and answers against the description; off in benchmarks
	mu      sync.Mutex
	org     string
	serial  int64
	users   map[string]*user
	repos   map[string]*repo
	teams   map[string]*team
	tokens  map[string]*actor
	roles   []*orgRole
	custom  map[string]string // custom roles, each with the level below it; nil: the organisation's plan has none
	page    int               // the most that a page holds, whatever is asked for
	chosen  bool              // the App is installed on selected repositories
	version string            // of an Enterprise Server
	calls   []string
	// before may answer in place of the hub; after may change what it answers.
	before func(w http.ResponseWriter, req *http.Request, op string, body []byte) bool
	after  func(op string, status int, header http.Header, body []byte) []byte
}

type user struct {
	id    int64
	login string
	role  string // in the organisation: member, admin, or "" for none
	asked bool   // invited to it
}

type repo struct {
	id       int64
	name     string
	archived bool
}

type team struct {
	id                               int64
	slug, name, description, privacy string
	silent                           bool
	parent                           *team
	members                          map[*user]string // member, maintainer
	invited                          map[*user]string
	mails                            int // invitations to an address
	repos                            map[*repo]string
	group                            string // of the identity provider that keeps the members
}

type orgRole struct {
	id    int64
	name  string
	users map[*user]bool
	teams map[*team]bool
}

func (h *hub) orgRole(name string) *orgRole {
	i := slices.IndexFunc(h.roles, func(x *orgRole) bool { return x.name == name })
	if i < 0 {
		h.roles = append(h.roles, &orgRole{h.next(), name, map[*user]bool{}, map[*team]bool{}})
		return h.roles[len(h.roles)-1]
	}
	return h.roles[i]
}

type actor struct {
	login      string
	owner, bot bool
}

const readToken, applyToken = "gh-read-canary-5f2d9c-do-not-print", "gh-apply-canary-5f2d9c-do-not-print"

func newHub(t connectortest.TB) *hub {
	t.Helper()
	h := &hub{t: t, strict: true, org: "Acme", serial: 100, users: map[string]*user{}, repos: map[string]*repo{}, teams: map[string]*team{}, page: 3,
		tokens: map[string]*actor{readToken: {login: "octo-planner", owner: true}, applyToken: {login: "Octo-Applier", owner: true}}}
	if _, err := contract(); err != nil {
		t.Fatal(err)
	}
	if _, err := graphSchema(); err != nil {
		t.Fatal(err)
	}
	h.http = network.Serve(t, h)
	for _, login := range []string{"octo-planner", "Octo-Applier"} {
		h.user(login).role = "admin"
	}
	// Something foreign that no test may change, larger than a page.
	theirs := h.team("their-team")
	for i := range 7 {
		u := h.user(fmt.Sprintf("Their-User-%d", i))
		u.role = "member"
		theirs.members[u] = "member"
		theirs.repos[h.repo(fmt.Sprintf("Their-Repo-%d", i))] = "push"
	}
	return h
}

func (h *hub) config() connectors.Config {
	return connectors.Config{Application: "code", Now: time.Now, Logger: slog.New(slog.DiscardHandler), Values: map[string]any{
		"organisation": "acme", "url": h.http.URL, "token": connectors.NewSecret(readToken), "apply_token": connectors.NewSecret(applyToken)}}
}

func (h *hub) next() int64 { h.serial++; return h.serial }

func (h *hub) user(login string) *user {
	u := h.users[strings.ToLower(login)]
	if u == nil {
		u = &user{id: h.next(), login: login}
		h.users[strings.ToLower(login)] = u
	}
	return u
}

func (h *hub) repo(name string) *repo {
	r := h.repos[strings.ToLower(name)]
	if r == nil {
		r = &repo{id: h.next(), name: name}
		h.repos[strings.ToLower(name)] = r
	}
	return r
}

// team makes a team by hand.
func (h *hub) team(slug string) *team {
	x := h.teams[slug]
	if x == nil {
		x = &team{id: h.next(), slug: slug, name: slug, privacy: "closed", members: map[*user]string{}, invited: map[*user]string{}, repos: map[*repo]string{}}
		h.teams[slug] = x
	}
	return x
}

// change is the outside hand.
func (h *hub) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// count is how many calls there were, of those whose operation begins with prefix.
func (h *hub) count(prefix string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, c := range h.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

func values[K comparable, V any](m map[K]V, id func(V) int64) []V {
	out := make([]V, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b V) int { return cmp.Compare(id(a), id(b)) })
	return out
}

func keys[K any, V any](m map[*K]V, id func(*K) int64) []*K {
	out := make([]*K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b *K) int { return cmp.Compare(id(a), id(b)) })
	return out
}

func (h *hub) allTeams() []*team { return values(h.teams, func(x *team) int64 { return x.id }) }
func userID(u *user) int64       { return u.id }
func repoID(r *repo) int64       { return r.id }

// role is what a team has on a repository, through its parents too, and as GitHub says it: the higher.
func (h *hub) role(x *team, r *repo) string {
	if x == nil {
		return ""
	}
	own, above := x.repos[r], h.role(x.parent, r)
	if h.rank(above) > h.rank(own) || own == "" {
		return above
	}
	return own
}

func (h *hub) rank(role string) int {
	base := cmp.Or(h.custom[role], role)
	return slices.Index([]string{"", "pull", "triage", "push", "maintain", "admin"}, base)
}

// held are all repositories that a team has, with those of its parents.
func (h *hub) held(x *team) map[*repo]string {
	out := map[*repo]string{}
	for at := x; at != nil; at = at.parent {
		for r := range at.repos {
			out[r] = h.role(x, r)
		}
	}
	return out
}

// everybody are the members of a team and of those below it, as REST lists them.
func (h *hub) everybody(x *team) map[*user]string {
	out := map[*user]string{}
	for _, c := range h.teams {
		for at := c; at != nil; at = at.parent {
			if at == x {
				for u := range c.members {
					out[u] = "member"
				}
			}
		}
	}
	for u, role := range x.members {
		out[u] = role
	}
	return out
}

// enter puts an account into a team, or invites it.
func (h *hub) enter(x *team, u *user, role string) {
	if u.role == "admin" {
		role = "maintainer" // whatever was asked for
	}
	if u.role == "" {
		u.asked = true
		x.invited[u] = role
		return
	}
	x.members[u] = role
}

func (h *hub) remove(x *team) {
	for _, c := range h.allTeams() {
		if c.parent == x {
			h.remove(c)
		}
	}
	delete(h.teams, x.slug)
	for _, r := range h.roles {
		delete(r.teams, x)
	}
}

// slugify makes a slug of a name as GitHub says that it does.
func slugify(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' {
			b.WriteRune(r)
		} else {
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), "-")
}

type call struct {
	*hub
	actor  *actor
	params map[string]string
	query  url.Values
	body   map[string]any
	header http.Header
	host   string
}

type object = map[string]any

func refusal(status int, message string, more ...any) (int, any) {
	o := object{"message": message, "documentation_url": "https://docs.github.com/rest"}
	if len(more) > 0 {
		o["errors"] = more
	}
	return status, o
}

func notFound() (int, any) { return refusal(http.StatusNotFound, "Not Found") }

func (h *hub) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if err != nil {
		return
	}
	req.URL.Path = strings.TrimPrefix(strings.TrimPrefix(req.URL.Path, "/api/v3"), "/api")
	h.mu.Lock()
	unlocked := false
	defer func() {
		if !unlocked {
			h.mu.Unlock()
		}
	}()
	op, answer := h.route(req, body)
	h.calls = append(h.calls, op)
	if before := h.before; before != nil {
		h.mu.Unlock()
		unlocked = true
		if before(w, req, op, body) {
			return
		}
		h.mu.Lock()
		unlocked = false
	}
	status, header, out := answer()
	if h.after != nil {
		out = h.after(op, status, header, out)
	}
	for k, v := range header {
		w.Header()[k] = v
	}
	w.WriteHeader(status)
	if _, err := w.Write(out); err != nil && !strings.Contains(err.Error(), "broken pipe") && !strings.Contains(err.Error(), "reset") {
		h.t.Logf("answer: %v", err)
	}
}

func (h *hub) headers() http.Header {
	out := http.Header{"Content-Type": {"application/json; charset=utf-8"}, "X-Ratelimit-Limit": {"5000"}, "X-Ratelimit-Remaining": {"4999"},
		"X-Ratelimit-Reset": {strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)}}
	if h.version != "" {
		out.Set("X-Github-Enterprise-Version", h.version)
	}
	return out
}

// route finds what answers a request. The name of a query is graphql.
func (h *hub) route(req *http.Request, body []byte) (string, func() (int, http.Header, []byte)) {
	header := h.headers()
	encode := func(status int, v any) (int, http.Header, []byte) {
		if v == nil {
			header.Del("Content-Type")
			return status, header, nil
		}
		b, err := json.Marshal(v)
		if err != nil {
			h.t.Errorf("encode an answer: %v", err)
		}
		return status, header, b
	}
	who := h.tokens[strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")]
	if req.URL.Path == "/graphql" {
		return "graphql", func() (int, http.Header, []byte) {
			if who == nil {
				return encode(refusal(http.StatusUnauthorized, "Bad credentials"))
			}
			var q struct {
				Query     string
				Variables map[string]any
			}
			dec := json.NewDecoder(bytes.NewReader(body))
			if err := dec.Decode(&q); err != nil {
				return encode(refusal(http.StatusBadRequest, "Problems parsing JSON"))
			}
			answer, err := execute(q.Query, q.Variables, h.graph(who))
			if err != nil {
				h.t.Errorf("GraphQL: %v\n%s", err, q.Query)
				return encode(refusal(http.StatusBadRequest, "broken"))
			}
			return encode(http.StatusOK, answer)
		}
	}
	router, err := contract()
	if err != nil {
		h.t.Error(err)
		return "", func() (int, http.Header, []byte) { return encode(notFound()) }
	}
	route, params, err := router.FindRoute(forContract(req, body))
	if err != nil {
		h.t.Errorf("a call that GitHub does not have, or the hub does not serve: %s %s", req.Method, req.URL)
		return "", func() (int, http.Header, []byte) { return encode(notFound()) }
	}
	op := route.Operation.OperationID
	return op, func() (int, http.Header, []byte) {
		for k, v := range params {
			if params[k], err = url.PathUnescape(v); err != nil {
				return encode(refusal(http.StatusBadRequest, "bad path"))
			}
		}
		in := &openapi3filter.RequestValidationInput{Request: forContract(req, body), PathParams: params, Route: route,
			Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true}}
		if h.strict {
			if err := openapi3filter.ValidateRequest(req.Context(), in); err != nil {
				h.t.Errorf("%s %s does not fit GitHub's description: %v\n%s", req.Method, req.URL, err, body)
			}
		}
		c := &call{hub: h, actor: who, params: params, query: req.URL.Query(), header: header, host: req.Host}
		if len(body) > 0 {
			if err := json.Unmarshal(body, &c.body); err != nil {
				return encode(refusal(http.StatusBadRequest, "Problems parsing JSON"))
			}
		}
		status, v := c.answer(op, req)
		var plain any
		if v != nil {
			b, err := json.Marshal(v)
			if err == nil {
				err = json.Unmarshal(b, &plain)
			}
			if err != nil {
				h.t.Errorf("encode an answer: %v", err)
			}
			if r := route.Operation.Responses.Status(status); h.strict && r != nil && r.Value != nil && status < 400 {
				if m := r.Value.Content.Get("application/json"); m != nil {
					plain = fill(m.Schema, plain, 0)
				}
			}
		}
		_, _, b := encode(status, plain)
		if h.strict {
			if err := checkAnswer(in, status, header, b); err != nil {
				h.t.Errorf("the answer to %s %s does not fit GitHub's description: %v", req.Method, req.URL, err)
			}
		}
		return status, header, b
	}
}

// address is the hub's, with no name in it.
func (h *hub) address() string {
	u, err := url.Parse(h.http.URL)
	if err != nil {
		h.t.Fatal(err)
	}
	return net.JoinHostPort(u.Hostname(), u.Port())
}

func (c *call) answer(op string, req *http.Request) (int, any) {
	if op != "apps/create-installation-access-token" {
		if c.actor == nil {
			return refusal(http.StatusUnauthorized, "Bad credentials")
		}
		if req.Method != http.MethodGet && !c.actor.owner && !c.actor.bot {
			return refusal(http.StatusForbidden, "Must have admin rights to Repository.")
		}
	}
	if org := cmp.Or(c.params["org"], c.params["owner"]); org != "" && !strings.EqualFold(org, c.org) {
		return notFound()
	}
	status, v := handlers()[op](c)
	if list, ok := v.([]any); ok && status == http.StatusOK {
		size, err := strconv.Atoi(c.query.Get("per_page"))
		if err != nil || size < 1 {
			size = 30
		}
		size = min(size, 100, c.page)
		n, err := strconv.Atoi(c.query.Get("page"))
		if err != nil || n < 1 {
			n = 1
		}
		from, to := min((n-1)*size, len(list)), min(n*size, len(list))
		if to < len(list) {
			q := req.URL.Query()
			q.Set("page", strconv.Itoa(n+1))
			c.header.Set("Link", fmt.Sprintf(`<http://%s%s?%s>; rel="next", <http://%s%s?page=99>; rel="last"`, c.host, req.URL.EscapedPath(), q.Encode(), c.host, req.URL.EscapedPath()))
		}
		v = append([]any{}, list[from:to]...)
	}
	return status, v
}

func (c *call) simple(u *user) object {
	return object{"id": u.id, "login": u.login, "type": "User", "site_admin": false}
}

func (c *call) team(x *team, nest bool) object {
	notify := "notifications_enabled"
	if x.silent {
		notify = "notifications_disabled"
	}
	o := object{"id": x.id, "slug": x.slug, "name": x.name, "description": x.description, "privacy": x.privacy, "notification_setting": notify,
		"permission": "pull", "type": "organization"}
	if nest {
		o["parent"] = nil
		if x.parent != nil {
			o["parent"] = c.team(x.parent, false)
		}
	}
	return o
}

func handlers() map[string]func(*call) (int, any) {
	withTeam := func(f func(*call, *team) (int, any)) func(*call) (int, any) {
		return func(c *call) (int, any) {
			x := c.teams[strings.ToLower(c.params["team_slug"])]
			if x == nil {
				return notFound()
			}
			return f(c, x)
		}
	}
	withRole := func(f func(*call, *orgRole) (int, any)) func(*call) (int, any) {
		return func(c *call) (int, any) {
			i := slices.IndexFunc(c.roles, func(x *orgRole) bool { return strconv.FormatInt(x.id, 10) == c.params["role_id"] })
			if i < 0 {
				return notFound()
			}
			return f(c, c.roles[i])
		}
	}
	assign := func(on bool) func(*call, *orgRole) (int, any) {
		return func(c *call, x *orgRole) (int, any) {
			u, t := c.users[strings.ToLower(c.params["username"])], c.teams[strings.ToLower(c.params["team_slug"])]
			switch {
			case u == nil && t == nil:
				return notFound()
			case on && u != nil && u.role == "":
				return refusal(http.StatusUnprocessableEntity, "The user is not a member of the organization")
			case u != nil && on:
				x.users[u] = true
			case u != nil:
				delete(x.users, u)
			case on:
				x.teams[t] = true
			default:
				delete(x.teams, t)
			}
			return http.StatusNoContent, nil
		}
	}
	return map[string]func(*call) (int, any){
		"orgs/list-org-roles": func(c *call) (int, any) {
			out := []any{}
			for _, x := range c.roles {
				out = append(out, object{"id": x.id, "name": x.name, "permissions": []any{}, "source": "Predefined"})
			}
			return http.StatusOK, object{"total_count": len(out), "roles": out}
		},
		"orgs/list-org-role-users": withRole(func(c *call, x *orgRole) (int, any) {
			out := []any{}
			for _, u := range values(c.users, userID) {
				through := false
				for t := range x.teams {
					through = through || c.everybody(t)[u] != ""
				}
				if x.users[u] || through {
					o := c.simple(u)
					o["assignment"] = map[bool]string{true: "direct", false: "indirect"}[x.users[u]]
					if x.users[u] && through {
						o["assignment"] = "mixed"
					}
					out = append(out, o)
				}
			}
			return http.StatusOK, out
		}),
		"orgs/list-org-role-teams": withRole(func(c *call, x *orgRole) (int, any) {
			out := []any{}
			for _, t := range c.allTeams() {
				for at := t; at != nil; at = at.parent {
					if x.teams[at] {
						o := c.team(t, true)
						o["assignment"] = map[bool]string{true: "direct", false: "indirect"}[x.teams[t]]
						out = append(out, o)
						break
					}
				}
			}
			return http.StatusOK, out
		}),
		"orgs/assign-user-to-org-role": withRole(assign(true)),
		"orgs/revoke-org-role-user":    withRole(assign(false)),
		"orgs/assign-team-to-org-role": withRole(assign(true)),
		"orgs/revoke-org-role-team":    withRole(assign(false)),
		"teams/create":                 (*call).createTeam,
		"teams/update-in-org":          withTeam((*call).updateTeam),
		"teams/delete-in-org":          withTeam(func(c *call, x *team) (int, any) { c.remove(x); return http.StatusNoContent, nil }),
		"teams/get-by-name": withTeam(func(c *call, x *team) (int, any) {
			o := c.team(x, true)
			o["members_count"], o["repos_count"] = len(x.members), len(x.repos)
			return http.StatusOK, o
		}),
		"teams/list-child-in-org":                        withTeam((*call).children),
		"teams/get-membership-for-user-in-org":           withTeam((*call).membership),
		"teams/add-or-update-membership-for-user-in-org": withTeam((*call).addMembership),
		"teams/remove-membership-for-user-in-org":        withTeam((*call).removeMembership),
		"teams/list-repos-in-org":                        withTeam((*call).teamRepos),
		"teams/add-or-update-repo-permissions-in-org":    withTeam((*call).addRepo),
		"teams/remove-repo-in-org":                       withTeam((*call).removeRepo),
		"teams/list-linked-external-idp-groups-to-team-for-org": withTeam(func(_ *call, x *team) (int, any) {
			groups := []any{}
			if x.group != "" {
				groups = append(groups, object{"group_id": 1, "group_name": x.group, "updated_at": "2026-01-01T00:00:00Z"})
			}
			return http.StatusOK, object{"groups": groups}
		}),
		"teams/list-idp-groups-in-org": withTeam(func(*call, *team) (int, any) {
			return refusal(http.StatusUnprocessableEntity, "This team is not externally managed")
		}),
		"repos/list-teams": func(c *call) (int, any) {
			r := c.repos[strings.ToLower(c.params["repo"])]
			if r == nil {
				return notFound()
			}
			out := []any{}
			for _, x := range c.allTeams() {
				if x.repos[r] != "" {
					o := c.team(x, true)
					o["permission"] = c.role(x, r) // at the higher of both levels
					o["access_source"] = "direct"
					out = append(out, o)
				}
			}
			return http.StatusOK, out
		},
		"repos/get": func(c *call) (int, any) {
			r := c.repos[strings.ToLower(c.params["repo"])]
			if r == nil {
				return notFound()
			}
			return http.StatusOK, object{"id": r.id, "name": r.name, "full_name": c.org + "/" + r.name, "archived": r.archived}
		},
		"orgs/list-members": func(c *call) (int, any) {
			out := []any{}
			for _, u := range values(c.users, userID) {
				if role := c.query.Get("role"); u.role != "" && (role == "" || role == "all" || role == u.role) {
					out = append(out, c.simple(u))
				}
			}
			return http.StatusOK, out
		},
		"orgs/get-membership-for-user": func(c *call) (int, any) {
			u := c.users[strings.ToLower(c.params["username"])]
			if u == nil || u.role == "" && !u.asked {
				return notFound()
			}
			o := object{"state": "active", "role": u.role, "user": c.simple(u)}
			if u.role == "" {
				o["state"], o["role"] = "pending", "member"
			}
			return http.StatusOK, o
		},
		"orgs/list-custom-repo-roles": func(c *call) (int, any) {
			if c.custom == nil {
				return notFound()
			}
			out := []any{}
			for name, base := range c.custom {
				out = append(out, object{"id": 1, "name": name, "base_role": map[string]string{"pull": "read", "push": "write"}[base], "permissions": []any{}})
			}
			return http.StatusOK, object{"total_count": len(out), "custom_roles": out}
		},
		"apps/list-repos-accessible-to-installation": func(c *call) (int, any) {
			if !c.actor.bot {
				return refusal(http.StatusForbidden, "You must authenticate with an installation access token in order to list repositories for an installation.")
			}
			selection := "all"
			if c.chosen {
				selection = "selected"
			}
			return http.StatusOK, object{"total_count": 0, "repositories": []any{}, "repository_selection": selection}
		},
		"apps/create-installation-access-token": func(c *call) (int, any) {
			if c.params["installation_id"] != "77" {
				return notFound()
			}
			c.tokens["ghs_installation"] = &actor{login: "countersign[bot]", bot: true}
			return http.StatusCreated, object{"token": "ghs_installation", "expires_at": "2099-01-01T00:00:00Z", "repository_selection": "all"}
		},
	}
}

func (c *call) parentOf(x *team, v any) (*team, string) {
	n, ok := number(v)
	if !ok {
		return nil, "parent_team_id is no number"
	}
	for _, p := range c.teams {
		if p.id != int64(n) {
			continue
		}
		for at := p; at != nil; at = at.parent {
			if at == x {
				return nil, "Parent team can't be a descendant of the team"
			}
		}
		if p.privacy == "secret" || x.privacy == "secret" {
			return nil, "A secret team can't be nested"
		}
		return p, ""
	}
	return nil, "Could not resolve to a team"
}

func (c *call) createTeam() (int, any) {
	name, _ := c.body["name"].(string)
	slug := slugify(name)
	for _, x := range c.teams {
		if slug == "" || strings.EqualFold(x.name, name) || x.slug == slug {
			return refusal(http.StatusUnprocessableEntity, "Validation Failed", object{"resource": "Team", "field": "name", "code": "custom", "message": "Name must be unique for this org"})
		}
	}
	x := &team{id: c.next(), slug: slug, name: name, privacy: "secret", members: map[*user]string{}, invited: map[*user]string{}, repos: map[*repo]string{}}
	if parent, ok := c.body["parent_team_id"]; ok {
		x.privacy = "closed"
		var fault string
		if x.parent, fault = c.parentOf(x, parent); fault != "" {
			return refusal(http.StatusUnprocessableEntity, fault)
		}
	}
	c.set(x)
	c.teams[slug] = x
	if !c.actor.bot {
		x.members[c.user(c.actor.login)] = "maintainer"
	}
	o := c.team(x, true)
	o["members_count"], o["repos_count"] = len(x.members), 0
	return http.StatusCreated, o
}

func (c *call) set(x *team) {
	if s, ok := c.body["description"].(string); ok {
		x.description = s
	}
	if s, ok := c.body["privacy"].(string); ok {
		x.privacy = s
	}
	if s, ok := c.body["notification_setting"].(string); ok {
		x.silent = s == "notifications_disabled"
	}
}

func (c *call) updateTeam(x *team) (int, any) {
	nested := x.parent != nil
	for _, t := range c.teams {
		nested = nested || t.parent == x
	}
	if c.body["privacy"] == "secret" && nested {
		return refusal(http.StatusUnprocessableEntity, "Nested teams can't be secret")
	}
	if parent, ok := c.body["parent_team_id"]; ok {
		if parent == nil {
			x.parent = nil
		} else {
			p, fault := c.parentOf(x, parent)
			if fault != "" {
				return refusal(http.StatusUnprocessableEntity, fault)
			}
			x.parent = p
		}
	}
	c.set(x)
	return http.StatusOK, c.team(x, true)
}

func (c *call) children(x *team) (int, any) {
	out := []any{}
	for _, t := range c.allTeams() {
		if t.parent == x {
			out = append(out, c.team(t, true))
		}
	}
	return http.StatusOK, out
}

func (c *call) membership(x *team) (int, any) {
	u := c.users[strings.ToLower(c.params["username"])]
	if u == nil {
		return notFound()
	}
	if role := x.invited[u]; role != "" {
		return http.StatusOK, object{"role": role, "state": "pending"}
	}
	if role := c.everybody(x)[u]; role != "" {
		return http.StatusOK, object{"role": role, "state": "active"}
	}
	return notFound()
}

func (c *call) addMembership(x *team) (int, any) {
	u := c.users[strings.ToLower(c.params["username"])]
	switch {
	case u == nil:
		return notFound()
	case x.group != "":
		return refusal(http.StatusForbidden, "This team is managed by an identity provider.")
	}
	role, _ := c.body["role"].(string)
	c.enter(x, u, cmp.Or(role, "member"))
	return c.membership(x)
}

func (c *call) removeMembership(x *team) (int, any) {
	u := c.users[strings.ToLower(c.params["username"])]
	switch {
	case u == nil || x.members[u] == "" && x.invited[u] == "":
		return notFound()
	case x.group != "":
		return refusal(http.StatusForbidden, "This team is managed by an identity provider.")
	}
	delete(x.members, u)
	delete(x.invited, u)
	return http.StatusNoContent, nil
}

func (c *call) teamRepos(x *team) (int, any) {
	out := []any{}
	roles := c.held(x)
	for _, r := range keys(roles, repoID) {
		name := cmp.Or(map[string]string{"pull": "read", "push": "write"}[roles[r]], roles[r])
		out = append(out, object{"id": r.id, "name": r.name, "full_name": c.org + "/" + r.name, "role_name": name})
	}
	return http.StatusOK, out
}

func (c *call) addRepo(x *team) (int, any) {
	if r := c.repos[strings.ToLower(c.params["repo"])]; r != nil && r.archived {
		return refusal(http.StatusForbidden, "Repository was archived so is read-only.")
	}
	r := c.repos[strings.ToLower(c.params["repo"])]
	if r == nil {
		return notFound()
	}
	role, _ := c.body["permission"].(string)
	role = cmp.Or(role, "pull")
	if c.rank(role) < 1 {
		return refusal(http.StatusUnprocessableEntity, "Validation Failed")
	}
	x.repos[r] = role
	return http.StatusNoContent, nil
}

func (c *call) removeRepo(x *team) (int, any) {
	if r := c.repos[strings.ToLower(c.params["repo"])]; r != nil && r.archived {
		return refusal(http.StatusForbidden, "Repository was archived so is read-only.")
	}
	r := c.repos[strings.ToLower(c.params["repo"])]
	if r == nil {
		return notFound()
	}
	delete(x.repos, r)
	return http.StatusNoContent, nil
}

func account(u *user) tree { return tree{"login": u.login, "databaseId": u.id} }

// graph is what a query may ask for.
func (h *hub) graph(who *actor) tree {
	people := func(keep func(*user) bool) field {
		return func(args map[string]any) (any, error) {
			list := slices.DeleteFunc(values(h.users, userID), func(u *user) bool { return !keep(u) })
			return connection(h.page, len(list), false, func(i int) tree { return account(list[i]) })(args)
		}
	}
	sees := func(x *team) bool {
		return who.owner || who.bot || x.privacy != "secret" || x.members[h.user(who.login)] != ""
	}
	return tree{
		"viewer": tree{"login": who.login},
		"user": field(func(args map[string]any) (any, error) {
			login, _ := args["login"].(string)
			u := h.users[strings.ToLower(login)]
			if u == nil {
				return nil, &graphFault{"NOT_FOUND", "Could not resolve to a User with the login of '" + login + "'."}
			}
			return account(u), nil
		}),
		"organization": field(func(args map[string]any) (any, error) {
			login, _ := args["login"].(string)
			if !strings.EqualFold(login, h.org) {
				return nil, &graphFault{"NOT_FOUND", "Could not resolve to an Organization with the login of '" + login + "'."}
			}
			return tree{"login": h.org, "viewerCanAdminister": who.owner, "viewerIsAMember": !who.bot,
				"teams": field(func(args map[string]any) (any, error) {
					list := slices.DeleteFunc(h.allTeams(), func(x *team) bool { return !sees(x) })
					return connection(h.page, len(list), false, func(i int) tree { return h.graphTeam(list[i]) })(args)
				}),
				"repositories": field(func(args map[string]any) (any, error) {
					list := values(h.repos, repoID)
					return connection(h.page, len(list), false, func(i int) tree { return tree{"name": list[i].name, "databaseId": list[i].id} })(args)
				}),
				"membersWithRole": people(func(u *user) bool { return u.role != "" }),
				"pendingMembers":  people(func(u *user) bool { return u.role == "" && u.asked }),
				"team": field(func(args map[string]any) (any, error) {
					slug, _ := args["slug"].(string)
					x := h.teams[strings.ToLower(slug)]
					if x == nil || !sees(x) {
						return nil, nil
					}
					return h.graphTeam(x), nil
				})}, nil
		}),
	}
}

func (h *hub) graphTeam(x *team) tree {
	members, roles, invited := keys(x.members, userID), h.held(x), keys(x.invited, userID)
	repos := keys(roles, repoID)
	level := map[string]string{"pull": "READ", "triage": "TRIAGE", "push": "WRITE", "maintain": "MAINTAIN", "admin": "ADMIN"}
	out := tree{"databaseId": x.id, "slug": x.slug, "description": x.description, "privacy": "VISIBLE", "notificationSetting": "NOTIFICATIONS_ENABLED", "parentTeam": nil,
		"repositories": connection(h.page, len(repos), true, func(i int) tree {
			role := roles[repos[i]]
			return tree{"permission": level[cmp.Or(h.custom[role], role)], "node": tree{"name": repos[i].name, "databaseId": repos[i].id}}
		}),
		"invitations": connection(h.page, x.mails+len(invited), false, func(i int) tree {
			if i < x.mails {
				return tree{"invitee": nil}
			}
			return tree{"invitee": account(invited[i-x.mails])}
		}),
		"members": field(func(args map[string]any) (any, error) {
			if args["membership"] != "IMMEDIATE" {
				return nil, &graphFault{"UNSERVED", "the hub lists immediate members only"}
			}
			return connection(h.page, len(members), true, func(i int) tree {
				return tree{"role": strings.ToUpper(x.members[members[i]]), "node": account(members[i])}
			})(args)
		})}
	if x.description == "" {
		out["description"] = nil
	}
	if x.privacy == "secret" {
		out["privacy"] = "SECRET"
	}
	if x.silent {
		out["notificationSetting"] = "NOTIFICATIONS_DISABLED"
	}
	if x.parent != nil {
		out["parentTeam"] = tree{"slug": x.parent.slug, "databaseId": x.parent.id}
	}
	return out
}
