package githubtest

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Repository is a private repository of an organisation.
type Repository struct {
	// Dir is the bare repository.
	Dir string
	// Name is owner/name.
	Name string

	server   *Server
	levels   map[string]string // login → admin, maintain, write, triage or read
	pulls    map[int]*pull
	issues   map[int]*issue
	statuses map[string][]map[string]any
	checks   []*check
	deploys  []*deployment
	comments map[string][]map[string]any // on commits
	activity []map[string]any
	rules    []any
	rulesets []any
	last     int // number of a pull request or issue
	unsigned bool
	unseen   int // the answer to requests for pushes
}

type pull struct {
	number                int
	title, author         string
	head, base            string // branches
	from                  *Repository
	sha, baseSHA          string
	merged, closed, draft bool
	mergedAt, mergeCommit string
	mergedBy              string
	commits               []string
	landed                []string
	reviews               []*review
	reviewers, reviewTeam []string
	created               string
}

type review struct {
	id            int64
	login, state  string
	commit, at    string
	withoutCommit bool
}

type issue struct {
	number                    int
	title, body, state, login string
	labels                    []string
	edits                     int
	comments                  []*comment
	created, touched          string
	assignees                 []string
	// reason is why it is in its state, events are how it came there.
	reason string
	events []issueEvent
	// texts are the edits of the text, deleted are comments that are gone.
	texts   []edit
	deleted []deletion
}

type issueEvent struct{ name, login, commit, at string }

type comment struct {
	id               int64
	login, body      string
	created, updated string
	edits            []edit
}

type check struct {
	id                                       int64
	name, sha, status, conclusion, slug, ext string
	title, summary                           string
	annotations                              int
}

type deployment struct {
	id       int64
	sha      string
	env      string
	login    string
	statuses []map[string]any
}

// Repository makes owner/name with a branch main that has an empty commit.
func (s *Server) Repository(name string) *Repository {
	s.t.Helper()
	r := &Repository{Dir: filepath.Join(s.t.TempDir(), "bare.git"), Name: name, server: s, levels: map[string]string{}, pulls: map[int]*pull{}, issues: map[int]*issue{},
		statuses: map[string][]map[string]any{}, comments: map[string][]map[string]any{}}
	if out, err := exec.Command("git", "init", "-q", "--bare", "--template=", "-b", "main", r.Dir).CombinedOutput(); err != nil {
		s.t.Fatalf("git init: %v: %s", err, out)
	}
	// Written by hand, as three processes of git config would.
	config, err := os.OpenFile(filepath.Join(r.Dir, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = config.WriteString("[http]\n\treceivepack = true\n[uploadpack]\n\tallowAnySHA1InWant = true\n\tallowReachableSHA1InWant = true\n")
		err = errors.Join(err, config.Close())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repos[name] = r
	return r
}

// Fork makes a copy in another account.
func (r *Repository) Fork(name string) *Repository {
	f := r.server.Repository(name)
	f.Run("fetch", "-q", r.Dir, "refs/heads/*:refs/heads/*")
	return f
}

// Level gives an account a permission: admin, maintain, write, triage or read.
func (r *Repository) Level(level string, logins ...string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	for _, l := range logins {
		r.levels[l] = level
	}
}

// Rules sets the answer of GET rules/branches, and rulesets with their bypass lists.
func (r *Repository) Rules(rules, rulesets []any) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.rules, r.rulesets = rules, rulesets
}

func (r *Repository) level(a *actor) string {
	if a.app != "" {
		if a.repo == r || !a.workflow {
			return "write"
		}
		return "none"
	}
	if l := r.levels[a.login]; l != "" {
		return l
	}
	return "none"
}

func (r *Repository) writes(a *actor) bool {
	return slices.Contains([]string{"admin", "maintain", "write"}, r.level(a))
}

// Signed sets whether commits in GitHub's name are signed by it, as they are by default.
func (r *Repository) Signed(signed bool) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.unsigned = !signed
}

