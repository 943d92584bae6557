package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/audit"
	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

// The formats of an export.
const (
	exportJSONLines = "jsonl"
	exportCSV       = "csv"
	// exportJSON is another name for exportJSONLines, since every other command takes json.
	exportJSON = "json"
	// exportRecords is the ledger itself, with its signature.
	exportRecords = "records"
)

// auditExportOptions configures audit export.
type auditExportOptions struct {
	*app
	auditPeriod
	rows             string // the format
	output, manifest string
	pseudonyms       bool
}

// auditPeriod limits what an audit is about.
type auditPeriod struct{ since, until, asOf string }

// flags adds the flags to a command whose result is called what.
func (p *auditPeriod) flags(c *cobra.Command, what string) {
	f := c.Flags()
	f.StringVar(&p.since, "since", "", "only what took effect since this `INSTANT` or day")
	f.StringVar(&p.until, "until", "", "only what took effect before this `INSTANT` or day")
	f.StringVar(&p.asOf, "as-of", "", "repeat the "+what+" of an earlier `HEAD`: a hash, a record's number or an instant")
}

// limit sets the options by the flags.
func (p *auditPeriod) limit(options *audit.ExportOptions) (err error) {
	for _, d := range []struct {
		flag, text string
		into       *time.Time
	}{{"since", p.since, &options.Since}, {"until", p.until, &options.Until}} {
		if d.text == "" {
			continue
		}
		if *d.into, err = parseTime(d.flag, d.text); err != nil {
			return err
		}
	}
	return asOfMoment(p.asOf, options)
}

func newAuditExportCommand(a *app) *cobra.Command {
	o := &auditExportOptions{app: a, rows: exportJSONLines}
	c := &cobra.Command{
		Use:   "export",
		Short: "Write one row per operation, from request to read-back",
		Long: `Writes JSON Lines (authoritative) or CSV: a row for each operation and each
denied change, with its request, sign-off, policy results, execution and
read-back, and a row for each change by hand that a read showed. A row is in the
period in which it took effect. The manifest describes the export: filters,
counts per state, exceptions, sequence range and the head of the chain. A value
that can't be proved is "unknown", never true.

--format records writes the ledger itself, with its signature, for audit verify
--public-key. With --pseudonyms, numbers are in the place of names.`,
		Example: `  countersign audit export > audit.jsonl
  countersign audit export --format csv --output audit.csv \
    --manifest manifest.json --since 2026-01-01 --until 2026-04-01`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	f := c.Flags()
	f.StringVar(&o.output, "output", "", "write rows to this `FILE` (default: standard output)")
	f.StringVar(&o.manifest, "manifest", "", "write the complete manifest to this `FILE` (default: a summary on standard error)")
	o.flags(c, "export")
	a.applicationFlag(c)
	connectorFlagsIgnored(c)
	f.BoolVar(&o.pseudonyms, "pseudonyms", false, "with --format records: replace texts that name a person")
	formatFlag(c, &o.rows, exportJSONLines, exportCSV, exportRecords, exportJSON)
	// The older name of --format.
	f.Var(&formatValue{format: &o.rows, formats: []string{exportJSONLines, exportCSV, exportJSON}, text: exportJSONLines}, "as", "output `FORMAT`")
	f.Lookup("as").Hidden = true
	a.ledgerFlags(c)
	return c
}

func (o *auditExportOptions) run(ctx context.Context) (err error) {
	if o.rows == exportJSON {
		o.rows = exportJSONLines
	}
	options := audit.ExportOptions{Format: o.rows, Application: o.application, Version: programVersion(), Out: o.Stdout}
	if err := o.limit(&options); err != nil {
		return err
	}
	if options.Key, err = o.proofKey(); err != nil {
		return err
	}
	return o.withLedger(ctx, func(l *ledger.Ledger) (err error) {
		if o.output != "" {
			f, err := os.OpenFile(filepath.Clean(o.output), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, f.Close()) }()
			options.Out = f
		}
		if o.rows == exportRecords {
			var pseudonym func(string) string
			if o.pseudonyms {
				pseudonym = numbered()
			}
			return l.WritePackage(ctx, options.Out, pseudonym)
		}
		m, err := audit.Export(ctx, l, options)
		if err != nil {
			return err
		}
		if o.manifest == "" {
			o.summarise(&m)
			return nil
		}
		f, err := os.OpenFile(filepath.Clean(o.manifest), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		return report.JSON(f, &m)
	})
}

// numbered gives each text a number.
func numbered() func(string) string {
	known := map[string]string{}
	return func(text string) string {
		if known[text] == "" {
			known[text] = fmt.Sprintf("pseudonym-%d", len(known)+1)
		}
		return known[text]
	}
}

// summarise prints what was exported in a few lines.
func (o *auditExportOptions) summarise(m *schemas.AuditManifest) {
	var states []string
	for _, s := range slices.Sorted(maps.Keys(m.States)) {
		states = append(states, fmt.Sprintf("%d %s", m.States[s], s))
	}
	fmt.Fprint(o.Stderr, layout.Fill(fmt.Sprintf("%d rows: %s", m.Rows, strings.Join(states, ", ")), o.Width, ""))
	chain := "the hash chain is intact"
	if !m.ChainOK {
		chain = "THE HASH CHAIN IS BROKEN: run countersign audit verify"
	}
	fmt.Fprintf(o.Stderr, "%d records: %s, head\n%s\n", m.Records, chain, m.Head)
	fmt.Fprintf(o.Stderr, "%d of %d request files covered; %d exceptions, %d of them open\n", m.Reconciled, m.RequestFiles, len(m.Exceptions), m.Open)
	fmt.Fprintln(o.Stderr, "(--manifest FILE writes the complete manifest)")
}

// asOfMoment reads the value of --as-of: a record's hash or number, or an instant.
func asOfMoment(text string, options *audit.ExportOptions) (err error) {
	n, number := strconv.ParseInt(text, 10, 64)
	switch {
	case text == "":
	case headHash.MatchString(text):
		options.AsOfHead = text
	case number == nil && n > 0:
		options.AsOfSequence = n
	default:
		options.AsOf, err = parseTime("as-of", text)
	}
	return err
}

// headHash matches the hash of a record.
var headHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// connectorFlagsIgnored accepts the flags of connectors on commands that open no application, so that one set of flags
// serves all commands.
func connectorFlagsIgnored(c *cobra.Command) {
	for _, name := range []string{"exec", "exec-arg"} {
		c.Flags().StringArray(name, nil, "ignored: no application is opened")
		c.Flags().Lookup(name).Hidden = true
	}
}

// proofKey is the key that the ledger's signature is proven with: the operator's public key, or that of this run's own;
// nil for none.
func (a *app) proofKey() (*seal.Public, error) {
	public, err := a.ledgerPublicKey()
	if err != nil || public != nil {
		return public, err
	}
	repo, err := a.openRepository()
	if err != nil {
		return nil, err
	}
	own, err := a.ledgerKey(a.stateDir(repo))
	if err != nil || own == nil {
		return nil, err
	}
	return own.Public(), nil
}
