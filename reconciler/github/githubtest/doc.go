// Package githubtest is a small stateful GitHub for tests: pull requests, reviews, teams, statuses, comments and
// checks over a real bare repository that git http-backend serves.
//
// What keeps it honest is GitHub's own description of its API (npm @octokit/openapi, which .ci/test installs): every
// request that reaches it and every answer that it gives is held against that, and what does not fit fails the test.
// Properties that no test speaks of are filled in from the description, so that answers are whole.
//
// It has GitHub's habits where they matter: times are the server's, lists come in pages of 30, a review's commit is
// re-pointed when the base is merged into the head and survives a forced push, private things answer 404, a squash is
// GitHub's commit, a token of a workflow cannot read teams.
//
// Only tests import it.
package githubtest
