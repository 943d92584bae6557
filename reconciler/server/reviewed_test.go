package server_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/github/githubtest"
	"github.com/countersign/countersign/schemas"
)

// attempt is one try to get something through. All of a list share a world, one after the other: what is quarantined
// stays on the branch, and stops nothing that comes later.
type attempt struct {
	name string
	// play leads to something merged into main. Its requests are those of evil or benign.
	play func(w *world, branch string)
	// reason is part of why it is quarantined; "" means that it is admitted.
	reason string
	// alarm is part of what is recorded beside.
	alarm string
}

// evil gives Dave what nobody approves, and benign creates a role of the branch's name.
func evil(branch string) files {
	return files{"requests/" + branch + "-evil.yaml": grant("base", user("dave"))}
}
func benign(branch string) files { return files{"requests/" + branch + ".yaml": creation(branch)} }

// try plays the attempts, and checks what comes of each.
func (w *world) try(list []attempt) {
	w.t.Helper()
	for i, a := range list {
		before := w.stored()
		a.play(w, fmt.Sprint("try", i))
		rep, err := w.tryApply(reconciler.RunOptions{})
		w.Fail(nil)
		if err != nil {
			w.t.Errorf("%s: the pass fails: %v", a.name, err)
		}
		if rep == nil || len(rep.Admissions) == 0 {
			w.t.Errorf("%s: nothing was judged", a.name)
			continue
		}
		last := rep.Admissions[len(rep.Admissions)-1]
		got := strings.Join(last.Reasons, "\n")
		switch {
		case strings.Contains(w.stored(), "dave, base"):
			w.t.Fatalf("%s: Dave is in base: %s\n%s", a.name, got, dump(last.Evidence))
		case a.reason == "" && (last.Verdict != schemas.AdmissionAdmitted || w.stored() == before):
			w.t.Errorf("%s: %s %s\n%s", a.name, last.Verdict, got, dump(last.Evidence))
		case a.reason != "" && (last.Verdict != schemas.AdmissionQuarantined || !strings.Contains(got, a.reason) || w.stored() != before):
			w.t.Errorf("%s: %s, reasons %q, want %q", a.name, last.Verdict, got, a.reason)
		case a.alarm != "" && !strings.Contains(strings.Join(last.Evidence.Alarms, "\n"), a.alarm):
			w.t.Errorf("%s: alarms %q, want %q", a.name, last.Evidence.Alarms, a.alarm)
		}
	}
}

// endless answers every page of a list with an empty one and a link to the next.
func endless(path string) func(*http.Request) *githubtest.Fault {
	return func(r *http.Request) *githubtest.Fault {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, path) {
			return nil
		}
		q := r.URL.Query()
		n, _ := strconv.Atoi(q.Get("page"))
		q.Set("page", strconv.Itoa(max(n, 1)+1))
		q.Set("after", "x")
		if path == "/activity" {
			q.Del("page")
		}
		return &githubtest.Fault{Status: 200, Header: map[string]string{"Link": fmt.Sprintf(`<http://%s%s?%s>; rel="next"`, r.Host, r.URL.Path, q.Encode())}, Body: "[]"}
	}
}

