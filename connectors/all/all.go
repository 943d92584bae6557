// Package all is the one list of connectors that the program has. A connector is added here and nowhere else.
package all

import (
	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/connectors/manual"
	"github.com/countersign/countersign/connectors/postgres"
)

// Registry returns all connectors.
func Registry() (connectors.Registry, error) {
	return connectors.NewRegistry(
		casbin.New(),
		manual.New(),
		postgres.New(),
	)
}
