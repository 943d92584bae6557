package layout

import (
	"strings"
	"unicode"
)

// Markdown is a document as GitHub's Markdown.
func Markdown(d Document, o Options) string {
	m := markdown{clip: o.Clip, hidden: o.Hide, limit: o.Limit}
	m.document(d)
	return m.b.String()
}

// MarkdownText is a foreign text in a line of Markdown: it looks as it was written, and means nothing to GitHub.
func MarkdownText(s string) string {
	m := &markdown{clip: 4000}
	return m.prose(strings.ReplaceAll(s, "\n", " "))
}

// markdown lays a document out as GitHub's Markdown.
type markdown struct {
	b      strings.Builder
	clip   int
	hidden func(string) string
	// limit, where it is not 0, is the length beyond which nobody reads on: a report that does not fit is
	// not rendered to its end, so that a huge change costs no more than a large one.
	limit int
}

func (m *markdown) full() bool { return m.limit > 0 && m.b.Len() > m.limit }

func (m *markdown) document(d Document) {
	m.b.WriteString("### ")
	if d.Icon.markdown != "" {
		m.b.WriteString(string(d.Icon.markdown) + " ")
	}
	m.b.WriteString(m.line(d.Title) + "\n")
	for _, b := range d.Blocks {
		if m.full() {
			return
		}
		m.b.WriteByte('\n')
		m.block(b)
	}
	if !d.Next.Empty() {
		m.b.WriteString("\n**Next:** " + m.line(d.Next) + "\n")
	}
}

func (m *markdown) block(b Block) {
	switch b := b.(type) {
	case Section:
		if b.Fold {
			// A summary is HTML: it has words and numbers of ours alone.
			m.b.WriteString("<details><summary>" + m.summary(b.Title) + "</summary>\n\n")
		} else {
			m.b.WriteString("**" + m.line(b.Title) + "**\n")
			if len(b.Blocks) > 0 {
				m.b.WriteByte('\n')
			}
		}
		for i, x := range b.Blocks {
			if m.full() {
				return
			}
			if i > 0 {
				m.b.WriteByte('\n')
			}
			m.block(x)
		}
		if b.Fold {
			m.b.WriteString("\n</details>\n")
		}
	case Table:
		m.table(b)
	case Items:
		for _, it := range b {
			if m.full() {
				return
			}
			m.b.WriteString("- ")
			if it.Mark.markdown != "" {
				m.b.WriteString(string(it.Mark.markdown) + " ")
			}
			m.b.WriteString(m.line(it.Text) + "\n")
			for _, l := range it.More {
				m.b.WriteString("  - " + m.line(l) + "\n")
			}
		}
	case Para:
		m.b.WriteString(m.line(Line(b)) + "\n")
	case Verbatim:
		m.verbatim(b)
	}
}

func (m *markdown) table(b Table) {
	used := b.used()
	marked, more := false, false
	for _, r := range b.Rows {
		marked = marked || r.Mark != MarkNone
		more = more || len(r.More) > 0
	}
	var head, rule strings.Builder
	column := func(title Literal) {
		head.WriteString("| " + string(title) + " ")
		rule.WriteString("|---")
	}
	if marked {
		column("")
	}
	for i, h := range b.Head {
		if used[i] {
			column(h)
		}
	}
	if more {
		column(b.More)
	}
	m.b.WriteString(head.String() + "|\n" + rule.String() + "|\n")
	for _, r := range b.Rows {
		if m.full() {
			return
		}
		if marked {
			m.b.WriteString("| " + string(r.Mark.markdown) + " ")
		}
		for i, c := range r.Cells {
			if used[i] {
				m.b.WriteString("| " + m.line(c) + " ")
			}
		}
		if more {
			m.b.WriteString("| ")
			for i, l := range r.More {
				if i > 0 {
					m.b.WriteString("<br>")
				}
				m.b.WriteString(m.line(l))
			}
			m.b.WriteByte(' ')
		}
		m.b.WriteString("|\n")
	}
}

// verbatim is a fence longer than every run of backticks inside.
func (m *markdown) verbatim(v Verbatim) {
	t := text{hidden: m.hidden}
	var body strings.Builder
	for _, l := range v {
		if m.limit > 0 && body.Len() > m.limit {
			break // too long already
		}
		body.WriteString(breakComments(t.line(l)) + "\n")
	}
	fence := strings.Repeat("`", max(3, longestRun(body.String(), '`')+1))
	m.b.WriteString(fence + "text\n" + body.String() + fence + "\n")
}

