package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// literal is text of this package. Only constants convert to it unasked, so nothing foreign becomes one by
// accident.
type literal string

// name is a foreign name, path or commit that is shown apart from the sentence around it.
type name string

type kind uint8

const (
	own   kind = iota
	prose      // a foreign sentence
	ident      // a foreign name
)

type style uint8

const (
	plain style = iota
	bold
	good
	bad
	caution
	faint
)

// span is a piece of text with one origin and one style.
type span struct {
	text  string
	kind  kind
	style style
}

// line is a sentence or a cell.
type line []span

// say puts arguments into the {} holes of a format. A string is foreign prose, a name is foreign and shown as
// a name; literals, numbers and lines are ours.
func say(format literal, args ...any) line {
	var out line
	rest := string(format)
	for _, arg := range args {
		before, after, ok := strings.Cut(rest, "{}")
		if !ok {
			break
		}
		rest = after
		if before != "" {
			out = append(out, span{text: before})
		}
		switch v := arg.(type) {
		case line:
			out = append(out, v...)
		case literal:
			out = append(out, span{text: string(v)})
		case int:
			out = append(out, span{text: strconv.Itoa(v)})
		case name:
			out = append(out, span{text: string(v), kind: ident})
		case string:
			out = append(out, span{text: v, kind: prose})
		default:
			out = append(out, span{text: fmt.Sprint(v), kind: prose})
		}
	}
	if rest != "" {
		out = append(out, span{text: rest})
	}
	return out
}

// in is the line in a style, but for what has one already.
func (l line) in(s style) line {
	out := make(line, len(l))
	for i, p := range l {
		if p.style == plain {
			p.style = s
		}
		out[i] = p
	}
	return out
}

func (l line) empty() bool { return len(l) == 0 }

// join is the lines with a separator between them; empty ones are left out.
func join(sep literal, lines ...line) line {
	var out line
	for _, l := range lines {
		if l.empty() {
			continue
		}
		if len(out) > 0 {
			out = append(out, span{text: string(sep)})
		}
		out = append(out, l...)
	}
	return out
}

// list is "a, b and c"; of more than limit lines the first ones and how many more there are. A limit of 0 is none.
func list(lines []line, limit int) line {
	if limit > 0 && len(lines) > limit {
		return say("{}, and {} more", join(", ", lines[:limit]...), len(lines)-limit)
	}
	if n := len(lines); n > 1 {
		return say("{} and {}", join(", ", lines[:n-1]...), lines[n-1])
	}
	return join("", lines...)
}

// plural is "1 grant" or "2 grants".
func plural(n int, one, many literal) line {
	if n == 1 {
		return say("1 {}", one)
	}
	return say("{} {}", n, many)
}

// Safe makes a text safe to print on a terminal, and honest: characters that are invisible, move the cursor or
// turn the direction of writing stand as U+XXXX, bytes that are no UTF-8 as \xNN. It works on one line; a line
// feed is escaped too. White space other than the space is escaped because it makes twins of two names.
func Safe(s string) string {
	if ascii(s) {
		return s
	}
	var b strings.Builder
	marks := maxMarks // a mark at the very beginning would join our own text
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02X`, s[i])
			marks = 0
		case unicode.Is(unicode.M, r) && marks >= maxMarks, hidden(r):
			fmt.Fprintf(&b, "U+%04X", r)
		default:
			if unicode.Is(unicode.M, r) {
				marks++
			} else {
				marks = 0
			}
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// maxMarks is how many combining marks may sit on one character before they run into other lines.
const maxMarks = 3

// hidden says whether a character must not be printed as it is.
func hidden(r rune) bool {
	return !unicode.IsPrint(r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || unicode.Is(unicode.Variation_Selector, r) ||
		unicode.Is(unicode.Hangul, r) && (r == 0x115f || r == 0x1160 || r == 0x3164 || r == 0xffa0) || r == 0x2800
}

// ascii says whether a text is printable ASCII throughout.
func ascii(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// clip cuts a text to at most limit bytes, between characters, and says that it did. A limit of 0 is none.
func clip(s string, limit int) string {
	if limit <= 0 || len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && cut > limit-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "… (cut)"
}

// cells is how many columns of a terminal a safe text takes.
func cells(s string) int {
	if ascii(s) {
		return len(s)
	}
	n := 0
	for _, r := range s {
		switch k := width.LookupRune(r).Kind(); {
		case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r):
		case k == width.EastAsianWide || k == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}
