package plan

import (
	"maps"
	"time"

	"github.com/countersign/countersign/schemas"
)

// Attested is the live state of an application that nothing can read: the operations reported as done, in order. The
// zero value is without reports.
type Attested struct {
	connections map[schemas.Name]*attestedConnection
	// done holds the removals reported as done, by item, with the instant.
	done map[string]time.Time
}

type attestedConnection struct {
	payload map[string]any
	has     map[schemas.Key]bool
}

// Add records an operation reported as done.
func (a *Attested) Add(o *schemas.Operation, at time.Time) {
	if a.connections == nil {
		a.connections, a.done = map[schemas.Name]*attestedConnection{}, map[string]time.Time{}
	}
	c := a.connections[o.Connection]
	if c == nil && o.Kind != schemas.OperationDelete {
		c = &attestedConnection{payload: map[string]any{}, has: map[schemas.Key]bool{}}
		a.connections[o.Connection] = c
	}
	delete(a.done, OperationItem(o))
	switch o.Kind {
	case schemas.OperationCreate, schemas.OperationUpdate:
		maps.Copy(c.payload, o.After)
	case schemas.OperationGrant:
		c.has[o.Key()] = true
	case schemas.OperationRevoke:
		delete(c.has, o.Key())
		a.done[OperationItem(o)] = at
	case schemas.OperationDelete:
		delete(a.connections, o.Connection)
		for _, other := range a.connections {
			maps.DeleteFunc(other.has, func(k schemas.Key, _ bool) bool { return k.Target == o.Connection })
		}
		a.done[OperationItem(o)] = at
	}
}

// State is the assumed live state. Access that requests remove, and that nobody has reported as removed since they
// asked (baseline tells), is taken to be there: it may have been given before anybody kept count. A connection that
// requests assign to and do not create is taken to exist.
func (a *Attested) State(d *Desired, baseline func(string) (schemas.BaselineItem, bool)) schemas.State {
	assert := assertion{}
	settled := func(item, word string, docs []schemas.DocumentID) bool {
		base, known := baseline(item)
		return known && !assert.changed(base, known, word, docs)
	}
	out := map[schemas.Name]*schemas.Connection{}
	of := func(n schemas.Name) *schemas.Connection {
		if out[n] == nil {
			out[n] = &schemas.Connection{Name: n, Payload: map[string]any{}}
		}
		return out[n]
	}
	for _, c := range d.Connections {
		n, c := c.Name, a.connections[c.Name]
		if c == nil || out[n] != nil {
			continue
		}
		l := of(n)
		maps.Copy(l.Payload, c.payload)
		for k := range c.has {
			l.Entitlements = append(l.Entitlements, schemas.Entitlement{Target: k.Target, Privilege: k.Privilege})
		}
	}
	for _, c := range d.Connections {
		_, gone := a.done[ConnectionItem(c.Name)]
		switch c.Existence {
		case Unspecified:
			if len(c.Entitlements)+len(c.Tombstones) > 0 {
				of(c.Name)
			}
		case Deleted:
			if !gone && !settled(ConnectionItem(c.Name), absent, c.Documents) {
				of(c.Name)
			}
		}
		l := out[c.Name]
		if l == nil || c.Existence == Deleted {
			continue
		}
		for k, v := range c.Payload {
			if _, said := l.Payload[k]; !said && v != nil && c.Existence == Present {
				l.Payload[k] = nil // the creation did not report it, so it is asked for
			}
		}
		for _, t := range c.Tombstones {
			k := schemas.Key{Connection: c.Name, Target: t.Target, Privilege: t.Privilege}
			item := EntitlementItem(k)
			_, gone := a.done[item]
			held := a.connections[c.Name] != nil && a.connections[c.Name].has[k]
			if t.Cause == schemas.CauseRequest && !gone && !held && !settled(item, absentFor(t.Cause), t.Documents) {
				l.Entitlements = append(l.Entitlements, schemas.Entitlement{Target: t.Target, Privilege: t.Privilege})
			}
		}
	}
	s := schemas.State{}
	for _, c := range out {
		s.Connections = append(s.Connections, *c)
	}
	s.Sort()
	return s
}
