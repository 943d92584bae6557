// Package virtual is a network in memory. Connections on it are net.Pipes, so that a test under testing/synctest that
// waits for one advances the virtual clock: time-outs, retries and rate limits take no real time, and a loaded
// machine can't trigger them early. It imports nothing but the harness.
package virtual

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"

	"github.com/countersign/countersign/connectors/connectortest/harness"
)

// host is the address of every listener. It is loopback, which connectors require for http, and no real test server
// listens on it.
const host = "127.86.0.1"

// Network connects dialers with listeners in memory. Its methods may be called by several goroutines, also from
// different synctest bubbles; a connection belongs to the bubble of its listener, which must be that of its dialer.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	next      int
}

// New returns a network without listeners.
func New() *Network { return &Network{listeners: map[string]*listener{}} }

// Listen opens a listener with a new address.
func (n *Network) Listen() (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next++
	l := &listener{network: n, address: address(fmt.Sprintf("%s:%d", host, 1000+n.next)), incoming: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[string(l.address)] = l
	return l, nil
}

// Dial connects to a listener of the network, or over TCP to any other address.
func (n *Network) Dial(ctx context.Context, network, to string) (net.Conn, error) {
	if h, _, err := net.SplitHostPort(to); err != nil || h != host {
		return new(net.Dialer).DialContext(ctx, network, to)
	}
	refused := &net.OpError{Op: "dial", Net: network, Addr: address(to), Err: fmt.Errorf("connection refused")}
	n.mu.Lock()
	l := n.listeners[to]
	n.mu.Unlock()
	if l == nil {
		return nil, refused
	}
	client, server := net.Pipe()
	select {
	case l.incoming <- server:
		return client, nil
	case <-l.closed:
		return nil, refused
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: network, Addr: address(to), Err: ctx.Err()}
	}
}

// Transport returns a transport that dials on the network.
func (n *Network) Transport() *http.Transport {
	// Idle connections are unlimited: a transport with a limit would close those of another bubble.
	return &http.Transport{DialContext: n.Dial}
}

// Server is an HTTP server on a network.
type Server struct {
	// URL is the address, http://HOST:PORT.
	URL string
	// Listener accepts its connections.
	Listener net.Listener

	http *http.Server
	done chan struct{}
	once sync.Once
}

// Serve starts a server that stops with the test. Unlike package httptest's server it doesn't close idle connections
// of http.DefaultTransport: they may belong to other bubbles.
func (n *Network) Serve(t harness.TB, h http.Handler) *Server {
	t.Helper()
	l, err := n.Listen()
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	s := &Server{URL: "http://" + l.Addr().String(), Listener: l, http: &http.Server{Handler: h}, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // until it is closed
	}()
	t.Cleanup(s.Close)
	return s
}

// Close breaks off all connections.
func (s *Server) Close() {
	s.once.Do(func() {
		_ = s.http.Close() // errors of closing connections don't matter
		<-s.done
	})
}

// ServeTLS starts a server with the certificate of package httptest that stops with the test. The certificate names
// 127.0.0.1, so the server listens there over TCP and can't be used in a bubble.
func ServeTLS(t harness.TB, h http.Handler) *httptest.Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}}
	s.StartTLS()
	t.Cleanup(func() { _ = s.Config.Close() }) // not s.Close, for the reason that Serve gives
	return s
}

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

type listener struct {
	network  *Network
	address  address
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.network.mu.Lock()
		defer l.network.mu.Unlock()
		delete(l.network.listeners, string(l.address))
	})
	return nil
}

func (l *listener) Addr() net.Addr { return l.address }
