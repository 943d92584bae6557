package layout

import (
	"strings"
	"unicode"
)

// Fill breaks a text of ours into lines of at most width columns, each behind an indent. A width of 0 breaks nothing.
func Fill(s string, width int, indent string) string {
	t := text{limit: width}
	t.wrapped(indent, indent, Line{{text: s}})
	return t.b.String()
}

// Text is a document for a terminal.
func Text(d Document, o Options) string {
	t := text{color: o.Color, limit: o.Width, hidden: o.Hide}
	t.document(d)
	return t.b.String()
}

// text lays a document out for a terminal.
type text struct {
	b      strings.Builder
	color  bool
	limit  int // columns; 0 wraps nothing
	hidden func(string) string
}

const (
	// textClip bounds one foreign text, in bytes.
	textClip = 1500
	// maxColumn is how far a long cell pushes the next column: as far as a request by day, with its document, is long.
	maxColumn = 52
	// maxNarrow is the same for rows that don't fit in one line: longer cells then don't move the others.
	maxNarrow = 32
)

func (t *text) document(d Document) {
	t.wrapped("", "", d.Title.In(Bold))
	for _, b := range d.Blocks {
		t.b.WriteByte('\n')
		t.block(b, "")
	}
	if !d.Next.Empty() {
		t.b.WriteByte('\n')
		t.wrapped("", "      ", Say("{} {}", Say("Next:").In(Bold), d.Next))
	}
}

func (t *text) block(b Block, indent string) {
	switch b := b.(type) {
	case Section:
		t.wrapped(indent, indent+"  ", b.Title.In(Bold))
		for i, x := range b.Blocks {
			if _, sub := x.(Section); sub && i > 0 {
				t.b.WriteByte('\n')
			}
			t.block(x, indent+"  ")
		}
	case Table:
		t.table(b, indent)
	case Items:
		for _, it := range b {
			first := indent
			if it.Mark != MarkNone {
				first += t.paint(it.Mark.style, string(it.Mark.text)) + " "
			}
			t.wrapped(first, indent+"  ", it.Text)
			for _, m := range it.More {
				t.wrapped(indent+"    ", indent+"      ", m)
			}
		}
	case Para:
		t.wrapped(indent, indent+"  ", Line(b))
	case Verbatim:
		for _, l := range b {
			t.b.WriteString(indent + t.line(l) + "\n")
		}
	}
}

// table prints rows in columns. A cell that would end beyond the width goes to a line below its row, with those after it.
func (t *text) table(b Table, indent string) {
	if b.Lead && !t.fits(b, indent) {
		t.leading(b, indent)
		return
	}
	c := t.columns(b, indent)
	if b.Titled {
		t.titles(c, indent)
	}
	for _, r := range b.Rows {
		t.row(r, c, indent)
		t.below(r.More, indent)
	}
}

// leading prints the first cell of each row by itself, and the others in columns below.
func (t *text) leading(b Table, indent string) {
	const inner = "    "
	rest := Table{Head: b.Head[1:], Titled: b.Titled}
	for _, r := range b.Rows {
		rest.Rows = append(rest.Rows, Row{Cells: r.Cells[1:]})
	}
	c := t.columns(rest, indent+inner)
	if b.Titled {
		t.b.WriteString(indent + "  " + t.line(Say("{}", b.Head[0]).In(Faint)) + "\n")
		t.titles(c, indent+inner)
	}
	for i, r := range b.Rows {
		t.row(Row{Mark: r.Mark, Cells: r.Cells[:1]}, columns{widths: []int{0}, used: []bool{true}, marked: true}, indent)
		t.row(rest.Rows[i], c, indent+inner)
		t.below(r.More, indent)
	}
}

// below prints further lines of a row.
func (t *text) below(lines []Line, indent string) {
	for _, m := range lines {
		t.wrapped(indent+"      ", indent+"        ", m)
	}
}

// columns are a table's: how wide each is, and which are shown.
type columns struct {
	head   []Literal // of a titled table
	widths []int
	used   []bool
	marked bool
}

func (t *text) columns(b Table, indent string) columns {
	most := maxColumn
	if t.limit > 0 && !t.fits(b, indent) {
		most = maxNarrow
	}
	c := columns{widths: make([]int, len(b.Head)), used: b.used()}
	if b.Titled {
		c.head = b.Head
	}
	for i := range b.Head {
		if b.Titled && c.used[i] {
			c.widths[i] = cells(string(b.Head[i]))
		}
		for _, r := range b.Rows {
			if n := t.width(r.Cells[i]); n <= most || most == maxColumn {
				c.widths[i] = max(c.widths[i], min(n, most))
			}
		}
	}
	for _, r := range b.Rows {
		c.marked = c.marked || r.Mark != MarkNone
	}
	return c
}

