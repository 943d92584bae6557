package schemas

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// runeFault says why a character has no place in an access repository, or "". Line ends and tabs are
// judged by the caller.
//
// Refused are Cc (control), Cf (format: zero-width, bidirectional, soft hyphen, tags) and the line and
// paragraph separators, which YAML, editors and reviews break lines at differently.
func runeFault(r rune) string {
	switch {
	case r < 0x20 || r == 0x7f || (r >= 0x80 && r <= 0x9f):
		return fmt.Sprintf("the control character U+%04X", r)
	case r < 0xad:
		return ""
	case r == 0x2028 || r == 0x2029:
		return fmt.Sprintf("the line separator U+%04X", r)
	case r == 0xfeff:
		return "the byte order mark U+FEFF"
	case r == 0x061c || (r >= 0x200e && r <= 0x200f) || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069):
		return fmt.Sprintf("the bidirectional control character U+%04X", r)
	case r >= 0x200b && r <= 0x200d || r == 0x2060:
		return fmt.Sprintf("the zero-width character U+%04X", r)
	case unicode.Is(unicode.Cf, r):
		return fmt.Sprintf("the invisible format character U+%04X", r)
	}
	return ""
}

// textFault says what is wrong with a text, or "": invalid UTF-8, a refused character, or not NFC.
// Line feeds and tabs pass only where lines says so.
func textFault(s string, lines bool) string {
	ascii := true
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= utf8.RuneSelf {
			ascii = false
			break
		}
		if c < 0x20 || c == 0x7f {
			if lines && (c == '\n' || c == '\t') {
				continue
			}
			return runeFault(rune(c))
		}
	}
	if ascii {
		return ""
	}
	if !utf8.ValidString(s) {
		return "invalid UTF-8"
	}
	for _, r := range s {
		if lines && (r == '\n' || r == '\t') {
			continue
		}
		if f := runeFault(r); f != "" {
			return f
		}
	}
	if !norm.NFC.IsNormalString(s) {
		return "text that is not in Unicode's normal form NFC"
	}
	return ""
}

// nameFault says why a text cannot name anything, or "". Beyond textFault, names have no white space
// around them and no characters that are drawn as nothing, which would make twins of two names.
func nameFault(s string) string {
	if f := textFault(s, false); f != "" {
		return "has " + f
	}
	if strings.TrimSpace(s) != s {
		return "has white space at its beginning or end"
	}
	for _, r := range s {
		if r >= 0xad && (unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) || unicode.Is(unicode.Variation_Selector, r)) {
			return fmt.Sprintf("has the invisible character U+%04X", r)
		}
	}
	return ""
}

// foldKey is the form in which two keys of a mapping must differ: without upper and lower case, and in NFC.
func foldKey(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return norm.NFC.String(cases.Fold().String(norm.NFC.String(s)))
}

// sameKey says whether two keys have the same folded form.
func sameKey(a, b string) bool {
	if isASCII(a) && isASCII(b) {
		return strings.EqualFold(a, b)
	}
	return foldKey(a) == foldKey(b)
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// checkRaw reports what is wrong with a file's bytes, before any parser sees them. parse says whether
// a parser may see them all the same.
func (d *decoder) checkRaw(content []byte) (parse bool) {
	switch {
	case bytes.HasPrefix(content, []byte{0xef, 0xbb, 0xbf}):
		d.failAt(1, 1, "", "the file begins with a byte order mark", "save it as UTF-8 without BOM")
		return false
	case bytes.HasPrefix(content, []byte{0xff, 0xfe}), bytes.HasPrefix(content, []byte{0xfe, 0xff}):
		d.failAt(1, 1, "", "the file is in UTF-16 (expected UTF-8)", "save it as UTF-8 without BOM")
		return false
	}
	parse = true
	line, start := 1, 0
	column := func(at int) int { return utf8.RuneCount(content[start:at]) + 1 }
	ascii := true
	for i := 0; i < len(content); {
		c := content[i]
		if c >= ' ' && c < 0x7f {
			i++
			continue
		}
		switch {
		case c == '\n':
			line, start = line+1, i+1
			i++
		case c == '\t' || (c == '\r' && i+1 < len(content) && content[i+1] == '\n'):
			i++
		case c == 0:
			d.failAt(line, column(i), "", "a NUL byte (expected text)", "this is no YAML file")
			return false
		case c < utf8.RuneSelf:
			d.failAt(line, column(i), "", runeFault(rune(c))+" (expected visible text)", "remove it")
			parse = false
			i++
		default:
			ascii = false
			r, size := utf8.DecodeRune(content[i:])
			if r == utf8.RuneError && size == 1 {
				d.failAt(line, column(i), "", "invalid UTF-8", "save the file as UTF-8")
				return false
			}
			if f := runeFault(r); f != "" {
				d.failAt(line, column(i), "", f+" (expected visible text)", "remove it")
				d.dirty = true
				if r <= 0x9f || r == 0x2028 || r == 0x2029 || r == 0xfeff {
					// The parser breaks lines or gives up here: everything after would be misplaced.
					parse = false
				}
			}
			i += size
		}
		if d.full() {
			return false
		}
	}
	if !ascii && !norm.NFC.IsNormal(content) {
		d.dirty = true
		d.failNFC(content)
	}
	return parse
}

// failNFC reports each line that is not in NFC.
func (d *decoder) failNFC(content []byte) {
	line := 0
	for text := range bytes.Lines(content) {
		line++
		if at, ok := norm.NFC.QuickSpan(text), norm.NFC.IsNormal(text); !ok {
			d.failAt(line, utf8.RuneCount(text[:min(at, len(text))])+1, "",
				"text that is not in Unicode's normal form NFC", "write letters with accents as one character")
		}
		if d.full() {
			return
		}
	}
}
