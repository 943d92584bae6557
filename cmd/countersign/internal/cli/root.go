package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newRootCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "countersign",
		Short: "Access requests in Git: reviewed, applied and verified",
		Long: `countersign manages access through Git. A request is a YAML file in a pull
request. The preview shows exactly what would change in the live application,
and what policy decides. Reviewers sign off by approving. Once merged, the
change is applied, read back and recorded.

Exit codes: 0 done, nothing pending; 1 error; 2 difference found (with
--exit-code); 3 denied by policy; 4 sign-off missing; 5 something failed
or is left to do.`,
		Example: `  countersign demo          # a complete walkthrough, in a temporary folder
  countersign init          # create a new access repository here
  countersign preview       # show what this branch would change`,
		Version:       programVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noSuchCommand,
		RunE:          showHelp,
	}
	c.AddCommand(
		newDemoCommand(a), newInitCommand(a), newValidateCommand(a), newPreviewCommand(a), newApplyCommand(a), newDriftCommand(a),
		newStatusCommand(a), newFulfilCommand(a), newAccessCommand(a), newAuditCommand(a), newServeCommand(a), newDoctorCommand(a),
		newConnectorCommand(a), newPolicyCommand(a), newSchemaCommand(a), newVersionCommand(a), newManCommand(a), newPolicyChildCommand(a),
	)
	c.SetVersionTemplate("countersign {{.Version}}\n")
	c.SetHelpCommand(newHelpCommand())
	c.SetUsageFunc(printUsage)
	c.CompletionOptions.HiddenDefaultCmd, c.SuggestionsMinimumDistance = true, 2
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		var format *formatError
		if errors.As(err, &format) {
			return format
		}
		return fmt.Errorf("%w; %s --help lists the flags", err, c.CommandPath())
	})
	return c
}

// showHelp is the action of commands that only have subcommands.
func showHelp(c *cobra.Command, _ []string) error { return c.Help() }

// noSuchCommand refuses an argument in the place of a command.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "? "
	}
	return fmt.Errorf("unknown command %q; %s%s --help lists the commands", args[0], hint, c.CommandPath())
}
