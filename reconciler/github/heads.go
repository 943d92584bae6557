package github

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/forge"
)

var _ forge.Heads = (*Client)(nil)

// headContext is the context of the statuses that have the ledger's head. GitHub keeps at most 1,000 for each commit and
// context, and removes none.
const headContext = "countersign/ledger"

// maxHeadPages bounds the pages of statuses that are looked through: anybody can add more.
const maxHeadPages = 3

// LeaveHead leaves a statement about the ledger as a status of a commit.
func (c *Client) LeaveHead(ctx context.Context, commit, statement string) error {
	_, _, err := c.api.Repositories.CreateStatus(ctx, c.owner, c.name, commit, &gh.RepoStatus{Context: gh.String(headContext), State: gh.String("success"), Description: &statement})
	return c.explain("leave the ledger's head", err)
}

// HeadsAt returns the statements about the ledger among the statuses of a commit.
func (c *Client) HeadsAt(ctx context.Context, commit string) ([]string, error) {
	var out []string
	for page := 1; page <= maxHeadPages; page++ {
		list, _, err := c.api.Repositories.ListStatuses(ctx, c.owner, c.name, commit, &gh.ListOptions{PerPage: 100, Page: page})
		if isStatus(err, http.StatusNotFound, http.StatusUnprocessableEntity) {
			return nil, nil // a commit that isn't there
		}
		if err != nil {
			return nil, c.explain(fmt.Sprintf("read the statuses of %s", short(commit)), err)
		}
		for _, s := range list {
			if strings.EqualFold(s.GetContext(), headContext) {
				out = append(out, s.GetDescription())
			}
		}
		if len(list) < 100 {
			break
		}
	}
	return out, nil
}
