package server_test

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/github/githubtest"
)

// attestedWorld is one whose second application nothing can read: people carry out there what tickets say.
func attestedWorld(t *testing.T) *world {
	t.Helper()
	w := bareWorld(t)
	w.push("main", "carol", files{"countersign.yaml": settings, "people.yaml": people, "applications/authz.yaml": w.application("user:bob, user:frank"), "applications/hr.yaml": personnel})
	w.apply()
	return w
}

const (
	personnel = "apiVersion: countersign.dev/v1\nkind: Application\nmetadata: {name: hr}\nspec:\n  connector: manual\n" +
		"  config: {types: [{name: group, grantable: [{type: user, edge: identity}]}]}\n" +
		"  owners: [user:bob, user:frank]\n  scope: {group: [\"*\"]}\n  provisioning: ticket\n"
	personnelTicket = "Access to carry out in hr: requests/member.yaml"
)

// change has the application changed, as the settings' owner approves.
func (w *world) change(branch, application string) {
	w.t.Helper()
	n := w.ask(branch, files{"applications/hr.yaml": application})
	w.preview(n)
	w.repo.Review(n, "carol", "APPROVED")
	w.repo.Review(n, "bob", "APPROVED")
	w.repo.Merge(n, "merge", "bob")
}

// TestOldClosing takes the closing of a ticket for the word about what it listed then, and about nothing that was to be
// written there since and never was.
func TestOldClosing(t *testing.T) {
	t.Parallel()
	w := attestedWorld(t)
	member := inPersonnel + "  grants: [{type: user, source_name: dora}]\n"
	w.land("member", files{"requests/member.yaml": member})
	w.want("asked for", w.apply(), "grant pending")
	w.repo.CloseIssue(personnelTicket, "frank", "completed", "")
	w.want("done", w.apply(), "beside the plan /attested")
	w.land("gone", files{"requests/gone.yaml": inPersonnel + "  revokes: [{type: user, source_name: dora}]\n"})
	w.want("to be taken", w.apply(), "revoke pending")
	w.repo.CloseIssue("Access to carry out in hr: requests/gone.yaml", "frank", "completed", "")
	w.want("taken", w.apply(), "beside the plan /attested")
	w.land("again", files{"requests/again.yaml": strings.Replace(member, "name: it", "name: again", 1)})
	edit := regexp.MustCompile(`/issues/[0-9]+$`)
	w.Fail(func(req *http.Request) *githubtest.Fault {
		if req.Method == http.MethodPatch && edit.MatchString(req.URL.Path) {
			return &githubtest.Fault{Status: 500}
		}
		return nil
	})
	rep, _ := w.tryApply(reconciler.RunOptions{})
	w.want("it cannot be asked for", rep, "grant failed")
	w.Fail(nil)
	w.Advance(time.Minute)
	w.want("nobody has done it", w.apply(), "grant pending")
	if got := w.repo.Issues("open"); len(got) != 1 {
		t.Errorf("open are %v", got)
	}
	w.repo.CloseIssue(w.repo.Issues("open")[0], "frank", "completed", "")
	w.want("now somebody has", w.apply(), "beside the plan /attested")
}

// TestClosingOfAnotherText does not take the closing of a ticket whose text somebody changed for the word that what was
// signed off is done.
func TestClosingOfAnotherText(t *testing.T) {
	t.Parallel()
	w := attestedWorld(t)
	w.land("member", files{"requests/member.yaml": inPersonnel + "  grants: [{type: user, source_name: dora}]\n"})
	w.want("asked for", w.apply(), "grant pending")
	body := w.repo.IssueBody(personnelTicket)
	w.repo.EditIssue(personnelTicket, strings.ReplaceAll(body, "dora", "mallory"))
	w.repo.CloseIssue(personnelTicket, "frank", "completed", "")
	w.want("frank did something else", w.apply(), "! ticket-changed", "grant held:pending")
	if got := w.repo.IssueBody(personnelTicket); got != body || !slices.Contains(w.repo.Issues("open"), personnelTicket) {
		t.Errorf("the text is\n%s\nopen are %v", got, w.repo.Issues("open"))
	}
	w.repo.EditIssue(personnelTicket, strings.ReplaceAll(body, "- [ ]", "- [x]"))
	w.repo.CloseIssue(personnelTicket, "frank", "completed", "")
	w.want("then what was signed off", w.apply(), "beside the plan /attested")
}

