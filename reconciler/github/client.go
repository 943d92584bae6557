package github

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	gh "github.com/google/go-github/v60/github"
	"github.com/hashicorp/go-retryablehttp"

	"github.com/countersign/countersign/connectors/rest"
	"github.com/countersign/countersign/reconciler/history"
)

// DefaultURL is the root of github.com's API.
const DefaultURL = "https://api.github.com/"

const (
	// maxAnswer bounds what one call may answer.
	maxAnswer = 32 << 20
	// maxPages bounds every list: what is longer is an error, never cut.
	maxPages = 200
	perPage  = 100
)

// App is the identity of a GitHub App.
type App struct {
	ID, Installation int64
	// Key is its private key, in PEM.
	Key []byte
}

// Config configures a Client: its repository and its identity. The operator sets the host, never a file in Git:
// otherwise a pull request could send the token elsewhere.
type Config struct {
	// Repository is owner/name. Required.
	Repository string
	// URL is the API's root; "" is DefaultURL. GitHub Enterprise Server's is https://HOST/api/v3/.
	URL string
	// ServerURL is the root under which repositories are cloned; "" is https://github.com.
	ServerURL string
	// Token is a token, App an App's identity. One of them is required.
	Token string
	App   *App
	// Transport carries the requests; nil is the standard one.
	Transport http.RoundTripper
	// MaxWait is the longest that a call waits before it is tried again; a longer rate limit is an error with its
	// end. 0 is one minute.
	MaxWait time.Duration
	// Timeout bounds one try of one call; 0 is half a minute.
	Timeout time.Duration
	// MinWait is the first wait after a fault of the server; 0 is half a second.
	MinWait time.Duration
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Logger takes diagnostics; nil discards them.
	Logger *slog.Logger
}

// Client calls the API of one repository. It is safe for concurrent use.
type Client struct {
	config      Config
	owner, name string
	api         *gh.Client
	app         *ghinstallation.Transport
}

// New checks the configuration. It opens nothing.
func New(c Config) (*Client, error) {
	owner, name, ok := strings.Cut(c.Repository, "/")
	if !ok || owner == "" || name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("github: the repository is %q; write owner/name", c.Repository)
	}
	if c.URL == "" {
		c.URL = DefaultURL
	}
	root, err := url.Parse(strings.TrimSuffix(c.URL, "/") + "/")
	if err != nil || root.Host == "" || root.User != nil || (root.Scheme != "https" && !isLoopback(root.Hostname())) {
		return nil, errors.New("github: the API's address must be https://HOST/ without credentials in it")
	}
	if (c.Token == "") == (c.App == nil) {
		return nil, errors.New("github: needs a token (GITHUB_TOKEN) or an App's identity, and not both")
	}
	if c.ServerURL == "" {
		c.ServerURL = "https://github.com"
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	if c.MaxWait == 0 {
		c.MaxWait = time.Minute
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.MinWait == 0 {
		c.MinWait = 500 * time.Millisecond
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	client := &Client{config: c, owner: owner, name: name}
	bounded := rest.Bounded(c.Transport, c.Timeout, maxAnswer)
	var authorized http.RoundTripper = &bearer{token: c.Token, next: bounded}
	if c.App != nil {
		if client.app, err = ghinstallation.New(bounded, c.App.ID, c.App.Installation, c.App.Key); err != nil {
			return nil, errors.New("github: the App's private key cannot be read: it is a PEM file as GitHub made it")
		}
		client.app.InstallationTokenOptions = &gh.InstallationTokenOptions{Repositories: []string{name}}
		client.app.BaseURL = strings.TrimSuffix(root.String(), "/")
		authorized = client.app
	}
	retry := retryablehttp.NewClient()
	retry.Logger = nil
	retry.RetryMax = 4
	retry.HTTPClient = &http.Client{Transport: &conditional{next: &home{host: root.Host, scheme: root.Scheme, next: authorized}}, CheckRedirect: sameHost}
	retry.CheckRetry = client.again
	retry.Backoff = client.backoff
	retry.ErrorHandler = retryablehttp.PassthroughErrorHandler
	// go-github doesn't wait for rate limits by itself; it sees only the last try.
	httpClient := &http.Client{Transport: &either{next: &retryablehttp.RoundTripper{Client: retry}}, CheckRedirect: sameHost}
	client.api = gh.NewClient(httpClient)
	client.api.BaseURL = root
	client.api.UserAgent = "countersign"
	return client, nil
}

func isLoopback(host string) bool { return host == "127.0.0.1" || host == "localhost" || host == "::1" }

// Repository is owner/name.
func (c *Client) Repository() string { return c.owner + "/" + c.name }

// Remote returns where the repository is cloned from.
func (c *Client) Remote() history.Remote {
	return history.Remote{URL: strings.TrimSuffix(c.config.ServerURL, "/") + "/" + c.Repository() + ".git", Password: c.Password}
}

// Password is what authenticates as x-access-token over Git's HTTP.
func (c *Client) Password(ctx context.Context) (string, error) {
	if c.app == nil {
		return c.config.Token, nil
	}
	token, err := c.app.Token(ctx)
	if err != nil {
		return "", fmt.Errorf("get a token for the App's installation: %w", err)
	}
	return token, nil
}

// sameHost follows a renamed repository, but not to another host, and not where a write would become a read.
func sameHost(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case len(via) >= 5:
		return fmt.Errorf("%w: GitHub redirected five times", errRefused)
	case req.URL.Host != first.URL.Host || req.URL.Scheme != first.URL.Scheme:
		return fmt.Errorf("%w: GitHub redirected to another host, %s; nothing was sent there", errRefused, req.URL.Host)
	case req.Method != first.Method:
		return fmt.Errorf("%w: the repository was renamed, and a write to its old name is not carried on; put the new name into the settings", errRefused)
	}
	return nil
}

// errRefused marks requests that are refused on every try.
var errRefused = errors.New("refused")

// home sends nothing, and above all no token, to another host.
type home struct {
	host, scheme string
	next         http.RoundTripper
}

func (h *home) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != h.host || req.URL.Scheme != h.scheme {
		return nil, fmt.Errorf("%w: a request to %s, which is not the API's host, was not sent", errRefused, req.URL.Host)
	}
	return h.next.RoundTrip(req)
}

