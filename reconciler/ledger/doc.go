// Package ledger is the append-only record of admissions, intents, outcomes and read-backs. Each record
// holds the hash of the one before, so that a record that was changed, removed or put in between is found.
//
// The records are the truth. Everything else in the file (what was verified, which runs ended, which
// intents are open) is derived from them in the transaction that appends, and Rebuild makes it anew. A lost
// ledger loses the audit trail, never the truth about access.
//
// # What the chain proves
//
// The hash of a record is SHA-256 over its canonical JSON (RFC 8785) without the field hash; previous is
// the hash of the record before, and "" in the first. Whoever can write the file can make the whole chain
// anew, and can cut off its end: no file can prove by itself that it is all there. So every export prints
// the head and the number of records; kept elsewhere, they are what Verify is given later. There is no side
// file beside the database for that: who can write one can write the other.
//
// # Secrets
//
// Operations hold no secrets: connectors take them by reference, and a payload that is secret is no
// attribute. The ledger keeps what it is given and has no means to tell a secret from a text.
//
// It imports schemas alone.
package ledger
