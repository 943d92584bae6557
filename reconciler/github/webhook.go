package github

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/forge"
)

// maxIssueEvent is how much of an event about an issue is kept to be looked at.
const maxIssueEvent = 256 << 10

// ReadDelivery reads a webhook. Only the SHA-256 signature counts: GitHub's old one isn't looked at.
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
func (c *Client) ReadDelivery(header http.Header, body io.Reader, secret []byte) (forge.Delivery, error) {
	want, err := hex.DecodeString(strings.TrimPrefix(sha256Only(header.Get(gh.SHA256SignatureHeader)), "sha256="))
	if err != nil || len(want) == 0 {
		return forge.Delivery{}, forge.ErrDeliverySignature
	}
	event := header.Get(gh.EventTypeHeader)
	mac := hmac.New(sha256.New, secret)
	var kept bytes.Buffer
	if event == "issues" {
		// The name of the other events is enough.
		_, err = io.CopyN(io.MultiWriter(mac, &kept), body, maxIssueEvent)
	}
	if err == nil {
		_, err = io.Copy(mac, body)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return forge.Delivery{}, fmt.Errorf("%w: %w", forge.ErrDeliveryIncomplete, err)
	}
	if !hmac.Equal(mac.Sum(nil), want) {
		return forge.Delivery{}, forge.ErrDeliverySignature
	}
	if t, _, err := mime.ParseMediaType(header.Get("Content-Type")); err != nil || t != "application/json" {
		return forge.Delivery{}, forge.ErrDeliveryType
	}
	return forge.Delivery{ID: header.Get(gh.DeliveryIDHeader), Hint: hintOf(event, kept.Bytes())}, nil
}

// hintOf returns the hint of an event.
func hintOf(event string, body []byte) forge.Hint {
	switch event {
	case "ping":
		return forge.HintPing
	case "push", "pull_request", "pull_request_review", "merge_group":
		return forge.HintMoved
	case "issues":
		if isTicketMoved(body) {
			return forge.HintTicket
		}
	}
	return forge.HintNone
}

// isTicketMoved reports whether an event is about an issue of ours that was closed or opened again.
func isTicketMoved(body []byte) bool {
	var event struct {
		Action string `json:"action"`
		Issue  struct {
			Labels []struct {
				Name string `json:"name"`
			} `json:"labels"`
		} `json:"issue"`
	}
	if len(body) == maxIssueEvent {
		return true // too long to tell: a pass looks
	}
	if json.Unmarshal(body, &event) != nil || !slices.Contains([]string{"closed", "reopened", "deleted", "transferred"}, event.Action) {
		return false
	}
	for _, l := range event.Issue.Labels {
		if l.Name == issueLabel {
			return true
		}
	}
	return false
}

// sha256Only removes all other signatures.
func sha256Only(signature string) string {
	const prefix = "sha256="
	if len(signature) != len(prefix)+64 || signature[:len(prefix)] != prefix {
		return ""
	}
	return signature
}
