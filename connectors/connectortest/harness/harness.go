package harness

import (
	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Canary is the value of every secret in a harness. It must never appear in output.
const Canary = "canary-5f2d9c-do-not-print"

// Harness configures the suite for a connector.
type Harness struct {
	Connector connectors.Connector
	// Start returns an application for one test alone: other tests' changes aren't visible in it. It cleans up by
	// t.Cleanup. If all tests share a server, a prefix in each name separates them.
	Start func(t TB) Application
	// Payloads has two payloads for each connection type, with every attribute of its schema and as the
	// application gives them back. They should differ in as many attributes as can be changed freely.
	Payloads map[string][2]map[string]any
	// Faulty are configs that can't work. A secret in them contains Canary.
	Faulty []Faulty
	// Serial runs the cases one after the other, for applications that support only one at a time.
	Serial bool
	// ExactCalls means that two names which differ in case can't both exist, but that requests to the application
	// must use the exact one, as at AWS: the outside hand can't reach a connection under another case.
	ExactCalls bool
}

// Faulty is a config that OpenReader, or at the latest Read, refuses.
type Faulty struct {
	Name   string
	Config func(t TB, good connectors.Config) connectors.Config
	Code   connectors.Code
}

// Application is an isolated application with an outside hand that changes it without the connector. Its methods end
// the test by t.Fatal on failure.
type Application interface {
	// Config returns the connector's config. It may have separate credentials for reader and writer.
	Config() connectors.Config
	// Name returns a connection's source name for a word: the word itself or with a prefix without glob characters.
	// The suite reads with the scope Name("*").
	Name(word string) string
	// AddIdentity creates an account of the grantable type typ (edge identity) and returns its name.
	AddIdentity(t TB, typ, word string) schemas.Name
	RemoveIdentity(t TB, name schemas.Name)
	// AddResource creates a resource of the grantable type typ (edge resource) unless it exists, and returns its
	// name. It returns false for types whose resources can't be created; their cases are skipped.
	AddResource(t TB, typ, word string) (schemas.Name, bool)

	// The outside hand changes the application behind the connector's back. AddConnection creates one with the
	// default payload; Grant and Revoke change one entitlement, memberships included.
	AddConnection(t TB, name schemas.Name)
	DropConnection(t TB, name schemas.Name)
	Grant(t TB, key schemas.Key)
	Revoke(t TB, key schemas.Key)
}

// Breaker is an Application that can make reads incomplete.
type Breaker interface {
	// Break returns named configs: reading with them must end in an error or in State.Incomplete. The application has
	// a connection with entitlements by then. With Corrupt set, the application itself is damaged, and Apply must
	// refuse to change it.
	Break(t TB) []Broken
}

// Broken is a way in which an application can't be read completely. Start brings it about.
type Broken struct {
	Name    string
	Start   func(t TB) connectors.Config
	Corrupt bool
}

// IdentityStater is an Application whose identities have states.
type IdentityStater interface {
	// SetIdentityState puts an identity into the state invited, expired or blocked, or returns false if the
	// application doesn't have that state.
	SetIdentityState(t TB, name schemas.Name, state schemas.EntitlementState) bool
}

// Owner is an Application in which connections own things that prevent their deletion.
type Owner interface {
	// Own makes the connection own something. Its deletion is then a Conflict with Dependents, unless the operation
	// names the next owner.
	Own(t TB, connection schemas.Name)
}

// Protector is an Application with a connection that must never be changed.
type Protector interface {
	// Protected returns the name of such a connection: Read returns the reason for its protection, and every
	// operation on it is refused.
	Protected(t TB) schemas.Name
}

// Renamer is an Application in which objects keep their native ids when they are renamed.
type Renamer interface {
	// Rename gives an identity, resource or connection another name, made from the word, and returns it. It returns
	// false if the application can't rename that type.
	Rename(t TB, name schemas.Name, word string) (schemas.Name, bool)
}

// Hider is an Application in which an identity can be a member although the connector can't name it: deactivated,
// deleted, moved, or hidden from the credential.
type Hider interface {
	// Hide hides an identity from the connector, or shows it again. It returns false if the application can't hide
	// that type.
	Hide(t TB, name schemas.Name, hidden bool) bool
}