// either returns an answer or an error: of a redirect that is not followed there are both.
type either struct{ next http.RoundTripper }

func (e *either) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := e.next.RoundTrip(req)
	if err != nil && resp != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	return resp, err
}

// bearer authenticates with a token.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(req)
}

// conditional asks GitHub whether an answer changed, which costs nothing of the rate limit when it did not. It
// always asks: an answer is never taken from memory by its age, since a review may have come since.
type conditional struct {
	next http.RoundTripper

	mu   sync.Mutex
	kept map[string]*answer
}

type answer struct {
	header http.Header
	body   []byte
}

// maxKept bounds how many answers are kept, and maxKeptBody how long one may be.
const (
	maxKept     = 1000
	maxKeptBody = 1 << 20
)

func (c *conditional) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet {
		return c.next.RoundTrip(req)
	}
	key := req.Header.Get("Accept") + " " + req.URL.String()
	c.mu.Lock()
	known := c.kept[key]
	c.mu.Unlock()
	if known != nil {
		req = req.Clone(req.Context())
		req.Header.Set("If-None-Match", known.header.Get("ETag"))
	}
	resp, err := c.next.RoundTrip(req)
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode == http.StatusNotModified && known != nil:
		if err := resp.Body.Close(); err != nil {
			return nil, err
		}
		header := known.header.Clone()
		for k, v := range resp.Header {
			if strings.HasPrefix(k, "X-Ratelimit-") {
				header[k] = v
			}
		}
		resp.StatusCode, resp.Status, resp.Header = http.StatusOK, "200 OK", header
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(known.body)), int64(len(known.body))
	case resp.StatusCode == http.StatusOK && resp.Header.Get("ETag") != "":
		body, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return nil, err
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		if len(body) <= maxKeptBody {
			c.keep(key, &answer{resp.Header.Clone(), body})
		}
	}
	return resp, nil
}

func (c *conditional) keep(key string, a *answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil || len(c.kept) >= maxKept {
		c.kept = map[string]*answer{}
	}
	c.kept[key] = a
}

