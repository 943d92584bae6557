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
	"maps"
	"slices"
	"time"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/schemas"
)

// The formats of an export.
const (
	formatJSONLines = "jsonl"
	formatCSV       = "csv"
)

// ExportOptions configures an export.
type ExportOptions struct {
	// Format is jsonl (authoritative; the default) or csv.
	Format      string
	Application string
	// Since is inclusive, Until exclusive; zero is open. A row is in the period in which it took effect; one that did not
	// take effect is in that of its first record.
	Since, Until time.Time
	// AsOf, AsOfSequence and AsOfHead show everything as it was recorded up to an instant, to a record's sequence, or to
	// the record with a hash; zero is all. The same export can be made again so, byte for byte.
	AsOf         time.Time
	AsOfSequence int64
	AsOfHead     string
	// Key is the public key that the ledger's head is signed with; nil proves no signature.
	Key *seal.Public
	// Names collects the texts that name or may name a person.
	Names bool
	// Version is that of the program, for the manifest.
	Version string
	// Out is where the rows go. Required.
	Out io.Writer
}

// period describes which instant of a row decides in which period it is.
const period = "rows by when they took effect (effective_at); rows without effect by their first record (time); exceptions that began in the period or lasted into it"

// ErrNoHead means that no record has the hash that an export was asked for.
var ErrNoHead = errors.New("no record of this ledger has that hash")

// Export writes one row for each operation, each change without operations and each change by hand, sorted by
// sequence, and returns the manifest. Rows and manifest are of one moment: that of the last record that counts.
func Export(ctx context.Context, l *ledger.Ledger, o ExportOptions) (schemas.AuditManifest, error) {
	p, err := collect(ctx, l, o)
	if err != nil {
		return p.manifest, err
	}
	sum := sha256.New()
	w := bufio.NewWriter(io.MultiWriter(o.Out, sum))
	if err := errors.Join(write(w, p.manifest.Format, p.rows), w.Flush()); err != nil {
		return p.manifest, fmt.Errorf("write the export: %w", err)
	}
	p.manifest.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return p.manifest, nil
}

// Population is all that an audit of a period shows, of one moment.
type Population struct {
	Rows     []*schemas.AuditRow
	Manifest schemas.AuditManifest
	// Start and End are what was in place at the ends of the period.
	Start, End schemas.AuditEntitlements
	// Personal are the texts that name or may name a person.
	Personal map[string]bool
}

// Collect reads the ledger for everything that an audit of a period shows. Out and Format aren't used.
func Collect(ctx context.Context, l *ledger.Ledger, o ExportOptions) (*Population, error) {
	o.Format = formatJSONLines
	p, err := collect(ctx, l, o)
	if err != nil {
		return nil, err
	}
	out := &Population{Rows: p.rows, Manifest: p.manifest, Personal: p.personal}
	if o.Until.IsZero() || o.Until.After(p.now) {
		out.End = schemas.AuditEntitlements{APIVersion: schemas.APIVersion, Kind: "AuditEntitlements", AsOf: p.now.UTC(), Reads: p.world.lastReads(o.Application)}
		out.End.Entitlements, err = p.world.entitlements(p.documents, o.Application)
	} else {
		out.End, err = AsOf(ctx, l, o.Until, o.Application)
	}
	if err != nil {
		return nil, err
	}
	if o.Since.IsZero() {
		return out, nil // nothing was in place before the first record
	}
	if out.Start, err = AsOf(ctx, l, o.Since, o.Application); err != nil {
		return nil, err
	}
	return out, nil
}

// WriteRows writes rows as JSON Lines.
func WriteRows(w io.Writer, rows []*schemas.AuditRow) error { return write(w, formatJSONLines, rows) }

// population is what an export has.
type population struct {
	rows     []*schemas.AuditRow
	manifest schemas.AuditManifest
	*collector
}

