package audit

import (
	"slices"
	"strings"
	"unicode"
)

// placeholders are words that fill a field and give no reason.
var placeholders = []string{"na", "none", "nil", "null", "tbd", "todo", "tba", "test", "testing", "asdf", "qwerty", "foo", "bar", "baz", "lorem", "ipsum",
	"reason", "request", "requested", "access", "needed", "none", "no", "yes", "ok", "okay", "same", "idem", "ditto", "see", "ticket", "above", "below", "as", "is", "a", "the",
	"because", "please", "pls", "n", "x", "wip", "tmp", "temp", "misc", "other", "stuff", "blah", "bla", "dummy", "placeholder"}

// IsReason reports whether a text can be a reason: it has words of more than a few different letters, and not only
// words that fill a field. Whether it is a good one, only a person can tell.
func IsReason(text string) bool {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) })
	real := 0
	for _, w := range words {
		distinct := map[rune]bool{}
		ideographs := 0
		for _, r := range w {
			distinct[r] = true
			if unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai) {
				ideographs++
			}
		}
		if slices.Contains(placeholders, w) || len(distinct) < 3 && ideographs < 2 || len(distinct) == 1 {
			continue
		}
		real++
	}
	return real > 0
}

// titled reports whether a pull request's title may be a reason: Git and forges write some by themselves.
func titled(title string) bool {
	t := strings.ToLower(strings.TrimSpace(title))
	for _, prefix := range []string{"revert ", "revert:", "reapply ", "merge ", "undo ", "delete ", "update ", "remove requests/"} {
		if strings.HasPrefix(t, prefix) {
			return false
		}
	}
	return IsReason(title)
}
