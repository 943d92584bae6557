package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// previewContext is the commit status whose creation proves what was previewed, and when.
const previewContext = "countersign/preview"

// maxCommits is how many commits of a pull request GitHub lists. One that has more has authors that cannot be told.
// https://docs.github.com/en/rest/pulls/pulls#list-commits-on-a-pull-request
const maxCommits = 250

// Forge reads reviews as evidence. It is made for one pass: what it asked once of teams, people and pull requests
// it does not ask again.
type Forge struct {
	client   *Client
	settings schemas.Forge
	branch   string

	mu       sync.Mutex
	accounts map[string]string // login → why its approval cannot count, "" for nothing
	statuses map[string][]*gh.RepoStatus
}

var (
	_ signoff.Forge = (*Forge)(nil)
	_ signoff.Teams = (*Forge)(nil)
)

// Forge is the evidence of a branch, by the settings as the base has them.
func (c *Client) Forge(s schemas.SettingsSpec) (*Forge, error) {
	if !strings.EqualFold(s.Forge.Repository, c.Repository()) {
		return nil, fmt.Errorf("%s: the forge's repository is %s, and this is a clone of %s", schemas.SettingsPath, s.Forge.Repository, c.Repository())
	}
	return &Forge{client: c, settings: s.Forge, branch: s.Branch, accounts: map[string]string{}, statuses: map[string][]*gh.RepoStatus{}}, nil
}

