package cli

import (
	"context"

	"github.com/spf13/cobra"

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
		Short: "List what each connector can do, per connection type",
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
