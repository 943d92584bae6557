package graph

import (
	"slices"

	"github.com/countersign/countersign/schemas"
)

// Graph answers who can do what in one application, through nested connections. It is built from a state,
// live or desired, and may then be changed by operations. It is not safe for concurrent use, not even for
// reading.
type Graph struct {
	application string
	// edges are what each connection type's grantable types make: a membership, or the use of a resource.
	edges map[edgeType]schemas.Edge
	nodes map[schemas.Name]*node
	// windows are when edges are in force that are not at all times.
	windows map[edgeKey][]schemas.Window
	// round tells the marks of one walk from those of the walks before.
	round int
}

// edgeType is a connection's type with the type that is granted to it.
type edgeType struct{ connection, target string }

// edgeKey is a membership, from member to group, or the use of a resource.
type edgeKey struct {
	from, to  schemas.Name
	privilege string
}

// node is a connection or an identity. Its lists are sorted by name.
type node struct {
	name schemas.Name
	// up are the connections that it is a member of, down its members; admins are the connections that it may
	// hand on, and handedOnBy those that may hand it on.
	up, down, admins, handedOnBy []*node
	uses                         []right // sorted
	identity, exists             bool
	// round, via and depth belong to the walk that is under way.
	round, depth int
	via          *node
}

type right struct {
	target    schemas.Name
	privilege string
}

func (r right) compare(o right) int {
	return compareTarget(r.target, r.privilege, o.target, o.privilege)
}

// New returns the graph of a state. Entitlements that are not in force (invited, blocked, expired)
// count: they may come into force without us.
func New(application string, description schemas.Description, state schemas.State) *Graph {
	g := &Graph{application: application, edges: map[edgeType]schemas.Edge{}, nodes: make(map[schemas.Name]*node, 2*len(state.Connections))}
	for i := range description.Types {
		for j := range description.Types[i].Grantable {
			target := &description.Types[i].Grantable[j]
			k := edgeType{description.Types[i].Name, target.Type}
			if _, ok := g.edges[k]; !ok {
				g.edges[k] = target.Edge
			}
		}
	}
	for i := range state.Connections {
		c := &state.Connections[i]
		n := g.node(c.Name)
		n.exists = true
		for j := range c.Entitlements {
			e := &c.Entitlements[j]
			g.set(n, e.Target, e.Privilege, true)
		}
	}
	return g
}

func (g *Graph) node(n schemas.Name) *node {
	at := g.nodes[n]
	if at == nil {
		at = &node{name: n}
		g.nodes[n] = at
	}
	return at
}

func (g *Graph) edge(c schemas.Name, target string) schemas.Edge {
	if edge, ok := g.edges[edgeType{c.Type, target}]; ok {
		return edge
	}
	return schemas.EdgeResource
}

func (g *Graph) key(c, target schemas.Name, privilege string) edgeKey {
	switch g.edge(c, target.Type) {
	case schemas.EdgeIdentity, schemas.EdgeMember:
		return edgeKey{target, c, privilege}
	}
	return edgeKey{c, target, privilege}
}

func (g *Graph) set(c *node, target schemas.Name, privilege string, on bool) {
	kind := g.edge(c.name, target.Type)
	if kind == schemas.EdgeResource {
		r := right{target, privilege}
		i, ok := slices.BinarySearchFunc(c.uses, r, right.compare)
		switch {
		case on && !ok:
			c.uses = slices.Insert(c.uses, i, r)
		case !on && ok:
			c.uses = slices.Delete(c.uses, i, i+1)
		}
		return
	}
	member, group := g.node(target), c
	if kind == schemas.EdgeIdentity {
		member.identity = true
	}
	if kind == schemas.EdgeConnection {
		member, group = group, member
	}
	if privilege == schemas.PrivilegeMember {
		link(&member.up, group, on)
		link(&group.down, member, on)
		return
	}
	link(&member.admins, group, on)
	link(&group.handedOnBy, member, on)
}

func link(list *[]*node, to *node, on bool) {
	i, ok := slices.BinarySearchFunc(*list, to, compareNodes)
	switch {
	case on && !ok:
		*list = slices.Insert(*list, i, to)
	case !on && ok:
		*list = slices.Delete(*list, i, i+1)
	}
}

func compareNodes(a, b *node) int {
	if a == b {
		return 0
	}
	return a.name.Compare(b.name)
}

// Apply changes the graph as the operation would change the application.
func (g *Graph) Apply(o *schemas.Operation) {
	switch o.Kind {
	case schemas.OperationCreate:
		g.node(o.Connection).exists = true
	case schemas.OperationGrant:
		g.set(g.node(o.Connection), *o.Target, o.Privilege, true)
	case schemas.OperationRevoke:
		g.set(g.node(o.Connection), *o.Target, o.Privilege, false)
	case schemas.OperationDelete:
		n := g.node(o.Connection)
		for _, m := range n.down {
			link(&m.up, n, false)
		}
		for _, m := range n.up {
			link(&m.down, n, false)
		}
		for _, m := range n.handedOnBy {
			link(&m.admins, n, false)
		}
		for _, m := range n.admins {
			link(&m.handedOnBy, n, false)
		}
		n.up, n.down, n.admins, n.handedOnBy, n.uses, n.exists = nil, nil, nil, nil, nil, false
	}
}

