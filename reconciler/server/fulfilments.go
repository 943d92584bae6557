package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/fulfil"
	"github.com/countersign/countersign/schemas"
)

// maxWaitForPass is how long a callback waits for a pass to end, where it must.
const maxWaitForPass = 10 * time.Second

// fulfilment takes what a webhook says became of an operation. The body names the application, whose own secret the
// signature is then held against: no application's secret says anything about another's operations.
func (s *Server) fulfilment(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, fulfil.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		respond(w, http.StatusRequestEntityTooLarge, "larger than any answer")
		return
	case err != nil:
		respond(w, http.StatusBadRequest, "the body broke off")
		return
	}
	if t, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || t != "application/json" {
		respond(w, http.StatusUnsupportedMediaType, "send application/json")
		return
	}
	hook, ready := s.webhookOf(body)
	if !ready {
		respondLater(w, "no pass has ended well yet")
		return
	}
	// Who has no secret is not told which applications there are, nor what is wrong with the body.
	if err := s.signed(req, body, hook); err != nil {
		if !errors.Is(err, fulfil.ErrSignature) {
			s.config.Logger.Error("a callback could not be checked", "error", err)
		}
		respond(w, http.StatusUnauthorized, "the signature does not hold")
		return
	}
	answer, err := fulfil.ReadAnswer(body)
	if err == nil && s.webhookNamed(answer.Application) != hook {
		err = errors.New("the body names two applications")
	}
	if err != nil {
		respond(w, http.StatusBadRequest, err.Error())
		return
	}
	if s.config.Serial && !s.lockBetweenPasses(req.Context()) {
		respondLater(w, "a pass is under way")
		return
	}
	if s.config.Serial {
		defer s.work.Unlock()
	}
	by := fulfil.HostOf(hook.URL)
	if answer.By != "" {
		by = answer.By + " at " + by
	}
	// Whoever sends is free to go: what came is put on record. Another process may have the ledger for longer than that.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), maxWaitForPass)
	defer cancel()
	rep, err := s.config.Reconciler.Fulfil(ctx, reconciler.Answer{Application: answer.Application, Operation: answer.Operation, Submission: answer.ID,
		Status: answer.Status, Message: answer.Message, By: by, Method: schemas.FulfilledByCallback, Authenticated: true})
	switch {
	case errors.Is(err, reconciler.ErrNotAsked):
		respond(w, http.StatusNotFound, err.Error())
	case errors.Is(err, reconciler.ErrSaidOtherwise):
		respond(w, http.StatusConflict, err.Error())
	case err != nil:
		s.config.Logger.Error("a callback could not be put on record", "application", answer.Application, "operation", answer.Operation, "error", err)
		respondLater(w, "it could not be put on record")
	case !rep.Recorded:
		respond(w, http.StatusOK, "known already")
	default:
		s.config.Logger.Info("an operation is said to have come to its end", "application", answer.Application, "operation", answer.Operation, "status", answer.Status)
		s.hint(hint{due: true})
		respond(w, http.StatusOK, "recorded")
	}
}

// webhookOf is that of the application that a body names; nil where there is none.
func (s *Server) webhookOf(body []byte) (_ *schemas.WebhookFulfilment, ready bool) {
	var named struct {
		Application string `json:"application"`
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.webhooks == nil {
		return nil, false
	}
	if json.Unmarshal(body, &named) != nil {
		return nil, true
	}
	return s.webhooks[named.Application], true
}

func (s *Server) webhookNamed(application string) *schemas.WebhookFulfilment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.webhooks[application]
}

func (s *Server) signed(req *http.Request, body []byte, hook *schemas.WebhookFulfilment) error {
	if hook == nil {
		return fulfil.ErrSignature
	}
	secret, err := reconciler.Secret(hook.Secret)
	if err != nil {
		return err
	}
	key, err := fulfil.NewKey(secret)
	if err != nil {
		return err
	}
	return key.Verify(req.Header, body, s.config.Now())
}

// lockBetweenPasses waits until no pass is under way, and keeps the next one off.
func (s *Server) lockBetweenPasses(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, maxWaitForPass)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.work.TryLock() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// respondLater asks to come back: who sends webhooks does.
func respondLater(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", strconv.Itoa(int(maxWaitForPass/time.Second)))
	respond(w, http.StatusServiceUnavailable, why)
}
