// Package ledger is the append-only record of admissions, intents, outcomes and read-backs. Each record contains the
// hash of the previous one, so that a changed, removed or inserted record is found.
//
// The records are the truth. Everything else in the file (what was verified, which runs ended, which intents are open)
// is derived from them in the transaction that appends, and Rebuild derives it again. Losing the ledger loses the audit
// trail, never the truth about access.
//
// # What the chain proves
//
// A record's hash is the SHA-256 of its canonical JSON (RFC 8785) without the fields hash and personal; previous is the
// hash of the previous record, and "" in the first. Anyone who can write the file can build another chain. So the head is
// signed with the operator's key (package seal), which isn't where the ledger is. Anyone can put an older ledger back,
// with its signature, or remove it: no file can prove by itself that it is complete. So the last head is also left with a
// witness outside of it (Check), and every export prints the head and the number of records.
//
// Prove recomputes every hash. It remembers, in a file beside the database, how the database was when that was done, and
// does it again when the database was changed by anybody else.
//
// # Secrets
//
// Operations contain no secrets: connectors take them by reference, and a secret payload isn't an attribute. The ledger
// records what it is given and can't tell a secret from other text.
//
// It may import ledger/seal and schemas.
package ledger
