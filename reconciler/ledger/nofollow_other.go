//go:build !unix

package ledger

// noFollow does not exist here.
const noFollow = 0
