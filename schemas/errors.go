package schemas

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// MaxErrors bounds how many errors of one file are reported: a hostile file must not fill a terminal or
// a pull request's comment.
const MaxErrors = 200

// Error is one fault of a file that a person wrote. Its text never holds a value out of an application's
// config.
type Error struct {
	Position
	// Field is the path inside the document, as spec.grants[0].expires; "" for the document or the file.
	Field string `json:"field,omitempty"`
	// Msg describes what is wrong and what is expected.
	Msg string `json:"message"`
	// Hint describes the fix; "" when Msg is enough.
	Hint string `json:"hint,omitempty"`
}

// Error is "path:line:col: field: message; hint". Position and field are left out where unknown.
func (e Error) Error() string {
	var b strings.Builder
	if e.Path != "" {
		b.WriteString(quotePath(e.Path))
		b.WriteByte(':')
	}
	if e.Line > 0 {
		b.WriteString(strconv.Itoa(e.Line))
		b.WriteByte(':')
		b.WriteString(strconv.Itoa(max(e.Column, 1)))
		b.WriteByte(':')
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if e.Field != "" {
		b.WriteString(e.Field)
		b.WriteString(": ")
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// ErrorList is all faults that were found, sorted by position. An empty list is not an error: use Err to
// turn a list into an error.
type ErrorList []Error

// Error is one line for each fault.
func (l ErrorList) Error() string {
	lines := make([]string, len(l))
	for i, e := range l {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns the list as an error, or nil when it is empty.
func (l ErrorList) Err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}

// Sort orders the list by path, position and field, and drops repetitions.
func (l ErrorList) Sort() ErrorList {
	slices.SortStableFunc(l, func(a, b Error) int {
		return cmp.Or(
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Field, b.Field), cmp.Compare(a.Msg, b.Msg))
	})
	return slices.Compact(l)
}

// Bounded is the sorted list cut to MaxErrors, with a last line that counts those not shown: those that it cuts,
// and those that its caller dropped before.
func (l ErrorList) Bounded(dropped int) ErrorList {
	l = l.Sort()
	if over := len(l) - MaxErrors; over > 0 {
		l = l[:MaxErrors]
		dropped += over
	}
	if dropped > 0 {
		last := l[len(l)-1]
		l = append(l, Error{Position: last.Position, Msg: strconv.Itoa(dropped) + " more errors are not shown"})
	}
	return l
}

// quotePath makes a path safe to print: a name with control or invisible characters is quoted in ASCII.
func quotePath(path string) string {
	if TextFault(path, false) == "" {
		return path
	}
	return strconv.QuoteToASCII(path)
}
