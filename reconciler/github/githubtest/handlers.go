package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// handlers are the operations that are served, by GitHub's names of them.
func handlers() map[string]handler {
	return map[string]handler{
		"apps/get-authenticated":                          (*call).getApp,
		"apps/create-installation-access-token":           (*call).createToken,
		"users/get-authenticated":                         func(c *call) (int, any) { return 200, c.user(c.login()) },
		"users/get-by-username":                           (*call).getUser,
		"repos/get":                                       func(c *call) (int, any) { return 200, c.repository(c.repo) },
		"repos/get-commit":                                (*call).getCommit,
		"git/get-commit":                                  (*call).gitCommit,
		"repos/list-pull-requests-associated-with-commit": (*call).pullsOfCommit,
		"repos/list-activities":                           (*call).listActivities,
		"repos/get-collaborator-permission-level":         (*call).permission,
		"repos/get-branch-rules":                          func(c *call) (int, any) { return 200, orEmpty(c.repo.rules) },
		"repos/get-repo-rulesets":                         func(c *call) (int, any) { return 200, orEmpty(c.repo.rulesets) },
		"repos/get-repo-ruleset":                          (*call).ruleset,
		"repos/list-commit-statuses-for-ref":              func(c *call) (int, any) { return 200, newest(c.repo.statuses[c.params["ref"]]) },
		"repos/create-commit-status":                      (*call).createStatus,
		"repos/list-comments-for-commit":                  func(c *call) (int, any) { return 200, anys(c.repo.comments[c.params["commit_sha"]]) },
		"repos/create-commit-comment":                     (*call).commentCommit,
		"repos/list-deployments":                          (*call).listDeployments,
		"repos/create-deployment":                         (*call).createDeployment,
		"repos/list-deployment-statuses":                  (*call).listDeploymentStatuses,
		"repos/create-deployment-status":                  (*call).createDeploymentStatus,
		"teams/list-members-in-org":                       (*call).teamMembers,
		"pulls/list":                                      (*call).listPulls,
		"pulls/get":                                       (*call).getPull,
		"pulls/list-commits":                              (*call).pullCommits,
		"pulls/list-files":                                (*call).pullFiles,
		"pulls/list-reviews":                              (*call).listReviews,
		"pulls/create-review":                             (*call).createReview,
		"pulls/request-reviewers":                         (*call).requestReviewers,
		"pulls/merge":                                     (*call).mergePull,
		"issues/list-for-repo":                            (*call).listIssues,
		"issues/get":                                      (*call).getIssue,
		"issues/list-events":                              (*call).issueEvents,
		"issues/create":                                   (*call).createIssue,
		"issues/update":                                   (*call).updateIssue,
		"issues/list-comments":                            (*call).listComments,
		"issues/create-comment":                           (*call).createComment,
		"issues/update-comment":                           (*call).updateComment,
		"issues/list-labels-on-issue":                     (*call).listLabels,
		"issues/add-labels":                               (*call).addLabels,
		"issues/remove-label":                             (*call).removeLabel,
		"checks/list-for-ref":                             (*call).listChecks,
		"checks/create":                                   (*call).createCheck,
		"checks/update":                                   (*call).updateCheck,
	}
}

type object = map[string]any

func orEmpty(l []any) []any {
	if l == nil {
		return []any{}
	}
	return l
}

func anys[T any](l []T) []any {
	out := make([]any, len(l))
	for i := range l {
		out[i] = l[i]
	}
	return out
}

func newest[T any](l []T) []any {
	out := anys(l)
	slices.Reverse(out)
	return out
}

// user is a simple user; nil for somebody whose account is gone.
func (s *Server) user(login string) any {
	a := s.accounts[login]
	if a == nil {
		return nil
	}
	u := object{"login": a.login, "id": a.id, "node_id": "U_1", "type": a.kind, "site_admin": false, "gravatar_id": ""}
	for _, k := range []string{"avatar_url", "url", "html_url", "followers_url", "subscriptions_url", "organizations_url", "repos_url", "received_events_url"} {
		u[k] = "https://github.test/" + a.login
	}
	for _, k := range []string{"following_url", "gists_url", "starred_url", "events_url"} {
		u[k] = "https://github.test/" + a.login + "{/x}"
	}
	return u
}

func (c *call) getUser() (int, any) {
	a := c.accounts[c.params["username"]]
	if a == nil || a.suspended {
		return fail(http.StatusNotFound, "Not Found")
	}
	u := c.user(a.login).(object)
	for k, v := range (object{"user_view_type": "public", "created_at": "2020-01-01T00:00:00Z", "updated_at": "2020-01-01T00:00:00Z", "name": nil, "company": nil, "blog": nil,
		"location": nil, "email": nil, "hireable": nil, "bio": nil, "public_repos": 0, "public_gists": 0, "followers": 0, "following": 0}) {
		u[k] = v
	}
	return http.StatusOK, u
}

