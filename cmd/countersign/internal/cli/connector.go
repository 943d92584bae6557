package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/suite"
	"github.com/countersign/countersign/schemas"
)

func newConnectorCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "connector",
		Short:   "List what connectors can do, and test your own",
		Example: "  countersign connector list\n  countersign connector test ./my-connector --test-hand",
		Args:    noSuchCommand,
		RunE:    showHelp,
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(newConnectorListCommand(a), newConnectorTestCommand(a))
	return c
}

// connectorListOptions configures connector list.
type connectorListOptions struct{ *app }

func newConnectorListCommand(a *app) *cobra.Command {
	o := &connectorListOptions{a}
	c := &cobra.Command{
		Use:   "list",
		Short: "List what each connector can do with each type of connection",
		Long: `Lists each connector, including those bound with --exec, with its connection
types: whether it can create, update and delete them, whether it can reassign
what they own, and what can be granted to them.`,
		Example: `  countersign connector list
  countersign connector list --format markdown
  countersign connector list --exec hr=/opt/hr/connector --format json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.listConnectors(c.Context(), "") },
	}
	formatFlag(c, &a.format, formatText, formatMarkdown, formatJSON)
	a.connectorFlags(c)
	return c
}

// listConnectors prints the table of all connectors, or of one.
func (a *app) listConnectors(ctx context.Context, only string) error {
	registry, err := a.registry(ctx)
	if err != nil {
		return err
	}
	list := &schemas.ConnectorList{APIVersion: schemas.APIVersion, Kind: "Connectors"}
	for _, name := range registry.Names() {
		if k, ok := registry.Get(name); ok && (only == "" || name == only) {
			list.Connectors = append(list.Connectors, k.Describe())
		}
	}
	return a.print(list)
}

func listed(k connectors.Connector) schemas.ListedConnector {
	d := k.Describe()
	out := schemas.ListedConnector{Name: d.Name, Title: d.Title, Types: []schemas.ListedType{}}
	for _, r := range suite.Capabilities(k) {
		typ, _ := d.Type(r.Type)
		l := schemas.ListedType{Type: r.Type, Title: typ.Title, Create: r.Create, Update: r.Update, Delete: r.Delete, Reassign: r.Reassign,
			Attributes: append([]string{}, r.Attributes...), Targets: []schemas.ListedTarget{}}
		for _, g := range r.Targets {
			l.Targets = append(l.Targets, schemas.ListedTarget{Type: g.Type, Edge: string(g.Edge), Privileges: g.Privileges, Grant: g.Grant, Revoke: g.Revoke})
		}
		out.Types = append(out.Types, l)
	}
	return out
}
