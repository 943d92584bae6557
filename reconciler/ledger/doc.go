// Package ledger is the append-only record of admissions, intents, outcomes and read-backs. Each record
// holds the hash of the one before, so that a record that was changed, removed or put in between is found.
//
// The records are the truth. Everything else in the file (what was verified, which runs ended, which
// intents are open) is derived from them in the transaction that appends, and Rebuild makes it anew. A lost
// ledger loses the audit trail, never the truth about access.
//
// It imports schemas alone.
package ledger
