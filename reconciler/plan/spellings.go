package plan

import (
	"slices"

	"github.com/countersign/countersign/schemas"
)

// spelling is one way of writing a membership: the connection that has the entry, and the entry's target.
type spelling struct{ connection, target schemas.Name }

// canonical is the name of a target as a connection, where its type is another name for one.
func canonical(g *schemas.GrantableType, n schemas.Name) schemas.Name {
	if g.Alias != "" {
		n.Type = g.Alias
	}
	return n
}

// spellings returns the other ways of writing the membership that a connection's entry for a target is: from the other
// end, and under another type of the same member.
func (t types) spellings(c, target schemas.Name) []spelling {
	g := t.get(c.Type).target(target.Type)
	if g == nil || g.Edge == schemas.EdgeResource {
		return nil
	}
	member, group := canonical(g, target), c
	if g.Edge == schemas.EdgeConnection {
		member, group = c, canonical(g, target)
	}
	var out []spelling
	add := func(at schemas.Name, g *schemas.GrantableType, n schemas.Name) {
		if s := (spelling{at, schemas.Name{Type: g.Type, SourceName: n.SourceName}}); s != (spelling{c, target}) {
			out = append(out, s)
		}
	}
	from := t.get(member.Type)
	for i := range from.typ.Grantable {
		if g := &from.typ.Grantable[i]; g.Edge == schemas.EdgeConnection && canonical(g, schemas.Name{Type: g.Type}).Type == group.Type {
			add(member, g, group)
		}
	}
	to := t.get(group.Type)
	for i := range to.typ.Grantable {
		g := &to.typ.Grantable[i]
		if (g.Edge == schemas.EdgeMember || g.Edge == schemas.EdgeIdentity) && canonical(g, schemas.Name{Type: g.Type}).Type == member.Type {
			add(group, g, member)
		}
	}
	return out
}

// spelled reports whether a description has memberships that can be written in several ways.
func (t types) spelled() bool {
	return slices.ContainsFunc(t.list, func(i *typeInfo) bool {
		return slices.ContainsFunc(i.typ.Grantable, func(g schemas.GrantableType) bool {
			return len(t.spellings(schemas.Name{Type: i.typ.Name}, schemas.Name{Type: g.Type, SourceName: " "})) > 0
		})
	})
}

// Spellings tells in which ways a membership can be written.
type Spellings struct {
	types types
	any   bool
}

// SpellingsOf returns the Spellings of a connector's description.
func SpellingsOf(desc schemas.Description) Spellings {
	t := newTypes(desc)
	return Spellings{t, t.spelled()}
}

// Any reports whether any membership can be written in several ways.
func (s Spellings) Any() bool { return s.any }

// Of returns the other ways of writing a connection's entry for a target: pairs of the connection that has the entry and
// the entry's target.
func (s Spellings) Of(connection, target schemas.Name) [][2]schemas.Name {
	var out [][2]schemas.Name
	for _, other := range s.types.spellings(connection, target) {
		out = append(out, [2]schemas.Name{other.connection, other.target})
	}
	return out
}

// oneSpelling brings the statements about one membership to one spelling: of a grant and a revoke the later holds, and
// whatever documents both spellings have are those of one.
func (x *folding) oneSpelling(all []*Connection, groups []group) (merged bool) {
	if !x.types.spelled() {
		return false
	}
	for i, c := range all {
		for _, t := range slices.Clone(c.Tombstones) {
			for _, s := range x.types.spellings(c.Name, t.Target) {
				// A connection and its group are at the same place.
				j, found := slices.BinarySearchFunc(all, s.connection, func(c *Connection, n schemas.Name) int { return c.Compare(n) })
				at, ok := slices.BinarySearchFunc(c.Tombstones, &t, compareTombstones)
				later := func(revoke, grant []schemas.DocumentID) bool {
					return place(revoke, &groups[i], &groups[j]).Compare(place(grant, &groups[i], &groups[j])) >= 0
				}
				if found && ok && all[j].bury(s.target, c.Tombstones[at], later) {
					at, _ = slices.BinarySearchFunc(c.Tombstones, &t, compareTombstones)
					c.Tombstones = slices.Delete(slices.Clone(c.Tombstones), at, at+1)
					merged = true
					break
				}
			}
		}
	}
	return merged
}

// meets reports whether some connections have an entry that others have under another spelling.
func (t types) meets(list []*Connection, others []*Connection) bool {
	if !t.spelled() {
		return false
	}
	has := func(s spelling) bool {
		i, ok := slices.BinarySearchFunc(others, s.connection, func(c *Connection, n schemas.Name) int { return c.Compare(n) })
		return ok && (slices.ContainsFunc(others[i].Entitlements, func(e Entitlement) bool { return e.Target == s.target }) ||
			slices.ContainsFunc(others[i].Tombstones, func(o Tombstone) bool { return o.Target == s.target }))
	}
	return slices.ContainsFunc(list, func(c *Connection) bool {
		return slices.ContainsFunc(c.Entitlements, func(e Entitlement) bool { return slices.ContainsFunc(t.spellings(c.Name, e.Target), has) }) ||
			slices.ContainsFunc(c.Tombstones, func(o Tombstone) bool { return slices.ContainsFunc(t.spellings(c.Name, o.Target), has) })
	})
}

// place is that of the last of some documents.
func place(docs []schemas.DocumentID, groups ...*group) schemas.Place {
	last := docs[len(docs)-1]
	for _, g := range groups {
		for i := range g.events {
			if e := &g.events[i]; e.standing && e.id() == last {
				return e.doc.Place
			}
		}
	}
	return schemas.Place{}
}

