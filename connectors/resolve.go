package connectors

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// Resolve finds the candidate that an operation means by a name and, if recorded, a native id. It returns the zero
// value if no candidate matches. Name and id must match the same candidate, and a name alone only one: anything else
// is a Conflict, since both names and ids are reused. what is the candidates' type, for the error, whose Op is empty.
func Resolve[T any](what, name, id string, candidates []T, of func(T) (name, id string)) (T, error) {
	var none T
	var found []T
	var which []string
	for _, c := range candidates {
		n, i := of(c)
		switch {
		case id != "" && i == id && n == name:
			return c, nil
		case id != "" && i == id:
			return none, &Error{Code: Conflict, Message: fmt.Sprintf("the %s with the id %s is now named %s", what, strconv.QuoteToASCII(id), strconv.QuoteToASCII(n))}
		case n == name && !slices.Contains(which, i):
			found, which = append(found, c), append(which, i)
		}
	}
	switch {
	case len(found) == 0:
		return none, nil
	case id != "":
		return none, &Error{Code: Conflict, Message: fmt.Sprintf("the name now belongs to another %s, with the id %s (expected %s)", what, which[0], strconv.QuoteToASCII(id)), Dependents: which}
	case len(found) > 1:
		return none, &Error{Code: Conflict, Message: fmt.Sprintf("the name is ambiguous: %d objects have it (%s); add the source_id of one of them", len(found), strings.Join(which, ", ")), Dependents: which}
	}
	return found[0], nil
}

// Refuse returns the error of an operation that can't be carried out.
func Refuse(o *schemas.Operation, code Code, format string, args ...any) error {
	return &Error{Code: code, Op: Title(o), Message: fmt.Sprintf(format, args...)}
}

// Foresaw returns the finding that an operation would be refused.
func Foresaw(o *schemas.Operation, format string, args ...any) schemas.Finding {
	f := schemas.Finding{Code: "would-be-refused", Severity: schemas.SeverityError, Application: o.Application, Connection: o.Connection,
		Message: Title(o) + ": " + fmt.Sprintf(format, args...), Fix: "change the request, or what prevents it"}
	if len(o.Documents) > 0 {
		f.Document = o.Documents[len(o.Documents)-1]
	}
	return f
}

// Obstruct returns the error of an operation that something prevents: running it again changes nothing while that is there.
func Obstruct(o *schemas.Operation, obstacle, format string, args ...any) error {
	return &Error{Code: Conflict, Op: Title(o), Message: fmt.Sprintf(format, args...), Dependents: []string{obstacle}}
}

// During returns an error with the operation as its Op. An error that isn't an *Error is returned unchanged.
func During(o *schemas.Operation, err error) error {
	var typed *Error
	if !errors.As(err, &typed) {
		return err
	}
	other := *typed
	other.Op = Title(o)
	return &other
}

// Lister answers Reader.List from one list of everything of a type: later pages are cut from it. The zero value is
// ready for use.
type Lister struct {
	typ   string
	names []string
	ids   []string
	items []schemas.Item
	known bool
}

// Page answers a query. all lists everything of the query's type, or at least the items that the query names or has
// the ids of; it is called for a first page. same returns the application's form of a name, in which equivalent names are equal; nil
// compares names exactly.
func (l *Lister) Page(q Query, same func(string) string, all func() ([]schemas.Item, error)) (Page, error) {
	if q.Names != nil && len(q.Names) == 0 && len(q.IDs) == 0 {
		return Page{}, nil
	}
	if q.Cursor == "" || !l.known || l.typ != q.Type || !slices.Equal(l.names, q.Names) || !slices.Equal(l.ids, q.IDs) {
		items, err := all()
		if err != nil {
			return Page{}, err
		}
		l.typ, l.names, l.ids, l.items, l.known = q.Type, slices.Clone(q.Names), slices.Clone(q.IDs), items, true
	}
	items := OnlyNamed(l.items, q.Names, same)
	if q.Names != nil { // else all are in it already
		for _, i := range l.items {
			if i.NativeID != "" && slices.Contains(q.IDs, i.NativeID) {
				items = append(items, i)
			}
		}
	}
	page := PageOf(items, q)
	if page.Next == "" {
		*l = Lister{}
	}
	return page, nil
}

// OnlyNamed returns those items that have one of the names, or all if names is nil.
func OnlyNamed(items []schemas.Item, names []string, same func(string) string) []schemas.Item {
	if names == nil {
		return slices.Clone(items)
	}
	if same == nil {
		same = func(name string) string { return name }
	}
	wanted := make(map[string]bool, len(names))
	for _, n := range names {
		wanted[same(n)] = true
	}
	var out []schemas.Item
	for _, i := range items {
		if wanted[same(i.SourceName)] {
			out = append(out, i)
		}
	}
	return out
}
