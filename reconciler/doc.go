// Package reconciler is the face of countersign: it compares Git with what reviewers approved, and the
// approved state with the applications. The command line and server use it; the packages below do the work.
//
// A tour, in the order in which a change passes through:
//
//   - history reads Git: which control files each first-parent commit of the branch changed.
//   - judge examines the changed files, tells what they would do (plan.Fold and plan.Between), and decides whether it may
//     take effect: policy decides which sign-offs are needed, and signoff whether they are there. Verdicts are kept in the
//     ledger and never judged again.
//   - index holds what is admitted, in merge order. Anything else is quarantined and has no effect.
//   - plan turns admitted documents into the desired state (Fold) and that into operations (Diff); graph tells who gains
//     and loses by them; hold decides which of them must wait. All three are pure.
//   - run is one pass over one application: read, diff, hold, carry out, read back, record. For provisioning
//     webhook and ticket, somebody outside is asked instead (run/fulfilment).
//   - validate checks the control files of a folder offline.
//   - forge describes what a forge offers: evidence of reviews, and a place to publish previews and outcomes. github is the
//     one at GitHub.
//   - report renders previews, runs and answers, as text, Markdown and JSON.
//   - server runs passes and publishes their outcomes, once (the Action, the command line) or for as long as it runs.
//   - ledger/branch keeps the ledger on a branch, for ephemeral runners.
//
// It may import the packages named above except github, server and ledger/branch, which are above it, and connectors and
// schemas. It knows no command line and no forge's API.
package reconciler
