package okta_test

import (
	"cmp"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v4"

	"github.com/countersign/countersign/connectors/connectortest"
	"github.com/countersign/countersign/connectors/connectortest/virtual"
)

// server is an Okta organisation as far as the connector asks for it: it keeps state, and behaves as Okta's
// documentation says. Everything that it is asked and answers is held to Okta's description.
type server struct {
	t    connectortest.TB
	http *virtual.Server

	mu     sync.Mutex
	next   int
	page   int // entries on a page, whatever is asked for
	groups []*groupState
	users  []*userState
	apps   []*appState
	rules  []*ruleState

	token  string
	limit  string // X-Rate-Limit-Remaining
	reset  time.Duration
	silent bool // members do not show by which rule they came
	mute   bool // the list of groups has no statistics
	fast   bool // nothing is held to the description, for benchmarks
	// fault, when set, may answer in the server's place.
	fault func(w http.ResponseWriter, r *http.Request) bool
	calls []string // method and path

	client  string // of the service app
	key     *rsa.PublicKey
	bearers map[string]string // access tokens with their scopes
}

type groupState struct {
	id, kind, name string
	description    *string
	custom         map[string]any
	members        []*memberState
	roles          []*roleState
}

type memberState struct{ user, rule string }

type roleState struct{ id, kind, label, role, set string }

type userState struct{ id, login, status string }

type appState struct {
	id, name, label string
	groups          []*assignmentState
}

type assignmentState struct {
	group    string
	priority int
	profile  map[string]any
}

type ruleState struct {
	id, name, status, expression string
	groups, excluded             []string
}

const everyone = "Everyone"

func newServer(t connectortest.TB, token string) *server {
	t.Helper()
	router, err := loadDescription()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, page: 3, token: token, limit: "599", reset: time.Minute, bearers: map[string]string{}}
	s.groups = append(s.groups, &groupState{id: s.id("00g"), kind: "BUILT_IN", name: everyone})
	s.apps = append(s.apps, &appState{id: s.id("0oa"), name: "bookmark", label: "Intranet"})
	s.users = append(s.users, &userState{id: s.id("00u"), login: "countersign@acme.test", status: "ACTIVE"})
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(*http.Request) answer{
		"GET /api/v1/groups":                         s.listGroups,
		"POST /api/v1/groups":                        s.createGroup,
		"GET /api/v1/groups/rules":                   s.listRules,
		"GET /api/v1/groups/{group}":                 s.getGroup,
		"PUT /api/v1/groups/{group}":                 s.replaceGroup,
		"DELETE /api/v1/groups/{group}":              s.deleteGroup,
		"GET /api/v1/groups/{group}/apps":            s.listGroupApps,
		"GET /api/v1/groups/{group}/users":           s.listMembers,
		"PUT /api/v1/groups/{group}/users/{user}":    s.addMember,
		"DELETE /api/v1/groups/{group}/users/{user}": s.removeMember,
		"GET /api/v1/groups/{group}/roles":           s.listRoles,
		"POST /api/v1/groups/{group}/roles":          s.assignRole,
		"DELETE /api/v1/groups/{group}/roles/{role}": s.unassignRole,
		"GET /api/v1/apps":                           s.listApps,
		"GET /api/v1/apps/{app}/groups":              s.listAppGroups,
		"GET /api/v1/apps/{app}/groups/{group}":      s.getAssignment,
		"PUT /api/v1/apps/{app}/groups/{group}":      s.assignApp,
		"DELETE /api/v1/apps/{app}/groups/{group}":   s.unassignApp,
		"GET /api/v1/users":                          s.listUsers,
		"GET /api/v1/users/{user}":                   s.getUser,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, h) })
	}
	checked := held(router, mux, func(why string) { t.Error(why) })
	s.http = network.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.calls = append(s.calls, r.Method+" "+r.URL.Path)
		fault, fast := s.fault, s.fast
		s.mu.Unlock()
		switch {
		case fault != nil && fault(w, r):
		case r.URL.Path == "/oauth2/v1/token":
			s.giveToken(w, r)
		case fast:
			mux.ServeHTTP(w, r)
		default:
			checked.ServeHTTP(w, r)
		}
	}))
	return s
}

