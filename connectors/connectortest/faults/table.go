// Package faults checks connectors under network faults: a proxy between connector and application refuses
// connections, hangs, breaks off, loses answers, and answers as another service.
package faults

import (
	"context"
	"net"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
)

// Harness configures the fault table for a connector that reaches its application over a network.
type Harness struct {
	harness.Harness
	// Address is host:port of the server behind an application.
	Address func(t harness.TB, app harness.Application) string
	// Through returns a config that reaches the same application through proxy (host:port), with time limits short
	// enough for a test (a second or two).
	Through func(t harness.TB, cfg connectors.Config, proxy string) connectors.Config
	// HTTP is set if the protocol is HTTP without TLS: faults of answers are tested too.
	HTTP bool
	// Network has the listeners of proxies and applications; nil means TCP on loopback. On a network in memory each
	// case runs in virtual time if its T is an Isolator.
	Network Network
	// Again returns an application of Start as another case reaches it, on a network in memory: the cases that only read
	// then share one. nil means that each has its own.
	Again func(t harness.TB, app harness.Application) harness.Application
	// All makes the faults strike at every request and more places of each exchange, instead of those that cover each
	// kind.
	All bool
}

// Network connects a connector with a proxy and the proxy with the application.
type Network interface {
	Listen() (net.Listener, error)
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Isolator is a T that can run a function in virtual time, with all the goroutines that it starts.
type Isolator interface {
	Isolated(func(harness.T))
}

// isolated runs a case in virtual time if its network allows.
func (h Harness) isolated(t harness.T, f func(harness.T)) {
	if i, ok := t.(Isolator); ok && h.Network != nil {
		i.Isolated(f)
		return
	}
	f(t)
}

// shared returns a scene that all cases read if they run in real time or reach it again; nil if each needs its own.
func (h Harness) shared(t harness.T) (s *scene) {
	if h.Network == nil || h.Again != nil {
		h.isolated(t, func(t harness.T) { s = newScene(t, h) })
	}
	return s
}

func (h Harness) listen() (net.Listener, error) {
	if h.Network != nil {
		return h.Network.Listen()
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

func (h Harness) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if h.Network != nil {
		return h.Network.Dial(ctx, network, address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// Run puts a proxy between a connector and its real server that refuses, hangs, breaks off, loses answers after the
// change, and answers as another service, at many points of a read and of an Apply, once and permanently. In every
// case:
//
//   - a read is complete and true, or fails or is marked incomplete;
//   - operations reported as applied have taken effect, and all others can be applied again;
//   - a failure is Unavailable, so that it is retried, and comes within a bounded time;
//   - foreign entitlements remain, and no secret is exposed.
func Run(t harness.T, h Harness) {
	t.Run("stream", func(t harness.T) {
		parallel(t, h)
		shared, length := h.shared(t), measureStream(t, h)
		for _, kind := range []streamKind{faultRefuse, faultHang, faultCut, faultGarbage} {
			for _, once := range []bool{true, false} {
				name := string(kind) + " for good"
				if once {
					name = string(kind) + " once"
				}
				t.Run("read/"+name, func(t harness.T) { parallel(t, h); readThroughStream(t, h, shared, kind, once, length.read) })
				t.Run("apply/"+name, func(t harness.T) { parallel(t, h); applyThroughStream(t, h, kind, once, length.apply) })
			}
		}
	})
	if !h.HTTP {
		return
	}
	t.Run("http", func(t harness.T) {
		parallel(t, h)
		shared, requests := h.shared(t), measureRequests(t, h)
		for _, kind := range []answerKind{answerTooMany, answerBusy, answerFailed, answerTruncated, answerPage, answerObject, answerNull, answerEmpty, answerRedirect} {
			t.Run("read/"+string(kind), func(t harness.T) { parallel(t, h); readThroughHTTP(t, h, shared, kind, requests.read) })
			if kind == answerObject || kind == answerNull || kind == answerEmpty {
				continue // a valid answer to a change
			}
			t.Run("apply/"+string(kind), func(t harness.T) { parallel(t, h); applyThroughHTTP(t, h, kind, requests.apply) })
		}
		t.Run("a rate limit for an hour", func(t harness.T) { parallel(t, h); h.isolated(t, func(t harness.T) { longLimit(t, h) }) })
	})
}

func parallel(t harness.T, h Harness) {
	if !h.Serial {
		t.Parallel()
	}
}