// TestDeclinedStaysSo keeps a ticket closed that an owner declined, also where the text of today would be another one.
func TestDeclinedStaysSo(t *testing.T) {
	t.Parallel()
	w := attestedWorld(t)
	w.land("member", files{"requests/member.yaml": inPersonnel + "  grants: [{type: user, source_name: dora}]\n"})
	w.want("asked for", w.apply(), "grant pending")
	w.repo.CloseIssue(personnelTicket, "frank", "not_planned", "")
	w.want("declined", w.apply(), "grant held:declined")
	w.change("owners", strings.Replace(personnel, "user:frank]", "user:frank, user:carol]", 1))
	rep := w.apply()
	w.want("for good", rep, "grant held:declined")
	if got := verdicts(rep); got != "admitted" {
		t.Fatalf("the owners are %s", got)
	}
	if got := w.repo.Issues("open"); len(got) > 0 {
		t.Errorf("open are %v", got)
	}
}

// TestAttestedIsReopened does not pass over in silence that somebody opens a ticket again whose closing was taken for
// the only word there is.
func TestAttestedIsReopened(t *testing.T) {
	t.Parallel()
	w := attestedWorld(t)
	w.land("member", files{"requests/member.yaml": inPersonnel + "  grants: [{type: user, source_name: dora}]\n"})
	w.apply()
	w.repo.CloseIssue(personnelTicket, "frank", "completed", "")
	w.want("attested", w.apply(), "beside the plan /attested")
	w.repo.ReopenIssue(personnelTicket, "frank")
	w.want("it is told", w.apply(), "! ticket-reopened")
	if got := strings.Join(w.repo.Comments(w.repo.IssueNumber(personnelTicket)), "\n"); !strings.Contains(got, "takes nothing back") || len(w.repo.Issues("open")) > 0 {
		t.Errorf("open are %v; the comments are\n%s", w.repo.Issues("open"), got)
	}
	w.want("once", w.apply())
}

// TestWordTakenBack takes a closing back that the ticket's being opened again took back, also where the run that heard
// of it was cut short: nothing followed from it yet.
func TestWordTakenBack(t *testing.T) {
	t.Parallel()
	w := attestedWorld(t)
	w.land("member", files{"requests/member.yaml": inPersonnel + "  grants: [{type: user, source_name: dora}]\n"})
	w.apply()
	w.repo.CloseIssue(personnelTicket, "frank", "completed", "")
	ctx, die := context.WithCancel(t.Context())
	w.step = func(s string) {
		if s == "run" {
			die()
		}
	}
	if rep, err := w.reconciler().RunOnce(ctx, reconciler.RunOptions{To: "refs/heads/main"}); err == nil {
		t.Fatalf("the run that died ended well: %s", dump(rep))
	}
	w.step = nil
	w.repo.ReopenIssue(personnelTicket, "frank")
	w.want("it is not done", w.apply(), "grant held:pending")
	w.wantStatus("requests/member.yaml", "pending", "pending")
	w.want("nor later", w.apply(), "grant held:pending")
	w.repo.CloseIssue(personnelTicket, "frank", "completed", "")
	w.want("now it is", w.apply(), "beside the plan /attested")
}

// TestTypesThatChange holds what becomes of what was said, when an application's types become others.
func TestTypesThatChange(t *testing.T) {
	t.Parallel()
	w := attestedWorld(t)
	w.land("member", files{"requests/member.yaml": inPersonnel + "  grants: [{type: user, source_name: dora}]\n"})
	w.apply()
	w.repo.CloseIssue(personnelTicket, "frank", "completed", "")
	w.want("attested", w.apply(), "beside the plan /attested")
	w.change("accounts", strings.Replace(personnel, "type: user", "type: account", 1))
	w.want("there are no users", w.apply(), "! refused-by-application")
	w.wantStatus("requests/member.yaml", "applied", "attested")
	w.change("back", personnel)
	w.want("as before", w.apply())
}
