package layout

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Literal is text of this package. Only constants convert to it unasked, so nothing foreign becomes one by
// accident.
type Literal string

// Name is a foreign name, path or commit that is shown apart from the sentence around it.
type Name string

// Exact is foreign text in JSON, which needs no more quotes and is never cut.
type Exact string

type kind uint8

const (
	own   kind = iota
	prose      // a foreign sentence
	ident      // a foreign name
	exact      // foreign JSON that is never cut
)

type Style uint8

const (
	Plain Style = iota
	Bold
	Good
	Bad
	Caution
	Faint
)

// span is a piece of text with one origin and one style.
type span struct {
	text  string
	kind  kind
	style Style
}

// Line is a sentence or a cell.
type Line []span

// Say puts arguments into the {} holes of a format. A string is foreign prose, a name is foreign and shown as
// a name; literals, numbers and lines are ours.
func Say(format Literal, args ...any) Line {
	var out Line
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
		case Line:
			out = append(out, v...)
		case Literal:
			out = append(out, span{text: string(v)})
		case int:
			out = append(out, span{text: strconv.Itoa(v)})
		case Name:
			out = append(out, span{text: string(v), kind: ident})
		case Exact:
			out = append(out, span{text: string(v), kind: exact})
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

// In is the line in a style, but for what has one already.
func (l Line) In(s Style) Line {
	out := make(Line, len(l))
	for i, p := range l {
		if p.style == Plain {
			p.style = s
		}
		out[i] = p
	}
	return out
}

func (l Line) Empty() bool { return len(l) == 0 }

// Join is the lines with a separator between them; empty ones are left out.
func Join(sep Literal, lines ...Line) Line {
	var out Line
	for _, l := range lines {
		if l.Empty() {
			continue
		}
		if len(out) > 0 {
			out = append(out, span{text: string(sep)})
		}
		out = append(out, l...)
	}
	return out
}

// List is "a, b and c"; of more than limit lines the first ones and how many more there are. A limit of 0 is none.
func List(lines []Line, limit int) Line {
	if limit > 0 && len(lines) > limit {
		return Say("{}, and {} more", Join(", ", lines[:limit]...), len(lines)-limit)
	}
	if n := len(lines); n > 1 {
		return Say("{} and {}", Join(", ", lines[:n-1]...), lines[n-1])
	}
	return Join("", lines...)
}

// Plural is "1 grant" or "2 grants".
func Plural(n int, one, many Literal) Line {
	if n == 1 {
		return Say("1 {}", one)
	}
	return Say("{} {}", n, many)
}

// Word is a value out of a fixed set: plain when it looks like one, foreign otherwise.
func Word[T ~string](s T) Line {
	if len(s) > 32 || !harmless(string(s)) || strings.IndexFunc(string(s), func(r rune) bool { return (r < 'a' || r > 'z') && r != '-' }) >= 0 {
		return Say("{}", string(s))
	}
	return Say("{}", Literal(s))
}

// Safe makes a text safe to print on a terminal, and honest: characters that are invisible, move the cursor or
// turn the direction of writing become U+XXXX, bytes that are not UTF-8 become \xNN. It works on one line; a line
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
		case unicode.Is(unicode.M, r) && marks >= maxMarks, Hidden(r):
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

// Hidden reports whether a character must not be printed as it is.
func Hidden(r rune) bool {
	return !unicode.IsPrint(r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || unicode.Is(unicode.Variation_Selector, r) ||
		unicode.Is(unicode.Hangul, r) && (r == 0x115f || r == 0x1160 || r == 0x3164 || r == 0xffa0) || r == 0x2800
}

// ascii reports whether a text is printable ASCII throughout.
func ascii(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// clip cuts a text to at most limit bytes, between characters, and marks the cut. A limit of 0 cuts nothing.
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
