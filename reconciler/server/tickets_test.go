package server_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/github/githubtest"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/audit"
	"github.com/countersign/countersign/schemas"
)

const ticketSpec = `  provisioning: ticket
  fulfilment:
    ticket: {labels: [access], assignees: [frank]}
    grace: 1h
`

// ticketWorld is one whose application people change by hand, as tickets tell them. The role base is there.
func ticketWorld(t *testing.T) *world {
	t.Helper()
	w := bareWorld(t)
	w.spec = ticketSpec
	w.byHand("p2, base, role, base, , false")
	w.push("main", "carol", files{"countersign.yaml": settings, "people.yaml": people, "applications/authz.yaml": w.application("user:bob, user:frank"), "requests/base.yaml": creation("base")})
	w.apply()
	return w
}

// byHand adds lines to the store, as whoever carries a ticket out does.
func (w *world) byHand(lines ...string) {
	w.t.Helper()
	w.replace(w.stored() + strings.Join(lines, "\n") + "\n")
}

func (w *world) replace(content string) {
	w.t.Helper()
	if err := os.WriteFile(w.store, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// fates are what became of operations in a run over the application.
func (w *world) fates(rep *schemas.RunReport) []string {
	w.t.Helper()
	lines := []string{}
	for _, a := range rep.Applications {
		if a.Error != "" {
			w.t.Fatal(a.Error)
		}
		done := map[string]string{}
		for _, o := range a.Outcomes {
			done[o.Operation] = string(o.Status)
		}
		for _, v := range a.Verifications {
			done[v.Operation] += "/" + string(v.Status)
		}
		for _, o := range a.Plan.Operations {
			s := string(o.Kind)
			if o.Hold != "" {
				s += " held:" + string(o.Hold)
			}
			if done[o.ID] != "" {
				s += " " + done[o.ID]
			}
			delete(done, o.ID)
			lines = append(lines, s)
		}
		for _, d := range done {
			lines = append(lines, "beside the plan "+d)
		}
		for _, f := range a.Plan.Findings {
			lines = append(lines, "! "+f.Code)
		}
	}
	slices.Sort(lines)
	return lines
}

func (w *world) want(what string, rep *schemas.RunReport, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(append([]string{}, want...), w.fates(rep)); diff != "" {
		w.t.Fatalf("%s (-want +got):\n%s\n%s", what, diff, dump(rep.Applications))
	}
}

func (w *world) requestStatus(path string) schemas.RequestStatus {
	w.t.Helper()
	rep, err := w.reconciler().Status(w.t.Context(), "refs/heads/main", "")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range rep.Requests {
		if r.Document.Path == path {
			return r
		}
	}
	w.t.Fatalf("no status of %s", path)
	return schemas.RequestStatus{}
}

func (w *world) wantStatus(path, provisioning, verification string) schemas.RequestStatus {
	w.t.Helper()
	s := w.requestStatus(path)
	if string(s.Provisioning) != provisioning || string(s.Verification) != verification {
		w.t.Fatalf("%s is %s and %s (%s), want %s and %s", path, s.Provisioning, s.Verification, s.Detail, provisioning, verification)
	}
	return s
}

const (
	askedFor    = "requests/asked.yaml"
	ticketTitle = "Access to carry out in authz: requests/asked.yaml"
)

// TestTicket goes through what people may do with a ticket, over a store that only they change.
func TestTicket(t *testing.T) {
	t.Parallel()
	member := files{askedFor: grant("base", user("dave"))}
	tests := map[string]func(*testing.T, *world){
		"done": func(t *testing.T, w *world) {
			number := w.land("asked", files{askedFor: grant("base", user("dave")) + "---\n" + grant("base", reads)})
			w.want("asked for", w.apply(), "grant pending", "grant pending")
			issue := w.repo.IssueNumber(ticketTitle)
			s := w.wantStatus(askedFor, "pending", "pending")
			if !strings.HasPrefix(s.Detail, fmt.Sprintf("ticket acme/access#%d since ", issue)) {
				t.Errorf("the detail is %q", s.Detail)
			}
			body := w.repo.IssueBody(ticketTitle)
			for _, want := range []string{"- [ ] Make the user dave a member of the role base", fmt.Sprintf("pull request %d", number), "The dashboards read the sales data"} {
				if !strings.Contains(body, want) {
					t.Errorf("the ticket does not say %q:\n%s", want, body)
				}
			}
			if got := w.repo.Labels(issue); !slices.Equal(got, []string{"countersign", "access"}) {
				t.Errorf("the labels are %v", got)
			}
			if got := w.comment(number); !strings.Contains(got, "requested, pending") || !strings.Contains(got, fmt.Sprintf("acme/access#%d", issue)) {
				t.Errorf("the receipt is\n%s", got)
			}
			merged := w.repo.Run("rev-parse", "refs/heads/main")
			if got := w.repo.Deployments(merged); !slices.Equal(got, []string{"access in_progress 2 steps waiting"}) {
				t.Errorf("the deployments are %v", got)
			}
			edits := w.repo.Edits(ticketTitle)
			w.Advance(time.Hour)
			w.want("nothing new", w.apply(), "grant held:pending", "grant held:pending")
			if len(w.repo.Issues("open")) != 2 || w.repo.Edits(ticketTitle) != edits { // one for each document
				t.Errorf("the issues are %v, edited %d times", w.repo.Issues("open"), w.repo.Edits(ticketTitle)-edits)
			}
			// One of the two is there: it is verified whatever the ticket says.
			w.byHand("g, dave, base")
			w.want("one seen", w.apply(), "beside the plan /verified", "grant held:pending")
			if !strings.Contains(w.repo.IssueBody(ticketTitle), "- [x] Make the user dave") {
				t.Errorf("it is not ticked off:\n%s", w.repo.IssueBody(ticketTitle))
			}
			if slices.Contains(w.repo.Issues("open"), ticketTitle) {
				t.Errorf("the ticket of the document that is done is open")
			}
			w.byHand("p, base, sales.orders, read")
			w.repo.CloseIssue(ticketTitle+" (document 2)", "frank", "completed", "")
			w.want("the other said and seen", w.apply(), "beside the plan /verified")
			w.wantStatus(askedFor, "applied", "verified")
			if got := w.comment(number); !strings.Contains(got, "verified") || strings.Contains(got, "pending") {
				t.Errorf("the receipt is\n%s", got)
			}
			if got := w.repo.Deployments(merged); !slices.Equal(got, []string{"access success applied and verified by reading back"}) {
				t.Errorf("the deployments are %v", got)
			}
			w.want("the end", w.apply())
			if got := w.repo.Issues("open"); len(got) > 0 {
				t.Errorf("open are %v", got)
			}
		},
		"closed and not done": func(t *testing.T, w *world) {
			w.land("asked", member)
			w.apply()
			w.repo.CloseIssue(ticketTitle, "bob", "completed", "")
			w.want("said", w.apply(), "grant held:pending")
			w.wantStatus(askedFor, "applied", "pending")
			w.Advance(2 * time.Hour)
			w.want("not seen: reopened", w.apply(), "! said-not-seen", "grant pending/differs")
			if got := w.repo.Issues("open"); len(got) != 1 || !strings.Contains(strings.Join(w.repo.Comments(w.repo.IssueNumber(ticketTitle)), "\n"), "does not show it") {
				t.Errorf("open are %v", got)
			}
			w.byHand("g, dave, base")
			w.want("seen", w.apply(), "beside the plan /verified")
			if got := w.repo.Issues("open"); len(got) > 0 || w.repo.IssueReason(ticketTitle) != "completed" {
				t.Errorf("open are %v", got)
			}
		},
		"declined": func(t *testing.T, w *world) {
			w.land("asked", member)
			w.apply()
			w.repo.CloseIssue(ticketTitle, "bob", "not_planned", "")
			w.want("declined", w.apply(), "grant held:declined")
			s := w.wantStatus(askedFor, "failed", "pending")
			if !strings.Contains(s.Detail, "bob closed acme/access#") {
				t.Errorf("the detail is %q", s.Detail)
			}
			w.Advance(48 * time.Hour)
			w.want("for good", w.apply(), "grant held:declined")
			if got := w.repo.Issues("open"); len(got) > 0 {
				t.Errorf("open are %v", got)
			}
			w.repo.ReopenIssue(ticketTitle, "bob")
			w.want("unless it is opened again", w.apply(), "grant held:pending")
			w.wantStatus(askedFor, "pending", "pending")
		},
		"withdrawn": func(t *testing.T, w *world) {
			w.land("asked", member)
			w.apply()
			w.land("undone", files{askedFor: ""})
			w.want("withdrawn", w.apply())
			if got := w.repo.Issues("open"); len(got) > 0 || w.repo.IssueReason(ticketTitle) != "not_planned" || !strings.Contains(w.repo.IssueBody(ticketTitle), "withdrawn") {
				t.Errorf("open are %v; the ticket is %s:\n%s", got, w.repo.IssueReason(ticketTitle), w.repo.IssueBody(ticketTitle))
			}
			w.want("once", w.apply())
		},
		"gone": func(t *testing.T, w *world) {
			w.land("asked", member)
			w.apply()
			w.repo.DeleteIssue(ticketTitle)
			w.want("another one", w.apply(), "! ticket-gone", "grant pending")
			if got := w.repo.Issues("open"); len(got) != 1 {
				t.Errorf("open are %v", got)
			}
		},
		"cut short": func(t *testing.T, w *world) {
			w.land("asked", member)
			// The issue is opened, and nobody hears of it.
			w.Fail(func(req *http.Request) *githubtest.Fault {
				if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/issues") {
					return &githubtest.Fault{After: true}
				}
				return nil
			})
			rep, _ := w.tryApply(reconciler.RunOptions{})
			w.want("not delivered, for all that is known", rep, "grant failed")
			// Somebody closes it before the next run: that counts, when it is found.
			w.repo.CloseIssue(ticketTitle, "bob", "completed", "")
			w.Fail(nil)
			w.want("found again", w.apply(), "grant pending")
			w.want("and heard", w.apply(), "grant held:pending")
			w.wantStatus(askedFor, "applied", "pending")
			if got := w.repo.Issues("open"); len(got) != 0 {
				t.Errorf("open are %v", got)
			}
		},
		"lost ledger": func(t *testing.T, w *world) {
			w.land("asked", member)
			w.apply()
			if err := os.RemoveAll(w.state); err != nil {
				t.Fatal(err)
			}
			if _, err := w.tryApply(reconciler.RunOptions{}); !ledger.IsAlarm(err) {
				t.Fatalf("the witness knows of the lost ledger: got %v, want an alarm", err)
			}
			w.git(w.clone, "update-ref", "-d", reconciler.WitnessReference) // and lost with its witness
			w.apply()
			if got := w.repo.Issues("open"); len(got) != 1 {
				t.Errorf("open are %v", got)
			}
			w.wantStatus(askedFor, "pending", "pending")
		},
		"forge down": func(t *testing.T, w *world) {
			w.land("asked", member)
			w.apply()
			w.byHand("g, dave, base")
			issue := regexp.MustCompile(`/issues/[0-9]+$`)
			w.Fail(func(req *http.Request) *githubtest.Fault {
				if issue.MatchString(req.URL.Path) {
					return &githubtest.Fault{Status: 500}
				}
				return nil
			})
			// Tickets cannot be read: what the application shows is verified all the same.
			rep, _ := w.tryApply(reconciler.RunOptions{})
			w.Fail(nil)
			if !slices.Contains(w.fates(rep), "beside the plan /verified") || !slices.Contains(w.fates(rep), "! ticket-unread") {
				t.Errorf("the run is %v", w.fates(rep))
			}
			w.want("later the ticket is closed", w.apply())
			if got := w.repo.Issues("open"); len(got) > 0 {
				t.Errorf("open are %v", got)
			}
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, ticketWorld(t))
		})
	}
}

