package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/schemas"
)

// maxCommits is how many commits of a pull request GitHub lists. The authors of one with more cannot be determined.
// https://docs.github.com/en/rest/pulls/pulls#list-commits-on-a-pull-request
const maxCommits = 250

// Evidence reads reviews as evidence. It is made for one pass, and asks about each team, person and pull request only
// once.
type Evidence struct {
	client   *Client
	settings schemas.Forge
	branch   string

	mu       sync.Mutex
	accounts map[string]string // login → why its approval cannot count, "" for nothing
	statuses map[string][]*gh.RepoStatus
}

var (
	_ forge.Evidence = (*Evidence)(nil)
	_ forge.Teams    = (*Evidence)(nil)
)

// Evidence opens the evidence of a branch, by the settings as the base has them.
func (c *Client) Evidence(s schemas.SettingsSpec) (forge.Evidence, error) {
	if !strings.EqualFold(s.Forge.Repository, c.Repository()) {
		return nil, fmt.Errorf("%s: the forge's repository is %s, and this is a clone of %s", schemas.SettingsPath, s.Forge.Repository, c.Repository())
	}
	return &Evidence{client: c, settings: s.Forge, branch: s.Branch, accounts: map[string]string{}, statuses: map[string][]*gh.RepoStatus{}}, nil
}

// Teams reads who is in which team. A team that cannot be read for want of a permission is left out: it has the
// members that people.yaml lists, or none.
func (ev *Evidence) Teams(ctx context.Context, names []string) (map[string][]string, error) {
	out := map[string][]string{}
	for _, name := range names {
		org, slug, _ := strings.Cut(name, "/")
		users, err := all("the members of team "+name, func(o *gh.ListOptions) ([]*gh.User, *gh.Response, error) {
			return ev.client.api.Teams.ListTeamMembersBySlug(ctx, org, slug, &gh.TeamListTeamMembersOptions{ListOptions: *o})
		})
		if isStatus(err, http.StatusNotFound, http.StatusForbidden) {
			ev.client.config.Logger.Warn("a team cannot be read: it does not exist, or the token lacks the organisation permission members: read; its members are those in people.yaml", "team", name)
			continue
		}
		if err != nil {
			return nil, ev.client.explain("read the members of team "+name, err)
		}
		members := []string{}
		for _, u := range users {
			members = append(members, u.GetLogin())
		}
		out[name] = members
	}
	return out, nil
}

// Evidence is that of a commit of the branch: of the pull request that it landed.
func (ev *Evidence) Evidence(ctx context.Context, c forge.Change) (schemas.Evidence, error) {
	e := schemas.Evidence{Forge: "github", Authors: []string{}, Approvals: []schemas.Approval{}, ContentDigest: c.Digest}
	pull, digest, err := ev.landedBy(ctx, c)
	if err != nil {
		return e, err
	}
	if pull == nil {
		e.Problems = append(e.Problems, "it came by no pull request merged into "+ev.branch+": a direct push is never admitted; a later pull request may admit it")
		return e, nil
	}
	merged := pull.GetMergedAt().Time
	e.MergedAt, e.MergedBy, e.ContentDigest = &merged, pull.GetMergedBy().GetLogin(), digest
	if err := ev.describe(ctx, &e, pull, c.Directory); err != nil {
		return e, err
	}
	if len(c.Commit.Parents) == 1 {
		// A squash has the co-authors in its own message. Its author is GitHub's choice, its committer GitHub.
		ev.coAuthors(&e, c.Commit.Message, c.Directory)
	}
	return e, ev.approvals(ctx, &e, pull, digest, merged)
}

