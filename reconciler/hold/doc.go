// Package hold decides which operations of a plan must wait, and why: the application's mode, limits on removals, a
// first run, an incomplete or shrunken read, a way of provisioning that the application does not have, and what
// somebody outside was already asked for. Previews and runs ask it with the same rules, so that a preview foresees
// what a run will hold.
//
// It is pure: it reads no clock, network, file or Git. It may import plan and schemas, nothing else of
// countersign.
package hold
