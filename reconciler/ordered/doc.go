// Package ordered has a sorted map that never changes: setting a key returns a new map, which shares with the former all
// that is the same in both. A judge keeps what it knows in such maps, so that going back to the state before a merge
// that wasn't admitted costs nothing.
//
// It is pure and imports nothing of countersign.
package ordered
