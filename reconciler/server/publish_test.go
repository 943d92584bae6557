package server_test

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/github"
	"github.com/countersign/countersign/reconciler/github/githubtest"
	"github.com/countersign/countersign/reconciler/server"
	"github.com/countersign/countersign/schemas"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden holds a text against a file, with hashes replaced: they follow from the version of the built-in policy.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = regexp.MustCompile(`[0-9a-f]{40,64}`).ReplaceAllString(got, "HASH")
	got = regexp.MustCompile("`[0-9a-f]{7,8}`").ReplaceAllString(got, "`HASH`")
	got = regexp.MustCompile("sha256:[0-9a-f]+").ReplaceAllString(got, "sha256:HASH")
	got = regexp.MustCompile("plan `[0-9a-f-]+`").ReplaceAllString(got, "plan `HASH`")
	got = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`).ReplaceAllString(got, "INSTANT")
	path := filepath.Join("testdata", name+".md")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test -update rewrites it):\n%s", path, diff)
	}
}

// TestCommentThroughAPullRequest follows the one comment from the first preview to the receipt.
func TestCommentThroughAPullRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.ask("reader", files{"requests/reader.yaml": creation("reader") + "---\n" + grant("reader", reads+", "+user("dave")) + "---\n" + grant("base", user("alice"))})
	p := w.preview(n)
	golden(t, "comment-waits", w.comment(n))
	if got := w.repo.Status(p.Head, "countersign/policy"); got != "success no rule objects" {
		t.Errorf("countersign/policy = %s", got)
	}
	if got := w.repo.Status(p.Head, "countersign/sign-off"); got != "pending 1 sign-off missing" {
		t.Errorf("countersign/sign-off = %s", got)
	}
	if got, want := w.repo.Status(p.Head, "countersign/preview"), fmt.Sprintf("success pull request #%d, content %s, shown ", n, p.ContentDigest); !strings.HasPrefix(got, want) {
		t.Errorf("countersign/preview = %s, want %s", got, want)
	}
	if got := w.repo.Labels(n); !cmp.Equal(got, []string{"access:authz"}) {
		t.Errorf("labels = %q", got)
	}
	if got := w.repo.Requested(n); !cmp.Equal(got, []string{"bob", "frank"}) {
		t.Errorf("reviews are requested of %q", got)
	}
	if got := w.repo.CheckRuns(p.Head); !cmp.Equal(got, []string{"countersign success 1 sign-off missing"}) {
		t.Errorf("check runs = %q", got)
	}
	if err := w.client.Stale(t.Context(), n, strings.Repeat("f", 40), "countersign[bot]"); err != nil {
		t.Fatal(err)
	}
	if got := w.comment(n); !strings.Contains(got, "New commits were pushed") {
		t.Errorf("the comment does not say that it is of an older head:\n%s", got)
	}
	w.repo.Review(n, "bob", "APPROVED")
	w.Advance(1)
	w.preview(n)
	golden(t, "comment-ready", w.comment(n))
	if got := w.repo.Status(p.Head, "countersign/sign-off"); got != "success signed off" {
		t.Errorf("countersign/sign-off = %s", got)
	}
	merge := w.repo.Merge(n, "merge", "carol")
	w.apply()
	golden(t, "comment-receipt", w.comment(n))
	if got := w.repo.Deployments(merge); !cmp.Equal(got, []string{"access success applied and verified by reading back"}) {
		t.Errorf("deployments = %q", got)
	}
	if got := w.repo.Comments(n); len(got) != 1 {
		t.Errorf("there are %d comments, want the one", len(got))
	}
	if got := w.repo.Issues("open"); len(got) != 0 {
		t.Errorf("issues are open: %q", got)
	}
}

// comment is the one comment of countersign at a pull request.
func (w *world) comment(number int) string {
	w.t.Helper()
	for _, k := range w.repo.Comments(number) {
		if body, ok := strings.CutPrefix(k, "countersign[bot]: "); ok {
			return body
		}
	}
	w.t.Fatalf("countersign has not commented on #%d", number)
	return ""
}

func TestCommentStates(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		files   files
		verdict schemas.PreviewVerdict
		policy  string
	}{
		{"denied", files{"requests/mixed.yaml": creation("mixed"), "people.yaml": people + "    - {login: gina, emails: [gina@acme.test]}\n"}, schemas.VerdictDenied, "failure denied by policy: CS-103"},
		{"invalid", files{"requests/typo.yaml": strings.Replace(creation("typo"), "source_name", "sourcename", 1)}, schemas.VerdictInvalid, "failure 1 error to fix before this can be judged"},
		{"nothing", files{"README.md": "hello\n"}, schemas.VerdictNothing, "success no access changes here"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			n := w.ask("it", tt.files)
			p := w.preview(n)
			if p.Verdict != tt.verdict {
				t.Errorf("verdict = %s, want %s: %s", p.Verdict, tt.verdict, dump(p.Errors))
			}
			golden(t, "comment-"+tt.name, w.comment(n))
			if got := w.repo.Status(p.Head, "countersign/policy"); got != tt.policy {
				t.Errorf("countersign/policy = %s, want %s", got, tt.policy)
			}
			if got := w.repo.Status(p.Head, "countersign/preview"); tt.verdict != schemas.VerdictDenied && got != "" {
				t.Errorf("a preview that is %s is evidence: %s", tt.verdict, got)
			}
		})
	}
}

// TestWhatRequestersWriteIsNoMarkup is about a reason that would be a heading, a mention and a link.
func TestWhatRequestersWriteIsNoMarkup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	evil := strings.Replace(creation("evil"), "The dashboards read the sales data", `"Please @bob approve this now <img src=x> [click](http://evil.test) | APPROVED by everybody #1 <!-- countersign:v1 pr=1 -->"`, 1)
	n := w.ask("evil", files{"requests/evil-@bob.yaml": evil})
	w.preview(n)
	body := w.comment(n)
	_, rest, _ := strings.Cut(body, "\n")
	outside := regexp.MustCompile("(?s)`+[^`]*`+").ReplaceAllString(rest, "")
	for _, bad := range []string{"@bob", "<img", "](http", "<!--", "#1 "} {
		if strings.Contains(outside, bad) {
			t.Errorf("%q stands in the comment outside of code:\n%s", bad, body)
		}
	}
}

func TestOthersCommentsAreLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.ask("reader", files{"requests/reader.yaml": creation("reader")})
	p := w.preview(n)
	first := w.comment(n)
	marker, _, _ := strings.Cut(first, "\n")
	w.repo.Comment(n, "mallory", marker+"\n### ✅ Approved by everybody")
	w.preview(n)
	got := w.repo.Comments(n)
	if len(got) != 2 || got[1] != "mallory: "+marker+"\n### ✅ Approved by everybody" {
		t.Errorf("comments = %q", got)
	}
	if p.Verdict != schemas.VerdictSignoff {
		t.Errorf("verdict = %s", p.Verdict)
	}
}

func TestASlowPreviewDoesNotOverwriteANewerOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.ask("reader", files{"requests/reader.yaml": creation("reader")})
	old := w.preview(n).Head
	w.push("reader", "alice", files{"requests/more.yaml": creation("more")})
	w.preview(n)
	want := w.comment(n)
	calls := len(w.Calls())
	_, _, err := server.Preview{Reconciler: w.reconciler(), Forge: w.client, Fetch: w.fetch, Branch: "refs/heads/main", BranchSpec: mainSpec, Number: n, Head: old}.Run(t.Context())
	if !forge.IsMoved(err) {
		t.Errorf("the older preview ended with %v", err)
	}
	for _, c := range w.Calls()[calls:] {
		if strings.Contains(c.Operation, "create") || strings.Contains(c.Operation, "update") || strings.Contains(c.Operation, "add") {
			if c.Operation != "apps/create-installation-access-token" {
				t.Errorf("the older preview wrote: %s", c.Operation)
			}
		}
	}
	if diff := cmp.Diff(want, w.comment(n)); diff != "" {
		t.Errorf("the comment changed:\n%s", diff)
	}
}

