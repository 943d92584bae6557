package manual

import (
	"context"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/schemas"
)

type reader struct{ description schemas.Description }

func (r reader) Describe(context.Context) (schemas.Description, error) { return r.description, nil }

func (r reader) unread(op string) error {
	return &connectors.Error{Code: connectors.Unsupported, Op: op, Message: "countersign can't read an attested application; the ledger has its confirmed operations"}
}

func (r reader) Read(context.Context, schemas.Selection) (schemas.State, error) {
	return schemas.State{}, r.unread("read")
}

func (r reader) List(context.Context, connectors.Query) (connectors.Page, error) {
	return connectors.Page{}, r.unread("list")
}

func (r reader) Normalize(s schemas.State) (schemas.State, error) {
	return connectors.NormalizeWith(r.description, s, nil)
}

func (reader) Close() error { return nil }
