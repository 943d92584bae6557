package graph

import (
	"cmp"

	"github.com/countersign/countersign/reconciler/ordered"
)

// Node is the number of a connection, an identity or a resource.
type Node uint32

// Edge is a membership, from member to group, or a privilege, from a connection to a resource. Connection and Target are the
// spelling that it has in documents, so that the same edge by another spelling is another Edge.
type Edge struct {
	From, To           Node
	Privilege          string
	Connection, Target Node
	// Identity means that the spelling is that of an identity's membership. Such edges of a node come first.
	Identity bool
}

// Strength is what an edge does.
type Strength struct {
	// Passes means that members of From have what To has.
	Passes bool
	// Bounded means that it isn't in force at all times.
	Bounded bool
}

// Edges are the edges that the documents of an application want, kept from change to change. An Edges value never
// changes; With and Without return others. The zero value is empty.
type Edges struct {
	up   ordered.Map[upward, Strength]
	down ordered.Map[downward, Strength]
}

type (
	upward   Edge // sorted by From
	downward Edge // sorted by To
)

func (a upward) Compare(b upward) int {
	return cmp.Or(cmp.Compare(a.From, b.From), falseLast(a.Identity, b.Identity), cmp.Compare(a.To, b.To), cmp.Compare(a.Privilege, b.Privilege),
		cmp.Compare(a.Connection, b.Connection), cmp.Compare(a.Target, b.Target))
}

func (a downward) Compare(b downward) int {
	return cmp.Or(cmp.Compare(a.To, b.To), cmp.Compare(a.From, b.From), cmp.Compare(a.Privilege, b.Privilege),
		cmp.Compare(a.Connection, b.Connection), cmp.Compare(a.Target, b.Target), falseLast(a.Identity, b.Identity))
}

func falseLast(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// With returns the edges with one more.
func (e Edges) With(edge Edge, s Strength) Edges {
	return Edges{e.up.With(upward(edge), s), e.down.With(downward(edge), s)}
}

// Without returns the edges but one.
func (e Edges) Without(edge Edge) Edges {
	return Edges{e.up.Without(upward(edge)), e.down.Without(downward(edge))}
}

// Get returns the strength of an edge.
func (e Edges) Get(edge Edge) (Strength, bool) { return e.up.Get(upward(edge)) }

// Up calls visit with the edges from a node, until it returns false.
func (e Edges) Up(n Node, visit func(Edge, Strength) bool) {
	e.upFrom(Edge{From: n, Identity: true}, visit)
}

// Down calls visit with the edges to a node, until it returns false.
func (e Edges) Down(n Node, visit func(Edge, Strength) bool) {
	e.downFrom(Edge{To: n, Identity: true}, visit)
}

func (e Edges) upFrom(start Edge, visit func(Edge, Strength) bool) {
	for k, s := range e.up.From(upward(start)) {
		if k.From != start.From || !visit(Edge(k), s) {
			return
		}
	}
}

func (e Edges) downFrom(start Edge, visit func(Edge, Strength) bool) {
	for k, s := range e.down.From(downward(start)) {
		if k.To != start.To || !visit(Edge(k), s) {
			return
		}
	}
}

// Below adds to seen the nodes that a node passes something to, itself included, and calls visit with each edge on the
// way to those that are new.
func (e Edges) Below(n Node, seen map[Node]bool, visit func(Edge)) {
	e.spread(n, seen, func(n Node, next func(Node)) {
		e.Down(n, func(edge Edge, s Strength) bool {
			if s.Passes {
				visit(edge)
				next(edge.From)
			}
			return true
		})
	})
}

// Above adds to seen the nodes that a node has something from, itself included, and calls visit with each edge from those
// that are new.
func (e Edges) Above(n Node, seen map[Node]bool, visit func(Edge)) {
	e.spread(n, seen, func(n Node, next func(Node)) {
		e.Up(n, func(edge Edge, s Strength) bool {
			visit(edge)
			if s.Passes {
				next(edge.To)
			}
			return true
		})
	})
}

func (e Edges) spread(n Node, seen map[Node]bool, expand func(n Node, next func(Node))) {
	if seen[n] {
		return
	}
	seen[n] = true
	queue := []Node{n}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		expand(n, func(to Node) {
			if !seen[to] {
				seen[to] = true
				queue = append(queue, to)
			}
		})
	}
}

