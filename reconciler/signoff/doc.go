// Package signoff says who approved a change and whether that is enough.
//
// A Forge tells the evidence: who made a change, who approved it. Judge, which is pure, holds it against the
// rules that no policy switches off: an approval counts only from a known person who is neither author,
// committer nor co-author of the change, and who gains nothing by it; whoever made the change must be known;
// and what policy requires must be met by different people. What cannot be told fails closed.
//
// It may import history and schemas.
package signoff
