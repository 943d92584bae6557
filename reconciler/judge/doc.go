// Package judge decides what a change means and whether it may take effect.
//
// It walks along the branch, decodes the control files that each merge changed, folds them over what is admitted
// (package index), asks policy which sign-offs the change needs, and compares those with the evidence of the forge
// (package signoff). Admitted changes go into the index; others are quarantined and take no effect. The preview of a
// pull request runs the same checks on a change that is not merged yet.
//
// Everything that a change is judged by (Trust) is read from content admitted before it, never from the change
// itself. Judge opens no application: the connectors' static descriptions define the meaning of a change.
//
// It may import history, index, plan, hold (which ways of provisioning an application has), signoff, ledger,
// policy, connectors and schemas. It knows nothing of package run, of the command line or of a forge's API.
//
// It has slightly more than 2,500 lines: a verdict needs the walk, the meaning of the change and the evidence at once, and
// the examination of one change is the value that all of them pass on.
package judge
