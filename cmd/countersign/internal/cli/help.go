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
		Use:     "help [COMMAND|GUIDE]",
		Short:   "Show help for a command, or a guide",
		Long:    "Shows help for a command, as COMMAND --help does, or prints a guide.",
		Example: "  countersign help apply\n  countersign help audit export\n  countersign help reviewing",
		RunE: func(c *cobra.Command, args []string) error {
			found, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return fmt.Errorf("unknown command or guide %q; %s --help lists both", strings.Join(args, " "), c.Root().Name())
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
				if sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand() {
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
	printCommands(w, "Commands", c, func(sub *cobra.Command) bool { return sub.IsAvailableCommand() || sub.Name() == "help" })
	printCommands(w, "Guides", c, (*cobra.Command).IsAdditionalHelpTopicCommand)
	printFlags(w, c.LocalFlags())
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\n%s COMMAND --help shows more about a command.\n", c.CommandPath())
	}
	if c.HasHelpSubCommands() {
		fmt.Fprintf(w, "%s help GUIDE prints a guide.\n", c.CommandPath())
	}
	return nil
}

// printCommands lists some of the commands below c, aligned among themselves.
func printCommands(w io.Writer, title string, c *cobra.Command, listed func(*cobra.Command) bool) {
	widest := 0
	var list []*cobra.Command
	for _, sub := range c.Commands() {
		if listed(sub) {
			list, widest = append(list, sub), max(widest, len(sub.Name()))
		}
	}
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", title)
	for _, sub := range list {
		fmt.Fprintf(w, "  %-*s  %s\n", widest, sub.Name(), sub.Short)
	}
}

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
		groups[name].AddFlag(withoutValue(f))
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

// withoutValue returns a flag whose help line is --force rather than --force[=true|false].
func withoutValue(f *pflag.Flag) *pflag.Flag {
	if f.Value.Type() != "bool" {
		return f
	}
	c := *f
	c.Value = struct{ pflag.Value }{f.Value}
	return &c
}
