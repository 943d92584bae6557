package connectors

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"time"

	"github.com/countersign/countersign/schemas"
)

// Connector is one kind of application. It is a value in a Registry; implementations hold no state.
type Connector interface {
	// Describe says what the connector can do without opening anything: for validation, forms and docs.
	// The answer is the most that any supported version of the application can do.
	Describe() Description
	// OpenReader connects with the credential for planning. Nothing that it returns can write.
	OpenReader(context.Context, Config) (Reader, error)
	// OpenWriter connects with the credential for applying (where none is configured, the one for planning).
	OpenWriter(context.Context, Config) (Writer, error)
}

// Configured is a Connector whose types are the configuration's word: Describe alone has none of them.
type Configured interface {
	// DescribeConfig describes an application by its configuration, secrets left out. It opens nothing. An error is an
	// *Error with the code Invalid and says what to correct.
	DescribeConfig(values map[string]any) (Description, error)
}

// ApplyPrefix begins the names of the settings that only applying needs: its own credential.
const ApplyPrefix = "apply_"

// Config is an application's configuration, checked against Description.Config, with its secrets resolved:
// where the file has {env: X} or {file: x}, Values has a Secret. OpenReader may get none
// of the settings that begin with ApplyPrefix: who only reads need not hold that credential.
type Config struct {
	Application string
	Values      map[string]any
	// Directory is the access repository's folder, for connectors whose application is a file in reach of a
	// relative path; "" when there is none.
	Directory string
	Now       func() time.Time // never nil
	Logger    *slog.Logger     // never nil
}

// Reader is all that preview and drift reports ever hold. Its methods may be called one at a time.
type Reader interface {
	// Describe says what this installation can do: Connector.Describe narrowed to the server's version.
	Describe(context.Context) (Description, error)
	// Read returns the connections that the selection names, with all their entitlements, in few calls
	// whatever their number. A connection that does not exist is left out. When anything could not be read,
	// State.Incomplete says so; an error means that nothing is known.
	Read(context.Context, Selection) (State, error)
	// List returns identities, resources and connections by type: for forms, and to check that what a request
	// names exists. All pages together are complete or an error is returned.
	List(context.Context, Query) (Page, error)
	// Normalize returns the state in the form in which the application would give it back (case, order,
	// implied values), so that a diff shows no false change. It is pure. An error names what the application
	// would refuse.
	Normalize(State) (State, error)
	io.Closer
}

// Writer is opened by apply alone.
type Writer interface {
	Reader
	// Apply carries out the operations in order and reports one outcome for each, as it happens, from the
	// calling goroutine. An operation that was carried out already is reported as applied: doing it twice is
	// doing it once. A failing operation stops only those that depend on it (Operation.DependsOn), which are
	// reported Blocked. The returned error is for what kept the whole from going on (connection lost, context
	// ended); operations without an outcome by then are in an unknown state, to be settled by reading back.
	Apply(context.Context, []schemas.Operation, func(Outcome)) error
}

// Outcome is what became of one operation. Err is nil when it was applied.
type Outcome struct {
	Operation string // the operation's ID
	Attempts  int
	Started   time.Time
	Finished  time.Time
	Err       error
}

// Selection says which connections to read: those named, and all that match a scope pattern. The zero
// Selection is everything that the connector can see.
type Selection struct {
	Names []schemas.Name
	// Scope has glob patterns by type (see MatchScope).
	Scope map[string][]string
}

// State is what an application holds, or should hold.
type State struct {
	// Connections are sorted by name; no name stands twice unless the application itself has two of it.
	Connections []Connection
	// Incomplete says why something is missing from the state; "" when it is whole.
	Incomplete string
}

// Connection is a group, role or policy with its entitlements.
type Connection struct {
	schemas.Name
	NativeID string
	// Payload has the attributes that the type's payload schema names. A key that is absent is not known.
	// Connections that are alike may share one: it is not changed once it was returned.
	Payload map[string]any
	// Protected says why the connection must never be changed (superuser, built in); "" for ordinary ones.
	Protected string
	// Entitlements are sorted by target and privilege.
	Entitlements []Entitlement
}

