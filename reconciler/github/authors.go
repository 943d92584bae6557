package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/schemas"
)

// describe fills in who made the pull request.
func (v *view) describe(ctx context.Context, e *schemas.Evidence) error {
	c, pull := v.ev.client, v.pull
	number := pull.GetNumber()
	e.PullRequest, e.URL, e.Title, e.Head = number, pull.GetHTMLURL(), pull.GetTitle(), pull.GetHead().GetSHA()
	if err := v.account(ctx, e, pull.User, "the opener of the pull request"); err != nil {
		return err
	}
	what := fmt.Sprintf("read the commits of pull request #%d", number)
	commits, err := all(what, func(o *gh.ListOptions) ([]*gh.RepositoryCommit, *gh.Response, error) {
		return c.api.PullRequests.ListCommits(ctx, c.owner, c.name, number, o)
	})
	if err != nil {
		return c.explain(what, err)
	}
	if len(commits) >= maxCommits || len(commits) < pull.GetCommits() {
		e.Unattributed = append(e.Unattributed, fmt.Sprintf("the authors of the pull request's commits, of which GitHub lists %d of %d: split it, or squash them", len(commits), pull.GetCommits()))
	}
	signed := len(commits) > 0
	for _, k := range commits {
		verified := k.GetCommit().GetVerification().GetVerified()
		signed = signed && verified
		if err := v.person(ctx, e, k.Author, personOf(k.GetCommit().GetAuthor())); err != nil {
			return err
		}
		// GitHub commits and signs edits made in the browser. Without its signature, anybody
		// may have written its name.
		if k.GetCommitter().GetLogin() != "web-flow" || !verified {
			if err := v.person(ctx, e, k.Committer, personOf(k.GetCommit().GetCommitter())); err != nil {
				return err
			}
		}
		for _, p := range history.CoAuthors(k.GetCommit().GetMessage()) {
			if err := v.person(ctx, e, nil, p); err != nil {
				return err
			}
		}
	}
	if err := v.pushers(ctx, e, signed); err != nil {
		return err
	}
	tidy(e)
	return nil
}

func personOf(a *gh.CommitAuthor) history.Person {
	return history.Person{Name: a.GetName(), Email: a.GetEmail()}
}

// noreply is the address that GitHub gives out in place of somebody's own.
var noreply = regexp.MustCompile(`(?i)^(?:[0-9]+\+)?([a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\[bot\])?)@users\.noreply\.[a-z0-9.-]+$`)

// isGone reports whether an account was deleted. GitHub attributes what it did to the account ghost, or to nobody.
// https://docs.github.com/en/account-and-profile/how-tos/account-management/deleting-your-personal-account
func isGone(u *gh.User) bool {
	return u == nil || u.GetLogin() == "" || strings.EqualFold(u.GetLogin(), "ghost")
}

// mayAuthor reports whether the settings name a bot as one that may make changes.
func (ev *Evidence) mayAuthor(login string) bool {
	return slices.ContainsFunc(ev.settings.AuthorBots, func(b string) bool { return strings.EqualFold(b, login) })
}

// loginOf returns the login of the person behind an account, by its id where people.yaml has it, and why that can't be told.
func (v *view) loginOf(ctx context.Context, u *gh.User) (login, why string, err error) {
	login = u.GetLogin()
	switch {
	case isGone(u):
		return login, "the account is gone", nil
	case u.GetType() != "User" && !v.ev.mayAuthor(login):
		return login, fmt.Sprintf("%s is a bot that the settings do not name (forge.author_bots)", login), nil
	}
	if v.people == nil {
		return login, "", nil
	}
	if known := v.people.Login(u.GetID()); known != "" {
		return known, "", nil
	}
	id, err := v.people.Account(ctx, login)
	if err != nil {
		return login, "", err
	}
	if id != 0 && id != u.GetID() {
		return login, fmt.Sprintf("the login %s belongs to account %d now, and account %d is on record for it: put the right account_id into people.yaml", login, u.GetID(), id), nil
	}
	return login, "", nil
}

// account adds who did something, by the account.
func (v *view) account(ctx context.Context, e *schemas.Evidence, u *gh.User, what string) error {
	login, why, err := v.loginOf(ctx, u)
	if why == "" && err == nil {
		e.Authors = append(e.Authors, login)
	} else if err == nil {
		e.Unattributed = append(e.Unattributed, fmt.Sprintf("%s (%s)", what, why))
	}
	return err
}

