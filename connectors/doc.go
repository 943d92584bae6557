// Package connectors defines how applications are read and changed. Each folder below is one kind of application,
// except those that connectors share:
//
//	all            the list of connectors in the program
//	connectortest  the suite that each passes against a real server, and the table of network faults;
//	               servers starts the real ones
//	rest           the HTTP client for JSON APIs
//	exec           connectors in programs of their own, in any language; it isn't in the list itself
//	manual         applications that nothing can read: people attest what they did
//
// # To write one
//
// A connector is one folder here, its entry in all, and one example file in examples/applications. The folder has the
// same files as the others: NAME.go (Connector, New, settings), describe.go, read.go, apply.go, api.go (the way to
// the application: HTTP, SQL, a session), doc.go, and further ones only for ideas that are the application's own.
//
// Begin with Describe: the description is the contract. Validation, forms, previews and the suite check requests and
// the connector against it, and Checker checks operations before anything is sent. Then Read, which is complete or
// names what is missing (State.Incomplete): unknown access is never removed. Then List and Normalize (NormalizeWith),
// then Apply: Each carries operations out one by one; applications with transactions or batches do better. Fill in a
// Harness, run connectortest.Run against the real server, then RunFaults, and add the connector to all.
//
// # What connectors share
//
//	Bind            puts spec.config into a struct, checked against the JSON Schema
//	Config.TLS      reads ca_file; rest.Transport uses it for HTTP
//	Guard           refuses calls after Close and after the context has ended
//	Lister          answers List: names, limit and cursor
//	Resolve         finds an object by name and id, and refuses if they disagree
//	Refuse, During  errors that name the operation
//
// A connector knows nothing of Git, forges or Rego, and imports of countersign only this package, rest and schemas.
// Success is judged by reading back, never by a server's answer to a change.
package connectors
