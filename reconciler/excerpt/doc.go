// Package excerpt picks the documents that decide what a change means.
//
// The desired state before a change and after it differ in a few entitlements. The identities below them gain or lose,
// by them, the rights above, unless there is another way in the graph from one to the other. An excerpt has the documents
// of all that, and the change between two excerpts is the change between the complete states: it costs what the change
// touches, not what its people have.
//
// A World keeps what earlier changes have asked about, so that a long history is read and folded once. It is immutable:
// going back to the state before a change costs nothing.
//
// It may import plan (the fold), graph (the edges) and schemas. Documents come from a Source, which may read a file.
package excerpt
