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
	"github.com/countersign/countersign/schemas"
)

// connectorTestOptions configures connector test.
type connectorTestOptions struct {
	*app
	path         string
	args         []string
	config, hand string
	own          bool // the program is its own hand
	env          []string
	run          string
}

func newConnectorTestCommand(a *app) *cobra.Command {
	o := &connectorTestOptions{app: a}
	c := &cobra.Command{
		Use:   "test [PATH|NAME] [-- ARGUMENT...]",
		Short: "Test a connector in a separate program",
		Long: `Runs the conformance suite that every connector passes on the program PATH.
Arguments after -- go to the program.

The suite creates and removes accounts, groups and privileges. It needs an
outside hand: a program that starts test applications and changes them without
the connector's code (countersign schema connector-request, type test). --hand
names the program. With --test-hand it is the connector's own program, called
with the argument --test-hand.

Without a hand, a reduced set of cases runs, which changes nothing. With
--config, these cases read the application in that file; without it, they only
check the description.

Without an argument, or with the name of a built-in connector, prints the table
of connector list: built-in connectors are tested in their own source.

Exit codes: 0 all cases passed or were skipped; 1 a case failed, or the program
couldn't run.`,
		Example: `  countersign connector test ./my-connector --test-hand
  countersign connector test ./my-connector --hand ./my-hand --run '^grant'
  countersign connector test ./my-connector --env HR_TOKEN \
    --config applications/hr.yaml
  countersign connector test postgres`,
		Args: func(c *cobra.Command, args []string) error {
			if n := c.ArgsLenAtDash(); n > 1 || n < 0 && len(args) > 1 || n == 0 {
				return errors.New("expected one program; its arguments follow --")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return o.listConnectors(c.Context(), "")
			}
			o.path, o.args = args[0], args[1:]
			return o.test(c.Context())
		},
	}
	f := c.Flags()
	f.StringVar(&o.config, "config", "", "`FILE` with the application's config or document; the application is only read")
	f.StringVar(&o.hand, "hand", "", "the `PROGRAM` that serves as the outside hand")
	f.BoolVar(&o.own, "test-hand", false, "the connector's program is also the outside hand, when called with --test-hand")
	f.StringSliceVar(&o.env, "env", nil, "`VARIABLES` to pass to the programs, besides PATH, HOME and the locale")
	f.StringVar(&o.run, "run", "", "only cases whose name matches this regular `EXPRESSION`")
	formatFlag(c, &a.format, formatText, formatMarkdown, formatJSON)
	a.repositoryFlag(c)
	inGroup(c, groupState, a.secretsFlag)
	a.connectorFlags(c)
	return c
}

var notWord = regexp.MustCompile(`[^a-z0-9]+`)

// testedName makes a connector's name from a program's.
func testedName(path string) string {
	name := strings.Trim(notWord.ReplaceAllString(strings.ToLower(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))), "_"), "_")
	if name == "" || name[0] < 'a' {
		name = "tested"
	}
	return name
}

func (o *connectorTestOptions) test(ctx context.Context) (err error) {
	match, err := regexp.Compile(o.run)
	if err != nil {
		return fmt.Errorf("--run: %w", err)
	}
	if o.hand != "" && o.own || o.config != "" && (o.hand != "" || o.own) {
		return errors.New("--config, --hand and --test-hand can't be combined: a hand brings its own applications")
	}
	registry, err := o.registry(ctx)
	if err != nil {
		return err
	}
	bindings, err := o.bindings()
	if err != nil {
		return err
	}
	cfg := exec.Config{Args: o.args, Env: o.environ(o.env...), Logger: o.logger()}
	_, known := registry.Get(o.path)
	for _, b := range bindings {
		if b.Name == o.path {
			cfg.Path, cfg.Args, cfg.Env = b.Path, append(b.Args, o.args...), append(b.Env, o.environ(o.env...)[len(o.environ()):]...)
		}
	}
	switch {
	case known && cfg.Path == "":
		return o.listConnectors(ctx, o.path)
	case cfg.Path == "":
		if cfg.Path, err = program(o.path); err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return fmt.Errorf("%s is not executable; run chmod +x %s", o.path, o.path)
			}
			return fmt.Errorf("%s: no such program or connector (%s)", o.path, strings.Join(registry.Names(), ", "))
		}
		cfg.Name = testedName(cfg.Path)
	default:
		cfg.Name = o.path
	}
	k, err := exec.New(ctx, cfg)
	if err != nil {
		return err
	}
	cases, reduced, end, err := o.cases(ctx, k, cfg)
	if err != nil {
		return err
	}
	done := 0
	rep := suite.Runner{Now: o.Now, Match: match.MatchString, Done: func(c schemas.ConformanceCase) {
		done++
		o.progress(c.Name, done, 0)
	}}.Run(ctx, cases)
	if o.run != "" {
		reduced = strings.TrimPrefix(reduced+"; only the cases that match --run ran", "; ")
	}
	rep.Title, rep.Reduced = k.Describe().Title, reduced
	if err := errors.Join(end(), ctx.Err()); err != nil {
		return err
	}
	if len(rep.Cases) == 0 {
		return fmt.Errorf("--run %s matches no case", o.run)
	}
	if err := o.print(rep); err != nil {
		return err
	}
	if rep.Failed > 0 {
		return &exit{code: exitError}
	}
	return nil
}

// cases returns the cases to run, why some are left out, and how to end the hand.
func (o *connectorTestOptions) cases(ctx context.Context, k connectors.Connector, cfg exec.Config) (cases func(*suite.Case), reduced string, end func() error, err error) {
	end = func() error { return nil }
	base := connectors.Config{Application: "conformance", Now: o.Now, Logger: o.logger()}
	switch {
	case o.hand != "" || o.own:
		hand := cfg
		hand.Name = cfg.Name + "_hand"
		hand.Args = append(append([]string{}, cfg.Args...), "--test-hand")
		if o.hand != "" {
			if hand.Path, err = program(o.hand); err != nil {
				return nil, "", nil, fmt.Errorf("--hand %s: no such program", o.hand)
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
		if base.Values, err = o.readConfig(o.config); err != nil {
			return nil, "", nil, fmt.Errorf("--config %s: %w", o.config, err)
		}
		if base.Directory, err = o.directory(); err != nil {
			return nil, "", nil, err
		}
		return func(c *suite.Case) { suite.RunReduced(c, k, &base) }, "nothing was changed, so creating, granting, revoking and deleting are untested; with an outside hand (--hand or --test-hand), all cases run", end, nil
	}
	return func(c *suite.Case) { suite.RunReduced(c, k, nil) }, "no application was opened; with --config, the cases that read one run, and with an outside hand (--hand or --test-hand), all cases", end, nil
}

// readConfig reads a config, alone or in its Application, and resolves its secrets.
func (o *connectorTestOptions) readConfig(path string) (map[string]any, error) {
	b, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, errors.New("not a YAML or JSON mapping")
	}
	if doc["kind"] == string(schemas.KindApplication) {
		spec, _ := doc["spec"].(map[string]any)
		doc, _ = spec["config"].(map[string]any)
	}
	if doc == nil {
		doc = map[string]any{}
	}
	return o.secretStore().Resolve(doc, false)
}
