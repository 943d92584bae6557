// Package github is the forge for GitHub: it reads reviews as evidence, and publishes previews and outcomes as a
// comment, a check run, commit statuses, labels, review requests, a deployment and issues. Kind is its entry in the
// table of forges.
//
// # What proves that a reviewer saw this content
//
// A review names a commit, but GitHub moves that when the base is merged into the head; the pusher chooses commit dates;
// and a status on the same commit may belong to another pull request. So a preview publishes a commit status,
// countersign/preview, that names the pull request and the digest of its changed control files. Its creation time comes
// from GitHub's clock, and its creator is an account that the settings name. A review counts when
//
//   - its commit has such a status for this pull request and the merged digest, and
//   - it was submitted after the latest of them; or its commit only merged the base into a commit for which that holds,
//     and so on back, each with the same digest; and
//   - it was submitted before the merge, is the person's latest review, and approves.
//
// A status marks a new state of the head: it is published again when other content was head in between, but not when
// the same state is previewed again. The state of a status isn't trusted: nothing here depends on whether GitHub allows
// a merge.
//
// # Who made a change
//
// The account that opened the pull request, those that pushed to its branch where GitHub lists them, and the authors,
// committers and co-authors of its commits. A person whom neither GitHub nor people.yaml can name makes the evidence
// worthless. The account that only merged isn't an author: the merged content is compared with the previewed content.
//
// With GITHUB_TOKEN, statuses belong to github-actions[bot], and every workflow of the repository can write as that
// account: anyone who can change a workflow on any branch can forge the evidence. Use a GitHub App of your own.
//
// It may import forge, history, report and schemas.
package github
