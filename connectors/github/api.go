package github

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
)

// client sends requests about one organisation.
type client struct {
	rest         *rest.Client
	organisation string
	graphql      string
	now          func() time.Time
}

const (
	perPage = 100
	// maxPages bounds every list: a longer one is an error, never cut.
	maxPages = 10_000
)

// path returns a path of REST; each part is escaped.
func path(parts ...string) string {
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

func (c *client) team(slug string, more ...string) string {
	return path(append([]string{"orgs", c.organisation, "teams", slug}, more...)...)
}

// send makes one call of REST and decodes the answer into v; nil ignores it.
func (c *client) send(ctx context.Context, op, method, path string, query url.Values, body, v any) (*rest.Response, int, error) {
	r := rest.Request{Op: op, Method: method, Path: path, Query: query, Body: body}
	var resp *rest.Response
	var n int
	var err error
	if v == nil {
		resp, n, err = c.rest.Do(ctx, r)
	} else {
		resp, n, err = c.rest.JSON(ctx, r, v)
	}
	if err != nil {
		return nil, n, clarify(op, err)
	}
	return resp, n, partial(op, resp.Header)
}

// clarify explains GitHub's more specific errors.
func clarify(op string, err error) error {
	var answer *rest.StatusError
	if !errors.As(err, &answer) {
		return err
	}
	switch {
	case strings.HasPrefix(answer.Header.Get("X-Github-Sso"), "required"):
		return &connectors.Error{Code: connectors.Denied, Op: op, Err: answer,
			Message: "the organisation uses SAML, and the token isn't authorised for it: authorise it in the token's settings at GitHub (Configure SSO)"}
	case answer.Status == http.StatusForbidden && strings.Contains(explain(answer.Body), "archived"):
		return &connectors.Error{Code: connectors.Conflict, Op: op, Err: answer, Dependents: []string{"the archived repository"},
			Message: "the repository is archived, and nobody's access to it can be changed: unarchive it first"}
	case moved(answer):
		return &connectors.Error{Code: connectors.Conflict, Op: op, Err: answer,
			Message: "GitHub has renamed it: use the new name in the request, or the organisation's new name in the config; nothing was sent there"}
	}
	return err
}

// moved reports whether GitHub redirects to a repository or organisation by its id, as it does after a rename. Other
// redirects aren't GitHub's.
func moved(answer *rest.StatusError) bool {
	to, err := url.Parse(answer.Header.Get("Location"))
	if err != nil || answer.Status < 300 || answer.Status >= 400 {
		return false
	}
	return strings.Contains(to.Path, "/repositories/") || strings.Contains(to.Path, "/organizations/")
}

// partial refuses an incomplete answer. Only a header marks it.
// https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api
func partial(op string, h http.Header) error {
	if !strings.HasPrefix(h.Get("X-Github-Sso"), "partial-results") {
		return nil
	}
	return &connectors.Error{Code: connectors.Denied, Op: op,
		Message: "GitHub omitted items that the token isn't authorised for: the organisation uses SAML, so authorise the token for it (Configure SSO)"}
}

// list reads every page. Pages that form a cycle are an error.
func list[T any](ctx context.Context, c *client, op, path string, query url.Values) ([]T, error) {
	if query == nil {
		query = url.Values{}
	}
	query.Set("per_page", strconv.Itoa(perPage))
	out := []T{}
	seen := map[string]bool{}
	for range maxPages {
		var page []T
		resp, _, err := c.send(ctx, op, http.MethodGet, path, query, nil, &page)
		if err != nil {
			return nil, err
		}
		if page == nil {
			return nil, strange(op) // null isn't a list
		}
		out = append(out, page...)
		next, err := rest.NextPage(resp.Header)
		if err != nil {
			return nil, strange(op)
		}
		if next == "" {
			return out, nil
		}
		if seen[next] {
			return nil, &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "GitHub's pages form a cycle"}
		}
		seen[next] = true
		path, query = next, nil
	}
	return nil, tooMany(op)
}

func strange(op string) error {
	return &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "the answer isn't this API's: check the address, and for a proxy in between"}
}

func tooMany(op string) error {
	return &connectors.Error{Code: connectors.Unavailable, Op: op, Message: fmt.Sprintf("too many pages (expected at most %d)", maxPages)}
}

