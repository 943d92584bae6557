package harness

import (
	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

// Canary is the text that a harness puts wherever a secret stands. It may never come out again.
const Canary = "canary-5f2d9c-do-not-print"

// Harness is what the suite needs to know of a connector.
type Harness struct {
	Connector connectors.Connector
	// Start returns an application of its own for one test: nothing that another test does in it is seen. It
	// cleans up by t.Cleanup. Where everything lives in one server, a prefix in each name separates tests.
	Start func(t TB) Application
	// Payloads has two payloads for each connection type, with every attribute of its schema and as the
	// application gives them back. They should differ in as many attributes as can be changed freely.
	Payloads map[string][2]map[string]any
	// Faulty are configs that cannot work. Where a secret stands in them it contains Canary.
	Faulty []Faulty
	// Serial runs the cases one after the other, for applications that bear only one at a time.
	Serial bool
}

// Faulty is a config that OpenReader, or at the latest Read, refuses.
type Faulty struct {
	Name   string
	Config func(t TB, good connectors.Config) connectors.Config
	Code   connectors.Code
}

// Application is an isolated application with somebody who works in it without the connector. Its methods
// end the test by t.Fatal when they cannot do what they are asked.
type Application interface {
	// Config is for the connector. Reader and writer may have credentials of their own in it.
	Config() connectors.Config
	// Name makes the source name of a connection from a plain word: the word itself or with a prefix that
	// has no glob character. The suite reads with the scope Name("*").
	Name(word string) string
	// AddIdentity makes an account of the grantable type typ (edge identity) and returns its name.
	AddIdentity(t TB, typ, word string) schemas.Name
	RemoveIdentity(t TB, name schemas.Name)
	// AddResource makes a resource of the grantable type typ (edge resource), returns its name, and adds it
	// only once. It returns false for types of which none can be made; their cases are skipped.
	AddResource(t TB, typ, word string) (schemas.Name, bool)

	// The outside hand changes the application behind the connector's back. AddConnection makes one with
	// the default payload; Grant and Revoke change one entitlement, memberships too.
	AddConnection(t TB, name schemas.Name)
	DropConnection(t TB, name schemas.Name)
	Grant(t TB, key schemas.Key)
	Revoke(t TB, key schemas.Key)
}

// Breaker is an Application that can make reads incomplete.
type Breaker interface {
	// Break returns configs by a name for the test: reading with them must end in an error or in
	// State.Incomplete. The application has a connection with entitlements by then. With Corrupt set, the
	// application itself is damaged, and Apply must refuse to work on it.
	Break(t TB) []Broken
}

// Broken is a way in which an application cannot be read whole. Start makes it so.
type Broken struct {
	Name    string
	Start   func(t TB) connectors.Config
	Corrupt bool
}

// IdentityStater is an Application whose identities can be in another state than in force.
type IdentityStater interface {
	// SetIdentityState puts an identity into one of the states invited, expired and blocked, or returns false
	// where the application does not know it.
	SetIdentityState(t TB, name schemas.Name, state connectors.EntitlementState) bool
}

// Owner is an Application in which connections own things that stand in the way of their deletion.
type Owner interface {
	// Own makes the connection own something. Its deletion is then a Conflict with Dependents, unless the
	// operation says who becomes owner.
	Own(t TB, connection schemas.Name)
}

// Protector is an Application with a connection that must never be changed.
type Protector interface {
	// Protected is the name of such a connection: reading it says why it is protected, and every operation
	// on it is refused.
	Protected(t TB) schemas.Name
}
