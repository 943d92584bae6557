// Package order is the order index: which documents each connection has, in merge order, and which control
// files stand admitted or quarantined at the last commit judged. With it a new merge costs what it changed,
// not the size of the repository.
//
// The index is a cache. Everything in it follows from Git and from the verdicts in the ledger; the file may
// be deleted at any time and is built again. An index of another format, or of a branch that was rewritten,
// is dropped by whoever opens it.
package order