// fault is an error of GraphQL.
type fault struct {
	Type       string `json:"type"`
	Message    string `json:"message"`
	Path       []any  `json:"path"`
	Extensions struct {
		SAML bool `json:"saml_failure"`
	} `json:"extensions"`
}

// query sends a GraphQL query. An answer with an error, even one with data, is an error, except those that absent
// accepts: their objects are null.
func (c *client) query(ctx context.Context, op, text string, variables map[string]any, absent func(fault) bool, v any) error {
	for try := 0; ; try++ {
		var answer struct {
			Data   json.RawMessage `json:"data"`
			Errors []fault         `json:"errors"`
		}
		r := rest.Request{Op: op, Method: http.MethodPost, Path: c.graphql, Repeatable: true,
			Body: map[string]any{"query": text, "variables": variables}}
		resp, _, err := c.rest.JSON(ctx, r, &answer)
		if err != nil {
			return clarify(op, err)
		}
		if err := partial(op, resp.Header); err != nil {
			return err
		}
		err = nil
		again := false
		for _, f := range answer.Errors {
			switch {
			case absent != nil && absent(f):
				continue
			case f.Type == "RATE_LIMITED":
				// If the header names a time, the next request waits for it, or fails with RetryAfter.
				again = resp.Header.Get("X-Ratelimit-Remaining") == "0" && try < 2
				err = &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "GitHub's rate limit is used up", RetryAfter: time.Minute, Whole: true}
			case f.Extensions.SAML:
				err = &connectors.Error{Code: connectors.Denied, Op: op,
					Message: "the organisation uses SAML, and the token isn't authorised for it: authorise it in the token's settings at GitHub (Configure SSO)"}
			case f.Type == "NOT_FOUND" && len(f.Path) == 1 && f.Path[0] == "organization":
				err = &connectors.Error{Code: connectors.NotFound, Op: op, Message: "organisation not found, or not visible to the credential"}
			case f.Type == "FORBIDDEN", f.Type == "INSUFFICIENT_SCOPES":
				err = &connectors.Error{Code: connectors.Denied, Op: op,
					Message: "the credential that countersign uses lacks the right; countersign schema github --scripts shows the rights that it needs"}
			default:
				err = &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "GitHub answered a part of the query with an error"}
			}
			break
		}
		if again {
			continue
		}
		if err != nil {
			return err
		}
		if len(answer.Data) == 0 || bytes.Equal(answer.Data, []byte("null")) || json.Unmarshal(answer.Data, v) != nil {
			return strange(op)
		}
		return nil
	}
}

// explain extracts GitHub's message from an error.
func explain(body []byte) string {
	var e struct {
		Message string            `json:"message"`
		Errors  []json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	words := []string{e.Message}
	for _, raw := range e.Errors {
		var one struct {
			Message, Field, Code string
		}
		var text string
		switch {
		case json.Unmarshal(raw, &text) == nil:
			words = append(words, text)
		case json.Unmarshal(raw, &one) == nil && one.Message != "":
			words = append(words, one.Message)
		case one.Field != "":
			words = append(words, one.Field+" "+one.Code)
		}
	}
	return strings.Join(words, ": ")
}

// limited reports whether an answer is a rate limit, and how long to wait: by Retry-After, until the reset of the
// primary limit, or a minute if a secondary limit names no time.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
func (c *client) limited(resp *http.Response) (time.Duration, bool) {
	if resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusTooManyRequests {
		if wait, ok := rest.RetryAfter(resp.Header, c.now()); ok && resp.StatusCode == http.StatusServiceUnavailable {
			return wait, true
		}
		return 0, false
	}
	if wait, ok := rest.RetryAfter(resp.Header, c.now()); ok {
		return wait, true
	}
	if wait := c.pause(resp); wait > 0 {
		return wait, true
	}
	body, err := io.ReadAll(resp.Body) // already read and bounded
	if err != nil {
		return 0, false
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return time.Minute, resp.StatusCode == http.StatusTooManyRequests || strings.Contains(explain(body), "secondary rate limit")
}

// pause returns the time until the primary limit is reset if it is used up.
func (c *client) pause(resp *http.Response) time.Duration {
	if resp.Header.Get("X-Ratelimit-Remaining") != "0" {
		return 0
	}
	at, err := strconv.ParseInt(resp.Header.Get("X-Ratelimit-Reset"), 10, 64)
	if err != nil {
		return 0
	}
	return max(time.Unix(at, 0).Sub(c.now())+time.Second, 0)
}
