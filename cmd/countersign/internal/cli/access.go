package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler"
)

// accessOptions configures access.
type accessOptions struct {
	*app
	query reconciler.AccessOptions
}

func newAccessCommand(a *app) *cobra.Command {
	o := &accessOptions{app: a}
	c := &cobra.Command{
		Use:   "access",
		Short: "Show who can do what, and who requested and approved it",
		Long: `Reads the live applications and follows nested connections from identities to
resources. Each step shows its request, the commit that admitted it and who
signed it off, or is marked unmanaged.`,
		Example: "  countersign access --identity alice\n  countersign access --resource sales.orders\n  countersign access --connection role/sales_reader --format json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	f := c.Flags()
	f.StringVar(&o.query.Identity, "identity", "", "only this `IDENTITY`, such as alice or user/alice")
	f.StringVar(&o.query.Connection, "connection", "", "only through this `CONNECTION`, such as sales_reader or role/sales_reader")
	f.StringVar(&o.query.Resource, "resource", "", "only to this `TARGET`, such as sales.orders or table/sales.orders")
	toFlag(c, &o.query.To)
	a.applicationFlag(c)
	formatFlag(c, &a.format, formatText, formatMarkdown, formatJSON)
	a.reconcilerFlags(c)
	return c
}

func (o *accessOptions) run(ctx context.Context) (err error) {
	r, repo, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if o.query.To == "" {
		if _, o.query.To, err = o.branch(repo); err != nil {
			return err
		}
	}
	o.query.Application = o.application
	rep, err := r.Access(ctx, o.query)
	if err != nil {
		return err
	}
	if err := o.print(rep); err != nil {
		return err
	}
	if n := len(rep.Incomplete); n > 0 {
		return &exit{code: exitError, err: fmt.Errorf("could not read all of %d applications", n)}
	}
	return nil
}