// TestTicketCloser is who may say that a ticket is done: nobody else's closing does anything.
func TestTicketCloser(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		login, reason, commit string
		counts                bool
		says                  string
	}{
		"an owner":                           {login: "frank", reason: "completed", counts: true},
		"who asked":                          {login: "alice", reason: "completed", says: "is not one of"},
		"who gains by it":                    {login: "dave", reason: "completed", says: "is not one of"},
		"an owner who gains by it":           {login: "bob", reason: "completed", says: "made the request or gains by it"},
		"a stranger":                         {login: "mallory", reason: "completed", says: "is not one of"},
		"a stranger who declines":            {login: "mallory", reason: "not_planned", says: "is not one of"},
		"a bot":                              {login: "github-actions[bot]", reason: "completed", says: "is a bot"},
		"ourselves":                          {login: "countersign[bot]", reason: "completed", says: "is a bot"},
		"an owner who merged what closes it": {login: "frank", reason: "completed", commit: "0123456789012345678901234567890123456789", says: "a commit or pull request"},
		"somebody whose account is gone meanwhile": {login: "nobody-left", reason: "completed", says: "does not show"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := ticketWorld(t)
			// Dave and Bob gain; Carol signs off with Frank.
			n := w.ask("asked", files{askedFor: grant("base", user("dave")+", "+user("bob"))})
			w.preview(n)
			w.repo.Review(n, "frank", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
			w.want("asked for", w.apply(), "grant pending", "grant pending")
			w.repo.CloseIssue(ticketTitle, c.login, c.reason, c.commit)
			rep := w.apply()
			if c.counts {
				w.want("said", rep, "grant held:pending", "grant held:pending")
				w.wantStatus(askedFor, "applied", "pending")
				return
			}
			w.want("does not count", rep, "! ticket-closer", "grant held:pending", "grant held:pending")
			w.wantStatus(askedFor, "pending", "pending")
			if got := w.repo.Issues("open"); !slices.Contains(got, ticketTitle) {
				t.Errorf("open are %v", got)
			}
			comments := strings.Join(w.repo.Comments(w.repo.IssueNumber(ticketTitle)), "\n")
			if !strings.Contains(comments, c.says) {
				t.Errorf("the comments do not say %q:\n%s", c.says, comments)
			}
			// Who may, may still.
			w.repo.CloseIssue(ticketTitle, "frank", "completed", "")
			w.want("then said", w.apply(), "grant held:pending", "grant held:pending")
			w.wantStatus(askedFor, "applied", "pending")
		})
	}
}

