package excerpt

import (
	"time"

	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// entry is what the documents want of one privilege on a target.
type entry struct {
	key
	edge     graph.Edge
	strength graph.Strength
	turns    []time.Time // when it begins or ends
	// effective means that the application lets it take effect.
	effective bool
}

// entriesOf are the entries of a folded connection that are wanted now or later.
func (w *World) entriesOf(c *plan.Connection) []entry {
	if c == nil {
		return nil
	}
	var out []entry
	scope := plan.InScope(w.app, c.Name)
	for _, list := range [][]plan.Entitlement{c.Entitlements, c.Scheduled} {
		for i := range list {
			e := &list[i]
			x := w.entry(c.Name, e.Target, e.Privilege, scope)
			x.strength.Bounded = e.Starts != nil || e.Expires != nil
			for _, t := range []*time.Time{e.Starts, e.Expires} {
				if t != nil && t.After(w.now) {
					x.turns = append(x.turns, *t)
				}
			}
			out = append(out, x)
		}
	}
	return out
}

func (w *World) entry(connection, target schemas.Name, privilege string, scope bool) entry {
	d := w.desc
	k := key{d.number(connection), d.number(target)}
	x := entry{key: k, edge: graph.Edge{From: k.connection, To: k.target, Privilege: privilege, Connection: k.connection, Target: k.target}}
	g := d.target(k)
	x.effective = scope && g != nil && plan.Grantable(w.app, *g, target)
	switch kind := d.edge(k); kind {
	case schemas.EdgeIdentity, schemas.EdgeMember:
		x.edge.Identity = kind == schemas.EdgeIdentity
		x.edge.From, x.edge.To = d.canonical(k.target), k.connection
	case schemas.EdgeConnection:
		x.edge.To = d.canonical(k.target)
	default:
		return x
	}
	x.strength.Passes = privilege == schemas.PrivilegeMember
	return x
}

// put adds an entry to the edges.
func (w *World) put(e entry) {
	for _, t := range e.turns {
		w.due = w.due.With(due{t.UnixNano(), e.key}, struct{}{})
	}
	if !e.effective {
		return
	}
	// One grant that is in force at all times is enough.
	if s, ok := w.edges.Get(e.edge); ok && !s.Bounded {
		return
	}
	w.edges = w.edges.With(e.edge, e.strength)
}

// take removes an entry from the edges. Its instants stay: they cost a look.
func (w *World) take(e entry) { w.edges = w.edges.Without(e.edge) }

// replace puts the entries of some keys in the place of others.
func (w *World) replace(keys map[key]bool, was, is map[graph.Node]*plan.Connection) {
	done := map[graph.Node]bool{}
	for k := range keys {
		if done[k.connection] {
			continue
		}
		done[k.connection] = true
		for _, e := range w.entriesOf(was[k.connection]) {
			if keys[e.key] {
				w.take(e)
			}
		}
		for _, e := range w.entriesOf(is[k.connection]) {
			if keys[e.key] {
				w.put(e)
			}
		}
	}
}

// statementsOf are what a folded connection has about each target, to compare.
type statementsOf struct {
	entitlements, scheduled []plan.Entitlement
	tombstones              []plan.Tombstone
}

func byTarget(c *plan.Connection) map[schemas.Name]*statementsOf {
	out := map[schemas.Name]*statementsOf{}
	if c == nil {
		return out
	}
	at := func(n schemas.Name) *statementsOf {
		if out[n] == nil {
			out[n] = &statementsOf{}
		}
		return out[n]
	}
	for _, e := range c.Entitlements {
		at(e.Target).entitlements = append(at(e.Target).entitlements, e)
	}
	for _, e := range c.Scheduled {
		at(e.Target).scheduled = append(at(e.Target).scheduled, e)
	}
	for _, t := range c.Tombstones {
		at(t.Target).tombstones = append(at(t.Target).tombstones, t)
	}
	return out
}
