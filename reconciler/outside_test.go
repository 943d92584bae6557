package reconciler_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/connectors/postgres"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
)

// service is what operations are given to: it checks every signature, and does what answer says.
type service struct {
	t      testing.TB
	url    string
	secret string
	now    func() time.Time

	mu   sync.Mutex
	seen []delivery
	// answer is a status and a body; nil is 202 and pending.
	answer func(n int, r *schemas.FulfilmentRequest) (int, string)
}

type delivery struct {
	id   string
	body schemas.FulfilmentRequest
	raw  string
}

func newSecret(text string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte((text + strings.Repeat("x", 32))[:32]))
}

func newService(t testing.TB, now func() time.Time) *service {
	t.Helper()
	s := &service{t: t, secret: newSecret(t.Name()), now: now}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.url = h.URL + "/hooks/access"
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		s.t.Errorf("read a delivery: %v", err)
	}
	hook, err := standardwebhooks.NewWebhook(s.secret)
	if err != nil {
		s.t.Errorf("secret: %v", err)
	}
	if err := hook.VerifyIgnoringTimestamp(body, req.Header); err != nil {
		s.t.Errorf("a delivery is not signed as Standard Webhooks say: %v", err)
	}
	if want := fmt.Sprint(s.now().Unix()); req.Header.Get("webhook-timestamp") != want {
		s.t.Errorf("the timestamp is %s, want %s", req.Header.Get("webhook-timestamp"), want)
	}
	if req.URL.Path != "/hooks/access" {
		s.t.Errorf("posted to %s", req.URL.Path)
	}
	var r schemas.FulfilmentRequest
	if err := json.Unmarshal(body, &r); err != nil {
		s.t.Errorf("a delivery is no request: %v", err)
	}
	s.mu.Lock()
	s.seen = append(s.seen, delivery{req.Header.Get("webhook-id"), r, string(body)})
	n, answer := len(s.seen), s.answer
	s.mu.Unlock()
	status, out := http.StatusAccepted, `{"status": "pending"}`
	if answer != nil {
		status, out = answer(n, &r)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, out)
}

// deliveries are those since the last call.
func (s *service) deliveries() []delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.seen
	s.seen = nil
	return out
}

