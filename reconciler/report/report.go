package report

import (
	"fmt"
	"io"

	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/reconciler/report/redact"
	"github.com/countersign/countersign/schemas"
)

// Options configure rendering. The zero value is plain text, not wrapped and not redacted.
type Options struct {
	// Color paints text with ANSI sequences. Signs and words carry the meaning without it.
	Color bool
	// Width is the terminal's, in columns, to wrap sentences of text at; 0 wraps nothing. Tables are not wrapped.
	Width int
	// Redact leaves out who the identities are: for places that more people read than may know them. Names inside
	// the sentences of policies and applications are found where they are spelled as in the application. Paths, authors and
	// approvers, which Git and the forge show anyway, stay. JSON is never redacted.
	Redact bool
}

// Text writes v for people at a terminal. v is a pointer to a Preview, RunReport, StatusReport, AccessReport,
// ValidateReport, DoctorReport, FulfilReport, ConnectorList, ConformanceReport, Plan, ApplicationPlan or Decision, or a slice of
// ApplicationPlan or Finding. Anything else is an error.
func Text(w io.Writer, v any, o Options) error {
	d, words, _, err := build(v, o, textBounds)
	if err != nil {
		return err
	}
	return write(w, layout.Text(d, layout.Options{Color: o.Color, Width: o.Width, Hide: words.Hide}))
}

// Markdown writes what Text does as GitHub's Markdown, in at most 60,000 bytes: what does not fit is left out
// step by step, beginning with what a reviewer misses least. The headline, the sign-offs and the denials stay.
func Markdown(w io.Writer, v any, o Options) error {
	s, _, err := ladder(v, o, budget)
	if err != nil {
		return err
	}
	return write(w, s)
}

// Comment returns the Markdown of a preview for its pull request. lacking is why approvals of it can't count: who gains or
// loses, or something privileged, is hidden or left out. It is "" where all of that is shown.
func Comment(p *schemas.Preview, o Options) (text, lacking string, err error) {
	return ladder(p, o, budget)
}

func write(w io.Writer, s string) error {
	if _, err := io.WriteString(w, s); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// builder makes documents within bounds.
type builder struct {
	bounds
	words   *redact.Redaction
	lacking *lacking
}

func build(v any, o Options, bo bounds) (d document, words *redact.Redaction, lack string, err error) {
	b := &builder{bounds: bo, lacking: &lacking{}}
	if o.Redact {
		b.words = redact.New(v)
	}
	switch v := v.(type) {
	case *schemas.Preview:
		d = b.preview(v)
	case *schemas.RunReport:
		d = b.run(v)
	case *schemas.StatusReport:
		d = b.status(v)
	case *schemas.AccessReport:
		d = b.access(v)
	case *schemas.ValidateReport:
		d = b.validate(v)
	case *schemas.DoctorReport:
		d = b.doctor(v)
	case *schemas.FulfilReport:
		d = b.fulfil(v)
	case *schemas.ConnectorList:
		d = b.connectors(v)
	case *schemas.ConformanceReport:
		d = b.conformance(v)
	case *schemas.Plan:
		d = b.plans(v.Applications, v.Digest)
	case *schemas.ApplicationPlan:
		d = b.plans([]schemas.ApplicationPlan{*v}, "")
	case []schemas.ApplicationPlan:
		d = b.plans(v, "")
	case []schemas.Finding:
		d = b.findingsOnly(v)
	case *schemas.Decision:
		d = b.decisionOnly(v)
	default:
		return document{}, nil, "", fmt.Errorf("no text or Markdown form for %T", v)
	}
	if _, ok := v.(*schemas.Preview); ok && b.markdown { // nothing else is approved
		if lack = b.lacking.explain(); lack != "" {
			notice := items{entry(layout.MarkStop, say("Approvals of this preview don't count: {}", word(lack)).In(bad))}
			d.Blocks = append([]block{notice}, d.Blocks...)
		}
	}
	return d, b.words, lack, nil
}

// more is the sentence for what a bound leaves out.
func more(n int, what literal) line {
	return say("and {} more {} (--format json lists all)", n, what).In(faint)
}

// Safe makes a text safe to print on a terminal; see layout.Safe.
func Safe(s string) string { return layout.Safe(s) }

// MarkdownText is a foreign text in a line of Markdown; see layout.MarkdownText.
func MarkdownText(s string) string { return layout.MarkdownText(s) }
