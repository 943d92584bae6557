package okta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
)

// api is the part of Okta's management API that the connector uses.
type api struct {
	client   *rest.Client
	tokens   *tokens // nil with an API token
	now      func() time.Time
	attempts int // of the last request
}

// do sends a request and decodes the answer into v, unless it is nil. An error is a *connectors.Error with the
// code that Okta's own means.
func (a *api) do(ctx context.Context, r rest.Request, v any) (*rest.Response, error) {
	resp, err := a.once(ctx, r, v)
	if a.tokens != nil && unauthorized(err) {
		// The token ended before its time, which says nothing about the credential.
		a.tokens.forget()
		resp, err = a.once(ctx, r, v)
	}
	return resp, classify(err)
}

func (a *api) once(ctx context.Context, r rest.Request, v any) (resp *rest.Response, err error) {
	if v == nil {
		resp, a.attempts, err = a.client.Do(ctx, r)
	} else {
		resp, a.attempts, err = a.client.JSON(ctx, r, v)
	}
	return resp, err
}

// change sends a request that changes something. What Okta answers to one is nothing (204) or what was changed; a page
// of something in between is neither, and does not mean that it was done.
func (a *api) change(ctx context.Context, r rest.Request) error {
	resp, err := a.do(ctx, r, nil)
	if err != nil {
		return err
	}
	var changed struct {
		ID string `json:"id"`
	}
	switch {
	case resp.Status == http.StatusNoContent, resp.Status == http.StatusCreated && len(resp.Body) == 0:
		return nil
	case json.Unmarshal(resp.Body, &changed) == nil && changed.ID != "":
		return nil
	}
	return &connectors.Error{Code: connectors.Unavailable, Op: r.Op, Message: "the answer is not Okta's: is the address right, and nothing else in between?"}
}

func unauthorized(err error) bool {
	var s *rest.StatusError
	return errors.As(err, &s) && s.Status == http.StatusUnauthorized
}

// failure is the body of an error (Errors).
type failure struct {
	Code    string `json:"errorCode"`
	Summary string `json:"errorSummary"`
	Causes  []struct {
		Summary string `json:"errorSummary"`
	} `json:"errorCauses"`
	// The token endpoint has its own form (RFC 6749, 5.2).
	OAuth       string `json:"error"`
	Description string `json:"error_description"`
}

func parseFailure(body []byte) failure {
	var f failure
	if json.Unmarshal(body, &f) != nil {
		return failure{}
	}
	return f
}

// explain is what Okta says of an error, without a token that it may repeat.
func (a *api) explain(body []byte) string {
	f := parseFailure(body)
	parts := []string{f.Summary}
	for _, c := range f.Causes {
		parts = append(parts, c.Summary)
	}
	parts = append(parts, f.Code, f.OAuth, f.Description)
	said := strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
	if a.tokens != nil && a.tokens.value != "" {
		said = strings.ReplaceAll(said, a.tokens.value, connectors.Secret{}.String())
	}
	return said
}

// exists says that Okta refuses a value since there is one already.
func (f failure) exists() bool {
	return slices.ContainsFunc(f.Causes, func(c struct {
		Summary string `json:"errorSummary"`
	}) bool {
		return strings.Contains(c.Summary, "already exists")
	}) || strings.Contains(f.Summary, "already exists")
}

// Codes of Okta's errors.
const (
	codeNotFound      = "E0000007"
	codeUnsupported   = "E0000022"
	codeStatus        = "E0000038" // not allowed in the user's current status
	codeDuplicateRole = "E0000090"
)

// failureOf is the answer that an error came with.
func failureOf(err error) (failure, bool) {
	var s *rest.StatusError
	if !errors.As(err, &s) {
		return failure{}, false
	}
	return parseFailure(s.Body), true
}

// classify corrects the code of an error by what Okta says in the body.
func classify(err error) error {
	f, answered := failureOf(err)
	if !answered {
		return err
	}
	code := connectors.CodeOf(err)
	switch {
	case code == connectors.NotFound && f.Code != codeNotFound:
		var e *connectors.Error
		errors.As(err, &e)
		return &connectors.Error{Code: connectors.Unavailable, Op: e.Op, Err: e.Err,
			Message: "something else than Okta's API says that it is not there: is the address right, and nothing else in between?"}
	case f.Code == codeUnsupported:
		return recode(err, connectors.Unsupported)
	case f.Code == codeStatus, code == connectors.Invalid && f.exists():
		return recode(err, connectors.Conflict)
	}
	return err
}

