package connectors

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// NormalizeWith implements Reader.Normalize by a description: it refuses types, attributes, targets and names that
// the application can't hold, lets each change a copy of every connection (to fold names or add implied entitlements;
// nil changes nothing), and sorts. Errors of each are wrapped as Invalid, with the connection's name.
func NormalizeWith(d schemas.Description, s schemas.State, each func(*schemas.Connection) error) (schemas.State, error) {
	attributes := map[string]map[string]bool{}
	out := schemas.State{Incomplete: s.Incomplete, NotRead: s.NotRead, NotManaged: s.NotManaged, Unread: s.Unread, Connections: slices.Clone(s.Connections)}
	for i := range out.Connections {
		c := &out.Connections[i]
		refuse := func(format string, args ...any) (schemas.State, error) {
			return schemas.State{}, &Error{Code: Invalid, Op: c.Name.String(), Message: fmt.Sprintf(format, args...)}
		}
		typ, ok := d.Type(c.Type)
		if !ok {
			return refuse("%s: unknown connection type %s", d.Title, c.Type)
		}
		if err := typ.Names.Check(c.SourceName); err != nil {
			return refuse("%v", err)
		}
		if attributes[c.Type] == nil {
			attributes[c.Type] = typ.Attributes()
		}
		for k := range c.Payload {
			if !attributes[c.Type][k] {
				return refuse("unknown attribute %[2]s of a %[1]s", c.Type, k)
			}
		}
		c.Entitlements = slices.Clone(c.Entitlements)
		for _, e := range c.Entitlements {
			g, ok := typ.Target(e.Target.Type)
			if !ok {
				return refuse("a %s can't be granted a %s", c.Type, e.Target.Type)
			}
			if err := g.Names.Check(e.Target.SourceName); err != nil {
				return refuse("%v", err)
			}
		}
		if each != nil {
			if err := each(c); err != nil {
				return refuse("%v", err)
			}
		}
	}
	out.Sort()
	return out, nil
}

// Selected returns a function that reports whether a selection selects a connection with that name and native id. same
// is as in Selection.Selector.
func Selected(sel schemas.Selection, same func(schemas.Name) schemas.Name) func(schemas.Name, string) bool {
	named := sel.Selector(same)
	return func(n schemas.Name, id string) bool {
		return named(n) || id != "" && slices.Contains(sel.IDs[n.Type], id)
	}
}

// PageOf cuts a page out of all items of a query: it sorts them, drops duplicates, and continues after the query's
// cursor. It is for connectors that list everything of a type at once.
func PageOf(items []schemas.Item, q Query) Page {
	compare := func(a, b schemas.Item) int {
		return cmp.Or(strings.Compare(a.SourceName, b.SourceName), strings.Compare(a.NativeID, b.NativeID))
	}
	slices.SortFunc(items, compare)
	items = slices.CompactFunc(items, func(a, b schemas.Item) bool { return compare(a, b) == 0 })
	if q.Cursor != "" {
		name, id, _ := strings.Cut(q.Cursor, "\x00")
		last := schemas.Item{Name: schemas.Name{SourceName: name}, NativeID: id}
		i := slices.IndexFunc(items, func(i schemas.Item) bool { return compare(i, last) > 0 })
		if i < 0 {
			return Page{}
		}
		items = items[i:]
	}
	page := Page{Items: items}
	if q.Limit > 0 && len(items) > q.Limit {
		page.Items = items[:q.Limit]
		last := page.Items[q.Limit-1]
		page.Next = last.SourceName + "\x00" + last.NativeID
	}
	return page
}
