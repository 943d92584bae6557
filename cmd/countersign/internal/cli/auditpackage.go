package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/audit"
	"github.com/countersign/countersign/reconciler/ledger/audit/pack"
	"github.com/countersign/countersign/schemas"
)

// auditPackageOptions configures audit package.
type auditPackageOptions struct {
	*app
	auditPeriod
	output string
	pack   pack.Options
}

func newAuditPackageCommand(a *app) *cobra.Command {
	o := &auditPackageOptions{app: a}
	c := &cobra.Command{
		Use:   "package",
		Short: "Write the evidence of a period into one folder",
		Long: `Writes a folder for auditors: a workbook, a page for each sampled change, all
rows and hashed records as JSON Lines, the manifest, SHA256SUMS, and a page that
shows how to verify it without countersign. The sample is repeatable: its seed
is printed. With --pseudonyms, names are replaced and free text is left out; the
hashes of the records hold all the same.`,
		Example: `  countersign audit package --since 2026-01-01 --until 2026-04-01 --output q1
  countersign audit package --output q1 --application warehouse --pseudonyms`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	f := c.Flags()
	f.StringVar(&o.output, "output", "", "the `FOLDER` to make (required)")
	o.flags(c, "package")
	f.StringVar(&o.pack.Person, "person", "", "only what this `LOGIN` asked for, approved, did or gains")
	f.IntVar(&o.pack.Sample, "sample", 25, "how many grants, and how many removals, get a page (`NUMBER`)")
	f.Uint64Var(&o.pack.Seed, "seed", 0, "draw the sample with this `NUMBER` (default: from the ledger's head)")
	f.BoolVar(&o.pack.Pseudonyms, "pseudonyms", false, "replace names by pseudonyms, and leave free text out")
	a.applicationFlag(c)
	connectorFlagsIgnored(c)
	a.ledgerFlags(c)
	return c
}

func (o *auditPackageOptions) run(ctx context.Context) (err error) {
	if o.output == "" {
		return errors.New("--output: required (expected the name of a new folder)")
	}
	options := audit.ExportOptions{Application: o.application, Version: programVersion()}
	if err := o.limit(&options); err != nil {
		return err
	}
	if options.Key, err = o.proofKey(); err != nil {
		return err
	}
	repo, err := o.openRepository()
	if err != nil {
		return err
	}
	o.pack.Directory, o.pack.Export = filepath.Clean(o.output), options
	o.pack.Content = func(blob string) (string, error) {
		text, err := repo.Blob(blob, schemas.MaxFileBytes)
		return string(text), err
	}
	return o.withLedger(ctx, func(l *ledger.Ledger) error {
		r, err := pack.Write(ctx, l, o.pack)
		if err != nil {
			return err
		}
		fmt.Fprintf(o.Stdout, "%s: %d files, %d rows, %d sampled with seed %d, %d exceptions (%d open)\n", o.pack.Directory, len(r.Files), r.Manifest.Rows, r.Sampled, r.Seed,
			len(r.Manifest.Exceptions), r.Manifest.Open)
		if !r.Manifest.ChainOK {
			return &exit{code: exitError}
		}
		return nil
	})
}
