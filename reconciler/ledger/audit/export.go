package audit

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
)

// ExportOptions configures an export.
type ExportOptions struct {
	// Format is jsonl (authoritative; the default) or csv.
	Format      string
	Application string
	// Since is inclusive, Until exclusive, by the time of a row's first record; zero is open.
	Since, Until time.Time
	// AsOf shows everything as it was recorded up to that instant; zero is now.
	AsOf time.Time
	// Version is that of the program, for the manifest.
	Version string
	// Out is where the rows go. Required.
	Out io.Writer
}

// Export writes one row for each operation and for each change without operations, sorted by
// sequence, and returns the manifest. Rows and manifest are of one moment.
func Export(ctx context.Context, l *ledger.Ledger, o ExportOptions) (schemas.AuditManifest, error) {
	if o.Format == "" {
		o.Format = "jsonl"
	}
	m := schemas.AuditManifest{APIVersion: schemas.APIVersion, Kind: "AuditManifest", Version: o.Version, At: l.Now(), Format: o.Format, Application: o.Application,
		Since: orNull(o.Since), Until: orNull(o.Until), AsOf: orNull(o.AsOf), States: map[string]int{}, Problems: []schemas.AuditProblem{},
		Unreconciled: []string{}, Configuration: []schemas.AuditConfigurationChange{}, PolicyBundles: []string{}, Versions: []string{}, Exceptions: []schemas.AuditException{}}
	if o.Format != "jsonl" && o.Format != "csv" {
		return m, fmt.Errorf("format: unknown value %q (expected jsonl or csv)", o.Format)
	}
	c := newCollector(o, m.At)
	chain, err := l.ReadVerified(ctx, c.take)
	if err != nil {
		return m, fmt.Errorf("export: %w", err)
	}
	m.Records, m.LastSequence, m.Head, m.Problems = chain.Records, chain.LastSequence, chain.Head, chain.Problems
	m.ChainOK = len(m.Problems) == 0
	if m.Records > 0 {
		m.FirstSequence = 1
	}
	rows := c.finish(m.ChainOK)
	sum := sha256.New()
	w := bufio.NewWriter(io.MultiWriter(o.Out, sum))
	if err := errors.Join(write(w, o.Format, rows), w.Flush()); err != nil {
		return m, fmt.Errorf("write the export: %w", err)
	}
	m.SHA256 = hex.EncodeToString(sum.Sum(nil))
	summarise(&m, rows, c)
	return m, nil
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func summarise(m *schemas.AuditManifest, rows []*schemas.AuditRow, c *collector) {
	m.Rows = len(rows)
	waiting := map[string]bool{}
	for _, r := range rows {
		m.States[r.State]++
		if r.State == stateWaiting {
			waiting[r.RequestPath] = true
		}
		for _, a := range assertionsOf(r) {
			if a.value == schemas.False {
				m.Exceptions = append(m.Exceptions, schemas.AuditException{Sequence: r.Sequence, Operation: r.Operation, RequestPath: r.RequestPath, Assertion: a.name})
			}
		}
	}
	m.RequestFiles = len(c.files)
	m.Unreconciled = append(m.Unreconciled, sortedKeys(waiting)...)
	m.Reconciled = m.RequestFiles - len(m.Unreconciled)
	m.Configuration = append(m.Configuration, c.configuration...)
	m.PolicyBundles = append(m.PolicyBundles, sortedKeys(c.bundles)...)
	m.Versions = append(m.Versions, sortedKeys(c.versions)...)
}

func sortedKeys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func write(w io.Writer, format string, rows []*schemas.AuditRow) error {
	if format == "csv" {
		return writeCSV(w, rows)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, r := range rows {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}