// Run runs git in the repository and returns what it prints.
func (r *Repository) Run(args ...string) string {
	r.server.t.Helper()
	out, err := r.try(nil, args...)
	if err != nil {
		r.server.t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

func (r *Repository) try(env []string, args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"-C", r.Dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=GitHub", "GIT_AUTHOR_EMAIL=noreply@github.com",
		"GIT_COMMITTER_NAME=GitHub", "GIT_COMMITTER_EMAIL=noreply@github.com")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// accountOf returns the account of an address, as GitHub attributes commits.
func (s *Server) accountOf(email string) *account {
	for _, a := range s.accounts {
		if slices.Contains(a.emails, strings.ToLower(email)) {
			return a
		}
	}
	return nil
}

// Address is an address that GitHub attributes to an account.
func (s *Server) Address(login, email string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[login]
	a.emails = append(a.emails, email)
}

// Moved is what GitHub does after a push: the heads of pull requests follow, and their reviews where the base was
// merged in. Tests that push with git into Dir call it; pushes over HTTP do by themselves.
func (r *Repository) Moved(login string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.moved(login)
}

func (r *Repository) moved(login string) {
	for _, p := range r.server.pullsFrom(r) {
		if p.merged || p.closed {
			continue
		}
		now, err := r.try(nil, "rev-parse", "--verify", "-q", "refs/heads/"+p.head)
		if err != nil || now == p.sha {
			continue
		}
		was := p.sha
		p.sha = now
		r.activity = append([]map[string]any{{"id": r.server.next(), "node_id": "x", "before": was, "after": now, "ref": "refs/heads/" + p.head, "timestamp": r.server.tick(),
			"activity_type": "push", "actor": r.server.user(login)}}, r.activity...)
		base := r.server.baseOf(p)
		base.follow(p)
		// GitHub takes a review along over a merge of the base into the head.
		parents := strings.Fields(base.Run("rev-list", "--parents", "-1", now))
		if len(parents) == 3 && parents[1] == was {
			if _, err := base.try(nil, "merge-base", "--is-ancestor", parents[2], "refs/heads/"+p.base); err == nil {
				for _, v := range p.reviews {
					if v.commit == was {
						v.commit = now
					}
				}
			}
		}
	}
}

func (s *Server) pullsFrom(r *Repository) []*pull {
	var out []*pull
	for _, base := range s.repos {
		for _, p := range base.pulls {
			if p.from == r {
				out = append(out, p)
			}
		}
	}
	return out
}

func (s *Server) baseOf(p *pull) *Repository {
	for _, r := range s.repos {
		if r.pulls[p.number] == p {
			return r
		}
	}
	return nil
}

// follow keeps refs/pull/N/head, and the list of commits, as the head is.
func (r *Repository) follow(p *pull) {
	r.Run("fetch", "-q", p.from.Dir, "+"+p.sha+":refs/pull/"+fmt.Sprint(p.number)+"/head")
	p.baseSHA = r.Run("rev-parse", "refs/heads/"+p.base)
	p.commits = strings.Fields(r.Run("rev-list", "--reverse", "--topo-order", p.sha, "--not", p.baseSHA))
}

// Open opens a pull request.
func (r *Repository) Open(login, head, title string, from *Repository) int {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	if from == nil {
		from = r
	}
	r.last++
	p := &pull{number: r.last, title: title, author: login, head: head, base: "main", from: from, created: r.server.tick(), sha: from.Run("rev-parse", "refs/heads/"+head)}
	r.pulls[p.number] = p
	r.issues[p.number] = &issue{number: p.number, title: title, state: "open", login: login, created: p.created}
	from.activity = append([]map[string]any{{"id": r.server.next(), "node_id": "x", "before": strings.Repeat("0", 40), "after": p.sha, "ref": "refs/heads/" + head, "timestamp": p.created,
		"activity_type": "branch_creation", "actor": r.server.user(login)}}, from.activity...)
	r.follow(p)
	return p.number
}

// Review submits a review of the present head: APPROVED, CHANGES_REQUESTED or COMMENTED.
func (r *Repository) Review(number int, login, state string) int64 {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	p := r.pulls[number]
	v := &review{id: r.server.next(), login: login, state: state, commit: p.sha, at: r.server.tick()}
	p.reviews = append(p.reviews, v)
	return v.id
}

// Dismiss takes a review back.
func (r *Repository) Dismiss(number int, id int64) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	for _, v := range r.pulls[number].reviews {
		if v.id == id {
			v.state = "DISMISSED"
		}
	}
	r.server.tick()
}

// LoseCommit makes a review one whose commit GitHub does not tell.
func (r *Repository) LoseCommit(number int, id int64) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	for _, v := range r.pulls[number].reviews {
		v.withoutCommit = v.withoutCommit || v.id == id
	}
}

