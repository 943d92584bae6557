package github

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/schemas"
)

// labelPrefix marks our labels, one for each application.
const labelPrefix = "access:"

// applications are those that a preview is about.
func applications(p *schemas.Preview) []string {
	var out []string
	for _, a := range p.Plan.Applications {
		out = append(out, a.Application)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// label marks the pull request with the applications that it changes, and with no others.
func (c *Client) label(ctx context.Context, number int, apps []string) error {
	what := fmt.Sprintf("read the labels of pull request #%d", number)
	have, err := all(what, func(o *gh.ListOptions) ([]*gh.Label, *gh.Response, error) {
		return c.api.Issues.ListLabelsByIssue(ctx, c.owner, c.name, number, o)
	})
	if err != nil {
		return c.explain(what, err)
	}
	want := map[string]bool{}
	for _, a := range apps {
		want[labelPrefix+a] = true
	}
	for _, l := range have {
		if name := l.GetName(); strings.HasPrefix(name, labelPrefix) && !want[name] {
			if _, err := c.api.Issues.RemoveLabelForIssue(ctx, c.owner, c.name, number, name); err != nil && !isStatus(err, http.StatusNotFound) {
				return c.explain("take the label "+name+" off", err)
			}
		} else {
			delete(want, name)
		}
	}
	var add []string
	for _, a := range apps {
		if want[labelPrefix+a] {
			add = append(add, labelPrefix+a)
		}
	}
	if len(add) == 0 {
		return nil
	}
	// go-github sends the bare list, which the API's description no longer has.
	req, err := c.api.NewRequest(http.MethodPost, fmt.Sprintf("repos/%s/%s/issues/%d/labels", c.owner, c.name, number), map[string]any{"labels": add})
	if err == nil {
		_, err = c.api.Do(ctx, req, nil)
	}
	return c.explain("label the pull request", err)
}
