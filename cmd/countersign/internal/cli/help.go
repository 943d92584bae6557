package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Show help for a command",
		Long:    "Shows help for a command, as COMMAND --help does.",
		Example: "  countersign help apply\n  countersign help audit export",
		RunE: func(c *cobra.Command, args []string) error {
			found, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("unknown command %q; %s --help lists the commands", strings.Join(args, " "), c.Root().Name())
			}
			found.InitDefaultHelpFlag()
			found.InitDefaultVersionFlag()
			return found.Help()
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			found, _, err := c.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range found.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// printUsage prints how a command is called, within 80 columns and with the shared flags in groups of their own.
func printUsage(c *cobra.Command) error {
	w := c.OutOrStderr()
	fmt.Fprintln(w, "Usage:")
	if c.Runnable() && !c.HasAvailableSubCommands() {
		fmt.Fprintln(w, "  "+c.UseLine())
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintln(w, "  "+c.CommandPath()+" COMMAND [flags]")
	}
	if c.HasExample() {
		fmt.Fprintln(w, "\nExamples:\n"+c.Example)
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintln(w, "\nCommands:")
		var listed []*cobra.Command
		width := 0
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() || sub.Name() == "help" {
				listed = append(listed, sub)
				width = max(width, len(sub.Name()))
			}
		}
		for _, sub := range listed {
			fmt.Fprintf(w, "  %-*s  %s\n", width, sub.Name(), sub.Short)
		}
	}
	printFlags(w, c.LocalFlags())
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\n%s COMMAND --help shows more about a command.\n", c.CommandPath())
	}
	return nil
}

// switchValue hides from pflag that a flag is boolean, so that help shows its name alone.
type switchValue struct{ pflag.Value }

// printFlags prints the flags of a command, its own ones first.
func printFlags(w io.Writer, flags *pflag.FlagSet) {
	groups := map[string]*pflag.FlagSet{}
	flags.VisitAll(func(f *pflag.Flag) {
		name := ""
		if g := f.Annotations[annotationGroup]; len(g) > 0 {
			name = g[0]
		}
		if groups[name] == nil {
			groups[name] = pflag.NewFlagSet(name, pflag.ContinueOnError)
		}
		shown := *f
		if f.Value.Type() == "bool" {
			// pflag prints every boolean flag as --name[=true|false].
			shown.Value, shown.NoOptDefVal = switchValue{f.Value}, ""
		}
		groups[name].AddFlag(&shown)
	})
	for _, name := range []string{"", groupState, groupConnectors} {
		if g := groups[name]; g != nil && g.HasAvailableFlags() {
			title := name
			if title == "" {
				title = "Flags"
			}
			fmt.Fprintf(w, "\n%s:\n%s", title, g.FlagUsagesWrapped(textWidth))
		}
	}
}