// Entitlement is one privilege on one target, held through the connection that has it.
type Entitlement struct {
	Target    schemas.Name
	TargetID  string
	Privilege string
	// State is "" when in force; else invited, expired or blocked: a state of the identity, no difference.
	State string
}

// The states of entitlements that are not plainly in force.
const (
	StateInvited = "invited"
	StateExpired = "expired"
	StateBlocked = "blocked"
)

// Query asks what exists of a type.
type Query struct {
	Type string
	// Names limits the answer to these (exact, by the application's own comparison); nil is all.
	Names []string
	// Limit bounds the page; 0 lets the connector choose. Cursor is Page.Next of the page before.
	Limit  int
	Cursor string
}

// Page is a part of what a Query asked for, sorted by name, then id.
type Page struct {
	Items []Item
	Next  string // "" at the end
}

// Item is an identity, resource or connection that exists.
type Item struct {
	schemas.Name
	NativeID string
	// State is "" or one of invited, expired, blocked, for identities.
	State string
	// Protected says why it must never be given or changed.
	Protected string
	// Connection says that the item has members of its own, so that it is no plain identity.
	Connection bool
}

// Description is what a connector can do.
type Description struct {
	Name    string // as in Application.spec.connector
	Title   string // for people: PostgreSQL
	Version string // the server's, "" before one was asked
	// Config is the JSON Schema (draft 2020-12) of spec.config. A property with "x-secret": true takes a
	// secret reference.
	Config json.RawMessage
	// Types are the types of connections, by name.
	Types []ConnectionType
	// Attested says that nothing can be read: what the application holds is what those who carry operations out say.
	Attested bool
	// PlanScript and ApplyScript grant the least privileges for reading and for applying, ready to be run
	// by an administrator of the application.
	PlanScript, ApplyScript string
}

// ConnectionType is one type of connection and what can be done with it.
type ConnectionType struct {
	Name  string
	Title string
	// Payload is the JSON Schema of the payload (draft 2020-12, closed). A property's "default" is the value
	// that its absence means; a property without one is left alone when absent.
	Payload json.RawMessage
	// What the connector can do with connections of this type.
	Create, Update, Delete, Reassign bool
	Grantable                        []GrantableType
	Names                            NameRule
	// Privileged are glob patterns of connections that are powerful by themselves.
	Privileged []string
	// PrivilegedFields are payload attributes that are powerful when true or set to something else than
	// their default.
	PrivilegedFields []string
}

// Edge is the direction of an entitlement.
type Edge string

// The directions.
const (
	EdgeResource   Edge = "resource"   // the connection may use the target
	EdgeConnection Edge = "connection" // the connection becomes a member of the target connection and gets what that has
	EdgeMember     Edge = "member"     // the target connection becomes a member of this connection
	EdgeIdentity   Edge = "identity"   // the target identity becomes a member of this connection
)

// GrantableType is one type of target that a connection type can be given.
type GrantableType struct {
	Type string
	Edge Edge
	// Privileges are all that may be named; Default is what an entry without any means. For memberships
	// they are MEMBER and perhaps ADMIN.
	Privileges []string
	Default    []string
	// Implies says which other privileges a privilege on a resource brings with it, where the application holds
	// one level at a time: all of them, not only the next. Granting one grants those too, revoking one revokes
	// those that imply it, and Read and Normalize give each by itself. In Privileges a higher one stands before
	// those that it implies.
	Implies map[string][]string
	// Single says that a connection has at most one target of this type: granting another is a Conflict.
	Single bool
	Names  NameRule
	// Privileged are glob patterns of targets, PrivilegedPrivileges privileges, that are powerful by themselves.
	Privileged           []string
	PrivilegedPrivileges []string
	// What the connector can do.
	Grant, Revoke bool
}

// NameRule says which names an application can hold.
type NameRule struct {
	MaxBytes int    // 0: no bound
	Pattern  string // RE2, anchored by us; "": any
	// Reserved are glob patterns of names that are the application's own.
	Reserved []string
	// FoldCase says that the application does not tell upper from lower case.
	FoldCase bool
}
