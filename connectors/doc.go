// Package connectors says what it means to read and change an application. Each folder below is one kind of
// application, but for those that connectors share:
//
//	all            the one list of those that the program has
//	connectortest  the suite that each passes against a real server, and the table of faults on the way to it;
//	               servers starts the real ones
//	rest           the HTTP client of those that speak to JSON APIs
//	exec           connectors in programs of their own, in any language; it has no name of its own in the list
//	manual         applications that nothing can read: what people say was done is all there is
//
// # To write one
//
// A connector is one folder here, its line in all, and one example file in examples/applications. The folder has the same
// files as the others: NAME.go (Connector, New, settings), describe.go, read.go, apply.go, api.go (the way to the
// application: HTTP, SQL, a session), doc.go, and further ones only for ideas that the application has alone.
//
// Begin with Describe: the description is the contract. Validation, forms, previews and the suite hold requests and the
// connector to it, and Checker holds operations to it before anything is sent. Then Read, which is complete or tells what
// is missing (State.Incomplete): what isn't known is never removed. Then List and Normalize (NormalizeWith), then Apply:
// Each carries operations out one by one; applications with transactions or batches do better. Fill in a Harness, run
// connectortest.Run against the real server, then RunFaults, and add the connector to all.
//
// # What connectors share
//
//	Bind            puts spec.config into a struct, checked against the JSON Schema
//	Config.TLS      the one meaning of ca_file; rest.Transport uses it for HTTP
//	Guard           refuses after Close and once the context has ended, so that no method has to
//	Lister          answers List: names, limit and cursor
//	Resolve         finds what a name and an id mean, and refuses where they lead apart
//	Refuse, During  errors that name the operation
//
// A connector knows nothing of Git, forges or Rego, and imports of countersign only this package, rest and schemas.
// Success is judged by reading back, never by what a server answers to a change.
package connectors
