package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
)

// exchange returns the kinds of the requests of a read and of an Apply through a sound proxy, in order.
type exchange struct{ read, apply []string }

func measureRequests(t harness.T, h Harness) exchange {
	t.Helper()
	var e exchange
	h.isolated(t, func(t harness.T) {
		s := newScene(t, h)
		p := newHTTPProxy(t, h, h.Address(t, s.App))
		cfg := h.Through(t, s.App.Config(), p.address())
		s.readAll(cfg, p.disarm)
		e.read = p.kinds()
		s.applyAll(cfg, p.disarm, func() { e.apply = p.kinds() })
	})
	return e
}

// strikes returns the requests of an exchange that are struck, one in each run, counted from 1; 0 means all at once.
// They are the middle one of each kind of request; with All every one.
func (h Harness) strikes(kinds []string) []int {
	out := []int{0}
	if h.All {
		for n := range kinds {
			out = append(out, n+1)
		}
		return out
	}
	of := map[string][]int{}
	for i, kind := range kinds {
		of[kind] = append(of[kind], i+1)
	}
	for _, at := range of {
		out = append(out, at[len(at)/2])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// readThroughHTTP reads while answers are faulty. shared is the scene to read; nil if each case has its own.
func readThroughHTTP(t harness.T, h Harness, shared *scene, kind answerKind, kinds []string) {
	for _, at := range h.strikes(kinds) {
		t.Run(fmt.Sprintf("request %d", at), func(t harness.T) {
			h.isolated(t, func(t harness.T) {
				var s *scene
				if shared == nil {
					s = newScene(t, h)
				} else {
					s = shared.at(t)
				}
				p := newHTTPProxy(t, h, h.Address(t, s.App))
				s.between = p.forget
				s.readAll(h.Through(t, s.App.Config(), p.address()), func() { p.arm(kind, at, time.Second) })
				judgeProxy(t, p)
			})
		})
	}
}

func applyThroughHTTP(t harness.T, h Harness, kind answerKind, kinds []string) {
	struck := 0
	for _, at := range h.strikes(kinds) {
		t.Run(fmt.Sprintf("request %d", at), func(t harness.T) {
			h.isolated(t, func(t harness.T) {
				s := newScene(t, h)
				p := newHTTPProxy(t, h, h.Address(t, s.App))
				s.applyAll(h.Through(t, s.App.Config(), p.address()), func() { p.arm(kind, at, time.Second) },
					func() { _, n := p.counts(); struck += n; p.disarm() })
				judgeProxy(t, p)
			})
		})
	}
	if struck == 0 {
		t.Error("the fault never struck: the connector does not go through the proxy")
	}
}

func judgeProxy(t harness.T, p *httpProxy) {
	t.Helper()
	early, leaked := p.faults()
	if early {
		t.Error("the connector came back before the time that Retry-After named")
	}
	if leaked {
		t.Error("the connector followed a redirect to another host")
	}
}

// longLimit checks that the connector gives up and reports RetryAfter if waiting would take an hour.
func longLimit(t harness.T, h Harness) {
	s := newScene(t, h)
	p := newHTTPProxy(t, h, h.Address(t, s.App))
	cfg := h.Through(t, s.App.Config(), p.address())
	ctx, cancel := context.WithTimeout(t.Context(), h.patience())
	defer cancel()
	var w connectors.Writer
	opened(ctx, t, func() (_ connectors.Reader, err error) {
		w, err = h.Connector.OpenWriter(ctx, cfg)
		return w, err
	})
	defer func() {
		if err := w.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	p.arm(answerTooMany, 0, time.Hour)
	check := func(what string, err error) {
		t.Helper()
		var e *connectors.Error
		if !errors.As(err, &e) || e.Code != connectors.Unavailable || e.RetryAfter < 59*time.Minute {
			t.Errorf("%s under a limit of an hour: %v, want %s with RetryAfter of an hour", what, err, connectors.Unavailable)
		}
	}
	_, err := w.Read(ctx, s.Scope())
	check("Read", err)
	out, err := harness.Apply(ctx, w, s.ops[:1])
	if err == nil && len(out) == 1 {
		err = out[0].Err
	}
	check("Apply", err)
	if ctx.Err() != nil {
		t.Errorf("it took longer than %v", h.patience())
	}
}
