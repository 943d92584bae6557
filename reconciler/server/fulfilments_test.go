package server_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/server"
	"github.com/countersign/countersign/schemas"
)

// hook is a service that accepts whatever it is given, and remembers it.
type hook struct {
	url, secret string
	mu          sync.Mutex
	got         []schemas.FulfilmentRequest
}

func newHook(t *testing.T, name string) *hook {
	t.Helper()
	h := &hook{secret: "whsec_" + base64.StdEncoding.EncodeToString([]byte((name + strings.Repeat("x", 32))[:32]))}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		var r schemas.FulfilmentRequest
		if err := json.Unmarshal(body, &r); err != nil {
			t.Errorf("a delivery is no request: %v", err)
		}
		h.mu.Lock()
		h.got = append(h.got, r)
		h.mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(s.Close)
	h.url = s.URL
	return h
}

// only is the one request that came.
func (h *hook) only(t *testing.T) schemas.FulfilmentRequestData {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.got) != 1 {
		t.Fatalf("%d requests came", len(h.got))
	}
	return h.got[0].Data
}

// hookWorld has two applications, each with a service and a secret of its own, and something asked of each.
func hookWorld(t *testing.T) (w *world, authz, hr *hook) {
	t.Helper()
	w = bareWorld(t)
	authz, hr = newHook(t, "authz"), newHook(t, "hr")
	dir := t.TempDir()
	block := func(name string, h *hook) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(h.secret), 0o600); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("  provisioning: webhook\n  fulfilment:\n    webhook: {url: %q, secret: {file: %s}}\n", h.url, path)
	}
	other := fmt.Sprintf("apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: hr}\nspec:\n  connector: manual\n  config: {types: [{name: group, grantable: [{type: user, edge: identity}]}]}\n"+
		"  owners: [user:bob, user:frank]\n  scope: {group: [\"*\"]}\n%s", block("hr", hr))
	w.spec = block("authz", authz)
	w.byHand("p2, base, role, base, , false")
	w.push("main", "carol", files{"countersign.yaml": settings, "people.yaml": people, "applications/authz.yaml": w.application("user:bob, user:frank"), "applications/hr.yaml": other,
		"requests/base.yaml": creation("base"), "requests/asked.yaml": grant("base", reads),
		"requests/hr.yaml": "apiVersion: countersign.dev/v1\nkind: ConnectionCreation\nmetadata: {name: it, reason: The personnel files are kept by them}\nspec:\n  application: hr\n  connection: {type: group, source_name: personnel}\n"})
	return w, authz, hr
}

// callback is what a service says later.
type callback struct {
	answer  schemas.FulfilmentAnswer
	body    string // in place of the answer
	secret  string
	id      string
	at      time.Time
	kind    string // the content type
	without string // a header that is left out
	mangle  func(http.Header)
}

func (s *serving) call(c callback) (int, string, http.Header) {
	s.t.Helper()
	body := []byte(c.body)
	if c.body == "" {
		var err error
		if body, err = json.Marshal(c.answer); err != nil {
			s.t.Fatal(err)
		}
	}
	key, err := standardwebhooks.NewWebhook(c.secret)
	if err != nil {
		s.t.Fatal(err)
	}
	if c.id == "" {
		c.id = "msg_1"
	}
	if c.at.IsZero() {
		c.at = s.now()
	}
	signature, err := key.Sign(c.id, c.at, body)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.address+"/fulfilments", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.kind != "" {
		req.Header.Set("Content-Type", c.kind)
	}
	req.Header.Set("webhook-id", c.id)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(c.at.Unix(), 10))
	req.Header.Set("webhook-signature", signature)
	req.Header.Del(c.without)
	if c.mangle != nil {
		c.mangle(req.Header)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text)), resp.Header
}

