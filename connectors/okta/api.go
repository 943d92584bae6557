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

// do sends a request and decodes the answer into v, unless it is nil. An error is a *connectors.Error with a code
// that corresponds to Okta's.
func (a *api) do(ctx context.Context, r rest.Request, v any) (*rest.Response, error) {
	resp, err := a.once(ctx, r, v)
	if a.tokens != nil && unauthorized(err) {
		// The token expired early, which doesn't mean that the credential is invalid.
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

// change sends a request that changes something. Okta's answer is empty (204) or the changed object; a proxy's page
// is neither, and doesn't confirm the change.
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
	return &connectors.Error{Code: connectors.Unavailable, Op: r.Op, Message: "the answer isn't Okta's: check the address, and for a proxy in between"}
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

// explain extracts Okta's message from an error, without a token that it may repeat.
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

// exists reports whether Okta refuses a value because it exists already.
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

// failureOf returns the answer that caused an error.
func failureOf(err error) (failure, bool) {
	var s *rest.StatusError
	if !errors.As(err, &s) {
		return failure{}, false
	}
	return parseFailure(s.Body), true
}

// classify corrects the code of an error by the body of Okta's answer.
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
			Message: "not found, but the answer isn't from Okta's API: check the address, and for a proxy in between"}
	case f.Code == codeUnsupported:
		return recode(err, connectors.Unsupported)
	case f.Code == codeStatus, code == connectors.Invalid && f.exists():
		return recode(err, connectors.Conflict)
	}
	return err
}

// recode returns the same error with another code.
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

// Page sizes. Okta may send smaller pages.
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

// list gets all pages of a list. An incomplete list is an error.
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
			return nil, fault("the pages of the list form a cycle")
		}
		seen[next] = true
		req.Path, req.Query = next, nil
	}
	return nil, fault("the list exceeds the limit of pages")
}

var (
	errLink  = errors.New("could not read the answer's Link header, so the rest of the list is unknown")
	errLinks = errors.New("the answer's next page belongs to another list")
)

// nextPage returns the address of the next page of the list at path, "" at the end (API overview, Pagination).
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

// Limits for waiting, and the share of a rate limit that is left to others.
const (
	maxWait = 2 * time.Minute
	// windows are a minute long; a later instant isn't a window's end
	maxWindow = 10 * time.Minute
	share     = 10
)

// window reads the headers of a rate limit: the allowed and remaining requests in a window, and the time until the
// next one by the server's own clock (Rate limits, Check your rate limits).
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
	// The instants have no fractions of seconds.
	return limit, left, time.Duration(max(reset-now.Unix(), 0)+1) * time.Second, true
}

// pause waits for the next window when little is left of this one: the limit is the organisation's.
func (a *api) pause(resp *http.Response) time.Duration {
	limit, left, wait, ok := a.window(resp.Header)
	if !ok || left > limit/share {
		return 0
	}
	return wait
}

// limited recognises 429 with the headers of the rate limit, and Retry-After of a proxy in between.
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
		return nil, &connectors.Error{Code: connectors.Denied, Op: op, Message: "Okta returned no groups, although every organisation has some: the credential's administrator role doesn't see any"}
	}
	return distinct(all, func(g group) string { return g.ID }), nil
}

// distinct drops duplicates from two pages, between which the list changed.
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

// users lists all users, also the deprovisioned ones, which the plain list omits.
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

// user returns the user of an id or login, or nil.
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
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "the answer isn't a user"}
	}
	return &u, nil
}

// fetchable reports whether a login can be used in a path: Okta doesn't accept a slash or question mark there, and .
// and .. are parts of a path.
func fetchable(login string) bool {
	return !strings.ContainsAny(login, "/?") && login != "." && login != ".."
}

// byLogin returns the user who has exactly this login, or nil.
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

// group returns the group of an id, or nil.
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
		return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "the answer is another group than the requested one"}
	}
	return &g, nil
}
