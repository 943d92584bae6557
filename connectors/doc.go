// Package connectors says what it means to read and change an application. Each folder below is one
// kind of application; all lists them; connectortest is the suite that each passes against a real server.
//
// A connector knows nothing of Git, forges or Rego, and imports of countersign only this package and
// schemas. Success is judged by reading back, never by what a server answers to a change.
package connectors