// Merge lands a pull request: merge, squash or rebase. GitHub's own rules are not asked: an administrator may.
func (r *Repository) Merge(number int, method, login string) string {
	r.server.t.Helper()
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return r.merge(r.pulls[number], method, login)
}

func (r *Repository) merge(p *pull, method, login string) string {
	s := r.server
	base := r.Run("rev-parse", "refs/heads/"+p.base)
	now := s.tick()
	by := s.accounts[login]
	author := func(a *account) []string {
		return []string{"GIT_AUTHOR_NAME=" + a.login, "GIT_AUTHOR_EMAIL=" + a.emails[0], "GIT_AUTHOR_DATE=" + now, "GIT_COMMITTER_DATE=" + now}
	}
	commit := func(env []string, tree, msg string, parents ...string) string {
		args := []string{"commit-tree", tree, "-m", msg}
		for _, q := range parents {
			args = append(args, "-p", q)
		}
		out, err := r.try(env, args...)
		if err != nil {
			s.t.Fatalf("git commit-tree: %v: %s", err, out)
		}
		return out
	}
	mergeTree := func(onto, from string) string {
		out, err := r.try(nil, "merge-tree", "--write-tree", onto, from)
		if err != nil {
			s.t.Fatalf("the pull request conflicts: %s", out)
		}
		return strings.Fields(out)[0]
	}
	r.follow(p)
	switch method {
	case "merge":
		p.mergeCommit = commit(author(by), mergeTree(base, p.sha), fmt.Sprintf("Merge pull request #%d from %s/%s\n\n%s", p.number, strings.Split(p.from.Name, "/")[0], p.head, p.title), base, p.sha)
		p.landed = []string{p.mergeCommit}
	case "squash":
		msg := fmt.Sprintf("%s (#%d)", p.title, p.number)
		var co []string
		for _, c := range p.commits {
			email := r.Run("log", "-1", "--format=%ae", c)
			if a := s.accountOf(email); a == nil || a.login != p.author {
				co = append(co, "Co-authored-by: "+r.Run("log", "-1", "--format=%an <%ae>", c))
			}
		}
		slices.Sort(co)
		if co = slices.Compact(co); len(co) > 0 {
			msg += "\n\n" + strings.Join(co, "\n")
		}
		p.mergeCommit = commit(author(s.accounts[p.author]), mergeTree(base, p.sha), msg, base)
		p.landed = []string{p.mergeCommit}
	case "rebase":
		onto := base
		tree := filepath.Join(s.t.TempDir(), "rebase")
		r.Run("worktree", "add", "-q", "--detach", tree, onto)
		for _, c := range p.commits {
			cmd := exec.Command("git", "-C", tree, "cherry-pick", c)
			cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_COMMITTER_NAME="+by.login, "GIT_COMMITTER_EMAIL="+by.emails[0], "GIT_COMMITTER_DATE="+now)
			if out, err := cmd.CombinedOutput(); err != nil {
				s.t.Fatalf("the rebase conflicts: %s", out)
			}
			head, err := exec.Command("git", "-C", tree, "rev-parse", "HEAD").Output()
			if err != nil {
				s.t.Fatal(err)
			}
			onto = strings.TrimSpace(string(head))
			p.landed = append(p.landed, onto)
		}
		p.mergeCommit = onto
	default:
		s.t.Fatalf("unknown merge method %s", method)
	}
	r.Run("update-ref", "refs/heads/"+p.base, p.mergeCommit)
	p.merged, p.closed, p.mergedAt, p.mergedBy = true, true, now, login
	r.issues[p.number].state = "closed"
	return p.mergeCommit
}

