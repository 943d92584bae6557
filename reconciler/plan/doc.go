// Package plan holds the two functions that everything else is built on:
//
//	desired = Fold(admitted requests, in merge order)
//	plan    = Diff(desired, live)
//
// Both are pure: they read no clock, network, file or Git, and the instant is an argument. The same
// arguments give the same answer, so a preview, the apply of the merge and the drift report a month later
// differ only in what they are given. Hold then says which operations of a plan must wait, Between what a
// change means by itself, and Graph who can do what through nested connections.
//
// plan imports connectors (the shape of live state and of capabilities) and schemas, nothing else of
// countersign.
package plan
