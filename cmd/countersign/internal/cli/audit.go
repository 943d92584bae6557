package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/audit"
	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/schemas"
)

func newAuditCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "audit",
		Short:   "Export the ledger for auditors, and verify its hash chain",
		Example: "  countersign audit verify\n  countersign audit export --since 2026-01-01 --output audit.jsonl",
		Args:    noSuchCommand,
		RunE:    showHelp,
	}
	c.AddCommand(newAuditVerifyCommand(a), newAuditExportCommand(a), newAuditEntitlementsCommand(a), newAuditPackageCommand(a),
		newAuditNewKeyCommand(a), newAuditRotateKeyCommand(a), newAuditTakeOverCommand(a), newAuditRestartCommand(a))
	return c
}

// withLedger opens the ledger for reading.
func (a *app) withLedger(ctx context.Context, fn func(*ledger.Ledger) error) (err error) {
	repo, err := a.openRepository()
	if err != nil {
		return err
	}
	replica, err := a.replica(ctx, repo)
	if err != nil {
		return err
	}
	// With a branch, the file is its index, and is brought up to date first.
	l, err := ledger.Open(ctx, ledger.Config{Path: reconciler.LedgerPath(a.stateDir(repo)), ReadOnly: replica == nil, Now: a.Now, Logger: a.logger()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if replica != nil {
		if err := replica.Pull(ctx, l); err != nil {
			return err
		}
	}
	return fn(l)
}

// parseTime reads the value of a flag: an instant, or a day in UTC.
func parseTime(flag, s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return t, fmt.Errorf("--%s %s: expected 2026-01-31 or 2026-01-31T00:00:00Z", flag, s)
	}
	return t, nil
}

// auditVerifyOptions configures audit verify.
type auditVerifyOptions struct {
	*app
	verify           ledger.VerifyOptions
	public, ledgerAt string
}

func newAuditVerifyCommand(a *app) *cobra.Command {
	o := &auditVerifyOptions{app: a}
	c := &cobra.Command{
		Use:   "verify",
		Short: "Verify the hash of every record, and the chain",
		Long: `Recomputes the hash of every record, and verifies who signed the last one and
whether its witness knows of a later one. With --head and --count from an
earlier export, it also detects a truncated ledger.

With --public-key and --ledger, it needs neither the repository nor a private
key: FILE is a ledger.db, or what audit export --format records wrote, where
names may be replaced by pseudonyms.

Exit codes: 0 the ledger is intact; 1 it isn't, or an error.`,
		Example: `  countersign audit verify
  countersign audit verify --head 6f1c… --count 120
  countersign audit verify --public-key key.pub --ledger records.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	c.Flags().StringVar(&o.verify.Head, "head", "", "a `HASH` that the chain must contain, from an earlier export")
	c.Flags().Int64Var(&o.verify.Count, "count", 0, "the `NUMBER` of records at that head")
	c.Flags().StringVar(&o.public, "public-key", "", "the `FILE` of the public key that the ledger must be signed by, now or earlier")
	c.Flags().StringVar(&o.ledgerAt, "ledger", "", "with --public-key: verify this `FILE`, outside of any repository")
	formatFlag(c, &a.format, formatText, formatJSON)
	a.reconcilerFlags(c)
	return c
}

// report verifies the ledger that the flags name.
func (o *auditVerifyOptions) report(ctx context.Context) (schemas.AuditVerification, error) {
	if o.public == "" && o.ledgerAt != "" {
		return schemas.AuditVerification{}, errors.New("--ledger requires --public-key")
	}
	if o.public == "" {
		return o.own(ctx)
	}
	text, err := readSmall(o.public)
	if err != nil {
		return schemas.AuditVerification{}, err
	}
	key, err := seal.ParsePublic(text)
	if err != nil {
		return schemas.AuditVerification{}, fmt.Errorf("%s: %w", o.public, err)
	}
	if o.ledgerAt == "" {
		rep, err := o.own(ctx)
		if err != nil {
			return rep, err
		}
		return rep, o.withLedger(ctx, func(l *ledger.Ledger) error {
			trust := rep.Trust
			err := l.VerifySignature(ctx, key, &rep)
			rep.Trust.Witnesses = trust.Witnesses
			return err
		})
	}
	return verifyFile(ctx, o.ledgerAt, key, o.verify)
}

// own verifies the ledger of the repository.
func (o *auditVerifyOptions) own(ctx context.Context) (rep schemas.AuditVerification, err error) {
	r, repo, err := o.open(ctx)
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	_, to, err := o.branch(repo)
	if err != nil {
		return rep, err
	}
	return r.VerifyLedger(ctx, to, o.verify)
}

// verifyFile verifies a ledger's database or a package of its records.
func verifyFile(ctx context.Context, path string, key *seal.Public, options ledger.VerifyOptions) (rep schemas.AuditVerification, err error) {
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	begin := make([]byte, len(databaseBegin))
	if n, err := io.ReadFull(f, begin); err != nil || string(begin[:n]) != databaseBegin {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return rep, err
		}
		return ledger.VerifyPackage(f, key)
	}
	l, err := ledger.Open(ctx, ledger.Config{Path: path, ReadOnly: true})
	if err != nil {
		return rep, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if rep, err = l.Verify(ctx, options); err != nil {
		return rep, err
	}
	return rep, l.VerifySignature(ctx, key, &rep)
}

// databaseBegin is what an SQLite database begins with.
const databaseBegin = "SQLite format 3\x00"

func (o *auditVerifyOptions) run(ctx context.Context) error {
	rep, err := o.report(ctx)
	if err != nil {
		return err
	}
	switch {
	case o.format == formatJSON:
		if err := report.JSON(o.Stdout, &rep); err != nil {
			return err
		}
	case len(rep.Problems) == 0:
		fmt.Fprintf(o.Stdout, "The chain is intact: %d records, head\n%s\n", rep.Records, rep.Head)
		o.printTrust(rep.Trust)
	default:
		fmt.Fprintf(o.Stdout, "The ledger is broken: %d problems in %d records\n", len(rep.Problems), rep.Records)
		for _, p := range rep.Problems {
			fmt.Fprint(o.Stdout, layout.Fill(fmt.Sprintf("record %d: %s", p.Sequence, p.What), o.Width, "  "))
		}
	}
	if len(rep.Problems) > 0 {
		return &exit{code: exitError}
	}
	return nil
}

// printTrust prints by whom the ledger is signed, and its witnesses.
func (o *auditVerifyOptions) printTrust(t schemas.LedgerTrust) {
	if t.Signed {
		fmt.Fprintf(o.Stdout, "Signed by %s\n", t.PublicKey)
	} else {
		fmt.Fprintln(o.Stdout, "Not signed: the settings name no key (countersign audit new-key makes one)")
	}
	for _, w := range t.Witnesses {
		if w.Sequence == 0 {
			fmt.Fprintf(o.Stdout, "Witness: %s knows of no ledger\n", w.Name)
		} else {
			fmt.Fprintf(o.Stdout, "Witness: %s knows of record %d\n", w.Name, w.Sequence)
		}
	}
}

// auditEntitlementsOptions configures audit entitlements.
type auditEntitlementsOptions struct {
	*app
	asOf string
}

func newAuditEntitlementsCommand(a *app) *cobra.Command {
	o := &auditEntitlementsOptions{app: a}
	c := &cobra.Command{
		Use:   "entitlements",
		Short: "List the entitlements recorded at a point in time",
		Long: `Lists the connections and entitlements that were in place then, judged by the
last complete read before: what was verified, or found as requested, and what a
read showed that nobody requested. The JSON names those reads, and what they
don't cover.`,
		Example: "  countersign audit entitlements\n  countersign audit entitlements --as-of 2026-06-30 --format json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	c.Flags().StringVar(&o.asOf, "as-of", "", "the `INSTANT` or day (default: now)")
	a.applicationFlag(c)
	connectorFlagsIgnored(c)
	formatFlag(c, &a.format, formatText, formatJSON)
	a.ledgerFlags(c)
	return c
}

func (o *auditEntitlementsOptions) run(ctx context.Context) error {
	at := o.Now()
	if o.asOf != "" {
		var err error
		if at, err = parseTime("as-of", o.asOf); err != nil {
			return err
		}
	}
	return o.withLedger(ctx, func(l *ledger.Ledger) error {
		list, err := audit.AsOf(ctx, l, at, o.application)
		if err != nil {
			return err
		}
		if o.format == formatJSON {
			return report.JSON(o.Stdout, &list)
		}
		for _, r := range list.Reads {
			fmt.Fprintf(o.Stdout, "%s: as of the complete read of %s\n", report.Safe(r.Application), r.At.UTC().Format(time.RFC3339))
		}
		for _, e := range list.Entitlements {
			what := e.Connection.String()
			if e.Target != nil {
				what += "  " + e.Privilege + " on " + e.Target.String()
			}
			if e.Origin == schemas.OriginUnmanaged {
				what += "  (no request)"
			}
			fmt.Fprintf(o.Stdout, "%s  %-11s %s  since %s\n", report.Safe(e.Application), e.Kind, report.Safe(what), e.Since.UTC().Format(time.RFC3339))
		}
		return nil
	})
}
