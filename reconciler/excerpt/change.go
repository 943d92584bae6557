package excerpt

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// Request is a change to the documents of an application.
type Request struct {
	// Application is the application at both ends.
	Application *schemas.Application
	// Before and After have the documents at both ends.
	Before, After Source
	// Touched are the connections whose documents change, Heirs those that receive what a deletion leaves.
	Touched, Heirs []schemas.Name
	// Asked are connections of which it is asked who holds them, among those who gain. Holdings asks for all of these.
	Asked    []schemas.Name
	Holdings bool
	// Now is the instant of both ends.
	Now time.Time
}

// Excerpt is the desired state before and after a change, as far as it matters for what the change means.
type Excerpt struct {
	Before, After *plan.Desired
	// World is the one after the change.
	World *World
	// Connections is how many of them the excerpt has.
	Connections int
}

// Change returns the excerpt for a change. The world stays as it was, the one before the change.
func (w *World) Change(ctx context.Context, r Request) (*Excerpt, error) {
	before := *w
	before.app = r.Application
	p := &picker{ctx: ctx, source: r.Before, naming: r.After, before: &before, desc: w.desc}
	p.advance(r.Now)
	touched, keys, err := p.read(r)
	if err != nil || p.err != nil {
		return nil, errors.Join(err, p.err)
	}
	p.change(touched)
	s := selection{}
	changed := p.changedKeys(s, touched, keys)
	was, is := p.fold(s, p.before), p.fold(s, p.after)
	for p.ends(s, changed, was.of, is.of) {
		was, is = p.fold(s, p.before), p.fold(s, p.after)
	}
	p.after.replace(changed, was.of, is.of)
	size := s.size()
	p.effects(s, p.differing(changed, was.of, is.of), r)
	out := &Excerpt{Before: was.Desired, After: is.Desired, World: p.after, Connections: len(s)}
	if s.size() == size {
		return out, p.err // the change has no effect on anything else
	}
	var unchanged, first, second []*plan.Document
	for c, targets := range s {
		if touched[c] == nil {
			unchanged = append(unchanged, p.before.documents(c, targets)...)
			continue
		}
		first, second = append(first, p.before.documents(c, targets)...), append(second, p.after.documents(c, targets)...)
	}
	if p.err != nil {
		return nil, p.err
	}
	out.Before, out.After = plan.Pair(unchanged, first, second, w.desc.Description, r.Now)
	return out, nil
}

// advance brings the world to an instant: what begins and ends until then.
func (p *picker) advance(now time.Time) {
	keys := map[key]bool{}
	for d := range p.before.due.All() {
		if d.at > now.UnixNano() {
			break
		}
		keys[d.key] = true
		p.before.due = p.before.due.Without(d)
	}
	s := selection{}
	for k := range keys {
		p.add(s, k)
	}
	for k := range keys {
		for _, o := range p.desc.otherSpellings(k) {
			keys[o] = true
		}
	}
	was := p.fold(s, p.before)
	p.before.now = now
	if len(keys) > 0 {
		p.before.replace(keys, was.of, p.fold(s, p.before).of)
	}
}

// edit is the documents of a connection that a change replaces.
type edit struct{ was, is []*plan.Document }

// read reads everything around the change, and returns the documents that it replaces with the entries that they name. Creations
// and deletions have the target 0.
func (p *picker) read(r Request) (map[graph.Node]*edit, map[key]bool, error) {
	touched, keys := map[graph.Node]*edit{}, map[key]bool{}
	for _, n := range r.Heirs {
		p.loadBelow(p.desc.number(n))
	}
	for _, n := range r.Touched {
		c := p.desc.number(n)
		p.loadBelow(c)
		was, err := r.Before.Documents(p.ctx, n)
		if err != nil {
			return nil, nil, err
		}
		is, err := r.After.Documents(p.ctx, n)
		if err != nil {
			return nil, nil, err
		}
		e := replaced(was, is)
		touched[c] = e
		for _, list := range [][]*plan.Document{e.was, e.is} {
			for _, d := range list {
				for _, t := range p.desc.namedBy(d) {
					keys[key{c, t}] = true
				}
			}
		}
	}
	for k := range keys {
		switch {
		case k.target == 0:
		case p.desc.edge(k) == schemas.EdgeConnection:
			p.loadUp(p.desc.canonical(k.target))
		case p.member(k):
			p.loadBelow(p.desc.canonical(k.target))
		}
	}
	return touched, keys, nil
}

