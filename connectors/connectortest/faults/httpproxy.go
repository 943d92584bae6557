package faults

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/connectors/connectortest/harness"
)

// answerKind is a fault of one request through an HTTP proxy.
type answerKind string

const (
	answerTooMany   answerKind = "429 with Retry-After"        // not passed on
	answerFailed    answerKind = "500 after the change"        // passed on, and the answer lost
	answerBusy      answerKind = "503 before the change"       // not passed on
	answerTruncated answerKind = "truncated answer"            // passed on, half of the answer comes back
	answerPage      answerKind = "a page of another service"   // passed on, an HTML page with status 200 comes back
	answerObject    answerKind = "an empty object"             // for reads: {} with status 200
	answerNull      answerKind = "null"                        // for reads: null with status 200
	answerRedirect  answerKind = "a redirect to another host"  // not passed on
	answerEmpty     answerKind = "an empty answer with status" // for reads: 200 and no body
)

// site is an HTTP server on loopback. Package net/http/httptest would add a flag to each program that imports it.
type site struct {
	listener net.Listener
}

func newSite(t harness.TB, h Harness, handler http.Handler) *site {
	t.Helper()
	l, err := h.listen()
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: h.patience()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // until it is closed
	}()
	t.Cleanup(func() {
		_ = server.Close() // with all its connections
		<-done
	})
	return &site{listener: l}
}

func (s *site) url() string { return "http://" + s.listener.Addr().String() }

// httpProxy is a proxy between a connector and its HTTP server.
type httpProxy struct {
	server   *site
	upstream string
	client   *http.Client
	// elsewhere is the target of redirects: it must never receive the credential.
	elsewhere *site

	mu         sync.Mutex
	kind       answerKind
	strikeAt   int // the request that it strikes, from 1; 0: all
	retryAfter time.Duration
	requests   []string // their kinds, in order of arrival
	struck     int
	tooMany    time.Time // when the last 429 was sent
	early      bool      // a request arrived before the time that the 429 named
	leaked     bool      // somebody followed the redirect
}

func newHTTPProxy(t harness.TB, h Harness, upstream string) *httpProxy {
	t.Helper()
	p := &httpProxy{upstream: upstream, client: &http.Client{Transport: &http.Transport{DialContext: h.dial}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	p.elsewhere = newSite(t, h, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.leaked = true
		p.mu.Unlock()
		w.WriteHeader(http.StatusOK)
	}))
	p.server = newSite(t, h, p)
	t.Cleanup(p.client.CloseIdleConnections)
	return p
}

func (p *httpProxy) address() string { return p.server.listener.Addr().String() }

// arm makes a fault strike the given request from now on, counted from 1; 0 strikes all.
func (p *httpProxy) arm(kind answerKind, at int, retryAfter time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kind, p.strikeAt, p.retryAfter, p.requests, p.struck, p.tooMany = kind, at, retryAfter, nil, 0, time.Time{}
}

// forget allows the next request at any time: its sender hasn't seen earlier answers.
func (p *httpProxy) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tooMany = time.Time{}
}

func (p *httpProxy) disarm() { p.arm("", 0, 0) }

func (p *httpProxy) counts() (requests, struck int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.requests), p.struck
}

func (p *httpProxy) faults() (early, leaked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.early, p.leaked
}

// kinds returns the kinds of the requests since the arming.
func (p *httpProxy) kinds() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// requestKind returns a request's kind: its method and path without names and ids, and the action of a form.
func requestKind(r *http.Request, body []byte) string {
	parts := strings.Split(r.URL.Path, "/")
	for i, part := range parts {
		if !plainWord.MatchString(part) || slices.ContainsFunc(words(), func(w string) bool { return strings.Contains(part, w) }) {
			parts[i] = "*"
		}
	}
	kind := r.Method + " " + strings.Join(parts, "/")
	if form, err := url.ParseQuery(string(body)); err == nil && form.Has("Action") {
		kind += " " + form.Get("Action")
	}
	return kind
}

var plainWord = regexp.MustCompile(`^[A-Za-z_-]*$`)

// next decides how a request is treated.
func (p *httpProxy) next(request string) (answerKind, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, request)
	if !p.tooMany.IsZero() && time.Since(p.tooMany) < p.retryAfter {
		p.early = true
	}
	if p.kind == "" || (p.strikeAt > 0 && len(p.requests) != p.strikeAt) {
		return "", 0
	}
	p.struck++
	if p.kind == answerTooMany {
		p.tooMany = time.Now()
	}
	return p.kind, p.retryAfter
}

func (p *httpProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	kind, retryAfter := p.next(requestKind(r, sent))
	switch kind {
	case answerTooMany:
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case answerBusy:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case answerRedirect:
		http.Redirect(w, r, p.elsewhere.url()+r.URL.Path, http.StatusTemporaryRedirect)
		return
	}
	status, header, body, err := p.forward(r, sent)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	write := func(status int, contentType, text string) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text) // the client may be gone
	}
	switch kind {
	case answerFailed:
		write(http.StatusInternalServerError, "text/plain", "")
	case answerPage:
		write(http.StatusOK, "text/html", "<html><body>Welcome to the guest network</body></html>")
	case answerObject:
		write(http.StatusOK, header.Get("Content-Type"), "{}")
	case answerNull:
		write(http.StatusOK, header.Get("Content-Type"), "null")
	case answerEmpty:
		write(http.StatusOK, header.Get("Content-Type"), "")
	case answerTruncated:
		w.Header().Set("Content-Type", header.Get("Content-Type"))
		w.Header().Set("Content-Length", strconv.Itoa(max(len(body), 2)))
		w.WriteHeader(status)
		_, _ = w.Write(body[:len(body)/2]) // the fault itself
		panic(http.ErrAbortHandler)
	default:
		for k, v := range header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		_, _ = w.Write(body) // the client may be gone
	}
}

// forward lets the real server answer.
func (p *httpProxy) forward(r *http.Request, sent []byte) (int, http.Header, []byte, error) {
	// The request is completed even if the connector has gone meanwhile.
	req, err := http.NewRequest(r.Method, "http://"+p.upstream+r.URL.RequestURI(), bytes.NewReader(sent))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header = r.Header.Clone()
	req.Header.Del("Accept-Encoding") // the transport requests it, and undoes it, by itself
	req.Host = r.Host
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return 0, nil, nil, err
	}
	header := resp.Header.Clone()
	header.Del("Content-Length")
	header.Del("Transfer-Encoding")
	return resp.StatusCode, header, body, nil
}
