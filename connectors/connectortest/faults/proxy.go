package faults

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/countersign/countersign/connectors/connectortest/harness"
)

// streamFault is what a stream proxy does to what the server answers.
type streamFault struct {
	kind  streamKind
	after int64 // bytes of answers that pass on each connection, counted from the arming, before it strikes
	once  bool  // only the first time; after that all is well
}

type streamKind string

const (
	faultRefuse  streamKind = "refused"         // no connection is taken, and those that are open are broken off before a request passes
	faultHang    streamKind = "hang"            // requests arrive, and the answer never comes
	faultCut     streamKind = "cut"             // requests are carried out, and the connection breaks with the answer
	faultGarbage streamKind = "another service" // something else answers
)

// streamProxy stands between a connector and its server and passes bytes on, until it is armed.
type streamProxy struct {
	listener net.Listener
	upstream string

	mu      sync.Mutex
	fault   *streamFault
	struck  int
	answers int64 // bytes of answers so far
	open    map[net.Conn]bool
	done    sync.WaitGroup
}

func newStreamProxy(t harness.TB, upstream string) *streamProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &streamProxy{listener: l, upstream: upstream, open: map[net.Conn]bool{}}
	p.done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.done.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		p.disarm()
		_ = l.Close() // the loop ends by it
		p.mu.Lock()
		for c := range p.open {
			_ = c.Close() // what reads from it ends by it
		}
		p.mu.Unlock()
		p.done.Wait()
	})
	return p
}

func (p *streamProxy) address() string { return p.listener.Addr().String() }

// arm lets the fault strike from now on.
func (p *streamProxy) arm(f streamFault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.struck = &f, 0
}

func (p *streamProxy) disarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = nil
}

// strikes counts how often the fault has struck since it was armed.
func (p *streamProxy) strikes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.struck
}

func (p *streamProxy) passed() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answers
}

// strike says whether the armed fault is of the kind and has its time, and takes note of it.
func (p *streamProxy) strike(since int64, kinds ...streamKind) *streamFault {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.fault
	if f == nil || since < f.after {
		return nil
	}
	for _, k := range kinds {
		if f.kind != k {
			continue
		}
		if p.struck++; f.once {
			p.fault = nil
		}
		return f
	}
	return nil
}

func (p *streamProxy) track(c net.Conn, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open {
		p.open[c] = true
	} else {
		delete(p.open, c)
	}
}

func (p *streamProxy) serve(client net.Conn) {
	defer client.Close()
	if p.strike(1<<62, faultRefuse) != nil {
		return
	}
	server, err := net.Dial("tcp", p.upstream)
	if err != nil {
		return
	}
	defer server.Close()
	for _, c := range []net.Conn{client, server} {
		p.track(c, true)
		defer p.track(c, false)
	}
	var both sync.WaitGroup
	both.Go(func() { p.requests(client, server) })
	both.Go(func() { p.replies(client, server) })
	both.Wait()
}

