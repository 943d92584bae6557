package graph

import (
	"slices"

	"github.com/countersign/countersign/schemas"
)

// Gain is what an operation gives beyond what documents show.
type Gain struct {
	// Identities gain something only by memberships that no document names, sorted.
	Identities []schemas.Name
	// Rights are what anybody gains only by such memberships or privileges, without their identity, sorted.
	Rights []schemas.Access
}

// Beyond returns what a grant, or a deletion with an heir, gives in the graph beyond what it gives in documented, which
// has the edges of approved documents alone. Both have the operation's own edge. Someone to whom other documented edges
// give all of it gains nothing.
func (g *Graph) Beyond(o *schemas.Operation, documented *Graph) Gain {
	var out Gain
	below := g.below(o)
	if len(below) == 0 {
		return out
	}
	known := map[schemas.Name]bool{}
	for _, n := range documented.below(o) {
		known[documented.canonical(n)] = true
	}
	above, there := g.above(o), documented.above(o)
	for _, n := range below {
		if known[g.canonical(n)] {
			continue
		}
		held := documented.AccessOf(n)
		if len(above) == 0 || slices.ContainsFunc(above, func(a schemas.Access) bool { return !has(held, a) }) {
			out.Identities = append(out.Identities, n)
		}
	}
	for _, a := range above {
		if !has(there, a) {
			out.Rights = append(out.Rights, a)
		}
	}
	return out
}

// has reports whether a list, sorted by target and privilege, has the right.
func has(list []schemas.Access, a schemas.Access) bool {
	_, ok := slices.BinarySearchFunc(list, a, func(b, a schemas.Access) int { return compareTarget(b.Target, b.Privilege, a.Target, a.Privilege) })
	return ok
}

// canonical is the name of the connection that an identity would be.
func (g *Graph) canonical(n schemas.Name) schemas.Name {
	if alias, ok := g.aliases[n.Type]; ok {
		n.Type = alias
	}
	return n
}

// below are the identities that an operation gives something to, sorted: for a deletion those of the heir.
func (g *Graph) below(o *schemas.Operation) []schemas.Name {
	switch {
	case o.Kind == schemas.OperationGrant:
		return g.Members(g.source(o))
	case o.Kind == schemas.OperationDelete && o.ReassignTo != "":
		return g.Members(schemas.Name{Type: o.Connection.Type, SourceName: o.ReassignTo})
	}
	return nil
}

// above are the rights that a grant gives, sorted. Those of a deletion's heir are not known.
func (g *Graph) above(o *schemas.Operation) []schemas.Access {
	if o.Kind != schemas.OperationGrant {
		return nil
	}
	group := *o.Target
	switch g.edge(o.Connection, o.Target.Type) {
	case schemas.EdgeIdentity, schemas.EdgeMember:
		group = o.Connection
	case schemas.EdgeResource:
		return []schemas.Access{{Application: g.application, Target: group, Privilege: o.Privilege}}
	}
	out := []schemas.Access{{Application: g.application, Target: g.Name(group), Privilege: o.Privilege}}
	if o.Privilege == schemas.PrivilegeMember {
		if at := g.find(group); at != nil && at.superuser {
			out = append(out, schemas.Access{Application: g.application, Target: at.name, Privilege: schemas.PrivilegeSuperuser})
		}
		for _, a := range g.AccessOf(group) {
			a.Identity = schemas.Name{}
			out = append(out, a)
		}
	}
	sortAccess(out)
	return slices.CompactFunc(out, func(a, b schemas.Access) bool { return a.Target == b.Target && a.Privilege == b.Privilege })
}
