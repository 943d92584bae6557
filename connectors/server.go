package connectors

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Server is a Description.Server made of an installation's address, or of what the application calls itself, and of what
// divides it further, such as an organisation.
func Server(parts ...string) string {
	s := strings.TrimRight(strings.ToLower(parts[0]), "/")
	if len(parts) > 1 {
		s += " " + strings.Join(parts[1:], " ")
	}
	if len(s) > 200 {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	return s
}