func about(d schemas.FulfilmentRequestData, status schemas.OutcomeStatus) schemas.FulfilmentAnswer {
	return schemas.FulfilmentAnswer{APIVersion: schemas.APIVersion, Kind: "FulfilmentAnswer", Application: d.Application, Operation: d.Operation.ID, ID: d.ID, Status: status}
}

// TestCallback is word that comes later: it is put on record, looked after, and no more.
func TestCallback(t *testing.T) {
	t.Parallel()
	w, authz, hr := hookWorld(t)
	s := w.serve(time.Hour, nil)
	if rep := s.pass(); rep.Again == nil {
		t.Error("the pass does not say when it looks again")
	}
	asked, group := authz.only(t), hr.only(t)
	// It is done, and it says so.
	w.byHand("p, base, sales.orders, read")
	if code, text, _ := s.call(callback{answer: about(asked, "applied"), secret: authz.secret}); code != http.StatusOK || text != "recorded" {
		t.Fatalf("the callback is answered %d %s", code, text)
	}
	w.want("seen at once", s.pass(), "beside the plan /verified", "create held:pending")
	w.wantStatus("requests/asked.yaml", "applied", "verified")
	// Word about what cannot be read is all that there is.
	done := about(group, "applied")
	done.By = "dora"
	if code, text, _ := s.call(callback{answer: done, secret: hr.secret}); code != http.StatusOK || text != "recorded" {
		t.Fatalf("the callback is answered %d %s", code, text)
	}
	w.want("attested", s.pass(), "beside the plan /attested")
	st := w.wantStatus("requests/hr.yaml", "applied", "attested")
	if !strings.Contains(st.Detail, "attested by dora at 127.0.0.1") {
		t.Errorf("the detail is %q", st.Detail)
	}
	// Again, as webhooks do come: nothing is recorded and nothing is done.
	for _, c := range []callback{{answer: done, secret: hr.secret}, {answer: about(asked, "applied"), secret: authz.secret, id: "msg_2"}} {
		if code, text, _ := s.call(c); code != http.StatusOK || text != "known already" {
			t.Errorf("a replay is answered %d %s", code, text)
		}
	}
	s.stop()
	if len(s.passes) > 0 {
		t.Error("a replay led to a pass")
	}
}