// TestTicketTampered puts back the text of a ticket that somebody changed: it is what people act upon.
func TestTicketTampered(t *testing.T) {
	t.Parallel()
	w := ticketWorld(t)
	w.land("asked", files{askedFor: grant("base", user("dave"))})
	w.apply()
	body := w.repo.IssueBody(ticketTitle)
	ticked := strings.Replace(body, "- [ ] Make", "- [x] Make", 1)
	w.repo.EditIssue(ticketTitle, ticked)
	w.want("a ticked box is no change", w.apply(), "grant held:pending")
	if w.repo.IssueBody(ticketTitle) != ticked {
		t.Error("the tick was taken away")
	}
	w.repo.EditIssue(ticketTitle, strings.ReplaceAll(body, "dave", "mallory"))
	w.want("another name is", w.apply(), "! ticket-changed", "grant held:pending")
	if got := w.repo.IssueBody(ticketTitle); got != body {
		t.Errorf("the text is\n%s", got)
	}
}

// TestTicketAudit holds what an auditor reads of it.
func TestTicketAudit(t *testing.T) {
	t.Parallel()
	w := ticketWorld(t)
	w.land("asked", files{askedFor: grant("base", user("dave"))})
	w.apply()
	w.byHand("g, dave, base")
	w.repo.CloseIssue(ticketTitle, "frank", "completed", "")
	w.apply()
	l, err := ledger.Open(t.Context(), ledger.Config{Path: reconciler.LedgerPath(w.state), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if rep, err := l.Verify(t.Context(), ledger.VerifyOptions{}); err != nil || len(rep.Problems) > 0 {
		t.Fatalf("%v %+v", err, rep.Problems)
	}
	var b strings.Builder
	if _, err := audit.Export(t.Context(), l, audit.ExportOptions{Out: &b}); err != nil {
		t.Fatal(err)
	}
	row := ""
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, `"request_path":"`+askedFor+`"`) && strings.Contains(line, `"kind":"grant"`) {
			row = line
		}
	}
	for _, want := range []string{`"state":"verified"`, `"provisioning":"ticket"`, `"fulfilled_by":"frank"`, `"fulfilled_by_method":"ticket"`, `"approved_before_submitted":"true"`, `"independent_fulfiller":"true"`,
		fmt.Sprintf(`"fulfilled_in":"acme/access#%d"`, w.repo.IssueNumber(ticketTitle))} {
		if !strings.Contains(row, want) {
			t.Errorf("the row has no %s:\n%s", want, row)
		}
	}
}
