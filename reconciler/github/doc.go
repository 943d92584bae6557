// Package github is the forge for GitHub: it reads reviews as evidence, and publishes previews and outcomes as a
// comment, a check run, commit statuses, labels, review requests, a deployment and issues. Kind is its entry in the
// table of forges.
//
// # What proves that a reviewer saw this content
//
// A review names a commit, but GitHub moves that when the base is merged into the head; the pusher chooses commit dates;
// and everybody with write access can post a status. So the content of the reviewed commit is hashed from the clone,
// and statuses only tell when a preview was published: countersign/preview names the pull request, the digest of its
// changed control files and that of the comment. Its creation time comes from GitHub's clock, and its creator is an
// account that the settings name. A review counts when
//
//   - its commit has the merged content, and the last such status before the review names that content; or its commit only
//     merged the base into a commit for which that holds, and so on back, each with the same content;
//   - no other content was pushed between that preview and the merge, as GitHub lists the pushes (for a fork, which
//     GitHub doesn't show: the reviewed commit is not a merge);
//   - nobody else edited or deleted the comment between that preview and the review; and
//   - it was submitted before the merge, is the person's latest review, and approves.
//
// A status marks a new state of the head: it is published again when other content was head in between, or somebody else
// changed the comment, but not when the same state is previewed again. The state of a status isn't trusted: nothing here
// depends on whether GitHub allows a merge.
//
// # Who made a change
//
// The account that opened the pull request, those that pushed to its branch, and the authors, committers and co-authors of
// its commits. The message of a squash is whatever its merger typed, and names nobody. These make the evidence worthless:
// a person whom neither GitHub nor people.yaml can name, a deleted account, a bot that the settings don't name, a login
// that belongs to another account than the one on record, pushes that GitHub doesn't show, and a fork with a commit that
// isn't signed. The account that only merged isn't an author: the merged content is compared with the previewed content.
//
// With GITHUB_TOKEN, statuses belong to github-actions[bot], and every workflow of the repository can write as that
// account. Such previews count only where the settings accept that. Use a GitHub App of your own.
//
// Lists that are longer than is read, such as a flood of statuses, are facts about the one change; failures of transport
// are errors, and never a verdict.
//
// It may import forge, history, report and schemas.
package github
