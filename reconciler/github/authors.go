package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/schemas"
)

// describe fills in who made the pull request.
func (ev *Evidence) describe(ctx context.Context, e *schemas.Evidence, pull *gh.PullRequest, d forge.People) error {
	number := pull.GetNumber()
	e.PullRequest, e.URL, e.Title, e.Head = number, pull.GetHTMLURL(), pull.GetTitle(), pull.GetHead().GetSHA()
	if login := pull.GetUser().GetLogin(); login != "" {
		e.Authors = append(e.Authors, login)
	} else {
		e.Unattributed = append(e.Unattributed, "the opener of the pull request, whose account is gone")
	}
	what := fmt.Sprintf("read the commits of pull request #%d", number)
	commits, err := all(what, func(o *gh.ListOptions) ([]*gh.RepositoryCommit, *gh.Response, error) {
		return ev.client.api.PullRequests.ListCommits(ctx, ev.client.owner, ev.client.name, number, o)
	})
	if err != nil {
		return ev.client.explain(what, err)
	}
	if len(commits) >= maxCommits || len(commits) < pull.GetCommits() {
		e.Unattributed = append(e.Unattributed, fmt.Sprintf("the authors of the pull request's commits, of which GitHub lists %d of %d: split it, or squash them", len(commits), pull.GetCommits()))
	}
	for _, c := range commits {
		ev.person(e, c.Author, personOf(c.GetCommit().GetAuthor()), d)
		// GitHub commits and signs edits made in the browser. Without its signature, anybody
		// may have written its name.
		if c.GetCommitter().GetLogin() != "web-flow" || !c.GetCommit().GetVerification().GetVerified() {
			ev.person(e, c.Committer, personOf(c.GetCommit().GetCommitter()), d)
		}
		ev.coAuthors(e, c.GetCommit().GetMessage(), d)
	}
	if err := ev.pushers(ctx, e, pull); err != nil {
		return err
	}
	tidy(e)
	return nil
}

func personOf(a *gh.CommitAuthor) history.Person {
	return history.Person{Name: a.GetName(), Email: a.GetEmail()}
}

func (ev *Evidence) coAuthors(e *schemas.Evidence, message string, d forge.People) {
	for _, p := range history.CoAuthors(message) {
		ev.person(e, nil, p, d)
	}
	tidy(e)
}

// noreply is the address that GitHub gives out in place of somebody's own.
var noreply = regexp.MustCompile(`(?i)^(?:[0-9]+\+)?([a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\[bot\])?)@users\.noreply\.[a-z0-9.-]+$`)

// person adds the author of a commit: the account that GitHub attributes it to, the one of the address that GitHub
// gave out, or the person of people.yaml. Anybody else is unattributed.
func (ev *Evidence) person(e *schemas.Evidence, account *gh.User, p history.Person, d forge.People) {
	switch m := noreply.FindStringSubmatch(p.Email); {
	case account.GetLogin() != "":
		e.Authors = append(e.Authors, account.GetLogin())
	case d.Known(p.Email) && !strings.Contains(d.Canonical(p.Email), "@"):
		// A person without a login in people.yaml could approve under it.
		e.Authors = append(e.Authors, d.Canonical(p.Email))
	case m != nil:
		e.Authors = append(e.Authors, m[1])
	default:
		e.Unattributed = append(e.Unattributed, strings.TrimSpace(p.Name+" <"+p.Email+">"))
	}
}

// activity is one push, as GitHub lists them.
// https://docs.github.com/en/rest/repos/repos#list-repository-activities
type activity struct {
	Actor *gh.User `json:"actor"`
	After string   `json:"after"`
}

// pushers adds those who pushed to the head branch, since a pusher chooses the names in commits. GitHub lists them for
// a branch in the same repository. Otherwise only the names in the commits are known.
func (ev *Evidence) pushers(ctx context.Context, e *schemas.Evidence, pull *gh.PullRequest) error {
	head := pull.GetHead()
	if !strings.EqualFold(head.GetRepo().GetFullName(), ev.client.Repository()) {
		return nil
	}
	what := "read who pushed to " + head.GetRef()
	after := ""
	for range maxPages {
		req, err := ev.client.api.NewRequest(http.MethodGet, fmt.Sprintf("repos/%s/%s/activity?ref=%s&per_page=%d%s",
			ev.client.owner, ev.client.name, url.QueryEscape("refs/heads/"+head.GetRef()), perPage, after), nil)
		if err != nil {
			return ev.client.explain(what, err)
		}
		var list []activity
		resp, err := ev.client.api.Do(ctx, req, &list)
		if isStatus(err, http.StatusNotFound, http.StatusForbidden) {
			ev.client.config.Logger.Warn("GitHub does not show who pushed to the branch: require that the last push is approved by another", "branch", head.GetRef())
			return nil
		}
		if err != nil {
			return ev.client.explain(what, err)
		}
		for _, a := range list {
			if login := a.Actor.GetLogin(); login != "" {
				e.Authors = append(e.Authors, login)
			}
		}
		// This list has cursors for pages.
		if resp.After == "" {
			return nil
		}
		after = "&after=" + url.QueryEscape(resp.After)
	}
	return fmt.Errorf("%s: more than %d pushes", what, maxPages*perPage)
}