// recode is the same error with another code.
func recode(err error, code connectors.Code) error {
	var e *connectors.Error
	if !errors.As(err, &e) {
		return err
	}
	other := *e
	other.Code = code
	return &other
}

func absent(err error) bool { return connectors.CodeOf(err) == connectors.NotFound }

// What lists are asked for at once. Okta gives less where it wants to.
const (
	pageSize    = "200"
	membersPage = "1000"
	// maxPages bounds a list: at 200 a page, two million.
	maxPages = 10_000
)

type listable[T any] interface {
	*T
	whole() bool
}

// list gets all pages of a list. Anything but a whole list is an error.
func list[T any, P listable[T]](ctx context.Context, a *api, op, path string, query url.Values) ([]T, error) {
	fault := func(message string) error {
		return &connectors.Error{Code: connectors.Unavailable, Op: op, Message: message}
	}
	var all []T
	seen := map[string]bool{}
	req := rest.Request{Op: op, Method: http.MethodGet, Path: path, Query: query}
	for range maxPages {
		var page []T
		resp, err := a.do(ctx, req, &page)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if !P(&page[i]).whole() {
				return nil, fault("the answer has an entry without an id or a name")
			}
		}
		all = append(all, page...)
		next, err := nextPage(resp.Header, path)
		switch {
		case err != nil:
			return nil, fault(err.Error())
		case next == "":
			return all, nil
		case seen[next]:
			return nil, fault("the pages of the list do not end: one leads back to another")
		}
		seen[next] = true
		req.Path, req.Query = next, nil
	}
	return nil, fault("the list has more pages than can be")
}

var (
	errLink  = errors.New("could not read the answer's Link header, so the rest of the list is unknown")
	errLinks = errors.New("the answer's next page belongs to another list")
)

// nextPage is the address of the next page of the list at path, "" at the end (API overview, Pagination).
func nextPage(h http.Header, path string) (string, error) {
	next, err := rest.NextPage(h)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errLink, err)
	}
	if next == "" {
		return "", nil
	}
	u, err := url.Parse(next)
	if err != nil || u.RawQuery == "" {
		return "", errLink
	}
	if !strings.HasSuffix(u.EscapedPath(), path) {
		return "", errLinks
	}
	return next, nil
}

// How long to wait for Okta, and how much of a rate limit to leave to others.
const (
	maxWait = 2 * time.Minute
	// windows are a minute long; what is further away than this is no window's end.
	maxWindow = 10 * time.Minute
	share     = 10
)

// window reads the headers of a rate limit: how many requests are allowed and left in a window, and how long
// until the next one by the server's own clock (Rate limits, Check your rate limits).
func (a *api) window(h http.Header) (limit, left int, wait time.Duration, ok bool) {
	limit, err1 := strconv.Atoi(h.Get("X-Rate-Limit-Limit"))
	left, err2 := strconv.Atoi(h.Get("X-Rate-Limit-Remaining"))
	reset, err3 := strconv.ParseInt(h.Get("X-Rate-Limit-Reset"), 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return 0, 0, 0, false
	}
	now := a.now()
	if at, err := http.ParseTime(h.Get("Date")); err == nil {
		now = at
	}
	if reset < 0 || reset >= now.Add(maxWindow).Unix() {
		return 0, 0, 0, false
	}
	// The instants are whole seconds.
	return limit, left, time.Duration(max(reset-now.Unix(), 0)+1) * time.Second, true
}

// pause waits for the next window when little is left of this one: the limit is the whole organisation's.
func (a *api) pause(resp *http.Response) time.Duration {
	limit, left, wait, ok := a.window(resp.Header)
	if !ok || left > limit/share {
		return 0
	}
	return wait
}

// limited knows 429 with the headers of the rate limit, and Retry-After of a proxy in between.
func (a *api) limited(resp *http.Response) (time.Duration, bool) {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0, false
	}
	wait, said := rest.RetryAfter(resp.Header, a.now())
	if resp.StatusCode == http.StatusServiceUnavailable {
		return wait, said
	}
	if !said {
		if _, _, until, ok := a.window(resp.Header); ok {
			wait = until
		}
	}
	return wait, true
}

// The lists.

