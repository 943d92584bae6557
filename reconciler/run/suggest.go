package run

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// maxListed bounds how many pages of names are read for a suggestion.
const maxListed = 50

// suggest adds to findings about names that don't exist those that may be meant: of the application, and of connections
// that requests make. An application that can't list them only leaves the suggestion out.
func (l *liveApplication) suggest(ctx context.Context, desired *plan.Desired, p *schemas.ApplicationPlan) {
	for i := range p.Findings {
		f := &p.Findings[i]
		unknown := schemas.Name{}
		switch f.Code {
		case "no-connection":
			unknown = f.Connection
		case "target-not-found", "no-effect":
			unknown = f.Target
		}
		if unknown.SourceName == "" {
			continue
		}
		if near := l.near(ctx, desired, unknown); len(near) > 0 {
			f.Fix = "did you mean " + strings.Join(near, " or ") + "? Otherwise, " + f.Fix
		}
	}
}

// near lists at most three names that a misspelt one may mean, the nearest first.
func (l *liveApplication) near(ctx context.Context, desired *plan.Desired, unknown schemas.Name) []string {
	if l.attested != nil {
		return nil
	}
	far := map[string]int{}
	limit := max(1, min(3, len(unknown.SourceName)/4)) // in a short word every other is near
	consider := func(n string) {
		if d := schemas.Distance(strings.ToLower(n), strings.ToLower(unknown.SourceName)); n != unknown.SourceName && d <= limit {
			far[n] = d
		}
	}
	for _, c := range desired.Connections {
		if c.Type == unknown.Type && c.Existence == plan.Present {
			consider(c.SourceName)
		}
	}
	q := connectors.Query{Type: unknown.Type}
	for range maxListed {
		page, err := l.reader.List(ctx, q)
		if err != nil {
			break
		}
		for _, i := range page.Items {
			consider(i.SourceName)
		}
		if page.Next == "" || page.Next == q.Cursor {
			break
		}
		q.Cursor = page.Next
	}
	var names []string
	for n := range far {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(far[a], far[b]), strings.Compare(a, b)) })
	return names[:min(3, len(names))]
}