// TestCallbackAttacks are callbacks of those who may not: none changes anything.
func TestCallbackAttacks(t *testing.T) {
	t.Parallel()
	w, authz, hr := hookWorld(t)
	s := w.serve(time.Hour, nil)
	s.pass()
	asked, group := authz.only(t), hr.only(t)
	good := about(group, "applied")
	tests := map[string]struct {
		call callback
		code int
	}{
		"another application's secret":     {callback{answer: good, secret: authz.secret}, 401},
		"another application's operation":  {callback{answer: schemas.FulfilmentAnswer{Application: "authz", Operation: group.Operation.ID, ID: group.ID, Status: "applied"}, secret: authz.secret}, 404},
		"another application's submission": {callback{answer: schemas.FulfilmentAnswer{Application: "hr", Operation: group.Operation.ID, ID: asked.ID, Status: "applied"}, secret: hr.secret}, 404},
		"nobody's secret":                  {callback{answer: good, secret: "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("y"), 32))}, 401},
		"an application that is not there": {callback{answer: schemas.FulfilmentAnswer{Application: "nothing", Operation: "x", ID: "y", Status: "applied"}, secret: hr.secret}, 401},
		"two applications":                 {callback{body: fmt.Sprintf(`{"application": "hr", "Application": "authz", "operation": %q, "id": %q, "status": "applied"}`, group.Operation.ID, group.ID), secret: hr.secret}, 401},
		"no signature":                     {callback{answer: good, secret: hr.secret, without: "webhook-signature"}, 401},
		"no id":                            {callback{answer: good, secret: hr.secret, without: "webhook-id"}, 401},
		"another id than was signed":       {callback{answer: good, secret: hr.secret, mangle: func(h http.Header) { h.Set("webhook-id", "msg_9") }}, 401},
		"a later time than was signed":     {callback{answer: good, secret: hr.secret, at: w.now().Add(-time.Hour), mangle: func(h http.Header) { h.Set("webhook-timestamp", strconv.FormatInt(w.now().Unix(), 10)) }}, 401},
		"too old":                          {callback{answer: good, secret: hr.secret, at: w.now().Add(-6 * time.Minute)}, 401},
		"of the future":                    {callback{answer: good, secret: hr.secret, at: w.now().Add(6 * time.Minute)}, 401},
		"an unsigned version of signatures": {callback{answer: good, secret: hr.secret, mangle: func(h http.Header) {
			h.Set("webhook-signature", "v0,"+strings.TrimPrefix(h.Get("webhook-signature"), "v1,"))
		}}, 401},
		"no JSON":              {callback{body: "applied", secret: hr.secret}, 401},
		"another content type": {callback{answer: good, secret: hr.secret, kind: "application/x-www-form-urlencoded"}, 415},
		"verified":             {callback{answer: schemas.FulfilmentAnswer{Application: "hr", Operation: group.Operation.ID, ID: group.ID, Status: "verified"}, secret: hr.secret}, 400},
		"an unknown field":     {callback{body: fmt.Sprintf(`{"application": "hr", "operation": %q, "id": %q, "status": "applied", "approved": true}`, group.Operation.ID, group.ID), secret: hr.secret}, 400},
		"no submission":        {callback{answer: schemas.FulfilmentAnswer{Application: "hr", Operation: group.Operation.ID, Status: "applied"}, secret: hr.secret}, 400},
		"two answers":          {callback{body: fmt.Sprintf(`{"application": "hr", "operation": "x", "id": "y", "status": "failed"}{"application": "hr", "operation": %q}`, group.Operation.ID), secret: hr.secret}, 401},
		"large":                {callback{body: `{"application": "hr", "message": "` + strings.Repeat("x", 1<<20) + `"}`, secret: hr.secret}, 413},
	}
	for name, c := range tests {
		if code, text, _ := s.call(c.call); code != c.code {
			t.Errorf("%s: answered %d %s, want %d", name, code, text, c.code)
		}
	}
	if resp, err := http.Get(s.address + "/fulfilments"); err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET is answered %v, %v", resp.StatusCode, err)
	}
	w.wantStatus("requests/hr.yaml", "pending", "pending")
	w.wantStatus("requests/asked.yaml", "pending", "pending")
	s.stop()
	if len(s.passes) > 0 {
		t.Error("an attack led to a pass")
	}
	w.want("nothing has changed", w.apply(), "create held:pending", "grant held:pending")
}

// TestCallbackBeforeAPass is told to come back: nobody knows yet whose secret counts.
func TestCallbackBeforeAPass(t *testing.T) {
	t.Parallel()
	w, _, hr := hookWorld(t)
	s := w.serve(time.Hour, func(c *server.Config) {
		tip := c.Tip
		c.Tip = func() (string, error) {
			if hr.url != "" {
				return "", fmt.Errorf("the clone cannot be read")
			}
			return tip()
		}
	})
	if err := <-s.passes; err == nil {
		t.Fatal("the pass ended well")
	}
	code, text, header := s.call(callback{answer: schemas.FulfilmentAnswer{Application: "hr", Operation: "x", ID: "y", Status: "applied"}, secret: hr.secret})
	if code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("answered %d %s, %v", code, text, header)
	}
}

