package cli

import (
	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler"
)

// driftOptions configures drift.
type driftOptions struct {
	passOptions
	enforce, exitCode bool
}

func newDriftCommand(a *app) *cobra.Command {
	o := &driftOptions{passOptions: passOptions{app: a}}
	c := &cobra.Command{
		Use:   "drift",
		Short: "Compare live applications with the approved state",
		Long: `Reports where an application differs from the approved state, because somebody
changed it by hand or a change is still pending. With --enforce, differences
are corrected and read back. Without it, no application is changed. The ledger
records differences when they appear and when they end, and the folder of the
state gets a cache of what was seen, for status.

Exit codes: 0 no drift, or drift corrected; 1 error; 2 something differs, with
--exit-code; with --enforce, 3 or 4 this run quarantined a commit, 5 something
failed or is left to do.
` + forgeHelp,
		Example: "  countersign drift --exit-code\n  countersign drift --enforce --application warehouse",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.pass(c.Context(), reconciler.RunOptions{Drift: true, Enforce: o.enforce}, o.exitCode)
		},
	}
	c.Flags().BoolVar(&o.enforce, "enforce", false, "correct differences")
	c.Flags().BoolVar(&o.exitCode, "exit-code", false, "exit with 2 if something differs")
	o.flags(c)
	return c
}