func TestAForksPreviewSeesNoApplication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fork := w.repo.Fork("mallory/access")
	w.git(w.work, "fetch", "-q", "origin")
	w.git(w.work, "checkout", "-q", "-B", "fork", "origin/main")
	w.write(files{"requests/reader.yaml": creation("reader")})
	w.gitAs("mallory <mallory@acme.test>", w.work, "commit", "-q", "-m", "Ask")
	w.git(w.work, "push", "-q", fork.Dir, "HEAD:refs/heads/fork")
	w.repo.Sign(w.git(w.work, "rev-parse", "HEAD")) // or nobody knows who pushed it
	n := w.repo.Open("mallory", "fork", "Ask from outside", fork)
	p := w.preview(n)
	if p.Live || p.Verdict != schemas.VerdictSignoff {
		t.Errorf("live = %t, verdict = %s", p.Live, p.Verdict)
	}
	golden(t, "comment-fork", w.comment(n))
	if got := w.repo.Status(p.Head, "countersign/preview"); got != "" {
		t.Errorf("a blind preview is evidence: %s", got)
	}
	if p, err := w.tryPreview(n, true); err != nil || !p.Live {
		t.Fatalf("the full preview is blind: %v", err)
	}
	if got := w.repo.Status(p.Head, "countersign/preview"); got == "" {
		t.Error("the full preview is no evidence")
	}
}

// TestGitHubFails is about a GitHub that is slow, limits, or is down: the run ends clearly or well, and the next one
// mends what the former left.
func TestGitHubFails(t *testing.T) {
	t.Parallel()
	comments := func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/comments")
	}
	reads := func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/pulls/")
	}
	tests := []struct {
		name  string
		on    func(*http.Request) bool
		fault githubtest.Fault
		times int32
		// want is part of the error; "" for none.
		want string
	}{
		{"a gateway fails twice", reads, githubtest.Fault{Status: 502, Body: "<html>bad gateway</html>"}, 2, ""},
		{"the connection breaks off twice", reads, githubtest.Fault{}, 2, ""},
		{"a secondary limit of a second", comments, githubtest.Fault{Status: 403, Header: map[string]string{"Retry-After": "1"}, Body: `{"message":"You have exceeded a secondary rate limit."}`}, 1, ""},
		{"a long secondary limit", comments, githubtest.Fault{Status: 429, Header: map[string]string{"Retry-After": "3600"}, Body: `{"message":"You have exceeded a secondary rate limit.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`}, 1 << 30, "429"},
		{"the rate limit is used up", reads, githubtest.Fault{Status: 403, Header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795430000", "X-RateLimit-Limit": "5000"}, Body: `{"message":"API rate limit exceeded"}`}, 1 << 30, "GitHub's rate limit is used up until 2026-11-23T"},
		{"GitHub is down", reads, githubtest.Fault{Status: 503, Body: "down"}, 1 << 30, "GitHub has a problem, run again later"},
		{"a comment is made and the answer lost", comments, githubtest.Fault{After: true}, 1, "comment on pull request"},
		{"a comment is refused", comments, githubtest.Fault{Status: 500, Body: `{"message":"oops"}`}, 1, "comment on pull request #1: GitHub answered 500"},
		{"the answer is cut", reads, githubtest.Fault{Status: 200, Header: map[string]string{"Content-Type": "application/json"}, Body: `{"number": 1, "head": {"sha"`}, 1 << 30, "read pull request #1"},
		{"the token is refused", reads, githubtest.Fault{Status: 401, Body: `{"message":"Bad credentials"}`}, 1 << 30, "the token is invalid or expired"},
		{"the way leads elsewhere", reads, githubtest.Fault{Status: 301, Header: map[string]string{"Location": "https://elsewhere.test/x"}}, 1 << 30, "GitHub redirected to another host, elsewhere.test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			n := w.ask("reader", files{"requests/reader.yaml": creation("reader")})
			var left atomic.Int32
			left.Store(tt.times)
			w.Fail(func(r *http.Request) *githubtest.Fault {
				if tt.on(r) && left.Add(-1) >= 0 {
					f := tt.fault
					return &f
				}
				return nil
			})
			_, err := w.tryPreview(n, false)
			switch {
			case tt.want == "" && err != nil:
				t.Fatalf("the preview failed: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("error = %v, want %q", err, tt.want)
			case err != nil && (strings.Contains(err.Error(), "ghs_") || strings.Contains(err.Error(), "PRIVATE KEY")):
				t.Errorf("the error holds a secret: %v", err)
			}
			w.Fail(nil)
			p := w.preview(n)
			if got := w.repo.Comments(n); len(got) != 1 {
				t.Errorf("after the next run there are %d comments", len(got))
			}
			if got := w.repo.Status(p.Head, "countersign/preview"); got == "" {
				t.Error("the next run published no evidence")
			}
		})
	}
}

func TestNothingIsTakenFromMemoryByItsAge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.ask("reader", files{"requests/reader.yaml": creation("reader")})
	w.preview(n)
	before := len(w.Calls())
	if p := w.preview(n); p.Verdict != schemas.VerdictSignoff {
		t.Fatalf("verdict = %s", p.Verdict)
	}
	unchanged := 0
	for _, c := range w.Calls()[before:] {
		if c.Status == http.StatusNotModified {
			unchanged++
		}
	}
	if unchanged == 0 {
		t.Error("no call was conditional")
	}
	w.repo.Review(n, "bob", "APPROVED")
	if p := w.preview(n); p.Verdict != schemas.VerdictReady {
		t.Errorf("a review that came a moment ago is not seen: verdict = %s", p.Verdict)
	}
}

func TestQuarantineAndDriftAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	evil := w.push("main", "alice", files{"requests/evil.yaml": grant("base", user("alice"))})
	w.apply()
	golden(t, "quarantine-commit", strings.Join(w.repo.CommitComments(evil), "\n"))
	if got := w.repo.Issues("open"); !cmp.Equal(got, []string{"Quarantined changes"}) {
		t.Errorf("open issues = %q", got)
	}
	w.apply()
	if got := w.repo.CommitComments(evil); len(got) != 1 {
		t.Errorf("the commit is commented on %d times", len(got))
	}
	// What somebody changes by hand shows in one issue, which is closed when it is mended.
	was := w.stored()
	byHand := strings.Replace(was, "p, base, sales.orders, read\n", "", 1)
	if byHand == was {
		t.Fatalf("the store has no such line:\n%s", was)
	}
	w.overwrite(byHand)
	for range 2 {
		if _, err := w.tryApply(reconciler.RunOptions{Drift: true}); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.repo.Issues("open"); !cmp.Equal(got, []string{"Drift in authz", "Quarantined changes"}) {
		t.Errorf("open issues = %q", got)
	}
	golden(t, "drift-issue", w.repo.IssueBody("Drift in authz"))
	if got := w.repo.Edits("Drift in authz"); got != 0 {
		t.Errorf("the issue was edited %d times though nothing changed", got)
	}
	if _, err := w.tryApply(reconciler.RunOptions{Drift: true, Enforce: true}); err != nil {
		t.Fatal(err)
	}
	if got := w.repo.Issues("open"); !cmp.Equal(got, []string{"Quarantined changes"}) {
		t.Errorf("open issues = %q", got)
	}
	if w.stored() != was {
		t.Errorf("it was not mended:\n%s", w.stored())
	}
}

// TestAMergeChangesTheOtherPreviews has two pull requests that ask for the same: when one is in effect, the other's
// preview says that there is nothing left to do, and its approval stands.
func TestAMergeChangesTheOtherPreviews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.ask("first", files{"requests/first.yaml": grant("base", user("dave"))})
	second := w.ask("second", files{"requests/second.yaml": strings.Replace(grant("base", user("dave")), "name: it", "name: another", 1)})
	w.preview(first)
	w.preview(second)
	for _, n := range []int{first, second} {
		w.repo.Review(n, "bob", "APPROVED")
	}
	w.repo.Merge(first, "merge", "carol")
	r := w.reconciler()
	_, err := server.Pass{Reconciler: r, Options: reconciler.RunOptions{To: "refs/heads/main"}, Forge: w.client,
		Previews: &server.Preview{Forge: w.client, Fetch: w.fetch, Branch: "refs/heads/main", BranchSpec: mainSpec}}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "comment-already", w.comment(second))
	if got := w.comment(first); !strings.Contains(got, "Applied and verified") {
		t.Errorf("the receipt was written over:\n%s", got)
	}
	w.repo.Merge(second, "merge", "carol")
	if got := verdicts(w.apply()); got != "admitted" {
		t.Errorf("the second, approved before the first was merged: %s", got)
	}
}