// TestCallbackWaitsForAPass does not come between the records of a pass where a branch keeps them too.
func TestCallbackWaitsForAPass(t *testing.T) {
	t.Parallel()
	w, authz, _ := hookWorld(t)
	enter, leave := make(chan bool, 1), make(chan bool)
	var hold atomic.Bool
	s := w.serve(time.Hour, func(c *server.Config) {
		c.Serial = true
		tip := c.Tip
		c.Tip = func() (string, error) {
			if hold.Load() {
				enter <- true
				<-leave
			}
			return tip()
		}
	})
	s.pass()
	asked := authz.only(t)
	hold.Store(true)
	s.deliver(nil)
	<-enter
	done := make(chan string)
	go func() {
		_, text, _ := s.call(callback{answer: about(asked, "applied"), secret: authz.secret})
		done <- text
	}()
	select {
	case text := <-done:
		t.Errorf("answered %s while a pass was under way", text)
	case <-time.After(200 * time.Millisecond):
	}
	hold.Store(false)
	leave <- true
	if text := <-done; text != "recorded" {
		t.Errorf("answered %s", text)
	}
}

// TestTicketHint: word from GitHub that an issue was closed leads to a pass, though the branch did not move.
func TestTicketHint(t *testing.T) {
	t.Parallel()
	w := ticketWorld(t)
	s := w.serve(time.Hour, nil)
	s.pass()
	w.land("asked", files{askedFor: grant("base", user("dave"))})
	s.deliver(nil)
	s.pass()
	w.byHand("g, dave, base")
	w.repo.CloseIssue(ticketTitle, "bob", "completed", "")
	for i, c := range []struct{ body, text string }{
		{`{"action": "closed", "issue": {"labels": [{"name": "bug"}]}}`, "nothing to do for this event"},
		{`{"action": "labeled", "issue": {"labels": [{"name": "countersign"}]}}`, "nothing to do for this event"},
		{`{"action": "closed", "issue": {"labels": [{"name": "countersign"}]}}`, "heard"},
	} {
		event := func(req *http.Request) {
			req.Header.Set("X-GitHub-Event", "issues")
			req.Header.Set("X-GitHub-Delivery", fmt.Sprintf("issue-%d", i))
		}
		if _, text := s.send([]byte(c.body), event); text != c.text {
			t.Errorf("%s is answered %s", c.body, text)
		}
	}
	w.want("seen", s.pass(), "beside the plan /verified")
}

const inPersonnel = "apiVersion: countersign.dev/v1\nkind: ConnectionAssignment\nmetadata: {name: it, reason: The personnel files are kept by them}\nspec:\n  application: hr\n  connection: {type: group, source_name: personnel}\n"

// say records that the last request to a service is done.
func (w *world) say(h *hook, status schemas.OutcomeStatus) {
	w.t.Helper()
	h.mu.Lock()
	d := h.got[len(h.got)-1].Data
	h.mu.Unlock()
	if _, err := w.reconciler().Fulfil(w.t.Context(), reconciler.Answer{Application: d.Application, Operation: d.Operation.ID, Status: status, By: "dora", Method: schemas.FulfilledByOperator}); err != nil {
		w.t.Fatal(err)
	}
}

