package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/connectortest/suite"
	"github.com/countersign/countersign/connectors/exec"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/schemas"
)

func (a *app) connector() *cobra.Command {
	c := &cobra.Command{
		Use:     "connector",
		Short:   "List what connectors can do, and test one of your own",
		Example: "  countersign connector list\n  countersign connector test ./my-connector --test-hand",
		Args:    noSuchCommand,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(a.connectorList(), a.connectorTest())
	return c
}

func (a *app) connectorList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Print what each connector can do with each type of connection",
		Long: `Prints for each connector, those that --exec binds included, its types of connections, whether they can be
created, updated, deleted and what they own be given to another, and what may be given to them.`,
		Example: "  countersign connector list\n  countersign connector list --format markdown\n  countersign connector list --exec hr=/opt/hr/connector --format json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.listConnectors(c.Context(), "") },
	}
}

// listConnectors prints the table of all connectors, or of one.
func (a *app) listConnectors(ctx context.Context, only string) error {
	if err := a.checkFormat(); err != nil {
		return err
	}
	registry, err := a.registry(ctx)
	if err != nil {
		return err
	}
	list := &schemas.ConnectorList{APIVersion: schemas.APIVersion, Kind: "Connectors"}
	for _, name := range registry.Names() {
		if k, ok := registry.Get(name); ok && (only == "" || name == only) {
			list.Connectors = append(list.Connectors, k.Describe())
		}
	}
	return a.print(list)
}

// trial is how connector test was called.
type trial struct {
	path         string
	args         []string
	config, hand string
	own          bool
	env          []string
	run          string
}

func (a *app) connectorTest() *cobra.Command {
	var o trial
	c := &cobra.Command{
		Use:   "test [PATH|NAME] [-- ARGUMENT...]",
		Short: "Hold a connector in a program of its own to the contract, as those of countersign are held",
		Long: `Runs the suite that every connector passes on the program PATH. What follows -- goes to the program.

The suite makes and removes accounts, groups and privileges in applications that an outside hand starts for it: a
program that changes the application without the connector's code (countersign schema connector-request, type
test). --hand names it; with --test-hand it is the connector's program itself, called with the argument --test-hand.

Without a hand a reduced set of cases runs, which changes nothing: with --config they read the application that the
file is about; without it only the description is looked at.

Without an argument, or with the name of a connector of countersign's own, the table of connector list is printed:
those are tested where they are made.

Exit codes: 0 all cases passed or were skipped; 1 a case failed, or the program cannot be run.`,
		Example: "  countersign connector test ./my-connector --test-hand\n  countersign connector test ./my-connector --hand ./my-hand --run 'grant|bad input'\n" +
			"  countersign connector test ./my-connector --config applications/hr.yaml --env HR_TOKEN\n  countersign connector test postgres",
		Args: func(c *cobra.Command, args []string) error {
			if n := c.ArgsLenAtDash(); n > 1 || n < 0 && len(args) > 1 || n == 0 {
				return errors.New("one program is tested at a time; its arguments follow --")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listConnectors(c.Context(), "")
			}
			o.path, o.args = args[0], args[1:]
			return a.testConnector(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.config, "config", "", "a file with the application's config, or its document: read, and never changed")
	f.StringVar(&o.hand, "hand", "", "the program that is the outside hand")
	f.BoolVar(&o.own, "test-hand", false, "the connector's program is the outside hand too, when it is called with --test-hand")
	f.StringSliceVar(&o.env, "env", nil, "variables that the programs inherit beside PATH, HOME and the locale")
	f.StringVar(&o.run, "run", "", "only cases whose name matches this regular expression")
	return c
}

var notWord = regexp.MustCompile(`[^a-z0-9]+`)

// testedName makes a connector's name of a program's.
func testedName(path string) string {
	name := strings.Trim(notWord.ReplaceAllString(strings.ToLower(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))), "_"), "_")
	if name == "" || name[0] < 'a' {
		name = "tested"
	}
	return name
}

