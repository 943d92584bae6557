package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/countersign/countersign/connectors"
)

// Config configures a Client.
type Config struct {
	// URL is the API's root: https://HOST/path, or http on loopback. It must not contain credentials.
	URL string
	// Authorize adds the credential to a request; nil adds none.
	Authorize func(*http.Request) error
	// Secrets never appear in an error, whatever the application answers.
	Secrets []connectors.Secret
	// Header is sent with every request.
	Header http.Header
	// ContentType is the request bodies' type; "" means application/json.
	ContentType string
	// Explain extracts the application's message from the body of an error; nil leaves it out.
	Explain func(body []byte) string
	// Limited reports whether an answer is a rate limit, and how long to wait; nil recognises 429 and Retry-After. It
	// may read the body if it restores it.
	Limited func(*http.Response) (wait time.Duration, limited bool)
	// Pause returns, from the headers of a successful answer, how long to wait before the next request (an exhausted
	// rate limit); nil never waits.
	Pause func(*http.Response) time.Duration
	// Timeout bounds one try; 0 means 30 s. MaxWait bounds one wait: a request that would wait longer fails, with the
	// time in the error; 0 means a minute. Retries is the number of retries; 0 means 4, negative none.
	Timeout, MaxWait time.Duration
	Retries          int
	// MinWait is the first wait after a fault that names none, doubled each time; 0 means 250 ms.
	MinWait time.Duration
	// MaxAnswer bounds one answer in bytes; 0 means 32 MiB.
	MaxAnswer int64
	// Transport carries the requests; nil means http.DefaultTransport.
	Transport http.RoundTripper
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Client sends requests to one application. It isn't safe for concurrent use.
type Client struct {
	config Config
	root   *url.URL
	http   *http.Client
	after  time.Time // earliest time of the next request
	calls  int
}

// Request is one call.
type Request struct {
	Op     string // its purpose, for errors: "read the groups"
	Method string
	// Path is below Config.URL, with its parts already escaped (url.PathEscape); or an absolute URL on the same host,
	// as found in links.
	Path   string
	Query  url.Values
	Body   any // encoded as JSON; []byte is sent unchanged; nil sends none
	Header http.Header
	// Repeatable marks a POST that is idempotent.
	Repeatable bool
	// OneTime forbids a retry after a fault that may have come after the change, although the method is idempotent.
	OneTime bool
}

// Response is an answer with a status below 300.
type Response struct {
	Status   int
	Header   http.Header
	Body     []byte
	Attempts int
}

// StatusError is the cause of an error that the application answered: errors.As finds it.
type StatusError struct {
	Status int
	Header http.Header
	Body   []byte
}

// Error returns the status alone.
func (e *StatusError) Error() string { return "HTTP status " + strconv.Itoa(e.Status) }

// New checks the configuration. It opens nothing. Its error is a *connectors.Error.
func New(c Config) (*Client, error) {
	var address connectors.Address
	root := &url.URL{}
	err := address.UnmarshalText([]byte(c.URL))
	if err == nil {
		root, err = url.Parse(strings.TrimSuffix(c.URL, "/"))
	}
	if err != nil {
		// The address may contain a secret by mistake, so it isn't repeated.
		return nil, &connectors.Error{Code: connectors.Invalid, Op: "configure the API's address", Message: "wrong form (expected https://HOST/PATH without credentials or query; http is for loopback)"}
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.MaxWait == 0 {
		c.MaxWait = time.Minute
	}
	if c.MinWait == 0 {
		c.MinWait = 250 * time.Millisecond
	}
	if c.MaxAnswer == 0 {
		c.MaxAnswer = 32 << 20
	}
	switch {
	case c.Retries == 0:
		c.Retries = 4
	case c.Retries < 0:
		c.Retries = 0
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.ContentType == "" {
		c.ContentType = "application/json"
	}
	client := &Client{config: c, root: root}
	client.http = &http.Client{Transport: Bounded(c.Transport, c.Timeout, c.MaxAnswer),
		// Redirects are returned to the caller: a token must not follow them.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return client, nil
}

// Calls returns the number of requests sent so far, retries included.
func (c *Client) Calls() int { return c.calls }

// Do sends a request, retries where that is safe, and returns the answer. Its error is a *connectors.Error; attempts
// counts the tries, also with an error.
func (c *Client) Do(ctx context.Context, r Request) (_ *Response, attempts int, err error) {
	req, err := c.request(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	if wait := c.after.Sub(c.config.Now()); wait > 0 {
		if wait > c.config.MaxWait {
			return nil, 1, &connectors.Error{Code: connectors.Unavailable, Op: r.Op, Message: "the application's rate limit is used up", RetryAfter: wait, Whole: true}
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, 1, c.failed(ctx, r, err)
		}
	}
	var wait time.Duration
	var limited bool
	retry := retryablehttp.Client{HTTPClient: c.http, RetryMax: c.config.Retries, ErrorHandler: retryablehttp.PassthroughErrorHandler,
		RetryWaitMin: c.config.MinWait, RetryWaitMax: c.config.MaxWait,
		RequestLogHook: func(_ retryablehttp.Logger, _ *http.Request, n int) { attempts = n + 1; c.calls++ },
		CheckRetry: func(ctx context.Context, resp *http.Response, err error) (bool, error) {
			wait, limited = c.limited(resp)
			return c.again(ctx, r, resp, err)
		},
		Backoff: func(low, high time.Duration, n int, _ *http.Response) time.Duration {
			if limited {
				return wait // the body, which may explain it, is already consumed
			}
			return min(low<<n, high)
		}}
	resp, err := retry.Do(req)
	if err != nil {
		if resp != nil {
			err = errors.Join(err, resp.Body.Close())
		}
		return nil, max(attempts, 1), c.failed(ctx, r, err)
	}
	body, err := io.ReadAll(resp.Body) // already bounded
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, attempts, c.failed(ctx, r, err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body)) // Limited may read it
	if c.config.Pause != nil {
		if wait := c.config.Pause(resp); wait > 0 {
			c.after = c.config.Now().Add(wait)
		}
	}
	if resp.StatusCode >= 300 {
		return nil, attempts, c.refused(r, req.Header, resp, body)
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: body, Attempts: attempts}, attempts, nil
}

// JSON calls Do and decodes the answer into v. An answer that isn't JSON, or has another shape than v, is
// Unavailable: something other than the application answered.
func (c *Client) JSON(ctx context.Context, r Request, v any) (*Response, int, error) {
	resp, n, err := c.Do(ctx, r)
	if err != nil {
		return nil, n, err
	}
	// null would leave v unchanged, and would be taken for an empty list.
	err = json.Unmarshal(resp.Body, v)
	if err == nil && string(bytes.TrimSpace(resp.Body)) == "null" {
		err = errors.New("unexpected answer: null")
	}
	if err != nil {
		return nil, n, &connectors.Error{Code: connectors.Unavailable, Op: r.Op, Err: err,
			Message: "the answer isn't this API's: check the address, and for a proxy in between"}
	}
	return resp, n, nil
}

func (c *Client) request(ctx context.Context, r Request) (*retryablehttp.Request, error) {
	target := *c.root
	if strings.Contains(r.Path, "://") {
		u, err := url.Parse(r.Path)
		if err != nil || u.Host != c.root.Host || u.Scheme != c.root.Scheme || u.User != nil {
			return nil, &connectors.Error{Code: connectors.Unavailable, Op: r.Op, Message: "the application's answer links to another host; nothing was sent there"}
		}
		target = *u
	} else {
		path := strings.TrimSuffix(c.root.EscapedPath(), "/") + "/" + strings.TrimPrefix(r.Path, "/")
		plain, err := url.PathUnescape(path)
		if err != nil {
			return nil, &connectors.Error{Code: connectors.Invalid, Op: r.Op, Message: "invalid path", Err: err}
		}
		if slices.ContainsFunc(strings.Split(r.Path, "/"), dots) {
			// An id of dots would turn a request about one object into one about its collection.
			return nil, &connectors.Error{Code: connectors.Invalid, Op: r.Op, Message: "a name or id can't consist of dots"}
		}
		target.Path, target.RawPath = plain, path
	}
	if r.Query != nil {
		target.RawQuery = r.Query.Encode()
	}
	var body any
	switch b := r.Body.(type) {
	case nil:
	case []byte:
		body = b
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			return nil, &connectors.Error{Code: connectors.Invalid, Op: r.Op, Message: "invalid request: can't be encoded", Err: err}
		}
		body = encoded
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, r.Method, target.String(), body)
	if err != nil {
		return nil, &connectors.Error{Code: connectors.Invalid, Op: r.Op, Message: "invalid request"}
	}
	req.Header.Set("User-Agent", "countersign")
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", c.config.ContentType)
	}
	for _, h := range []http.Header{c.config.Header, r.Header} {
		for k, v := range h {
			req.Header[k] = v
		}
	}
	if c.config.Authorize != nil {
		if err := c.config.Authorize(req.Request); err != nil {
			return nil, err
		}
	}
	return req, nil
}

// dots reports whether a part of a path is . or .., also in escaped form.
func dots(part string) bool {
	plain, err := url.PathUnescape(part)
	return err == nil && (plain == "." || plain == "..")
}

// again decides whether to retry: after a rate limit always, since nothing was done; after a fault of the server or
// the network only if the request is idempotent, whatever wait the answer names.
func (c *Client) again(ctx context.Context, r Request, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	repeatable := !r.OneTime && (r.Repeatable || r.Method != http.MethodPost)
	if err != nil {
		return repeatable && !errors.Is(err, ErrTooLarge), nil
	}
	if wait, limited := c.limited(resp); limited {
		// A proxy also answers "unavailable" when it has stopped waiting while the application still works.
		return wait <= c.config.MaxWait && (repeatable || resp.StatusCode < 500), nil
	}
	return repeatable && resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented, nil
}

func (c *Client) limited(resp *http.Response) (time.Duration, bool) {
	if resp == nil {
		return 0, false
	}
	if c.config.Limited != nil {
		return c.config.Limited(resp)
	}
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0, false
	}
	wait, ok := RetryAfter(resp.Header, c.config.Now())
	return wait, ok || resp.StatusCode == http.StatusTooManyRequests
}

// maxRetryAfter is the longest wait that is accepted: more is a mistake, or would overflow.
const maxRetryAfter = 24 * time.Hour

// RetryAfter parses the header of that name: seconds or a date (RFC 9110, 10.2.3). It returns a day at most.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	v := h.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil && s >= 0 {
		return time.Duration(min(s, int(maxRetryAfter/time.Second))) * time.Second, true
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter), true
	}
	return time.Second, false
}

