package faults

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign/connectors/connectortest/harness"
)

// streamLength returns the number of bytes of answers in a read and an Apply through a sound proxy.
type streamLength struct{ read, apply int64 }

func measureStream(t harness.T, h Harness) streamLength {
	t.Helper()
	var length streamLength
	h.isolated(t, func(t harness.T) {
		s := newScene(t, h)
		p := newStreamProxy(t, h, h.Address(t, s.App))
		cfg := h.Through(t, s.App.Config(), p.address())
		s.readAll(cfg, func() {})
		length.read = p.passed() / 2 // it opens twice
		before := p.passed()
		s.applyAll(cfg, func() { before = p.passed() }, func() { length.apply = p.passed() - before })
	})
	return length
}

// places returns the places in an exchange of that many bytes at which a fault strikes: the first byte, the middle,
// the last, of which a fault has some when it strikes once and the others when it lasts; with All each, and more.
func (h Harness) places(kind streamKind, once bool, total int64) []int64 {
	first, middle, last := int64(0), total/2, total-1
	var out []int64
	switch {
	case kind == faultRefuse:
		return []int64{first}
	case h.All:
		out = []int64{first, middle, last, 1, total / 4, 3 * total / 4}
	case kind == faultHang && once: // each waits for a time limit
		out = []int64{first}
	case kind == faultHang, kind == faultCut && !once, kind == faultGarbage && once:
		out = []int64{middle}
	default:
		out = []int64{first, last}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(n int64) bool { return n < 0 })
}

// readThroughStream reads while a fault strikes. shared is the scene to read; nil if each case has its own.
func readThroughStream(t harness.T, h Harness, shared *scene, kind streamKind, once bool, total int64) {
	struck := 0
	for _, after := range h.places(kind, once, total) {
		t.Run(fmt.Sprintf("after %d bytes", after), func(t harness.T) {
			h.isolated(t, func(t harness.T) {
				var s *scene
				if shared == nil {
					s = newScene(t, h)
				} else {
					s = shared.at(t)
				}
				p := newStreamProxy(t, h, h.Address(t, s.App))
				s.readAll(h.Through(t, s.App.Config(), p.address()), func() { p.arm(streamFault{kind, after, once}) })
				struck += p.strikes()
			})
		})
	}
	if struck == 0 {
		t.Error("the fault never struck: the connector does not go through the proxy")
	}
}

func applyThroughStream(t harness.T, h Harness, kind streamKind, once bool, total int64) {
	struck := 0
	for _, after := range h.places(kind, once, total) {
		t.Run(fmt.Sprintf("after %d bytes", after), func(t harness.T) {
			h.isolated(t, func(t harness.T) {
				s := newScene(t, h)
				p := newStreamProxy(t, h, h.Address(t, s.App))
				s.applyAll(h.Through(t, s.App.Config(), p.address()), func() { p.arm(streamFault{kind, after, once}) }, func() { struck += p.strikes(); p.disarm() })
			})
		})
	}
	if struck == 0 {
		t.Error("the fault never struck: the connector does not go through the proxy")
	}
}
