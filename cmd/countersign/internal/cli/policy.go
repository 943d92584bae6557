package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

func newPolicyCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "policy",
		Short:   "List the built-in rules, and test policy",
		Example: "  countersign policy rules\n  countersign policy test --coverage",
		Args:    noSuchCommand,
		RunE:    showHelp,
	}
	c.AddCommand(newPolicyRulesCommand(a), newPolicyTestCommand(a))
	return c
}

// policyRulesOptions configures policy rules.
type policyRulesOptions struct{ *app }

func newPolicyRulesCommand(a *app) *cobra.Command {
	o := &policyRulesOptions{a}
	c := &cobra.Command{
		Use:     "rules",
		Short:   "List the built-in rules",
		Long:    "Lists the built-in rules with their codes, their severities, and the data in\npolicy/data.yaml that tunes them.",
		Example: "  countersign policy rules\n  countersign policy rules --format json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return o.run() },
	}
	formatFlag(c, &a.format, formatText, formatJSON)
	return c
}

func (o *policyRulesOptions) run() error {
	docs := policy.Rules()
	if o.format == formatJSON {
		return report.JSON(o.Stdout, &schemas.PolicyRules{Rules: docs})
	}
	for _, d := range docs {
		fmt.Fprintf(o.Stdout, "%s  %-7s  %s\n", d.Code, d.Severity, d.Title)
		fmt.Fprint(o.Stdout, layout.Fill(strings.Join(strings.Fields(d.Description), " "), o.Width, "        "))
	}
	return nil
}

// policyTestOptions configures policy test.
type policyTestOptions struct {
	*app
	run       string
	coverage  bool
	failUnder float64
}

func newPolicyTestCommand(a *app) *cobra.Command {
	o := &policyTestOptions{app: a}
	c := &cobra.Command{
		Use:   "test",
		Short: "Run the Rego tests of the library and the policy folder",
		Long: `Runs every *_test.rego of the built-in library and of the policy folder in
--repo, with the restricted built-ins that judgements use. You don't need to
install opa.

Exit codes: 0 all tests passed; 1 a test failed or couldn't run, or coverage is
below --fail-under.`,
		Example: "  countersign policy test\n  countersign policy test --run weekend --coverage --fail-under 90",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.test(c.Context()) },
	}
	f := c.Flags()
	f.StringVar(&o.run, "run", "", "only tests whose name matches this regular `EXPRESSION`")
	f.BoolVar(&o.coverage, "coverage", false, "report how much of the rules the tests cover")
	f.Float64Var(&o.failUnder, "fail-under", 0, "fail if coverage is below this `PERCENTAGE`")
	formatFlag(c, &a.format, formatText, formatJSON)
	a.repositoryFlag(c)
	a.verboseFlag(c)
	return c
}

func (o *policyTestOptions) test(ctx context.Context) (err error) {
	modules, data, err := reconciler.ReadPolicy(o.repo)
	if err != nil {
		return err
	}
	engine, err := policy.New(policy.Config{Modules: modules, Data: data, Logger: o.logger()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	rep, err := engine.Test(ctx, policy.TestOptions{Run: o.run, Coverage: o.coverage || o.failUnder > 0})
	if err != nil {
		return err
	}
	if o.format == formatJSON {
		if err := report.JSON(o.Stdout, &rep); err != nil {
			return err
		}
	} else {
		o.printTests(&rep)
	}
	if !rep.OK() {
		return &exit{code: exitError}
	}
	if o.failUnder > 0 && rep.OwnRules > 0 && rep.OwnCoverage < o.failUnder {
		return fmt.Errorf("the tests cover %.1f %% of the repository's own rules, less than %.1f %%", rep.OwnCoverage, o.failUnder)
	}
	return nil
}

// printTests lists failed tests, then totals.
func (o *policyTestOptions) printTests(rep *schemas.PolicyTestReport) {
	for _, t := range rep.Results {
		if t.Outcome == "pass" && !o.verbose {
			continue
		}
		fmt.Fprintf(o.Stdout, "%-5s %s (%s:%d)", strings.ToUpper(t.Outcome), report.Safe(t.Name), report.Safe(t.Position.Path), t.Position.Line)
		if t.Message != "" {
			fmt.Fprintf(o.Stdout, ": %s", report.Safe(t.Message))
		}
		fmt.Fprintln(o.Stdout)
	}
	fmt.Fprintf(o.Stdout, "%d tests passed, %d failed, %d could not run\nThe repository's own: %d rules, %d tests\n",
		rep.Passed, rep.Failed, rep.Errors, rep.OwnRules, rep.OwnTests)
	if rep.NoOwnTests {
		fmt.Fprintln(o.Stdout, "No tests of the repository's own rules ran; add NAME_test.rego beside them.")
	}
	if !o.coverage {
		return
	}
	fmt.Fprintf(o.Stdout, "coverage: library %.1f %%", rep.LibraryCoverage)
	if rep.OwnRules > 0 {
		fmt.Fprintf(o.Stdout, ", own rules %.1f %%", rep.OwnCoverage)
	}
	fmt.Fprintln(o.Stdout)
	for _, f := range rep.Files {
		if f.Percent < 100 {
			fmt.Fprint(o.Stdout, layout.Fill(fmt.Sprintf("%s: %.1f %%, lines not covered: %v", report.Safe(f.Path), f.Percent, f.NotCovered), o.Width, "  "))
		}
	}
}

const policyChildCommand = "policy-child"

// newPolicyChildCommand is the child process that evaluates a repository's own rules: with an empty environment,
// bounded memory, and all its input on standard input.
func newPolicyChildCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    policyChildCommand,
		Hidden: true,
		Args:   cobra.NoArgs,
		Short:  "Evaluate a repository's own rules (started by countersign itself)",
		RunE: func(c *cobra.Command, _ []string) error {
			return policy.ServeChild(c.Context(), a.Stdin, a.Stdout, policy.ChildLimits{})
		},
	}
}