// requests passes on what the connector sends.
func (p *streamProxy) requests(client, server net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if n > 0 {
			if p.strike(1<<62, faultRefuse) != nil {
				_ = client.Close() // a broken connection is the fault itself
				break
			}
			if _, err := server.Write(buf[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	if c, ok := server.(*net.TCPConn); ok {
		_ = c.CloseWrite() // the server ends the connection by it
	}
}

// replies passes on what the server answers, as far as the fault lets it.
func (p *streamProxy) replies(client, server net.Conn) {
	defer client.Close()
	buf := make([]byte, 64<<10)
	var since int64 // bytes passed on this connection under this fault
	var seen *streamFault
	var hung bool
	for {
		n, err := server.Read(buf)
		part := buf[:n]
		p.mu.Lock()
		p.answers += int64(n)
		f := p.fault
		p.mu.Unlock()
		if f != seen {
			seen, since = f, 0
		}
		switch {
		case n == 0 || hung:
			part = nil
		case f == nil:
		case since+int64(n) > f.after && f.kind != faultRefuse:
			// It strikes within this part: what is before it passes.
			before := max(f.after-since, 0)
			if p.strike(f.after, faultHang) != nil {
				_, _ = client.Write(part[:before]) // the fault itself
				hung, part = true, nil
				break
			}
			if p.strike(f.after, faultCut) != nil {
				_, _ = client.Write(part[:before]) // the fault itself
				return
			}
			if p.strike(f.after, faultGarbage) != nil {
				_, _ = client.Write(append(bytes.Clone(part[:before]), "220 mail.example.test ESMTP\r\n<html>maintenance</html>\r\n"...)) // the fault itself
				return
			}
		}
		since += int64(len(part))
		if len(part) > 0 {
			if _, err := client.Write(part); err != nil {
				return
			}
		}
		if err != nil {
			if hung && !errors.Is(err, net.ErrClosed) {
				// The server may give up; the connector is to see silence.
				_, _ = io.Copy(io.Discard, client)
			}
			return
		}
	}
}

// answerKind is what an HTTP proxy does to one request.
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

// site is an HTTP server on loopback. That of net/http/httptest brings a flag into each program that imports it.
type site struct {
	listener net.Listener
}

func newSite(t harness.TB, h http.Handler) *site {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: patience}
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

// httpProxy stands between a connector and its HTTP server.
type httpProxy struct {
	server   *site
	upstream string
	client   *http.Client
	// elsewhere is where redirects lead: it must never hear of the credential.
	elsewhere *site

	mu         sync.Mutex
	kind       answerKind
	strikeAt   int // the request that it strikes, from 1; 0: all
	retryAfter time.Duration
	requests   int
	struck     int
	tooMany    time.Time // when the last 429 was sent
	early      bool      // somebody came back before the time that the 429 named
	leaked     bool      // somebody followed the redirect
}

func newHTTPProxy(t harness.TB, upstream string) *httpProxy {
	t.Helper()
	p := &httpProxy{upstream: upstream, client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	p.elsewhere = newSite(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.leaked = true
		p.mu.Unlock()
		w.WriteHeader(http.StatusOK)
	}))
	p.server = newSite(t, p)
	t.Cleanup(p.client.CloseIdleConnections)
	return p
}

func (p *httpProxy) address() string { return p.server.listener.Addr().String() }

// arm lets a fault strike the given request from now on, counted from 1; 0 strikes all.
func (p *httpProxy) arm(kind answerKind, at int, retryAfter time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kind, p.strikeAt, p.retryAfter, p.requests, p.struck, p.tooMany = kind, at, retryAfter, 0, 0, time.Time{}
}

// forget lets the next request come when it likes: somebody sends it who has not seen the answers before.
func (p *httpProxy) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tooMany = time.Time{}
}

func (p *httpProxy) disarm() { p.arm("", 0, 0) }

func (p *httpProxy) counts() (requests, struck int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests, p.struck
}

func (p *httpProxy) faults() (early, leaked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.early, p.leaked
}

// next decides what becomes of a request.
func (p *httpProxy) next() (answerKind, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests++
	if !p.tooMany.IsZero() && time.Since(p.tooMany) < p.retryAfter {
		p.early = true
	}
	if p.kind == "" || (p.strikeAt > 0 && p.requests != p.strikeAt) {
		return "", 0
	}
	p.struck++
	if p.kind == answerTooMany {
		p.tooMany = time.Now()
	}
	return p.kind, p.retryAfter
}

func (p *httpProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, retryAfter := p.next()
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
	status, header, body, err := p.forward(r)
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
func (p *httpProxy) forward(r *http.Request) (int, http.Header, []byte, error) {
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, nil, nil, err
	}
	// The request is carried out to its end, also when the connector has gone meanwhile.
	req, err := http.NewRequest(r.Method, "http://"+p.upstream+r.URL.RequestURI(), bytes.NewReader(sent))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header = r.Header.Clone()
	req.Header.Del("Accept-Encoding") // the transport asks for it, and undoes it, by itself
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
