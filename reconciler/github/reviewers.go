package github

import (
	"context"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/schemas"
)

// requestReviews asks those whose sign-off is missing, each once. Whom GitHub does not let us ask (somebody who
// cannot read the repository) is left out: the comment names them.
func (c *Client) requestReviews(ctx context.Context, pull *gh.PullRequest, p *schemas.Preview) error {
	if p.Verdict != schemas.VerdictSignoff || pull.GetState() != "open" || pull.GetDraft() {
		return nil
	}
	asked := map[string]bool{}
	for _, u := range pull.RequestedReviewers {
		asked["user:"+strings.ToLower(u.GetLogin())] = true
	}
	for _, t := range pull.RequestedTeams {
		asked["team:"+strings.ToLower(t.GetSlug())] = true
	}
	if p.Evidence != nil {
		for _, a := range p.Evidence.Authors {
			asked["user:"+strings.ToLower(a)] = true
		}
		for _, a := range p.Evidence.Approvals {
			if a.Counts {
				asked["user:"+strings.ToLower(a.Person)] = true
			}
		}
		for _, b := range p.Evidence.Beneficiaries {
			asked["user:"+strings.ToLower(b)] = true
		}
	}
	for _, r := range p.Unmet {
		for _, from := range r.From {
			var ask gh.ReviewersRequest
			if user, ok := strings.CutPrefix(from, "user:"); ok && !strings.Contains(user, "@") {
				ask.Reviewers = []string{user}
			} else if team, ok := strings.CutPrefix(from, "team:"); ok {
				org, slug, ok := strings.Cut(team, "/")
				if !ok || !strings.EqualFold(org, c.owner) {
					continue
				}
				ask.TeamReviewers, from = []string{slug}, "team:"+slug
			} else {
				continue
			}
			if key := strings.ToLower(from); asked[key] {
				continue
			} else {
				asked[key] = true
			}
			// One by one: GitHub refuses all when it refuses one.
			_, _, err := c.api.PullRequests.RequestReviewers(ctx, c.owner, c.name, pull.GetNumber(), ask)
			if isStatus(err, http.StatusUnprocessableEntity) {
				c.config.Logger.Info("GitHub does not let us ask for a review", "of", from)
				continue
			}
			if err != nil {
				return c.explain("request a review of "+from, err)
			}
		}
	}
	return nil
}
