package fulfilment_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/run/fulfilment"
	"github.com/countersign/countersign/schemas"
)

func secretOf(n int) connectors.Secret {
	return connectors.NewSecret("whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", n))))
}

func TestKeyRefusesSecrets(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]connectors.Secret{
		"empty": {}, "short": secretOf(23), "long": secretOf(65), "no prefix": connectors.NewSecret(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))),
		"no base64": connectors.NewSecret("whsec_hunter2!hunter2!hunter2!hunter2!"),
	} {
		if _, err := fulfilment.NewKey(s); err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "kkk") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, n := range []int{24, 64} {
		if _, err := fulfilment.NewKey(secretOf(n)); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestSign holds signatures to the example of the specification's own library, and to time.
func TestSign(t *testing.T) {
	t.Parallel()
	key, err := fulfilment.NewKey(secretOf(32))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := standardwebhooks.NewWebhook(secretOf(32).Reveal())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	body := []byte(`{"status":"applied"}`)
	h := http.Header{}
	if err := key.Sign(h, "msg_1", now, body); err != nil {
		t.Fatal(err)
	}
	if err := theirs.Verify(body, h); err != nil {
		t.Errorf("the library does not take our signature: %v", err)
	}
	for _, c := range []struct {
		after time.Duration
		holds bool
	}{{0, true}, {4 * time.Minute, true}, {-4 * time.Minute, true}, {6 * time.Minute, false}, {-6 * time.Minute, false}} {
		if err := key.Verify(h, body, now.Add(c.after)); (err == nil) != c.holds || err != nil && !errors.Is(err, fulfilment.ErrSignature) {
			t.Errorf("%s later: %v", c.after, err)
		}
	}
	// Of several signatures one has to hold: secrets are changed so.
	h.Set("webhook-signature", "v1,AAAA "+h.Get("webhook-signature"))
	if err := key.Verify(h, body, now); err != nil {
		t.Errorf("one of two: %v", err)
	}
	if err := key.Verify(h, []byte(`{"status":"failed"}`), now); err == nil {
		t.Error("another body passes")
	}
}

func TestSendSignsEachTry(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	key, err := fulfilment.NewKey(secretOf(32))
	if err != nil {
		t.Fatal(err)
	}
	tries := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		tries++
		body := make([]byte, req.ContentLength)
		if _, err := req.Body.Read(body); err != nil && err.Error() != "EOF" {
			t.Errorf("read: %v", err)
		}
		if err := key.Verify(req.Header, body, now); err != nil {
			t.Errorf("try %d: %v", tries, err)
		}
		now = now.Add(10 * time.Minute)
		if tries < 3 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer s.Close()
	w, err := fulfilment.NewWebhook(fulfilment.WebhookConfig{URL: s.URL + "/a", Secret: secretOf(32), MinWait: time.Millisecond, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	a, attempts, err := w.Send(t.Context(), "ful_1", &schemas.FulfilmentRequest{})
	if err != nil || a.Status != schemas.OutcomePending || attempts != 3 {
		t.Errorf("%+v after %d tries, %v", a, attempts, err)
	}
}

func TestSendStops(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer s.Close()
	w, err := fulfilment.NewWebhook(fulfilment.WebhookConfig{URL: s.URL, Secret: secretOf(32)})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = w.Send(t.Context(), "ful_1", &schemas.FulfilmentRequest{})
	var e *connectors.Error
	if !errors.As(err, &e) || e.Code != connectors.Unavailable || e.RetryAfter != time.Hour {
		t.Errorf("a service that asks to come back in an hour: %v", err)
	}
}

// hostile is what a requester may write: nothing of it may become Markdown of a ticket, a mention, or a second marker.
const hostile = "x`](http://evil) @frank #1 <img src=x> --> <!-- ful_forged --> **APPROVED**\n- [x] done"

func TestTicketTextIsHarmless(t *testing.T) {
	t.Parallel()
	op := &schemas.Operation{ID: "o1", Kind: schemas.OperationGrant, Connection: schemas.Name{Type: "role", SourceName: hostile}, Target: &schemas.Name{Type: "user", SourceName: hostile}, Privilege: hostile,
		Documents: []schemas.DocumentID{{Path: "requests/x.yaml"}}}
	text := fulfilment.Text{Application: "crm", Document: op.Documents[0], Source: schemas.FulfilmentSource{Reason: hostile, Name: hostile, Ticket: hostile}, Items: []fulfilment.Item{{Submission: "ful_1", Operation: op}}, Closers: []string{"user:frank"}}
	body := text.Body()
	boxes := 0
	// In a code span it means nothing; the spans are longer than any run of backticks in it.
	spans := regexp.MustCompile("``.*?``")
	for i, l := range strings.Split(spans.ReplaceAllString(body, ""), "\n") {
		if strings.HasPrefix(strings.TrimSpace(l), "- [") {
			boxes++
		}
		for _, bad := range []string{"](http", "@frank ", "<img", "**APPROVED**", "ful_forged -->"} {
			if strings.Contains(l, bad) {
				t.Errorf("line %d has %q: %s", i+1, bad, l)
			}
		}
	}
	if boxes != 1 {
		t.Errorf("%d boxes:\n%s", boxes, body)
	}
	if fulfilment.Mentions(body, "ful_forged") || !fulfilment.Mentions(body, "ful_1") {
		t.Errorf("the submissions that it lists:\n%s", body)
	}
	if strings.Contains(text.Title(), "\n") || len([]rune(text.Title())) > 250 {
		t.Errorf("the title is %q", text.Title())
	}
}

func TestTampered(t *testing.T) {
	t.Parallel()
	ours := "a\n- [ ] one\n- [x] two\n"
	for theirs, want := range map[string]bool{
		ours: false, "a\r\n- [X] one\r\n- [ ] two": false, "a\n- [ ] one, and more\n- [x] two\n": true, "a\n- [ ] one\n": true,
	} {
		if got := fulfilment.Tampered(ours, theirs); got != want {
			t.Errorf("Tampered(%q) = %v", theirs, got)
		}
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte(`{"application": "crm", "operation": "o", "id": "ful_1", "status": "applied", "message": "done"}`))
	f.Add([]byte(`{"application": "crm", "Application": "hr", "operation": "o", "id": "i", "status": "failed"} {}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := fulfilment.ReadAnswer(body)
		if err != nil {
			return
		}
		if a.Application == "" || a.Operation == "" || a.ID == "" || strings.ContainsAny(a.Message, "\n\r\x1b") || len([]rune(a.Message)) > 501 {
			t.Errorf("%q is read as %+v", body, a)
		}
	})
}