// bury brings a tombstone of another spelling into the connection, where it has an entry for the same membership. It
// reports whether the tombstone is dealt with; later tells whether a revoke comes after a grant.
func (c *Connection) bury(target schemas.Name, t Tombstone, later func(revoke, grant []schemas.DocumentID) bool) bool {
	i, ok := slices.BinarySearchFunc(c.Entitlements, &t, func(e Entitlement, t *Tombstone) int {
		return compareTarget(e.Target, e.Privilege, target, t.Privilege)
	})
	if ok {
		if !t.Revoked || !later(t.Documents, c.Entitlements[i].Documents) {
			return true // the grant holds
		}
		moved := t
		moved.Target, moved.TargetID = target, c.Entitlements[i].TargetID
		c.Entitlements = slices.Delete(slices.Clone(c.Entitlements), i, i+1)
		at, _ := slices.BinarySearchFunc(c.Tombstones, &moved, compareTombstones)
		c.Tombstones = slices.Insert(c.Tombstones, at, moved)
		return true
	}
	same := t
	same.Target = target
	at, ok := slices.BinarySearchFunc(c.Tombstones, &same, compareTombstones)
	if !ok {
		return false
	}
	o := &c.Tombstones[at]
	docs := slices.Clone(o.Documents)
	for _, id := range t.Documents {
		if !slices.Contains(docs, id) {
			docs = append(docs, id)
		}
	}
	o.Documents = docs
	if causeOrder(t.Cause) < causeOrder(o.Cause) {
		o.Cause, o.Revoked, o.Scheduled = t.Cause, t.Revoked, t.Scheduled
	}
	return true
}

func compareTombstones(a Tombstone, b *Tombstone) int {
	return compareTarget(a.Target, a.Privilege, b.Target, b.Privilege)
}

// mirror is a live membership that another connection lists, or the same one under another type.
type mirror struct {
	edges *edges
	at    int
}

// mirrors returns the live edges that are the membership of an entry under other spellings: by the names of today, or by
// the remembered id of the entry's target, which may be a connection of another name now.
func (d *differ) mirrors(it *subject, target schemas.Name, privilege, id string) []mirror {
	list := d.types.spellings(it.connection.Name, target)
	if g := it.info.target(target.Type); len(list) > 0 && id != "" {
		if l := d.liveWithID(canonical(g, target).Type, id); l != nil && l.SourceName != target.SourceName {
			list = append(list, d.types.spellings(it.connection.Name, schemas.Name{Type: target.Type, SourceName: l.SourceName})...)
		}
	}
	var out []mirror
	for _, s := range list {
		i, _ := slices.BinarySearchFunc(d.live, s.connection, func(l *schemas.Connection, n schemas.Name) int { return l.Compare(n) })
		if i == len(d.live) || d.live[i].Name != s.connection || d.live[i].Protected != "" {
			continue
		}
		e := d.edgesOf(d.live[i])
		for k := range e.live {
			if l := &e.live[k]; l.Target == s.target && l.Privilege == privilege {
				out = append(out, mirror{e, k})
			}
		}
	}
	return out
}

// liveWithID returns the live connection of a type with a native id, nil for none.
func (d *differ) liveWithID(typ, id string) *schemas.Connection {
	if d.byID == nil {
		d.byID = map[connectionID]*schemas.Connection{}
		for _, l := range d.live {
			if l.NativeID != "" {
				d.byID[connectionID{l.Type, l.NativeID}] = l
			}
		}
	}
	return d.byID[connectionID{typ, id}]
}

type connectionID struct{ typ, id string }

// heldByMirror settles a wanted grant that is in force under another spelling of the membership.
func (d *differ) heldByMirror(it *subject, e *Entitlement, base schemas.BaselineItem, known bool) bool {
	list := d.mirrors(it, e.Target, e.Privilege, base.NativeID)
	if len(list) == 0 {
		return false
	}
	key := schemas.Key{Connection: it.connection.Name, Target: e.Target, Privilege: e.Privilege}
	for _, m := range list {
		m.edges.taken[m.at] = true
	}
	l := &list[0].edges.live[list[0].at]
	if l.State != "" {
		d.pending(key, l.State)
		return true
	}
	id := l.TargetID
	if list[0].edges.connection != it.found {
		id = list[0].edges.connection.NativeID
	}
	verified := known && !d.assert.changed(base, known, present, e.Documents)
	switch g := it.info.target(e.Target.Type); {
	case verified && base.NativeID != "" && id != "" && base.NativeID != id:
		d.otherID(it, e, key, base.NativeID, id)
		return true
	case !verified && !d.owned && g != nil && g.Edge == schemas.EdgeIdentity:
		d.notIdentity(it.connection.Name, e) // its members would gain unseen
		return true
	}
	d.settle(EntitlementItem(key), present, e.Documents, id, base, known)
	return true
}

// takeMirrors plans the removal of what a tombstone is under other spellings. It reports whether there is any.
func (d *differ) takeMirrors(it *subject, t *Tombstone, id string, base schemas.BaselineItem, known bool) bool {
	list := d.mirrors(it, t.Target, t.Privilege, id)
	for _, m := range list {
		if !m.edges.taken[m.at] {
			m.edges.taken[m.at] = true
			d.take(it, t, m.edges.connection, &m.edges.live[m.at], base, known)
		}
	}
	return len(list) > 0
}

// edgesOf returns the edges of a live connection, the same ones each time.
func (d *differ) edgesOf(l *schemas.Connection) *edges {
	if e := d.edges[l]; e != nil {
		return e
	}
	list := sortedEntitlements(l.Entitlements)
	e := &edges{connection: l, live: list, taken: make([]bool, len(list))}
	if d.edges == nil {
		d.edges = map[*schemas.Connection]*edges{}
	}
	d.edges[l] = e
	return e
}
