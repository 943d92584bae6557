package ldap

import "github.com/countersign/countersign/connectors"

// Calls is how many requests a reader or writer has sent.
func Calls(r connectors.Reader) int { return sessionOf(r).calls }

// Drop breaks the connection, as a server does that ends idle sessions.
func Drop(r connectors.Reader) { _ = sessionOf(r).raw.Close() }

func sessionOf(r connectors.Reader) *session {
	if w, ok := r.(*writer); ok {
		return &w.session
	}
	return &r.(*reader).session
}
