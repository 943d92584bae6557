package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/examples"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/audit"
	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/jsonschema"
	"github.com/countersign/countersign/schemas/strict"
)

const policyChildCommand = "policy-child"

// policyChild is this program as the child that evaluates a repository's own rules: no environment, bounded
// memory, told everything on standard input.
func (a *app) policyChild() *cobra.Command {
	return &cobra.Command{
		Use: policyChildCommand, Hidden: true, Args: cobra.NoArgs,
		Short: "Evaluate a repository's own rules (started by countersign itself)",
		RunE: func(c *cobra.Command, _ []string) error {
			return policy.ServeChild(c.Context(), a.Stdin, a.Stdout, policy.ChildLimits{})
		},
	}
}

func (a *app) policy() *cobra.Command {
	c := &cobra.Command{
		Use:     "policy",
		Short:   "List the built-in rules, and test them with the repository's own",
		Example: "  countersign policy rules\n  countersign policy test --coverage",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	rules := &cobra.Command{
		Use: "rules", Short: "List the built-in rules", Example: "  countersign policy rules --format json", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.checkFormat(); err != nil {
				return err
			}
			docs := policy.Rules()
			if a.format == "json" {
				return report.JSON(a.Stdout, &schemas.PolicyRules{Rules: docs})
			}
			for _, d := range docs {
				fmt.Fprintf(a.Stdout, "%s  %-7s  %s\n", d.Code, d.Severity, d.Title)
				for _, line := range strings.Split(strings.TrimSpace(d.Description), "\n") {
					fmt.Fprintf(a.Stdout, "        %s\n", strings.TrimSpace(line))
				}
			}
			return nil
		},
	}
	var run string
	var coverage bool
	var under float64
	test := &cobra.Command{
		Use: "test", Short: "Run the Rego tests of the built-in library and of the repository's policy folder",
		Long: `Runs every *_test.rego of the built-in library and of the policy folder as it lies in --repo, with the same
restricted built-ins as a judgement. It needs no opa on the machine.`,
		Example: "  countersign policy test\n  countersign policy test --run weekend --coverage --fail-under 90", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if err := a.checkFormat(); err != nil {
				return err
			}
			modules, data, err := reconciler.ReadPolicy(a.repo)
			if err != nil {
				return err
			}
			engine, err := policy.New(policy.Config{Modules: modules, Data: data, Logger: a.logger()})
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, engine.Close()) }()
			rep, err := engine.Test(c.Context(), policy.TestOptions{Run: run, Coverage: coverage || under > 0})
			if err != nil {
				return err
			}
			if a.format == "json" {
				if err := report.JSON(a.Stdout, &rep); err != nil {
					return err
				}
			} else {
				a.printTests(&rep, coverage)
			}
			if !rep.OK() {
				return &exit{code: exitError}
			}
			if under > 0 && rep.OwnRules > 0 && rep.OwnCoverage < under {
				return fmt.Errorf("the tests reach %.1f %% of the repository's own rules, less than %.1f %%", rep.OwnCoverage, under)
			}
			return nil
		},
	}
	test.Flags().StringVar(&run, "run", "", "only tests whose name matches this regular expression")
	test.Flags().BoolVar(&coverage, "coverage", false, "say how much of the rules the tests run")
	test.Flags().Float64Var(&under, "fail-under", 0, "fail when coverage is under this many per cent")
	c.AddCommand(rules, test)
	return c
}

// printTests lists what failed, then the sums.
func (a *app) printTests(rep *policy.TestReport, coverage bool) {
	for _, t := range rep.Results {
		if t.Outcome == "pass" && !a.verbose {
			continue
		}
		fmt.Fprintf(a.Stdout, "%-5s %s (%s:%d)", strings.ToUpper(t.Outcome), report.Safe(t.Name), report.Safe(t.Position.Path), t.Position.Line)
		if t.Message != "" {
			fmt.Fprintf(a.Stdout, ": %s", report.Safe(t.Message))
		}
		fmt.Fprintln(a.Stdout)
	}
	fmt.Fprintf(a.Stdout, "%d tests passed, %d failed, %d could not run; of the repository's own: %d rules, %d tests\n",
		rep.Passed, rep.Failed, rep.Errors, rep.OwnRules, rep.OwnTests)
	if rep.NoOwnTests {
		fmt.Fprintln(a.Stdout, "No test of the repository's own rules ran: write NAME_test.rego beside them.")
	}
	if !coverage {
		return
	}
	fmt.Fprintf(a.Stdout, "coverage: library %.1f %%", rep.LibraryCoverage)
	if rep.OwnRules > 0 {
		fmt.Fprintf(a.Stdout, ", own rules %.1f %%", rep.OwnCoverage)
	}
	fmt.Fprintln(a.Stdout)
	for _, f := range rep.Files {
		if f.Percent < 100 {
			fmt.Fprintf(a.Stdout, "  %s: %.1f %%, lines not reached: %v\n", report.Safe(f.Path), f.Percent, f.NotCovered)
		}
	}
}

