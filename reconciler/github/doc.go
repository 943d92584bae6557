// Package github is the forge on GitHub: reviews come in as evidence, and the preview, its verdict and the
// outcome go out as a comment, a check run, commit statuses, labels, review requests, a deployment and issues.
//
// # What proves that a reviewer saw this content
//
// A review names a commit, but GitHub re-points that when the base is merged into the head; commit dates are the
// pusher's to choose; a status on the same commit may stem from another pull request. So the preview publishes a
// commit status, countersign/preview, that names the pull request and the digest of its changed control files.
// Its creation time is GitHub's clock, its creator an account that the settings name. A review counts when
//
//   - the commit that it names has such a status, for this pull request and the digest that was merged, and
//   - it was submitted after the latest of them; or the commit only merged the base into one for which that
//     holds, and so on back, each with the same digest;
//   - it was submitted before the merge, is the person's latest word, and that word is an approval.
//
// A status stands for a new state of the head: it is published again when other content was head in between,
// and not when a preview is merely made anew. Statuses are read, never trusted by their colour: nothing here asks
// whether GitHub thinks that a pull request may be merged.
//
// # Who made a change
//
// The one who opened the pull request, whoever pushed to its branch where GitHub tells, and the authors, committers
// and co-authors of its commits. Somebody whom GitHub attributes to no account and people.yaml does not know makes
// the evidence worthless. Whoever only merged is not among them: what landed is held against what was previewed.
//
// Under GITHUB_TOKEN the statuses are github-actions[bot]'s, as whom every workflow of the repository can speak:
// whoever may change a workflow on any branch can forge the evidence. An App of its own cannot be spoken for.
//
// It may import forge, history, report and schemas.
package github
