package schemas

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// RuneFault explains why a character has no place in an access repository, or "". Line ends and tabs are
// judged by the caller.
//
// Refused are Cc (control), Cf (format: zero-width, bidirectional, soft hyphen, tags) and the line and
// paragraph separators, which YAML, editors and reviews break lines at differently.
func RuneFault(r rune) string {
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

// TextFault returns the problem with a text, or "": invalid UTF-8, a refused character, or not NFC.
// Line feeds and tabs pass only where lines is set.
func TextFault(s string, lines bool) string {
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
			return RuneFault(rune(c))
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
		if f := RuneFault(r); f != "" {
			return f
		}
	}
	if !norm.NFC.IsNormalString(s) {
		return "text that is not in Unicode's normal form NFC"
	}
	return ""
}

// NameFault explains why a text cannot name anything, or "". Beyond TextFault, names must not have white space
// around them and no characters that are drawn as nothing, which would make twins of two names.
func NameFault(s string) string {
	if f := TextFault(s, false); f != "" {
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

// FoldKey is the form in which two keys of a mapping must differ: without upper and lower case, and in NFC.
func FoldKey(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return norm.NFC.String(cases.Fold().String(norm.NFC.String(s)))
}

// SameKey reports whether two keys have the same folded form.
func SameKey(a, b string) bool {
	if isASCII(a) && isASCII(b) {
		return strings.EqualFold(a, b)
	}
	return FoldKey(a) == FoldKey(b)
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
