package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/jsonschema"
)

// schemaOptions configures schema.
type schemaOptions struct {
	*app
	scripts string
}

// The scripts of a connector that schema prints.
const (
	scriptsBoth  = "both"
	scriptsPlan  = "plan"
	scriptsApply = "apply"
)

func newSchemaCommand(a *app) *cobra.Command {
	o := &schemaOptions{app: a}
	c := &cobra.Command{
		Use:   "schema [NAME]",
		Short: "Print a JSON Schema, or what a connector can do",
		Long: `Without NAME, lists the schemas of documents and outputs, and the connectors.
With the name of a schema, prints that schema (draft 2020-12), for editors.
With the name of a connector, prints its connection types, payload schemas and
grantable types. With --scripts, prints the scripts that create its
least-privilege accounts; --scripts=plan and --scripts=apply print one of them,
ready to run.`,
		Example: `  countersign schema
  countersign schema ConnectionAssignment
  countersign schema postgres
  countersign schema postgres --scripts
  countersign schema ldap --scripts=plan > plan.sh`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), args) },
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			registry, err := a.registry(c.Context())
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return append(jsonschema.Names(), registry.Names()...), cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().StringVar(&o.scripts, "scripts", "", "for a connector, print the scripts that create its least-privilege accounts; `WHICH` is plan or apply")
	c.Flags().Lookup("scripts").NoOptDefVal = scriptsBoth
	formatFlag(c, &a.format, formatText, formatJSON)
	a.connectorFlags(c)
	return c
}

func (o *schemaOptions) run(ctx context.Context, args []string) error {
	if !slices.Contains([]string{"", scriptsBoth, scriptsPlan, scriptsApply}, o.scripts) {
		return fmt.Errorf("--scripts=%s: expected plan or apply", o.scripts)
	}
	if len(args) == 0 && o.format == formatJSON {
		return errors.New("--format json requires NAME; countersign schema lists the names")
	}
	registry, err := o.registry(ctx)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		fmt.Fprintln(o.Stdout, "Documents and outputs:")
		for _, n := range jsonschema.Names() {
			fmt.Fprintln(o.Stdout, "  "+n)
		}
		fmt.Fprintln(o.Stdout, "Connectors:")
		for _, n := range registry.Names() {
			fmt.Fprintln(o.Stdout, "  "+n)
		}
		return nil
	}
	if k, ok := registry.Get(args[0]); ok {
		return o.describe(k.Describe())
	}
	b, err := jsonschema.Get(args[0])
	if err != nil {
		return fmt.Errorf("%w; the connectors are %s", err, strings.Join(registry.Names(), ", "))
	}
	_, err = o.Stdout.Write(b)
	return err
}

// describe prints what a connector can do, or its scripts.
func (o *schemaOptions) describe(d schemas.Description) error {
	if o.format == formatJSON {
		return report.JSON(o.Stdout, &schemas.ConnectorReport{Description: d})
	}
	switch o.scripts {
	case scriptsPlan:
		fmt.Fprintln(o.Stdout, strings.TrimSpace(d.PlanScript))
		return nil
	case scriptsApply:
		fmt.Fprintln(o.Stdout, strings.TrimSpace(d.ApplyScript))
		return nil
	case scriptsBoth:
		comment := "#"
		if strings.HasPrefix(strings.TrimSpace(d.PlanScript), "--") {
			comment = "--" // SQL
		}
		fmt.Fprintf(o.Stdout, "%s %s: planning, read only\n\n%s\n\n%s %s: applying\n\n%s\n", comment, d.Title, strings.TrimSpace(d.PlanScript), comment, d.Title, strings.TrimSpace(d.ApplyScript))
		return nil
	}
	fmt.Fprintf(o.Stdout, "%s (%s)\n\nspec.config:\n%s\n", d.Title, d.Name, indent(d.Config))
	if d.Attested {
		fmt.Fprint(o.Stdout, "\ncountersign can't read this application and relies on what others report. Its\ntypes are those in spec.config.\n")
	}
	for _, t := range d.Types {
		o.describeType(t)
	}
	return nil
}

func (o *schemaOptions) describeType(t schemas.ConnectionType) {
	var can []string
	for _, x := range []struct {
		ok   bool
		name string
	}{{t.Create, "create"}, {t.Update, "update"}, {t.Delete, "delete"}, {t.Reassign, "reassign owned objects"}} {
		if x.ok {
			can = append(can, x.name)
		}
	}
	if len(can) == 0 {
		can = append(can, "assign only")
	}
	fmt.Fprintf(o.Stdout, "\nConnection type %s: %s\npayload:\n%s\ngrantable:\n", t.Name, strings.Join(can, ", "), indent(t.Payload))
	widest := 0
	for _, g := range t.Grantable {
		widest = max(widest, len(g.Type))
	}
	for _, g := range t.Grantable {
		what := strings.Join(g.Privileges, ", ")
		if !g.Grant {
			what += " (revoke only)"
		}
		fmt.Fprintf(o.Stdout, "  %-*s %-10s %s\n", widest, g.Type, g.Edge, what)
	}
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
