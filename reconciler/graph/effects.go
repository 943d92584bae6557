package graph

import (
	"slices"

	"github.com/countersign/countersign/schemas"
)

// Effects fills in, for each operation, which identities gain or lose what when the complete plan is carried
// out. before is the graph that the plan starts from, after the one that it leads to; neither is changed.
// Each gain and loss is attached to the first operation that leads to it. It returns all gains and losses, sorted
// by identity.
func Effects(ops []schemas.Operation, before *Graph, after *Graph) (gained, lost []schemas.Access) {
	adds, takes := newSteps(before), newSteps(after)
	for i := range ops {
		o := &ops[i]
		o.Gained, o.Lost = nil, nil
		switch o.Kind {
		case schemas.OperationGrant:
			adds.edge(i, o)
		case schemas.OperationRevoke:
			takes.edge(i, o)
		case schemas.OperationDelete:
			takes.deleted[o.Connection] = i
		}
	}
	touched := map[schemas.Name]bool{}
	collect := func(g *Graph, o *schemas.Operation) {
		for _, n := range g.behind(o) {
			touched[n] = true
		}
	}
	// Members of the same connection are looked for once.
	type end struct {
		n     schemas.Name
		after bool
	}
	seen := map[end]bool{}
	once := func(g *Graph, o *schemas.Operation) {
		k := end{g.source(o), g == after}
		if o.Kind == schemas.OperationDelete || !seen[k] {
			seen[k] = true
			collect(g, o)
		}
	}
	for i := range ops {
		switch o := &ops[i]; o.Kind {
		case schemas.OperationGrant:
			once(after, o)
		case schemas.OperationRevoke, schemas.OperationDelete:
			once(before, o)
		}
	}
	ids := make([]schemas.Name, 0, len(touched))
	for n := range touched {
		ids = append(ids, n)
	}
	slices.SortFunc(ids, schemas.Name.Compare)
	for _, id := range ids {
		was, will := before.AccessOf(id), after.AccessOf(id)
		i, j := 0, 0
		for i < len(was) || j < len(will) {
			c := 0
			switch {
			case i == len(was):
				c = 1
			case j == len(will):
				c = -1
			default:
				c = compareTarget(was[i].Target, was[i].Privilege, will[j].Target, will[j].Privilege)
			}
			switch {
			case c < 0:
				if at := takes.first(&was[i]); at >= 0 {
					ops[at].Lost = append(ops[at].Lost, was[i])
				}
				lost = append(lost, was[i])
				i++
			case c > 0:
				if at := adds.first(&will[j]); at >= 0 {
					ops[at].Gained = append(ops[at].Gained, will[j])
				}
				gained = append(gained, will[j])
				j++
			default:
				i++
				j++
			}
		}
	}
	return gained, lost // identities were taken in order, and so were what each of them can do
}

// source is the node whose members are touched by a grant or revoke.
func (g *Graph) source(o *schemas.Operation) schemas.Name {
	if o.Kind != schemas.OperationDelete {
		switch g.edge(o.Connection, o.Target.Type) {
		case schemas.EdgeIdentity, schemas.EdgeMember:
			return *o.Target
		}
	}
	return o.Connection
}

// behind are the identities whose access may run through what the operation is about.
func (g *Graph) behind(o *schemas.Operation) []schemas.Name {
	at := g.find(g.source(o))
	if at == nil {
		return nil
	}
	from := []*node{at}
	if o.Kind == schemas.OperationDelete {
		from = append(from, at.handedOnBy...)
	}
	var out []schemas.Name
	for _, n := range from {
		for _, m := range g.walk(n, (*node).members) {
			if m.identity {
				out = append(out, m.label())
			}
		}
	}
	return out
}

// steps finds the operation that first adds or takes away a part of a way.
type steps struct {
	graph   *Graph
	edges   map[edgeKey]int
	deleted map[schemas.Name]int
}

func newSteps(g *Graph) *steps {
	return &steps{graph: g, edges: map[edgeKey]int{}, deleted: map[schemas.Name]int{}}
}

func (s *steps) edge(i int, o *schemas.Operation) {
	k := s.graph.key(o.Connection, *o.Target, o.Privilege)
	if _, ok := s.edges[k]; !ok {
		s.edges[k] = i
	}
}

// first returns the index of the first operation on the access's way, -1 when none is.
func (s *steps) first(a *schemas.Access) int {
	at := -1
	found := func(i int, ok bool) {
		if ok && (at < 0 || i < at) {
			at = i
		}
	}
	look := func(from, to schemas.Name, privilege string) {
		i, ok := s.edges[edgeKey{from, to, privilege}]
		found(i, ok)
		if len(s.deleted) > 0 {
			i, ok = s.deleted[to]
			found(i, ok)
		}
	}
	from := s.graph.Name(a.Identity)
	for _, n := range a.Via {
		look(from, n, schemas.PrivilegeMember)
		from = n
	}
	look(from, a.Target, a.Privilege)
	return at
}