func (a *app) schema() *cobra.Command {
	var scripts string
	c := &cobra.Command{
		Use:   "schema [NAME]",
		Short: "Print a JSON Schema, or what a connector can do",
		Long: `Without a name: lists the schemas of documents and outputs, and the connectors. With the name of a schema:
prints it (draft 2020-12), for editors. With the name of a connector: its connection types, payload schemas
and what may be granted; with --scripts the scripts that give it the least privileges, each as it stands with
--scripts=plan and --scripts=apply.`,
		Example: "  countersign schema\n  countersign schema ConnectionAssignment\n  countersign schema postgres\n  countersign schema postgres --scripts\n" +
			"  countersign schema ldap --scripts=plan > plan.sh",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains([]string{"", "both", "plan", "apply"}, scripts) {
				return fmt.Errorf("--scripts=%s: there is a script to plan and one to apply", scripts)
			}
			registry, err := a.registry(c.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				fmt.Fprintln(a.Stdout, "Documents and outputs:")
				for _, n := range jsonschema.Names() {
					fmt.Fprintln(a.Stdout, "  "+n)
				}
				fmt.Fprintln(a.Stdout, "Connectors:")
				for _, n := range registry.Names() {
					fmt.Fprintln(a.Stdout, "  "+n)
				}
				return nil
			}
			if k, ok := registry.Get(args[0]); ok {
				return a.describe(k.Describe(), scripts)
			}
			b, err := jsonschema.Get(args[0])
			if err != nil {
				return fmt.Errorf("%w; the connectors are %s", err, strings.Join(registry.Names(), ", "))
			}
			_, err = a.Stdout.Write(b)
			return err
		},
	}
	c.Flags().StringVar(&scripts, "scripts", "", "for a connector: the scripts of least privileges, for planning and for applying; =plan or =apply: that one alone")
	c.Flags().Lookup("scripts").NoOptDefVal = "both"
	return c
}

func (a *app) describe(d connectors.Description, scripts string) error {
	if a.format == "json" {
		return report.JSON(a.Stdout, &schemas.ConnectorReport{Description: d})
	}
	switch scripts {
	case "plan", "apply":
		text := d.PlanScript
		if scripts == "apply" {
			text = d.ApplyScript
		}
		fmt.Fprintln(a.Stdout, strings.TrimSpace(text))
		return nil
	case "both":
		fmt.Fprintf(a.Stdout, "# %s: planning, read only\n\n%s\n\n# %s: applying\n\n%s\n", d.Title, strings.TrimSpace(d.PlanScript), d.Title, strings.TrimSpace(d.ApplyScript))
		return nil
	}
	fmt.Fprintf(a.Stdout, "%s (%s)\n\nspec.config:\n%s\n", d.Title, d.Name, indent(d.Config))
	if d.Attested {
		fmt.Fprint(a.Stdout, "\nNothing is read: what it holds is what those who carry operations out say. Its types are those of spec.config.\n")
	}
	for _, t := range d.Types {
		var can []string
		for _, x := range []struct {
			ok   bool
			name string
		}{{t.Create, "create"}, {t.Update, "update"}, {t.Delete, "delete"}, {t.Reassign, "reassign what it owns"}} {
			if x.ok {
				can = append(can, x.name)
			}
		}
		if len(can) == 0 {
			can = append(can, "assign only")
		}
		fmt.Fprintf(a.Stdout, "\nConnection type %s: %s\npayload:\n%s\nmay be given:\n", t.Name, strings.Join(can, ", "), indent(t.Payload))
		widest := 0
		for _, g := range t.Grantable {
			widest = max(widest, len(g.Type))
		}
		for _, g := range t.Grantable {
			what := strings.Join(g.Privileges, ", ")
			if !g.Grant {
				what += " (taken away only)"
			}
			fmt.Fprintf(a.Stdout, "  %-*s %-10s %s\n", widest, g.Type, g.Edge, what)
		}
	}
	return nil
}

