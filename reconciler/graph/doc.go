// Package graph answers who can do what in one application: effective access, through nested connections. Preview,
// policy and the access command ask it, so that all three mean the same by "gains" and "loses".
//
// It is pure: it reads no clock, network, file or Git. It may import connectors (the shape of a state and what kinds
// of entitlement there are) and schemas, nothing else of countersign.
package graph
