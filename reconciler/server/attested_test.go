package server_test

import (
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