// Pending is the evidence of an open pull request, so far.
func (ev *Evidence) Pending(ctx context.Context, p forge.Pending) (schemas.Evidence, error) {
	e := schemas.Evidence{Forge: "github", Authors: []string{}, Approvals: []schemas.Approval{}, ContentDigest: p.Digest, Head: p.Head}
	if p.PullRequest == 0 {
		// Before there is a pull request, or without asking GitHub: GitHub will resolve the addresses later.
		for _, c := range p.Commits {
			for _, person := range append([]history.Person{c.Author, c.Committer}, history.CoAuthors(c.Message)...) {
				ev.person(&e, nil, person, p.Directory)
				if person.Email != "" {
					e.Authors, e.Unattributed = append(e.Authors, person.Email), nil
				}
			}
		}
		tidy(&e)
		return e, nil
	}
	pull, err := ev.client.pull(ctx, p.PullRequest)
	if err != nil {
		return e, err
	}
	if got := pull.GetHead().GetSHA(); got != p.Head {
		return e, &forge.MovedError{PullRequest: p.PullRequest, Head: got, Previewed: p.Head}
	}
	if err := ev.describe(ctx, &e, pull, p.Directory); err != nil {
		return e, err
	}
	return e, ev.approvals(ctx, &e, pull, p.Digest, time.Time{})
}

// landedBy finds the pull request that a commit of the branch landed, and the digest of everything that it landed.
// nil is none: several may contain the commit, and only the one whose merge made it counts.
func (ev *Evidence) landedBy(ctx context.Context, c forge.Change) (*gh.PullRequest, string, error) {
	what := "find the pull request of " + short(c.Commit.Hash)
	candidates, err := all(what, func(o *gh.ListOptions) ([]*gh.PullRequest, *gh.Response, error) {
		return ev.client.api.PullRequests.ListPullRequestsWithCommit(ctx, ev.client.owner, ev.client.name, c.Commit.Hash, o)
	})
	if isStatus(err, http.StatusNotFound, http.StatusUnprocessableEntity) {
		return nil, "", fmt.Errorf("%s: GitHub does not know the commit: push it, or fetch the branch again", what)
	}
	if err != nil {
		return nil, "", ev.client.explain(what, err)
	}
	for _, candidate := range candidates {
		if candidate.MergedAt == nil || candidate.GetBase().GetRef() != ev.branch {
			continue
		}
		pull, err := ev.client.pull(ctx, candidate.GetNumber())
		if err != nil {
			return nil, "", err
		}
		if !pull.GetMerged() || pull.GetBase().GetRef() != ev.branch || !strings.EqualFold(pull.GetBase().GetRepo().GetFullName(), ev.client.Repository()) {
			continue
		}
		last := pull.GetMergeCommitSHA()
		if last == c.Commit.Hash && (len(c.Commit.Parents) > 1 || pull.GetCommits() < 2) {
			return pull, c.Digest, nil
		}
		if pull.GetCommits() < 2 || pull.GetCommits() > maxCommits || len(c.Commit.Parents) > 1 {
			continue
		}
		// A squash, or one of the commits of a rebase: of a rebase, all commits together were approved. The
		// preview shows which of the two it is.
		commits, digest, err := c.Range(ctx, last, pull.GetCommits())
		if err != nil && !errors.Is(err, history.ErrNotFound) {
			return nil, "", err
		}
		previewed, perr := ev.previewed(ctx, pull.GetHead().GetSHA(), pull.GetNumber())
		if perr != nil {
			return nil, "", perr
		}
		isLast := last == c.Commit.Hash
		switch complete := err == nil && slices.Contains(commits, c.Commit.Hash); {
		case isLast && lastIs(previewed, c.Digest):
			return pull, c.Digest, nil
		case complete && lastIs(previewed, digest):
			return pull, digest, nil
		case isLast || complete:
			return pull, c.Digest, nil
		}
	}
	return nil, "", nil
}

func tidy(e *schemas.Evidence) {
	for i, a := range e.Authors {
		e.Authors[i] = strings.ToLower(a)
	}
	slices.Sort(e.Authors)
	e.Authors = slices.Compact(e.Authors)
	slices.Sort(e.Unattributed)
	e.Unattributed = slices.Compact(e.Unattributed)
}
