package githubtest

import (
	"net/http"
	"slices"
	"strconv"
)

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
	was, text := i.state, i.body
	for name, to := range map[string]*string{"title": &i.title, "body": &i.body, "state": &i.state} {
		if v, ok := c.body[name].(string); ok {
			*to = v
		}
	}
	i.moved(was, c.arg("state_reason"), c.login(), "", c.tick())
	if i.body != text {
		i.texts = append(i.texts, edit{c.login(), i.touched})
	}
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
			e.login = "ghost" // GitHub's name for deleted accounts
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
				k.edits = append(k.edits, edit{c.login(), k.updated})
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
