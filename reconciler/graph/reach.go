package graph

import (
	"slices"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// Everyone is what every identity of the application may use, whatever connections it is in. The identity of each
// access is the connection of everyone. AccessOf leaves it out: nobody gains or loses it by a membership.
func (g *Graph) Everyone() []schemas.Access {
	var out []schemas.Access
	for _, n := range g.nodes {
		if n.everyone {
			out = append(out, g.AccessOf(n.name)...)
		}
	}
	sortAccess(out)
	return out
}

// Superusers are the identities that may use everything, whatever is granted, by being in a superuser connection or being
// one. The target of each access is that connection.
func (g *Graph) Superusers() []schemas.Access {
	var out []schemas.Access
	for _, c := range g.nodes {
		if !c.superuser {
			continue
		}
		for _, n := range g.walk(c, (*node).members) {
			if !n.identity {
				continue
			}
			var via []schemas.Name
			for at := n.via; at != nil && at != c; at = at.via {
				via = append(via, at.name)
			}
			out = append(out, schemas.Access{Application: g.application, Identity: n.label(), Target: c.name, Privilege: schemas.PrivilegeSuperuser, Via: via})
		}
	}
	sortAccess(out)
	return out
}

// Implied are the privileges on part that a privilege on the target that contains it brings with it.
func (g *Graph) Implied(container schemas.Name, privilege string, part schemas.Name) []string {
	for _, c := range g.contains[container.Type] {
		switch {
		case c.Type != part.Type || c.Separator != "" && !strings.HasPrefix(part.SourceName, container.SourceName+c.Separator):
		case c.Privileges == nil:
			return []string{privilege}
		default:
			return c.Privileges[privilege]
		}
	}
	return nil
}

// Within reports whether part is in container by its name.
func (g *Graph) Within(part, container schemas.Name) bool {
	return slices.ContainsFunc(g.contains[container.Type], func(c schemas.Containment) bool {
		return c.Type == part.Type && c.Separator != "" && strings.HasPrefix(part.SourceName, container.SourceName+c.Separator)
	})
}

// Targets are the connections and resources that the graph knows under a typed name: a source name, or type/source_name.
// Where it knows none, it is what the name may mean.
func (g *Graph) Targets(typed string) []schemas.Name {
	found := map[schemas.Name]bool{}
	is := func(n schemas.Name) bool { return typed == n.SourceName || typed == n.String() }
	for _, n := range g.nodes {
		if is(n.name) {
			found[n.name] = true
		}
		for _, r := range n.uses {
			if is(r.target) {
				found[r.target] = true
			}
		}
	}
	if len(found) == 0 {
		for k := range g.edges {
			if name, ok := strings.CutPrefix(typed, k.target+"/"); ok {
				found[schemas.Name{Type: k.target, SourceName: name}] = true
			} else if !strings.Contains(typed, "/") {
				found[schemas.Name{Type: k.target, SourceName: typed}] = true
			}
		}
	}
	out := make([]schemas.Name, 0, len(found))
	for n := range found {
		out = append(out, n)
	}
	slices.SortFunc(out, schemas.Name.Compare)
	return out
}
