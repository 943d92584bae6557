package layout

import (
	"strings"
	"unicode"
)

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

func (t *text) table(b Table, indent string) {
	used := b.used()
	widths := make([]int, len(b.Head))
	for i := range b.Head {
		if b.Titled && used[i] {
			widths[i] = cells(string(b.Head[i]))
		}
		for _, r := range b.Rows {
			widths[i] = max(widths[i], min(t.width(r.Cells[i]), maxColumn))
		}
	}
	marked := false
	for _, r := range b.Rows {
		marked = marked || r.Mark != MarkNone
	}
	if b.Titled {
		var head []Line
		for _, h := range b.Head {
			head = append(head, Say("{}", h).In(Faint))
		}
		t.row(head, MarkNone, marked, widths, used, indent)
	}
	for _, r := range b.Rows {
		t.row(r.Cells, r.Mark, marked, widths, used, indent)
		for _, m := range r.More {
			t.wrapped(indent+"      ", indent+"        ", m)
		}
	}
}

func (t *text) row(columns []Line, m Mark, marked bool, widths []int, used []bool, indent string) {
	t.b.WriteString(indent)
	if marked {
		sign := string(m.text)
		t.b.WriteString(t.paint(m.style, sign) + strings.Repeat(" ", 2-cells(sign)))
	}
	gap := 0
	for i, c := range columns {
		if !used[i] {
			continue
		}
		if !c.Empty() {
			t.b.WriteString(strings.Repeat(" ", gap))
			gap = 0
			t.b.WriteString(t.line(c))
		}
		gap += max(widths[i]-t.width(c), 0) + 2
	}
	t.b.WriteByte('\n')
}

// used says which columns hold anything.
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