// collect reads the ledger once and joins its records.
func collect(ctx context.Context, l *ledger.Ledger, o ExportOptions) (population, error) {
	if o.Format == "" {
		o.Format = formatJSONLines
	}
	m := schemas.AuditManifest{APIVersion: schemas.APIVersion, Kind: "AuditManifest", Version: o.Version, Format: o.Format, Application: o.Application, Period: period,
		Since: orNull(o.Since), Until: orNull(o.Until), States: map[schemas.AuditState]int{}, Problems: []schemas.AuditProblem{},
		Unreconciled: []string{}, Configuration: []schemas.AuditConfigurationChange{}, PolicyBundles: []string{}, Versions: []string{}, Exceptions: []schemas.AuditException{}}
	p := population{manifest: m}
	if o.Format != formatJSONLines && o.Format != formatCSV {
		return p, fmt.Errorf("format: unknown value %q (expected jsonl or csv)", o.Format)
	}
	if o.AsOfHead != "" {
		var err error
		if o.AsOfSequence, err = sequenceOf(ctx, l, o.AsOfHead); err != nil {
			return p, fmt.Errorf("export: %w", err)
		}
	}
	c := newCollector(o)
	p.collector = c
	chain, err := l.ReadVerified(ctx, c.read)
	if err != nil {
		return p, fmt.Errorf("export: %w", err)
	}
	if c.until == 0 {
		c.now = l.Now() // without records, the moment is now
	}
	p.manifest.At, p.manifest.AsOf = c.now, orNull(c.now)
	c.summariseChain(&p.manifest, chain)
	signed, err := c.signedUntil(ctx, l)
	if err != nil {
		return p, fmt.Errorf("export: %w", err)
	}
	p.rows = c.finish(p.manifest.ChainOK, signed)
	summarise(&p.manifest, p.rows, c)
	p.manifest.Exceptions = append(p.manifest.Exceptions, c.exceptions(signed)...)
	for _, x := range p.manifest.Exceptions {
		if x.Open {
			p.manifest.Open++
		}
	}
	return p, nil
}

// signedUntil is the last record that a valid signature covers; 0 for none. The head that is signed covers all records
// before it.
func (c *collector) signedUntil(ctx context.Context, l *ledger.Ledger) (int64, error) {
	note, err := l.Note(ctx)
	if err != nil || note == "" || c.options.Key == nil {
		return 0, err
	}
	h, err := c.options.Key.Open(note)
	if err != nil {
		return 0, nil //nolint:nilerr // a signature by another key proves nothing, which is an exception of its own
	}
	if sequence, err := sequenceOf(ctx, l, h.Hash); err != nil || sequence != h.Sequence {
		return 0, nil //nolint:nilerr // likewise one of records that aren't here
	}
	return h.Sequence, nil
}

// sequenceOf finds the record with a hash.
func sequenceOf(ctx context.Context, l *ledger.Ledger, hash string) (int64, error) {
	found := int64(0)
	err := l.Lines(ctx, 1, func(sequence int64, h, _ string) error {
		if h == hash {
			found = sequence
		}
		return nil
	})
	if err == nil && found == 0 {
		err = fmt.Errorf("%w: %s", ErrNoHead, hash)
	}
	return found, err
}

// read takes a record and keeps the head of those that count.
func (c *collector) read(r schemas.Record) error {
	before := c.until
	if err := c.take(r); err != nil {
		return err
	}
	if c.until != before {
		if c.options.Names {
			for text := range ledger.PersonalTexts(&r) {
				c.personal[text] = true
			}
		}
		c.head = r.Hash
		c.records++
	}
	return nil
}

// summariseChain notes what was found about the records that count.
func (c *collector) summariseChain(m *schemas.AuditManifest, chain schemas.AuditVerification) {
	m.Records, m.LastSequence, m.Head = c.records, c.until, c.head
	for _, p := range chain.Problems {
		if p.Sequence <= c.until {
			m.Problems = append(m.Problems, p)
		}
	}
	m.ChainOK = len(m.Problems) == 0
	if m.Records > 0 {
		m.FirstSequence = 1
	}
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
		if r.State == schemas.AuditWaiting {
			waiting[r.RequestPath] = true
		}
	}
	m.Reads = c.world.lastReads(c.options.Application)
	m.RequestFiles = len(c.files)
	m.Unreconciled = append(m.Unreconciled, sortedKeys(waiting)...)
	m.Reconciled = m.RequestFiles - len(m.Unreconciled)
	m.Configuration = append(m.Configuration, c.configuration...)
	m.PolicyBundles = append(m.PolicyBundles, sortedKeys(c.bundles)...)
	m.Versions = append(m.Versions, sortedKeys(c.versions)...)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func write(w io.Writer, format string, rows []*schemas.AuditRow) error {
	if format == formatCSV {
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
