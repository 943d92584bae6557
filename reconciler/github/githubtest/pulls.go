package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

func (c *call) sortedPulls() []*pull {
	var out []*pull
	for _, p := range c.repo.pulls {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *pull) int { return b.number - a.number })
	return out
}

func (c *call) pullsOfCommit() (int, any) {
	sha := c.params["commit_sha"]
	if c.commit(sha) == nil {
		return fail(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
	}
	out := []any{}
	for _, p := range c.sortedPulls() {
		if slices.Contains(p.commits, sha) || slices.Contains(p.landed, sha) {
			out = append(out, c.pullObject(p, false))
		}
	}
	return http.StatusOK, out
}

func (c *call) listPulls() (int, any) {
	out := []any{}
	for _, p := range c.sortedPulls() {
		state := "open"
		if p.closed {
			state = "closed"
		}
		if want := c.query.Get("state"); (want == "" && state != "open") || (want != "" && want != "all" && want != state) {
			continue
		}
		if b := c.query.Get("base"); b != "" && b != p.base {
			continue
		}
		out = append(out, c.pullObject(p, false))
	}
	return http.StatusOK, out
}

func (c *call) getPull() (int, any) {
	p := c.repo.pulls[c.number()]
	if p == nil {
		return fail(http.StatusNotFound, "Not Found")
	}
	return http.StatusOK, c.pullObject(p, true)
}

func (c *call) pullObject(p *pull, detailed bool) object {
	r := c.repo
	state := "open"
	if p.closed {
		state = "closed"
	}
	link := func() any { return object{"href": "https://github.test/"} }
	o := object{"number": p.number, "id": p.number, "title": p.title, "state": state, "locked": false, "draft": p.draft, "user": c.user(p.author), "html_url": fmt.Sprintf("https://github.test/%s/pull/%d", r.Name, p.number),
		"body": nil, "created_at": p.created, "updated_at": p.created, "closed_at": nil, "merged_at": nil, "merge_commit_sha": strings.Repeat("e", 40), "author_association": "MEMBER",
		"head":   object{"label": p.head, "ref": p.head, "sha": p.sha, "user": c.user(p.author), "repo": c.repository(p.from)},
		"base":   object{"label": p.base, "ref": p.base, "sha": p.baseSHA, "user": c.org(strings.Split(r.Name, "/")[0]), "repo": c.repository(r)},
		"labels": c.labels(p.number), "requested_reviewers": []any{}, "requested_teams": []any{}, "assignee": nil, "milestone": nil, "auto_merge": nil, "active_lock_reason": nil,
		"_links": object{"self": link(), "html": link(), "issue": link(), "comments": link(), "review_comments": link(), "review_comment": link(), "commits": link(), "statuses": link()}}
	for _, l := range p.reviewers {
		o["requested_reviewers"] = append(o["requested_reviewers"].([]any), c.user(l))
	}
	for _, l := range p.reviewTeam {
		o["requested_teams"] = append(o["requested_teams"].([]any), object{"id": 1, "node_id": "T", "url": "https://github.test/", "members_url": "https://github.test/", "name": l, "slug": l,
			"permission": "push", "html_url": "https://github.test/", "repositories_url": "https://github.test/", "description": nil, "parent": nil, "type": "organization", "organization_id": 1})
	}
	if p.merged {
		o["merged_at"], o["closed_at"], o["merge_commit_sha"] = p.mergedAt, p.mergedAt, p.mergeCommit
	}
	if detailed {
		o["merged"], o["mergeable"], o["mergeable_state"], o["merged_by"] = p.merged, true, "clean", nil
		o["commits"], o["changed_files"], o["additions"], o["deletions"], o["comments"], o["review_comments"], o["maintainer_can_modify"] = len(p.commits), 1, 1, 0, 0, 0, false
		if p.merged {
			o["merged_by"] = c.user(p.mergedBy)
		}
	}
	return o
}

func (c *call) pullCommits() (int, any) {
	p := c.repo.pulls[c.number()]
	out := []any{}
	for _, sha := range p.commits[:min(len(p.commits), 250)] {
		out = append(out, c.commit(sha))
	}
	return http.StatusOK, out
}

// pullFiles leaves out what comes after 300, as GitHub's comparison does.
func (c *call) pullFiles() (int, any) {
	p := c.repo.pulls[c.number()]
	out := []any{}
	for _, f := range strings.Split(c.repo.Run("diff", "--name-only", p.baseSHA+"..."+p.sha), "\n") {
		if len(out) < 300 {
			out = append(out, object{"filename": f, "status": "added", "sha": strings.Repeat("a", 40)})
		}
	}
	return http.StatusOK, out
}

func (c *call) reviewObject(p *pull, v *review) object {
	o := object{"id": v.id, "node_id": "R", "user": c.user(v.login), "body": "", "state": v.state, "commit_id": v.commit, "submitted_at": v.at, "author_association": "MEMBER",
		"html_url": "https://github.test/", "pull_request_url": "https://github.test/", "_links": object{"html": object{"href": "x"}, "pull_request": object{"href": "x"}}}
	if v.withoutCommit {
		o["commit_id"] = nil
	}
	return o
}

func (c *call) listReviews() (int, any) {
	p := c.repo.pulls[c.number()]
	out := []any{}
	for _, v := range p.reviews {
		out = append(out, c.reviewObject(p, v))
	}
	return http.StatusOK, out
}

func (c *call) createReview() (int, any) {
	p := c.repo.pulls[c.number()]
	state := map[string]string{"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}[c.arg("event")]
	if state == "" {
		state = "PENDING"
	}
	if state == "APPROVED" && p.author == c.login() {
		return fail(http.StatusUnprocessableEntity, "Can not approve your own pull request")
	}
	v := &review{id: c.next(), login: c.login(), state: state, commit: p.sha, at: c.tick()}
	p.reviews = append(p.reviews, v)
	return http.StatusOK, c.reviewObject(p, v)
}

func texts(v any) []string {
	var out []string
	l, _ := v.([]any)
	for _, x := range l {
		out = append(out, fmt.Sprint(x))
	}
	return out
}

func (c *call) requestReviewers() (int, any) {
	p := c.repo.pulls[c.number()]
	for _, l := range texts(c.body["reviewers"]) {
		if l == p.author || c.repo.levels[l] == "" {
			return fail(http.StatusUnprocessableEntity, "Reviews may only be requested from collaborators.")
		}
		p.reviewers = append(p.reviewers, l)
	}
	p.reviewTeam = append(p.reviewTeam, texts(c.body["team_reviewers"])...)
	c.tick()
	return http.StatusCreated, c.pullObject(p, false)
}

func (c *call) mergePull() (int, any) {
	p := c.repo.pulls[c.number()]
	if want := c.arg("sha"); want != "" && want != p.sha {
		return fail(http.StatusConflict, "Head branch was modified. Review and try the merge again.")
	}
	method := c.arg("merge_method")
	if method == "" {
		method = "merge"
	}
	return http.StatusOK, object{"sha": c.repo.merge(p, method, c.login()), "merged": true, "message": "Pull Request successfully merged"}
}
