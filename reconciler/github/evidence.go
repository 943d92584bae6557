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

// Evidence reads reviews as evidence. It is made for one pass, and asks about each account only once.
type Evidence struct {
	client   *Client
	settings schemas.Forge
	branch   string

	mu       sync.Mutex
	accounts map[string]string // login → why its approval cannot count, "" for nothing
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
	return &Evidence{client: c, settings: s.Forge, branch: s.Branch, accounts: map[string]string{}}, nil
}

// Teams reads who is in which team. A team that cannot be read is nobody: people.yaml may list members of long ago.
func (ev *Evidence) Teams(ctx context.Context, names []string) (map[string][]string, error) {
	out := map[string][]string{}
	for _, name := range names {
		org, slug, _ := strings.Cut(name, "/")
		users, err := all("the members of team "+name, func(o *gh.ListOptions) ([]*gh.User, *gh.Response, error) {
			return ev.client.api.Teams.ListTeamMembersBySlug(ctx, org, slug, &gh.TeamListTeamMembersOptions{ListOptions: *o})
		})
		if isStatus(err, http.StatusNotFound, http.StatusForbidden) {
			ev.client.config.Logger.Warn("a team cannot be read: it does not exist, or the token lacks the organisation permission members: read; nobody is taken for a member", "team", name)
			out[name] = []string{}
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
	v, err := ev.landedBy(ctx, c)
	if err != nil {
		return e, tooMany(&e, err)
	}
	if v == nil {
		e.Problems = append(e.Problems, "it came by no pull request merged into "+ev.branch+": a direct push is never admitted; a later pull request may admit it")
		return e, nil
	}
	merged := v.merged
	e.MergedAt, e.MergedBy, e.ContentDigest = &merged, v.pull.GetMergedBy().GetLogin(), v.digest
	return e, tooMany(&e, ev.collect(ctx, &e, v))
}

// collect fills in who made a pull request and who approved it.
func (ev *Evidence) collect(ctx context.Context, e *schemas.Evidence, v *view) error {
	if strings.EqualFold(ev.settings.Publisher, actionsBot) && !ev.settings.AnyWorkflow {
		e.Problems = append(e.Problems, "every workflow of the repository can publish as "+actionsBot+", so its previews prove nothing: "+
			"make a GitHub App of your own the forge.publisher, or accept that with forge.any_workflow_may_publish: true")
	}
	// The message of a squash is whatever its merger typed: the pull request's own commits name the authors.
	if err := v.describe(ctx, e); err != nil {
		return err
	}
	return v.approvals(ctx, e)
}

// tooMany turns a list that is longer than is read into a problem of the change that it is about: anybody with write
// access could otherwise stop the run for all.
func tooMany(e *schemas.Evidence, err error) error {
	if !errors.Is(err, errTooMany) {
		return err
	}
	e.Problems = append(e.Problems, err.Error())
	return nil
}

// Pending is the evidence of an open pull request, so far.
func (ev *Evidence) Pending(ctx context.Context, p forge.Pending) (schemas.Evidence, error) {
	e := schemas.Evidence{Forge: "github", Authors: []string{}, Approvals: []schemas.Approval{}, ContentDigest: p.Digest, Head: p.Head}
	if p.PullRequest == 0 {
		// Before there is a pull request, or without asking GitHub: GitHub will resolve the addresses later.
		v := &view{ev: ev, people: p.Directory}
		for _, c := range p.Commits {
			for _, person := range append([]history.Person{c.Author, c.Committer}, history.CoAuthors(c.Message)...) {
				if err := v.person(ctx, &e, nil, person); err != nil {
					return e, err
				}
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
	v := ev.view(pull, p.Digest, p.Clone, p.Directory)
	v.merged = time.Time{}
	return e, tooMany(&e, ev.collect(ctx, &e, v))
}

// landedBy finds the pull request that a commit of the branch landed, and everything that it landed. nil is none: several
// may contain the commit, and only the one whose merge made it counts.
func (ev *Evidence) landedBy(ctx context.Context, c forge.Change) (*view, error) {
	what := "find the pull request of " + short(c.Commit.Hash)
	candidates, err := all(what, func(o *gh.ListOptions) ([]*gh.PullRequest, *gh.Response, error) {
		return ev.client.api.PullRequests.ListPullRequestsWithCommit(ctx, ev.client.owner, ev.client.name, c.Commit.Hash, o)
	})
	if isStatus(err, http.StatusNotFound, http.StatusUnprocessableEntity) {
		return nil, fmt.Errorf("%s: GitHub does not know the commit: push it, or fetch the branch again", what)
	}
	if err != nil {
		return nil, ev.client.explain(what, err)
	}
	for _, candidate := range candidates {
		if candidate.MergedAt == nil || candidate.GetBase().GetRef() != ev.branch {
			continue
		}
		pull, err := ev.client.pull(ctx, candidate.GetNumber())
		if err != nil {
			return nil, err
		}
		if !pull.GetMerged() || pull.GetBase().GetRef() != ev.branch || !strings.EqualFold(pull.GetBase().GetRepo().GetFullName(), ev.client.Repository()) {
			continue
		}
		v := ev.view(pull, c.Digest, c.Clone, c.Directory)
		if pull.GetMergeCommitSHA() == c.Commit.Hash && (len(c.Commit.Parents) > 1 || pull.GetCommits() < 2) {
			return v, nil
		}
		if pull.GetCommits() < 2 || pull.GetCommits() > maxCommits || len(c.Commit.Parents) > 1 {
			continue
		}
		if ok, err := v.severalLanded(ctx, c); ok || err != nil {
			return v, err
		}
	}
	return nil, nil
}

// severalLanded reports whether the commit is a squash of the pull request, or one of the commits of its rebase: of a
// rebase, all commits together were approved. The preview and the content of the pull request's head show which of the
// two it is.
func (v *view) severalLanded(ctx context.Context, c forge.Change) (bool, error) {
	last, head := v.pull.GetMergeCommitSHA(), v.pull.GetHead().GetSHA()
	isLast := last == c.Commit.Hash
	if isLast {
		list, err := v.previewed(ctx, head)
		if err != nil || lastIs(list, v.digest) {
			return err == nil, err
		}
	}
	landing, err := c.Range(ctx, last, v.pull.GetCommits())
	if errors.Is(err, history.ErrNotFound) {
		return isLast, nil
	}
	if err != nil {
		return false, err
	}
	if !slices.Contains(landing.Commits, c.Commit.Hash) {
		return isLast, nil
	}
	rebase := *v
	rebase.digest, rebase.clone, rebase.contents = landing.Digest, landing.Clone, map[string]string{}
	digest, err := rebase.content(ctx, head)
	if err == nil && digest == rebase.digest {
		*v = rebase
	}
	return true, err
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