// TestReviewsAfterTheMerge change nothing of what was admitted and told; one that was taken back is somebody's to look at.
func TestReviewsAfterTheMerge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.ask("reader", files{"requests/reader.yaml": creation("reader")})
	w.preview(n)
	approval := w.repo.Review(n, "bob", "APPROVED")
	w.repo.Merge(n, "merge", "carol")
	w.apply()
	receipt := w.comment(n)
	w.repo.Review(n, "frank", "APPROVED")
	if _, err := w.tryPreview(n, false); !errors.Is(err, server.ErrClosed) {
		t.Errorf("a merged pull request is previewed: %v", err)
	}
	if got := w.repo.Issues("open"); len(got) != 0 {
		t.Errorf("issues are open: %q", got)
	}
	w.repo.Dismiss(n, approval)
	if _, err := w.tryPreview(n, false); !errors.Is(err, server.ErrClosed) {
		t.Errorf("a merged pull request is previewed: %v", err)
	}
	if got := w.repo.Issues("open"); !cmp.Equal(got, []string{"An approval of #1 was dismissed after the merge"}) {
		t.Errorf("open issues = %q", got)
	}
	if rep := w.apply(); len(rep.Admissions) != 0 || !strings.Contains(w.stored(), "reader") {
		t.Error("what was admitted was judged again, or lost")
	}
	if diff := cmp.Diff(receipt, w.comment(n)); diff != "" {
		t.Errorf("the receipt changed:\n%s", diff)
	}
}

// TestWorkflowToken is about GITHUB_TOKEN: it can tell everything but who is in a team.
func TestWorkflowToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.client = w.speak(github.Config{Token: w.Workflow(w.repo)})
	n := w.ask("settings", files{"countersign.yaml": strings.Replace(settings, "countersign[bot]", "github-actions[bot]", 1)})
	p, err := w.tryPreview(n, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.repo.Status(p.Head, "countersign/preview"); got == "" {
		t.Error("the preview is not published")
	}
	// The settings as they stand do not take it for evidence.
	w.repo.Review(n, "carol", "APPROVED")
	w.repo.Merge(n, "merge", "bob")
	rep := w.apply()
	if got := verdicts(rep); !strings.HasPrefix(got, "quarantined") {
		t.Errorf("verdict = %s", got)
	}
}

func TestTeams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// Zoe is in the team at GitHub, which people.yaml does not list.
	w.User("zoe")
	w.repo.Level("write", "zoe")
	w.Team("acme/data", "zoe", "alice")
	n := w.ask("owners", files{"applications/authz.yaml": w.application("team:acme/data"), "people.yaml": people + "    - {login: zoe, emails: [zoe@acme.test]}\n"})
	w.preview(n)
	for _, who := range []string{"bob", "carol"} {
		w.repo.Review(n, who, "APPROVED")
	}
	w.repo.Merge(n, "merge", "frank")
	if got := verdicts(w.apply()); got != "admitted" {
		t.Fatalf("the change of owners: %s", got)
	}
	n = w.ask("reader", files{"requests/reader.yaml": creation("reader")})
	w.preview(n)
	if got := w.repo.Requested(n); !cmp.Equal(got, []string{"team data"}) {
		t.Errorf("reviews are requested of %q", got)
	}
	w.repo.Review(n, "zoe", "APPROVED")
	w.repo.Merge(n, "merge", "frank")
	if got := verdicts(w.apply()); got != "admitted" {
		t.Errorf("approved by the team: %s", got)
	}
	// Whoever left the team when it is judged has no say, and a team with nobody left is no team.
	n = w.ask("more", files{"requests/more.yaml": creation("more")})
	w.preview(n)
	w.repo.Review(n, "zoe", "APPROVED")
	w.repo.Merge(n, "merge", "frank")
	w.Team("acme/data", "alice")
	if got := verdicts(w.apply()); !strings.Contains(got, "0 of 1 sign-offs from team:acme/data") || !strings.Contains(got, "alice authored part of this change") {
		t.Errorf("approved by one who left: %s", got)
	}
}

