// Package audit answers auditors from the records of a ledger: one row for each operation with who asked, who approved,
// what policy decided and what the read-back showed, assertions over these, and what the records show at an instant.
//
// It only reads. An assertion that the records don't prove is unknown, never true.
//
// It may import ledger and schemas.
package audit
