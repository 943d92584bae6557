package github

import (
	"context"
	"fmt"
	"slices"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/schemas"
)

// checkName is the check run's name.
const checkName = "countersign"

// maxAnnotations is how many annotations one call may bring.
const maxAnnotations = 50

// check writes the check run, with annotations at the lines of findings.
func (c *Client) check(ctx context.Context, p forge.Publication) error {
	head := p.Preview.Head
	conclusion, title := "success", "no objection"
	if s := forge.PolicyStatus(p.Preview); s.State != forge.StatusSuccess {
		conclusion, title = "failure", s.Text
	} else if p.Preview.Verdict == schemas.VerdictSignoff {
		title = forge.SignoffStatus(p.Preview, p.Lacking).Text
	}
	notes := annotations(p.Preview)
	output := &gh.CheckRunOutput{Title: &title, Summary: gh.String(p.Body), Annotations: notes[:min(len(notes), maxAnnotations)]}
	runs, _, err := c.api.Checks.ListCheckRunsForRef(ctx, c.owner, c.name, head, &gh.ListCheckRunsOptions{CheckName: gh.String(checkName), Filter: gh.String("latest")})
	if err != nil {
		return c.explain("read the check runs", err)
	}
	external := fmt.Sprintf("pull request #%d, content %s", p.Number, p.Preview.ContentDigest)
	var id int64
	for _, r := range runs.CheckRuns {
		// The same state again: a check run of it is there, with its annotations.
		if r.GetExternalID() == external && strings.EqualFold(r.GetApp().GetSlug()+"[bot]", p.Publisher) {
			id = r.GetID()
			output.Annotations = nil
			notes = nil
		}
	}
	if id == 0 {
		o := gh.CreateCheckRunOptions{Name: checkName, HeadSHA: head, Status: gh.String("completed"), Conclusion: &conclusion, Output: output, ExternalID: &external}
		if p.URL != "" {
			o.DetailsURL = &p.URL
		}
		run, _, err := c.api.Checks.CreateCheckRun(ctx, c.owner, c.name, o)
		if err != nil {
			return c.explain("make the check run", err)
		}
		id = run.GetID()
	} else if _, _, err := c.api.Checks.UpdateCheckRun(ctx, c.owner, c.name, id, gh.UpdateCheckRunOptions{Name: checkName, Status: gh.String("completed"), Conclusion: &conclusion, Output: output}); err != nil {
		return c.explain("update the check run", err)
	}
	for at := maxAnnotations; at < len(notes); at += maxAnnotations {
		more := &gh.CheckRunOutput{Title: &title, Summary: gh.String(p.Body), Annotations: notes[at:min(len(notes), at+maxAnnotations)]}
		if _, _, err := c.api.Checks.UpdateCheckRun(ctx, c.owner, c.name, id, gh.UpdateCheckRunOptions{Name: checkName, Output: more}); err != nil {
			return c.explain("add annotations", err)
		}
	}
	return nil
}

// annotations are a preview's findings and policy results that have a place, the worst first.
func annotations(p *schemas.Preview) []*gh.CheckRunAnnotation {
	var out []*gh.CheckRunAnnotation
	add := func(level, path string, line int, code, msg, fix string) {
		if path == "" {
			return
		}
		msg = report.Safe(msg)
		if fix != "" {
			msg += "\n" + report.Safe(fix)
		}
		line = max(line, 1)
		out = append(out, &gh.CheckRunAnnotation{Path: &path, StartLine: &line, EndLine: &line, AnnotationLevel: &level, Title: &code, Message: &msg})
	}
	for _, f := range p.Errors {
		level := "failure"
		if f.Severity != schemas.SeverityError {
			level = "warning"
		}
		add(level, f.Position.Path, f.Position.Line, f.Code, f.Message, f.Fix)
	}
	if p.Decision != nil {
		for _, r := range p.Decision.Denials {
			add("failure", r.Path, r.Line, r.Code, r.Msg, r.Fix)
		}
		for _, r := range p.Decision.Warnings {
			add("warning", r.Path, r.Line, r.Code, r.Msg, r.Fix)
		}
	}
	slices.SortStableFunc(out, func(a, b *gh.CheckRunAnnotation) int {
		return strings.Compare(a.GetAnnotationLevel(), b.GetAnnotationLevel())
	})
	return out
}