func (s *service) say(answer func(n int, r *schemas.FulfilmentRequest) (int, string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.seen = answer, nil
}

func always(status int, body string) func(int, *schemas.FulfilmentRequest) (int, string) {
	return func(int, *schemas.FulfilmentRequest) (int, string) { return status, body }
}

// texts are what deliveries ask for, sorted.
func texts(list []delivery) []string {
	out := []string{}
	for _, d := range list {
		kind := strings.TrimPrefix(d.body.Type, "fulfilment.")
		out = append(out, kind+": "+plainText(d.body.Data.Text))
	}
	slices.Sort(out)
	return out
}

// plainText is a text without the ids, which a catalogue chooses.
func plainText(s string) string { return regexp.MustCompile(` \(id [0-9]+\)`).ReplaceAllString(s, "") }

// crm is an access repository whose application is a PostgreSQL that countersign reads, and that only others change.
type crm struct {
	*historytest.Repo
	*service
	t      testing.TB
	server *servers.Postgres
	name   string // of the database, and of its roles' family
	dir    string
	state  string
	step   func(string)
	landed int
	// dim makes reads incomplete from the first delivery on.
	dim bool
	// spec are further lines of the application.
	spec string
}

func newCRM(t *testing.T, server *servers.Postgres, name, spec string) *crm {
	t.Helper()
	w := &crm{Repo: historytest.New(t), t: t, server: server, name: name, dir: t.TempDir(), state: t.TempDir(), spec: spec}
	w.service = newService(t, func() time.Time { return w.Now })
	server.Exec(t, "postgres", "CREATE DATABASE "+name)
	w.sql("CREATE ROLE "+name+"_alice LOGIN", "CREATE ROLE "+name+"_erin LOGIN", "CREATE SCHEMA sales", "CREATE TABLE sales.orders (id int)")
	d := postgres.New().Describe()
	// It may read, and nothing else: whoever changes something is somebody else.
	w.sql(strings.ReplaceAll(d.PlanScript, "countersign_plan", name+"_plan"))
	w.secretFile("dsn", server.DSN(name+"_plan", name))
	w.secretFile("hook", w.secret)
	w.Write("countersign.yaml", settings(""))
	w.Write("people.yaml", w.people())
	w.Write("applications/crm.yaml", w.application(spec))
	w.Commit(historytest.CommitOptions{Author: historytest.Carol()})
	w.mustRun()
	return w
}

func (w *crm) people() string {
	return fmt.Sprintf(`apiVersion: countersign.dev/v1
kind: People
spec:
  people:
    - {login: alice, emails: [alice@acme.test], identities: {crm: [%[1]s_alice]}}
    - {login: bob, emails: [bob@acme.test]}
    - {login: carol, emails: [carol@acme.test]}
    - {login: erin, emails: [erin@acme.test], identities: {crm: [%[1]s_erin]}}
    - {login: frank, emails: [frank@acme.test]}
`, w.name)
}

func (w *crm) secretFile(name, value string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(value), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *crm) application(spec string) string {
	return fmt.Sprintf(`apiVersion: countersign.dev/v1
kind: Application
metadata: {name: crm}
spec:
  connector: postgres
  config: {dsn: {file: %[1]s/dsn}}
  owners: [user:bob@acme.test, user:frank@acme.test]
  scope: {role: ["%[2]s_r*"]}
  grantable: {user: ["%[2]s_*"], role: ["%[2]s_r*"], schema: [sales], table: ["sales.*"]}
  provisioning: webhook
  fulfilment:
    webhook: {url: %[3]q, secret: {file: %[1]s/hook}, timeout: 5s, callback: "https://access.acme.test/fulfilments"}
%[4]s`, w.dir, w.name, w.url, indent(spec))
}

func (w *crm) sql(statements ...string) {
	w.t.Helper()
	w.server.Exec(w.t, w.name, statements...)
}

// role is one in scope.
func (w *crm) role(n string) string { return w.name + "_r" + n }

func (w *crm) creation(n string) string { return creation("crm", w.role(n)) }

func (w *crm) member(who, more string) string {
	return fmt.Sprintf("{type: user, source_name: %s_%s%s}", w.name, who, more)
}

func (w *crm) assign(n string, lists ...string) string {
	return assignment("crm", w.role(n), lists...)
}

// land merges files as Alice's change, approved by Bob and Carol.
func (w *crm) land(f files) {
	w.t.Helper()
	w.landed++
	branch := fmt.Sprintf("change-%d", w.landed)
	w.Checkout("main").Branch(branch, "main")
	for path, content := range f {
		if content == "" {
			w.Delete(path)
		} else {
			w.Write(path, content)
		}
	}
	w.Commit(historytest.CommitOptions{})
	w.Checkout("main")
	w.Land(historytest.Merge, historytest.MergeOptions{Approvers: []historytest.Person{historytest.Bob(), historytest.Carol()}}, branch)
}

func (w *crm) open() *reconciler.Reconciler {
	w.t.Helper()
	repo, err := history.Open(w.Dir)
	if err != nil {
		w.t.Fatal(err)
	}
	registry, err := connectors.NewRegistry(dimming{postgres.New(), w})
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := reconciler.New(reconciler.Config{Repository: repo, State: w.state, Connectors: registry, Version: "1", Now: func() time.Time { return w.Now }, RetryWait: time.Millisecond, Step: w.step})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := r.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return r
}

// dimming is the connector of a crm.
type dimming struct {
	connectors.Connector
	w *crm
}

func (d dimming) OpenReader(ctx context.Context, cfg connectors.Config) (connectors.Reader, error) {
	r, err := d.Connector.OpenReader(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return dimmed{r, d.w}, nil
}

type dimmed struct {
	connectors.Reader
	w *crm
}

func (r dimmed) Read(ctx context.Context, sel connectors.Selection) (connectors.State, error) {
	s, err := r.Reader.Read(ctx, sel)
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.w.dim && len(r.w.seen) > 0 {
		s.Incomplete = "the line went dead"
	}
	return s, err
}

func (w *crm) runWith(o reconciler.RunOptions) schemas.ApplicationOutcome {
	w.t.Helper()
	o.To = "main"
	rep, err := w.open().RunOnce(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range rep.Admissions {
		if a.Verdict == "quarantined" {
			w.t.Fatalf("quarantined: %v", a.Reasons)
		}
	}
	return outcome(w.t, rep, "crm")
}

// mustRun is one pass in which nothing went wrong.
func (w *crm) mustRun() schemas.ApplicationOutcome {
	w.t.Helper()
	out := w.runWith(reconciler.RunOptions{})
	if out.Error != "" {
		w.t.Fatal(out.Error)
	}
	return out
}

func (w *crm) later(d time.Duration) { w.Now = w.Now.Add(d) }

// states are what became of operations in a run: kind, outcome and what the read-back showed.
func states(out schemas.ApplicationOutcome) []string {
	var lines []string
	done := map[string]string{}
	for _, o := range out.Outcomes {
		done[o.Operation] = string(o.Status)
	}
	for _, v := range out.Verifications {
		done[v.Operation] += "/" + string(v.Status)
	}
	for _, o := range out.Plan.Operations {
		s := string(o.Kind)
		if o.Hold != "" {
			s += " held:" + string(o.Hold)
		}
		if d := done[o.ID]; d != "" {
			s += " " + d
		}
		lines = append(lines, s)
		delete(done, o.ID)
	}
	for _, d := range done {
		lines = append(lines, "beside the plan "+d)
	}
	slices.Sort(lines)
	return lines
}

func (w *crm) want(what string, out schemas.ApplicationOutcome, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(append([]string(nil), want...), states(out)); diff != "" {
		w.t.Fatalf("%s (-want +got):\n%s\n%+v", what, diff, out.Plan.Findings)
	}
}

// status is where the request of a file stands: provisioning and verification.
func (w *crm) status(path string) schemas.RequestStatus {
	w.t.Helper()
	s, err := w.open().Status(w.t.Context(), "main", "")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range s.Requests {
		if r.Document.Path == path {
			return r
		}
	}
	w.t.Fatalf("there is no status of %s", path)
	return schemas.RequestStatus{}
}

func (w *crm) wantStatus(path, provisioning, verification string) schemas.RequestStatus {
	w.t.Helper()
	s := w.status(path)
	if string(s.Provisioning) != provisioning || string(s.Verification) != verification {
		w.t.Fatalf("%s is %s and %s (%s), want %s and %s", path, s.Provisioning, s.Verification, s.Detail, provisioning, verification)
	}
	return s
}

// has says whether the user is a member of the role, by the catalogue.
func (w *crm) grant(n, who string)  { w.sql("GRANT " + w.role(n) + " TO " + w.name + "_" + who) }
func (w *crm) revoke(n, who string) { w.sql("REVOKE " + w.role(n) + " FROM " + w.name + "_" + who) }

// records is how many the ledger has.
func (w *crm) records() int64 {
	w.t.Helper()
	l, err := ledger.Open(w.t.Context(), ledger.Config{Path: reconciler.LedgerPath(w.state), ReadOnly: true})
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	n, _, err := l.Head(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// checkLedger holds the chain and everything derived from it.
func (w *crm) checkLedger() {
	w.t.Helper()
	l, err := ledger.Open(w.t.Context(), ledger.Config{Path: reconciler.LedgerPath(w.state), ReadOnly: true})
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	rep, err := l.Verify(w.t.Context(), ledger.VerifyOptions{})
	if err != nil || len(rep.Problems) > 0 {
		w.t.Fatalf("the ledger does not hold: %v %+v", err, rep.Problems)
	}
	err = l.Records(w.t.Context(), ledger.Filter{}, func(r schemas.Record) error {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if key := strings.TrimPrefix(w.secret, "whsec_"); strings.Contains(string(b), key) {
			return fmt.Errorf("record %d holds the secret", r.Sequence)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestWebhook goes through what a service may do with what it is given, over a real PostgreSQL that only it changes.
func TestWebhook(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	for name, test := range map[string]func(*testing.T, *crm){
		"now": webhookNow, "later": webhookLater, "silent": webhookSilent, "liar": webhookLiar, "failed": webhookFailed, "retried": webhookRetried, "cancelled": webhookCancelled,
		"crash": webhookCrash, "drift": webhookDrift, "payload": webhookPayload, "expiry": webhookExpiry, "refused": webhookRefused, "answers": webhookAnswers, "moved": webhookMoved, "dim": webhookDim,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newCRM(t, server, "w"+name, "")
			test(t, w)
			w.checkLedger()
		})
	}
}

const asked = "requests/asked.yaml"

// webhookNow does all of it at once, dependents included.
func webhookNow(t *testing.T, w *crm) {
	w.say(func(_ int, r *schemas.FulfilmentRequest) (int, string) {
		switch o := r.Data.Operation; o.Kind {
		case schemas.OperationCreate:
			w.sql("CREATE ROLE " + o.Connection.SourceName)
		case schemas.OperationGrant:
			w.sql("GRANT " + o.Connection.SourceName + " TO " + o.Target.SourceName)
		}
		return http.StatusOK, `{"status": "applied", "by": "svc", "message": "done"}`
	})
	w.land(files{asked: w.creation("a") + "---\n" + w.assign("a", grants(w.member("alice", "")))})
	out := w.mustRun()
	w.want("all of it", out, "create applied/verified", "grant applied/verified")
	got := w.deliveries()
	if len(got) != 2 || !strings.HasPrefix(got[0].body.Data.Text, "Create the role wnow_ra, with ") || plainText(got[1].body.Data.Text) != "Make the user wnow_alice a member of the role wnow_ra" {
		t.Fatalf("delivered %v, want the creation first", texts(got))
	}
	d := got[1].body.Data
	if d.ID != got[1].id || d.Application != "crm" || d.Callback != "https://access.acme.test/fulfilments" || len(d.Requests) != 1 || d.Requests[0].Reason == "" || d.Requests[0].Document.Path != asked {
		t.Errorf("the request is %+v", d)
	}
	if d.Operation.NativeID == "" {
		t.Error("the grant does not say which role it is about, which is known by then")
	}
	w.wantStatus(asked, "applied", "verified")
	w.want("nothing is left", w.mustRun())
	if got := w.deliveries(); len(got) > 0 {
		t.Errorf("asked again: %v", texts(got))
	}
}

// webhookDim does the first thing, and is not read whole after that: nothing follows from it until it is.
func webhookDim(t *testing.T, w *crm) {
	w.say(func(_ int, r *schemas.FulfilmentRequest) (int, string) {
		if o := r.Data.Operation; o.Kind == schemas.OperationCreate {
			w.sql("CREATE ROLE " + o.Connection.SourceName)
		} else {
			w.sql("GRANT " + o.Connection.SourceName + " TO " + o.Target.SourceName)
		}
		return http.StatusOK, `{"status": "applied"}`
	})
	w.land(files{asked: w.creation("a") + "---\n" + w.assign("a", grants(w.member("alice", "")))})
	w.dim = true
	w.mustRun()
	if got := w.deliveries(); len(got) != 1 || got[0].body.Data.Operation.Kind != schemas.OperationCreate {
		t.Fatalf("delivered %v, want the creation alone", texts(got))
	}
	w.dim = false
	w.mustRun()
	w.wantStatus(asked, "applied", "verified")
}

// webhookLater accepts, and calls back. What depends on it waits.
func webhookLater(t *testing.T, w *crm) {
	w.land(files{asked: w.creation("a") + "---\n" + w.assign("a", grants(w.member("alice", "")))})
	w.want("the creation is asked for, the grant waits", w.mustRun(), "create pending", "grant held:pending")
	first := w.deliveries()
	if len(first) != 1 {
		t.Fatalf("delivered %v", texts(first))
	}
	s := w.wantStatus(asked, "pending", "pending")
	if len(s.Fulfilment) != 1 || !strings.HasPrefix(s.Detail, "webhook 127.0.0.1:") || !strings.Contains(s.Detail, " since ") {
		t.Errorf("the status is %q, %+v", s.Detail, s.Fulfilment)
	}
	w.later(time.Minute)
	w.want("it is not asked again", w.mustRun(), "create held:pending", "grant held:pending")
	out := w.runWith(reconciler.RunOptions{Drift: true})
	w.want("no drift either", out, "create held:pending", "grant held:pending")
	before := w.records()
	if w.mustRun(); w.records() != before {
		t.Errorf("a run that waits wrote %d records", w.records()-before)
	}
	if got := w.deliveries(); len(got) > 0 {
		t.Fatalf("asked again: %v", texts(got))
	}
	d := first[0].body.Data
	answer := reconciler.Answer{Application: "crm", Operation: d.Operation.ID, Submission: d.ID, Status: "applied", By: "svc", Method: schemas.FulfilledByCallback, Authenticated: true}
	// It says so before it is so: nothing is taken at its word.
	for i, recorded := range []bool{true, false} {
		rep, err := w.open().Fulfil(t.Context(), answer)
		if err != nil || rep.Recorded != recorded {
			t.Fatalf("callback %d: %+v, %v", i, rep, err)
		}
	}
	answer.Status = "failed"
	if _, err := w.open().Fulfil(t.Context(), answer); !errors.Is(err, reconciler.ErrSaidOtherwise) {
		t.Errorf("it says otherwise: %v", err)
	}
	w.want("said, not seen", w.mustRun(), "create held:pending", "grant held:pending")
	w.wantStatus(asked, "applied", "pending")
	w.sql("CREATE ROLE " + w.role("a"))
	w.want("seen, and the grant is asked for", w.mustRun(), "beside the plan /verified", "grant pending")
	second := w.deliveries()
	if len(second) != 1 || second[0].id == first[0].id {
		t.Fatalf("delivered %v", texts(second))
	}
	w.grant("a", "alice")
	w.want("seen before it was said", w.mustRun(), "beside the plan /verified")
	w.wantStatus(asked, "applied", "verified")
}

// webhookSilent is one whose callback is lost: the read shows it all the same.
func webhookSilent(t *testing.T, w *crm) {
	w.sql("CREATE ROLE " + w.role("a"))
	w.land(files{asked: w.assign("a", grants(w.member("alice", "")))})
	w.want("asked for", w.mustRun(), "grant pending")
	w.grant("a", "alice")
	w.later(time.Hour)
	w.want("seen", w.mustRun(), "beside the plan /verified")
	w.wantStatus(asked, "applied", "verified")
	// And what it made is ours to take back.
	w.land(files{asked: ""})
	w.want("undone", w.mustRun(), "revoke pending")
}

// webhookLiar says that it is done, and it is not.
func webhookLiar(t *testing.T, w *crm) {
	w.sql("CREATE ROLE " + w.role("a"))
	w.say(always(200, `{"status": "applied", "by": "svc"}`))
	w.land(files{asked: w.assign("a", grants(w.member("alice", "")))})
	w.want("said at once", w.mustRun(), "grant applied/pending")
	w.wantStatus(asked, "applied", "pending")
	first := w.deliveries()
	w.later(30 * time.Minute)
	w.want("within the grace", w.mustRun(), "grant held:pending")
	if got := w.deliveries(); len(got) > 0 {
		t.Fatalf("asked again: %v", texts(got))
	}
	w.say(always(202, ""))
	w.later(45 * time.Minute)
	out := w.mustRun()
	w.want("after it", out, "grant pending/differs")
	if !slices.ContainsFunc(out.Plan.Findings, func(f schemas.Finding) bool {
		return f.Code == "said-not-seen" && strings.Contains(f.Message, "said to be done") && f.Document.Path == asked
	}) {
		t.Errorf("the findings are %+v", out.Plan.Findings)
	}
	again := w.deliveries()
	if len(again) != 1 || again[0].id == first[0].id {
		t.Errorf("asked again as %v, before as %v: a service that knows the id would do nothing", again, first)
	}
	w.wantStatus(asked, "pending", "pending")
}

// webhookFailed says no, at once and later.
func webhookFailed(t *testing.T, w *crm) {
	w.sql("CREATE ROLE "+w.role("a"), "CREATE ROLE "+w.role("b"))
	w.say(func(_ int, r *schemas.FulfilmentRequest) (int, string) {
		if r.Data.Operation.Connection.SourceName == w.role("a") {
			return 200, `{"status": "failed", "message": "no licence\u0007 is <left>"}`
		}
		return 202, `{"status": "pending"}`
	})
	w.land(files{asked: w.assign("a", grants(w.member("alice", ""))), "requests/b.yaml": w.assign("b", grants(w.member("alice", "")))})
	w.want("one fails", w.mustRun(), "grant failed", "grant pending")
	s := w.wantStatus(asked, "failed", "pending")
	if s.Detail != "no licence is <left>" {
		t.Errorf("the detail is %q", s.Detail)
	}
	first := w.deliveries()
	i := slices.IndexFunc(first, func(d delivery) bool { return d.body.Data.Operation.Connection.SourceName == w.role("b") })
	rep, err := w.open().Fulfil(t.Context(), reconciler.Answer{Operation: first[i].body.Data.Operation.ID, Status: "failed", Message: "neither here", By: "me@here", Method: schemas.FulfilledByOperator})
	if err != nil || !rep.Recorded || rep.Application != "crm" {
		t.Fatalf("%+v, %v", rep, err)
	}
	w.wantStatus("requests/b.yaml", "failed", "pending")
	w.want("neither is asked again at once", w.mustRun(), "grant held:declined", "grant held:declined")
	if got := w.deliveries(); len(got) > 0 {
		t.Fatalf("asked again: %v", texts(got))
	}
	w.say(nil)
	w.later(61 * time.Minute)
	w.want("both are, after the grace", w.mustRun(), "grant pending", "grant pending")
	for _, d := range w.deliveries() {
		if slices.ContainsFunc(first, func(f delivery) bool { return f.id == d.id }) {
			t.Errorf("asked again under the same id %s", d.id)
		}
	}
}

// webhookRetried is down for a while. It is the same request each time.
func webhookRetried(t *testing.T, w *crm) {
	w.sql("CREATE ROLE " + w.role("a"))
	w.say(func(n int, _ *schemas.FulfilmentRequest) (int, string) {
		switch n {
		case 1:
			return 500, "oops"
		case 2:
			return 429, ""
		}
		return 202, ""
	})
	w.land(files{asked: w.assign("a", grants(w.member("alice", "")))})
	w.want("within one run", w.mustRun(), "grant pending")
	got := w.deliveries()
	if len(got) != 3 || got[0].id != got[2].id || got[0].raw != got[1].raw {
		t.Errorf("%d tries with the ids %v", len(got), got)
	}
	// Down for the whole of a run: another run asks, under the same id.
	w.say(always(503, ""))
	w.land(files{"requests/b.yaml": w.assign("a", grants(w.member("erin", "")))})
	out := w.mustRun()
	w.want("down", out, "grant failed", "grant held:pending")
	if i := slices.IndexFunc(out.Outcomes, func(o schemas.OutcomeRecord) bool { return o.Status == "failed" }); out.Outcomes[i].Code != "unavailable" || out.Outcomes[i].Attempts < 3 {
		t.Errorf("the outcome is %+v", out.Outcomes[i])
	}
	w.wantStatus("requests/b.yaml", "failed", "pending")
	before := w.deliveries()
	w.say(nil)
	w.want("up again", w.mustRun(), "grant pending", "grant held:pending")
	after := w.deliveries()
	if len(after) != 1 || after[0].id != before[0].id {
		t.Errorf("asked as %v after %v", after, before)
	}
	// Asked at another address meanwhile: that one is on record.
	w.say(always(503, ""))
	w.land(files{"requests/c.yaml": w.assign("a", grants("{type: schema, source_name: sales, privileges: [USAGE]}"))})
	w.mustRun()
	w.say(nil)
	w.land(files{"applications/crm.yaml": strings.Replace(w.application(w.spec), "127.0.0.1", "localhost", 1)})
	w.mustRun()
	if s := w.status("requests/c.yaml"); !strings.HasPrefix(s.Detail, "webhook localhost:") {
		t.Errorf("the detail is %q", s.Detail)
	}
}

// webhookCancelled is told what nothing wants any more.
func webhookCancelled(t *testing.T, w *crm) {
	w.sql("CREATE ROLE " + w.role("a"))
	w.land(files{asked: w.assign("a", grants(w.member("alice", "")))})
	w.want("asked for", w.mustRun(), "grant pending")
	first := w.deliveries()[0]
	w.land(files{asked: ""})
	w.say(always(503, ""))
	out := w.mustRun()
	if len(out.Plan.Operations) > 0 || len(out.Withdrawn) != 0 || !slices.ContainsFunc(out.Plan.Findings, func(f schemas.Finding) bool { return f.Code == "not-withdrawn" }) {
		t.Errorf("it could not be told: %+v", out)
	}
	w.say(always(200, ""))
	if out := w.mustRun(); len(out.Withdrawn) != 1 {
		t.Errorf("withdrawn are %v", out.Withdrawn)
	}
	got := w.deliveries()
	if len(got) != 1 || got[0].body.Type != schemas.FulfilmentCancelled || got[0].body.Data.ID != first.id || got[0].id == first.id || got[0].body.Data.Why == "" {
		t.Errorf("told %+v", got)
	}
	w.wantStatus(asked, "withdrawn", "verified")
	before := w.records()
	if w.mustRun(); w.records() != before || len(w.deliveries()) > 0 {
		t.Errorf("a run that has nothing to do or to tell wrote %d records", w.records()-before)
	}
	// Too late: it was done all the same. The read shows it, and it is taken back.
	if rep, err := w.open().Fulfil(t.Context(), reconciler.Answer{Application: "crm", Operation: first.body.Data.Operation.ID, Submission: first.id, Status: "applied", Method: schemas.FulfilledByCallback}); err != nil || !rep.Recorded {
		t.Errorf("%+v, %v", rep, err)
	}
	w.grant("a", "alice")
	w.want("it is ours", w.mustRun(), "revoke held:drift", "beside the plan /verified")
	w.want("taken back", w.mustRun(), "revoke pending")
}

// webhookCrash dies between the intent and the answer, on both sides of the request.
func webhookCrash(t *testing.T, w *crm) {
	w.sql("CREATE ROLE " + w.role("a"))
	w.land(files{asked: w.assign("a", grants(w.member("alice", "")))})
	var ids []string
	for _, at := range []string{"intent", "request"} {
		ctx, die := context.WithCancel(t.Context())
		w.step = func(s string) {
			if s == at {
				die()
			}
		}
		w.say(func(int, *schemas.FulfilmentRequest) (int, string) {
			die() // it has heard, and its answer is not
			return 202, ""
		})
		rep, err := w.open().RunOnce(ctx, reconciler.RunOptions{To: "main"})
		if err == nil {
			t.Fatalf("the run that died at %s ended well: %+v", at, rep)
		}
		for _, d := range w.deliveries() {
			ids = append(ids, d.id)
		}
	}
	w.say(nil)
	w.step = nil
	w.want("the next run", w.mustRun(), "grant pending")
	for _, d := range w.deliveries() {
		ids = append(ids, d.id)
	}
	if len(ids) != 2 || ids[0] != ids[1] {
		t.Errorf("the ids are %v, want the same twice", ids)
	}
	// A ledger that was lost asks under the same id once more.
	w.state = t.TempDir()
	w.mustRun()
	if got := w.deliveries(); len(got) != 1 || got[0].id != ids[0] {
		t.Errorf("without a ledger it asks as %v, want %s", got, ids[0])
	}
}

// webhookDrift mends what was changed by hand through the service, when it is told to.
func webhookDrift(t *testing.T, w *crm) {
	w.sql("CREATE ROLE " + w.role("a"))
	w.land(files{asked: w.assign("a", grants(w.member("alice", "")))})
	w.mustRun()
	w.grant("a", "alice")
	w.mustRun()
	w.wantStatus(asked, "applied", "verified")
	w.revoke("a", "alice")
	w.deliveries()
	w.want("only reported", w.mustRun(), "grant held:drift")
	if got := w.deliveries(); len(got) > 0 {
		t.Fatalf("asked for what nobody told to mend: %v", texts(got))
	}
	w.wantStatus(asked, "applied", "drifted")
	w.want("enforced", w.runWith(reconciler.RunOptions{Drift: true, Enforce: true}), "grant pending")
	w.wantStatus(asked, "pending", "pending")
	w.want("on its way", w.runWith(reconciler.RunOptions{Drift: true}), "grant held:pending")
	w.grant("a", "alice")
	w.want("mended", w.mustRun(), "beside the plan /verified")
	w.wantStatus(asked, "applied", "verified")
}

// webhookPayload asks for something else in the place of what is pending.
func webhookPayload(t *testing.T, w *crm) {
	create := func(comment string) string {
		return document("ConnectionCreation", "application: crm\nconnection: {type: role, source_name: "+w.role("a")+"}\npayload: {comment: "+comment+"}\n")
	}
	w.land(files{asked: create("first")})
	w.want("asked for", w.mustRun(), "create pending")
	first := w.deliveries()[0]
	w.land(files{"requests/b.yaml": create("second")})
	w.say(always(503, ""))
	w.want("the first must be withdrawn before", w.mustRun(), "create held:pending")
	w.say(nil)
	out := w.mustRun()
	w.want("the second", out, "create pending")
	got := w.deliveries()
	if len(got) != 2 || got[0].body.Type != schemas.FulfilmentCancelled || got[0].body.Data.ID != first.id || got[1].id == first.id || got[1].body.Data.Operation.After["comment"] != "second" {
		t.Errorf("delivered %v", texts(got))
	}
	if _, err := w.open().Fulfil(t.Context(), reconciler.Answer{Application: "crm", Operation: first.body.Data.Operation.ID, Submission: first.id, Status: "applied"}); !errors.Is(err, reconciler.ErrNotAsked) {
		t.Errorf("the first is said to be done: %v", err)
	}
}

// webhookExpiry has a grant that ends while it is pending, and one that ends after it was given.
func webhookExpiry(t *testing.T, w *crm) {
	w.sql("CREATE ROLE " + w.role("a"))
	until := w.Now.Add(3 * time.Hour).UTC().Format(time.RFC3339)
	w.land(files{asked: w.assign("a", grants(w.member("alice", ", expires: "+until), w.member("erin", ", expires: "+until)))})
	w.want("asked for", w.mustRun(), "grant pending", "grant pending")
	w.grant("a", "erin")
	w.mustRun()
	w.deliveries()
	w.later(4 * time.Hour)
	out := w.mustRun()
	w.want("one is taken back, the other not wanted any more", out, "revoke pending")
	want := []string{"cancelled: Make the user wexpiry_alice a member of the role wexpiry_ra, until " + until[:10] + " " + until[11:16] + "Z (it is asked for again then)",
		"requested: See to it that the user wexpiry_erin is no longer a member of the role wexpiry_ra"}
	if diff := cmp.Diff(want, texts(w.deliveries())); diff != "" || len(out.Withdrawn) != 1 {
		t.Errorf("%v withdrawn; delivered (-want +got):\n%s", out.Withdrawn, diff)
	}
}

// webhookRefused holds what it would hold for a direct application too: nothing of it is submitted.
func webhookRefused(t *testing.T, w *crm) {
	w.sql("CREATE ROLE "+w.role("a"), "CREATE ROLE "+w.role("b"))
	for i := range 4 {
		w.sql(fmt.Sprintf("CREATE ROLE %s_u%d LOGIN", w.name, i))
	}
	w.land(files{"applications/crm.yaml": w.application("unmanaged: revoke\ndrift: {mode: enforce}\nlimits: {revokes: 2}\n")})
	w.land(files{asked: w.assign("a", grants(w.member("alice", "")))})
	w.mustRun()
	w.grant("a", "alice")
	w.mustRun()
	w.deliveries()
	// Two removals that nobody approved are asked for, and not done yet: they leave nothing of the budget.
	for i := range 2 {
		w.grant("a", fmt.Sprintf("u%d", i))
	}
	w.want("two may go", w.mustRun(), "revoke pending", "revoke pending")
	for i := 2; i < 4; i++ {
		w.grant("a", fmt.Sprintf("u%d", i))
	}
	w.deliveries()
	w.want("two more may not", w.mustRun(), "revoke held:pending", "revoke held:pending", "revoke held:budget", "revoke held:budget")
	if got := w.deliveries(); len(got) > 0 {
		t.Fatalf("submitted beyond the budget: %v", texts(got))
	}
	w.land(files{"applications/crm.yaml": w.application("unmanaged: revoke\ndrift: {mode: enforce}\nmode: observe\n")})
	w.land(files{"requests/b.yaml": w.assign("b", grants(w.member("erin", "")))})
	w.want("observed", w.mustRun(), "grant held:observe", "revoke held:observe", "revoke held:observe", "revoke held:pending", "revoke held:pending")
	if got := w.deliveries(); len(got) > 0 {
		t.Fatalf("submitted in mode observe: %v", texts(got))
	}
}

// webhookAnswers has answers that mean nothing: none of them is taken for done.
func webhookAnswers(t *testing.T, w *crm) {
	w.sql("CREATE ROLE " + w.role("a"))
	other := `{"status": "applied", "operation": "0000000000000000"}`
	w.say(func(n int, _ *schemas.FulfilmentRequest) (int, string) {
		switch n {
		case 1:
			return 200, "<html>applied</html>"
		case 2:
			return 200, `{"status": "APPLIED"}`
		case 3:
			return 200, other
		case 4:
			return 202, `{"status": "applied"}`
		}
		return 204, ""
	})
	entries := []string{}
	for i := range 5 {
		w.sql(fmt.Sprintf("CREATE ROLE %s_u%d LOGIN", w.name, i))
		entries = append(entries, fmt.Sprintf("{type: user, source_name: %s_u%d}", w.name, i))
	}
	w.land(files{"people.yaml": w.people() + peopleOf("crm", w.name, 5)})
	w.land(files{asked: w.assign("a", grants(entries...))})
	w.want("all pending", w.mustRun(), "grant pending", "grant pending", "grant pending", "grant pending", "grant pending")
	// A redirect is not followed, and a refusal is one: under the same id, once it is mended.
	w.land(files{"requests/b.yaml": w.assign("a", grants(w.member("alice", "")))})
	for _, status := range []int{302, 401, 410} {
		w.say(always(status, ""))
		out := w.mustRun()
		if !slices.ContainsFunc(out.Outcomes, func(o schemas.OutcomeRecord) bool { return o.Status == "failed" && o.Code != "" }) {
			t.Errorf("status %d: %+v", status, out.Outcomes)
		}
	}
}

func peopleOf(app, family string, n int) string {
	s := ""
	for i := range n {
		s += fmt.Sprintf("    - {login: u%d, identities: {%s: [%s_u%d]}}\n", i, app, family, i)
	}
	return s
}

// webhookMoved takes the webhook from the application while something is pending there: it is carried out in no way.
func webhookMoved(t *testing.T, w *crm) {
	w.sql("CREATE ROLE " + w.role("a"))
	w.land(files{asked: document("ConnectionAssignment", "application: crm\nprovisioning: webhook\nconnection: {type: role, source_name: "+w.role("a")+"}\n"+grants(w.member("alice", "")))})
	w.want("asked for", w.mustRun(), "grant pending")
	app, _, _ := strings.Cut(w.application(""), "  provisioning:")
	w.Checkout("main").Branch("without", "main")
	w.Write("applications/crm.yaml", app)
	w.Commit(historytest.CommitOptions{})
	p, err := w.open().Preview(t.Context(), reconciler.PreviewOptions{Base: "main", Head: "without"})
	if err != nil {
		t.Fatal(err)
	}
	if p.Verdict != schemas.VerdictInvalid || len(p.Errors) != 1 || !strings.Contains(p.Errors[0].Message, "requests that stand, as "+asked+", are carried out by provisioning webhook") {
		t.Errorf("the preview is %s: %+v", p.Verdict, p.Errors)
	}
}