// TestWhatReviewersSaw is about the content that an approval is of: the clone shows it, and nobody's word for it.
func TestWhatReviewersSaw(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	edit := func(s string) string { return strings.ReplaceAll(s, "casbin", "cassette") }
	w.try([]attempt{
		{name: "a status of the publisher's account speaks of other content", reason: "the reviewed commit shows other content", play: func(w *world, b string) {
			n := w.ask(b, benign(b))
			p := w.preview(n)
			both := benign(b)
			for path, content := range evil(b) {
				both[path] = content
			}
			other := w.preview(w.ask(b+"-scratch", both))
			w.repo.Forge(p.Head, "countersign/preview", "success", fmt.Sprintf("pull request #%d, content %s", n, other.ContentDigest), "countersign[bot]", false)
			w.Advance(time.Minute)
			w.repo.Review(n, "bob", "APPROVED")
			w.push(b, "alice", evil(b))
			w.repo.Merge(n, "merge", "alice")
		}},
		{name: "other content was head for a moment, and nobody previewed it", reason: "other content was pushed after the preview", play: func(w *world, b string) {
			n := w.ask(b, benign(b))
			was := w.git(w.work, "rev-parse", "HEAD")
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.push(b, "alice", evil(b))
			w.git(w.work, "reset", "-q", "--hard", was)
			w.send(b, "alice")
			w.repo.Merge(n, "merge", "alice")
		}},
		{name: "the reviewed commit was pushed over with the same content, and squashed", play: func(w *world, b string) {
			n := w.ask(b, benign(b))
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.git(w.work, "commit", "-q", "--amend", "-m", "In other words")
			w.send(b, "alice")
			w.repo.Merge(n, "squash", "alice")
		}},
		{name: "whoever merges types the approver into the squash's message", play: func(w *world, b string) {
			n := w.ask(b, benign(b))
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "squash", "dave")
			w.repo.Reword(n, "Ask\n\nCo-authored-by: Bob <bob@acme.test>")
		}},
		{name: "the comment is edited before the review", reason: "alice edited the preview's comment", play: func(w *world, b string) {
			n := w.ask(b, evil(b))
			w.preview(n)
			w.repo.EditCommentAs(n, "alice", func(s string) string { return strings.ReplaceAll(s, "dave", "nobody") })
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "alice")
		}},
		{name: "the comment is deleted before the review", reason: "alice deleted the preview's comment", play: func(w *world, b string) {
			n := w.ask(b, evil(b))
			w.preview(n)
			w.repo.DeleteComments(n, "alice")
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "alice")
		}},
		{name: "an edited comment is published again, and that is approved", play: func(w *world, b string) {
			n := w.ask(b, benign(b))
			w.preview(n)
			w.repo.EditCommentAs(n, "alice", edit)
			w.preview(n)
			if got := w.comment(n); strings.Contains(got, "cassette") {
				w.t.Errorf("the edited comment stays:\n%s", got)
			}
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "alice")
		}},
		{name: "a deleted comment is published again, and that is approved", play: func(w *world, b string) {
			n := w.ask(b, benign(b))
			w.preview(n)
			w.repo.DeleteComments(n, "alice")
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "alice")
		}},
		{name: "an edit after the review voids nothing, nor does the preview that follows it", alarm: "alice edited", play: func(w *world, b string) {
			n := w.ask(b, benign(b))
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.EditCommentAs(n, "alice", edit)
			w.preview(n)
			w.repo.Merge(n, "merge", "alice")
		}},
		{name: "more statuses on the head than are read", reason: "too many", play: func(w *world, b string) {
			n := w.ask(b, benign(b))
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "alice")
			w.Fail(endless("/statuses"))
		}},
		{name: "merged into another branch, which was pushed to main", reason: "it came by no pull request", play: func(w *world, b string) {
			n := w.ask(b, evil(b))
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Run("branch", "side", "main")
			w.repo.Retarget(n, "side")
			w.repo.Run("update-ref", "refs/heads/main", w.repo.Merge(n, "merge", "alice"))
		}},
		{name: "GitHub suspended the approver", reason: "the account is suspended", play: func(w *world, b string) {
			w.land(b, benign(b))
			w.Fail(func(r *http.Request) *fault {
				if !strings.HasSuffix(r.URL.Path, "/users/bob") {
					return nil
				}
				return &fault{Status: 200, Body: `{"login":"bob","id":1,"type":"User","suspended_at":"2026-11-23T09:00:00Z"}`}
			})
		}},
		{name: "an ordinary request after all that", play: func(w *world, b string) { w.land(b, benign(b)) }},
	})
}

// TestAPublisherThatEveryWorkflowIs needs the settings to accept it in so many words.
func TestAPublisherThatEveryWorkflowIs(t *testing.T) {
	t.Parallel()
	for word, reason := range map[string]string{"": "forge.any_workflow_may_publish", "any_workflow_may_publish: true, ": ""} {
		w := bareWorld(t)
		w.client = w.workflow()
		own := strings.NewReplacer(`"countersign[bot]"`, `"github-actions[bot]"`, "forge: {", "forge: {"+word).Replace(settings)
		w.push("main", "carol", files{"countersign.yaml": own, "people.yaml": people, "applications/authz.yaml": w.application("user:bob, user:frank"),
			"requests/base.yaml": creation("base") + "---\n" + grant("base", reads)})
		w.apply()
		w.try([]attempt{{name: "with " + word, reason: reason, play: func(w *world, b string) { w.land(b, benign(b)) }}})
	}
}
