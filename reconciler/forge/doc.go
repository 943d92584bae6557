// Package forge describes what a forge, such as GitHub, offers to countersign: evidence of reviews, pull requests, a
// place to publish previews and outcomes, issues, webhooks, and checks of a repository's rules.
//
// It holds interfaces and the facts that cross them, so that the rest of countersign needs no forge's name. Which
// evidence is enough is decided in package signoff; what is published is decided by the callers.
//
// # Adding a forge
//
// Write a package beside github with a function that returns its Kind, add that to the table in
// cmd/countersign/internal/cli/forges.go, and allow its name for forge.kind in schemas/settings.go. A Forge must
// implement everything that Kind doesn't mark as optional.
//
// It may import history and schemas.
package forge
