// Package schemas holds the documents that cross a boundary: what people write in YAML (requests,
// applications, settings, people), what policies see and answer, and what countersign prints and
// records (plan, decision, ledger record). Each has a JSON Schema (draft 2020-12) that is generated
// from the Go type, so that editors, policies and programs hold to the same contract as the code.
//
// Decoding is strict and total: all errors of a file at once, each with its line and column, and
// nothing of a file that has one. A type belongs here only if it is serialised across a boundary.
//
// schemas imports no other package of countersign.
package schemas
