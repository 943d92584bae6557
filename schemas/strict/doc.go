// Package strict decodes what people and other programs write: the YAML documents of an access repository, and the
// JSON lines of connectors in processes of their own.
//
// Decoding is strict and total: it returns all errors of a file at once, each with its line and column, and nothing
// of a file that has one. Its place is between the bytes and package schemas, whose types it returns.
//
// strict may import schemas and schemas/jsonschema, and nothing else of countersign.
package strict