func (s *server) id(prefix string) string {
	s.next++
	return fmt.Sprintf("%s%017d", prefix, s.next)
}

func (s *server) setFault(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// asked returns what was asked since the last time.
func (s *server) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

type answer struct {
	status int
	body   any
	next   string // the rest of the list begins after it
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

func failed(status int, code, summary string, causes ...string) answer {
	list := []any{}
	for _, c := range causes {
		list = append(list, map[string]any{"errorSummary": c})
	}
	return answer{status: status, body: map[string]any{"errorCode": code, "errorSummary": summary, "errorLink": code, "errorId": "oae0", "errorCauses": list}}
}

func missing(what, id string) answer {
	return failed(http.StatusNotFound, "E0000007", "Not found: Resource not found: "+id+" ("+what+")")
}

func (s *server) serve(w http.ResponseWriter, r *http.Request, h func(*http.Request) answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := failed(http.StatusUnauthorized, "E0000011", "Invalid token provided")
	authorization := r.Header.Get("Authorization")
	scopes, bearer := s.bearers[strings.TrimPrefix(authorization, "Bearer ")]
	switch {
	case authorization == "SSWS "+s.token:
		a = h(r)
	case bearer && !allowed(r, scopes):
		a = failed(http.StatusForbidden, "E0000006", "You do not have permission to perform the requested action")
	case bearer:
		a = h(r)
	}
	w.Header().Set("X-Rate-Limit-Limit", "600")
	w.Header().Set("X-Rate-Limit-Remaining", s.limit)
	w.Header().Set("X-Rate-Limit-Reset", strconv.FormatInt(time.Now().Add(s.reset).Unix(), 10))
	w.Header().Add("Link", "<http://"+r.Host+r.URL.RequestURI()+`>; rel="self"`)
	if a.next != "" {
		q := r.URL.Query()
		q.Set("after", a.next)
		w.Header().Add("Link", "<http://"+r.Host+r.URL.EscapedPath()+"?"+q.Encode()+`>; rel="next"`)
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	if err := json.NewEncoder(w).Encode(a.body); err != nil {
		s.t.Error(err)
	}
}

// allowed holds a request to the scopes of the description.
func allowed(r *http.Request, scopes string) bool {
	kind := strings.Split(r.URL.Path, "/")[3]
	if strings.Contains(r.URL.Path, "/roles") {
		kind = "roles"
	}
	may := ".manage"
	if r.Method == http.MethodGet {
		may = ".read"
	}
	return slices.Contains(strings.Fields(scopes), "okta."+kind+may)
}

// paged cuts a page out of a list whose entries have keys.
func paged[T any](s *server, r *http.Request, all []T, key func(T) string, show func(T) any) answer {
	q := r.URL.Query()
	if after := q.Get("after"); after != "" {
		i := slices.IndexFunc(all, func(v T) bool { return key(v) == after })
		all = all[i+1:]
	}
	size := s.page
	if limit, err := strconv.Atoi(q.Get("limit")); err == nil && limit > 0 {
		size = min(size, limit)
	}
	a := ok(nil)
	if len(all) > size {
		a.next = key(all[size-1])
		all = all[:size]
	}
	list := []any{}
	for _, v := range all {
		list = append(list, show(v))
	}
	a.body = list
	return a
}

const then = "2026-01-01T00:00:00.000Z"

func (s *server) group(id string) *groupState {
	if i := slices.IndexFunc(s.groups, func(g *groupState) bool { return g.id == id }); i >= 0 {
		return s.groups[i]
	}
	return nil
}

func (s *server) showGroup(g *groupState, stats bool) map[string]any {
	profile := map[string]any{"name": g.name}
	if g.description != nil {
		profile["description"] = *g.description
	}
	for k, v := range g.custom {
		profile[k] = v
	}
	out := map[string]any{"id": g.id, "created": then, "lastUpdated": then, "lastMembershipUpdated": then, "objectClass": []any{"okta:user_group"},
		"type": g.kind, "profile": profile, "_links": map[string]any{"users": map[string]any{"href": s.http.URL + "/api/v1/groups/" + g.id + "/users"}}}
	if stats {
		out["_embedded"] = map[string]any{"stats": map[string]any{"usersCount": len(g.members), "hasAdminPrivilege": len(g.roles) > 0}}
		if s.mute {
			out["_embedded"] = map[string]any{"stats": map[string]any{"usersCount": len(g.members)}}
		}
	}
	return out
}

func (s *server) listGroups(r *http.Request) answer {
	for _, lagging := range []string{"q", "filter", "search"} {
		if r.URL.Query().Has(lagging) {
			s.t.Errorf("the groups were asked for with %s, which is answered from an index that lags behind", lagging)
		}
	}
	return paged(s, r, s.groups, func(g *groupState) string { return g.id },
		func(g *groupState) any { return s.showGroup(g, r.URL.Query().Get("expand") == "stats") })
}

func (s *server) profile(r *http.Request) (map[string]any, bool) {
	var in struct {
		Profile map[string]any `json:"profile"`
	}
	err := json.NewDecoder(r.Body).Decode(&in)
	name, isText := in.Profile["name"].(string)
	return in.Profile, err == nil && isText && name != ""
}

func (g *groupState) take(profile map[string]any) {
	g.description, g.custom = nil, map[string]any{}
	for k, v := range profile {
		switch k {
		case "name":
			g.name, _ = v.(string)
		case "description":
			if text, isText := v.(string); isText {
				g.description = &text
			}
		default:
			g.custom[k] = v
		}
	}
}

func (s *server) taken(name, but string) bool {
	return slices.ContainsFunc(s.groups, func(g *groupState) bool { return g.name == name && g.id != but })
}

func exists() answer {
	return failed(http.StatusBadRequest, "E0000001", "Api validation failed: profile", "name: An object with this field already exists in the current organization")
}

func (s *server) createGroup(r *http.Request) answer {
	profile, good := s.profile(r)
	if !good {
		return failed(http.StatusBadRequest, "E0000001", "Api validation failed: profile", "name: The field cannot be left blank")
	}
	g := &groupState{id: s.id("00g"), kind: "OKTA_GROUP"}
	g.take(profile)
	if s.taken(g.name, "") {
		return exists()
	}
	s.groups = append(s.groups, g)
	return ok(s.showGroup(g, false))
}

func (s *server) getGroup(r *http.Request) answer {
	g := s.group(r.PathValue("group"))
	if g == nil {
		return missing("UserGroup", r.PathValue("group"))
	}
	return ok(s.showGroup(g, false))
}

func readOnly() answer {
	return failed(http.StatusForbidden, "E0000006", "You do not have permission to perform the requested action")
}

// changeable is the group of a request that changes it.
func (s *server) changeable(r *http.Request) (*groupState, answer) {
	g := s.group(r.PathValue("group"))
	switch {
	case g == nil:
		return nil, missing("UserGroup", r.PathValue("group"))
	case g.kind != "OKTA_GROUP":
		s.t.Errorf("%s %s: a group of type %s was to be changed", r.Method, r.URL.Path, g.kind)
		return nil, readOnly()
	}
	return g, answer{}
}

func (s *server) replaceGroup(r *http.Request) answer {
	g, a := s.changeable(r)
	if g == nil {
		return a
	}
	profile, good := s.profile(r)
	name, _ := profile["name"].(string)
	switch {
	case !good:
		return failed(http.StatusBadRequest, "E0000001", "Api validation failed: profile", "name: The field cannot be left blank")
	case s.taken(name, g.id):
		return exists()
	}
	g.take(profile)
	return ok(s.showGroup(g, false))
}

func (s *server) deleteGroup(r *http.Request) answer {
	g, a := s.changeable(r)
	if g == nil {
		return a
	}
	s.dropGroup(g)
	return answer{status: http.StatusNoContent}
}

func (s *server) dropGroup(g *groupState) {
	s.groups = slices.DeleteFunc(s.groups, func(o *groupState) bool { return o == g })
	for _, a := range s.apps {
		a.groups = slices.DeleteFunc(a.groups, func(o *assignmentState) bool { return o.group == g.id })
	}
	for _, u := range s.rules {
		if slices.Contains(u.groups, g.id) {
			u.status = "INVALID"
		}
	}
}

func (s *server) listRules(r *http.Request) answer {
	return paged(s, r, s.rules, func(u *ruleState) string { return u.id }, func(u *ruleState) any {
		return map[string]any{"id": u.id, "name": u.name, "type": "group_rule", "status": u.status, "created": then, "lastUpdated": then,
			"conditions": map[string]any{"people": map[string]any{"users": map[string]any{"exclude": u.excluded}, "groups": map[string]any{"exclude": []string{}}},
				"expression": map[string]any{"type": "urn:okta:expression:1.0", "value": u.expression}},
			"actions": map[string]any{"assignUserToGroups": map[string]any{"groupIds": u.groups}}}
	})
}

func (s *server) showUser(u *userState) map[string]any {
	return map[string]any{"id": u.id, "status": u.status, "created": then, "activated": nil, "profile": map[string]any{"login": u.login, "email": u.login,
		"firstName": "A", "lastName": "B"}, "_links": map[string]any{"self": map[string]any{"href": s.http.URL + "/api/v1/users/" + u.id}}}
}

// user finds a user as Okta does: by id, login, or a short name that only one has.
func (s *server) user(ref string) *userState {
	if ref == "me" {
		return s.users[0]
	}
	for _, same := range []func(*userState) bool{
		func(u *userState) bool { return u.id == ref },
		func(u *userState) bool { return strings.EqualFold(u.login, ref) },
		func(u *userState) bool {
			short, _, _ := strings.Cut(u.login, "@")
			return strings.EqualFold(short, ref)
		},
	} {
		if i := slices.IndexFunc(s.users, same); i >= 0 {
			return s.users[i]
		}
	}
	return nil
}

func (s *server) listUsers(r *http.Request) answer {
	gone := false
	switch f := r.URL.Query().Get("filter"); f {
	case "":
	case `status eq "DEPROVISIONED"`:
		gone = true
	default:
		s.t.Errorf("the users were asked for with the filter %s", f)
	}
	list := slices.DeleteFunc(slices.Clone(s.users), func(u *userState) bool { return (u.status == "DEPROVISIONED") != gone })
	return paged(s, r, list, func(u *userState) string { return u.id }, func(u *userState) any { return s.showUser(u) })
}

func (s *server) getUser(r *http.Request) answer {
	u := s.user(r.PathValue("user"))
	if u == nil {
		return missing("User", r.PathValue("user"))
	}
	return ok(s.showUser(u))
}

func (s *server) listMembers(r *http.Request) answer {
	g := s.group(r.PathValue("group"))
	if g == nil {
		return missing("UserGroup", r.PathValue("group"))
	}
	members := g.members
	if g.kind == "BUILT_IN" {
		for _, u := range s.users {
			members = append(members, &memberState{user: u.id})
		}
	}
	return paged(s, r, members, func(m *memberState) string { return m.user }, func(m *memberState) any {
		out := s.showUser(s.user(m.user))
		if m.rule != "" && !s.silent {
			out["groupRuleId"] = m.rule
		}
		return out
	})
}

func (s *server) addMember(r *http.Request) answer {
	g, a := s.changeable(r)
	if g == nil {
		return a
	}
	u := s.user(r.PathValue("user"))
	if u == nil {
		return missing("User", r.PathValue("user"))
	}
	if !slices.ContainsFunc(g.members, func(m *memberState) bool { return m.user == u.id }) {
		g.members = append(g.members, &memberState{user: u.id})
	}
	return answer{status: http.StatusNoContent}
}

func (s *server) removeMember(r *http.Request) answer {
	g, a := s.changeable(r)
	if g == nil {
		return a
	}
	u := s.user(r.PathValue("user"))
	if u == nil {
		return missing("User", r.PathValue("user"))
	}
	g.members = slices.DeleteFunc(g.members, func(m *memberState) bool {
		if m.user != u.id {
			return false
		}
		for _, rule := range s.rules {
			if rule.id == m.rule {
				rule.excluded = append(rule.excluded, u.id)
			}
		}
		return true
	})
	return answer{status: http.StatusNoContent}
}

func showRole(o *roleState) map[string]any {
	out := map[string]any{"id": o.id, "type": o.kind, "label": o.label, "status": "ACTIVE", "assignmentType": "GROUP", "created": then, "lastUpdated": then}
	if o.role != "" {
		out["role"], out["resource-set"] = o.role, o.set
	}
	return out
}

func (s *server) listRoles(r *http.Request) answer {
	g := s.group(r.PathValue("group"))
	if g == nil {
		return missing("UserGroup", r.PathValue("group"))
	}
	list := []any{}
	for _, o := range g.roles {
		list = append(list, showRole(o))
	}
	return ok(list)
}

func (s *server) assignRole(r *http.Request) answer {
	g, a := s.changeable(r)
	if g == nil {
		return a
	}
	var in struct {
		Type string `json:"type"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Type == "" {
		return failed(http.StatusBadRequest, "E0000001", "Api validation failed: type")
	}
	if slices.ContainsFunc(g.roles, func(o *roleState) bool { return o.kind == in.Type }) {
		return failed(http.StatusConflict, "E0000090", "Duplicate role assignment exception.")
	}
	o := &roleState{id: s.id("gra"), kind: in.Type, label: in.Type}
	g.roles = append(g.roles, o)
	return ok(showRole(o))
}

func (s *server) unassignRole(r *http.Request) answer {
	g, a := s.changeable(r)
	if g == nil {
		return a
	}
	before := len(g.roles)
	g.roles = slices.DeleteFunc(g.roles, func(o *roleState) bool { return o.id == r.PathValue("role") })
	if len(g.roles) == before {
		return missing("Role", r.PathValue("role"))
	}
	return answer{status: http.StatusNoContent}
}

func showApp(a *appState) map[string]any {
	out := map[string]any{"id": a.id, "name": a.name, "label": a.label, "status": "ACTIVE", "signOnMode": "BOOKMARK", "created": then,
		"settings": map[string]any{"app": map[string]any{"url": "https://wiki.acme.test", "requestIntegration": false}}}
	if a.name != "bookmark" {
		// The description knows Okta's own applications only as what they are built on.
		out["signOnMode"], out["settings"] = "AUTO_LOGIN", map[string]any{"signOn": map[string]any{"loginUrl": "https://acme.test"}}
	}
	return out
}

func (s *server) app(r *http.Request) *appState {
	if i := slices.IndexFunc(s.apps, func(a *appState) bool { return a.id == r.PathValue("app") }); i >= 0 {
		return s.apps[i]
	}
	return nil
}

func (s *server) listApps(r *http.Request) answer {
	return paged(s, r, s.apps, func(a *appState) string { return a.id }, func(a *appState) any { return showApp(a) })
}

func (s *server) listGroupApps(r *http.Request) answer {
	g := s.group(r.PathValue("group"))
	if g == nil {
		return missing("UserGroup", r.PathValue("group"))
	}
	list := slices.DeleteFunc(slices.Clone(s.apps), func(a *appState) bool { return a.assignment(g.id) == nil })
	return paged(s, r, list, func(a *appState) string { return a.id }, func(a *appState) any { return showApp(a) })
}

func (a *appState) assignment(group string) *assignmentState {
	if i := slices.IndexFunc(a.groups, func(o *assignmentState) bool { return o.group == group }); i >= 0 {
		return a.groups[i]
	}
	return nil
}

func showAssignment(o *assignmentState) map[string]any {
	out := map[string]any{"id": o.group, "lastUpdated": then, "priority": o.priority, "profile": map[string]any{}}
	if o.profile != nil {
		out["profile"] = o.profile
	}
	return out
}

func (s *server) listAppGroups(r *http.Request) answer {
	a := s.app(r)
	if a == nil {
		return missing("AppInstance", r.PathValue("app"))
	}
	return paged(s, r, a.groups, func(o *assignmentState) string { return o.group }, func(o *assignmentState) any { return showAssignment(o) })
}

func (s *server) getAssignment(r *http.Request) answer {
	a := s.app(r)
	if a == nil {
		return missing("AppInstance", r.PathValue("app"))
	}
	o := a.assignment(r.PathValue("group"))
	if o == nil {
		return missing("ApplicationGroupAssignment", r.PathValue("group"))
	}
	return ok(showAssignment(o))
}

func (s *server) assignApp(r *http.Request) answer {
	a := s.app(r)
	switch {
	case a == nil:
		return missing("AppInstance", r.PathValue("app"))
	case s.group(r.PathValue("group")) == nil:
		return missing("UserGroup", r.PathValue("group"))
	}
	var in struct {
		Priority int            `json:"priority"`
		Profile  map[string]any `json:"profile"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return failed(http.StatusBadRequest, "E0000003", "The request body was not well-formed.")
	}
	o := a.assignment(r.PathValue("group"))
	if o == nil {
		o = &assignmentState{group: r.PathValue("group")}
		a.groups = append(a.groups, o)
	}
	o.priority, o.profile = cmp.Or(in.Priority, len(a.groups)), in.Profile
	return ok(showAssignment(o))
}

func (s *server) unassignApp(r *http.Request) answer {
	a := s.app(r)
	if a == nil {
		return missing("AppInstance", r.PathValue("app"))
	}
	o := a.assignment(r.PathValue("group"))
	if o == nil {
		return missing("ApplicationGroupAssignment", r.PathValue("group"))
	}
	a.groups = slices.DeleteFunc(a.groups, func(other *assignmentState) bool { return other == o })
	return answer{status: http.StatusNoContent}
}

// giveToken is the token endpoint, which the description leaves out: it holds the assertion to RFC 7523 and to Okta's guide.
func (s *server) giveToken(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func(code, why string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error": %q, "error_description": %q}`, code, why)
	}
	if err := r.ParseForm(); err != nil || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.Header.Get("Authorization") != "" {
		refuse("invalid_request", "The request is no form, or holds another credential.")
		return
	}
	form := func(k string) string { return url.Values(r.PostForm).Get(k) }
	claims := jwt.RegisteredClaims{}
	token, err := jwt.ParseWithClaims(form("client_assertion"), &claims, func(t *jwt.Token) (any, error) { return s.key, nil }, jwt.WithValidMethods([]string{"RS256"}))
	switch {
	case form("grant_type") != "client_credentials" || form("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
		refuse("unsupported_grant_type", "The grant is not supported.")
	case err != nil || claims.Issuer != s.client || claims.Subject != s.client || token.Header["kid"] != "k1":
		refuse("invalid_client", "The client_assertion is not valid.")
	case !claims.VerifyAudience(s.http.URL+"/oauth2/v1/token", true) || claims.ID == "" || claims.ExpiresAt == nil || time.Until(claims.ExpiresAt.Time) > time.Hour:
		refuse("invalid_client", "The audience or the times of the client_assertion are not valid.")
	case strings.Contains(form("scope"), "roles"):
		refuse("invalid_scope", "One or more scopes are not configured for the app.")
	default:
		value := "bearer-" + s.id("")
		s.bearers[value] = form("scope")
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"token_type": "Bearer", "expires_in": 3600, "access_token": %q, "scope": %q}`, value, form("scope"))
	}
}