// Teams reads who is in which team. What cannot be read for want of a permission is left out, and then stands for
// nobody, or for those whom people.yaml names.
func (f *Forge) Teams(ctx context.Context, names []string) (map[string][]string, error) {
	out := map[string][]string{}
	for _, name := range names {
		org, slug, _ := strings.Cut(name, "/")
		users, err := all("the members of team "+name, func(o *gh.ListOptions) ([]*gh.User, *gh.Response, error) {
			return f.client.api.Teams.ListTeamMembersBySlug(ctx, org, slug, &gh.TeamListTeamMembersOptions{ListOptions: *o})
		})
		if isStatus(err, http.StatusNotFound, http.StatusForbidden) {
			f.client.c.Logger.Warn("a team cannot be read: it is not there, or the token lacks the organisation permission members: read; who is in it is what people.yaml says", "team", name)
			continue
		}
		if err != nil {
			return nil, f.client.said("read the members of team "+name, err)
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
func (f *Forge) Evidence(ctx context.Context, c signoff.Change) (schemas.Evidence, error) {
	e := schemas.Evidence{Forge: "github", Authors: []string{}, Approvals: []schemas.Approval{}, ContentDigest: c.Digest}
	pull, digest, err := f.landedBy(ctx, c)
	if err != nil {
		return e, err
	}
	if pull == nil {
		e.Problems = append(e.Problems, "it came by no pull request merged into "+f.branch+": a direct push is never admitted; a later pull request may admit it")
		return e, nil
	}
	merged := pull.GetMergedAt().Time
	e.MergedAt, e.MergedBy, e.ContentDigest = &merged, pull.GetMergedBy().GetLogin(), digest
	if err := f.describe(ctx, &e, pull, c.Directory); err != nil {
		return e, err
	}
	if len(c.Commit.Parents) == 1 {
		// A squash has the co-authors in its own message. Its author is whom GitHub says, its committer GitHub.
		f.coAuthors(&e, c.Commit.Message, c.Directory)
	}
	return e, f.approvals(ctx, &e, pull, digest, merged)
}

// Pending is the evidence of an open pull request, so far.
func (f *Forge) Pending(ctx context.Context, p signoff.Pending) (schemas.Evidence, error) {
	e := schemas.Evidence{Forge: "github", Authors: []string{}, Approvals: []schemas.Approval{}, ContentDigest: p.Digest, Head: p.Head}
	if p.PullRequest == 0 {
		// Before there is a pull request, or without a word with GitHub: who an address is, GitHub will tell.
		for _, c := range p.Commits {
			for _, person := range append([]history.Person{c.Author, c.Committer}, history.CoAuthors(c.Message)...) {
				f.person(&e, nil, person, p.Directory)
				if person.Email != "" {
					e.Authors, e.Unattributed = append(e.Authors, person.Email), nil
				}
			}
		}
		tidy(&e)
		return e, nil
	}
	pull, err := f.client.pull(ctx, p.PullRequest)
	if err != nil {
		return e, err
	}
	if got := pull.GetHead().GetSHA(); got != p.Head {
		return e, &MovedError{PullRequest: p.PullRequest, Head: got, Previewed: p.Head}
	}
	if err := f.describe(ctx, &e, pull, p.Directory); err != nil {
		return e, err
	}
	return e, f.approvals(ctx, &e, pull, p.Digest, time.Time{})
}

// MovedError says that a pull request got another head while it was looked at.
type MovedError struct {
	PullRequest     int
	Head, Previewed string
}

// Error says what to do.
func (e *MovedError) Error() string {
	return fmt.Sprintf("pull request #%d is at %s by now, not at %s: the preview of the new head takes this one's place", e.PullRequest, short(e.Head), short(e.Previewed))
}

func short(hash string) string { return hash[:min(len(hash), 8)] }

func (c *Client) pull(ctx context.Context, number int) (*gh.PullRequest, error) {
	pull, _, err := c.api.PullRequests.Get(ctx, c.owner, c.name, number)
	return pull, c.said(fmt.Sprintf("read pull request #%d", number), err)
}

// landedBy finds the pull request that a commit of the branch landed, and the digest of what it landed as a whole.
// nil is none: several may contain the commit, and only the one whose merge made it counts.
func (f *Forge) landedBy(ctx context.Context, c signoff.Change) (*gh.PullRequest, string, error) {
	what := "find the pull request of " + short(c.Commit.Hash)
	candidates, err := all(what, func(o *gh.ListOptions) ([]*gh.PullRequest, *gh.Response, error) {
		return f.client.api.PullRequests.ListPullRequestsWithCommit(ctx, f.client.owner, f.client.name, c.Commit.Hash, o)
	})
	if isStatus(err, http.StatusNotFound, http.StatusUnprocessableEntity) {
		return nil, "", fmt.Errorf("%s: GitHub does not know the commit: push it, or fetch the branch anew", what)
	}
	if err != nil {
		return nil, "", f.client.said(what, err)
	}
	for _, candidate := range candidates {
		if candidate.MergedAt == nil || candidate.GetBase().GetRef() != f.branch {
			continue
		}
		pull, err := f.client.pull(ctx, candidate.GetNumber())
		if err != nil {
			return nil, "", err
		}
		if !pull.GetMerged() || pull.GetBase().GetRef() != f.branch || !strings.EqualFold(pull.GetBase().GetRepo().GetFullName(), f.client.Repository()) {
			continue
		}
		last := pull.GetMergeCommitSHA()
		if last == c.Commit.Hash && (len(c.Commit.Parents) > 1 || pull.GetCommits() < 2) {
			return pull, c.Digest, nil
		}
		if pull.GetCommits() < 2 || pull.GetCommits() > maxCommits || len(c.Commit.Parents) > 1 {
			continue
		}
		// A squash, or one of the commits of a rebase: of the latter it is the whole that was approved. Which one it
		// is shows in what was previewed.
		commits, digest, err := c.Range(ctx, last, pull.GetCommits())
		if err != nil && !errors.Is(err, history.ErrNotFound) {
			return nil, "", err
		}
		previewed, perr := f.previewed(ctx, pull.GetHead().GetSHA(), pull.GetNumber())
		if perr != nil {
			return nil, "", perr
		}
		isLast := last == c.Commit.Hash
		switch whole := err == nil && slices.Contains(commits, c.Commit.Hash); {
		case isLast && has(previewed, c.Digest):
			return pull, c.Digest, nil
		case whole && has(previewed, digest):
			return pull, digest, nil
		case isLast || whole:
			return pull, c.Digest, nil
		}
	}
	return nil, "", nil
}

// describe fills in who made the pull request.
func (f *Forge) describe(ctx context.Context, e *schemas.Evidence, pull *gh.PullRequest, d *signoff.Directory) error {
	number := pull.GetNumber()
	e.PullRequest, e.URL, e.Title, e.Head = number, pull.GetHTMLURL(), pull.GetTitle(), pull.GetHead().GetSHA()
	if login := pull.GetUser().GetLogin(); login != "" {
		e.Authors = append(e.Authors, login)
	} else {
		e.Unattributed = append(e.Unattributed, "whoever opened the pull request, whose account is gone")
	}
	what := fmt.Sprintf("read the commits of pull request #%d", number)
	commits, err := all(what, func(o *gh.ListOptions) ([]*gh.RepositoryCommit, *gh.Response, error) {
		return f.client.api.PullRequests.ListCommits(ctx, f.client.owner, f.client.name, number, o)
	})
	if err != nil {
		return f.client.said(what, err)
	}
	if len(commits) >= maxCommits || len(commits) < pull.GetCommits() {
		e.Unattributed = append(e.Unattributed, fmt.Sprintf("the authors of the pull request's commits, of which GitHub lists %d of %d: split it, or squash them", len(commits), pull.GetCommits()))
	}
	for _, c := range commits {
		f.person(e, c.Author, personOf(c.GetCommit().GetAuthor()), d)
		// What is made in the browser is committed by GitHub, which says so with its signature. Without one, anybody
		// may have written its name.
		if c.GetCommitter().GetLogin() != "web-flow" || !c.GetCommit().GetVerification().GetVerified() {
			f.person(e, c.Committer, personOf(c.GetCommit().GetCommitter()), d)
		}
		f.coAuthors(e, c.GetCommit().GetMessage(), d)
	}
	if err := f.pushers(ctx, e, pull); err != nil {
		return err
	}
	tidy(e)
	return nil
}

func personOf(a *gh.CommitAuthor) history.Person {
	return history.Person{Name: a.GetName(), Email: a.GetEmail()}
}

func (f *Forge) coAuthors(e *schemas.Evidence, message string, d *signoff.Directory) {
	for _, p := range history.CoAuthors(message) {
		f.person(e, nil, p, d)
	}
	tidy(e)
}

// noreply is the address that GitHub gives out in place of somebody's own.
var noreply = regexp.MustCompile(`(?i)^(?:[0-9]+\+)?([a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\[bot\])?)@users\.noreply\.[a-z0-9.-]+$`)

// person adds whoever wrote a commit: the account that GitHub attributes it to, the one of the address that GitHub
// gave out, or the person of people.yaml. Anybody else cannot be told to be anybody.
func (f *Forge) person(e *schemas.Evidence, account *gh.User, p history.Person, d *signoff.Directory) {
	switch m := noreply.FindStringSubmatch(p.Email); {
	case account.GetLogin() != "":
		e.Authors = append(e.Authors, account.GetLogin())
	case d.Known(p.Email) && !strings.Contains(d.Canonical(p.Email), "@"):
		// Somebody of whom people.yaml has no login could approve under that.
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

// pushers adds who pushed to the head branch: names in commits are the pusher's to choose. GitHub tells it of a
// branch in the same repository. Where it does not tell, the names in the commits are what there is.
func (f *Forge) pushers(ctx context.Context, e *schemas.Evidence, pull *gh.PullRequest) error {
	head := pull.GetHead()
	if !strings.EqualFold(head.GetRepo().GetFullName(), f.client.Repository()) {
		return nil
	}
	what := "read who pushed to " + head.GetRef()
	after := ""
	for range maxPages {
		req, err := f.client.api.NewRequest(http.MethodGet, fmt.Sprintf("repos/%s/%s/activity?ref=%s&per_page=%d%s",
			f.client.owner, f.client.name, url.QueryEscape("refs/heads/"+head.GetRef()), perPage, after), nil)
		if err != nil {
			return f.client.said(what, err)
		}
		var list []activity
		resp, err := f.client.api.Do(ctx, req, &list)
		if isStatus(err, http.StatusNotFound, http.StatusForbidden) {
			f.client.c.Logger.Warn("GitHub does not tell who pushed to the branch: require that the last push is approved by another", "branch", head.GetRef())
			return nil
		}
		if err != nil {
			return f.client.said(what, err)
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

// approvals adds the reviews. A merge at the zero instant is one that has not happened.
func (f *Forge) approvals(ctx context.Context, e *schemas.Evidence, pull *gh.PullRequest, digest string, merged time.Time) error {
	number := pull.GetNumber()
	what := fmt.Sprintf("read the reviews of pull request #%d", number)
	reviews, err := all(what, func(o *gh.ListOptions) ([]*gh.PullRequestReview, *gh.Response, error) {
		return f.client.api.PullRequests.ListReviews(ctx, f.client.owner, f.client.name, number, o)
	})
	if err != nil {
		return f.client.said(what, err)
	}
	node, err := f.node(ctx, pull.GetHead().GetSHA(), number, digest)
	if err != nil {
		return err
	}
	if !node.IsZero() {
		e.PreviewDigest, e.PreviewAt = &digest, &node
	}
	for _, r := range latest(reviews, merged) {
		login := r.GetUser().GetLogin()
		at := r.GetSubmittedAt().Time
		a := schemas.Approval{Person: login, At: &at, Commit: r.GetCommitID(), Authenticated: true, Method: "review"}
		if a.Why, err = f.account(ctx, r.GetUser()); err != nil {
			return err
		}
		a.Named = a.Why == "" && r.GetUser().GetType() != "User"
		if a.Why == "" {
			if a.Why, err = f.saw(ctx, r, number, digest); err != nil {
				return err
			}
		}
		e.Approvals = append(e.Approvals, a)
	}
	return nil
}

// latest are the approvals that are their author's last word before the merge, in the order in which they were
// given. A comment is no word; a dismissed review was taken back, and does not bring an older one forth.
func latest(reviews []*gh.PullRequestReview, merged time.Time) []*gh.PullRequestReview {
	last := map[int64]*gh.PullRequestReview{}
	var out []*gh.PullRequestReview
	for _, r := range reviews {
		state := strings.ToUpper(r.GetState())
		if state == "COMMENTED" || state == "PENDING" || r.SubmittedAt == nil {
			continue
		}
		if !merged.IsZero() && r.GetSubmittedAt().After(merged) {
			continue
		}
		if r.GetUser() == nil {
			continue // nobody's: the account is gone
		}
		id := r.GetUser().GetID()
		if was := last[id]; was != nil && (was.GetSubmittedAt().After(r.GetSubmittedAt().Time) ||
			was.GetSubmittedAt().Equal(r.GetSubmittedAt()) && was.GetID() > r.GetID()) {
			continue
		}
		last[id] = r
	}
	for _, r := range last {
		if strings.EqualFold(r.GetState(), "APPROVED") {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *gh.PullRequestReview) int {
		if c := a.GetSubmittedAt().Compare(b.GetSubmittedAt().Time); c != 0 {
			return c
		}
		return int(a.GetID() - b.GetID())
	})
	return out
}

// account says why an account's approval cannot count: "" for nothing. It must be a person's, not suspended, and
// able to write to the repository, as GitHub asks of a review that counts.
func (f *Forge) account(ctx context.Context, u *gh.User) (why string, err error) {
	login := u.GetLogin()
	f.mu.Lock()
	why, ok := f.accounts[login]
	f.mu.Unlock()
	if ok {
		return why, nil
	}
	defer func() {
		if err == nil {
			f.mu.Lock()
			f.accounts[login] = why
			f.mu.Unlock()
		}
	}()
	named := slices.ContainsFunc(f.settings.Bots, func(b string) bool { return strings.EqualFold(b, login) })
	if u.GetType() != "User" {
		if !named {
			return "it is a bot's", nil
		}
		return "", nil
	}
	user, _, err := f.client.api.Users.Get(ctx, login)
	switch {
	case isStatus(err, http.StatusNotFound):
		return "the account is gone or suspended", nil
	case err != nil:
		return "", f.client.said("read the account "+login, err)
	case user.SuspendedAt != nil:
		return "the account is suspended", nil
	}
	level, _, err := f.client.api.Repositories.GetPermissionLevel(ctx, f.client.owner, f.client.name, login)
	switch {
	case isStatus(err, http.StatusNotFound):
		return "the account has no access to the repository", nil
	case err != nil:
		return "", f.client.said("read the permission of "+login, err)
	}
	switch level.GetPermission() {
	case "admin", "write", "maintain":
		return "", nil
	}
	return fmt.Sprintf("the account may not write to the repository (it may %s)", level.GetPermission()), nil
}

// saw says why a review does not show that its author saw this content: "" where it does.
func (f *Forge) saw(ctx context.Context, r *gh.PullRequestReview, number int, digest string) (string, error) {
	commit, at := r.GetCommitID(), r.GetSubmittedAt().Time
	if commit == "" {
		return "GitHub does not tell which commit it is of", nil
	}
	for range maxCommits {
		node, err := f.node(ctx, commit, number, digest)
		switch {
		case err != nil:
			return "", err
		case node.IsZero():
			return "it is not of this content: the preview of the commit that it is of shows other content, or there is none", nil
		case at.After(node):
			return "", nil
		}
		// The commit's preview is younger than the review. That is well if GitHub re-pointed the review over a merge of
		// the base, which changed nothing of the content.
		c, _, err := f.client.api.Git.GetCommit(ctx, f.client.owner, f.client.name, commit)
		if err != nil {
			return "", f.client.said("read commit "+short(commit), err)
		}
		if len(c.Parents) < 2 {
			return fmt.Sprintf("it was given before the preview of this content (%s)", node.UTC().Format(time.RFC3339)), nil
		}
		commit = c.Parents[0].GetSHA()
	}
	return "it is too far back to be followed", nil
}

// evidence of a preview is in the description of its status.
var described = regexp.MustCompile(`^pull request #([0-9]+), content ([0-9a-f]{64})$`)

func describeStatus(number int, digest string) string {
	return fmt.Sprintf("pull request #%d, content %s", number, digest)
}

// node is when the digest was published last for the pull request on a commit; zero for never, and where the last
// word there is another digest.
func (f *Forge) node(ctx context.Context, commit string, number int, digest string) (time.Time, error) {
	list, err := f.previewed(ctx, commit, number)
	if err != nil || len(list) == 0 || list[len(list)-1].digest != digest {
		return time.Time{}, err
	}
	return list[len(list)-1].at, nil
}

// published is one preview of a pull request.
type published struct {
	digest string
	at     time.Time
}

func has(list []published, digest string) bool {
	return len(list) > 0 && list[len(list)-1].digest == digest
}

// previewed are the previews of a pull request that were published on a commit by whom the settings name, oldest
// first.
func (f *Forge) previewed(ctx context.Context, commit string, number int) ([]published, error) {
	f.mu.Lock()
	statuses, ok := f.statuses[commit]
	f.mu.Unlock()
	if !ok {
		what := "read the statuses of " + short(commit)
		var err error
		statuses, err = all(what, func(o *gh.ListOptions) ([]*gh.RepoStatus, *gh.Response, error) {
			return f.client.api.Repositories.ListStatuses(ctx, f.client.owner, f.client.name, commit, o)
		})
		if isStatus(err, http.StatusNotFound, http.StatusUnprocessableEntity) {
			statuses, err = nil, nil // a commit that is gone has no preview
		}
		if err != nil {
			return nil, f.client.said(what, err)
		}
		f.mu.Lock()
		f.statuses[commit] = statuses
		f.mu.Unlock()
	}
	return previews(statuses, number, f.settings.Publisher), nil
}

func previews(statuses []*gh.RepoStatus, number int, publisher string) []published {
	var out []published
	for _, s := range statuses {
		if s.GetContext() != previewContext || s.GetState() != "success" || !strings.EqualFold(s.GetCreator().GetLogin(), publisher) || s.CreatedAt == nil {
			continue
		}
		m := described.FindStringSubmatch(s.GetDescription())
		if m == nil || m[1] != strconv.Itoa(number) {
			continue
		}
		out = append(out, published{m[2], s.GetCreatedAt().Time})
	}
	slices.SortStableFunc(out, func(a, b published) int { return a.at.Compare(b.at) })
	return out
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
