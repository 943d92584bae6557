package layout

// Options configure how a document is written.
type Options struct {
	// Color paints text with ANSI sequences.
	Color bool
	// Width is how many columns of text a line has; 0 breaks none.
	Width int
	// Clip bounds each foreign text in Markdown, in bytes; 0 bounds none.
	Clip int
	// Limit, where it is not 0, is the length of Markdown beyond which nobody reads on: a document that does not fit
	// is not written to its end.
	Limit int
	// Hide takes out of foreign sentences what a reader must not see; nil hides nothing.
	Hide func(string) string
}

func hide(hidden func(string) string, s string) string {
	if hidden == nil {
		return s
	}
	return hidden(s)
}

// Document is a report before it has a form.
type Document struct {
	Icon   Mark
	Title  Line
	Blocks []Block
	// Next is the last line: what to do now.
	Next Line
}

// Block is a section, a table, items, a paragraph or verbatim lines.
type Block interface{ block() }

// Section is a headed part.
type Section struct {
	Title  Line
	Blocks []Block
	// Fold closes the section in Markdown until somebody opens it.
	Fold bool
}

// Table is rows whose cells are aligned. A column that is empty in every row is left out.
type Table struct {
	Head []Literal
	Rows []Row
	// Titled shows the head in text too.
	Titled bool
	// Lead gives the first column a line of its own where the rows have no room in one.
	Lead bool
	// More names the column that the further lines of a row have in Markdown.
	More Literal
}

type Row struct {
	Mark  Mark
	Cells []Line
	More  []Line
}

// Items is a list.
type Items []Item

type Item struct {
	Mark Mark
	Text Line
	More []Line
}

// Para is a paragraph.
type Para Line

// Verbatim is lines for copying, in Markdown within a fence.
type Verbatim []Line

func (Section) block()  {}
func (Table) block()    {}
func (Items) block()    {}
func (Para) block()     {}
func (Verbatim) block() {}

// Mark is a sign that words beside it repeat: neither colour nor sign is the only carrier.
type Mark struct {
	text, markdown Literal
	style          Style
}

var (
	MarkNone    = Mark{}
	MarkAdd     = Mark{"+", "➕", Good}
	MarkRemove  = Mark{"-", "➖", Bad}
	MarkChange  = Mark{"~", "✏️", Caution}
	MarkDelete  = Mark{"-", "🗑️", Bad}
	MarkYes     = Mark{"✓", "✅", Good}
	MarkNo      = Mark{"✗", "❌", Bad}
	MarkWarn    = Mark{"!", "⚠️", Caution}
	MarkWait    = Mark{"…", "⏳", Caution}
	MarkBarred  = Mark{"✗", "✋", Caution}
	MarkInfo    = Mark{"·", "ℹ️", Faint}
	MarkSame    = Mark{"=", "⏭", Faint}
	MarkReady   = Mark{"", "🟢", Good}
	MarkMissing = Mark{"", "🟡", Caution}
	MarkStop    = Mark{"", "🔴", Bad}
	MarkIdle    = Mark{"", "⚪", Plain}
)