// fits reports whether every row has room in one line.
func (t *text) fits(b Table, indent string) bool {
	if t.limit <= 0 {
		return true
	}
	used := b.used()
	total := cells(indent) + 2
	for i := range b.Head {
		if !used[i] {
			continue
		}
		n := 0
		if b.Titled {
			n = cells(string(b.Head[i]))
		}
		for _, r := range b.Rows {
			n = max(n, t.width(r.Cells[i]))
		}
		total += n + 2
	}
	return total-2 <= t.limit
}

// titles prints the titles of the columns that have room.
func (t *text) titles(c columns, indent string) {
	var head []Line
	for _, h := range c.head {
		head = append(head, Say("{}", h).In(Faint))
	}
	c.head = nil
	at := cells(indent)
	if c.marked {
		at += 2
	}
	for i := range head {
		if c.used[i] && t.limit > 0 && at+t.width(head[i]) > t.limit {
			head[i] = nil
		}
		if c.used[i] {
			at += c.widths[i] + 2
		}
	}
	t.row(Row{Cells: head}, c, indent)
}

func (t *text) row(r Row, c columns, indent string) {
	t.b.WriteString(indent)
	at := cells(indent)
	if c.marked {
		sign := string(r.Mark.text)
		t.b.WriteString(t.paint(r.Mark.style, sign) + strings.Repeat(" ", 2-cells(sign)))
		at += 2
	}
	gap, first := 0, true
	var rest []Line
	for i, cell := range r.Cells {
		if !c.used[i] {
			continue
		}
		n := t.width(cell)
		switch {
		case cell.Empty():
		case !first && t.limit > 0 && (len(rest) > 0 || at+gap+n > t.limit):
			if len(c.head) > 0 {
				cell = Say("{}: {}", c.head[i], cell)
			}
			rest = append(rest, cell)
			continue
		default:
			t.b.WriteString(strings.Repeat(" ", gap) + t.line(cell))
			at += gap + n
			gap, first = 0, false
		}
		gap += max(c.widths[i]-n, 0) + 2
	}
	t.b.WriteByte('\n')
	if len(rest) > 0 {
		t.below([]Line{Join("; ", rest...)}, indent)
	}
}

// used reports which columns hold anything.
func (b Table) used() []bool {
	used := make([]bool, len(b.Head))
	for _, r := range b.Rows {
		for i, c := range r.Cells {
			used[i] = used[i] || !c.Empty()
		}
	}
	return used
}

// plain is a span as it is printed, without colour.
func (t *text) plain(s span) string {
	switch s.kind {
	case prose:
		return clip(Safe(hide(t.hidden, clip(s.text, textClip))), textClip)
	case ident:
		return clip(quoted(Safe(clip(s.text, textClip))), textClip)
	case exact:
		return Safe(hide(t.hidden, s.text))
	}
	return s.text
}

// quoted puts a name in quotes when it could be taken for more than one, or for words of ours.
func quoted(s string) string {
	odd := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-/@:+*=#$\\%~[]", r)
	}
	if s != "" && strings.IndexFunc(s, odd) < 0 {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`
}

func (t *text) line(l Line) string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString(t.paint(s.style, t.plain(s)))
	}
	return b.String()
}

func (t *text) width(l Line) int {
	n := 0
	for _, s := range l {
		n += cells(t.plain(s))
	}
	return n
}

func (t *text) paint(s Style, text string) string {
	if !t.color || s == Plain || text == "" {
		return text
	}
	code := map[Style]string{Bold: "1", Good: "32", Bad: "31", Caution: "33", Faint: "2"}[s]
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// wrapped prints a line, broken between words where the width is known; what follows the first hangs.
func (t *text) wrapped(first, hang string, l Line) {
	if t.limit <= 0 {
		t.b.WriteString(first + t.line(l) + "\n")
		return
	}
	t.b.WriteString(first)
	at := cells(hang) // a mark in colour takes as much room as the hanging indent
	if !strings.Contains(first, "\x1b") {
		at = cells(first)
	}
	start := at
	gap := ""
	for _, w := range t.split(l) {
		n := 0
		for _, s := range w {
			n += cells(s.text)
		}
		if at > start && at+len(gap)+n > t.limit {
			t.b.WriteString("\n" + hang)
			at, gap = cells(hang), ""
			start = at
		}
		t.b.WriteString(gap)
		at += len(gap) + n
		for _, s := range w {
			t.b.WriteString(t.paint(s.style, s.text))
		}
		gap = " "
	}
	t.b.WriteByte('\n')
}

// split is the words of a line, each as the printed pieces that it is made of.
func (t *text) split(l Line) [][]span {
	var words [][]span
	glue := false // the next piece goes on with the last word
	for _, s := range l {
		for i, part := range strings.Split(t.plain(s), " ") {
			if i > 0 {
				glue = false
			}
			if part == "" {
				continue
			}
			p := span{text: part, style: s.style}
			if glue {
				words[len(words)-1] = append(words[len(words)-1], p)
			} else {
				words = append(words, []span{p})
			}
			glue = true
		}
	}
	return words
}
