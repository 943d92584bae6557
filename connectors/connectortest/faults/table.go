// Package faults holds connectors to what they promise where the way to their application fails: a proxy between the two
// refuses, hangs, breaks off, loses answers, and answers as something else.
package faults

import (
	"context"
	"net"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
)

// Harness is what the fault table needs of a connector that speaks to its application over a network.
type Harness struct {
	harness.Harness
	// Address is host:port of the server behind an application.
	Address func(t harness.TB, app harness.Application) string
	// Through is a config that reaches the same application by way of proxy (host:port), with time limits short
	// enough for a test (a second or two).
	Through func(t harness.TB, cfg connectors.Config, proxy string) connectors.Config
	// HTTP says that the protocol is HTTP without TLS: the faults of answers are played too.
	HTTP bool
	// Network is where the proxies listen and the applications are; nil is TCP on loopback. On a network in memory each
	// case runs in virtual time, where who runs it is an Isolator.
	Network Network
	// All has the faults strike at every request and more places of each exchange, instead of those that cover each kind.
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

// isolated runs a case in virtual time, if its network allows.
func (h Harness) isolated(t harness.T, f func(harness.T)) {
	if i, ok := t.(Isolator); ok && h.Network != nil {
		i.Isolated(f)
		return
	}
	f(t)
}

// shared is a scene that all cases read, where they run in real time; nil where each needs its own.
func (h Harness) shared(t harness.T) *scene {
	if h.Network != nil {
		return nil
	}
	return newScene(t, h)
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

// Run puts a proxy between a connector and its real server, and lets it refuse, hang, break off, lose
// answers after the change was made, and answer as something else, at many points of a read and of an Apply, once
// and for good. Whatever happens:
//
//   - a read is whole and true, or says that it is not;
//   - what is reported as applied is there, and what is not reported as applied can be applied again;
//   - a failure is Unavailable, so that it is tried again, and comes without waiting for ever;
//   - nothing of others is lost, and no secret is told.
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
				continue // to a change, an application may well answer so
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
