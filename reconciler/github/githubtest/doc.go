// Package githubtest is a small stateful GitHub for tests: pull requests, reviews, teams, statuses, comments and
// checks over a real bare repository that git http-backend serves.
//
// GitHub's own description of its API (npm @octokit/openapi, which .ci/test installs) keeps it honest: every request
// and every answer is validated against it, and a mismatch fails the test. Properties that no test sets are filled in
// from the description, so that answers are complete.
//
// It copies GitHub's behaviour where that matters: times come from the server, lists have pages of 30, a review's commit
// moves when the base is merged into the head and survives a force push, private things answer 404, GitHub is the
// committer of a squash, and a workflow's token can't read teams.
//
// Only tests import it.
package githubtest
