package plan

import "github.com/countersign/countersign/schemas"

// ByKind returns the answer for a kind of request; the zero value for what is not a kind of request. It is the one place
// that tells kinds of request apart: a new kind is a new parameter here, and then every caller without an answer for it
// does not compile.
func ByKind[T any](kind schemas.Kind, creation, assignment, deletion T) T {
	switch kind {
	case schemas.KindConnectionCreation:
		return creation
	case schemas.KindConnectionAssignment:
		return assignment
	case schemas.KindConnectionDeletion:
		return deletion
	}
	var none T
	return none
}

// Opens reports whether requests of the kind open a life of their connection, and so have a payload.
func Opens(kind schemas.Kind) bool { return ByKind(kind, true, false, false) }

// Assigns reports whether requests of the kind grant and revoke.
func Assigns(kind schemas.Kind) bool { return ByKind(kind, false, true, false) }

// Ends reports whether requests of the kind end the life of their connection.
func Ends(kind schemas.Kind) bool { return ByKind(kind, false, false, true) }
