// Package excerpt picks the documents that decide what a change means.
//
// The desired state before a change and after it differ in a few entitlements. Who gains or loses by them are the
// identities below, what they gain or lose are the rights above, and whether they have it otherwise is one way in the graph
// for each of these pairs. An excerpt has the documents of all that, and the change between two excerpts is the
// change between the complete states: a change costs what it touches, not what its people have.
//
// A World keeps what earlier changes have asked about, so that a long history is read and folded once. It is immutable:
// going back to the state before a change costs nothing.
//
// It may import plan (the fold), graph (the edges) and schemas. Documents come from a Source, which may read a file.
package excerpt
