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
			if a := s.accountOf(email); a != nil {
				return s.user(a.login)
			}
			return nil
		}
		parents := []any{}
		for _, p := range strings.Fields(f[1]) {
			parents = append(parents, object{"sha": p, "url": "https://github.test/" + p, "html_url": "https://github.test/" + p})
		}
		signed := f[6] == "noreply@github.com" && !r.unsigned || s.signed[sha]
		return object{"sha": sha, "url": "https://github.test/" + sha, "html_url": "https://github.test/" + sha, "parents": parents, "author": user(f[3]), "committer": user(f[6]),
			"commit": object{"message": f[8], "tree": object{"sha": f[0], "url": "https://github.test/" + f[0]}, "comment_count": 0,
				"author": object{"name": f[2], "email": f[3], "date": f[4]}, "committer": object{"name": f[5], "email": f[6], "date": f[7]},
				"verification": object{"verified": signed, "reason": "valid", "payload": nil, "signature": nil, "verified_at": nil}}}
	}
	return nil
}

func (c *call) gitCommit() (int, any) {
	full := c.commit(c.params["commit_sha"])
	if full == nil {
		return fail(http.StatusNotFound, "Not Found")
	}
	out := full["commit"].(object)
	out["sha"], out["parents"] = full["sha"], full["parents"]
	return http.StatusOK, out
}

// listActivities has cursors in place of page numbers.
func (c *call) listActivities() (int, any) {
	if c.repo.unseen != 0 {
		return fail(c.repo.unseen, "Not Found")
	}
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
