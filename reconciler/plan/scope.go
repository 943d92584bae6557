package plan

import (
	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// InScope reports whether the application manages the connection.
func InScope(app *schemas.Application, n schemas.Name) bool {
	return connectors.Match(app.Spec.Scope[n.Type], n.SourceName)
}

// Grantable reports whether the application lets the target be given to a connection of the type: connections
// when they are in scope or named, identities unless others are named, resources when they are named.
func Grantable(app *schemas.Application, target connectors.GrantableType, n schemas.Name) bool {
	patterns, named := app.Spec.Grantable[n.Type]
	switch target.Edge {
	case connectors.EdgeIdentity:
		return !named || connectors.Match(patterns, n.SourceName)
	case connectors.EdgeConnection, connectors.EdgeMember:
		return InScope(app, n) || connectors.Match(patterns, n.SourceName)
	}
	return connectors.Match(patterns, n.SourceName)
}

// grantable remembers the last answers: entitlements come sorted by target.
type grantable struct {
	edge connectors.Edge
	n    schemas.Name
	ok   bool
}

// inScope is InScope for names that come sorted by type.
func (d *differ) inScope(n schemas.Name) bool {
	if d.scope == nil || d.scopeFor != n.Type {
		d.scope, d.scopeFor = d.in.Application.Spec.Scope[n.Type], n.Type
	}
	return connectors.Match(d.scope, n.SourceName)
}

func (d *differ) grantable(target *connectors.GrantableType, n schemas.Name) bool {
	if g := &d.grants; g.n != n || g.edge != target.Edge {
		*g = grantable{target.Edge, n, Grantable(d.in.Application, *target, n)}
	}
	return d.grants.ok
}