func (a *app) testConnector(ctx context.Context, o trial) (err error) {
	if err := a.checkFormat(); err != nil {
		return err
	}
	match, err := regexp.Compile(o.run)
	if err != nil {
		return fmt.Errorf("--run: %w", err)
	}
	if o.hand != "" && o.own || o.config != "" && (o.hand != "" || o.own) {
		return errors.New("--config, --hand and --test-hand go one without the other: a hand brings its own applications")
	}
	registry, err := a.registry(ctx)
	if err != nil {
		return err
	}
	bindings, err := a.bindings()
	if err != nil {
		return err
	}
	cfg := exec.Config{Args: o.args, Env: a.environ(o.env...), Logger: a.logger()}
	_, known := registry.Get(o.path)
	for _, b := range bindings {
		if b.Name == o.path {
			cfg.Path, cfg.Args, cfg.Env = b.Path, append(b.Args, o.args...), append(b.Env, a.environ(o.env...)[len(a.environ()):]...)
		}
	}
	switch {
	case known && cfg.Path == "":
		return a.listConnectors(ctx, o.path)
	case cfg.Path == "":
		if cfg.Path, err = program(o.path); err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return fmt.Errorf("%s is not executable: chmod +x makes it so", o.path)
			}
			return fmt.Errorf("there is no program %s, and no connector of that name (%s)", o.path, strings.Join(registry.Names(), ", "))
		}
		cfg.Name = testedName(cfg.Path)
	default:
		cfg.Name = o.path
	}
	k, err := exec.New(ctx, cfg)
	if err != nil {
		return err
	}
	cases, reduced, end, err := a.cases(ctx, k, cfg, o)
	if err != nil {
		return err
	}
	done := 0
	rep := suite.Runner{Now: a.Now, Match: match.MatchString, Done: func(c schemas.ConformanceCase) {
		done++
		a.progress(c.Name, done, 0)
	}}.Run(ctx, cases)
	if o.run != "" {
		reduced = strings.TrimPrefix(reduced+"; only the cases ran that --run matches", "; ")
	}
	rep.Title, rep.Reduced = k.Describe().Title, reduced
	if err := errors.Join(end(), ctx.Err()); err != nil {
		return err
	}
	if len(rep.Cases) == 0 {
		return fmt.Errorf("--run %s matches no case", o.run)
	}
	if err := a.print(rep); err != nil {
		return err
	}
	if rep.Failed > 0 {
		return &exit{code: exitError}
	}
	return nil
}

// cases are what is to be run, why it is not all, and how to end the hand.
func (a *app) cases(ctx context.Context, k connectors.Connector, cfg exec.Config, o trial) (cases func(*suite.Case), reduced string, end func() error, err error) {
	end = func() error { return nil }
	base := connectors.Config{Application: "conformance", Now: a.Now, Logger: a.logger()}
	switch {
	case o.hand != "" || o.own:
		hand := cfg
		hand.Name = cfg.Name + "_hand"
		hand.Args = append(append([]string{}, cfg.Args...), "--test-hand")
		if o.hand != "" {
			if hand.Path, err = program(o.hand); err != nil {
				return nil, "", nil, fmt.Errorf("--hand %s: there is no such program", o.hand)
			}
			hand.Args = nil
		}
		h, err := exec.OpenHand(ctx, hand)
		if err != nil {
			return nil, "", nil, fmt.Errorf("the outside hand: %w", err)
		}
		harness, err := suite.FromHand(ctx, k, h, base)
		if err != nil {
			return nil, "", nil, errors.Join(fmt.Errorf("the outside hand: %w", err), h.Close())
		}
		return func(c *suite.Case) { suite.Run(c, harness) }, "", h.Close, nil
	case o.config != "":
		if base.Values, err = readConfig(o.config); err != nil {
			return nil, "", nil, fmt.Errorf("--config %s: %w", o.config, err)
		}
		if base.Directory, err = a.directory(); err != nil {
			return nil, "", nil, err
		}
		return func(c *suite.Case) { suite.RunReduced(c, k, &base) }, "nothing was changed, so nothing is known of creating, granting, revoking and deleting; an outside hand (--hand or --test-hand) makes all cases run", end, nil
	}
	return func(c *suite.Case) { suite.RunReduced(c, k, nil) }, "no application was opened; --config makes the cases run that read one, an outside hand (--hand or --test-hand) all", end, nil
}

// readConfig reads a config, by itself or within its Application, and resolves its secrets.
func readConfig(path string) (map[string]any, error) {
	b, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, errors.New("it is no YAML or JSON mapping")
	}
	if doc["kind"] == string(schemas.KindApplication) {
		spec, _ := doc["spec"].(map[string]any)
		doc, _ = spec["config"].(map[string]any)
	}
	if doc == nil {
		doc = map[string]any{}
	}
	return reconciler.ResolveSecrets(doc, false)
}