// refused returns the error for an answer. sent is the header of the request.
func (c *Client) refused(r Request, sent http.Header, resp *http.Response, body []byte) error {
	e := &connectors.Error{Op: r.Op, Err: &StatusError{Status: resp.StatusCode, Header: resp.Header, Body: body}}
	said := ""
	if c.config.Explain != nil {
		said = c.config.Explain(body)
		// The config's secrets include neither a fetched token nor a password's encoding.
		if _, credential, ok := strings.Cut(sent.Get("Authorization"), " "); ok && credential != "" {
			said = strings.ReplaceAll(said, credential, connectors.Secret{}.String())
		}
		said = c.plain(said)
	}
	wait, limited := c.limited(resp)
	switch s := resp.StatusCode; {
	case limited:
		e.Code, e.RetryAfter, e.Whole, e.Message = connectors.Unavailable, wait, true, "rate-limited by the application"
		c.after = c.config.Now().Add(wait)
	case s == http.StatusUnauthorized:
		e.Code, e.Message = connectors.Denied, "the application rejected the credential"
	case s == http.StatusForbidden:
		e.Code, e.Message = connectors.Denied, "the credential that countersign uses lacks the right"
	case s == http.StatusNotFound || s == http.StatusGone:
		e.Code, e.Message = connectors.NotFound, "not found"
	case s == http.StatusConflict || s == http.StatusPreconditionFailed || s == http.StatusPreconditionRequired:
		e.Code, e.Message = connectors.Conflict, "it differs from what was expected; somebody else may be writing"
	case s == http.StatusMethodNotAllowed || s == http.StatusNotImplemented:
		e.Code, e.Message = connectors.Unsupported, "the application doesn't support this"
	case s >= 500 || s == http.StatusRequestTimeout || s == http.StatusTooEarly:
		e.Code, e.Message = connectors.Unavailable, "the application failed"
	case s < 400:
		e.Code, e.Message = connectors.Unavailable, "the application redirected to another address, which was not followed: correct the address in the config"
	default:
		e.Code, e.Message = connectors.Invalid, "the application rejected the request"
	}
	e.Message += " (status " + strconv.Itoa(resp.StatusCode) + ")"
	if said != "" {
		e.Message += ": " + said
	}
	return e
}

