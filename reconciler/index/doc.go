// Package index keeps the admitted documents in merge order: which documents each connection has, and which control
// files are admitted or quarantined at the last commit judged. With it a new merge costs what it changed, not the size
// of the repository. It exists so that judging and running ask one place for what is admitted.
//
// The index is a cache. Everything in it follows from Git and from the verdicts in the ledger; the file may
// be deleted at any time and is built again. An index of another format, or of a branch that was rewritten,
// is dropped when it is opened.
//
// It may import plan (the documents that it keeps) and schemas, nothing else of countersign.
package index
