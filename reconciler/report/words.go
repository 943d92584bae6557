package report

import "github.com/countersign/countersign/reconciler/report/layout"

// The parts of layout that documents are built from.
type (
	document = layout.Document
	block    = layout.Block
	section  = layout.Section
	table    = layout.Table
	row      = layout.Row
	items    = layout.Items
	item     = layout.Item
	para     = layout.Para
	verbatim = layout.Verbatim
	mark     = layout.Mark
	line     = layout.Line
	literal  = layout.Literal
	name     = layout.Name
)

const (
	bold    = layout.Bold
	good    = layout.Good
	bad     = layout.Bad
	caution = layout.Caution
	faint   = layout.Faint
)

func say(format literal, args ...any) line { return layout.Say(format, args...) }

func join(separator literal, lines ...line) line { return layout.Join(separator, lines...) }

func list(lines []line, limit int) line { return layout.List(lines, limit) }

func plural(n int, one, many literal) line { return layout.Plural(n, one, many) }

func word[T ~string](s T) line { return layout.Word(s) }

// entry is one item of a list.
func entry(m mark, text line, more ...line) item { return item{Mark: m, Text: text, More: more} }