func indent(raw json.RawMessage) string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return "  " + string(raw)
	}
	b, err := json.MarshalIndent(v, "  ", "  ")
	if err != nil {
		return "  " + string(raw)
	}
	return "  " + string(b)
}

// programVersion is the module's version, or the commit it was built from.
func programVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version, and those of what it is built on", Example: "  countersign version --format json", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := schemas.VersionReport{Countersign: programVersion(), API: schemas.APIVersion, Go: runtime.Version()}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, d := range info.Deps {
					switch d.Path {
					case "github.com/open-policy-agent/opa":
						v.OPA = d.Version
					case "github.com/go-git/go-git/v5":
						v.GoGit = d.Version
					}
				}
			}
			if a.format == "json" {
				return report.JSON(a.Stdout, &v)
			}
			for _, l := range []struct{ name, version string }{
				{"countersign", v.Countersign}, {"api", v.API}, {"go", v.Go}, {"opa", v.OPA}, {"go-git", v.GoGit},
			} {
				if l.version != "" {
					fmt.Fprintf(a.Stdout, "%-12s %s\n", l.name, l.version)
				}
			}
			return nil
		},
	}
}

func (a *app) audit() *cobra.Command {
	c := &cobra.Command{
		Use:     "audit",
		Short:   "Export the ledger for auditors, and verify its hash chain",
		Example: "  countersign audit verify\n  countersign audit export --since 2026-01-01 --output audit.jsonl",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.auditVerify(), a.auditExport(), a.auditEntitlements())
	return c
}

