package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestSignoff is what a reviewer relies on: what they approved takes effect, whichever way it is merged, and nothing
// else does.
func TestSignoff(t *testing.T) {
	t.Parallel()
	ask := files{"requests/reader.yaml": creation("reader") + "---\n" + grant("reader", reads)}
	tests := []struct {
		name string
		// play leads from an anchored world to something merged into main.
		play func(*world)
		// admitted says what comes of it; reason is part of why not.
		admitted bool
		reason   string
	}{
		{name: "previewed, approved, merged", admitted: true, play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "squashed", admitted: true, play: func(w *world) {
			n := w.ask("reader", ask)
			w.push("reader", "alice", files{"requests/reader.yaml": creation("reader") + "---\n" + grant("reader", reads) + "---\n" + creation("other")})
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "squash", "carol")
		}},
		{name: "rebased, of one commit", admitted: true, play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "rebase", "bob")
		}},
		{name: "rebased, of two commits", admitted: true, play: func(w *world) {
			n := w.ask("reader", files{"requests/reader.yaml": creation("reader")})
			w.push("reader", "alice", files{"requests/grant.yaml": grant("reader", reads)})
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "rebase", "bob")
		}},
		{name: "rebased, with something that was taken away again", reason: "does not count", play: func(w *world) {
			n := w.ask("reader", files{"requests/evil.yaml": grant("base", user("dave")), "requests/other.yaml": creation("other")})
			w.push("reader", "alice", files{"requests/evil.yaml": "", "requests/reader.yaml": creation("reader")})
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "rebase", "bob")
		}},
		{name: "another got in between, and the base was merged in after the approval", admitted: true, play: func(w *world) {
			n := w.ask("reader", ask)
			other := w.ask("other", files{"requests/other.yaml": creation("other")})
			w.preview(n)
			w.preview(other)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Review(other, "bob", "APPROVED")
			w.repo.Merge(other, "merge", "carol")
			w.mergeBase("reader", nil)
			w.preview(n)
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "a force-push of the same content, approved before and previewed again", admitted: true, play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.git(w.work, "commit", "-q", "--amend", "-m", "Another message")
			w.send("reader", "alice")
			w.preview(n)
			// The review is of a commit whose preview was this very content.
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "a preview made anew takes no approval away", admitted: true, play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.preview(n)
			w.preview(n)
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "approved before the preview", reason: "before the preview", play: func(w *world) {
			n := w.ask("reader", ask)
			w.repo.Review(n, "bob", "APPROVED")
			w.preview(n)
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "never previewed", reason: "was never published", play: func(w *world) {
			n := w.ask("reader", ask)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "approve, then push", reason: "shows other content", play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.push("reader", "alice", files{"requests/evil.yaml": grant("base", user("alice"))})
			w.preview(n)
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "evil, benign, approve, evil again", reason: "shows other content", play: func(w *world) {
			n := w.ask("reader", ask)
			benign := w.git(w.work, "rev-parse", "HEAD")
			evil := w.push("reader", "alice", files{"requests/evil.yaml": grant("base", user("dave"))})
			w.preview(n)
			w.git(w.work, "reset", "-q", "--hard", benign)
			w.send("reader", "alice")
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.git(w.work, "reset", "-q", "--hard", evil)
			w.send("reader", "alice")
			w.preview(n)
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "approved, then away and back again", reason: "other content was pushed after the preview", play: func(w *world) {
			n := w.ask("reader", ask)
			first := w.git(w.work, "rev-parse", "HEAD")
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.push("reader", "alice", files{"requests/evil.yaml": grant("base", user("dave"))})
			w.preview(n)
			w.git(w.work, "reset", "-q", "--hard", first)
			w.send("reader", "alice")
			w.preview(n)
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "force-push to a commit that another pull request had previewed", reason: "was never published", play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			other := w.ask("evil", files{"requests/evil.yaml": grant("base", user("dave"))})
			evil := w.git(w.work, "rev-parse", "HEAD")
			w.preview(other)
			w.repo.Review(n, "bob", "APPROVED")
			w.git(w.work, "checkout", "-q", "-B", "reader", evil)
			w.send("reader", "alice")
			w.repo.Review(n, "frank", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "an evil merge of the base", reason: "shows other content", play: func(w *world) {
			n := w.ask("reader", ask)
			other := w.ask("other", files{"requests/other.yaml": creation("other")})
			w.preview(other)
			w.repo.Review(other, "bob", "APPROVED")
			w.repo.Merge(other, "merge", "carol")
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.mergeBase("reader", files{"requests/evil.yaml": grant("base", user("dave"))})
			w.preview(n)
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "a blob changed by the merge itself", reason: "shows other content", play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
			w.repo.Rewrite(n, "requests/reader.yaml", creation("reader")+"---\n"+grant("reader", user("dave")))
		}},
		{name: "a second commit author approves", reason: "bob's approval does not count: the approver authored part", play: func(w *world) {
			n := w.ask("reader", ask)
			w.pushAs("reader", "alice", "Bob <bob@acme.test>", files{"requests/more.yaml": creation("more")})
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "squash", "carol")
		}},
		{name: "the author of a commit that another committed approves", reason: "bob's approval does not count: the approver authored part", play: func(w *world) {
			n := w.ask("reader", ask)
			w.git(w.work, "commit", "-q", "--amend", "--author", "Bob <bob@acme.test>", "--no-edit")
			w.send("reader", "alice")
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "whoever pushed approves, under another's name in the commit", reason: "bob's approval does not count: the approver authored part", play: func(w *world) {
			n := w.ask("reader", ask)
			w.pushAs("reader", "bob", "Alice <alice@acme.test>", files{"requests/more.yaml": creation("more")})
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "squash", "carol")
		}},
		{name: "whoever pushed long ago approves", reason: "bob's approval does not count: the approver authored part", play: func(w *world) {
			n := w.ask("reader", ask)
			w.repo.Pushed("reader", append(slices.Repeat([]string{"alice"}, 250), "bob")...)
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "squash", "carol")
		}},
		{name: "a commit of somebody of whom people.yaml knows no login", reason: "cannot be identified: Erin <erin@home.test>", play: func(w *world) {
			n := w.ask("reader", ask)
			w.pushAs("reader", "alice", "Erin <erin@home.test>", files{"requests/more.yaml": creation("more")})
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "somebody gains of whom people.yaml knows no login", reason: "authz: user/erin gains access but is not mapped to anyone", play: func(w *world) {
			n := w.ask("reader", files{"requests/erin.yaml": grant("base", user("erin"))})
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "a commit of nobody", reason: "cannot be identified: Ghost <ghost@nowhere.test>", play: func(w *world) {
			n := w.ask("reader", ask)
			w.pushAs("reader", "alice", "Ghost <ghost@nowhere.test>", files{"requests/more.yaml": creation("more")})
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "a co-author of nobody", reason: "cannot be identified: Ghost <ghost@nowhere.test>", play: func(w *world) {
			n := w.ask("reader", ask)
			w.git(w.work, "commit", "-q", "--amend", "-m", "Ask\n\nCo-authored-by: Ghost <ghost@nowhere.test>")
			w.send("reader", "alice")
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "the author approves", reason: "alice's approval does not count: the approver authored part", play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "alice", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "somebody who gains approves", reason: "bob's approval does not count: the approver gains access", play: func(w *world) {
			n := w.ask("reader", files{"requests/bob.yaml": grant("base", user("bob"))})
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "a bot approves", reason: "renovate[bot]'s approval does not count: the account is a bot", play: func(w *world) {
			n := w.ask("reader", ask)
			w.Bot("renovate[bot]")
			w.preview(n)
			w.repo.Review(n, "renovate[bot]", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "somebody outside the owners approves", reason: "0 of 1 sign-offs", play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "dave", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "an owner who may only read approves", reason: "may not write to the repository (it may read)", play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
			w.repo.Level("read", "bob")
		}},
		{name: "a suspended owner approved", reason: "the account is gone or suspended", play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
			w.Suspend("bob")
		}},
		{name: "an approval taken back", reason: "0 of 1 sign-offs", play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Review(n, "bob", "CHANGES_REQUESTED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "an approval dismissed, with an older one behind it", reason: "0 of 1 sign-offs", play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Dismiss(n, w.repo.Review(n, "bob", "CHANGES_REQUESTED"))
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "a comment after an approval changes nothing", admitted: true, play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Review(n, "bob", "COMMENTED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "an approval after the merge", reason: "0 of 1 sign-offs", play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Merge(n, "merge", "carol")
			w.repo.Review(n, "bob", "APPROVED")
		}},
		{name: "a review without its commit", reason: "GitHub does not show which commit it is of", play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.LoseCommit(n, w.repo.Review(n, "bob", "APPROVED"))
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "an approval on the third page of reviews", admitted: true, play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			for range 250 {
				w.repo.Review(n, "dave", "COMMENTED")
			}
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "a change of mind on the third page of reviews", reason: "0 of 1 sign-offs", play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			for range 250 {
				w.repo.Review(n, "dave", "COMMENTED")
			}
			w.repo.Review(n, "bob", "CHANGES_REQUESTED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "an administrator merges without approval", reason: "0 of 1 sign-offs", play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "a direct push", reason: "it came by no pull request", play: func(w *world) { w.push("main", "alice", ask) }},
		{name: "a direct push of a commit that an open pull request has", reason: "it came by no pull request", play: func(w *world) {
			n := w.ask("reader", ask)
			w.preview(n)
			w.repo.Review(n, "bob", "APPROVED")
			w.send("main", "alice")
		}},
		{name: "a preview's evidence forged by somebody else", reason: "was never published", play: func(w *world) {
			n := w.ask("reader", ask)
			p := w.preview(n)
			w.repo.Forge(p.Head, "countersign/preview", "success", fmt.Sprintf("pull request #%d, content %s", n, p.ContentDigest), "mallory", true)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "evidence of a preview that is not a success", reason: "was never published", play: func(w *world) {
			n := w.ask("reader", ask)
			p := w.preview(n)
			w.repo.Forge(p.Head, "countersign/preview", "failure", fmt.Sprintf("pull request #%d, content %s", n, p.ContentDigest), "countersign[bot]", true)
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Merge(n, "merge", "carol")
		}},
		{name: "the application's owners changed in the same pull request", reason: "CS-", play: func(w *world) {
			n := w.ask("reader", files{"requests/reader.yaml": creation("reader"), "applications/authz.yaml": w.application("user:dave")})
			w.preview(n)
			w.repo.Review(n, "dave", "APPROVED")
			w.repo.Review(n, "bob", "APPROVED")
			w.repo.Review(n, "carol", "APPROVED")
			w.repo.Merge(n, "merge", "frank")
		}},
		{name: "policy weakened in the same pull request", reason: "CS-", play: func(w *world) {
			n := w.ask("reader", files{"requests/reader.yaml": creation("reader"), "policy/own.rego": "package countersign\n\nwarn contains {\"code\": \"OWN-1\", \"msg\": \"hello\"} if input.phase == \"merge\"\n"})
			w.preview(n)
			for _, who := range []string{"bob", "carol", "dave", "frank"} {
				w.repo.Review(n, who, "APPROVED")
			}
			w.repo.Merge(n, "merge", "frank")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			before := w.stored()
			tt.play(w)
			rep := w.apply()
			last := rep.Admissions[len(rep.Admissions)-1]
			if got := last.Verdict == "admitted"; got != tt.admitted {
				t.Fatalf("admitted = %t, want %t\n%s\n%s", got, tt.admitted, verdicts(rep), dump(last.Evidence))
			}
			if tt.admitted {
				if w.stored() == before {
					t.Error("what was approved did not take effect")
				}
				return
			}
			if !strings.Contains(strings.Join(last.Reasons, "\n"), tt.reason) {
				t.Errorf("reasons = %q, want %q", last.Reasons, tt.reason)
			}
			if got := w.stored(); strings.Contains(got, "dave, base") || strings.Contains(got, "reader") {
				t.Errorf("what was not approved took effect:\n%s", got)
			}
			if again := w.apply(); len(again.Admissions) != 0 {
				t.Errorf("it was judged twice: %s", verdicts(again))
			}
		})
	}
}

// mergeBase merges main into a branch, with the files besides, as one merge commit.
func (w *world) mergeBase(branch string, besides files) {
	w.t.Helper()
	w.git(w.work, "fetch", "-q", "origin")
	w.git(w.work, "checkout", "-q", "-B", branch, "origin/"+branch)
	w.gitAs("alice <alice@acme.test>", w.work, "merge", "-q", "--no-ff", "--no-commit", "origin/main")
	w.write(besides)
	w.gitAs("alice <alice@acme.test>", w.work, "commit", "-q", "-m", "Merge branch main into "+branch)
	w.send(branch, "alice")
}

// TestABotThatTheSettingsName has an owner that is a bot: named in the settings, its approval counts.
func TestABotThatTheSettingsName(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, "'user:approver[bot]', 'user:other[bot]'")
	for i, bot := range []string{"approver[bot]", "other[bot]"} {
		w.Bot(bot)
		n := w.ask(fmt.Sprintf("r%d", i), files{fmt.Sprintf("requests/r%d.yaml", i): strings.Replace(creation(fmt.Sprintf("r%d", i)), "name: it", fmt.Sprintf("name: it%d", i), 1)})
		w.preview(n)
		w.repo.Review(n, bot, "APPROVED")
		w.repo.Merge(n, "merge", "carol")
		got := verdicts(w.apply())
		if want := map[string]string{"approver[bot]": "admitted", "other[bot]": "quarantined"}[bot]; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", bot, got, want)
		}
	}
}
