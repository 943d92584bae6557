package faults

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/countersign/countersign/connectors/connectortest/harness"
)

// streamFault is a fault in the server's answers through a stream proxy.
type streamFault struct {
	kind  streamKind
	after int64 // bytes of answers that pass on each connection, counted from the arming, before it strikes
	once  bool  // only the first time; after that all is well
}

type streamKind string

const (
	faultRefuse  streamKind = "refused"         // no connection is accepted, and open ones break before a request passes
	faultHang    streamKind = "hang"            // requests arrive, and the answer never comes
	faultCut     streamKind = "cut"             // requests are carried out, and the connection breaks with the answer
	faultGarbage streamKind = "another service" // something else answers
)

// streamProxy is a proxy between a connector and its server. It passes bytes on until it is armed.
type streamProxy struct {
	listener net.Listener
	upstream string
	dial     func(ctx context.Context, network, address string) (net.Conn, error)

	mu      sync.Mutex
	fault   *streamFault
	struck  int
	answers int64 // bytes of answers so far
	open    map[net.Conn]bool
	done    sync.WaitGroup
}

func newStreamProxy(t harness.TB, h Harness, upstream string) *streamProxy {
	t.Helper()
	l, err := h.listen()
	if err != nil {
		t.Fatal(err)
	}
	p := &streamProxy{listener: l, dial: h.dial, upstream: upstream, open: map[net.Conn]bool{}}
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

// arm makes the fault strike from now on.
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

// strikes returns how often the fault has struck since it was armed.
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

// strike reports whether the armed fault is of the kind and due, and counts it.
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
	server, err := p.dial(context.Background(), "tcp", p.upstream)
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

// requests passes on the connector's bytes.
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
	} else {
		_ = server.Close() // connections in memory can't be half closed
	}
}

// replies passes on the server's bytes, as far as the fault allows.
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
			// It strikes within this part: the bytes before it pass.
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
				// The server may give up; the connector must see silence.
				_, _ = io.Copy(io.Discard, client)
			}
			return
		}
	}
}
