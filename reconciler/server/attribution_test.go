package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/countersign/countersign/reconciler"
)

// fork pushes files to a fork of Alice's in her name, and returns the repository.
func (w *world) fork(branch string, signed bool, f files) int {
	w.t.Helper()
	fork := w.repo.Fork("alice/" + branch)
	w.git(w.work, "fetch", "-q", "origin")
	w.git(w.work, "checkout", "-q", "-B", branch, "origin/main")
	w.write(f)
	w.gitAs("alice <alice@acme.test>", w.work, "commit", "-q", "-m", "Ask")
	w.git(w.work, "push", "-q", fork.Dir, "HEAD:refs/heads/"+branch)
	if signed {
		w.repo.Sign(w.git(w.work, "rev-parse", "HEAD"))
	}
	n := w.repo.Open("alice", branch, "Ask from outside", fork)
	if _, err := w.tryPreview(n, true); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// TestWhoMadeIt is about changes whose authors can't be told, so that an approver may be one of them.
func TestWhoMadeIt(t *testing.T) {
	t.Parallel()
	w := bareWorld(t)
	w.User("bob-too")
	w.repo.Level("write", "bob-too")
	w.Bot("robot[bot]")
	w.Address("robot[bot]", "robot@acme.test")
	w.Bot("other[bot]")
	w.Address("other[bot]", "other@acme.test")
	w.push("main", "carol", files{"countersign.yaml": strings.Replace(settings, "forge: {", `forge: {author_bots: ["robot[bot]"], `, 1), "people.yaml": people,
		"applications/authz.yaml": w.application("user:bob, user:frank"), "requests/base.yaml": creation("base") + "---\n" + grant("base", reads)})
	w.apply()
	merge := func(w *world, n int) {
		w.t.Helper()
		w.repo.Review(n, "bob", "APPROVED")
		w.repo.Merge(n, "merge", "bob")
	}
	w.try([]attempt{
		{name: "anybody may have pushed to a fork", reason: "the pushers to the fork", play: func(w *world, b string) { merge(w, w.fork(b, false, evil(b))) }},
		{name: "the commits of a fork are signed", play: func(w *world, b string) { merge(w, w.fork(b, true, benign(b))) }},
		{name: "a workflow pushed", reason: "github-actions[bot] is a bot", play: func(w *world, b string) {
			n := w.ask(b, benign(b))
			w.pushAs(b, "github-actions[bot]", "alice <alice@acme.test>", evil(b))
			w.preview(n)
			merge(w, n)
		}},
		{name: "a bot that the settings do not name wrote a commit", reason: "other[bot] is a bot", play: func(w *world, b string) {
			n := w.ask(b, benign(b))
			w.pushAs(b, "alice", "other <other@acme.test>", evil(b))
			w.preview(n)
			merge(w, n)
		}},
		{name: "a bot that the settings do not name opened it", reason: "other[bot] is a bot", play: func(w *world, b string) {
			w.push(b, "alice", evil(b))
			n := w.repo.Open("other[bot]", b, "Ask", nil)
			w.preview(n)
			merge(w, n)
		}},
		{name: "a bot that the settings name wrote and opened it", play: func(w *world, b string) {
			w.pushAs(b, "robot[bot]", "robot <robot@acme.test>", benign(b))
			n := w.repo.Open("robot[bot]", b, "Ask", nil)
			w.preview(n)
			merge(w, n)
		}},
		{name: "a co-author that is a bot", reason: "cannot be identified", play: func(w *world, b string) {
			w.push(b, "alice", evil(b))
			w.git(w.work, "commit", "-q", "--amend", "-m", "Ask\n\nCo-authored-by: x <5+other[bot]@users.noreply.github.com>")
			w.send(b, "alice")
			n := w.repo.Open("alice", b, "Ask", nil)
			w.preview(n)
			merge(w, n)
		}},
		{name: "GitHub does not show the pushes", reason: "which GitHub does not show", play: func(w *world, b string) {
			n := w.ask(b, benign(b))
			w.preview(n)
			merge(w, n)
			w.Fail(func(r *http.Request) (f *fault) {
				if strings.HasSuffix(r.URL.Path, "/activity") {
					f = &fault{Status: 403, Body: "{}"}
				}
				return f
			})
		}},
		{name: "GitHub lists fewer commits than it counts", reason: "of which GitHub lists 0 of 1", play: func(w *world, b string) {
			n := w.ask(b, benign(b))
			w.preview(n)
			merge(w, n)
			w.Fail(func(r *http.Request) (f *fault) {
				if strings.HasSuffix(r.URL.Path, "/commits") {
					f = &fault{Status: 200, Body: "[]"}
				}
				return f
			})
		}},
		{name: "more pushes than are read", reason: "more than 20000", play: func(w *world, b string) {
			n := w.ask(b, benign(b))
			w.preview(n)
			merge(w, n)
			w.Fail(endless("/activity"))
		}},
		{name: "the opener and pusher deleted the account", reason: "the account is gone", play: func(w *world, b string) {
			w.pushAs(b, "bob-too", "alice <alice@acme.test>", evil(b))
			n := w.repo.Open("bob-too", b, "Ask", nil)
			w.preview(n)
			w.Gone("bob-too")
			merge(w, n)
		}},
		{name: "an approver whom people.yaml does not know", reason: "people.yaml does not know the account", play: func(w *world, b string) {
			w.User("zoe")
			w.repo.Level("write", "zoe")
			n := w.ask(b, benign(b))
			w.preview(n)
			w.repo.Review(n, "zoe", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "an ordinary request after all that", play: func(w *world, b string) { w.land(b, benign(b)) }},
		// By the ledger, bob is the account that signed off until now.
		{name: "another account has taken an owner's login", reason: "is on record for it", play: func(w *world, b string) {
			w.Rename("bob", "bob-acme")
			w.Rename("zoe", "bob")
			n := w.ask(b, evil(b))
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "alice")
		}},
		{name: "and opens a pull request", reason: "is on record for it", play: func(w *world, b string) {
			w.push(b, "alice", evil(b))
			n := w.repo.Open("bob", b, "Ask", nil)
			w.preview(n)
			w.repo.Review(n, "frank", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
	})
}

// TestAccountsOnRecord has people.yaml give the ids of accounts, and several accounts of one person.
func TestAccountsOnRecord(t *testing.T) {
	t.Parallel()
	w := bareWorld(t)
	for _, login := range []string{"bob-ops", "zoe"} {
		w.User(login)
		w.repo.Level("write", login)
	}
	known := strings.NewReplacer(
		"{login: dave,", "{login: dave, account_id: "+w.AccountID("dave")+",",
		"{login: frank,", "{login: frank, account_id: 1,",
		"{login: bob,", "{login: bob, logins: [{login: bob-ops, account_id: "+w.AccountID("bob-ops")+"}],",
	).Replace(people)
	w.push("main", "carol", files{"countersign.yaml": settings, "people.yaml": known, "applications/authz.yaml": w.application("user:bob, user:frank, user:dave"),
		"requests/base.yaml": creation("base") + "---\n" + grant("base", reads)})
	w.apply()
	approve := func(w *world, b, who string, f files) {
		w.t.Helper()
		n := w.ask(b, f)
		w.preview(n)
		w.repo.Review(n, who, "APPROVED")
		w.repo.Merge(n, "merge", "carol")
	}
	w.try([]attempt{
		{name: "the account is another than people.yaml has", reason: "the login frank belongs to account", play: func(w *world, b string) { approve(w, b, "frank", benign(b)) }},
		{name: "a second account of an owner", play: func(w *world, b string) { approve(w, b, "bob-ops", benign(b)) }},
		{name: "of whoever wrote it with the first", reason: "the approver authored part", play: func(w *world, b string) {
			w.push(b, "bob", benign(b))
			n := w.repo.Open("alice", b, "Ask", nil)
			w.preview(n)
			w.repo.Review(n, "bob-ops", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "who gains approves under a new login", reason: "the approver gains access", play: func(w *world, b string) {
			w.Rename("dave", "dave-the-second")
			approve(w, b, "dave-the-second", evil(b))
		}},
	})
}

// TestATeamThatCannotBeRead is nobody, whatever people.yaml lists.
func TestATeamThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := bareWorld(t)
	w.Team("acme/data", "frank", "bob")
	w.push("main", "carol", files{"countersign.yaml": settings, "people.yaml": people + "  teams: {acme/data: [bob]}\n", "applications/authz.yaml": w.application("team:acme/data"),
		"requests/base.yaml": creation("base") + "---\n" + grant("base", reads)})
	w.apply()
	w.try([]attempt{
		{name: "readable", play: func(w *world, b string) { w.land(b, benign(b)) }},
		{name: "gone", reason: "0 of 1 sign-offs from team:acme/data", play: func(w *world, b string) {
			w.land(b, benign(b))
			w.Unteam("acme/data")
		}},
	})
	if _, err := w.tryApply(reconciler.RunOptions{}); err != nil {
		t.Error(err)
	}
}
