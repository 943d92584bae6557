package report

import (
	"fmt"
	"io"

	"github.com/countersign/countersign/schemas"
)

// Options say how to render. The zero value is plain, not wrapped and whole.
type Options struct {
	// Color paints text with ANSI sequences. Signs and words say the same without it.
	Color bool
	// Width is the terminal's, in columns, to wrap sentences of text at; 0 wraps nothing. Tables are not wrapped.
	Width int
	// Redact leaves out who the identities are: for places that more people read than may know them. Names inside
	// the sentences of policies and applications are found where they stand as the application has them. What
	// stands in Git or at the forge is shown: paths, authors, approvers. JSON is never redacted.
	Redact bool
}

// Text writes v for people at a terminal. v is a pointer to a Preview, RunReport, StatusReport, AccessReport,
// ValidateReport, DoctorReport, FulfilReport, ConnectorList, ConformanceReport, Plan, ApplicationPlan or Decision, or a slice of
// ApplicationPlan or Finding. Anything else is an error.
func Text(w io.Writer, v any, o Options) error {
	d, words, err := build(v, o, textBounds)
	if err != nil {
		return err
	}
	t := text{o: o, words: words}
	t.document(d)
	return write(w, t.b.String())
}

// Markdown writes what Text does as GitHub's Markdown, in at most 60,000 bytes: what does not fit is left out
// step by step, beginning with what a reviewer misses least. The headline, the sign-offs and the denials stay.
func Markdown(w io.Writer, v any, o Options) error {
	s, err := ladder(v, o, budget)
	if err != nil {
		return err
	}
	return write(w, s)
}

func write(w io.Writer, s string) error {
	if _, err := io.WriteString(w, s); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// bounds are how much of a report is shown.
type bounds struct {
	rows     int // of a table
	names    int // of identities in one sentence
	effects  int // sentences about one operation
	list     int // of a list
	clip     int // bytes of one foreign text, 0 for no limit
	exact    bool
	drift    bool
	grouped  bool // rows are connections, not operations
	tables   bool
	denials  bool // whole, not only their codes and counts
	markdown bool
}

var textBounds = bounds{rows: 50, names: 3, effects: 6, list: 20, drift: true, tables: true, denials: true}

// rungs are the steps in which Markdown gets shorter. The last is a few thousand bytes whatever is shown.
var rungs = []bounds{
	{rows: 1000, names: 10, effects: 10, list: 50, clip: 4000, exact: true, drift: true, tables: true, denials: true, markdown: true},
	{rows: 1000, names: 10, effects: 10, list: 50, clip: 4000, drift: true, tables: true, denials: true, markdown: true},
	{rows: 1000, names: 10, effects: 10, list: 50, clip: 4000, tables: true, denials: true, markdown: true},
	{rows: 1000, names: 3, effects: 3, list: 50, clip: 500, grouped: true, tables: true, denials: true, markdown: true},
	{rows: 50, names: 3, effects: 3, list: 50, clip: 500, grouped: true, tables: true, denials: true, markdown: true},
	{rows: 50, names: 3, effects: 3, list: 10, clip: 120, grouped: true, tables: true, denials: true, markdown: true},
	{rows: 10, names: 2, effects: 2, list: 10, clip: 80, denials: false, markdown: true},
	{rows: 3, names: 1, effects: 1, list: 3, clip: 60, denials: false, markdown: true},
}

// builder makes documents within bounds.
type builder struct {
	bounds
	words *redaction
}

func build(v any, o Options, bo bounds) (document, *redaction, error) {
	b := &builder{bounds: bo}
	if o.Redact {
		b.words = redact(v)
	}
	var d document
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
		return document{}, nil, fmt.Errorf("there is no text or Markdown form of %T", v)
	}
	return d, b.words, nil
}

// more is the sentence for what a bound leaves out.
func more(n int, what literal) line {
	return say("and {} more {} (--format json has all)", n, what).in(faint)
}
