package report

import (
	"strings"
	"unicode"
)

// text lays a document out for a terminal.
type text struct {
	b     strings.Builder
	o     Options
	words *redaction
}

const (
	// textClip bounds one foreign text, in bytes.
	textClip = 1500
	// maxColumn is how far a long cell pushes the next column: as far as a request by day, with its document, is long.
	maxColumn = 52
)

func (t *text) document(d document) {
	t.wrapped("", "", d.title.in(bold))
	for _, b := range d.blocks {
		t.b.WriteByte('\n')
		t.block(b, "")
	}
	if !d.next.empty() {
		t.b.WriteByte('\n')
		t.wrapped("", "      ", say("{} {}", say("Next:").in(bold), d.next))
	}
}

func (t *text) block(b block, indent string) {
	switch b := b.(type) {
	case section:
		t.wrapped(indent, indent+"  ", b.title.in(bold))
		for i, x := range b.blocks {
			if _, sub := x.(section); sub && i > 0 {
				t.b.WriteByte('\n')
			}
			t.block(x, indent+"  ")
		}
	case table:
		t.table(b, indent)
	case items:
		for _, it := range b {
			first := indent
			if it.mark != markNone {
				first += t.paint(it.mark.style, string(it.mark.text)) + " "
			}
			t.wrapped(first, indent+"  ", it.text)
			for _, m := range it.more {
				t.wrapped(indent+"    ", indent+"      ", m)
			}
		}
	case para:
		t.wrapped(indent, indent+"  ", line(b))
	case verbatim:
		for _, l := range b {
			t.b.WriteString(indent + t.line(l) + "\n")
		}
	}
}

func (t *text) table(b table, indent string) {
	used := b.used()
	widths := make([]int, len(b.head))
	for i := range b.head {
		if b.titled && used[i] {
			widths[i] = cells(string(b.head[i]))
		}
		for _, r := range b.rows {
			widths[i] = max(widths[i], min(t.width(r.cells[i]), maxColumn))
		}
	}
	marked := false
	for _, r := range b.rows {
		marked = marked || r.mark != markNone
	}
	if b.titled {
		var head []line
		for _, h := range b.head {
			head = append(head, say("{}", h).in(faint))
		}
		t.row(head, markNone, marked, widths, used, indent)
	}
	for _, r := range b.rows {
		t.row(r.cells, r.mark, marked, widths, used, indent)
		for _, m := range r.more {
			t.wrapped(indent+"      ", indent+"        ", m)
		}
	}
}

func (t *text) row(row []line, m mark, marked bool, widths []int, used []bool, indent string) {
	t.b.WriteString(indent)
	if marked {
		sign := string(m.text)
		t.b.WriteString(t.paint(m.style, sign) + strings.Repeat(" ", 2-cells(sign)))
	}
	gap := 0
	for i, c := range row {
		if !used[i] {
			continue
		}
		if !c.empty() {
			t.b.WriteString(strings.Repeat(" ", gap))
			gap = 0
			t.b.WriteString(t.line(c))
		}
		gap += max(widths[i]-t.width(c), 0) + 2
	}
	t.b.WriteByte('\n')
}

// used says which columns hold anything.
func (b table) used() []bool {
	used := make([]bool, len(b.head))
	for _, r := range b.rows {
		for i, c := range r.cells {
			used[i] = used[i] || !c.empty()
		}
	}
	return used
}

// plain is a span as it is printed, without colour.
func (t *text) plain(s span) string {
	switch s.kind {
	case prose:
		return clip(Safe(t.words.hide(clip(s.text, textClip))), textClip)
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

func (t *text) line(l line) string {
	var b strings.Builder
	for _, s := range l {
		b.WriteString(t.paint(s.style, t.plain(s)))
	}
	return b.String()
}

func (t *text) width(l line) int {
	n := 0
	for _, s := range l {
		n += cells(t.plain(s))
	}
	return n
}

func (t *text) paint(s style, text string) string {
	if !t.o.Color || s == plain || text == "" {
		return text
	}
	code := map[style]string{bold: "1", good: "32", bad: "31", caution: "33", faint: "2"}[s]
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// wrapped prints a line, broken between words where the width is known; what follows the first hangs.
func (t *text) wrapped(first, hang string, l line) {
	if t.o.Width <= 0 {
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
		if at > start && at+len(gap)+n > t.o.Width {
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
func (t *text) split(l line) [][]span {
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
