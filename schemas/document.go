package schemas

import "fmt"

// The bounds of control files. They are checked before a parser sees anything.
const (
	MaxFileBytes     = 1 << 20
	MaxDocumentBytes = 64 << 10
	MaxPeopleBytes   = 4 << 20 // of people.yaml, which is one document: 20,000 people with accounts in five applications
	MaxDocuments     = 1000
	MaxDepth         = 20
)

// FileLimit returns how many bytes a control file may have.
func FileLimit(path string) int {
	if path == PeoplePath {
		return MaxPeopleBytes
	}
	return MaxFileBytes
}

// DocumentLimit returns how many bytes one document of a control file may have.
func DocumentLimit(path string) int {
	if path == PeoplePath {
		return MaxPeopleBytes
	}
	return MaxDocumentBytes
}

// Bytes is a size for people: 64 KiB, 1 MiB.
func Bytes(n int) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// Document is one decoded document of a control file.
type Document struct {
	Kind Kind
	// Index is the document's place in its file, from 0.
	Index int
	// Metadata is zero for Settings and People; for an Application it has the name alone.
	Metadata Metadata
	// Position is that of the document's first field.
	Position Position
	// Value has its defaults filled in. Numbers in free-form mappings (payload, config) are int or float64.
	Value Content

	// Places finds the document's fields in its file; nil for one that knows its own position only.
	Places Places
}

// Places finds the fields of a document in its file. It is safe for concurrent use.
type Places interface {
	// At is the line and column of a field path, or of the longest prefix that is in the document; false for none.
	At(field string) (line, column int, ok bool)
}

// At returns the position of a field path such as spec.grants[0].expires; keys that are not identifiers
// are written ["like this"]. Where the path is not in the document it is that of the longest known
// prefix; "" is the document. It is safe for concurrent use.
func (d Document) At(field string) Position {
	if d.Places == nil {
		return d.Position
	}
	line, column, ok := d.Places.At(field)
	if !ok {
		return d.Position
	}
	return Position{Path: d.Position.Path, Line: line, Column: column}
}