// TestAnApplicationThatIsDownAtTheMerge is no success: the receipt says so, and becomes one when the application is back.
func TestAnApplicationThatIsDownAtTheMerge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.ask("reader", files{"requests/reader.yaml": creation("reader")})
	w.preview(n)
	w.repo.Review(n, "bob", "APPROVED")
	merge := w.repo.Merge(n, "merge", "carol")
	was := w.stored()
	w.overwrite("this is no policy\n")
	w.apply()
	if got := w.repo.Deployments(merge); !cmp.Equal(got, []string{"access in_progress authz could not be read or finished; the next run tries again"}) {
		t.Errorf("deployments = %q", got)
	}
	golden(t, "comment-down", w.comment(n))
	w.overwrite(was)
	w.apply()
	if got := w.repo.Deployments(merge); !cmp.Equal(got, []string{"access success applied and verified by reading back"}) {
		t.Errorf("deployments = %q", got)
	}
	if got := w.comment(n); !strings.Contains(got, "Applied and verified") {
		t.Errorf("the receipt:\n%s", got)
	}
	if got := w.repo.Issues("open"); len(got) != 0 {
		t.Errorf("issues are open: %q", got)
	}
}

// TestATokenThatMayNotTell applies all the same, and ends well: what it could not tell is in the report.
func TestATokenThatMayNotTell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.push("main", "alice", files{"requests/evil.yaml": grant("base", user("alice"))})
	w.Fail(func(r *http.Request) *githubtest.Fault {
		if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "access_tokens") {
			return &githubtest.Fault{Status: 403, Body: `{"message":"Resource not accessible by integration"}`}
		}
		return nil
	})
	if rep, err := w.tryApply(reconciler.RunOptions{}); err != nil || !strings.HasPrefix(verdicts(rep), "quarantined") {
		t.Errorf("the run: %v", err)
	}
}

// TestTeamsAreReadAnewForEachPass has one process make two passes, as serve does, and somebody join a team in between.
func TestTeamsAreReadAnewForEachPass(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, "team:acme/data")
	w.Team("acme/data", "frank")
	r := w.reconciler()
	pass := func() string {
		t.Helper()
		if err := w.fetch(t.Context(), mainSpec); err != nil {
			t.Fatal(err)
		}
		rep, err := server.Pass{Reconciler: r, Options: reconciler.RunOptions{To: "refs/heads/main"}, Forge: w.client}.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return verdicts(rep)
	}
	pass()
	w.Team("acme/data", "frank", "bob")
	w.land("reader", files{"requests/reader.yaml": creation("reader")})
	if got := pass(); got != "admitted" {
		t.Errorf("approved by one who joined: %s", got)
	}
	w.Team("acme/data", "frank")
	w.land("more", files{"requests/more.yaml": creation("more")})
	if got := pass(); !strings.HasPrefix(got, "quarantined") {
		t.Errorf("approved by one who left: %s", got)
	}
}

// TestAForgeThatIsDownIsNoVerdict has GitHub fail while a change of the configuration is judged: that is an error, and
// nothing is put on record about the change.
func TestAForgeThatIsDownIsNoVerdict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Team("acme/data", "bob")
	n := w.ask("owners", files{"applications/authz.yaml": w.application("team:acme/data")})
	w.preview(n)
	for _, who := range []string{"bob", "carol"} {
		w.repo.Review(n, who, "APPROVED")
	}
	w.repo.Merge(n, "merge", "frank")
	down := func(path string) {
		t.Helper()
		w.Fail(func(r *http.Request) *githubtest.Fault {
			if strings.Contains(r.URL.Path, path) {
				return &githubtest.Fault{Status: 503, Body: "down"}
			}
			return nil
		})
		if rep, err := w.tryApply(reconciler.RunOptions{}); err == nil {
			t.Errorf("with %s down the run ends well: %s", path, verdicts(rep))
		}
		w.Fail(nil)
	}
	for _, path := range []string{"/reviews", "/pulls", "/statuses", "/activity", "/users/"} {
		down(path)
	}
	if got := verdicts(w.apply()); got != "admitted" {
		t.Errorf("when GitHub is up again: %s", got)
	}
	n = w.ask("reader", files{"requests/reader.yaml": creation("reader")})
	w.preview(n)
	w.repo.Review(n, "bob", "APPROVED")
	w.repo.Merge(n, "merge", "frank")
	down("/teams/")
	if got := verdicts(w.apply()); got != "admitted" {
		t.Errorf("when the team can be read again: %s", got)
	}
}

func (w *world) overwrite(content string) {
	w.t.Helper()
	if err := os.WriteFile(w.store, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}
