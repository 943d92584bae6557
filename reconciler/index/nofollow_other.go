//go:build !unix

package index

// noFollow does not exist here.
const noFollow = 0
