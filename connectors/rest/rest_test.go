package rest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/virtual"
	"github.com/countersign/countersign/connectors/rest"
)

const secret = "canary-5f2d9c-do-not-print"

// client speaks to a server that answers by handler, with waits short enough for a test.
func client(t *testing.T, handler http.HandlerFunc, change func(*rest.Config)) *rest.Client {
	t.Helper()
	network := virtual.New()
	s := network.Serve(t, handler)
	c := rest.Config{URL: s.URL + "/api/v1/", MinWait: time.Millisecond, Timeout: 5 * time.Minute, Transport: network.Transport(), Secrets: []connectors.Secret{connectors.NewSecret(secret)},
		Authorize: func(r *http.Request) error { r.Header.Set("Authorization", "Bearer "+secret); return nil },
		Explain:   func(b []byte) string { return string(b) }}
	if change != nil {
		change(&c)
	}
	out, err := rest.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func code(t *testing.T, err error) *connectors.Error {
	t.Helper()
	var e *connectors.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *connectors.Error", err)
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("the error holds the secret: %v", err)
	}
	return e
}

func TestRequest(t *testing.T) {
	t.Parallel()
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, `{"got": "%s %s %s %s"}`, r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"), strings.ReplaceAll(string(body), `"`, "'"))
		if r.Header.Get("Authorization") != "Bearer "+secret {
			t.Error("the request has no credential")
		}
	}, nil)
	var got struct{ Got string }
	_, n, err := c.JSON(t.Context(), rest.Request{Op: "try", Method: http.MethodPut, Path: "/groups/a%2Fb%20c", Query: map[string][]string{"q": {"x&y"}}, Body: map[string]int{"a": 1}}, &got)
	if err != nil || n != 1 {
		t.Fatalf("after %d attempts: %v", n, err)
	}
	if want := "PUT /api/v1/groups/a%2Fb%20c?q=x%26y application/json {'a':1}"; got.Got != want {
		t.Errorf("got %s, want %s", got.Got, want)
	}
}

func TestStatusCodes(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]connectors.Code{
		400: connectors.Invalid, 401: connectors.Denied, 403: connectors.Denied, 404: connectors.NotFound, 405: connectors.Unsupported, 409: connectors.Conflict,
		410: connectors.NotFound, 412: connectors.Conflict, 422: connectors.Invalid, 429: connectors.Unavailable, 500: connectors.Unavailable,
		501: connectors.Unsupported, 503: connectors.Unavailable, 302: connectors.Unavailable, 304: connectors.Unavailable,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			c := client(t, func(w http.ResponseWriter, r *http.Request) {
				if status == http.StatusTooManyRequests {
					w.Header().Set("Retry-After", "7200")
				}
				w.WriteHeader(status)
				fmt.Fprintf(w, "no,\r\n\x1b[31m because %s", r.Header.Get("Authorization"))
			}, nil)
			_, _, err := c.Do(t.Context(), rest.Request{Op: "try", Method: http.MethodGet, Path: "x"})
			e := code(t, err)
			if e.Code != want {
				t.Errorf("got %s (%v), want %s", e.Code, err, want)
			}
			if strings.ContainsAny(err.Error(), "\r\n\x1b") {
				t.Errorf("the error has control characters: %q", err)
			}
			var as *rest.StatusError
			if !errors.As(err, &as) || as.Status != status {
				t.Errorf("the cause is %v, want the status", as)
			}
			if status == http.StatusTooManyRequests && (e.RetryAfter != 2*time.Hour || !e.Whole) {
				t.Errorf("RetryAfter is %v, whole %v; want 2h and true", e.RetryAfter, e.Whole)
			}
		})
	}
}

func TestRepeats(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		request rest.Request
		fail    func(http.ResponseWriter)
		want    int64 // requests that arrive
	}{
		{"a read after 500", rest.Request{Method: http.MethodGet}, func(w http.ResponseWriter) { w.WriteHeader(500) }, 2},
		{"a change after 500", rest.Request{Method: http.MethodPut}, func(w http.ResponseWriter) { w.WriteHeader(500) }, 2},
		{"a creation after 500", rest.Request{Method: http.MethodPost}, func(w http.ResponseWriter) { w.WriteHeader(500) }, 1},
		{"a search by POST after 500", rest.Request{Method: http.MethodPost, Repeatable: true}, func(w http.ResponseWriter) { w.WriteHeader(500) }, 2},
		{"what is sent once after 500", rest.Request{Method: http.MethodPatch, OneTime: true}, func(w http.ResponseWriter) { w.WriteHeader(500) }, 1},
		{"a creation after 429", rest.Request{Method: http.MethodPost}, func(w http.ResponseWriter) { w.Header().Set("Retry-After", "0"); w.WriteHeader(429) }, 2},
		{"a creation after 503 that names a time", rest.Request{Method: http.MethodPost}, func(w http.ResponseWriter) { w.Header().Set("Retry-After", "0"); w.WriteHeader(503) }, 1},
		{"what is sent once after 503 that names a time", rest.Request{Method: http.MethodPatch, OneTime: true}, func(w http.ResponseWriter) { w.Header().Set("Retry-After", "0"); w.WriteHeader(503) }, 1},
		{"a change after 503 that names a time", rest.Request{Method: http.MethodPut}, func(w http.ResponseWriter) { w.Header().Set("Retry-After", "0"); w.WriteHeader(503) }, 2},
		{"a creation after a broken connection", rest.Request{Method: http.MethodPost}, func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 1},
		{"a read after a broken connection", rest.Request{Method: http.MethodGet}, func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 2},
		{"a wrong request", rest.Request{Method: http.MethodGet}, func(w http.ResponseWriter) { w.WriteHeader(400) }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			cl := client(t, func(w http.ResponseWriter, _ *http.Request) {
				if n.Add(1) == 1 {
					c.fail(w)
				}
			}, nil)
			c.request.Op, c.request.Path = "try", "x"
			_, attempts, err := cl.Do(t.Context(), c.request)
			if n.Load() != c.want || (err == nil) != (c.want == 2) {
				t.Errorf("%d requests and %v, want %d", n.Load(), err, c.want)
			}
			if err == nil && attempts != int(c.want) {
				t.Errorf("%d attempts, want %d", attempts, c.want)
			}
		})
	}
}

// A token must not travel to another host, neither by a redirect nor by a link in an answer.
func TestOtherHosts(t *testing.T) {
	t.Parallel()
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the stranger was asked") }))
	t.Cleanup(stranger.Close)
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, stranger.URL, http.StatusTemporaryRedirect)
	}, nil)
	for _, path := range []string{"x", stranger.URL + "/api/v1/next", "https://user:pw@127.0.0.1/x"} {
		_, _, err := c.Do(t.Context(), rest.Request{Op: "try", Method: http.MethodGet, Path: path})
		if e := code(t, err); e.Code != connectors.Unavailable {
			t.Errorf("%s: got %v, want %s", path, err, connectors.Unavailable)
		}
	}
}

// What the application repeats of the credential is not repeated here, also where it is none of the config's.
func TestCredentialIsNotRepeated(t *testing.T) {
	t.Parallel()
	for name, authorize := range map[string]func(*http.Request){
		"a token that was fetched": func(r *http.Request) { r.Header.Set("Authorization", "Bearer fetched-token") },
		"user and password":        func(r *http.Request) { r.SetBasicAuth("user", "password") },
	} {
		var sent string
		c := client(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, sent, _ = strings.Cut(r.Header.Get("Authorization"), " ")
			fmt.Fprintf(w, "who are you, %s?", r.Header.Get("Authorization"))
		}, func(c *rest.Config) { c.Authorize = func(r *http.Request) error { authorize(r); return nil } })
		_, _, err := c.Do(t.Context(), rest.Request{Op: "try", Method: http.MethodGet, Path: "x"})
		if code(t, err); sent == "" || strings.Contains(err.Error(), sent) || !strings.Contains(err.Error(), "who are you") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An id that is dots must not make the deletion of one thing that of the collection.
func TestDots(t *testing.T) {
	t.Parallel()
	c := client(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() != "/api/v1/groups/..a" {
			t.Errorf("%s was asked", r.URL.EscapedPath())
		}
	}, nil)
	for _, path := range []string{"groups/..", "groups/.", "groups/../users", "groups/%2e%2E", "..", "groups/%2e"} {
		_, _, err := c.Do(t.Context(), rest.Request{Op: "try", Method: http.MethodDelete, Path: path})
		if err == nil || code(t, err).Code != connectors.Invalid {
			t.Errorf("%s: got %v, want %s", path, err, connectors.Invalid)
		}
	}
	if _, _, err := c.Do(t.Context(), rest.Request{Op: "try", Method: http.MethodDelete, Path: "groups/..a"}); err != nil {
		t.Error(err)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"https://example.test/scim/v2": true, "http://127.0.0.1:80": true, "http://localhost/x": true, "http://[::1]:8080": true,
		"http://example.test": false, "https://u:" + secret + "@example.test": false, "https://example.test/?token=" + secret: false, "ftp://127.0.0.1": false, "": false, "https://": false,
	} {
		if _, err := rest.New(rest.Config{URL: address}); (err == nil) != ok {
			t.Errorf("%s: got %v, want ok %v", address, err, ok)
		} else if err != nil {
			code(t, err)
		}
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "null", " null\n", "<html>", `[{"id": 1}`, `{"id": 1}`} {
		c := client(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }, nil)
		list := []struct{ ID int }{}
		if _, _, err := c.JSON(t.Context(), rest.Request{Op: "list", Method: http.MethodGet, Path: "x"}, &list); err == nil || code(t, err).Code != connectors.Unavailable {
			t.Errorf("%q was taken for a list: %v", body, err)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	large := client(t, func(w http.ResponseWriter, _ *http.Request) { n.Add(1); _, _ = w.Write(make([]byte, 101)) }, func(c *rest.Config) { c.MaxAnswer = 100 })
	if _, _, err := large.Do(t.Context(), rest.Request{Op: "try", Method: http.MethodGet, Path: "x"}); err == nil || code(t, err).Code != connectors.Unavailable || n.Load() != 1 {
		t.Errorf("an answer that is too large: %v after %d requests", err, n.Load())
	}
	synctest.Test(t, testSlowAnswers)
}

func testSlowAnswers(t *testing.T) {
	release := make(chan struct{})
	slow := client(t, func(http.ResponseWriter, *http.Request) { <-release }, func(c *rest.Config) { c.Timeout, c.Retries = 50*time.Millisecond, -1 })
	t.Cleanup(func() { close(release) })
	if _, _, err := slow.Do(t.Context(), rest.Request{Op: "try", Method: http.MethodGet, Path: "x"}); err == nil || !code(t, err).Whole {
		t.Errorf("an answer that does not come: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := slow.Do(ended, rest.Request{Op: "try", Method: http.MethodGet, Path: "x"}); err == nil || code(t, err).Code != connectors.Unavailable {
		t.Errorf("an ended context: %v", err)
	}
}

// After an answer that says to stay away, the next request waits, or says how long it would have to.
func TestStaysAway(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	var asked int
	c := client(t, func(w http.ResponseWriter, _ *http.Request) { asked++ }, func(c *rest.Config) {
		c.Now = func() time.Time { return now }
		c.Pause = func(*http.Response) time.Duration { return time.Hour }
	})
	get := rest.Request{Op: "try", Method: http.MethodGet, Path: "x"}
	if _, _, err := c.Do(t.Context(), get); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.Do(t.Context(), get)
	if e := code(t, err); e.RetryAfter != time.Hour || asked != 1 {
		t.Errorf("got %v with RetryAfter %v after %d requests, want an hour and 1", err, e.RetryAfter, asked)
	}
	now = now.Add(time.Hour)
	if _, _, err := c.Do(t.Context(), get); err != nil || asked != 2 {
		t.Errorf("after the hour: %v, %d requests", err, asked)
	}
}

// A limit that only the body tells of is one for each try, and for the error in the end.
func TestLimitInTheBody(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	c := client(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) > 2 {
			w.Header().Set("X-Wait", "1h")
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "slow down")
	}, func(c *rest.Config) {
		c.MinWait = time.Hour // what is no limit would wait so long
		c.MaxWait = 2 * time.Hour
		c.Limited = func(r *http.Response) (time.Duration, bool) {
			if r == nil {
				return 0, false
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			if r.Header.Get("X-Wait") != "" {
				return 3 * time.Hour, string(body) == "slow down"
			}
			return time.Millisecond, string(body) == "slow down"
		}
	})
	_, n, err := c.Do(t.Context(), rest.Request{Op: "try", Method: http.MethodGet, Path: "x"})
	if e := code(t, err); e.Code != connectors.Unavailable || e.RetryAfter != 3*time.Hour || n != 3 {
		t.Errorf("after %d attempts: %s, retry after %v (%v)", n, e.Code, e.RetryAfter, err)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{"5": 5 * time.Second, "0": 0, "Thu, 26 Nov 2026 12:01:00 GMT": time.Minute, "Thu, 26 Nov 2026 11:00:00 GMT": 0,
		"9223372037": 24 * time.Hour, "9000000000000000000": 24 * time.Hour, "Thu, 26 Nov 2998 12:01:00 GMT": 24 * time.Hour} {
		if got, ok := rest.RetryAfter(http.Header{"Retry-After": {v}}, now); !ok || got != want {
			t.Errorf("%s: got %v, %v; want %v", v, got, ok, want)
		}
	}
	for _, v := range []string{"", "-1", "soon"} {
		if _, ok := rest.RetryAfter(http.Header{"Retry-After": {v}}, now); ok {
			t.Errorf("%q was read as a time", v)
		}
	}
}
