package githubtest

import (
	"fmt"
	"slices"
	"strings"
)

// The views that tests check, in GitHub's terms.

// Status is the latest status of a name on a commit: its state and description; "" for none.
func (r *Repository) Status(sha, name string) string {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	for _, s := range slices.Backward(r.statuses[sha]) {
		if s["context"] == name {
			return strings.TrimSpace(fmt.Sprintf("%v %v", s["state"], s["description"]))
		}
	}
	return ""
}

// Labels are those of a pull request or issue.
func (r *Repository) Labels(number int) []string {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return slices.Clone(r.issues[number].labels)
}

// Requested are the people and teams who were asked for a review.
func (r *Repository) Requested(number int) []string {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	out := slices.Clone(r.pulls[number].reviewers)
	for _, t := range r.pulls[number].reviewTeam {
		out = append(out, "team "+t)
	}
	return out
}

// Comments are those of a pull request, as login: body.
func (r *Repository) Comments(number int) []string {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	var out []string
	for _, k := range r.issues[number].comments {
		out = append(out, k.login+": "+k.body)
	}
	return out
}

// Comment comments on a pull request as somebody.
func (r *Repository) Comment(number int, login, body string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	i := r.issues[number]
	at := r.server.tick()
	i.comments = append(i.comments, &comment{id: r.server.next(), login: login, body: body, created: at, updated: at})
}

// CommitComments are those on a commit.
func (r *Repository) CommitComments(sha string) []string {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	var out []string
	for _, k := range r.comments[sha] {
		out = append(out, fmt.Sprint(k["body"]))
	}
	return out
}

// CheckRuns are those of a commit: name, conclusion and title.
func (r *Repository) CheckRuns(sha string) []string {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	var out []string
	for _, k := range r.checks {
		if k.sha == sha {
			out = append(out, k.name+" "+k.conclusion+" "+k.title)
		}
	}
	return out
}

// Annotations is how many the check runs of a commit have.
func (r *Repository) Annotations(sha string) int {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	n := 0
	for _, k := range r.checks {
		if k.sha == sha {
			n += k.annotations
		}
	}
	return n
}

// Deployments are those of a commit: environment, latest state and description.
func (r *Repository) Deployments(sha string) []string {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	var out []string
	for _, d := range r.deploys {
		if d.sha == sha && len(d.statuses) > 0 {
			last := d.statuses[len(d.statuses)-1]
			out = append(out, fmt.Sprintf("%s %v %v", d.env, last["state"], last["description"]))
		}
	}
	return out
}

// Issues returns the titles of issues in a state, without pull requests, sorted.
func (r *Repository) Issues(state string) []string {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	var out []string
	for n, i := range r.issues {
		if r.pulls[n] == nil && i.state == state {
			out = append(out, i.title)
		}
	}
	slices.Sort(out)
	return out
}

func (r *Repository) issue(title string) *issue {
	for n, i := range r.issues {
		if r.pulls[n] == nil && i.title == title {
			return i
		}
	}
	r.server.t.Fatalf("issue %q not found", title)
	return nil
}

// IssueBody is the text of an issue.
func (r *Repository) IssueBody(title string) string {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return r.issue(title).body
}

// Edits is how often an issue was edited.
func (r *Repository) Edits(title string) int {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return r.issue(title).edits
}

// CloseIssue closes an issue as somebody, for the reason completed or not_planned. With a commit it is the commit's
// message that does it.
func (r *Repository) CloseIssue(title, login, reason, commit string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	i := r.issue(title)
	was := i.state
	i.state = "closed"
	i.moved(was, reason, login, commit, r.server.tick())
}

// ReopenIssue opens an issue again as somebody.
func (r *Repository) ReopenIssue(title, login string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	i := r.issue(title)
	was := i.state
	i.state = "open"
	i.moved(was, "", login, "", r.server.tick())
}

// EditIssue puts another text into an issue as alice.
func (r *Repository) EditIssue(title, body string) { r.EditIssueAs(title, "alice", body) }

// EditIssueAs puts another text into an issue as somebody.
func (r *Repository) EditIssueAs(title, login, body string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	i := r.issue(title)
	i.body, i.touched = body, r.server.tick()
	i.texts = append(i.texts, edit{login, i.touched})
}

// DeleteIssue deletes an issue.
func (r *Repository) DeleteIssue(title string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	delete(r.issues, r.issue(title).number)
}

// IssueNumber is the number of an issue.
func (r *Repository) IssueNumber(title string) int {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return r.issue(title).number
}

// IssueReason is why an issue is in its state.
func (r *Repository) IssueReason(title string) string {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return r.issue(title).reason
}