// Members are the identities in a connection, through any nesting, sorted.
func (g *Graph) Members(c schemas.Name) []schemas.Name {
	var out []schemas.Name
	if at := g.nodes[c]; at != nil {
		for _, n := range g.walk(at, (*node).members) {
			if n.identity {
				out = append(out, n.name)
			}
		}
	}
	slices.SortFunc(out, schemas.Name.Compare)
	return out
}

// DirectMembers are the identities and connections that are members of a connection themselves, sorted.
func (g *Graph) DirectMembers(c schemas.Name) []schemas.Name {
	out := []schemas.Name{}
	if at := g.nodes[c]; at != nil {
		for _, n := range at.down {
			out = append(out, n.name)
		}
	}
	return out
}

// Exists reports whether a name is an identity that holds something, or a connection that is there.
func (g *Graph) Exists(n schemas.Name) bool {
	at := g.nodes[n]
	return at != nil && (at.identity || at.exists)
}

func (n *node) groups() []*node  { return n.up }
func (n *node) members() []*node { return n.down }

// walk returns every node that can be reached, the start first, nearest before farther, and leaves a
// shortest way to each in via. Loops are harmless.
func (g *Graph) walk(from *node, next func(*node) []*node) []*node {
	g.round++
	from.round, from.via, from.depth = g.round, nil, 0
	queue := []*node{from}
	for i := 0; i < len(queue); i++ {
		n := queue[i]
		for _, to := range next(n) {
			if to.round != g.round {
				to.round, to.via, to.depth = g.round, n, n.depth+1
				queue = append(queue, to)
			}
		}
	}
	return queue
}

// AccessOf is everything that an identity (or a connection) can do, sorted by target and privilege: the
// connections it is in, and what those may use. Via is a shortest way.
func (g *Graph) AccessOf(n schemas.Name) []schemas.Access {
	return g.accessOf(n, func(edgeKey) bool { return true })
}

// accessOf is AccessOf by those edges that are in force.
func (g *Graph) accessOf(n schemas.Name, inForce func(edgeKey) bool) []schemas.Access {
	from := g.nodes[n]
	if from == nil {
		return []schemas.Access{}
	}
	out := make([]schemas.Access, 0, len(from.up)+len(from.uses))
	groups := (*node).groups
	if g.windows != nil {
		groups = func(m *node) []*node {
			return slices.DeleteFunc(slices.Clone(m.up), func(to *node) bool { return !inForce(edgeKey{m.name, to.name, schemas.PrivilegeMember}) })
		}
	}
	for _, c := range g.walk(from, groups) {
		way := c.way()
		if c != from {
			out = append(out, schemas.Access{Application: g.application, Identity: n, Target: c.name, Privilege: schemas.PrivilegeMember,
				Via: way[: len(way)-1 : len(way)-1]})
		}
		// Members of a connection may hand on what the connection may hand on.
		for _, to := range c.admins {
			if inForce(edgeKey{c.name, to.name, schemas.PrivilegeAdmin}) {
				out = append(out, schemas.Access{Application: g.application, Identity: n, Target: to.name, Privilege: schemas.PrivilegeAdmin, Via: way})
			}
		}
		for _, r := range c.uses {
			if inForce(edgeKey{c.name, r.target, r.privilege}) {
				out = append(out, schemas.Access{Application: g.application, Identity: n, Target: r.target, Privilege: r.privilege, Via: way})
			}
		}
	}
	// Of several ways the shortest stays.
	slices.SortFunc(out, func(a, b schemas.Access) int {
		if c := compareTarget(a.Target, a.Privilege, b.Target, b.Privilege); c != 0 {
			return c
		}
		if c := len(a.Via) - len(b.Via); c != 0 {
			return c
		}
		return slices.CompareFunc(a.Via, b.Via, schemas.Name.Compare)
	})
	return slices.CompactFunc(out, func(a, b schemas.Access) bool { return a.Target == b.Target && a.Privilege == b.Privilege })
}

// way is the way of the present walk to n, without its start.
func (n *node) way() []schemas.Name {
	if n.depth == 0 {
		return nil
	}
	way := make([]schemas.Name, n.depth)
	for at := n; at.depth > 0; at = at.via {
		way[at.depth-1] = at.name
	}
	return way
}

// Identities are all identities of the graph, sorted.
func (g *Graph) Identities() []schemas.Name {
	var out []schemas.Name
	for _, n := range g.nodes {
		if n.identity {
			out = append(out, n.name)
		}
	}
	slices.SortFunc(out, schemas.Name.Compare)
	return out
}