// replaced leaves the documents that are not on both sides. Both are in merge order.
func replaced(was, is []*plan.Document) *edit {
	e := &edit{}
	for len(was) > 0 || len(is) > 0 {
		c := 0
		switch {
		case len(was) == 0:
			c = 1
		case len(is) == 0:
			c = -1
		default:
			c = was[0].Place.Compare(is[0].Place)
		}
		if c == 0 && was[0] == is[0] {
			was, is = was[1:], is[1:]
			continue
		}
		if c <= 0 {
			e.was, was = append(e.was, was[0]), was[1:]
		}
		if c >= 0 {
			e.is, is = append(e.is, is[0]), is[1:]
		}
	}
	return e
}

// change makes the world after the change.
func (p *picker) change(touched map[graph.Node]*edit) {
	after := *p.before
	p.after = &after
	for c, e := range touched {
		for _, d := range e.was {
			after.set(c, d, nil)
		}
		for _, d := range e.is {
			after.set(c, nil, d)
		}
	}
}

// changedKeys selects the entries whose meaning may change, and returns them.
func (p *picker) changedKeys(s selection, touched map[graph.Node]*edit, named map[key]bool) map[key]bool {
	changed := map[key]bool{}
	add := func(k key) { p.addChanged(s, changed, k) }
	for c := range touched {
		p.touch(s, c)
	}
	for k := range named {
		if k.target != 0 {
			add(k)
		}
	}
	for c := range touched {
		was, is := p.before.life(c), p.after.life(c)
		if !named[key{c, 0}] || !was.ends && !is.ends && !was.undone && !is.undone {
			continue
		}
		// Its life begins or ends, with everything that it has, and that others have of it.
		for _, t := range p.targets(c) {
			add(key{c, t})
		}
		p.holders(s, c, add)
	}
	return changed
}

// addChanged selects an entry whose meaning may change, and those that change with it.
func (p *picker) addChanged(s selection, changed map[key]bool, k key) {
	if changed[k] {
		return
	}
	changed[k] = true
	p.add(s, k)
	for _, o := range p.desc.otherSpellings(k) {
		if p.has(o) {
			p.addChanged(s, changed, o)
		}
	}
	// A grant of a container decides about revokes of its parts.
	if g := p.desc.target(k); g != nil && len(g.Contains) > 0 {
		for _, t := range p.targets(k.connection) {
			if p.desc.contains(k.connection, k.target, t) {
				p.addChanged(s, changed, key{k.connection, t})
			}
		}
	}
}

// ends selects what others hold of the connections that the change ends or brings back, under any name: it ends with
// them. It reports whether there is anything new.
func (p *picker) ends(s selection, changed map[key]bool, was, is map[graph.Node]*plan.Connection) (more bool) {
	gone := func(c *plan.Connection) bool {
		return c != nil && (c.Existence == plan.Deleted || c.Existence == plan.Undone)
	}
	for c := range s {
		if gone(was[c]) == gone(is[c]) || p.ended[c] {
			continue
		}
		if p.ended == nil {
			p.ended = map[graph.Node]bool{}
		}
		p.ended[c], more = true, true
		for _, t := range p.targets(c) {
			p.addChanged(s, changed, key{c, t})
		}
		for _, n := range p.desc.namesOf(c) {
			p.holders(s, n, func(k key) { p.addChanged(s, changed, k) })
		}
	}
	return more
}

// differing returns the edges of those entries that are not the same at both ends, by where they come from. A revoke takes
// what is asked to be gone to be there.
func (p *picker) differing(changed map[key]bool, was, is map[graph.Node]*plan.Connection) map[key][]entry {
	out := map[key][]entry{}
	connections := map[graph.Node]bool{}
	for k := range changed {
		connections[k.connection] = true
	}
	for c := range connections {
		before, after := byTarget(was[c]), byTarget(is[c])
		name := p.desc.names[c]
		collect := func(target schemas.Name, of *statementsOf) {
			if of == nil {
				return
			}
			k := key{c, p.desc.number(target)}
			add := func(privilege string) {
				x := p.after.entry(name, target, privilege, true)
				if !slices.ContainsFunc(out[k], func(o entry) bool { return o.edge == x.edge }) {
					out[k] = append(out[k], x)
				}
			}
			for _, list := range [][]plan.Entitlement{of.entitlements, of.scheduled} {
				for i := range list {
					add(list[i].Privilege)
				}
			}
			for i := range of.tombstones {
				add(of.tombstones[i].Privilege)
			}
		}
		for _, side := range []map[schemas.Name]*statementsOf{before, after} {
			for target := range side {
				if k := (key{c, p.desc.number(target)}); !changed[k] || out[k] != nil ||
					!p.ended[p.desc.canonical(k.target)] && reflect.DeepEqual(before[target], after[target]) {
					continue
				}
				collect(target, before[target])
				collect(target, after[target])
			}
		}
	}
	return out
}