func (a *api) groups(ctx context.Context, stats bool) ([]group, error) {
	q := url.Values{"limit": {pageSize}}
	if stats {
		q.Set("expand", "stats")
	}
	const op = "list the groups"
	all, err := list[group](ctx, a, op, "/api/v1/groups", q)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, &connectors.Error{Code: connectors.Denied, Op: op, Message: "Okta shows no group at all, and there always are some: the credential's administrator role lets it see none"}
	}
	return distinct(all, func(g group) string { return g.ID }), nil
}

// distinct drops what stands in two pages, since the list changed between them.
func distinct[T any](all []T, key func(T) string) []T {
	seen := make(map[string]bool, len(all))
	return slices.DeleteFunc(all, func(v T) bool {
		k := key(v)
		was := seen[k]
		seen[k] = true
		return was
	})
}

func groupPath(id string) string { return "/api/v1/groups/" + url.PathEscape(id) }

func (a *api) members(ctx context.Context, id string) ([]user, error) {
	return list[user](ctx, a, "list the members of a group", groupPath(id)+"/users", url.Values{"limit": {membersPage}})
}

func (a *api) roles(ctx context.Context, id string) ([]role, error) {
	return list[role](ctx, a, "list the administrator roles of a group", groupPath(id)+"/roles", nil)
}

func (a *api) groupApplications(ctx context.Context, id string) ([]application, error) {
	return list[application](ctx, a, "list the applications of a group", groupPath(id)+"/apps", url.Values{"limit": {pageSize}})
}

func (a *api) applications(ctx context.Context) ([]application, error) {
	all, err := list[application](ctx, a, "list the applications", "/api/v1/apps", url.Values{"limit": {pageSize}})
	return distinct(all, func(v application) string { return v.ID }), err
}

func applicationPath(id string) string { return "/api/v1/apps/" + url.PathEscape(id) + "/groups" }

func (a *api) applicationGroups(ctx context.Context, id string) ([]assignment, error) {
	return list[assignment](ctx, a, "list the groups of an application", applicationPath(id), url.Values{"limit": {pageSize}})
}

func (a *api) rules(ctx context.Context) ([]rule, error) {
	return list[rule](ctx, a, "list the group rules", "/api/v1/groups/rules", url.Values{"limit": {pageSize}})
}

// users are all users, also the deprovisioned ones, which the plain list leaves out.
func (a *api) users(ctx context.Context) ([]user, error) {
	const op, path = "list the users", "/api/v1/users"
	all, err := list[user](ctx, a, op, path, url.Values{"limit": {pageSize}})
	if err != nil {
		return nil, err
	}
	gone, err := list[user](ctx, a, op, path, url.Values{"limit": {pageSize}, "filter": {`status eq "DEPROVISIONED"`}})
	if err != nil {
		return nil, err
	}
	return distinct(append(all, gone...), func(u user) string { return u.ID }), nil
}

// user is the user of an id or login, nil when there is none.
func (a *api) user(ctx context.Context, ref string) (*user, error) {
	const op = "read a user"
	var u user
	_, err := a.do(ctx, rest.Request{Op: op, Method: http.MethodGet, Path: "/api/v1/users/" + url.PathEscape(ref)}, &u)
	switch {
	case absent(err):
		return nil, nil
	case err != nil:
		return nil, err
	case !u.whole():
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "the answer is no user"}
	}
	return &u, nil
}

// fetchable says whether a login can stand in a path: Okta takes none with a slash or question mark there, and .
// and .. are parts of a path.
func fetchable(login string) bool {
	return !strings.ContainsAny(login, "/?") && login != "." && login != ".."
}

// byLogin is the user who has exactly this login, nil when nobody has.
func (a *api) byLogin(ctx context.Context, login string) (*user, error) {
	if !fetchable(login) {
		all, err := a.users(ctx)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(all, func(u user) bool { return u.name() == fold(login) }); i >= 0 {
			return &all[i], nil
		}
		return nil, nil
	}
	u, err := a.user(ctx, login)
	if err != nil || u == nil || u.name() != fold(login) {
		return nil, err // an id, a short name, or me
	}
	return u, nil
}

// group is the group of an id, nil when there is none.
func (a *api) group(ctx context.Context, id string) (*group, error) {
	const op = "read a group"
	var g group
	_, err := a.do(ctx, rest.Request{Op: op, Method: http.MethodGet, Path: groupPath(id)}, &g)
	switch {
	case absent(err):
		return nil, nil
	case err != nil:
		return nil, err
	case !g.whole() || g.ID != id:
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "the answer is another group than the one asked for"}
	}
	return &g, nil
}