func (s *Server) repository(r *Repository) object {
	owner, name, _ := strings.Cut(r.Name, "/")
	return object{"id": 1, "name": name, "full_name": r.Name, "private": true, "owner": s.org(owner), "default_branch": "main", "clone_url": s.Git + r.Name + ".git",
		"html_url": "https://github.test/" + r.Name, "url": s.API + "repos/" + r.Name}
}

func (s *Server) org(name string) any {
	if u := s.user(name); u != nil {
		return u
	}
	s.account(name, "Organization")
	return s.user(name)
}

func (c *call) getCommit() (int, any) {
	out, err := c.repo.try(nil, "rev-parse", "--verify", "-q", c.params["ref"]+"^{commit}")
	if err != nil {
		return fail(http.StatusUnprocessableEntity, "No commit found for SHA: "+c.params["ref"])
	}
	return http.StatusOK, c.commit(out)
}

func (s *Server) commit(sha string) object {
	for _, r := range s.repos {
		out, err := r.try(nil, "log", "-1", "--format=%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B", sha)
		if err != nil {
			continue
		}
		f := strings.SplitN(out, "\x00", 9)
		user := func(email string) any {
			if a := s.who(email); a != nil {
				return s.user(a.login)
			}
			return nil
		}
		parents := []any{}
		for _, p := range strings.Fields(f[1]) {
			parents = append(parents, object{"sha": p, "url": "https://github.test/" + p, "html_url": "https://github.test/" + p})
		}
		byGitHub := f[6] == "noreply@github.com" && !r.unsigned
		return object{"sha": sha, "url": "https://github.test/" + sha, "html_url": "https://github.test/" + sha, "parents": parents, "author": user(f[3]), "committer": user(f[6]),
			"commit": object{"message": f[8], "tree": object{"sha": f[0], "url": "https://github.test/" + f[0]}, "comment_count": 0,
				"author": object{"name": f[2], "email": f[3], "date": f[4]}, "committer": object{"name": f[5], "email": f[6], "date": f[7]},
				"verification": object{"verified": byGitHub, "reason": "valid", "payload": nil, "signature": nil, "verified_at": nil}}}
	}
	return nil
}

func (c *call) gitCommit() (int, any) {
	whole := c.commit(c.params["commit_sha"])
	if whole == nil {
		return fail(http.StatusNotFound, "Not Found")
	}
	out := whole["commit"].(object)
	out["sha"], out["parents"] = whole["sha"], whole["parents"]
	return http.StatusOK, out
}

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

