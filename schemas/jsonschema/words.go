package jsonschema

import (
	"math/big"
	"strconv"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// ValueHint returns how to fix a value of the wrong type, from a finding's message and the value as it was written; ""
// without a hint.
func ValueHint(msg, value, tag string) string {
	switch {
	case strings.HasPrefix(msg, "expected text, got a number"), strings.HasPrefix(msg, "expected text, got true or false"):
		return "quote it"
	case strings.HasSuffix(msg, "got nothing"):
		return "remove the field, or give it a value"
	case strings.HasPrefix(msg, "expected true or false, got text"):
		switch strings.ToLower(value) {
		case "yes", "on", "y":
			return "write true"
		case "no", "off", "n":
			return "write false"
		}
	case strings.HasPrefix(msg, "expected a number, got text"), strings.HasPrefix(msg, "expected an integer, got text"):
		if _, err := strconv.ParseFloat(value, 64); err == nil {
			return "remove the quotation marks"
		}
	case strings.HasPrefix(msg, "not an instant"):
		if tag == "!!timestamp" || len(value) == len("2027-01-31") {
			return "write it as 2027-01-31T00:00:00Z"
		}
	}
	return ""
}

func wantedTypes(types []string) string {
	var want []string
	for _, t := range types {
		want = append(want, jsonTypeName(t))
	}
	return strings.Join(want, " or ")
}

// jsonTypeName is a JSON type in words.
func jsonTypeName(t string) string {
	switch t {
	case "null":
		return "nothing"
	case "boolean":
		return "true or false"
	case "number":
		return "a number"
	case "integer":
		return "an integer"
	case "string":
		return "text"
	case "array":
		return "a list"
	case "object":
		return "a mapping"
	}
	return t
}

func number(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func oneOf(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	return "one of " + strings.Join(list, ", ")
}

// patternText describes a pattern in words.
func patternText(pattern string) string {
	switch pattern {
	case `^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`:
		return "lower-case letters, digits, dots, dashes and underscores, with a letter or digit at both ends"
	case `^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`:
		return "lower-case letters, digits and dashes, with a letter or digit at both ends"
	case `^[a-z][a-z0-9_]*$`:
		return "lower-case letters, digits and underscores, beginning with a letter"
	case `^[0-9a-f]{40}$`:
		return "a full Git hash of 40 hexadecimal digits"
	case `^([0-9a-f]{40})?$`:
		return "a full Git hash of 40 hexadecimal digits, or nothing"
	case `^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`:
		return "owner/name"
	case `^(user|team):\S.*$`:
		return "user:LOGIN-OR-EMAIL or team:NAME"
	case `^[1-9][0-9]*(s|m|h)$`:
		return "a time like 30s, 10m or 1h"
	case envPattern:
		return "the name of an environment variable"
	case filePattern:
		return "an absolute path"
	}
	return "what matches " + pattern
}

// nearest returns the candidate that a word is most likely a misspelling of, or "".
func nearest(word string, candidates []string) string {
	if len(word) > 64 {
		return ""
	}
	best, distance := "", 0
	for _, c := range candidates {
		d := schemas.Distance(strings.ToLower(word), strings.ToLower(c))
		// A third of the letters may differ, and one even in short words.
		if d <= max(1, len(c)/3) && (best == "" || d < distance) {
			best, distance = c, d
		}
	}
	return best
}

// DidYouMean is a hint that names the candidate that a word is most likely a misspelling of, or "".
func DidYouMean(word string, candidates []string) string {
	if n := nearest(word, candidates); n != "" && n != word {
		return "did you mean " + n + "?"
	}
	return ""
}
