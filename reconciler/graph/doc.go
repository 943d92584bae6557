// Package graph answers who can do what in one application: effective access, through nested connections. Preview,
// policy and the access command ask it, so that all three mean the same by "gains" and "loses".
//
// It is pure: it reads no clock, network, file or Git. It may import schemas (the shape of a state and what kinds
// of entitlement there are), nothing else of countersign.
package graph
