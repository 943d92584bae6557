package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/countersign/countersign/reconciler/ledger/branch"
)

// The groups under which help lists the flags that several commands share.
const (
	groupState      = "Repository and ledger"
	groupConnectors = "Connectors in separate programs"
)

// inGroup marks the flags added by add as a group of a command.
func inGroup(c *cobra.Command, group string, add func(*pflag.FlagSet)) {
	set := pflag.NewFlagSet(group, pflag.ContinueOnError)
	add(set)
	set.VisitAll(func(f *pflag.Flag) { f.Annotations = map[string][]string{annotationGroup: {group}} })
	c.Flags().AddFlagSet(set)
}

const annotationGroup = "countersign_group"

// repositoryFlag adds --repo, for commands that read the access repository's files.
func (a *app) repositoryFlag(c *cobra.Command) {
	inGroup(c, groupState, func(f *pflag.FlagSet) {
		a.repo = "."
		f.Var(repositoryValue{a}, "repo", "`DIR` of the access repository: a work tree, a folder in it, or a bare clone, which is used only if it is named")
	})
}

// repositoryValue is the value of --repo. It remembers that the operator named a repository.
type repositoryValue struct{ app *app }

func (v repositoryValue) String() string {
	if v.app == nil {
		return ""
	}
	return v.app.repo
}

func (v repositoryValue) Type() string { return "string" }

func (v repositoryValue) Set(s string) error {
	v.app.repo, v.app.repoNamed = s, true
	return nil
}

// ledgerFlags adds the flags of commands that read the ledger.
func (a *app) ledgerFlags(c *cobra.Command) {
	a.repositoryFlag(c)
	inGroup(c, groupState, func(f *pflag.FlagSet) {
		f.StringVar(&a.branchName, "branch", "", "the `BRANCH` whose merges take effect (default: main, whatever the checkout is)")
		a.stateFlag(f)
		f.StringVar(&a.ledgerKeyFile, "ledger-key", "", "`FILE` of the private key that signs the ledger (default: $COUNTERSIGN_LEDGER_KEY, $COUNTERSIGN_LEDGER_KEY_FILE, or ledger.key in the state folder)")
		f.StringVar(&a.ledgerBranch, "ledger-branch", "", "also keep the ledger on this `BRANCH` of the access repository, for ephemeral runners: "+branch.DefaultName)
		f.StringVar(&a.ledgerAnchor, "ledger-anchor", "", "full `HASH` of a commit that the ledger's branch must contain")
	})
	a.verboseFlag(c)
}

func (a *app) stateFlag(f *pflag.FlagSet) {
	f.StringVar(&a.state, "state", "", "`DIR` of the ledger and the index (default: $COUNTERSIGN_STATE, or countersign/ inside the Git directory)")
}

// reconcilerFlags adds the flags of commands that judge changes or read applications.
func (a *app) reconcilerFlags(c *cobra.Command) {
	a.ledgerFlags(c)
	inGroup(c, groupState, func(f *pflag.FlagSet) {
		a.secretsFlag(f)
		f.StringVar(&a.anchor, "anchor", "", "full `HASH` of the commit where trust starts (default: the one that first added countersign.yaml)")
	})
	a.connectorFlags(c)
}

// secretsFlag adds --secrets, for commands that open applications.
func (a *app) secretsFlag(f *pflag.FlagSet) {
	f.StringArrayVar(&a.allowed, "secrets", nil, "`PATTERNS` of the variables and files that applications may use as secrets, such as WAREHOUSE_*,/run/secrets/* (repeatable; also $COUNTERSIGN_SECRETS; default: none)")
}

// connectorFlags adds the flags that bind connectors to programs.
func (a *app) connectorFlags(c *cobra.Command) {
	inGroup(c, groupConnectors, func(f *pflag.FlagSet) {
		f.StringArrayVar(&a.execs, "exec", nil, "`NAME=PATH`: run the program PATH as the connector NAME (repeatable; also $COUNTERSIGN_EXEC, separated by "+string(os.PathListSeparator)+")")
		f.StringArrayVar(&a.execArgs, "exec-arg", nil, "`NAME=ARG`: pass an argument to that program (repeatable)")
		f.StringArrayVar(&a.execEnv, "exec-env", nil, "`NAME=VAR1,VAR2`: pass variables to that program, besides PATH, HOME and the locale")
	})
	a.verboseFlag(c)
}

func (a *app) verboseFlag(c *cobra.Command) {
	if c.Flags().Lookup("verbose") == nil {
		c.Flags().BoolVar(&a.verbose, "verbose", false, "log more to standard error")
	}
}

// applicationFlag adds --application, for commands that can be limited to one.
func (a *app) applicationFlag(c *cobra.Command) {
	c.Flags().StringVar(&a.application, "application", "", "only the application `NAME`")
}

// toFlag adds --to, for commands that read the branch's history.
func toFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "to", "", "read the history up to this `REVISION` (default: the tip of the branch)")
}

// The output formats.
const (
	formatText     = "text"
	formatMarkdown = "markdown"
	formatJSON     = "json"
)

// formatFlag adds --format with the formats that a command has; the first is the default.
func formatFlag(c *cobra.Command, format *string, formats ...string) {
	v := &formatValue{format: format, formats: formats, text: formats[0]}
	c.Flags().Var(v, "format", "output `FORMAT`: "+alternatives(formats))
	if err := c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was added just now
	}
}

// formatValue is the value of --format: one of the formats that the command has.
type formatValue struct {
	format  *string
	formats []string
	text    string
}

func (v *formatValue) String() string { return v.text }

func (v *formatValue) Type() string { return "string" }

func (v *formatValue) Set(s string) error {
	if !slices.Contains(v.formats, s) {
		return &formatError{s, v.formats}
	}
	v.text, *v.format = s, s
	return nil
}

// formatError refuses a format that the command doesn't have.
type formatError struct {
	format  string
	formats []string
}

func (e *formatError) Error() string {
	return fmt.Sprintf("--format %s: expected %s", e.format, alternatives(e.formats))
}

// alternatives is "a, b or c".
func alternatives(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}
