package plan

import (
	"github.com/countersign/countersign/schemas"
)

// InScope reports whether the application manages the connection.
func InScope(app *schemas.Application, n schemas.Name) bool {
	return schemas.Match(app.Spec.Scope[n.Type], n.SourceName)
}

// Grantable reports whether the application lets the target be given to a connection of the type: connections
// when they are in scope or named, identities unless others are named, resources when they are named.
func Grantable(app *schemas.Application, target schemas.GrantableType, n schemas.Name) bool {
	patterns, named := app.Spec.Grantable[n.Type]
	switch target.Edge {
	case schemas.EdgeIdentity:
		return !named || schemas.Match(patterns, n.SourceName)
	case schemas.EdgeConnection, schemas.EdgeMember:
		return InScope(app, n) || schemas.Match(patterns, n.SourceName)
	}
	return schemas.Match(patterns, n.SourceName)
}

// grantable remembers the last answers: entitlements come sorted by target.
type grantable struct {
	edge schemas.Edge
	n    schemas.Name
	ok   bool
}

// inScope is InScope for names that come sorted by type.
func (d *differ) inScope(n schemas.Name) bool {
	if d.scope == nil || d.scopeFor != n.Type {
		d.scope, d.scopeFor = d.in.Application.Spec.Scope[n.Type], n.Type
	}
	return schemas.Match(d.scope, n.SourceName)
}

func (d *differ) grantable(target *schemas.GrantableType, n schemas.Name) bool {
	if g := &d.grants; g.n != n || g.edge != target.Edge {
		*g = grantable{target.Edge, n, Grantable(d.in.Application, *target, n)}
	}
	return d.grants.ok
}
