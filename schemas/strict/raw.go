package strict

import (
	"bytes"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/countersign/countersign/schemas"
)

// checkRaw reports what is wrong with a file's bytes, before any parser sees them. parse reports whether
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
			d.failAt(line, column(i), "", "a NUL byte (expected text)", "this is not a YAML file")
			return false
		case c < utf8.RuneSelf:
			d.failAt(line, column(i), "", schemas.RuneFault(rune(c))+" (expected visible text)", "remove it")
			parse = false
			i++
		default:
			ascii = false
			r, size := utf8.DecodeRune(content[i:])
			if r == utf8.RuneError && size == 1 {
				d.failAt(line, column(i), "", "invalid UTF-8", "save the file as UTF-8")
				return false
			}
			if f := schemas.RuneFault(r); f != "" {
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