// withLedger opens the ledger for reading.
func (a *app) withLedger(c *cobra.Command, fn func(*ledger.Ledger) error) (err error) {
	if err := a.checkFormat(); err != nil {
		return err
	}
	repo, err := history.Open(a.repo)
	if err != nil {
		return err
	}
	replica, err := a.replica(c.Context(), repo)
	if err != nil {
		return err
	}
	// With a branch the file is its index, and has to be brought up to it.
	l, err := ledger.Open(c.Context(), ledger.Config{Path: reconciler.LedgerPath(a.stateDir(repo)), ReadOnly: replica == nil, Now: a.Now, Logger: a.logger()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if replica != nil {
		if err := replica.Pull(c.Context(), l); err != nil {
			return err
		}
	}
	return fn(l)
}

func (a *app) auditVerify() *cobra.Command {
	var head string
	var count int64
	c := &cobra.Command{
		Use: "verify", Short: "Hold every record's hash against the chain",
		Long: `Recomputes the hash of every record. With --head and --count, taken from an earlier export, a ledger whose
end was cut off is found too.`,
		Example: "  countersign audit verify\n  countersign audit verify --head 6f1c… --count 120", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withLedger(c, func(l *ledger.Ledger) error {
				rep, err := l.Verify(c.Context(), ledger.VerifyOptions{Head: head, Count: count})
				if err != nil {
					return err
				}
				if a.format == "json" {
					if err := report.JSON(a.Stdout, &rep); err != nil {
						return err
					}
				} else if len(rep.Problems) == 0 {
					fmt.Fprintf(a.Stdout, "The chain holds: %d records, head %s\n", rep.Records, rep.Head)
				} else {
					fmt.Fprintf(a.Stdout, "The chain is broken: %d problems in %d records\n", len(rep.Problems), rep.Records)
					for _, p := range rep.Problems {
						fmt.Fprintf(a.Stdout, "  record %d: %s\n", p.Sequence, p.What)
					}
				}
				if len(rep.Problems) > 0 {
					return &exit{code: exitError}
				}
				return nil
			})
		},
	}
	c.Flags().StringVar(&head, "head", "", "a hash that the chain must contain, from an earlier export")
	c.Flags().Int64Var(&count, "count", 0, "the number of records at that head")
	return c
}

func (a *app) auditExport() *cobra.Command {
	var as, output, manifest, since, until string
	c := &cobra.Command{
		Use: "export", Short: "Write one row for each operation, with its request, sign-off, policy, execution and read-back",
		Long: `Writes JSON Lines (authoritative) or CSV, one row for each operation and each change that was refused, and a
manifest of the population: filters, counts for each state, sequence range, head of the chain. What nobody
can know stands as "unknown", never as true.`,
		Example: "  countersign audit export > audit.jsonl\n  countersign audit export --as csv --output audit.csv --manifest manifest.json --since 2026-01-01 --until 2026-04-01",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o := audit.ExportOptions{Format: as, Application: a.application, Version: programVersion(), Out: a.Stdout}
			for _, d := range []struct {
				text string
				into *time.Time
				name string
			}{{since, &o.Since, "since"}, {until, &o.Until, "until"}} {
				if d.text == "" {
					continue
				}
				t, err := parseTime(d.text)
				if err != nil {
					return fmt.Errorf("--%s %s: expected 2026-01-31 or 2026-01-31T00:00:00Z", d.name, d.text)
				}
				*d.into = t
			}
			if as != "jsonl" && as != "csv" {
				return fmt.Errorf("--as %s: expected jsonl or csv", as)
			}
			return a.withLedger(c, func(l *ledger.Ledger) (err error) {
				if output != "" {
					f, err := os.OpenFile(filepath.Clean(output), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
					if err != nil {
						return err
					}
					defer func() { err = errors.Join(err, f.Close()) }()
					o.Out = f
				}
				m, err := audit.Export(c.Context(), l, o)
				if err != nil {
					return err
				}
				if manifest == "" {
					a.summarise(&m)
					return nil
				}
				f, err := os.OpenFile(filepath.Clean(manifest), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, f.Close()) }()
				return report.JSON(f, &m)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&as, "as", "jsonl", "jsonl or csv")
	f.StringVar(&output, "output", "", "write rows to this file (default: standard output)")
	f.StringVar(&manifest, "manifest", "", "write the whole manifest to this file (default: a summary on standard error)")
	f.StringVar(&since, "since", "", "only records from this instant or day on")
	f.StringVar(&until, "until", "", "only records before this instant or day")
	return c
}

// summarise says in a few lines what was exported.
func (a *app) summarise(m *audit.Manifest) {
	var states []string
	for _, s := range slices.Sorted(maps.Keys(m.States)) {
		states = append(states, fmt.Sprintf("%d %s", m.States[s], s))
	}
	fmt.Fprintf(a.Stderr, "%d rows: %s\n", m.Rows, strings.Join(states, ", "))
	chain := "the hash chain holds"
	if !m.ChainOK {
		chain = "THE HASH CHAIN IS BROKEN: countersign audit verify"
	}
	fmt.Fprintf(a.Stderr, "%d records, head %s: %s\n", m.Records, m.Head, chain)
	fmt.Fprintf(a.Stderr, "%d of %d request files are in the rows; %d exceptions", m.Reconciled, m.RequestFiles, len(m.Exceptions))
	fmt.Fprintln(a.Stderr, " (--manifest FILE writes the whole manifest)")
}

func (a *app) auditEntitlements() *cobra.Command {
	var asOf string
	c := &cobra.Command{
		Use: "entitlements", Short: "List what the records say was there at an instant, each with its request",
		Long: `Lists connections and entitlements that a read-back had shown by then. Access that no request ever mentioned
is in no record: countersign access shows it as it is now.`,
		Example: "  countersign audit entitlements --as-of 2026-06-30 --format json", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			at := a.Now()
			if asOf != "" {
				t, err := parseTime(asOf)
				if err != nil {
					return fmt.Errorf("--as-of %s: expected 2026-01-31 or 2026-01-31T00:00:00Z", asOf)
				}
				at = t
			}
			return a.withLedger(c, func(l *ledger.Ledger) error {
				list, err := audit.AsOf(c.Context(), l, at)
				if err != nil {
					return err
				}
				if a.format == "json" {
					return report.JSON(a.Stdout, &schemas.AuditEntitlements{AsOf: at.UTC(), Entitlements: list})
				}
				for _, e := range list {
					if a.application != "" && e.Application != a.application {
						continue
					}
					what := e.Connection.String()
					if e.Target != nil {
						what += "  " + e.Privilege + " on " + e.Target.String()
					}
					fmt.Fprintf(a.Stdout, "%s  %-11s %s  since %s\n", report.Safe(e.Application), e.Kind, report.Safe(what), e.Since.UTC().Format(time.RFC3339))
				}
				return nil
			})
		},
	}
	c.Flags().StringVar(&asOf, "as-of", "", "the instant or day (default: now)")
	return c
}

func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return time.Parse(time.DateOnly, s)
}

func (a *app) init() *cobra.Command {
	var connector, name string
	var start starting
	c := &cobra.Command{
		Use:   "init",
		Short: "Write the control files of a new access repository",
		Long: `Writes countersign.yaml, one application, people.yaml and a policy folder below --repo, and for casbin a
small store to try things on. Files that are there already are left alone. Then fill in who you are, commit,
and merge: trust starts at that commit.

With --github it writes settings for that repository and, from the owners that stand in the files, three workflows
(and one that wakes the first), CODEOWNERS, and a ruleset to import.`,
		Example: "  countersign init\n  countersign init --github acme/access --connector postgres\n  countersign init --connector postgres --name warehouse\n  countersign init --connector slack",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			registry, err := a.registry(c.Context())
			if err != nil {
				return err
			}
			body, known, err := beginning(registry, connector)
			if err != nil {
				return err
			}
			at, repository, err := start.chosen()
			if err != nil {
				return err
			}
			if connector == "ticket" && at == nil {
				return errors.New("--connector ticket: " + start.hint())
			}
			write := func(f starterFile) error {
				path := filepath.Join(a.repo, filepath.FromSlash(f.path))
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					return err
				}
				out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
				if errors.Is(err, os.ErrExist) {
					fmt.Fprintf(a.Stdout, "kept     %s\n", f.path)
					return nil
				}
				if err != nil {
					return err
				}
				_, err = out.WriteString(f.content)
				if err := errors.Join(err, out.Close()); err != nil {
					return err
				}
				fmt.Fprintf(a.Stdout, "written  %s\n", f.path)
				return nil
			}
			if name == "" {
				name = known
			}
			for _, f := range starter(body, name) {
				if at != nil && f.path == schemas.SettingsPath {
					f.content = at.Settings(repository)
				}
				if err := write(f); err != nil {
					return err
				}
			}
			if at != nil {
				// From what stands there now: the owners of files that were kept too.
				more, err := at.Files(a.repo)
				if err != nil {
					return err
				}
				for _, f := range more {
					if err := write(starterFile{f.Path, f.Content}); err != nil {
						return err
					}
				}
				fmt.Fprint(a.Stdout, at.NextSteps())
				return nil
			}
			if connector == "casbin" {
				if err := a.initStore(name + "/policy.csv"); err != nil {
					return err
				}
			}
			fmt.Fprint(a.Stdout, `
countersign.yaml says signoff: unauthenticated: whoever can push can write an Approved-by trailer. It is
good for a trial. Before it matters, name an allowed_signers file, so that only signed merges count.

Next: put your own people, owners and application in these files, then
  countersign validate
  git add . && git commit -m "Begin access as code"
  countersign status
`)
			return nil
		},
	}
	c.Flags().StringVar(&connector, "connector", "casbin", "the connector of the first application, or an application that there is an example of, as slack")
	start.flags(c)
	c.Flags().StringVar(&name, "name", "", "what the first application is called (default: authz for casbin, warehouse for postgres, else as the example)")
	return c
}

