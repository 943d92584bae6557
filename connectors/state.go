package connectors

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// Everything says whether the selection is of all that the connector can see.
func (s Selection) Everything() bool { return len(s.Names) == 0 && len(s.Scope) == 0 }

// Selector answers quickly whether a connection is selected. same is the application's own form of a name, in
// which names that are one to it are equal; nil compares to the letter.
func (s Selection) Selector(same func(schemas.Name) schemas.Name) func(schemas.Name) bool {
	if same == nil {
		same = func(n schemas.Name) schemas.Name { return n }
	}
	named := make(map[schemas.Name]bool, len(s.Names))
	for _, n := range s.Names {
		named[same(n)] = true
	}
	all := s.Everything()
	return func(n schemas.Name) bool {
		return all || named[same(n)] || Match(s.Scope[n.Type], n.SourceName)
	}
}

// Compare orders entitlements by target and privilege.
func (e Entitlement) Compare(o Entitlement) int {
	return cmp.Or(e.Target.Compare(o.Target), strings.Compare(e.Privilege, o.Privilege))
}

// SortEntitlements sorts by target, privilege and the target's id, and keeps one of each. Two targets of one name
// are two, so that an ambiguous name is seen to be one; an entitlement without an id is the one that has it.
func (c *Connection) SortEntitlements() {
	slices.SortFunc(c.Entitlements, func(a, b Entitlement) int {
		return cmp.Or(a.Compare(b), strings.Compare(b.TargetID, a.TargetID))
	})
	c.Entitlements = slices.CompactFunc(c.Entitlements, func(a, b Entitlement) bool {
		return a.Compare(b) == 0 && (a.TargetID == b.TargetID || a.TargetID == "" || b.TargetID == "")
	})
	slices.SortStableFunc(c.Entitlements, func(a, b Entitlement) int {
		return cmp.Or(a.Compare(b), strings.Compare(a.TargetID, b.TargetID))
	})
}

// Sort brings a state into the order that Reader.Read promises: connections by name, then id.
func (s *State) Sort() {
	for i := range s.Connections {
		s.Connections[i].SortEntitlements()
	}
	slices.SortFunc(s.Connections, func(a, b Connection) int {
		return cmp.Or(a.Name.Compare(b.Name), strings.Compare(a.NativeID, b.NativeID))
	})
}

// NormalizeWith is Reader.Normalize for a description: it refuses types, attributes, targets and names that the
// application cannot hold, lets each change a copy of every connection (to fold names, to add what is implied;
// nil changes nothing), and sorts. An error of each is wrapped as Invalid, with the connection's name.
func NormalizeWith(d Description, s State, each func(*Connection) error) (State, error) {
	names := Names{}
	attributes := map[string]map[string]bool{}
	out := State{Incomplete: s.Incomplete, Connections: slices.Clone(s.Connections)}
	for i := range out.Connections {
		c := &out.Connections[i]
		refuse := func(format string, args ...any) (State, error) {
			return State{}, &Error{Code: Invalid, Op: c.Name.String(), Message: fmt.Sprintf(format, args...)}
		}
		typ, ok := d.Type(c.Type)
		if !ok {
			return refuse("%s has no connections of type %s", d.Title, c.Type)
		}
		if err := names.Check(typ.Names, c.SourceName); err != nil {
			return refuse("%v", err)
		}
		if attributes[c.Type] == nil {
			attributes[c.Type] = typ.Attributes()
		}
		for k := range c.Payload {
			if !attributes[c.Type][k] {
				return refuse("a %s has no attribute %s", c.Type, k)
			}
		}
		c.Entitlements = slices.Clone(c.Entitlements)
		for _, e := range c.Entitlements {
			g, ok := typ.Target(e.Target.Type)
			if !ok {
				return refuse("a %s cannot be given a %s", c.Type, e.Target.Type)
			}
			if err := names.Check(g.Names, e.Target.SourceName); err != nil {
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

// PageOf cuts a page out of all items that a query may answer with: it sorts them, keeps one of each, and goes
// on after the query's cursor. For connectors that have everything of a type at hand.
func PageOf(items []Item, q Query) Page {
	compare := func(a, b Item) int {
		return cmp.Or(strings.Compare(a.SourceName, b.SourceName), strings.Compare(a.NativeID, b.NativeID))
	}
	slices.SortFunc(items, compare)
	items = slices.CompactFunc(items, func(a, b Item) bool { return compare(a, b) == 0 })
	if q.Cursor != "" {
		name, id, _ := strings.Cut(q.Cursor, "\x00")
		last := Item{Name: schemas.Name{SourceName: name}, NativeID: id}
		i := slices.IndexFunc(items, func(i Item) bool { return compare(i, last) > 0 })
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
