package report

// document is a report before it has a form.
type document struct {
	icon   mark
	title  line
	blocks []block
	// next is the last line: what to do now.
	next line
}

// block is a section, a table, items, a paragraph or verbatim lines.
type block interface{ block() }

// section is a headed part.
type section struct {
	title  line
	blocks []block
	// fold closes the section in Markdown until somebody opens it.
	fold bool
}

// table is rows whose cells stand below one another. A column that is empty in every row is left out.
type table struct {
	head []literal
	rows []row
	// titled shows the head in text too.
	titled bool
	// more names the column that the further lines of a row have in Markdown.
	more literal
}

type row struct {
	mark  mark
	cells []line
	more  []line
}

// items is a list.
type items []item

type item struct {
	mark mark
	text line
	more []line
}

// para is a paragraph.
type para line

// verbatim is lines for copying, in Markdown within a fence.
type verbatim []line

func (section) block()  {}
func (table) block()    {}
func (items) block()    {}
func (para) block()     {}
func (verbatim) block() {}

// mark is a sign that words beside it repeat: neither colour nor sign is the only carrier.
type mark struct {
	text, markdown literal
	style          style
}

var (
	markNone    = mark{}
	markAdd     = mark{"+", "➕", good}
	markRemove  = mark{"-", "➖", bad}
	markChange  = mark{"~", "✏️", caution}
	markDelete  = mark{"-", "🗑️", bad}
	markYes     = mark{"✓", "✅", good}
	markNo      = mark{"✗", "❌", bad}
	markWarn    = mark{"!", "⚠️", caution}
	markWait    = mark{"…", "⏳", caution}
	markBarred  = mark{"✗", "✋", caution}
	markInfo    = mark{"·", "ℹ️", faint}
	markSame    = mark{"=", "⏭", faint}
	markReady   = mark{"", "🟢", good}
	markMissing = mark{"", "🟡", caution}
	markStop    = mark{"", "🔴", bad}
	markIdle    = mark{"", "⚪", plain}
)
