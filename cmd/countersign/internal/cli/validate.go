package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler"
)

// validateOptions configures validate.
type validateOptions struct{ *app }

func newValidateCommand(a *app) *cobra.Command {
	o := &validateOptions{a}
	c := &cobra.Command{
		Use:   "validate",
		Short: "Check control files offline, without Git or any application",
		Long: `Checks every control file in the folder --repo: YAML, schemas, payloads and
names against the connectors, and policy. Lists all errors at once, with file,
line and column.`,
		Example: "  countersign validate\n  countersign validate --repo ./access --format json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	formatFlag(c, &a.format, formatText, formatMarkdown, formatJSON)
	a.repositoryFlag(c)
	a.connectorFlags(c)
	return c
}

func (o *validateOptions) run(ctx context.Context) error {
	registry, err := o.registry(ctx)
	if err != nil {
		return err
	}
	rep, err := reconciler.Validate(ctx, o.repo, registry)
	if err != nil {
		return err
	}
	if err := o.print(rep); err != nil {
		return err
	}
	if len(rep.Errors) > 0 {
		return &exit{code: exitError}
	}
	return nil
}
