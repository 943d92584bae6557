package plan

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign/schemas"
)

// RememberedID returns the native id that a connection's requests name, or that was verified under its name; "" is none.
func RememberedID(c *Connection, baseline func(item string) (schemas.BaselineItem, bool)) string {
	if c.SourceID != "" || baseline == nil {
		return c.SourceID
	}
	if base, known := baseline(ConnectionItem(c.Name)); known && !hasWord(base.Token, absent) && !lost(base.NativeID) {
		return base.NativeID
	}
	return ""
}

// follow finds a connection by the id that the request names or that was remembered of it, where its name is gone or
// another one has it now. A renamed connection is the same one: it is never created a second time, and what is to be
// removed is removed from it. It reports whether the connection may be touched.
func (d *differ) follow(it *subject) bool {
	c := it.connection
	id := RememberedID(c, d.in.Baseline)
	if id == "" || d.owned || it.found != nil && (it.found.NativeID == id || it.found.NativeID == "") {
		return true
	}
	l := d.liveWithID(c.Type, id)
	if l == nil || l.Name == c.Name {
		return true
	}
	if it.found != nil {
		it.former = l
		return true
	}
	it.found, it.renamed = l, true
	it.today = d.subjectOf(l.Name)
	if c.Existence == Present || c.Existence == Unspecified || it.today != nil && c.Existence == Deleted {
		fix := "request it under its present name and remove the requests for the former one, or give it its former name again"
		if it.today != nil {
			fix = "other requests have its present name: remove those for the former one"
		}
		d.find(c.Name, c.documents(), schemas.SeverityError, "renamed", fmt.Sprintf("%s is %s now (id %s)", c.Name, l.Name, id), fix)
	}
	if !d.inScope(l.Name) {
		d.find(c.Name, c.documents(), schemas.SeverityError, "out-of-scope", fmt.Sprintf("%s is %s now, which is not in the scope of %s", c.Name, l.Name, d.in.Application.Name),
			"an owner widens spec.scope in a pull request of its own, or gives it its former name again")
		return false
	}
	return true
}

// subjectOf returns the subject of a connection's name, nil where no request names it.
func (d *differ) subjectOf(n schemas.Name) *subject {
	i, ok := slices.BinarySearchFunc(d.items, n, func(s subject, n schemas.Name) int { return s.connection.Compare(n) })
	if !ok {
		return nil
	}
	return &d.items[i]
}

// wantedToday reports whether requests with the present name of a renamed connection grant a live edge of it.
func (it *subject) wantedToday(d *differ, at *schemas.Connection, l *schemas.Entitlement) bool {
	today := it.today
	if today == nil && at == it.former {
		today = d.subjectOf(at.Name)
	}
	return today != nil && slices.ContainsFunc(today.connection.Entitlements, func(e Entitlement) bool {
		return e.Target == l.Target && e.Privilege == l.Privilege
	})
}

// takeFormer plans the removal of what a tombstone left on the connection with the remembered id, where another one has
// its name now. It reports whether there is any.
func (d *differ) takeFormer(it *subject, t *Tombstone, id string, base schemas.BaselineItem, known bool) bool {
	if it.former == nil || it.former.Protected != "" {
		return false
	}
	e := d.edgesOf(it.former)
	some := false
	for k := range e.live {
		l := &e.live[k]
		if l.Privilege != t.Privilege || it.wantedToday(d, it.former, l) || l.Target != t.Target && !d.remembered(it, l, t.Target, t.Privilege, id) {
			continue
		}
		e.taken[k], some = true, true
		d.take(it, t, it.former, l, base, known)
	}
	return some
}