// maxSaid bounds the part of an answer that an error repeats, in bytes.
const maxSaid = 300

// plain makes foreign text safe for an error: one short line, without secrets.
func (c *Client) plain(s string) string {
	for _, secret := range c.config.Secrets {
		if v := secret.Reveal(); v != "" {
			s = strings.ReplaceAll(s, v, secret.String())
		}
	}
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(s) > maxSaid {
		s = strings.ToValidUTF8(s[:maxSaid], "") + "…"
	}
	return s
}

// failed returns the error for a request without an answer. The cause names the address, never the headers.
func (c *Client) failed(ctx context.Context, r Request, err error) error {
	if stopped := connectors.Stopped(ctx, r.Op); stopped != nil {
		return stopped
	}
	e := &connectors.Error{Code: connectors.Unavailable, Op: r.Op, Err: err, Whole: !errors.Is(err, ErrTooLarge)}
	var timeout net.Error
	var dns *net.DNSError
	switch {
	case errors.Is(err, ErrTooLarge):
		e.Message = fmt.Sprintf("the answer is larger than %d bytes", c.config.MaxAnswer)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Message = "the request timed out"
	case errors.As(err, &dns):
		e.Message = "the host in the application's address is unknown: check the config"
	default:
		e.Message = "the application at " + c.root.Host + " can't be reached, or broke the connection"
	}
	return e
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