// serveGit is git http-backend behind a token.
func (s *Server) serveGit(w http.ResponseWriter, req *http.Request) {
	_, password, ok := req.BasicAuth()
	s.mu.Lock()
	a := s.tokens[password]
	name, _, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), ".git/")
	r := s.repos[name]
	allowed := ok && a != nil && r != nil && r.level(a) != "none"
	pushes := strings.HasSuffix(req.URL.Path, "git-receive-pack") || req.URL.Query().Get("service") == "git-receive-pack"
	if allowed && pushes {
		allowed = r.writes(a)
	}
	s.mu.Unlock()
	if !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		http.Error(w, "credentials, please", http.StatusUnauthorized)
		return
	}
	if !allowed {
		http.Error(w, "Repository not found.", http.StatusNotFound)
		return
	}
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		s.t.Errorf("git --exec-path: %v", err)
		return
	}
	inner := req.Clone(req.Context())
	inner.URL.Path = "/bare.git/" + strings.SplitN(req.URL.Path, ".git/", 2)[1]
	(&cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), Root: "/",
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(r.Dir), "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=" + a.login, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}}).ServeHTTP(w, inner)
	if pushes && req.Method == http.MethodPost {
		r.Moved(a.login)
	}
}

// Rewrite changes a file in the merge commit of a pull request that was just merged, as an evil merge does.
func (r *Repository) Rewrite(number int, path, content string) {
	r.server.t.Helper()
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	p := r.pulls[number]
	index := []string{"GIT_INDEX_FILE=" + filepath.Join(r.server.t.TempDir(), "index")}
	file := filepath.Join(r.server.t.TempDir(), "blob")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		r.server.t.Fatal(err)
	}
	blob := r.Run("hash-object", "-w", file)
	for _, args := range [][]string{{"read-tree", p.mergeCommit}, {"update-index", "--add", "--cacheinfo", "100644," + blob + "," + path}} {
		if out, err := r.try(index, args...); err != nil {
			r.server.t.Fatalf("git %s: %v: %s", args[0], err, out)
		}
	}
	tree, err := r.try(index, "write-tree")
	if err != nil {
		r.server.t.Fatal(tree)
	}
	args := []string{"commit-tree", tree, "-m", "Merge"}
	for _, q := range strings.Fields(r.Run("log", "-1", "--format=%P", p.mergeCommit)) {
		args = append(args, "-p", q)
	}
	p.mergeCommit = r.Run(args...)
	p.landed = []string{p.mergeCommit}
	r.Run("update-ref", "refs/heads/"+p.base, p.mergeCommit)
}

// Forge posts a status as somebody; alone takes the ones of that name away first.
func (r *Repository) Forge(sha, name, state, text, login string, alone bool) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	if alone {
		r.statuses[sha] = slices.DeleteFunc(r.statuses[sha], func(s map[string]any) bool { return s["context"] == name })
	}
	at := r.server.tick()
	r.statuses[sha] = append(r.statuses[sha], map[string]any{"url": "https://github.test/", "avatar_url": nil, "id": r.server.next(), "node_id": "S", "state": state, "description": text, "target_url": nil,
		"context": name, "created_at": at, "updated_at": at, "creator": r.server.user(login)})
}

// Pushed adds pushes to a branch to what GitHub remembers, as if they had come before all others.
func (r *Repository) Pushed(branch string, logins ...string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	for _, l := range logins {
		r.activity = append(r.activity, map[string]any{"id": r.server.next(), "node_id": "x", "before": strings.Repeat("0", 40), "after": strings.Repeat("1", 40), "ref": "refs/heads/" + branch,
			"timestamp": r.server.stamp(), "activity_type": "push", "actor": r.server.user(l)})
	}
}
