package server

import (
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/countersign/countersign/reconciler/forge"
)

const (
	// minSecret is the shortest secret that webhooks are checked with.
	minSecret = 16
	// maxPayload is the limit of a delivery: the largest that a forge is known to send (GitHub's).
	// https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap
	maxPayload = 25 << 20
	// maxAtOnce is how many deliveries are read at once. Each takes some memory, also those of strangers.
	maxAtOnce = 64
	// maxDeliveries is how many deliveries are remembered, so that a repeated one is ignored.
	maxDeliveries = 4096
)

// deliveries remembers the last ones by their id.
type deliveries struct {
	mu       sync.Mutex
	now, old map[string]bool
}

// first reports whether a delivery is seen for the first time.
func (d *deliveries) first(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now[id] || d.old[id] {
		return false
	}
	if d.now == nil || len(d.now) >= maxDeliveries {
		d.now, d.old = map[string]bool{}, d.now
	}
	d.now[id] = true
	return true
}

// handler answers /webhook, /fulfilments, /healthz, /readyz and /metrics, and nothing else.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { respond(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := s.health.unready(); why != "" {
			respond(w, http.StatusServiceUnavailable, why)
			return
		}
		respond(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /metrics", s.metrics)
	mux.HandleFunc("POST /webhook", s.webhook)
	mux.HandleFunc("POST /fulfilments", s.fulfilment)
	return mux
}

func respond(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // the client is gone
}

// webhook takes a delivery as a hint: Git and the forge are read for what happened. Only the signature makes it
// worth a look.
func (s *Server) webhook(w http.ResponseWriter, req *http.Request) {
	if len(s.config.Secret) == 0 {
		respond(w, http.StatusForbidden, "no webhook secret is configured, so no delivery can be trusted")
		return
	}
	select {
	case s.deliveries <- struct{}{}:
		defer func() { <-s.deliveries }()
	default:
		respondLater(w, "too many deliveries at once")
		return
	}
	delivery, err := s.config.Webhooks.ReadDelivery(req.Header, http.MaxBytesReader(w, req.Body, maxPayload), s.config.Secret)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		respond(w, http.StatusRequestEntityTooLarge, "the delivery is too large")
		return
	case errors.Is(err, forge.ErrDeliveryIncomplete):
		respond(w, http.StatusBadRequest, "the body is incomplete")
		return
	case errors.Is(err, forge.ErrDeliverySignature):
		respond(w, http.StatusUnauthorized, err.Error())
		return
	case errors.Is(err, forge.ErrDeliveryType):
		respond(w, http.StatusUnsupportedMediaType, err.Error())
		return
	case err != nil:
		respond(w, http.StatusBadRequest, err.Error())
		return
	}
	switch {
	case delivery.Hint == forge.HintPing:
		respond(w, http.StatusOK, "pong")
	case delivery.Hint == forge.HintNone:
		respond(w, http.StatusAccepted, "nothing to do for this event")
	case delivery.ID == "" || !s.seen.first(delivery.ID):
		respond(w, http.StatusAccepted, "heard already")
	default:
		// The branch does not move with a ticket: a pass looks at it all the same.
		s.hint(hint{due: delivery.Hint == forge.HintTicket})
		respond(w, http.StatusAccepted, "heard")
	}
}
