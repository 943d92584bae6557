package schemas

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Check explains why the application cannot hold the name, or nil. Reserved names are refused as well.
func (r NameRule) Check(name string) error {
	if r.MaxBytes > 0 && len(name) > r.MaxBytes {
		return fmt.Errorf("the name %s has %d bytes, and the application holds %d", strconv.QuoteToASCII(name), len(name), r.MaxBytes)
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("the name %s is not UTF-8", strconv.QuoteToASCII(name))
	}
	if Match(r.Reserved, name) {
		return fmt.Errorf("the name %s is reserved by the application", strconv.QuoteToASCII(name))
	}
	if r.Pattern == "" {
		return nil
	}
	re, err := namePatterns.Of(r.Pattern, func() (*regexp.Regexp, error) { return regexp.Compile(`\A(?:` + r.Pattern + `)\z`) })
	if err != nil {
		return fmt.Errorf("the connector's name pattern does not compile: %w", err)
	}
	if !re.MatchString(name) {
		return fmt.Errorf("the name %s does not fit the application's pattern %s", strconv.QuoteToASCII(name), r.Pattern)
	}
	return nil
}

// namePatterns keeps the patterns that were compiled: a connector has a few, and checks thousands of names with them.
var namePatterns Kept[string, *regexp.Regexp]

// Match reports whether a name matches one of the glob patterns. A star matches any run of characters, also
// none, also slashes and dots; a question mark one character; a backslash takes the next character as it
// is. A malformed pattern matches nothing: decoding refuses it with its place.
func Match(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return glob(p, name) })
}

// glob is iterative: at a mismatch it returns to the last star, so that a hostile pattern costs at most
// the product of the lengths.
func glob(pattern, name string) bool {
	p, n := []rune(pattern), []rune(name)
	star, back := -1, 0
	i, j := 0, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, back = i, j
			i++
			continue
		case i < len(p) && p[i] == '?':
			i++
			j++
			continue
		case i+1 < len(p) && p[i] == '\\' && p[i+1] == n[j]:
			i += 2
			j++
			continue
		case i < len(p) && p[i] != '\\' && p[i] == n[j]:
			i++
			j++
			continue
		}
		if star < 0 {
			return false
		}
		back++
		i, j = star+1, back
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// Intersect reports whether some name matches a pattern of each list.
func Intersect(a, b []string) bool {
	return slices.ContainsFunc(a, func(p string) bool {
		return slices.ContainsFunc(b, func(q string) bool { return globsMeet(globTokens(p), globTokens(q)) })
	})
}

// The tokens of a glob that aren't characters.
const (
	globStar rune = -1
	globAny  rune = -2
)

func globTokens(pattern string) []rune {
	var out []rune
	for p := []rune(pattern); len(p) > 0; p = p[1:] {
		switch {
		case p[0] == '*':
			out = append(out, globStar)
		case p[0] == '?':
			out = append(out, globAny)
		case p[0] == '\\' && len(p) > 1:
			p = p[1:]
			out = append(out, p[0])
		default:
			out = append(out, p[0])
		}
	}
	return out
}

// globsMeet reports whether a name matches both. meet[j] is the answer for the rest of a from i on and of b from j on.
func globsMeet(a, b []rune) bool {
	var below []bool
	for i := len(a); i >= 0; i-- {
		meet := make([]bool, len(b)+1)
		for j := len(b); j >= 0; j-- {
			switch {
			case i == len(a) && j == len(b):
				meet[j] = true
			case i < len(a) && a[i] == globStar:
				meet[j] = below[j] || j < len(b) && meet[j+1]
			case j < len(b) && b[j] == globStar:
				meet[j] = meet[j+1] || i < len(a) && below[j]
			case i < len(a) && j < len(b):
				meet[j] = (a[i] == globAny || b[j] == globAny || a[i] == b[j]) && below[j+1]
			}
		}
		below = meet
	}
	return below[0]
}

// Overlap returns a type of connections of which the scopes of two applications of one connector may have the same, and a
// pattern of each; "" for none.
func (a *Application) Overlap(b *Application) (typ, first, second string) {
	if a.Spec.Connector != b.Spec.Connector {
		return "", "", ""
	}
	for _, typ := range slices.Sorted(maps.Keys(a.Spec.Scope)) {
		for _, p := range a.Spec.Scope[typ] {
			for _, q := range b.Spec.Scope[typ] {
				if Intersect([]string{p}, []string{q}) {
					return typ, p, q
				}
			}
		}
	}
	return "", "", ""
}