// person adds the author of a commit: the account that GitHub attributes it to, or the person of people.yaml, or the
// account of the address that GitHub gave out. Anybody else is unattributed.
func (v *view) person(ctx context.Context, e *schemas.Evidence, account *gh.User, p history.Person) error {
	name := strings.TrimSpace(p.Name + " <" + p.Email + ">")
	if account.GetLogin() != "" {
		return v.account(ctx, e, account, name)
	}
	m := noreply.FindStringSubmatch(p.Email)
	switch {
	case v.people.Known(p.Email) && !strings.Contains(v.people.Canonical(p.Email), "@"):
		// A person without a login in people.yaml could approve under it.
		e.Authors = append(e.Authors, v.people.Canonical(p.Email))
	case m == nil, strings.HasSuffix(m[1], "[bot]") && !v.ev.mayAuthor(m[1]):
		e.Unattributed = append(e.Unattributed, name)
	default:
		e.Authors = append(e.Authors, m[1])
	}
	return nil
}

// activity is one push, as GitHub lists them.
// https://docs.github.com/en/rest/repos/repos#list-repository-activities
type activity struct {
	Actor     *gh.User     `json:"actor"`
	After     string       `json:"after"`
	Timestamp gh.Timestamp `json:"timestamp"`
}

// pushers adds those who pushed to the head branch, since a pusher chooses the names in commits. GitHub shows them for a
// branch of the same repository. signed means that GitHub verified the signature of each commit, whose names are not the
// pusher's choice then.
func (v *view) pushers(ctx context.Context, e *schemas.Evidence, signed bool) error {
	if v.isFork() {
		if !signed {
			e.Unattributed = append(e.Unattributed, "the pushers to the fork, which GitHub does not show: sign every commit, or open the pull request from a branch of the repository")
		}
		return nil
	}
	if err := v.listPushes(ctx); err != nil {
		return err
	}
	if v.unseen != "" {
		e.Unattributed = append(e.Unattributed, v.unseen)
	}
	for _, a := range v.pushes {
		if err := v.account(ctx, e, a.Actor, "the pusher of "+short(a.After)); err != nil {
			return err
		}
	}
	return nil
}

// listPushes reads the pushes to the head branch once.
func (v *view) listPushes(ctx context.Context) error {
	if v.listed {
		return nil
	}
	c, head := v.ev.client, v.pull.GetHead()
	what := "read who pushed to " + head.GetRef()
	after := ""
	for range maxPages {
		req, err := c.api.NewRequest(http.MethodGet, fmt.Sprintf("repos/%s/%s/activity?ref=%s&per_page=%d%s",
			c.owner, c.name, url.QueryEscape("refs/heads/"+head.GetRef()), perPage, after), nil)
		if err != nil {
			return c.explain(what, err)
		}
		var list []activity
		resp, err := c.api.Do(ctx, req, &list)
		if isStatus(err, http.StatusNotFound, http.StatusForbidden) {
			v.listed, v.unseen = true, "the pushers to "+head.GetRef()+", which GitHub does not show (the token needs the permission contents: read)"
			return nil
		}
		if err != nil {
			return c.explain(what, err)
		}
		v.pushes = append(v.pushes, list...)
		// This list has cursors for pages.
		if resp.After == "" {
			v.listed = true
			return v.pushedHead(what)
		}
		after = "&after=" + url.QueryEscape(resp.After)
	}
	v.listed, v.unseen = true, fmt.Sprintf("the pushers to %s, of whom there are more than %d: use another branch", head.GetRef(), maxPages*perPage)
	return nil
}

// activityLag is how long GitHub may take to list a push.
const activityLag = 10 * time.Minute

// pushedHead checks that the push of the merged head is listed.
func (v *view) pushedHead(what string) error {
	head := v.pull.GetHead()
	if v.merged.IsZero() || slices.ContainsFunc(v.pushes, func(a activity) bool { return a.After == head.GetSHA() }) {
		return nil
	}
	if v.ev.client.config.Now().Sub(v.merged) < activityLag {
		return fmt.Errorf("%s: GitHub does not list the push of %s yet; run again in some minutes", what, short(head.GetSHA()))
	}
	v.unseen = fmt.Sprintf("the pusher of %s to %s, which GitHub does not list", short(head.GetSHA()), head.GetRef())
	return nil
}
