package githubtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"
)

// Server is a GitHub.
type Server struct {
	// API is the root of the REST API, Git that of clones (Git + "owner/name.git"). Both end in a slash.
	API, Git string

	t    testing.TB
	http *httptest.Server
	desc *description

	mu       sync.Mutex
	clock    time.Time
	accounts map[string]*account // by login
	tokens   map[string]*actor
	repos    map[string]*Repository
	teams    map[string][]string
	apps     map[int64]*app
	signed   map[string]bool
	serial   int64
	fault    func(*http.Request) *Fault
	calls    []Call
	called   *sync.Cond // there is one call more
}

// Call is a request that was answered.
type Call struct {
	Operation string // GitHub's operation id, as pulls/get
	Path      string
	Login     string
	Status    int
	Body      string
}

// Fault is an answer in place of the real one.
type Fault struct {
	Status int
	Header map[string]string
	Body   string
	// After answers as it should first, and breaks the answer then.
	After bool
	// Hang never answers.
	Hang bool
}

type account struct {
	id        int64
	login     string
	kind      string // User, Bot
	suspended bool
	emails    []string
}

// actor is who a token speaks for.
type actor struct {
	*account
	app      string // the App's slug
	workflow bool   // a GITHUB_TOKEN
	repo     *Repository
}

// New starts a GitHub that ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	desc, err := load()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, desc: desc, clock: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), accounts: map[string]*account{}, tokens: map[string]*actor{},
		repos: map[string]*Repository{}, teams: map[string][]string{}, apps: map[int64]*app{}, signed: map[string]bool{}, serial: 1000}
	s.called = sync.NewCond(&s.mu)
	mux := http.NewServeMux()
	mux.Handle("/git/", http.StripPrefix("/git", http.HandlerFunc(s.serveGit)))
	mux.Handle("/api/graphql", http.StripPrefix("/api", http.HandlerFunc(s.serveAPI)))
	mux.Handle("/api/v3/", http.StripPrefix("/api/v3", http.HandlerFunc(s.serveAPI)))
	mux.Handle("/", http.HandlerFunc(s.serveAPI))
	s.http = httptest.NewServer(mux)
	t.Cleanup(s.http.Close)
	s.API, s.Git = s.http.URL+"/", s.http.URL+"/git/"
	s.account("web-flow", "User").emails = []string{"noreply@github.com"}
	s.account("github-actions[bot]", "Bot")
	return s
}

// Now is the server's clock. Every change moves it on by a second.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

// Advance moves the clock on.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(d)
}

// Fail puts faults in place of answers; nil is none.
func (s *Server) Fail(fault func(*http.Request) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Calls are the requests so far.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}

// RoundTrip answers in memory, as a client's transport: without a network, a test's time can be virtual.
func (s *Server) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	in := req.Clone(req.Context())
	in.RequestURI, in.Host = req.URL.RequestURI(), req.URL.Host
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer func() {
		err = errors.Join(err, in.Body.Close())
		if err != nil {
			resp = nil
		}
	}()
	answer := httptest.NewRecorder()
	func() {
		defer func() {
			if r := recover(); r == http.ErrAbortHandler {
				err = io.ErrUnexpectedEOF
			} else if r != nil {
				panic(r)
			}
		}()
		s.http.Config.Handler.ServeHTTP(answer, in)
	}()
	if err = errors.Join(err, req.Context().Err()); err != nil {
		return nil, err
	}
	resp = answer.Result()
	resp.Request = req
	return resp, nil
}

// Await returns when yes returns true. It asks again after each call.
func (s *Server) Await(yes func() bool) {
	for {
		s.mu.Lock()
		n := len(s.calls)
		s.mu.Unlock()
		if yes() {
			return
		}
		s.mu.Lock()
		for len(s.calls) == n {
			s.called.Wait()
		}
		s.mu.Unlock()
	}
}

func (s *Server) next() int64 { s.serial++; return s.serial }

func (s *Server) tick() string {
	s.clock = s.clock.Add(time.Second)
	return s.stamp()
}

func (s *Server) stamp() string { return s.clock.Format(time.RFC3339) }

func (s *Server) account(login, kind string) *account {
	a := s.accounts[login]
	if a == nil {
		a = &account{id: s.next(), login: login, kind: kind}
		a.emails = []string{login + "@acme.test", fmt.Sprintf("%d+%s@users.noreply.github.com", a.id, login)}
		s.accounts[login] = a
	}
	return a
}

