// Package signoff says who approved a change and whether that is enough.
//
// A Forge tells the evidence: who made a change, who approved it. Judge, which is pure, holds it against the
// rules that no policy switches off: an approval counts only from a known person who is neither author,
// committer nor co-author of the change, and who gains nothing by it; whoever made the change must be known;
// and what policy requires must be met by different people. What cannot be told fails closed.
//
// # The local forge
//
// People are e-mail addresses, and the approval is in the commit that lands a change.
//
//   - Merge commit: the change was made by the authors, committers and co-authors of the commits it brought,
//     and by whoever made the merge itself only where it changes more than they did. The integrator who
//     lands it may therefore be the one who approves it.
//   - One parent, be it a squash or a commit of a rebase: Git records one author and one committer, and
//     nothing tells a squash by an integrator from another's commit that was amended. The author and the
//     co-authors made the change; a committer who is somebody else is the integrator and answers for all of
//     it. Whoever wants the branch's own commits to be looked at merges without squashing.
//   - signed: the approval is the signature of the landing commit, by a key of the allowed signers that
//     belongs to its committer. Trailers are listed and never count.
//   - unauthenticated: Approved-by trailers of the landing commit, never those of the branch's commits, count
//     at their word and are recorded as unauthenticated.
//
// Names in commits are claims that anybody who can push may make. Where a commit of the branch carries a
// signature that holds, its signer made it too, whatever the commit says.
//
// It may import forge, history and schemas.
package signoff
