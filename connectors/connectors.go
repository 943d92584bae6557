package connectors

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/countersign/countersign/schemas"
)

// Connector is one kind of application. It is a value in a Registry; implementations hold no state.
type Connector interface {
	// Describe returns the connector's abilities without opening anything: for validation, forms and docs. They are
	// the most that any supported version of the application offers.
	Describe() schemas.Description
	// OpenReader connects with the credential for planning. The Reader can't write.
	OpenReader(context.Context, Config) (Reader, error)
	// OpenWriter connects with the credential for applying (where none is configured, the one for planning).
	OpenWriter(context.Context, Config) (Writer, error)
}

// Configured is a Connector whose types depend on the configuration. Changes are judged by DescribeConfig, and what the
// installation describes beyond it is not carried out. Describe alone returns the types of the default configuration, or
// none.
type Configured interface {
	// DescribeConfig describes an application by its configuration, without secrets. It opens nothing. An error is an
	// *Error with the code Invalid that names the correction.
	DescribeConfig(values map[string]any) (schemas.Description, error)
}

// ApplyPrefix begins the names of the settings that only applying needs: its own credential.
const ApplyPrefix = "apply_"

// Config is an application's configuration, checked against Description.Config, with its secrets resolved: where the
// file has {env: X} or {file: x}, Values has a Secret. OpenReader may get none of the settings that begin with
// ApplyPrefix: a reader doesn't need that credential.
type Config struct {
	Application string
	Values      map[string]any
	// Directory is the access repository's folder, for connectors whose application is a file in reach of a relative
	// path; or "".
	Directory string
	// Epoch grows with each run. A writer whose application knows a greater one has lost it to a later run, and writes
	// nothing. 0 is not checked.
	Epoch  int64
	Now    func() time.Time // never nil
	Logger *slog.Logger     // never nil
}

// Reader reads an application; previews and drift reports use nothing else. Its methods must be called one at a time.
type Reader interface {
	// Describe returns this installation's abilities: Connector.Describe narrowed to the server's version.
	Describe(context.Context) (schemas.Description, error)
	// Read returns the connections that the selection names, with all their entitlements, in few calls whatever their
	// number. A connection that does not exist is left out. State.Incomplete is set when anything could not be read;
	// an error means that nothing is known.
	Read(context.Context, schemas.Selection) (schemas.State, error)
	// List returns identities, resources and connections by type: for forms, and to check that what a request names
	// exists. Either all pages together are complete, or an error is returned.
	List(context.Context, Query) (Page, error)
	// Normalize returns the state in the form in which the application would give it back (case, order, implied
	// values), so that a diff shows no false change. It is pure. An error names a value that the application would
	// refuse.
	Normalize(schemas.State) (schemas.State, error)
	io.Closer
}

// Foreseer is a Reader that knows what its application would refuse.
type Foreseer interface {
	// Foresee returns a finding for each operation that the application would refuse. It writes nothing.
	Foresee(context.Context, []schemas.Operation) ([]schemas.Finding, error)
}

// Writer is opened by apply alone.
type Writer interface {
	Reader
	// Apply carries out the operations in order and reports one outcome for each, as it happens, from the calling
	// goroutine. Operations are idempotent: one that was carried out already is reported as applied. A failing
	// operation stops only those that depend on it (Operation.DependsOn), which are reported Blocked. The returned
	// error is the reason why Apply stopped early (connection lost, context ended); the state of operations without
	// an outcome is then unknown until it is read back.
	Apply(context.Context, []schemas.Operation, func(Outcome)) error
}

// Outcome is the result of one operation. Err is nil when it was applied.
type Outcome struct {
	Operation string // the operation's ID
	Attempts  int
	Started   time.Time
	Finished  time.Time
	Err       error
}
