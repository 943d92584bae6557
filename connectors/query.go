package connectors

import "github.com/countersign/countersign/schemas"

// Query lists the objects of a type.
type Query struct {
	Type string
	// Names limits the answer to these (exact, by the application's own comparison); nil is all.
	Names []string
	// IDs adds what has these native ids, whatever it is called now. Connectors without native ids ignore them.
	IDs []string
	// Limit bounds the page; 0 lets the connector choose. Cursor is Page.Next of the page before.
	Limit  int
	Cursor string
}

// Page is a part of a Query's answer, sorted by name, then id.
type Page struct {
	Items []schemas.Item
	Next  string // "" at the end
}