// User makes an account with the address LOGIN@acme.test, and returns a token of its.
func (s *Server) User(login string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token(&actor{account: s.account(login, "User")})
}

// Bot makes an account of an App that somebody else runs.
func (s *Server) Bot(login string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token(&actor{account: s.account(login, "Bot")})
}

// Suspend suspends an account.
func (s *Server) Suspend(login string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accounts[login].suspended = true
}

// Workflow is a GITHUB_TOKEN of a repository's workflow.
func (s *Server) Workflow(r *Repository) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token(&actor{account: s.account("github-actions[bot]", "Bot"), app: "github-actions", workflow: true, repo: r})
}

// Team sets the members of owner/slug.
func (s *Server) Team(name string, logins ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.teams[name] = logins
}

func (s *Server) token(a *actor) string {
	t := fmt.Sprintf("ghs_test%d", s.next())
	s.tokens[t] = a
	return t
}

// call is a request while it is answered.
type call struct {
	*Server
	actor  *actor
	repo   *Repository
	params map[string]string
	query  url.Values
	body   map[string]any
	header http.Header
}

type handler func(*call) (int, any)

// arg is a property of the body.
func (c *call) arg(name string) string { s, _ := c.body[name].(string); return s }

func (c *call) number() int {
	for _, name := range []string{"pull_number", "issue_number"} {
		if n, err := strconv.Atoi(c.params[name]); err == nil {
			return n
		}
	}
	return 0
}

func fail(status int, msg string) (int, any) {
	return status, map[string]any{"message": msg, "documentation_url": "https://docs.github.com/rest"}
}

func (s *Server) serveAPI(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	var f *Fault
	if fault != nil {
		f = fault(req)
	}
	if f != nil && f.Hang {
		<-req.Context().Done()
		return
	}
	if f != nil && !f.After {
		f.write(w)
		return
	}
	status, header, out := s.answer(req, body)
	if f != nil {
		f.write(w)
		return
	}
	for k, v := range header {
		w.Header()[k] = v
	}
	w.WriteHeader(status)
	_, _ = w.Write(out)
}

func (f *Fault) write(w http.ResponseWriter) {
	if f.Status == 0 {
		// The connection breaks off.
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	for k, v := range f.Header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(f.Status)
	_, _ = io.WriteString(w, f.Body)
}

func (s *Server) answer(req *http.Request, body []byte) (int, http.Header, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	header := http.Header{"Content-Type": {"application/json; charset=utf-8"}, "X-Ratelimit-Limit": {"5000"}, "X-Ratelimit-Remaining": {"4999"},
		"X-Ratelimit-Reset": {strconv.FormatInt(s.clock.Add(time.Hour).Unix(), 10)}}
	reply := func(status int, v any) (int, http.Header, []byte) {
		b, err := json.Marshal(v)
		if err != nil {
			s.t.Errorf("encode an answer: %v", err)
		}
		return status, header, b
	}
	if req.URL.Path == "/graphql" {
		status, v := s.serveGraphQL(req, body)
		s.calls = append(s.calls, Call{Operation: "graphql", Path: req.URL.Path, Status: status, Body: string(body)})
		s.called.Broadcast()
		return reply(status, v)
	}
	route, params, err := s.desc.router.FindRoute(withPath(req, body))
	if err != nil {
		s.t.Errorf("a call that GitHub does not have, or the test server does not serve: %s %s", req.Method, req.URL)
		return reply(fail(http.StatusNotFound, "Not Found"))
	}
	for k, v := range params {
		if params[k], err = url.PathUnescape(v); err != nil {
			return reply(fail(http.StatusBadRequest, "bad path"))
		}
	}
	id := route.Operation.OperationID
	in := &openapi3filter.RequestValidationInput{Request: withPath(req, body), PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true}}
	if err := checkRequest(req.Context(), in); err != nil {
		s.t.Errorf("%s %s does not fit GitHub's description: %v\n%s", req.Method, req.URL, err, body)
	}
	c := &call{Server: s, params: params, query: req.URL.Query(), header: header}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &c.body); err != nil {
			return reply(fail(http.StatusBadRequest, "Problems parsing JSON"))
		}
	}
	status, v := s.handle(c, id, req)
	s.calls = append(s.calls, Call{Operation: id, Path: req.URL.Path, Login: c.login(), Status: status, Body: string(body)})
	s.called.Broadcast()
	// Fields that the handler left out are filled in from the description.
	b, err := json.Marshal(v)
	if err != nil {
		s.t.Errorf("encode an answer: %v", err)
	}
	if v != nil {
		var generic any
		if err := json.Unmarshal(b, &generic); err != nil {
			s.t.Errorf("encode an answer: %v", err)
		}
		if r := route.Operation.Responses.Status(status); r != nil && r.Value != nil && status < 400 {
			if m := r.Value.Content.Get("application/json"); m != nil {
				generic = complete(m.Schema, generic, 0)
			}
		}
		_, _, b = reply(status, generic)
	} else {
		b = nil
	}
	if status == http.StatusNoContent || b == nil {
		header.Del("Content-Type")
	}
	if err := checkAnswer(req.Context(), in, status, header, b); err != nil {
		s.t.Errorf("the answer to %s %s does not fit GitHub's description: %v", req.Method, req.URL, err)
	}
	if req.Method == http.MethodGet && status == http.StatusOK {
		sum := sha256.Sum256(append(b, header.Get("Link")...))
		tag := `W/"` + hex.EncodeToString(sum[:16]) + `"`
		header.Set("ETag", tag)
		if req.Header.Get("If-None-Match") == tag {
			s.calls[len(s.calls)-1].Status = http.StatusNotModified
			return http.StatusNotModified, header, nil
		}
	}
	return status, header, b
}