// TestAttested is an application that nothing can read: it holds what was said, and what was said is never verified.
func TestAttested(t *testing.T) {
	t.Parallel()
	w, authz, hr := hookWorld(t)
	w.byHand("p, base, sales.orders, read")
	w.want("asked for", w.apply(), "create pending")
	if authz.got != nil {
		t.Errorf("the other application was asked for %+v", authz.got)
	}
	// Nothing is granted to a group before it was said to be there.
	w.land("member", files{"requests/member.yaml": inPersonnel + "  grants: [{type: user, source_name: dora}]\n"})
	w.want("waits", w.apply(), "create held:pending", "grant held:pending")
	w.say(hr, "applied")
	w.want("the group is attested", w.apply(), "beside the plan /attested", "grant pending")
	w.say(hr, "applied")
	w.want("the member is", w.apply(), "beside the plan /attested")
	w.wantStatus("requests/member.yaml", "applied", "attested")
	rep, err := w.reconciler().Access(t.Context(), reconciler.AccessOptions{To: "refs/heads/main", Application: "hr"})
	if err != nil || len(rep.Entries) != 1 || rep.Entries[0].Identity.SourceName != "dora" || len(rep.Attested) != 1 || rep.Entries[0].Steps[0].Origin != "request" {
		t.Errorf("access is %+v, %v", rep, err)
	}
	drift, err := w.tryApply(reconciler.RunOptions{Drift: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range drift.Applications {
		if a.Application == "hr" != a.Plan.Attested || len(a.Plan.Operations) > 0 {
			t.Errorf("drift of %s is %+v", a.Application, a.Plan)
		}
	}
	// Somebody who was there before anybody kept count is asked to go all the same.
	w.land("old", files{"requests/old.yaml": inPersonnel + "  revokes: [{type: user, source_name: oscar}, {type: user, source_name: dora}]\n"})
	w.want("both are asked for", w.apply(), "revoke pending", "revoke pending")
	for _, r := range hr.got[len(hr.got)-2:] {
		if _, err := w.reconciler().Fulfil(t.Context(), reconciler.Answer{Application: "hr", Operation: r.Data.Operation.ID, Status: "applied", By: "dora", Method: schemas.FulfilledByOperator}); err != nil {
			t.Fatal(err)
		}
	}
	w.want("both are gone", w.apply(), "beside the plan /attested", "beside the plan /attested")
	w.want("and stay so", w.apply())
	w.wantStatus("requests/old.yaml", "applied", "attested")
	// Undone while it is pending, it is withdrawn; undone later, it is taken back.
	w.land("group", files{"requests/hr.yaml": "", "requests/member.yaml": "", "requests/old.yaml": ""})
	w.want("the group goes", w.apply(), "delete pending")
}

// TestPreviewRefusesProvisioning says before the merge what could not be carried out after it, and where.
func TestPreviewRefusesProvisioning(t *testing.T) {
	t.Parallel()
	w, _, _ := hookWorld(t)
	w.apply()
	for name, c := range map[string]struct {
		f    files
		want string
		at   schemas.Position
	}{
		"direct on what is attested": {files{"applications/hr.yaml": strings.Replace(w.git(w.work, "show", "origin/main:applications/hr.yaml"), "provisioning: webhook", "provisioning: direct", 1) + "\n"},
			"spec.provisioning: direct cannot be carried out: An application that is attested is attested", schemas.Position{Path: "applications/hr.yaml", Line: 9, Column: 3}},
		"direct by a request": {files{"requests/direct.yaml": strings.Replace(inPersonnel, "  connection:", "  provisioning: direct\n  connection:", 1) + "  grants: [{type: user, source_name: dora}]\n"},
			"spec.provisioning: direct cannot be carried out", schemas.Position{Path: "requests/direct.yaml", Line: 6, Column: 3}},
		"no webhook": {files{"applications/authz.yaml": strings.Split(w.application("user:bob"), "  fulfilment:")[0]},
			"spec.provisioning: webhook cannot be carried out: the application authz doesn't have a fulfilment.webhook", schemas.Position{Path: "applications/authz.yaml", Line: 10, Column: 3}},
		"types that make no sense": {files{"applications/hr.yaml": strings.Replace(w.git(w.work, "show", "origin/main:applications/hr.yaml"), "edge: identity", "edge: member", 1) + "\n"},
			"spec.config: application hr: config.types[0].grantable[0].edge", schemas.Position{Path: "applications/hr.yaml", Line: 6, Column: 3}},
	} {
		n := w.ask(strings.ReplaceAll(name, " ", "-"), c.f)
		p := w.preview(n)
		i := slices.IndexFunc(p.Errors, func(f schemas.Finding) bool { return strings.HasPrefix(f.Message, c.want) })
		if p.Verdict != schemas.VerdictInvalid || i < 0 {
			t.Errorf("%s: %s, %s", name, p.Verdict, dump(p.Errors))
			continue
		}
		if f := p.Errors[i]; f.Position != c.at || f.Fix == "" {
			t.Errorf("%s: at %+v, fix %q", name, f.Position, f.Fix)
		}
	}
}
