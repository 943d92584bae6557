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
	// aliases are the connection types that types of targets are, under the same names; contains are the parts of targets.
	aliases  map[string]string
	contains map[string][]schemas.Containment
	nodes    map[schemas.Name]*node
	// switches are the memberships whose members must switch to the group first.
	switches map[edgeKey]bool
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
	// account is its name as an identity, where that is another one.
	account schemas.Name
	// up are the connections that it is a member of, down its members; admins are the connections that it may
	// hand on, and handedOnBy those that may hand it on.
	up, down, admins, handedOnBy []*node
	uses                         []right // sorted
	identity, exists             bool
	// foreign means that it was read only because nesting leads to it; everyone and superuser are those of Connection.
	foreign, everyone, superuser bool
	// round, via, depth and switched belong to the walk that is under way.
	round, depth int
	via          *node
	switched     bool
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
	g := &Graph{application: application, edges: map[edgeType]schemas.Edge{}, aliases: map[string]string{}, contains: map[string][]schemas.Containment{},
		nodes: make(map[schemas.Name]*node, 2*len(state.Connections))}
	for i := range description.Types {
		for j := range description.Types[i].Grantable {
			target := &description.Types[i].Grantable[j]
			k := edgeType{description.Types[i].Name, target.Type}
			if _, ok := g.edges[k]; !ok {
				g.edges[k] = target.Edge
			}
			if target.Alias != "" {
				g.aliases[target.Type] = target.Alias
			}
			if len(target.Contains) > 0 {
				g.contains[target.Type] = target.Contains
			}
		}
	}
	for i := range state.Connections {
		c := &state.Connections[i]
		n := g.node(c.Name)
		n.exists, n.foreign, n.everyone, n.superuser = true, c.Foreign, c.Everyone, c.Superuser
		if c.Account != "" {
			n.identity, n.account = true, schemas.Name{Type: c.Account, SourceName: c.SourceName}
		}
	}
	for i := range state.Connections {
		c := &state.Connections[i]
		n := g.node(c.Name)
		for j := range c.Entitlements {
			e := &c.Entitlements[j]
			g.set(n, e.Target, e.Privilege, true)
			if e.Switch {
				if g.switches == nil {
					g.switches = map[edgeKey]bool{}
				}
				k := g.key(c.Name, e.Target, e.Privilege)
				k.to = g.Name(k.to)
				g.switches[k] = true
			}
		}
	}
	return g
}

// find returns the node of a name; nil when there is none. A name of a type that is another one for connections is the
// node of the connection that it would be, whether there is one or not.
func (g *Graph) find(n schemas.Name) *node { return g.nodes[g.canonical(n)] }

// Name is the name under which the graph has an identity: that of the connection that it is too, or its own.
func (g *Graph) Name(n schemas.Name) schemas.Name {
	if at := g.find(n); at != nil {
		return at.name
	}
	return n
}

func (g *Graph) node(n schemas.Name) *node {
	at := g.find(n)
	if at == nil {
		at = &node{name: g.canonical(n)}
		g.nodes[at.name] = at
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
		return edgeKey{g.Name(target), c, privilege}
	}
	return edgeKey{g.Name(c), target, privilege}
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
	if kind == schemas.EdgeIdentity && !member.foreign && !member.identity {
		member.identity = true
		if member.name != target {
			member.account = target
		}
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
	if at := g.find(c); at != nil {
		for _, n := range g.walk(at, (*node).members) {
			if n.identity {
				out = append(out, n.label())
			}
		}
	}
	slices.SortFunc(out, schemas.Name.Compare)
	return out
}

// label is the name of a node as an identity, or else as a connection.
func (n *node) label() schemas.Name {
	if n.identity && n.account != (schemas.Name{}) {
		return n.account
	}
	return n.name
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
	at := g.find(n)
	return at != nil && (at.identity || at.exists)
}

func (n *node) groups() []*node  { return n.up }
func (n *node) members() []*node { return n.down }

// walk returns every node that can be reached, the start first, nearest before farther, and leaves a
// shortest way to each in via. Loops are harmless. Nodes reached without switching come before the others.
func (g *Graph) walk(from *node, next func(*node) []*node) []*node {
	g.round++
	from.round, from.via, from.depth, from.switched = g.round, nil, 0, false
	queue := []*node{from}
	var later []step
	for i := 0; i < len(queue); i++ {
		n := queue[i]
		for _, to := range next(n) {
			switch {
			case to.round == g.round:
			case len(g.switches) > 0 && !n.switched && (g.switches[edgeKey{n.name, to.name, schemas.PrivilegeMember}] || g.switches[edgeKey{to.name, n.name, schemas.PrivilegeMember}]):
				later = append(later, step{n, to})
			default:
				to.round, to.via, to.depth, to.switched = g.round, n, n.depth+1, n.switched
				queue = append(queue, to)
			}
		}
		for i == len(queue)-1 && len(later) > 0 {
			s := later[0]
			if later = later[1:]; s.to.round != g.round {
				s.to.round, s.to.via, s.to.depth, s.to.switched = g.round, s.from, s.from.depth+1, true
				queue = append(queue, s.to)
			}
		}
	}
	return queue
}

// step is a membership that a walk follows.
type step struct{ from, to *node }

// AccessOf is everything that an identity (or a connection) can do, sorted by target and privilege: the
// connections it is in, and what those may use. Via is a shortest way.
func (g *Graph) AccessOf(n schemas.Name) []schemas.Access {
	return g.accessOf(n, func(edgeKey) bool { return true })
}

// accessOf is AccessOf by those edges that are in force.
func (g *Graph) accessOf(n schemas.Name, inForce func(edgeKey) bool) []schemas.Access {
	from := g.find(n)
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
				Via: way[: len(way)-1 : len(way)-1], Switch: c.switched})
		}
		// Members of a connection may hand on what the connection may hand on.
		for _, to := range c.admins {
			if inForce(edgeKey{c.name, to.name, schemas.PrivilegeAdmin}) {
				out = append(out, schemas.Access{Application: g.application, Identity: n, Target: to.name, Privilege: schemas.PrivilegeAdmin, Via: way, Switch: c.switched})
			}
		}
		for _, r := range c.uses {
			if inForce(edgeKey{c.name, r.target, r.privilege}) {
				out = append(out, schemas.Access{Application: g.application, Identity: n, Target: r.target, Privilege: r.privilege, Via: way, Switch: c.switched})
			}
		}
	}
	// Of several ways the shortest stays, and one without switching before one with it.
	slices.SortFunc(out, func(a, b schemas.Access) int {
		if c := compareTarget(a.Target, a.Privilege, b.Target, b.Privilege); c != 0 {
			return c
		}
		if a.Switch != b.Switch {
			if a.Switch {
				return 1
			}
			return -1
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
			out = append(out, n.label())
		}
	}
	slices.SortFunc(out, schemas.Name.Compare)
	return out
}
