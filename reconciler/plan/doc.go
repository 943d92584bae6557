// Package plan holds the two functions that everything else is built on:
//
//	desired = Fold(admitted requests, in merge order)
//	plan    = Diff(desired, live)
//
// Both are pure: they read no clock, network, file or Git, and the instant is an argument. The same
// arguments give the same answer, so a preview, the apply of the merge and the drift report a month later
// differ only in what they are given. Between is the plan of a change by itself, live state apart.
//
// plan imports graph (who gains and loses by a change) and schemas (which has the shape of live state and of
// capabilities), nothing else of countersign.
//
// It is larger than other packages because Fold, Diff and Between share one vocabulary of desired state (Document,
// Connection, Entitlement, Tombstone) and one decision table each, which are best read and changed together; a
// package for each would export all that they share.
package plan
