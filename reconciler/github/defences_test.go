package github

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

func at(minute int) *gh.Timestamp {
	return &gh.Timestamp{Time: time.Date(2026, 11, 23, 9, minute, 0, 0, time.UTC)}
}

// TestLatest is about which reviews are somebody's last word.
func TestLatest(t *testing.T) {
	t.Parallel()
	bob, ghost := &gh.User{Login: gh.String("bob"), ID: gh.Int64(5)}, &gh.User{Login: gh.String("ghost"), ID: gh.Int64(10137)}
	review := func(id int64, who *gh.User, state string, minute int) *gh.PullRequestReview {
		return &gh.PullRequestReview{ID: gh.Int64(id), User: who, State: gh.String(state), SubmittedAt: at(minute)}
	}
	for _, tt := range []struct {
		name string
		list []*gh.PullRequestReview
		want []int64
	}{
		{"one", []*gh.PullRequestReview{review(1, bob, "APPROVED", 1)}, []int64{1}},
		{"of nobody", []*gh.PullRequestReview{review(1, nil, "APPROVED", 1)}, nil},
		{"of a deleted account", []*gh.PullRequestReview{review(1, ghost, "APPROVED", 1)}, nil},
		{"taken back in the same second", []*gh.PullRequestReview{review(2, bob, "CHANGES_REQUESTED", 1), review(1, bob, "APPROVED", 1)}, nil},
		{"given in the same second", []*gh.PullRequestReview{review(2, bob, "APPROVED", 1), review(1, bob, "CHANGES_REQUESTED", 1)}, []int64{2}},
		{"after the merge", []*gh.PullRequestReview{review(1, bob, "APPROVED", 59)}, nil},
		{"pending", []*gh.PullRequestReview{{ID: gh.Int64(1), User: bob, State: gh.String("APPROVED")}}, nil},
	} {
		var got []int64
		for _, r := range latest(tt.list, at(30).Time) {
			got = append(got, r.GetID())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestPreviewsOfStatuses is about which statuses are previews.
func TestPreviewsOfStatuses(t *testing.T) {
	t.Parallel()
	digest := "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	status := func(change func(*gh.RepoStatus)) *gh.RepoStatus {
		s := &gh.RepoStatus{Context: gh.String(previewContext), State: gh.String("success"), Creator: &gh.User{Login: gh.String("App[bot]")}, CreatedAt: at(1),
			Description: gh.String(describeStatus(7, digest, "the comment"))}
		change(s)
		return s
	}
	for _, tt := range []struct {
		name   string
		change func(*gh.RepoStatus)
		want   int
	}{
		{"one", func(*gh.RepoStatus) {}, 1},
		{"of an older version", func(s *gh.RepoStatus) { s.Description = gh.String("pull request #7, content " + digest) }, 1},
		{"without a time", func(s *gh.RepoStatus) { s.CreatedAt = nil }, 0},
		{"of another pull request", func(s *gh.RepoStatus) { s.Description = gh.String(describeStatus(8, digest, "")) }, 0},
		{"of another account", func(s *gh.RepoStatus) { s.Creator.Login = gh.String("mallory") }, 0},
		{"of another name", func(s *gh.RepoStatus) { s.Context = gh.String("other") }, 0},
		{"with more behind it", func(s *gh.RepoStatus) { s.Description = gh.String(describeStatus(7, digest, "") + ", content x") }, 0},
	} {
		if got := previews([]*gh.RepoStatus{status(tt.change)}, 7, "app[bot]"); len(got) != tt.want {
			t.Errorf("%s: %v, want %d", tt.name, got, tt.want)
		}
	}
	if got := len(describeStatus(99999999, digest, "x")); got > maxDescription {
		t.Errorf("the description has %d characters", got)
	}
}

// TestClosingOf is about who closed a ticket.
func TestClosingOf(t *testing.T) {
	t.Parallel()
	user := func(login, kind string) *gh.User { return &gh.User{Login: &login, Type: &kind} }
	event := func(change func(*gh.IssueEvent)) *gh.IssueEvent {
		e := &gh.IssueEvent{Event: gh.String("closed"), Actor: user("bob", "User")}
		change(e)
		return e
	}
	for _, tt := range []struct {
		name     string
		closedBy string
		change   func(*gh.IssueEvent)
		by       string
		bot      bool
		indirect bool
	}{
		{"a person", "bob", func(*gh.IssueEvent) {}, "bob", false, false},
		{"the issue names another", "eve", func(*gh.IssueEvent) {}, "", false, false},
		{"an App for a person", "bob", func(e *gh.IssueEvent) { e.PerformedViaGithubApp = &gh.App{} }, "bob", true, false},
		{"a bot", "bob", func(e *gh.IssueEvent) { e.Actor.Type = gh.String("Bot") }, "bob", true, false},
		{"a commit", "bob", func(e *gh.IssueEvent) { e.CommitID = gh.String("abc") }, "bob", false, true},
		{"an account that is gone", "ghost", func(e *gh.IssueEvent) { e.Actor = user("ghost", "User") }, "", false, false},
	} {
		got := closingOf(&gh.Issue{ClosedBy: user(tt.closedBy, "User"), ClosedAt: at(1)}, []*gh.IssueEvent{event(tt.change)})
		if got.By != tt.by || got.Bot != tt.bot || got.Indirect != tt.indirect {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

type sent func(*http.Request) (*http.Response, error)

func (f sent) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestTheTokenStaysHome is about where requests may go.
func TestTheTokenStaysHome(t *testing.T) {
	t.Parallel()
	req := func(method, at string) *http.Request {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		return &http.Request{Method: method, URL: u}
	}
	out := 0
	h := &home{host: "api.test", scheme: "https", next: sent(func(*http.Request) (*http.Response, error) { out++; return nil, nil })}
	for _, to := range []string{"https://evil.test/x", "http://api.test/x"} {
		if _, err := h.RoundTrip(req("GET", to)); err == nil || out != 0 {
			t.Errorf("a request to %s was sent: %v", to, err)
		}
	}
	if _, err := h.RoundTrip(req("GET", "https://api.test/x")); err != nil || out != 1 {
		t.Errorf("a request to the API was not sent: %v", err)
	}
	for _, tt := range []struct {
		method, to string
		ok         bool
	}{
		{"GET", "https://api.test/new", true}, {"GET", "https://evil.test/x", false}, {"GET", "http://api.test/x", false}, {"POST", "https://api.test/new", true},
	} {
		if err := sameHost(req(tt.method, tt.to), []*http.Request{req(tt.method, "https://api.test/x")}); (err == nil) != tt.ok {
			t.Errorf("%s redirected to %s: %v", tt.method, tt.to, err)
		}
	}
	if err := sameHost(req("GET", "https://api.test/new"), []*http.Request{req("PATCH", "https://api.test/x")}); err == nil {
		t.Error("a write becomes a read")
	}
	if err := sameHost(req("GET", "https://api.test/new"), slices.Repeat([]*http.Request{req("GET", "https://api.test/x")}, 5)); err == nil {
		t.Error("redirects go on and on")
	}
}

// TestNobodyIsAskedInVain asks nobody for a review of a draft, or of what is closed.
func TestNobodyIsAskedInVain(t *testing.T) {
	t.Parallel()
	calls := 0
	c, err := New(Config{Repository: "acme/access", Token: "x", Transport: sent(func(r *http.Request) (*http.Response, error) {
		calls++
		return &http.Response{StatusCode: http.StatusCreated, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	p := &schemas.Preview{Verdict: schemas.VerdictSignoff, Unmet: []schemas.Requirement{{From: []string{"user:bob"}}}}
	for _, tt := range []struct {
		name, state string
		draft       bool
		want        int
	}{{"a draft", "open", true, 0}, {"closed", "closed", false, 0}, {"open", "open", false, 1}} {
		calls = 0
		if err := c.requestReviews(t.Context(), &gh.PullRequest{Number: gh.Int(1), State: &tt.state, Draft: &tt.draft}, p); err != nil || calls != tt.want {
			t.Errorf("%s: %d calls, want %d: %v", tt.name, calls, tt.want, err)
		}
	}
}

// answering returns a client whose calls are answered by path.
func answering(t *testing.T, answers map[string]string) *Client {
	t.Helper()
	c, err := New(Config{Repository: "acme/access", Token: "x", Transport: sent(func(r *http.Request) (*http.Response, error) {
		body, ok := answers[r.URL.Path]
		if !ok {
			t.Errorf("unexpected call: %s", r.URL)
		}
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestWhichPullRequestLanded is about which pull request a commit of the branch came by.
func TestWhichPullRequestLanded(t *testing.T) {
	t.Parallel()
	const listed = `{"number": 7, "merged_at": "2026-11-23T09:00:00Z", "base": {"ref": "main"}}`
	const pull = `{"number": 7, "merged": true, "merged_at": "2026-11-23T09:00:00Z", "commits": 1, "merge_commit_sha": "tip",
		"head": {"sha": "head", "repo": {"full_name": "acme/access"}}, "base": {"ref": "main", "repo": {"full_name": "acme/access"}}}`
	for _, tt := range []struct {
		name, of, from, to string // what the pull request, or its entry in the list, has in place of what
		found              bool
	}{
		{"it", pull, "", "", true},
		{"not merged, as the list has it", listed, `"2026-11-23T09:00:00Z"`, `null`, false},
		{"not merged", pull, `"merged": true`, `"merged": false`, false},
		{"into another branch, as the list has it", listed, `"ref": "main"`, `"ref": "other"`, false},
		{"into another branch", pull, `"ref": "main"`, `"ref": "other"`, false},
		{"into another repository", pull, `"base": {"ref": "main", "repo": {"full_name": "acme/access"}}`, `"base": {"ref": "main", "repo": {"full_name": "mallory/access"}}`, false},
		{"by another merge", pull, `"tip"`, `"another"`, false},
		{"of as many commits as GitHub lists", pull, `"commits": 1`, `"commits": 250`, true},
		{"of more commits than GitHub lists", pull, `"commits": 1`, `"commits": 251`, false},
	} {
		change := func(s string) string {
			if s != tt.of {
				return s
			}
			return strings.Replace(s, tt.from, tt.to, 1)
		}
		c := answering(t, map[string]string{"/repos/acme/access/commits/tip/pulls": "[" + change(listed) + "]", "/repos/acme/access/pulls/7": change(pull),
			"/repos/acme/access/commits/head/statuses": "[]"})
		ev := &Evidence{client: c, branch: "main"}
		v, err := ev.landedBy(t.Context(), forge.Change{Commit: &history.Commit{Hash: "tip", Parents: []string{"before"}},
			Range: func(context.Context, string, int) (signoff.Landing, error) {
				return signoff.Landing{}, history.ErrNotFound
			}})
		if err != nil || (v != nil) != tt.found {
			t.Errorf("%s: found %t, want %t (%v)", tt.name, v != nil, tt.found, err)
		}
	}
}

// TestSeenHasABound has a review moved over merges of the base without end.
func TestSeenHasABound(t *testing.T) {
	t.Parallel()
	c := answering(t, map[string]string{"/repos/acme/access/git/commits/merge": `{"sha": "merge", "parents": [{"sha": "merge"}, {"sha": "base"}]}`})
	v := (&Evidence{client: c}).view(&gh.PullRequest{}, "content", nil, nil)
	v.contents["merge"], v.previews["merge"] = "content", nil
	why, _, err := v.whyNotSeen(t.Context(), &gh.PullRequestReview{CommitID: gh.String("merge"), SubmittedAt: at(1)})
	if err != nil || why != "it is too far back to be followed" {
		t.Errorf("why = %q, %v", why, err)
	}
}

// TestATicketThatMoved is about which issue a ticket's number names.
func TestATicketThatMoved(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, answer string
		found        bool
	}{
		{"it", `{"number": 7, "state": "open", "user": {"login": "App[bot]"}}`, true},
		{"one that was transferred", `{"number": 8, "state": "open", "user": {"login": "App[bot]"}}`, false},
		{"somebody else's", `{"number": 7, "state": "open", "user": {"login": "mallory"}}`, false},
		{"a pull request", `{"number": 7, "state": "open", "user": {"login": "App[bot]"}, "pull_request": {"url": "x"}}`, false},
	} {
		c := answering(t, map[string]string{"/repos/acme/access/issues/7": tt.answer})
		got, err := c.Tickets("app[bot]").Read(t.Context(), 7)
		if err != nil || (got != nil) != tt.found {
			t.Errorf("%s: found %t, want %t (%v)", tt.name, got != nil, tt.found, err)
		}
	}
}
