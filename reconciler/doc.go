// Package reconciler is the core of countersign: it holds what Git says against what reviewers approved,
// and what was approved against what applications hold.
//
// A tour, in the order in which a change passes through:
//
//   - history reads Git: which control files each first-parent commit of the branch changed.
//   - examine decodes the changed files and says what they would do (plan.Fold and plan.Between).
//   - admit judges each commit: policy says which sign-offs are needed and signoff whether they are there.
//     What is admitted goes into the order index (history/order); what is not is quarantined and has no
//     effect. Verdicts are kept in the ledger and never judged again.
//   - preview does the same for a pull request's head, and diffs against the live applications besides.
//   - run is one pass over one application: fold, read, diff, hold, apply, read back, record.
//
// fold and diff are pure and live in plan; everything that touches the world is here or below, behind an
// interface: connectors for applications, signoff.Forge for reviews, history for Git, ledger for records.
//
// It may import plan, history, signoff, ledger, policy, connectors and schemas. It knows no command line
// and no forge's API.
package reconciler
