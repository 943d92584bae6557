// Package reconciler is the core of countersign: it holds what Git says against what reviewers approved,
// and what was approved against what applications hold.
//
// A tour, in the order in which a change passes through:
//
//   - history reads Git: which control files each first-parent commit of the branch changed.
//   - examine decodes the changed files and says what they would do (plan.Fold and plan.Between).
//   - admit judges each commit: policy says which sign-offs are needed and signoff whether they are there.
//     What is admitted goes into the index (index); what is not is quarantined and has no
//     effect. Verdicts are kept in the ledger and never judged again.
//   - preview does the same for a pull request's head, and diffs against the live applications besides.
//   - run is one pass over one application: fold, read, diff, hold, apply, read back, record.
//   - outside and tickets give operations to somebody outside where provisioning says so (fulfil is how: a signed
//     webhook, an issue), wait, and verify by reading; answer takes what they say of it.
//   - github is the forge at GitHub: its reviews are the evidence, and what preview and run say is told there.
//   - server makes a pass and tells its outcome, once (the Action, the command line) or for as long as it runs.
//   - ledger/branch keeps the ledger on a branch, for runners that begin with nothing.
//
// fold and diff are pure and live in plan; everything that touches the world is here or below, behind an
// interface: connectors for applications, signoff.Forge for reviews, history for Git, ledger for records.
//
// It may import plan, history, signoff, fulfil, ledger, policy, connectors and schemas. It knows no command line
// and no forge's API: github, server and ledger/branch stand above it.
package reconciler
