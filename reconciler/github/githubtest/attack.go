package githubtest

import (
	"fmt"
	"maps"
	"slices"
)

// These methods play people who change their accounts, or what others wrote.

// Rename gives an account another login. Its id stays, GitHub shows the new login in what it did before, and anybody
// may take the old one.
// https://docs.github.com/en/account-and-profile/concepts/username-changes
func (s *Server) Rename(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[from]
	delete(s.accounts, from)
	a.login, s.accounts[to] = to, a
	s.relabel(from, to)
	for _, r := range s.repos {
		r.actors(from, func(u object) any { u["login"] = to; return u })
		if l, ok := r.levels[from]; ok {
			delete(r.levels, from)
			r.levels[to] = l
		}
	}
}

// Gone deletes an account. GitHub attributes what it opened and reviewed to the account ghost, and its pushes to nobody.
// https://docs.github.com/en/account-and-profile/how-tos/account-management/deleting-your-personal-account
func (s *Server) Gone(login string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.accounts, login)
	s.account("ghost", "User")
	for name, members := range s.teams {
		s.teams[name] = slices.DeleteFunc(slices.Clone(members), func(m string) bool { return m == login })
	}
	s.relabel(login, "ghost")
	for _, r := range s.repos {
		delete(r.levels, login)
		r.actors(login, func(object) any { return nil })
	}
}

// relabel replaces a login in teams, pull requests, reviews and issues.
func (s *Server) relabel(from, to string) {
	change := func(l *string) {
		if *l == from {
			*l = to
		}
	}
	for _, members := range s.teams {
		for i := range members {
			change(&members[i])
		}
	}
	for _, r := range s.repos {
		for _, p := range r.pulls {
			change(&p.author)
			change(&p.mergedBy)
			for i := range p.reviewers {
				change(&p.reviewers[i])
			}
			p.reviewers = slices.DeleteFunc(p.reviewers, func(l string) bool { return l == "ghost" })
			for _, v := range p.reviews {
				change(&v.login)
			}
		}
		for _, i := range r.issues {
			change(&i.login)
			for _, k := range i.comments {
				change(&k.login)
			}
		}
	}
}

func (r *Repository) actors(login string, change func(object) any) {
	for _, e := range r.activity {
		if u, ok := e["actor"].(object); ok && u["login"] == login {
			e["actor"] = change(maps.Clone(u))
		}
	}
}

// AccountID is the id of an account.
func (s *Server) AccountID(login string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.accounts[login].id)
}

// Unteam takes a team away: deleted, renamed, or hidden from the token. GitHub answers 404 in each case.
// https://docs.github.com/en/rest/teams/members#list-team-members
func (s *Server) Unteam(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.teams, name)
}

// Reword gives the squash commit of a pull request that was just merged another message, as GitHub's merge box allows.
// https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/about-pull-request-merges
func (r *Repository) Reword(number int, message string) {
	r.server.t.Helper()
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	p := r.pulls[number]
	a := r.server.accounts[p.author]
	out, err := r.try([]string{"GIT_AUTHOR_NAME=" + a.login, "GIT_AUTHOR_EMAIL=" + a.emails[0]}, "commit-tree", r.Run("log", "-1", "--format=%T", p.mergeCommit), "-m", message,
		"-p", r.Run("log", "-1", "--format=%P", p.mergeCommit))
	if err != nil {
		r.server.t.Fatal(out)
	}
	p.mergeCommit, p.landed = out, []string{out}
	r.Run("update-ref", "refs/heads/"+p.base, out)
}

// Flood adds n statuses of other names to a commit. GitHub keeps at most 1,000 for one commit and name.
// https://docs.github.com/en/rest/commits/statuses#create-a-commit-status
func (r *Repository) Flood(sha string, n int, login string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	at := r.server.tick()
	for i := range n {
		r.statuses[sha] = append(r.statuses[sha], map[string]any{"url": "https://github.test/", "avatar_url": nil, "id": r.server.next(), "node_id": "S", "state": "success", "description": "noise", "target_url": nil,
			"context": fmt.Sprint("noise ", i/1000), "created_at": at, "updated_at": at, "creator": r.server.user(login)})
	}
}

// EditComment changes the comments of a pull request as alice.
func (r *Repository) EditComment(number int, change func(string) string) {
	r.EditCommentAs(number, "alice", change)
}

// EditCommentAs changes the comments of a pull request as somebody with write access.
// https://docs.github.com/en/graphql/reference/enums#commentcannotupdatereason
func (r *Repository) EditCommentAs(number int, login string, change func(string) string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	for _, k := range r.issues[number].comments {
		k.body, k.updated = change(k.body), r.server.tick()
		k.edits = append(k.edits, edit{login, k.updated})
	}
}

// DeleteComments deletes the comments of a pull request as somebody with write access.
func (r *Repository) DeleteComments(number int, login string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	i := r.issues[number]
	for _, k := range i.comments {
		i.deleted = append(i.deleted, deletion{login, r.server.tick(), k.login})
	}
	i.comments = nil
}

// Retarget gives an open pull request another base.
// https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/proposing-changes-to-your-work-with-pull-requests/changing-the-base-branch-of-a-pull-request
func (r *Repository) Retarget(number int, base string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.pulls[number].base = base
	r.server.tick()
}

// Unseen answers requests for pushes with a status, as GitHub does for tokens that may not see them; 0 is none.
func (r *Repository) Unseen(status int) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.unseen = status
}

// Sign makes GitHub show a commit as signed by its committer.
func (r *Repository) Sign(sha string) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.server.signed[sha] = true
}
