package excerpt

import (
	"github.com/countersign/countersign/reconciler/graph"
	"github.com/countersign/countersign/schemas"
)

// effects selects the entries that decide who gains or loses by the differing ones: those on the way to the identities
// below, those on the way to the rights above, and for each pair of them one way that the change leaves alone.
func (p *picker) effects(s selection, differing map[key][]entry, r Request) {
	x := &effects{picker: p, selection: s, differing: differing, either: p.after.edges, ways: map[pair]bool{}, above: map[graph.Node]bool{}}
	byStart := map[graph.Node][]entry{}
	for _, list := range differing {
		for _, e := range list {
			x.either = x.either.With(e.edge, e.strength)
			byStart[e.edge.From] = append(byStart[e.edge.From], e)
		}
	}
	for from, list := range byStart {
		ids := x.identities(from)
		for _, e := range list {
			x.pairs(ids, e)
		}
		for _, id := range ids {
			x.holdings(id, r)
		}
	}
	for _, n := range r.Heirs {
		for _, id := range x.identities(p.desc.number(n)) {
			x.holdings(id, r)
		}
	}
}

type effects struct {
	*picker
	selection selection
	differing map[key][]entry
	// either has the edges of both ends.
	either graph.Edges
	ways   map[pair]bool       // whether there is a way that is always in force, by pair
	above  map[graph.Node]bool // nodes of which everything above is selected
}

type pair struct {
	identity graph.Node
	right    graph.Right
}

func (x *effects) take(e graph.Edge) { x.add(x.selection, key{e.Connection, e.Target}) }

// identities selects what leads to a node from below, and returns the identities there.
func (x *effects) identities(from graph.Node) []graph.Node {
	seen := map[graph.Node]bool{}
	x.either.Below(from, seen, x.take)
	var out []graph.Node
	for n := range seen {
		found := false
		x.either.Up(n, func(e graph.Edge, _ graph.Strength) bool {
			if !e.Identity {
				return false // those come first
			}
			// One that is in force shows that the node is an identity. One that a revoke only takes to be there may not.
			x.take(e)
			found = true
			_, before := x.before.edges.Get(e)
			_, after := x.after.edges.Get(e)
			return !before || !after
		})
		if found {
			out = append(out, n)
		}
	}
	return out
}

// pairs asks for another way from each identity to all that an edge leads to.
func (x *effects) pairs(ids []graph.Node, e entry) {
	first := graph.Right{To: e.edge.To, Privilege: e.edge.Privilege}
	var rights []graph.Right
	if e.strength.Passes {
		x.either.Above(e.edge.To, map[graph.Node]bool{}, func(edge graph.Edge) {
			x.take(edge)
			rights = append(rights, graph.Right{To: edge.To, Privilege: edge.Privilege})
		})
	}
	for _, id := range ids {
		if x.another(id, first) && e.strength.Passes {
			continue // it has everything above as well
		}
		for _, r := range rights {
			x.another(id, r)
		}
	}
}

// another selects a way from an identity to a right that the change leaves alone, and reports whether it is always in
// force. Where ways begin or end, it selects all that the identity has.
func (x *effects) another(id graph.Node, right graph.Right) bool {
	k := pair{id, right}
	if found, asked := x.ways[k]; asked {
		return found
	}
	stays := func(e graph.Edge) bool { return x.differing[key{e.Connection, e.Target}] == nil }
	way, ok := x.after.edges.Way(id, right, func(e graph.Edge, s graph.Strength) bool { return !s.Bounded && stays(e) })
	x.ways[k] = ok
	if ok {
		for _, e := range way {
			x.take(e)
		}
		return true
	}
	if _, bounded := x.after.edges.Way(id, right, func(e graph.Edge, _ graph.Strength) bool { return stays(e) }); bounded {
		x.everything(id)
	}
	return false
}

// everything selects all that an identity has.
func (x *effects) everything(id graph.Node) {
	if !x.above[id] {
		x.above[id] = true
		x.either.Above(id, map[graph.Node]bool{}, x.take)
	}
}

// holdings selects a way to each connection of which it is asked whether an identity holds it.
func (x *effects) holdings(id graph.Node, r Request) {
	if r.Holdings {
		x.everything(id)
		return
	}
	for _, n := range r.Asked {
		way, _ := x.after.edges.Way(id, graph.Right{To: x.desc.number(n), Privilege: schemas.PrivilegeMember}, func(graph.Edge, graph.Strength) bool { return true })
		for _, e := range way {
			x.take(e)
		}
	}
}
