package connectors

import "github.com/countersign/countersign/schemas"

// Aliases of the types in package schemas that connectors describe, read and list.
type (
	Description      = schemas.Description
	ConnectionType   = schemas.ConnectionType
	GrantableType    = schemas.GrantableType
	Containment      = schemas.Containment
	NameRule         = schemas.NameRule
	Edge             = schemas.Edge
	Selection        = schemas.Selection
	State            = schemas.State
	NotRead          = schemas.NotRead
	Connection       = schemas.Connection
	Entitlement      = schemas.Entitlement
	Item             = schemas.Item
	EntitlementState = schemas.EntitlementState
)

// The directions of entitlements.
const (
	EdgeResource   = schemas.EdgeResource
	EdgeConnection = schemas.EdgeConnection
	EdgeMember     = schemas.EdgeMember
	EdgeIdentity   = schemas.EdgeIdentity
)

// The states of entitlements that are not simply in force.
const (
	StateInvited    = schemas.StateInvited
	StateExpired    = schemas.StateExpired
	StateBlocked    = schemas.StateBlocked
	StateUnresolved = schemas.StateUnresolved
)

// Query lists the objects of a type.
type Query struct {
	Type string
	// Names limits the answer to these (exact, by the application's own comparison); nil is all.
	Names []string
	// IDs adds what has these native ids, whatever it is called now. Connectors without native ids ignore them.
	IDs []string
	// Limit bounds the page; 0 lets the connector choose. Cursor is Page.Next of the page before.
	Limit  int
	Cursor string
}

// Page is a part of a Query's answer, sorted by name, then id.
type Page struct {
	Items []Item
	Next  string // "" at the end
}

// Match reports whether a name matches one of the glob patterns, as schemas.Match does.
func Match(patterns []string, name string) bool { return schemas.Match(patterns, name) }
