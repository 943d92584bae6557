package plan

import "github.com/countersign/countersign/schemas"

// Opens reports whether requests of the kind open a life of their connection, and so have a payload.
func Opens(kind schemas.Kind) bool { return schemas.ByRequestKind(kind, true, false, false) }

// Assigns reports whether requests of the kind grant and revoke.
func Assigns(kind schemas.Kind) bool { return schemas.ByRequestKind(kind, false, true, false) }

// Ends reports whether requests of the kind end the life of their connection.
func Ends(kind schemas.Kind) bool { return schemas.ByRequestKind(kind, false, false, true) }

// CodeTwice is the code of the finding about a document that another file has too.
const CodeTwice = "twice"
