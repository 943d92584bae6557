// Package schemas holds the types that cross a boundary, each of them once: the documents that people write in YAML
// (requests, applications, settings, people), what connectors describe and read, what policies see and answer, and
// what countersign prints and records (plan, decision, ledger record), with the constants of their states and kinds.
//
// A type belongs here only if it is serialised across a boundary. Package schemas/jsonschema publishes a JSON Schema
// (draft 2020-12) of each, generated from the Go type, so that editors, policies and programs hold to the same
// contract as the code. Package schemas/strict decodes documents.
//
// schemas imports no other package of countersign.
//
// It has more than 2,500 lines because it is a list of types, most of them with a comment for each field; it holds hardly
// any logic.
package schemas
