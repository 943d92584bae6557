// Package branch keeps the ledger on a branch of the access repository, so that an ephemeral runner knows what was
// admitted, what is quarantined and what was done. The SQLite file of a run is an index of it.
//
// # What is on the branch
//
// Each commit has the previous one as its only parent and adds one file, YYYY/MM/DD/SEQUENCE.jsonl, named after its
// first record. Each line is a record: the canonical JSON that its hash is the SHA-256 of, with the previous line's hash
// in the field previous. So the files in order are one chain. The commit's message has the signed note of the head.
//
// # How it is written
//
// By compare-and-swap: a push builds on the tip that was read, and the server refuses it when the branch has moved
// meanwhile (ErrMoved). Records are pushed before they are written to the local file, and before an application is
// changed. A lease on a second branch keeps two runs apart. It is advisory and only avoids lost races; the
// compare-and-swap protects the chain.
//
// # What it proves
//
// A changed, removed, reordered or inserted file is found, and so is a commit that does more than add one; then nothing
// is written. Anyone who can push to the branch can rewrite all of it. That is found where its former tip is known (on a
// machine that is kept, or by an anchor that the operator gives), but not by an ephemeral runner. So protect the branch
// with a ruleset that lets only the App push, without force pushes and deletion.
//
// It may import ledger.
package branch