// again reports whether a call is tried once more: after a rate limit always, since nothing was done; after a fault
// of the server or of the network only if the call is idempotent.
func (c *Client) again(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		var of *url.Error
		return !errors.Is(err, errRefused) && !errors.Is(err, rest.ErrTooLarge) && errors.As(err, &of) && (isIdempotent(strings.ToUpper(of.Op)) || strings.HasSuffix(of.URL, "/graphql")), nil
	}
	if wait, limited := c.limited(resp); limited {
		return wait <= c.config.MaxWait, nil
	}
	if resp.StatusCode < 500 || resp.StatusCode == http.StatusNotImplemented {
		return false, nil
	}
	return resp.Request != nil && (isIdempotent(resp.Request.Method) || isQuery(resp.Request)), nil
}

// isIdempotent reports whether a call may be repeated: all but those that make something new. Our PATCH and PUT set
// what they set.
func isIdempotent(method string) bool { return method != http.MethodPost }

// limited reports whether an answer is a rate limit, and how long to wait: by Retry-After (secondary limits), or
// until the reset (the primary one).
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
func (c *Client) limited(resp *http.Response) (time.Duration, bool) {
	if resp == nil || (resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusTooManyRequests) {
		return 0, false
	}
	if wait, ok := rest.RetryAfter(resp.Header, c.config.Now()); ok {
		return wait, true
	}
	if resp.Header.Get("X-RateLimit-Remaining") == "0" {
		if at, err := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			return max(time.Unix(at, 0).Sub(c.config.Now())+time.Second, 0), true
		}
	}
	return time.Minute, resp.StatusCode == http.StatusTooManyRequests
}

// backoff doubles, with jitter: runners that failed together must not retry together.
func (c *Client) backoff(_, _ time.Duration, try int, resp *http.Response) time.Duration {
	wait := c.config.MinWait << try
	if limit, ok := c.limited(resp); ok {
		wait = limit
	}
	return min(wait+rand.N(c.config.MinWait), c.config.MaxWait)
}

// explain turns an error of go-github into one with a fix, named for the step.
func (c *Client) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	var limit *gh.RateLimitError
	var abuse *gh.AbuseRateLimitError
	var answered *gh.ErrorResponse
	switch {
	case errors.As(err, &limit):
		return fmt.Errorf("%s: GitHub's rate limit is used up until %s; run again then", what, limit.Rate.Reset.UTC().Format(time.RFC3339))
	case errors.As(err, &abuse):
		return fmt.Errorf("%s: GitHub asks to slow down (secondary rate limit); run again in a few minutes", what)
	case errors.As(err, &answered):
		status := answered.Response.StatusCode
		hint := ""
		switch {
		case status == http.StatusUnauthorized:
			hint = "; the token is invalid or expired"
		case status == http.StatusForbidden, status == http.StatusNotFound:
			hint = fmt.Sprintf("; does the token have the permission, and is %s the repository?", c.Repository())
		case status >= 500:
			hint = "; GitHub has a problem, run again later"
		}
		return fmt.Errorf("%s: GitHub answered %d: %s%s: %w", what, status, answered.Message, hint, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// isStatus reports whether GitHub answered with one of these.
func isStatus(err error, codes ...int) bool {
	var answered *gh.ErrorResponse
	if !errors.As(err, &answered) {
		return false
	}
	for _, code := range codes {
		if answered.Response.StatusCode == code {
			return true
		}
	}
	return false
}

// all reads every page of a list. An endless or very long list is an error: the part that was cut off could
// matter.
func all[T any](what string, page func(*gh.ListOptions) ([]T, *gh.Response, error)) ([]T, error) {
	var out []T
	o := &gh.ListOptions{PerPage: perPage}
	for range maxPages {
		some, resp, err := page(o)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
		if resp.NextPage == 0 {
			return out, nil
		}
		if resp.NextPage <= o.Page {
			return nil, fmt.Errorf("%s: GitHub's pages go in a circle", what)
		}
		o.Page = resp.NextPage
	}
	return nil, fmt.Errorf("%s: %w: more than %d", what, errTooMany, maxPages*perPage)
}

// errTooMany means that a list is longer than is read: a fact about what it is a list of, not a failure.
var errTooMany = errors.New("too many")
