package fulfilment

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/rest"
	"github.com/countersign/countersign/schemas"
)

const (
	// Tolerance is how far the time of a signature may be from now.
	Tolerance = 5 * time.Minute
	// MaxBody bounds an answer, and a callback.
	MaxBody = 64 << 10
	// maxMessage bounds their message, in characters.
	maxMessage = 500

	prefix         = "whsec_"
	minKey, maxKey = 24, 64 // bytes, as Standard Webhooks requires
)

// Key signs and verifies. It is safe for concurrent use.
type Key struct{ hook *standardwebhooks.Webhook }

// NewKey reads a secret: whsec_ and 24 to 64 bytes in base64.
func NewKey(secret connectors.Secret) (Key, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(secret.Reveal()), prefix)
	raw, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) < minKey || len(raw) > maxKey {
		// The error itself may contain a part of the secret.
		return Key{}, fmt.Errorf("the webhook's secret must be %s and %d to %d random bytes in base64: echo %s$(openssl rand -base64 32) makes one", prefix, minKey, maxKey, prefix)
	}
	hook, err := standardwebhooks.NewWebhookRaw(raw)
	return Key{hook}, err
}

// Sign puts the three headers on a request or answer.
func (k Key) Sign(h http.Header, id string, at time.Time, body []byte) error {
	signature, err := k.hook.Sign(id, at, body)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	h.Set(standardwebhooks.HeaderWebhookID, id)
	h.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	h.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return nil
}

// ErrSignature means that the sender does not have the secret, or sent it too long ago.
var ErrSignature = errors.New("invalid signature")

// Verify reports whether the holder of the secret signed the body for about this moment.
func (k Key) Verify(h http.Header, body []byte, now time.Time) error {
	// The library knows only the system's clock: it checks the signature, and we check the time.
	if err := k.hook.VerifyIgnoringTimestamp(body, h); err != nil {
		return ErrSignature
	}
	at, err := strconv.ParseInt(h.Get(standardwebhooks.HeaderWebhookTimestamp), 10, 64)
	if err != nil {
		return ErrSignature
	}
	if d := now.Sub(time.Unix(at, 0)); d > Tolerance || d < -Tolerance {
		return fmt.Errorf("%w: its timestamp is too far from the current time (at most %s)", ErrSignature, Tolerance)
	}
	return nil
}

// WebhookConfig configures a Webhook.
type WebhookConfig struct {
	URL    string
	Secret connectors.Secret
	// Timeout bounds one try; 0 is half a minute.
	Timeout time.Duration
	// MinWait is the first wait before another try, MaxWait the longest; 0 is that of package rest.
	MinWait, MaxWait time.Duration
	// CAFile is a file of certificates to check the service's with; "" is the system's.
	CAFile string
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// maxCertificates is the limit on a file of certificates in bytes: that of a system has 300 KiB.
const maxCertificates = 4 << 20

// Webhook posts to one service. It is used by one goroutine at a time.
type Webhook struct {
	config WebhookConfig
	key    Key
	next   http.RoundTripper
}

// NewWebhook checks the configuration. It opens nothing.
func NewWebhook(c WebhookConfig) (*Webhook, error) {
	key, err := NewKey(c.Secret)
	if err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	w := &Webhook{config: c, key: key, next: http.DefaultTransport}
	if c.CAFile != "" {
		pem, err := connectors.ReadFile(c.CAFile, maxCertificates)
		if err != nil {
			return nil, fmt.Errorf("read the certificates of the webhook: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate found (expected PEM)", c.CAFile)
		}
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		w.next = transport
	}
	return w, nil
}

// Host is the service's host, for people.
func (w *Webhook) Host() string { return HostOf(w.config.URL) }

// HostOf is the host of an address; "" when it has none.
func HostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// signing signs each try with its own timestamp: after a wait, the first one would be too old for the receiver.
type signing struct {
	*Webhook
	id   string
	body []byte
}

func (s *signing) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := s.key.Sign(req.Header, s.id, s.config.Now(), s.body); err != nil {
		return nil, err
	}
	return s.next.RoundTrip(req)
}

// Send posts a request under an id, with retries: the id identifies them as one request to the service. It
// returns the service's answer, or pending where that is empty or invalid. An error is a
// *connectors.Error, and means that the request may not have arrived.
func (w *Webhook) Send(ctx context.Context, id string, request *schemas.FulfilmentRequest) (answer schemas.FulfilmentAnswer, attempts int, err error) {
	op := "post to the webhook at " + w.Host()
	body, err := json.Marshal(request)
	if err != nil {
		return answer, 0, &connectors.Error{Code: connectors.Invalid, Op: op, Message: "the operation cannot be encoded", Err: err}
	}
	client, err := rest.New(rest.Config{URL: w.config.URL, Timeout: w.config.Timeout, MinWait: w.config.MinWait, MaxWait: w.config.MaxWait, MaxAnswer: MaxBody,
		Secrets: []connectors.Secret{w.config.Secret}, Transport: &signing{w, id, body}, Now: w.config.Now})
	if err != nil {
		return answer, 0, err
	}
	resp, attempts, err := client.Do(ctx, rest.Request{Op: op, Method: http.MethodPost, Path: w.config.URL, Body: body, Repeatable: true})
	if err != nil {
		return answer, attempts, err
	}
	return understood(resp, request), attempts, nil
}

func understood(resp *rest.Response, request *schemas.FulfilmentRequest) schemas.FulfilmentAnswer {
	var a schemas.FulfilmentAnswer
	pending := func(why string) schemas.FulfilmentAnswer {
		return schemas.FulfilmentAnswer{Status: schemas.OutcomePending, Message: why}
	}
	switch {
	case len(bytes.TrimSpace(resp.Body)) == 0:
		return pending("")
	case json.Unmarshal(resp.Body, &a) != nil:
		return pending("its answer is not JSON")
	}
	d := &request.Data
	other := func(answered, asked string) bool { return answered != "" && answered != asked }
	switch {
	case other(a.Application, d.Application) || other(a.Operation, d.Operation.ID) || other(a.ID, d.ID):
		return pending("its answer is about another operation")
	case a.Status != schemas.OutcomeApplied && a.Status != schemas.OutcomeFailed && a.Status != schemas.OutcomePending:
		return pending("its answer has an unknown status")
	case resp.Status == http.StatusAccepted && a.Status == schemas.OutcomeApplied:
		// Accepted is not done, whatever the body claims.
		return pending("its answer is \"applied\" with status code 202, which only means accepted")
	}
	a.Message, a.By = Plain(a.Message), Plain(a.By)
	return a
}

// Plain puts an outside party's message on one line and bounds its length.
func Plain(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "\uFFFD"), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
	}), " ")
	if r := []rune(s); len(r) > maxMessage {
		s = string(r[:maxMessage]) + "…"
	}
	return s
}

// ReadAnswer decodes a callback: an answer that names what it is about.
func ReadAnswer(body []byte) (schemas.FulfilmentAnswer, error) {
	var a schemas.FulfilmentAnswer
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, errors.New("the body is not a fulfilment-answer; see countersign schema fulfilment-answer")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return a, errors.New("unexpected data after the answer in the body")
	}
	switch {
	case a.Application == "" || a.Operation == "" || a.ID == "":
		return a, errors.New("application, operation and id are required, as in the request")
	case a.Status != schemas.OutcomeApplied && a.Status != schemas.OutcomeFailed && a.Status != schemas.OutcomePending:
		return a, errors.New("status: unknown value (expected applied, failed or pending)")
	}
	a.Message, a.By = Plain(a.Message), Plain(a.By)
	return a, nil
}
