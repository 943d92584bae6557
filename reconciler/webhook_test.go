package reconciler_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors/connectortest/servers"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/schemas"
)

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
	if _, err := w.open().Fulfil(t.Context(), answer); !errors.Is(err, reconciler.ErrAnswered) {
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
		return f.Code == "said-not-seen" && strings.Contains(f.Message, "reported as done") && f.Document.Path == asked
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
	w.want("it is ours, and taken back at once", w.mustRun(), "revoke pending", "beside the plan /verified")
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
	w.Git("update-ref", "-d", reconciler.WitnessReference)
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
		"requested: Make sure that the user wexpiry_erin is no longer a member of the role wexpiry_ra"}
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
	if p.Verdict != schemas.VerdictInvalid || len(p.Errors) != 1 || !strings.Contains(p.Errors[0].Message, "existing requests such as "+asked+" are carried out by provisioning webhook") {
		t.Errorf("the preview is %s: %+v", p.Verdict, p.Errors)
	}
}
