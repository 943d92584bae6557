package suite

import (
	"cmp"
	"slices"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/harness"
)

// Row is a line of the table of what connectors can do, for the documentation.
type Row struct {
	Connector, Title, Type           string
	Create, Update, Delete, Reassign bool
	// Attributes are those of the payload, sorted.
	Attributes []string
	Targets    []Target
}

// Target is a type that can be granted.
type Target struct {
	Type          string
	Edge          connectors.Edge
	Privileges    []string
	Grant, Revoke bool
}

// Capabilities is the connector's part of the table: a row for each connection type, sorted.
func Capabilities(c connectors.Connector) []Row {
	d := c.Describe()
	rows := make([]Row, 0, len(d.Types))
	for _, typ := range d.Types {
		r := Row{Connector: d.Name, Title: d.Title, Type: typ.Name,
			Create: typ.Create, Update: typ.Update, Delete: typ.Delete, Reassign: typ.Reassign}
		// A payload schema that does not parse is a failure of the suite; here it has no attributes.
		s, _ := harness.ParsePayload(typ.Payload)
		r.Attributes = s.Names()
		for _, g := range typ.Grantable {
			r.Targets = append(r.Targets, Target{Type: g.Type, Edge: g.Edge, Privileges: slices.Clone(g.Privileges), Grant: g.Grant, Revoke: g.Revoke})
		}
		slices.SortFunc(r.Targets, func(a, b Target) int { return cmp.Compare(a.Type, b.Type) })
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Type, b.Type) })
	return rows
}
