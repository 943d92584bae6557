package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

// statusOptions configures status.
type statusOptions struct {
	*app
	to string
}

func newStatusCommand(a *app) *cobra.Command {
	o := &statusOptions{app: a}
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the state of every request",
		Long: `Shows the approval, provisioning and verification of every request, from Git and
the ledger, without reading any application. Lists quarantined files with the
reasons.`,
		Example: "  countersign status\n  countersign status --application warehouse --format json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	toFlag(c, &o.to)
	a.applicationFlag(c)
	formatFlag(c, &a.format, formatText, formatMarkdown, formatJSON)
	a.reconcilerFlags(c)
	return c
}

func (o *statusOptions) run(ctx context.Context) (err error) {
	r, repo, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if o.to == "" {
		if _, o.to, err = o.branch(repo); err != nil {
			return err
		}
	}
	rep, err := r.Status(ctx, o.to, o.application)
	if err != nil {
		return err
	}
	return o.print(rep)
}
