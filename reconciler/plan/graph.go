package plan

import (
	"slices"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Graph answers who can do what in one application, through nested connections. It is built from a state,
// live or desired, and may then be changed by operations. It is not safe for concurrent use, not even for
// reading.
type Graph struct {
	application string
	types       types
	nodes       map[schemas.Name]*node
	// windows are those of edges that are not in force at all times.
	windows map[edgeKey][]schemas.Window
	// round tells the marks of one walk from those of the walks before.
	round int
}

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

// NewGraph returns the graph of a state. Entitlements that are not in force (invited, blocked, expired)
// count: they may come into force without us.
func NewGraph(application string, description connectors.Description, state connectors.State) *Graph {
	g := &Graph{application: application, types: newTypes(description), nodes: make(map[schemas.Name]*node, 2*len(state.Connections))}
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

// StateOf is the state that the requests want, as if nothing else were there. Connections that only
// assignments speak of are taken to exist.
func StateOf(desired *Desired, description connectors.Description) connectors.State {
	var s connectors.State
	known := newTypes(description)
	for _, c := range desired.Connections {
		if c.Existence == Deleted || c.Existence == Undone {
			continue
		}
		out := connectors.Connection{Name: c.Name}
		if c.Existence == Present {
			out.Payload = known.get(c.Type).complete(c.Payload)
		}
		if len(c.Entitlements) > 0 {
			out.Entitlements = make([]connectors.Entitlement, len(c.Entitlements))
		}
		for i, e := range c.Entitlements {
			out.Entitlements[i] = connectors.Entitlement{Target: e.Target, TargetID: e.TargetID, Privilege: e.Privilege}
		}
		s.Connections = append(s.Connections, out)
	}
	return s
}

func (g *Graph) node(n schemas.Name) *node {
	at := g.nodes[n]
	if at == nil {
		at = &node{name: n}
		g.nodes[n] = at
	}
	return at
}

func (g *Graph) edge(c schemas.Name, target string) connectors.Edge {
	if t := g.types.get(c.Type).target(target); t != nil {
		return t.Edge
	}
	return connectors.EdgeResource
}

func (g *Graph) key(c, target schemas.Name, privilege string) edgeKey {
	switch g.edge(c, target.Type) {
	case connectors.EdgeIdentity, connectors.EdgeMember:
		return edgeKey{target, c, privilege}
	}
	return edgeKey{c, target, privilege}
}

func (g *Graph) set(c *node, target schemas.Name, privilege string, on bool) {
	kind := g.edge(c.name, target.Type)
	if kind == connectors.EdgeResource {
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
	if kind == connectors.EdgeIdentity {
		member.identity = true
	}
	if kind == connectors.EdgeConnection {
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

// Exists says whether a name is an identity that holds something, or a connection that is there.
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
		// Whoever is in a connection may hand on what that may hand on.
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

// Effects fills in, for each operation, which identities gain or lose what when the whole plan is carried
// out. before is the graph that the plan starts from, after the one that it leads to; neither is changed.
// Each gain and loss stands at the first operation that leads to it. It returns all gains and losses, sorted
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
		case connectors.EdgeIdentity, connectors.EdgeMember:
			return *o.Target
		}
	}
	return o.Connection
}

// behind are the identities whose access may run through what the operation is about.
func (g *Graph) behind(o *schemas.Operation) []schemas.Name {
	at := g.nodes[g.source(o)]
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
				out = append(out, m.name)
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
	from := a.Identity
	for _, n := range a.Via {
		look(from, n, schemas.PrivilegeMember)
		from = n
	}
	look(from, a.Target, a.Privilege)
	return at
}
