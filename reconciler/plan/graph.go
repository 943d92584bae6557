package plan

import (
	"slices"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Graph answers who can do what in one application, through nested connections. It is built from a state,
// live or desired, and may then be changed by operations. It is not safe for concurrent use.
type Graph struct {
	application string
	description connectors.Description
	// up leads from a member (identity or connection) to the connections it is in; down the other way.
	up, down map[schemas.Name]map[schemas.Name]bool
	admins   map[schemas.Name]map[schemas.Name]bool // from a member to what it may hand on
	uses     map[schemas.Name]map[right]bool
	identity map[schemas.Name]bool
	exists   map[schemas.Name]bool
}

type right struct {
	target    schemas.Name
	privilege string
}

// NewGraph returns the graph of a state. Entitlements that are not in force (invited, blocked, expired)
// count: they may come into force without us.
func NewGraph(application string, description connectors.Description, state connectors.State) *Graph {
	g := &Graph{
		application: application, description: description,
		up: map[schemas.Name]map[schemas.Name]bool{}, down: map[schemas.Name]map[schemas.Name]bool{},
		admins: map[schemas.Name]map[schemas.Name]bool{}, uses: map[schemas.Name]map[right]bool{},
		identity: map[schemas.Name]bool{}, exists: map[schemas.Name]bool{},
	}
	for i := range state.Connections {
		c := &state.Connections[i]
		g.exists[c.Name] = true
		for _, e := range c.Entitlements {
			g.set(c.Name, e.Target, e.Privilege, true)
		}
	}
	return g
}

// StateOf is the state that the requests want, as if nothing else were there. Connections that only
// assignments speak of are taken to exist.
func StateOf(desired *Desired, description connectors.Description) connectors.State {
	var s connectors.State
	for _, c := range desired.Connections {
		if c.Existence == Deleted || c.Existence == Undone {
			continue
		}
		typ, _ := description.Type(c.Type)
		out := connectors.Connection{Name: c.Name}
		if c.Existence == Present {
			out.Payload = CompletePayload(typ, c.Payload)
		}
		for _, e := range c.Entitlements {
			out.Entitlements = append(out.Entitlements, connectors.Entitlement{Target: e.Target, TargetID: e.TargetID, Privilege: e.Privilege})
		}
		s.Connections = append(s.Connections, out)
	}
	return s
}

func (g *Graph) edgeOf(c schemas.Name, target string) connectors.Edge {
	typ, _ := g.description.Type(c.Type)
	t, ok := typ.Target(target)
	if !ok {
		return connectors.EdgeResource
	}
	return t.Edge
}

func (g *Graph) set(c, target schemas.Name, privilege string, on bool) {
	kind := g.edgeOf(c, target.Type)
	if kind == connectors.EdgeResource {
		if g.uses[c] == nil {
			if !on {
				return
			}
			g.uses[c] = map[right]bool{}
		}
		if on {
			g.uses[c][right{target, privilege}] = true
		} else {
			delete(g.uses[c], right{target, privilege})
		}
		return
	}
	member, group := target, c
	if kind == connectors.EdgeConnection {
		member, group = c, target
	}
	if kind == connectors.EdgeIdentity {
		g.identity[member] = true
	}
	if privilege != schemas.PrivilegeMember {
		if on {
			link(g.admins, member, group)
		} else {
			delete(g.admins[member], group)
		}
		return
	}
	if on {
		link(g.up, member, group)
		link(g.down, group, member)
		return
	}
	delete(g.up[member], group)
	delete(g.down[group], member)
}

func link(m map[schemas.Name]map[schemas.Name]bool, from, to schemas.Name) {
	if m[from] == nil {
		m[from] = map[schemas.Name]bool{}
	}
	m[from][to] = true
}

// Apply changes the graph as the operation would change the application.
func (g *Graph) Apply(o *schemas.Operation) {
	switch o.Kind {
	case schemas.OperationCreate:
		g.exists[o.Connection] = true
	case schemas.OperationGrant:
		g.set(o.Connection, *o.Target, o.Privilege, true)
	case schemas.OperationRevoke:
		g.set(o.Connection, *o.Target, o.Privilege, false)
	case schemas.OperationDelete:
		n := o.Connection
		delete(g.exists, n)
		delete(g.uses, n)
		for m := range g.down[n] {
			delete(g.up[m], n)
		}
		for m := range g.up[n] {
			delete(g.down[m], n)
		}
		delete(g.down, n)
		delete(g.up, n)
		delete(g.admins, n)
		for _, to := range g.admins {
			delete(to, n)
		}
	}
}

// Members are the identities in a connection, through any nesting, sorted.
func (g *Graph) Members(c schemas.Name) []schemas.Name {
	var out []schemas.Name
	for n := range reach(g.down, c) {
		if g.identity[n] {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, schemas.Name.Compare)
	return out
}

// reach is every name that can be reached, the start included. Loops are harmless.
func reach(m map[schemas.Name]map[schemas.Name]bool, from schemas.Name) map[schemas.Name]schemas.Name {
	via := map[schemas.Name]schemas.Name{from: {}}
	queue := []schemas.Name{from}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		next := make([]schemas.Name, 0, len(m[n]))
		for to := range m[n] {
			next = append(next, to)
		}
		slices.SortFunc(next, schemas.Name.Compare)
		for _, to := range next {
			if _, seen := via[to]; !seen {
				via[to] = n
				queue = append(queue, to)
			}
		}
	}
	return via
}

// AccessOf is everything that an identity (or a connection) can do, sorted by target and privilege: the
// connections it is in, and what those may use. Via is a shortest way.
func (g *Graph) AccessOf(n schemas.Name) []schemas.Access {
	via := reach(g.up, n)
	seen := map[right]schemas.Access{}
	for c := range via {
		way := path(via, n, c)
		if c != n {
			keepShorter(seen, right{c, schemas.PrivilegeMember}, schemas.Access{
				Application: g.application, Identity: n, Target: c, Privilege: schemas.PrivilegeMember, Via: way[:len(way)-1]})
		}
		// Whoever is in a connection may hand on what that may hand on.
		for to := range g.admins[c] {
			keepShorter(seen, right{to, schemas.PrivilegeAdmin}, schemas.Access{
				Application: g.application, Identity: n, Target: to, Privilege: schemas.PrivilegeAdmin, Via: way})
		}
		for r := range g.uses[c] {
			keepShorter(seen, r, schemas.Access{Application: g.application, Identity: n, Target: r.target, Privilege: r.privilege, Via: way})
		}
	}
	out := make([]schemas.Access, 0, len(seen))
	for _, a := range seen {
		out = append(out, a)
	}
	sortAccess(out)
	return out
}

func keepShorter(m map[right]schemas.Access, r right, a schemas.Access) {
	old, ok := m[r]
	if !ok || len(a.Via) < len(old.Via) || (len(a.Via) == len(old.Via) && slices.CompareFunc(a.Via, old.Via, schemas.Name.Compare) < 0) {
		m[r] = a
	}
}

// path is the way from n to c, without n.
func path(via map[schemas.Name]schemas.Name, n, c schemas.Name) []schemas.Name {
	var way []schemas.Name
	for at := c; at != n; at = via[at] {
		way = append(way, at)
	}
	slices.Reverse(way)
	return way
}

func sortAccess(list []schemas.Access) {
	slices.SortFunc(list, func(a, b schemas.Access) int {
		if c := a.Identity.Compare(b.Identity); c != 0 {
			return c
		}
		return compareTarget(a.Target, a.Privilege, b.Target, b.Privilege)
	})
}

// Identities are all identities of the graph, sorted.
func (g *Graph) Identities() []schemas.Name {
	out := make([]schemas.Name, 0, len(g.identity))
	for n := range g.identity {
		out = append(out, n)
	}
	slices.SortFunc(out, schemas.Name.Compare)
	return out
}

// Effects fills in, for each operation, which identities gain or lose what when the whole plan is carried
// out. before is the graph that the plan starts from; it is not changed. Each gain and loss stands at the
// first operation that leads to it. It returns all gains and losses, sorted by identity.
func Effects(ops []schemas.Operation, before *Graph, after *Graph) (gained, lost []schemas.Access) {
	was, will := memo{before, nil}, memo{after, nil}
	type accessKey struct {
		identity schemas.Name
		right    right
	}
	done := map[accessKey]bool{}
	for i := range ops {
		o := &ops[i]
		switch o.Kind {
		case schemas.OperationGrant:
			for _, id := range touched(after, o) {
				have := was.of(id)
				for r, a := range will.of(id) {
					k := accessKey{id, r}
					if _, had := have[r]; !had && !done[k] && leadsTo(after, o, a) {
						done[k] = true
						o.Gained = append(o.Gained, a)
					}
				}
			}
			sortAccess(o.Gained)
			gained = append(gained, o.Gained...)
		case schemas.OperationRevoke, schemas.OperationDelete:
			for _, id := range touched(before, o) {
				have := will.of(id)
				for r, a := range was.of(id) {
					k := accessKey{id, r}
					if _, has := have[r]; !has && !done[k] && leadsTo(before, o, a) {
						done[k] = true
						o.Lost = append(o.Lost, a)
					}
				}
			}
			sortAccess(o.Lost)
			lost = append(lost, o.Lost...)
		}
	}
	sortAccess(gained)
	sortAccess(lost)
	return gained, lost
}

type memo struct {
	g *Graph
	m map[schemas.Name]map[right]schemas.Access
}

func (m *memo) of(id schemas.Name) map[right]schemas.Access {
	if got, ok := m.m[id]; ok {
		return got
	}
	if m.m == nil {
		m.m = map[schemas.Name]map[right]schemas.Access{}
	}
	out := map[right]schemas.Access{}
	for _, a := range m.g.AccessOf(id) {
		out[right{a.Target, a.Privilege}] = a
	}
	m.m[id] = out
	return out
}

// touched are the identities whose access runs through the operation's edge.
func touched(g *Graph, o *schemas.Operation) []schemas.Name {
	if o.Kind == schemas.OperationDelete {
		return g.Members(o.Connection)
	}
	switch g.edgeOf(o.Connection, o.Target.Type) {
	case connectors.EdgeIdentity:
		return []schemas.Name{*o.Target}
	case connectors.EdgeMember:
		return g.Members(*o.Target)
	}
	return g.Members(o.Connection)
}

// leadsTo says whether an access uses what the operation is about, so that a plan of many operations tells
// each gain at the step that brings it.
func leadsTo(g *Graph, o *schemas.Operation, a schemas.Access) bool {
	if o.Kind == schemas.OperationDelete {
		return a.Target == o.Connection || slices.Contains(a.Via, o.Connection)
	}
	switch g.edgeOf(o.Connection, o.Target.Type) {
	case connectors.EdgeResource:
		return a.Target == *o.Target && a.Privilege == o.Privilege
	case connectors.EdgeConnection:
		return a.Target == *o.Target || slices.Contains(a.Via, *o.Target)
	}
	return a.Target == o.Connection || slices.Contains(a.Via, o.Connection)
}
