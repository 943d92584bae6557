// Package jsonschema publishes a JSON Schema (draft 2020-12) for each type of package schemas, and checks values
// against these and against those of connectors. It turns what a validator finds into messages for people, which
// never contain a value of what was checked.
//
// A test generates the files from the Go types. jsonschema imports no other package of countersign.
package jsonschema
