package excerpt

import (
	"context"
	"slices"

	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// picker is the work on one change. Its methods keep the first error of the source.
type picker struct {
	ctx    context.Context
	source Source // of the documents before the change; for connections that it leaves alone, those after it too
	naming Source // knows who names what after the change
	// before and after are the worlds at both ends; after is nil until the change is put into it.
	before, after *World
	desc          *description
	ended         map[graph.Node]bool // connections that the change ends or brings back
	err           error
}

func (p *picker) worlds() []*World {
	if p.after == nil {
		return []*World{p.before}
	}
	return []*World{p.before, p.after}
}

// mark changes what is known of a name.
func (p *picker) mark(n graph.Node, set func(*loaded)) {
	for _, w := range p.worlds() {
		l, _ := w.loaded.Get(number(n))
		set(&l)
		w.loaded = w.loaded.With(number(n), l)
	}
}

func (p *picker) known(n graph.Node) loaded {
	l, _ := p.before.loaded.Get(number(n))
	return l
}

// load reads a connection's documents.
func (p *picker) load(c graph.Node) {
	if p.err != nil || p.known(c).documents {
		return
	}
	p.mark(c, func(l *loaded) { l.documents = true })
	docs, err := p.source.Documents(p.ctx, p.desc.names[c])
	if err != nil {
		p.err = err
		return
	}
	for _, d := range docs {
		for _, w := range p.worlds() {
			w.set(c, nil, d)
		}
	}
}

// mentioning returns the connections that name a target as an edge of some kind, under any name of it.
func (p *picker) mentioning(target graph.Node, kinds ...schemas.Edge) []graph.Node {
	var out []graph.Node
	for _, name := range p.desc.namesOf(target) {
		if typ := p.desc.names[name].Type; !slices.ContainsFunc(kinds, func(e schemas.Edge) bool { return p.desc.kinds[typ][e] }) {
			continue
		}
		list, err := p.naming.Mentioning(p.ctx, p.desc.names[name])
		if err != nil && p.err == nil {
			p.err = err
		}
		for _, n := range list {
			if c := p.desc.number(n); slices.Contains(kinds, p.desc.edge(key{c, name})) {
				out = append(out, c)
			}
		}
	}
	return out
}

// loadUp reads connections, and everything that they are nested in, with the edges.
func (p *picker) loadUp(list ...graph.Node) {
	var fresh []graph.Node
	for queue := list; len(queue) > 0 && p.err == nil; {
		c := queue[0]
		queue = queue[1:]
		if p.known(c).up {
			continue
		}
		p.load(c)
		p.mark(c, func(l *loaded) { l.up = true })
		fresh = append(fresh, c)
		for _, t := range p.before.targets(c) {
			if p.desc.edge(key{c, t}) == schemas.EdgeConnection {
				queue = append(queue, p.desc.canonical(t))
			}
		}
		queue = append(queue, p.mentioning(c, schemas.EdgeMember, schemas.EdgeIdentity)...)
	}
	if len(fresh) == 0 {
		return
	}
	s := selection{}
	for _, c := range fresh {
		p.all(s, c)
	}
	wanted := p.fold(s, p.before)
	for _, c := range fresh {
		for _, e := range p.before.entriesOf(wanted.of[c]) {
			for _, w := range p.worlds() {
				w.put(e)
			}
		}
	}
}

// loadBelow reads everything that is nested in a connection, and all that the identities there are in.
func (p *picker) loadBelow(c graph.Node) {
	for queue := []graph.Node{c}; len(queue) > 0 && p.err == nil; {
		c := queue[0]
		queue = queue[1:]
		if p.known(c).below {
			continue
		}
		p.loadUp(c)
		p.mark(c, func(l *loaded) { l.below = true })
		for _, t := range p.before.targets(c) {
			if p.member(key{c, t}) {
				queue = append(queue, p.desc.canonical(t))
			}
		}
		queue = append(queue, p.mentioning(c, schemas.EdgeConnection)...)
	}
}

// member reports whether an entry's target may have members. It reads the connections of an identity that can't have any.
func (p *picker) member(k key) bool {
	switch p.desc.edge(k) {
	case schemas.EdgeMember:
		return true
	case schemas.EdgeIdentity:
		if p.desc.canonical(k.target) != k.target {
			return true
		}
		if !p.known(k.target).mentioned {
			p.mark(k.target, func(l *loaded) { l.mentioned = true })
			p.loadUp(p.mentioning(k.target, schemas.EdgeMember, schemas.EdgeIdentity)...)
		}
	}
	return false
}

// selection are the entries that an excerpt has, by connection.
type selection map[graph.Node]map[graph.Node]bool

// add takes an entry, with what decides about it: the lives of both ends, the other spellings of it, the targets that
// contain its target, and those that its target consists of.
func (p *picker) add(s selection, k key) {
	if p.err != nil || s[k.connection][k.target] {
		return
	}
	p.touch(s, k.connection)
	s[k.connection][k.target] = true
	if t := p.desc.canonical(k.target); p.desc.connection(t) {
		p.touch(s, t)
	}
	for _, o := range p.desc.otherSpellings(k) {
		if p.load(o.connection); p.has(o) {
			p.add(s, o)
		}
	}
	// A container that consists of its parts goes with all of them that nothing else wants.
	if g := p.desc.target(k); g != nil && slices.ContainsFunc(g.Contains, func(c schemas.Containment) bool { return c.Derived }) {
		for _, t := range p.targets(k.connection) {
			if p.desc.contains(k.connection, k.target, t) {
				p.add(s, key{k.connection, t})
			}
		}
	}
	p.desc.containers(k, func(typ, name string) {
		if name != "" {
			if c := (key{k.connection, p.desc.number(schemas.Name{Type: typ, SourceName: name})}); p.has(c) {
				p.add(s, c)
			}
			return
		}
		for _, t := range p.targets(k.connection) {
			if p.desc.contains(k.connection, t, k.target) {
				p.add(s, key{k.connection, t})
			}
		}
	})
}

// touch takes a connection's creations and deletions, or else any entry that shows that it is spoken of.
func (p *picker) touch(s selection, c graph.Node) {
	if s[c] != nil {
		return
	}
	s[c] = map[graph.Node]bool{}
	p.load(c)
	for _, w := range p.worlds() {
		l := w.life(c)
		if l.undone {
			// It exists as long as anything holds it.
			p.all(s, c)
			p.holders(s, c, nil)
		}
		if l.any {
			continue
		}
		for e := range w.of(c, 1) {
			p.add(s, key{c, e.target})
			break
		}
	}
}

// all takes all entries of a connection.
func (p *picker) all(s selection, c graph.Node) {
	p.touch(s, c)
	for _, t := range p.targets(c) {
		p.add(s, key{c, t})
	}
}

// holders takes the entries of other connections for one, and calls visit with each.
func (p *picker) holders(s selection, c graph.Node, visit func(key)) {
	list, err := p.naming.Mentioning(p.ctx, p.desc.names[c])
	if err != nil && p.err == nil {
		p.err = err
	}
	for _, n := range list {
		k := key{p.desc.number(n), c}
		p.add(s, k)
		if visit != nil {
			visit(k)
		}
	}
}

// has reports whether any document has an entry.
func (p *picker) has(k key) bool {
	for _, w := range p.worlds() {
		for range w.about(k) {
			return true
		}
	}
	return false
}

// targets are those that a connection's documents name, before or after.
func (p *picker) targets(c graph.Node) []graph.Node {
	out := p.before.targets(c)
	if p.after != nil {
		out = append(out, p.after.targets(c)...)
		slices.Sort(out)
	}
	return slices.Compact(out)
}

// documents returns the documents of a connection that the selection takes, without other entries.
func (w *World) documents(c graph.Node, targets map[graph.Node]bool) []*plan.Document {
	var out []*plan.Document
	seen := map[*plan.Document]bool{}
	take := func(t graph.Node) {
		for d := range w.about(key{c, t}) {
			if !seen[d] {
				seen[d] = true
				out = append(out, w.desc.filter(d, targets))
			}
		}
	}
	take(0)
	for t := range targets {
		take(t)
	}
	slices.SortFunc(out, func(a, b *plan.Document) int { return a.Place.Compare(b.Place) })
	return out
}

// filter returns a document without the entries for other targets.
func (d *description) filter(doc *plan.Document, targets map[graph.Node]bool) *plan.Document {
	other := func(e schemas.Entry) bool { return !targets[d.number(e.Name())] }
	whole := true
	versions(doc, func(v *plan.Version, _ bool) {
		whole = whole && !slices.ContainsFunc(v.Request.Grants, other) && !slices.ContainsFunc(v.Request.Revokes, other)
	})
	if whole {
		return doc
	}
	filtered := func(v *plan.Version) *plan.Version {
		if v == nil || v.Request == nil {
			return v
		}
		r := *v.Request
		r.Grants, r.Revokes = slices.DeleteFunc(slices.Clone(r.Grants), other), slices.DeleteFunc(slices.Clone(r.Revokes), other)
		return &plan.Version{Blob: v.Blob, Request: &r, Until: v.Until}
	}
	out := &plan.Document{Place: doc.Place, Current: filtered(doc.Current)}
	for _, v := range doc.Former {
		out.Former = append(out.Former, filtered(v))
	}
	return out
}

// size is the number of entries.
func (s selection) size() (n int) {
	for _, targets := range s {
		n += 1 + len(targets)
	}
	return n
}

// folded is what a world wants of the selected entries.
type folded struct {
	*plan.Desired
	of map[graph.Node]*plan.Connection
}

func (p *picker) fold(s selection, w *World) folded {
	out := folded{&plan.Desired{}, make(map[graph.Node]*plan.Connection, len(s))}
	if p.err != nil || len(s) == 0 {
		return out
	}
	var docs []*plan.Document
	for c, targets := range s {
		docs = append(docs, w.documents(c, targets)...)
	}
	out.Desired = plan.Fold(docs, p.desc.Description, w.now)
	for _, c := range out.Connections {
		out.of[p.desc.number(c.Name)] = c
	}
	return out
}
