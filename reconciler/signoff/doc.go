// Package signoff decides who approved a change and whether that is enough.
//
// A Forge provides the evidence: who made a change and who approved it. Judge, which is pure, checks it against rules
// that no policy can switch off: an approval counts only from a known person who is not an author, committer or
// co-author of the change and gains nothing from it; the authors of the change must be known; and different people
// must meet the requirements of policy. Anything that cannot be determined fails closed.
//
// # The local forge
//
// People are identified by e-mail addresses, and the approval is in the commit that lands a change.
//
//   - Merge commit: the authors, committers and co-authors of the commits it brought made the change. The person who
//     made the merge counts as an author only if the merge itself changes more than those commits, so the integrator
//     who lands a change may also approve it.
//   - One parent (a squash, or a commit of a rebase): Git records one author and one committer, and a squash by an
//     integrator looks the same as someone else's amended commit. The author and the co-authors made the change; a
//     different committer is the integrator and answers for all of it. To have the branch's own commits checked,
//     merge without squashing.
//   - signed: names in a commit are only claims, so each commit that made the change must be signed by a key of the
//     allowed signers, and its owner is an author, whatever names the commit has. A commit that is not
//     signed has an unknown author. An approval is the signature of a merge by its committer, or a signed tag, one per
//     approver, on the reviewed commit (the merge's second parent, or the commit itself where it has one parent). The
//     tag's message names the commit of the branch on top of which the change was reviewed (Base: HASH), must be there
//     when the merge is judged, and is good for one merge. Trailers are listed and never count.
//   - unauthenticated: Approved-by trailers of the landing commit count without proof and are recorded as
//     unauthenticated. Those of the branch's commits never count.
//
// It may import forge, history and schemas.
package signoff
