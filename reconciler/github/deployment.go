package github

import (
	"context"
	"fmt"
	"net/http"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/forge"
)

// environment is where deployments show the outcome of a merge.
const environment = "access"

// Tell writes a receipt to its pull request: into the one comment, and as a deployment of the environment access.
func (c *Client) Tell(ctx context.Context, r forge.Receipt, body, publisher, url string) error {
	ours, err := c.sticky(ctx, r.Number, publisher)
	if err != nil {
		return err
	}
	m := marker{number: r.Number}
	if len(ours) > 0 {
		m, _ = parseMarker(ours[0].GetBody())
	}
	if _, err := c.comment(ctx, r.Number, ours, m, body); err != nil {
		return err
	}
	err = c.deployment(ctx, r, url)
	if isStatus(err, http.StatusForbidden) {
		c.config.Logger.Warn("the deployment status was not written (permission deployments: write)", "pull_request", r.Number)
		return nil
	}
	return err
}

func (c *Client) deployment(ctx context.Context, r forge.Receipt, url string) error {
	what := "read the deployments of " + short(r.Commit)
	list, err := all(what, func(o *gh.ListOptions) ([]*gh.Deployment, *gh.Response, error) {
		return c.api.Repositories.ListDeployments(ctx, c.owner, c.name, &gh.DeploymentsListOptions{SHA: r.Commit, Environment: environment, ListOptions: *o})
	})
	if err != nil {
		return c.explain(what, err)
	}
	var id int64
	if len(list) > 0 {
		id = list[0].GetID()
	} else {
		d, _, err := c.api.Repositories.CreateDeployment(ctx, c.owner, c.name, &gh.DeploymentRequest{Ref: &r.Commit, Environment: gh.String(environment), AutoMerge: gh.Bool(false),
			RequiredContexts: &[]string{}, Description: gh.String(fmt.Sprintf("pull request #%d", r.Number))})
		if err != nil {
			return c.explain("make the deployment", err)
		}
		id = d.GetID()
	}
	statuses, _, err := c.api.Repositories.ListDeploymentStatuses(ctx, c.owner, c.name, id, &gh.ListOptions{PerPage: 1})
	if err != nil {
		return c.explain("read the deployment's status", err)
	}
	text := cut(r.Text, maxDescription)
	if len(statuses) > 0 && statuses[0].GetState() == string(r.State) && statuses[0].GetDescription() == text {
		return nil
	}
	s := &gh.DeploymentStatusRequest{State: gh.String(string(r.State)), Description: &text, AutoInactive: gh.Bool(false)}
	if url != "" {
		s.LogURL = &url
	}
	_, _, err = c.api.Repositories.CreateDeploymentStatus(ctx, c.owner, c.name, id, s)
	return c.explain("write the deployment's status", err)
}