// withPath is a copy of the request with its body, and the path as it was sent.
func withPath(req *http.Request, body []byte) *http.Request {
	out := req.Clone(req.Context())
	out.Body = io.NopCloser(bytes.NewReader(body))
	out.ContentLength = int64(len(body))
	out.Header.Set("Accept", "application/json")
	if len(body) == 0 {
		out.Header.Del("Content-Type")
		out.Body = http.NoBody
	}
	return out
}

func (c *call) login() string {
	if c.actor == nil {
		return ""
	}
	return c.actor.login
}

func bearer(req *http.Request) string {
	return strings.TrimPrefix(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "), "token ")
}

// handle finds out who asks and what they may see, and lets the operation answer.
func (s *Server) handle(c *call, id string, req *http.Request) (int, any) {
	token := bearer(req)
	if strings.HasPrefix(id, "apps/") && id != "apps/get-authenticated" || id == "apps/get-authenticated" {
		return handlers()[id](c.withJWT(token))
	}
	if c.actor = s.tokens[token]; c.actor == nil {
		return fail(http.StatusUnauthorized, "Bad credentials")
	}
	if c.params["owner"] != "" {
		c.repo = s.repos[c.params["owner"]+"/"+c.params["repo"]]
		if c.repo == nil || c.repo.level(c.actor) == "none" {
			return fail(http.StatusNotFound, "Not Found")
		}
		if req.Method != http.MethodGet && !c.repo.writes(c.actor) && id != "issues/create-comment" && id != "pulls/create" && id != "pulls/create-review" {
			return fail(http.StatusForbidden, "Resource not accessible by integration")
		}
	}
	status, v := handlers()[id](c)
	if list, ok := v.([]any); ok && status == http.StatusOK {
		v = c.page(list, req)
	}
	return status, v
}

// page cuts a list, 30 to a page unless asked for more.
func (c *call) page(list []any, req *http.Request) []any {
	size, err := strconv.Atoi(c.query.Get("per_page"))
	if err != nil || size < 1 {
		size = 30
	}
	size = min(size, 100)
	n, err := strconv.Atoi(c.query.Get("page"))
	if err != nil || n < 1 {
		n = 1
	}
	from, to := min((n-1)*size, len(list)), min(n*size, len(list))
	if to < len(list) {
		q := req.URL.Query()
		q.Set("page", strconv.Itoa(n+1))
		c.header.Set("Link", fmt.Sprintf(`<%s%s?%s>; rel="next"`, strings.TrimSuffix(c.API, "/"), req.URL.EscapedPath(), q.Encode()))
	}
	if list[from:to] == nil {
		return []any{}
	}
	return list[from:to]
}
