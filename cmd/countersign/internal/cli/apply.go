package cli

import (
	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler"
)

// applyOptions configures apply.
type applyOptions struct {
	passOptions
	dryRun bool
}

func newApplyCommand(a *app) *cobra.Command {
	o := &applyOptions{passOptions: passOptions{app: a}}
	c := &cobra.Command{
		Use:   "apply",
		Short: "Admit merged changes, apply them, and verify the result",
		Long: `Judges every commit on the branch since the last run, applies approved changes
to each application, reads them back, and records the result. Changes without
sign-off are quarantined: reported, but not applied. apply is idempotent.

Exit codes: 0 all done; 1 error; 3 or 4 this run quarantined a commit, by policy
or for lack of sign-off; 5 something failed or is left to do.
` + forgeHelp,
		Example: "  countersign apply\n  countersign apply --dry-run\n  countersign apply --application warehouse",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.pass(c.Context(), reconciler.RunOptions{DryRun: o.dryRun}, false)
		},
	}
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "plan only: write nothing, neither to applications nor to the ledger")
	o.flags(c)
	return c
}
