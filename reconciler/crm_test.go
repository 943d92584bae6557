package reconciler_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
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
	"github.com/countersign/countersign/connectors/secrets"
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
	r, err := reconciler.New(reconciler.Config{Repository: repo, State: w.state, Secrets: secrets.New(secrets.Config{Allow: []string{"/*"}}), Connectors: registry, Version: "1", Now: func() time.Time { return w.Now }, RetryWait: time.Millisecond, Step: w.step})
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

func (r dimmed) Read(ctx context.Context, sel schemas.Selection) (schemas.State, error) {
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

// has reports whether the user is a member of the role, by the catalogue.
func (w *crm) grant(n, who string) { w.sql("GRANT " + w.role(n) + " TO " + w.name + "_" + who) }

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
