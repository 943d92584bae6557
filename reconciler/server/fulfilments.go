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
	"github.com/countersign/countersign/reconciler/run/fulfilment"
	"github.com/countersign/countersign/schemas"
)

// maxWaitForPass is how long a callback waits for a pass to end, where it must.
const maxWaitForPass = 10 * time.Second

// fulfilment takes a webhook's answer about an operation. The body names the application, whose own secret the
// signature is then checked with: no application's secret vouches for another's operations.
func (s *Server) fulfilment(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, fulfilment.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		respond(w, http.StatusRequestEntityTooLarge, "the answer is too large")
		return
	case err != nil:
		respond(w, http.StatusBadRequest, "the body is incomplete")
		return
	}
	if t, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || t != "application/json" {
		respond(w, http.StatusUnsupportedMediaType, "send application/json")
		return
	}
	hook, ready := s.webhookOf(body)
	if !ready {
		respondLater(w, "no pass has succeeded yet")
		return
	}
	// A sender without the secret learns neither which applications exist nor what is wrong with the body.
	if err := s.signed(req, body, hook); err != nil {
		if !errors.Is(err, fulfilment.ErrSignature) {
			s.config.Logger.Error("a callback could not be checked", "error", err)
		}
		respond(w, http.StatusUnauthorized, "invalid signature")
		return
	}
	answer, err := fulfilment.ReadAnswer(body)
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
	by := fulfilment.HostOf(hook.URL)
	if answer.By != "" {
		by = answer.By + " at " + by
	}
	// The sender may hang up: the answer is recorded all the same. Another process may hold the ledger for longer than that.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), maxWaitForPass)
	defer cancel()
	rep, err := s.config.Reconciler.Fulfil(ctx, reconciler.Answer{Application: answer.Application, Operation: answer.Operation, Submission: answer.ID,
		Status: answer.Status, Message: answer.Message, By: by, Method: schemas.FulfilledByCallback, Authenticated: true})
	switch {
	case errors.Is(err, reconciler.ErrNotAsked):
		respond(w, http.StatusNotFound, err.Error())
	case errors.Is(err, reconciler.ErrAnswered):
		respond(w, http.StatusConflict, err.Error())
	case err != nil:
		s.config.Logger.Error("a callback could not be recorded", "application", answer.Application, "operation", answer.Operation, "error", err)
		respondLater(w, "the answer could not be recorded")
	case !rep.Recorded:
		respond(w, http.StatusOK, "known already")
	default:
		s.config.Logger.Info("an operation was reported as finished", "application", answer.Application, "operation", answer.Operation, "status", answer.Status)
		s.hint(hint{due: true})
		respond(w, http.StatusOK, "recorded")
	}
}

// webhookOf returns the webhook of the application that a body names; nil where it doesn't exist.
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
		return fulfilment.ErrSignature
	}
	secret, err := s.config.Reconciler.Secret(hook.Secret)
	if err != nil {
		return err
	}
	key, err := fulfilment.NewKey(secret)
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

// respondLater asks for a retry: senders of webhooks retry.
func respondLater(w http.ResponseWriter, why string) {
	w.Header().Set("Retry-After", strconv.Itoa(int(maxWaitForPass/time.Second)))
	respond(w, http.StatusServiceUnavailable, why)
}
