package githubtest

import (
	"net/http"
	"strconv"
)

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
