package server

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxFailedLooks in a row make the server not ready.
const maxFailedLooks = 10

// health is what /readyz and /metrics tell.
type health struct {
	mu sync.Mutex // guards what follows
	// ready means that a pass has succeeded since the start.
	ready                 bool
	looks, passes, failed int
	inARow                int
	success               time.Time
	quarantined           int
	alarms                map[string]int
}

// looked notes whether a look at the branch, and the pass that it led to, went well.
func (h *health) looked(err error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looks++
	if err != nil {
		h.inARow++
		return
	}
	h.inARow, h.success = 0, now
}

// passed notes the end of a pass.
func (h *health) passed(err error, quarantined int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.passes++
	if err != nil {
		h.failed++
		return
	}
	h.ready, h.quarantined = true, quarantined
}

func (h *health) alarm(kind string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.alarms == nil {
		h.alarms = map[string]int{}
	}
	h.alarms[kind]++
}

// unready returns why the server is not ready; "" where it is.
func (h *health) unready() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.ready:
		return "no pass has succeeded yet"
	case h.inARow >= maxFailedLooks:
		return fmt.Sprintf("the last %d looks at the branch failed; the last good one was at %s", h.inARow, h.success.UTC().Format(time.RFC3339))
	}
	return ""
}

// metrics answers in Prometheus' text format.
// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	h := &s.health
	ready := h.unready() == ""
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	value := func(name, kind, help string, v any) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n%s %v\n", name, help, name, kind, name, v)
	}
	up, last := 0, int64(0)
	if ready {
		up = 1
	}
	if !h.success.IsZero() {
		last = h.success.Unix()
	}
	value("countersign_ready", "gauge", "1 while passes succeed.", up)
	value("countersign_looks_total", "counter", "Looks at the branch.", h.looks)
	value("countersign_failed_looks", "gauge", "Looks that failed since the last good one.", h.inARow)
	value("countersign_last_success_timestamp_seconds", "gauge", "When the last look went well.", last)
	value("countersign_passes_total", "counter", "Passes over the branch.", h.passes)
	value("countersign_pass_failures_total", "counter", "Passes that failed.", h.failed)
	value("countersign_quarantined_files", "gauge", "Files on the branch without effect.", h.quarantined)
	fmt.Fprintf(&b, "# HELP countersign_alarms_total Alarms by kind.\n# TYPE countersign_alarms_total counter\n")
	kinds := []string{"ledger", "quarantine", "rewritten", "ruleset", "tampering"}
	for _, k := range slices.Sorted(slices.Values(kinds)) {
		fmt.Fprintf(&b, "countersign_alarms_total{kind=%q} %d\n", k, h.alarms[k])
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write([]byte(b.String())) // the client is gone
}