func (m *markdown) line(l Line) string {
	var b strings.Builder
	for i := 0; i < len(l); {
		// Spans of one style are marked up together.
		j := i
		var part strings.Builder
		for ; j < len(l) && l[j].style == l[i].style; j++ {
			part.WriteString(m.span(l[j]))
		}
		s := part.String()
		if trimmed := strings.TrimSpace(s); l[i].style == Bold && trimmed != "" {
			s = strings.Replace(s, trimmed, "**"+trimmed+"**", 1)
		}
		b.WriteString(s)
		i = j
	}
	return b.String()
}

func (m *markdown) span(s span) string {
	switch s.kind {
	case prose:
		return m.prose(hide(m.hidden, clip(s.text, m.clip)))
	case ident:
		return m.code(s.text)
	case exact:
		whole := *m
		whole.clip = 0
		return whole.code(hide(m.hidden, s.text))
	}
	return s.text
}

// summary is a line without markup.
func (m *markdown) summary(l Line) string {
	var b strings.Builder
	for _, s := range l {
		if s.kind == own {
			b.WriteString(s.text)
		}
	}
	return b.String()
}

// code is the escape for everything foreign: a code span, in which GitHub sees no mention, reference, link,
// emphasis or HTML. Its fence is longer than every run of backticks inside. What a code span does not keep
// apart is written as U+XXXX: the pipe, which would end a table's cell, and the beginning and end of a comment,
// which a search for our own marker would find.
func (m *markdown) code(s string) string {
	s = Safe(clip(s, m.clip)) // before as well: escaping a long text takes its time
	s = strings.ReplaceAll(s, "|", "U+007C")
	s = breakComments(s)
	s = strings.ReplaceAll(s, "  ", " U+0020") // HTML would draw them as one
	s = clip(s, m.clip)
	if strings.Trim(s, " ") == "" {
		return "(empty)"
	}
	fence := strings.Repeat("`", longestRun(s, '`')+1)
	if s[0] == '`' || s[len(s)-1] == '`' || s[0] == ' ' && s[len(s)-1] == ' ' {
		s = " " + s + " "
	}
	return fence + s + fence
}

func breakComments(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "<!--", "U+003C!--"), "-->", "--U+003E")
}

// prose is a foreign sentence: words that cannot mean anything to Markdown stay as they are, every other word
// is code, without the punctuation around it. A command with a flag is one piece of code.
func (m *markdown) prose(s string) string {
	var out, pending []string
	flush := func(closing string) {
		if len(pending) > 0 {
			out = append(out, m.code(strings.Join(pending, " "))+closing)
			pending = nil
		}
	}
	for w := range strings.SplitSeq(clip(strings.TrimSpace(s), m.clip), " ") {
		switch {
		case w == "":
		case harmless(w):
			flush("")
			out = append(out, w)
		default:
			if n := len(out); len(pending) == 0 && strings.HasPrefix(w, "--") && n >= 2 && out[n-2] == "countersign" {
				pending, out = out[n-2:n:n], out[:n-2]
			}
			core := strings.TrimRight(w, ",;:?.")
			if core == "" {
				core = w
			}
			pending = append(pending, core)
			if core != w {
				flush(w[len(core):])
			}
		}
	}
	flush("")
	if len(out) == 0 {
		return "(empty)"
	}
	return strings.Join(out, " ")
}

// harmless reports whether a word means nothing but itself to GitHub: it has letters, digits and common
// punctuation, and is neither a link without scheme, nor a commit, nor a reference to another tracker, nor
// the beginning of a list.
func harmless(w string) bool {
	const opening, closing = `"'(`, `.,;:"')?%`
	core := strings.TrimRight(strings.TrimLeft(w, opening), closing)
	if core == "" || Safe(w) != w {
		return false
	}
	hex, digits := 0, true
	for i, r := range core {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'f', r >= 'A' && r <= 'F':
			if hex++; hex >= 7 {
				return false
			}
		default:
			hex = 0
		}
		switch {
		case unicode.IsLetter(r) || unicode.IsMark(r):
			digits = false
		case unicode.IsDigit(r):
		case r == '\'' || r == '.' || r == ',' || r == '=':
			if i == 0 {
				return false
			}
		case r == '-':
			// GH-12, JIRA-12, a list, a rule; but well-known.
			if i == 0 || i+1 == len(core) || !unicode.IsLetter(rune(core[i+1])) {
				return false
			}
		default:
			return false
		}
	}
	if digits && len(core) < len(w) {
		return w[len(w)-1] != '.' && w[len(w)-1] != ')'
	}
	return !strings.HasPrefix(strings.ToLower(core), "www.")
}

func longestRun(s string, c byte) int {
	longest, run := 0, 0
	for i := range len(s) {
		if s[i] == c {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	return longest
}
