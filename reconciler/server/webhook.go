package server

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"sync"

	gh "github.com/google/go-github/v60/github"
)

const (
	// minSecret is the shortest secret that webhooks are checked with.
	minSecret = 16
	// maxPayload is GitHub's limit of a delivery.
	// https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap
	maxPayload = 25 << 20
	// maxDeliveries is how many deliveries are remembered, so that a repeated one leads to nothing.
	maxDeliveries = 4096
)

// deliveries remembers the last ones by their id.
type deliveries struct {
	mu       sync.Mutex
	now, old map[string]bool
}

// first says whether a delivery is seen for the first time.
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

// handler answers /webhook, /fulfilments, /healthz and /readyz, and nothing else.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() {
			say(w, http.StatusServiceUnavailable, "no pass has ended well yet")
			return
		}
		say(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("POST /webhook", s.webhook)
	mux.HandleFunc("POST /fulfilments", s.fulfilment)
	return mux
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // whoever asked is gone: nobody to tell
}

// webhook takes a delivery as a hint: what happened is read from Git and the forge. Only the signature says that it
// is worth a look; the old SHA-1 one is not asked.
func (s *Server) webhook(w http.ResponseWriter, req *http.Request) {
	if len(s.c.Secret) == 0 {
		say(w, http.StatusForbidden, "no webhook secret is configured, so that none can be trusted")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxPayload))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		say(w, http.StatusRequestEntityTooLarge, "larger than any delivery of GitHub's")
		return
	case err != nil:
		say(w, http.StatusBadRequest, "the body broke off")
		return
	}
	if err := gh.ValidateSignature(sha256Only(req.Header.Get(gh.SHA256SignatureHeader)), body, s.c.Secret); err != nil {
		say(w, http.StatusUnauthorized, "the signature does not hold")
		return
	}
	kind, id := gh.WebHookType(req), gh.DeliveryID(req)
	if t, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || t != "application/json" {
		say(w, http.StatusUnsupportedMediaType, "set the webhook's content type to application/json")
		return
	}
	switch {
	case kind == "ping":
		say(w, http.StatusOK, "pong")
	case kind == "issues" && s.ticketMoved(body):
		if id == "" || !s.seen.first(id) {
			say(w, http.StatusAccepted, "heard already")
			return
		}
		// The branch did not move: a pass looks at the ticket all the same.
		s.hint(hint{due: true})
		say(w, http.StatusAccepted, "heard")
	case kind != "push" && kind != "pull_request" && kind != "pull_request_review" && kind != "merge_group":
		say(w, http.StatusAccepted, "nothing to do for this event")
	case id == "" || !s.seen.first(id):
		say(w, http.StatusAccepted, "heard already")
	default:
		s.hint(hint{})
		say(w, http.StatusAccepted, "heard")
	}
}

// sha256Only keeps every other signature from being looked at.
func sha256Only(signature string) string {
	const prefix = "sha256="
	if len(signature) != len(prefix)+64 || signature[:len(prefix)] != prefix {
		return ""
	}
	return signature
}