func (c *call) pullObject(p *pull, whole bool) object {
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
	if whole {
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

// listActivities has cursors in place of page numbers.
func (c *call) listActivities() (int, any) {
	out := []any{}
	for _, a := range c.repo.activity {
		if ref := c.query.Get("ref"); ref == "" || ref == a["ref"] {
			out = append(out, a)
		}
	}
	from, _ := strconv.Atoi(c.query.Get("after"))
	size, err := strconv.Atoi(c.query.Get("per_page"))
	if err != nil {
		size = 30
	}
	out = out[min(from, len(out)):]
	if len(out) > size {
		c.header.Set("Link", fmt.Sprintf(`<%srepos/%s/activity?after=%d>; rel="next"`, c.API, c.repo.Name, from+size))
		out = out[:size]
	}
	return http.StatusOK, out
}

func (c *call) permission() (int, any) {
	login := c.params["username"]
	if c.accounts[login] == nil {
		return fail(http.StatusNotFound, "Not Found")
	}
	level := c.repo.levels[login]
	if level == "" {
		level = "none"
	}
	legacy := map[string]string{"maintain": "write", "triage": "read"}[level]
	if legacy == "" {
		legacy = level
	}
	return http.StatusOK, object{"permission": legacy, "role_name": level, "user": nil}
}

func (c *call) ruleset() (int, any) {
	id, _ := strconv.Atoi(c.params["ruleset_id"])
	for _, r := range c.repo.rulesets {
		o := r.(object)
		if fmt.Sprint(o["id"]) == fmt.Sprint(id) {
			if c.actor.app != "" || c.repo.levels[c.login()] != "admin" {
				out := object{}
				for k, v := range o {
					if k != "bypass_actors" {
						out[k] = v
					}
				}
				return http.StatusOK, out
			}
			return http.StatusOK, o
		}
	}
	return fail(http.StatusNotFound, "Not Found")
}

func (c *call) createStatus() (int, any) {
	if c.commit(c.params["sha"]) == nil {
		return fail(http.StatusUnprocessableEntity, "No commit found for SHA: "+c.params["sha"])
	}
	if len([]rune(c.arg("description"))) > 140 {
		return fail(http.StatusUnprocessableEntity, "description is too long (maximum is 140 characters)")
	}
	at := c.tick()
	o := object{"url": "https://github.test/", "avatar_url": nil, "id": c.next(), "node_id": "S", "state": c.arg("state"), "description": c.arg("description"), "target_url": nil,
		"context": c.arg("context"), "created_at": at, "updated_at": at, "creator": c.user(c.login())}
	c.repo.statuses[c.params["sha"]] = append(c.repo.statuses[c.params["sha"]], o)
	return http.StatusCreated, o
}

func (c *call) commentCommit() (int, any) {
	sha := c.params["commit_sha"]
	at := c.tick()
	o := object{"html_url": "https://github.test/", "url": "https://github.test/", "id": c.next(), "node_id": "C", "body": c.arg("body"), "path": nil, "position": nil, "line": nil, "commit_id": sha,
		"user": c.user(c.login()), "created_at": at, "updated_at": at, "author_association": "NONE"}
	c.repo.comments[sha] = append(c.repo.comments[sha], o)
	return http.StatusCreated, o
}

func (c *call) deploymentObject(d *deployment) object {
	return object{"url": "https://github.test/", "id": d.id, "node_id": "D", "sha": d.sha, "ref": d.sha, "task": "deploy", "payload": "", "environment": d.env, "description": nil, "creator": c.user(d.login),
		"created_at": c.stamp(), "updated_at": c.stamp(), "statuses_url": "https://github.test/", "repository_url": "https://github.test/"}
}

func (c *call) listDeployments() (int, any) {
	out := []any{}
	for _, d := range c.repo.deploys {
		if q := c.query; (q.Get("sha") == "" || q.Get("sha") == d.sha) && (q.Get("environment") == "" || q.Get("environment") == d.env) {
			out = append(out, c.deploymentObject(d))
		}
	}
	return http.StatusOK, out
}

func (c *call) createDeployment() (int, any) {
	c.tick()
	d := &deployment{id: c.next(), sha: c.arg("ref"), env: c.arg("environment"), login: c.login()}
	c.repo.deploys = append(c.repo.deploys, d)
	return http.StatusCreated, c.deploymentObject(d)
}

func (c *call) deployment() *deployment {
	for _, d := range c.repo.deploys {
		if strconv.FormatInt(d.id, 10) == c.params["deployment_id"] {
			return d
		}
	}
	return nil
}

func (c *call) listDeploymentStatuses() (int, any) {
	d := c.deployment()
	if d == nil {
		return fail(http.StatusNotFound, "Not Found")
	}
	return http.StatusOK, newest(d.statuses)
}

func (c *call) createDeploymentStatus() (int, any) {
	d := c.deployment()
	at := c.tick()
	o := object{"url": "https://github.test/", "id": c.next(), "node_id": "DS", "state": c.arg("state"), "creator": c.user(c.login()), "description": c.arg("description"), "target_url": "", "created_at": at,
		"updated_at": at, "deployment_url": "https://github.test/", "repository_url": "https://github.test/"}
	d.statuses = append(d.statuses, o)
	return http.StatusCreated, o
}

func (c *call) teamMembers() (int, any) {
	members, ok := c.teams[c.params["org"]+"/"+c.params["team_slug"]]
	if !ok || c.actor.workflow {
		return fail(http.StatusNotFound, "Not Found")
	}
	out := []any{}
	for _, m := range members {
		out = append(out, c.user(m))
	}
	return http.StatusOK, out
}

func (c *call) labels(number int) []any {
	out := []any{}
	for _, l := range c.repo.issues[number].labels {
		out = append(out, object{"id": 1, "node_id": "L", "url": "https://github.test/", "name": l, "description": "", "color": "ededed", "default": false})
	}
	return out
}

func (c *call) issueObject(i *issue) object {
	o := object{"id": i.number, "node_id": "I", "number": i.number, "title": i.title, "body": i.body, "state": i.state, "user": c.user(i.login), "labels": c.labels(i.number), "html_url": "https://github.test/",
		"created_at": i.created, "updated_at": i.updated(), "closed_at": nil, "state_reason": nil, "comments": len(i.comments), "locked": false, "author_association": "NONE", "assignee": nil, "milestone": nil}
	if i.state == "closed" && len(i.events) > 0 {
		last := i.events[len(i.events)-1]
		o["closed_at"], o["state_reason"] = last.at, i.reason
		o["closed_by"] = c.user(last.login)
	}
	if c.repo.pulls[i.number] != nil {
		o["pull_request"] = object{"url": "https://github.test/", "html_url": "https://github.test/", "diff_url": "https://github.test/", "patch_url": "https://github.test/"}
	}
	return o
}

func (c *call) listIssues() (int, any) {
	var numbers []int
	for n := range c.repo.issues {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	slices.Reverse(numbers)
	out := []any{}
	for _, n := range numbers {
		i := c.repo.issues[n]
		if s := c.query.Get("state"); s != "" && s != "all" && s != i.state {
			continue
		}
		if s := c.query.Get("creator"); s != "" && s != i.login {
			continue
		}
		if s := c.query.Get("labels"); s != "" && !slices.Contains(i.labels, s) {
			continue
		}
		if s := c.query.Get("since"); s != "" && i.updated() < s {
			continue
		}
		out = append(out, c.issueObject(i))
	}
	return http.StatusOK, out
}

func (c *call) createIssue() (int, any) {
	c.repo.last++
	i := &issue{number: c.repo.last, title: c.arg("title"), body: c.arg("body"), state: "open", login: c.login(), labels: texts(c.body["labels"]), created: c.tick()}
	if len([]rune(i.body)) > 65536 {
		return fail(http.StatusUnprocessableEntity, "body is too long (maximum is 65536 characters)")
	}
	for _, who := range texts(c.body["assignees"]) {
		if c.accounts[who] == nil {
			return fail(http.StatusUnprocessableEntity, "Validation Failed")
		}
		i.assignees = append(i.assignees, who)
	}
	c.repo.issues[i.number] = i
	return http.StatusCreated, c.issueObject(i)
}

func (c *call) updateIssue() (int, any) {
	i := c.repo.issues[c.number()]
	if i == nil {
		return fail(http.StatusNotFound, "Not Found")
	}
	i.edits++
	was := i.state
	for name, to := range map[string]*string{"title": &i.title, "body": &i.body, "state": &i.state} {
		if v, ok := c.body[name].(string); ok {
			*to = v
		}
	}
	i.moved(was, c.arg("state_reason"), c.login(), "", c.tick())
	return http.StatusOK, c.issueObject(i)
}

// moved notes that an issue was closed or reopened, when it was.
func (i *issue) moved(was, reason, login, commit, at string) {
	i.touched = at
	if i.state == was {
		return
	}
	name := "closed"
	i.reason = reason
	if i.state == "open" {
		name, i.reason = "reopened", "reopened"
	} else if reason == "" {
		i.reason = "completed"
	}
	i.events = append(i.events, issueEvent{name, login, commit, at})
}

func (i *issue) updated() string { return max(i.created, i.touched) }

func (c *call) getIssue() (int, any) {
	i := c.repo.issues[c.number()]
	if i == nil {
		return fail(http.StatusGone, "This issue was deleted")
	}
	return http.StatusOK, c.issueObject(i)
}

func (c *call) issueEvents() (int, any) {
	i := c.repo.issues[c.number()]
	if i == nil {
		return fail(http.StatusNotFound, "Not Found")
	}
	out := []any{}
	for n, e := range i.events {
		if c.accounts[e.login] == nil {
			e.login = "ghost" // who GitHub names in the place of accounts that are gone
			c.account(e.login, "User")
		}
		o := object{"id": n + 1, "node_id": "E", "url": "https://github.test/", "actor": c.user(e.login), "event": e.name, "commit_id": nil, "commit_url": nil,
			"created_at": e.at, "performed_via_github_app": nil}
		if e.commit != "" {
			o["commit_id"], o["commit_url"] = e.commit, "https://github.test/"
		}
		out = append(out, o)
	}
	return http.StatusOK, out
}

func (c *call) commentObject(k *comment) object {
	return object{"id": k.id, "node_id": "IC", "url": "https://github.test/", "html_url": "https://github.test/", "body": k.body, "user": c.user(k.login), "created_at": k.created, "updated_at": k.updated,
		"issue_url": "https://github.test/", "author_association": "NONE"}
}

func (c *call) listComments() (int, any) {
	i := c.repo.issues[c.number()]
	if i == nil {
		return fail(http.StatusNotFound, "Not Found")
	}
	out := []any{}
	for _, k := range i.comments {
		out = append(out, c.commentObject(k))
	}
	return http.StatusOK, out
}

func (c *call) createComment() (int, any) {
	i := c.repo.issues[c.number()]
	if len([]rune(c.arg("body"))) > 65536 {
		return fail(http.StatusUnprocessableEntity, "body is too long (maximum is 65536 characters)")
	}
	k := &comment{id: c.next(), login: c.login(), body: c.arg("body"), created: c.tick()}
	k.updated = k.created
	i.comments = append(i.comments, k)
	return http.StatusCreated, c.commentObject(k)
}

func (c *call) updateComment() (int, any) {
	for _, i := range c.repo.issues {
		for _, k := range i.comments {
			if strconv.FormatInt(k.id, 10) == c.params["comment_id"] {
				if len([]rune(c.arg("body"))) > 65536 {
					return fail(http.StatusUnprocessableEntity, "body is too long (maximum is 65536 characters)")
				}
				k.body, k.updated = c.arg("body"), c.tick()
				return http.StatusOK, c.commentObject(k)
			}
		}
	}
	return fail(http.StatusNotFound, "Not Found")
}

func (c *call) listLabels() (int, any) { return http.StatusOK, c.labels(c.number()) }

func (c *call) addLabels() (int, any) {
	i := c.repo.issues[c.number()]
	for _, l := range texts(c.body["labels"]) {
		if !slices.Contains(i.labels, l) {
			i.labels = append(i.labels, l)
		}
	}
	c.tick()
	return http.StatusOK, c.labels(c.number())
}

func (c *call) removeLabel() (int, any) {
	i := c.repo.issues[c.number()]
	at := slices.Index(i.labels, c.params["name"])
	if at < 0 {
		return fail(http.StatusNotFound, "Label does not exist")
	}
	i.labels = slices.Delete(i.labels, at, at+1)
	c.tick()
	return http.StatusOK, c.labels(c.number())
}

func (c *call) checkObject(k *check) object {
	return object{"id": k.id, "node_id": "CR", "head_sha": k.sha, "external_id": k.ext, "url": "https://github.test/", "html_url": nil, "details_url": nil, "status": k.status, "conclusion": k.conclusion,
		"started_at": nil, "completed_at": nil, "name": k.name, "check_suite": nil, "pull_requests": []any{},
		"output": object{"title": k.title, "summary": k.summary, "text": nil, "annotations_count": k.annotations, "annotations_url": "https://github.test/"},
		"app": object{"id": 1, "slug": k.slug, "node_id": "A", "owner": c.org("acme"), "name": k.slug, "description": nil, "external_url": "https://github.test/", "html_url": "https://github.test/",
			"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "permissions": object{}, "events": []any{}}}
}

func (c *call) listChecks() (int, any) {
	out := []any{}
	for _, k := range c.repo.checks {
		if k.sha == c.params["ref"] && (c.query.Get("check_name") == "" || c.query.Get("check_name") == k.name) {
			out = append(out, c.checkObject(k))
		}
	}
	return http.StatusOK, object{"total_count": len(out), "check_runs": out}
}

func (c *call) createCheck() (int, any) {
	k := &check{id: c.next(), name: c.arg("name"), sha: c.arg("head_sha"), slug: c.actor.app}
	return c.writeCheck(k, http.StatusCreated, func() { c.repo.checks = append(c.repo.checks, k) })
}

func (c *call) updateCheck() (int, any) {
	for _, k := range c.repo.checks {
		if strconv.FormatInt(k.id, 10) == c.params["check_run_id"] {
			return c.writeCheck(k, http.StatusOK, func() {})
		}
	}
	return fail(http.StatusNotFound, "Not Found")
}

func (c *call) writeCheck(k *check, status int, done func()) (int, any) {
	if c.actor.app == "" {
		return fail(http.StatusForbidden, "You must authenticate via a GitHub App.")
	}
	output, _ := c.body["output"].(map[string]any)
	notes, _ := output["annotations"].([]any)
	summary, _ := output["summary"].(string)
	if len(notes) > 50 || len([]rune(summary)) > 65535 {
		return fail(http.StatusUnprocessableEntity, "Invalid request.")
	}
	k.annotations += len(notes)
	for name, to := range map[string]*string{"status": &k.status, "conclusion": &k.conclusion, "external_id": &k.ext} {
		if v, ok := c.body[name].(string); ok {
			*to = v
		}
	}
	if k.status == "" {
		k.status = "queued"
	}
	if output != nil {
		k.title, _ = output["title"].(string)
		k.summary = summary
	}
	c.tick()
	done()
	return status, c.checkObject(k)
}
