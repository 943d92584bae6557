//go:build !unix

package connectors

// noFollow does not exist here.
const noFollow = 0
