// Package branch keeps the ledger on a branch of the access repository, so that a runner that begins with nothing
// knows what was admitted, what is quarantined and what was done. The SQLite file of a run is its index.
//
// # What is on the branch
//
// Each commit has the one before as its only parent and adds one file, YYYY/MM/DD/SEQUENCE.jsonl, named by its first
// record: one record a line, each the canonical JSON that its hash is the SHA-256 of, with the hash of the line before
// in its field previous. So the files in their order are one chain, which sha256sum can follow.
//
// # How it is written
//
// By compare-and-swap: a push that stands on the tip that was read, and is refused by the server when the branch has
// moved meanwhile (ErrMoved). Records are pushed before they are kept here, and before an application is touched. A
// lease on a second branch keeps two runs apart: it is advice, which spares them the lost race; what protects the chain
// is the compare-and-swap.
//
// # What it proves
//
// A file that was changed, removed, reordered or put in between, and a commit that does more than add one, are found,
// and nothing is written then. Whoever may push to the branch can write it anew as a whole: that is found where its
// former tip is known (a machine that is kept, or an anchor that the operator gives), and not by a fresh runner. So
// protect the branch: a ruleset for it that lets the App alone push, without force pushes and deletion.
//
// It may import ledger.
package branch