var repositoryName = regexp.MustCompile(`^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`)

// initStore makes a store to try things on.
func (a *app) initStore(path string) error {
	full := filepath.Join(a.repo, filepath.FromSlash(path))
	if _, err := os.Stat(full); err == nil {
		fmt.Fprintf(a.Stdout, "kept     %s\n", path)
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	if err := casbin.Init(full, casbin.Contents{Users: []string{"alice", "bob", "dave"}, Objects: []string{"sales.orders", "sales.payroll"}}); err != nil {
		return err
	}
	fmt.Fprintf(a.Stdout, "written  %s   (the application itself, to try things on: not for Git)\n", path)
	return nil
}

type starterFile struct{ path, content string }

// beginning is the application file to begin with, with APPLICATION for its name, and what it is called unless somebody
// says otherwise. what is a connector, or an application that there is an example of.
func beginning(registry connectors.Registry, what string) (body, name string, err error) {
	switch what {
	case "casbin":
		return starterCasbin, "authz", nil
	case "postgres":
		what, name = "postgresql", "warehouse"
	}
	if _, ok := registry.Get(what); ok && !slices.Contains(examples.Names(), what) {
		var of []string
		for _, n := range examples.Names() {
			docs, err := exampleOf(n)
			if err != nil {
				return "", "", err
			}
			if docs.Spec.Connector == what {
				of = append(of, n)
			}
		}
		switch len(of) {
		case 0:
			return fmt.Sprintf(starterOther, what), what, nil
		case 1:
			what = of[0]
		default:
			return "", "", fmt.Errorf("--connector %s: say which application it is: %s", what, strings.Join(of, ", "))
		}
	}
	b, err := examples.Application(what)
	if err != nil {
		return "", "", fmt.Errorf("--connector %s: the connectors are %s; there are examples of %s", what, strings.Join(registry.Names(), ", "), strings.Join(examples.Names(), ", "))
	}
	if name == "" {
		name = what
	}
	body = strings.Replace(string(b), "metadata: {name: "+what+"}", "metadata: {name: APPLICATION}", 1)
	// The example's owners are a team of somebody else's; the people of a new repository are those of people.yaml.
	return exampleOwners.ReplaceAllString(body, "owners: [user:bob@acme.test]"), name, nil
}

var exampleOwners = regexp.MustCompile(`owners: \[[^\]]*\]`)

// exampleOf is an example as it decodes.
func exampleOf(name string) (*schemas.Application, error) {
	b, err := examples.Application(name)
	if err != nil {
		return nil, err
	}
	docs, list := strict.Decode("applications/"+name+".yaml", b)
	if err := list.Err(); err != nil {
		return nil, err
	}
	app, ok := docs[0].Value.(*schemas.Application)
	if !ok {
		return nil, fmt.Errorf("the example %s is no application", name)
	}
	return app, nil
}

func starter(body, name string) []starterFile {
	files := []starterFile{
		{"countersign.yaml", starterSettings},
		{"people.yaml", strings.ReplaceAll(starterPeople, "APPLICATION", name)},
		{"policy/data.yaml", starterData},
		{"requests/README.md", starterRequests},
		{"applications/" + name + ".yaml", strings.ReplaceAll(body, "APPLICATION", name)},
	}
	if body == starterCasbin {
		files = append(files, starterFile{".gitignore", "# The store is the live application, not a request.\n/" + name + "/policy.csv*\n"})
	}
	slices.SortFunc(files, func(a, b starterFile) int { return strings.Compare(a.path, b.path) })
	return files
}

const starterSettings = `apiVersion: countersign.dev/v1
kind: Settings
spec:
  branch: main
  forge: {kind: local}
  # For a trial only: an Approved-by trailer of the merge commit counts as it stands.
  # For real use: signoff: signed, and allowed_signers: the file with your reviewers' SSH keys.
  signoff: unauthenticated
  owners: [user:carol@acme.test]        # sign off changes of settings, applications, people and policy
  limits: {revokes: 50, deletions: 5}   # removals that no approved document names, per application and run
`

const starterPeople = `apiVersion: countersign.dev/v1
kind: People
spec:
  people:
    - {login: alice, emails: [alice@acme.test], identities: {APPLICATION: [alice]}}
    - {login: bob, emails: [bob@acme.test], identities: {APPLICATION: [bob]}}
    - {login: carol, emails: [carol@acme.test]}
    - {login: dave, emails: [dave@acme.test], identities: {APPLICATION: [dave]}}
`

const starterCasbin = `apiVersion: countersign.dev/v1
kind: Application
metadata: {name: APPLICATION}
spec:
  connector: casbin
  config: {policy: APPLICATION/policy.csv}    # a Casbin policy file; here, in this folder
  owners: [user:bob@acme.test]
  scope: {role: ["*"]}                  # which roles countersign manages
  grantable: {user: ["*"], object: ["*"]}
  mode: observe                         # observe, then add, then full
`

// starterOther is for a connector that there is no example of, such as one in a program of its own.
const starterOther = `apiVersion: countersign.dev/v1
kind: Application
metadata: {name: APPLICATION}
spec:
  connector: %s
  config: {}                            # countersign schema NAME says what belongs here
  owners: [user:bob@acme.test]
  scope: {group: ["sales-*"]}           # nothing outside is ever changed
  grantable: {user: ["*"]}
  mode: observe                         # observe, then add, then full
`

const starterData = `# What the built-in rules may be told; countersign policy rules lists them.
blast_radius: {warn: 20, two: 100}
`

const starterRequests = "# Requests\n\nOne file each, for example `2026/11/23/sales-reader.yaml`. Deleting a file undoes it.\n"