// Right is what a node may have: a membership, or a privilege on a resource.
type Right struct {
	To        Node
	Privilege string
}

// Way returns the edges of one way from a node to a right, over edges that allow accepts. It looks from both ends in turn,
// so that it costs what the smaller side has.
func (e Edges) Way(from Node, to Right, allow func(Edge, Strength) bool) (way []Edge, ok bool) {
	up := search{via: map[Node]Edge{from: {}}, queue: []Node{from}}
	down := search{via: map[Node]Edge{}, queue: []Node{to.To}}
	last := func(edge Edge) bool { return edge.To == to.To && edge.Privilege == to.Privilege }
	for len(up.queue) > 0 && len(down.queue) > 0 {
		edge, found := up.turn(func(n Node, after *Edge, visit func(Edge, Strength) bool) {
			e.upFrom(begin(Edge{From: n, Identity: true}, after), visit)
		}, func(edge Edge, s Strength) (to Node, passes, found bool) {
			ok := allow(edge, s)
			_, met := down.via[edge.To]
			return edge.To, ok && s.Passes, ok && (last(edge) || s.Passes && met)
		})
		if found {
			return joinWay(edge, from, last, up.via, down.via), true
		}
		first := !down.begun
		edge, found = down.turn(func(n Node, after *Edge, visit func(Edge, Strength) bool) {
			e.downFrom(begin(Edge{To: n, Identity: true}, after), visit)
		}, func(edge Edge, s Strength) (to Node, passes, found bool) {
			passes = allow(edge, s) && (first && last(edge) || !first && s.Passes)
			_, met := up.via[edge.From]
			return edge.From, passes, passes && met
		})
		if found {
			return joinWay(edge, from, last, up.via, down.via), true
		}
	}
	return nil, false
}

// begin is where looking at the edges of a node begins: at the first, or where the last turn ended.
func begin(first Edge, after *Edge) Edge {
	if after != nil {
		return *after
	}
	return first
}

// joinWay puts the halves of a way together, which the edge joins.
func joinWay(edge Edge, from Node, last func(Edge) bool, up, down map[Node]Edge) []Edge {
	way := []Edge{edge}
	for n := edge.From; n != from; n = up[n].From {
		way = append(way, up[n])
	}
	for n := 0; !last(edge) && n < len(down); n++ {
		edge = down[edge.To]
		way = append(way, edge)
	}
	return way
}

// turnEdges is how many edges one side looks at in its turn.
const turnEdges = 16

// search is one side of a Way.
type search struct {
	via   map[Node]Edge // how each node was found
	queue []Node
	after *Edge // where to go on with the first of the queue
	begun bool  // the first node is done
}

// turn looks at some edges of the first node in the queue. next tells where an edge leads, whether the search goes on
// there, and whether the way is found; then that edge is returned.
func (s *search) turn(edges func(n Node, after *Edge, visit func(Edge, Strength) bool), next func(Edge, Strength) (to Node, passes, found bool)) (way Edge, found bool) {
	n, after := 0, s.after
	s.after = nil
	edges(s.queue[0], after, func(edge Edge, strength Strength) bool {
		if n++; n > turnEdges {
			s.after = &edge
			return false
		}
		to, passes, meets := next(edge, strength)
		if meets {
			way, found = edge, true
			return false
		}
		if _, known := s.via[to]; passes && !known {
			s.via[to] = edge
			s.queue = append(s.queue, to)
		}
		return true
	})
	if s.after == nil {
		s.queue, s.begun = s.queue[1:], true
	}
	return way, found
}
