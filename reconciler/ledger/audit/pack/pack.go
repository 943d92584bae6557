package pack

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/audit"
	"github.com/countersign/countersign/schemas"
)

// Options configures a package.
type Options struct {
	// Directory is made, and must not exist yet. Required.
	Directory string
	// Export has the period and the application.
	Export audit.ExportOptions
	// Person narrows the rows to those that somebody asked for, approved, did or gains by; "" is all.
	Person string
	// Sample is how many grants, and how many removals, get a page; 0 is 25.
	Sample int
	// Seed draws the sample; 0 takes it from the head of the ledger, which neither side chose.
	Seed uint64
	// Pseudonyms puts stable pseudonyms in the place of names, and leaves free text out.
	Pseudonyms bool
	// Content returns a request's text by its blob; nil leaves it out.
	Content func(blob string) (string, error)
}

// Result describes a package that was written.
type Result struct {
	Manifest schemas.AuditManifest
	Seed     uint64
	Sampled  int
	Files    []string
}

// ErrExists means that the folder is there already: a package is never mixed with another one.
var ErrExists = errors.New("it exists already: name a new folder")

// fileMode is for files with personal data.
const fileMode, folderMode = 0o600, 0o700

// Write makes the package.
func Write(ctx context.Context, l *ledger.Ledger, o Options) (Result, error) {
	var out Result
	if err := os.Mkdir(o.Directory, folderMode); errors.Is(err, os.ErrExist) {
		return out, fmt.Errorf("%s: %w", o.Directory, ErrExists)
	} else if err != nil {
		return out, err
	}
	o.Export.Names = o.Pseudonyms
	p, err := audit.Collect(ctx, l, o.Export)
	if err != nil {
		return out, err
	}
	if o.Person != "" {
		p.Rows = slices.DeleteFunc(p.Rows, func(r *schemas.AuditRow) bool { return !concerns(r, o.Person) })
		p.Manifest.Rows = len(p.Rows)
	}
	if o.Pseudonyms {
		o.Content = nil
		if err := renamer(newPseudonyms(p.Personal).text).population(p); err != nil {
			return out, fmt.Errorf("put pseudonyms in place: %w", err)
		}
	}
	if out.Seed = o.Seed; out.Seed == 0 {
		sum := sha256.Sum256([]byte(p.Manifest.Head))
		out.Seed = binary.BigEndian.Uint64(sum[:8])
	}
	sample := draw(p.Rows, out.Seed, o.Sample)
	out.Manifest, out.Sampled = p.Manifest, len(sample)
	w := &writer{dir: o.Directory}
	w.file("rows.jsonl", func(f io.Writer) error { return audit.WriteRows(f, p.Rows) })
	w.file("audit.xlsx", func(f io.Writer) error { return workbook(f, p, sample, out.Seed) })
	for i, r := range sample {
		w.file(pageName(i), func(f io.Writer) error { return page(f, p, r, i, o.Content) })
	}
	last := p.Manifest.LastSequence
	w.file("records.jsonl", func(f io.Writer) error {
		return lines(ctx, l, last, func(hashed, _ string) error { return line(f, hashed) })
	})
	if !o.Pseudonyms {
		w.file("names.jsonl", func(f io.Writer) error {
			return lines(ctx, l, last, func(_, personal string) error {
				if personal == "" {
					personal = "{}"
				}
				return line(f, personal)
			})
		})
	}
	note, err := l.Note(ctx)
	if err != nil {
		return out, err
	}
	if note != "" {
		w.file("head.note", func(f io.Writer) error { _, err := io.WriteString(f, note); return err })
	}
	w.file("manifest.json", func(f io.Writer) error {
		e := json.NewEncoder(f)
		e.SetIndent("", "  ")
		return e.Encode(&p.Manifest)
	})
	w.file("README.html", func(f io.Writer) error { return readme(f, p, out.Seed, note != "", o.Pseudonyms) })
	out.Files, err = w.sums()
	return out, err
}

// writer writes files and keeps their digests. It keeps the first error.
type writer struct {
	dir  string
	list []string
	sum  map[string]string
	err  error
}

func (w *writer) file(name string, fill func(io.Writer) error) {
	if w.err != nil {
		return
	}
	f, err := os.OpenFile(filepath.Join(w.dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		w.err = err
		return
	}
	sum := sha256.New()
	b := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<16)
	if err := errors.Join(fill(b), b.Flush(), f.Close()); err != nil {
		w.err = fmt.Errorf("write %s: %w", name, err)
		return
	}
	if w.sum == nil {
		w.sum = map[string]string{}
	}
	w.list = append(w.list, name)
	w.sum[name] = hex.EncodeToString(sum.Sum(nil))
}

// sums writes SHA256SUMS, in the form of sha256sum, and returns the files.
func (w *writer) sums() ([]string, error) {
	slices.Sort(w.list)
	names := slices.Clone(w.list)
	w.file("SHA256SUMS", func(f io.Writer) error {
		for _, n := range names {
			if _, err := fmt.Fprintf(f, "%s  %s\n", w.sum[n], n); err != nil {
				return err
			}
		}
		return nil
	})
	return w.list, w.err
}

func line(w io.Writer, text string) error {
	_, err := io.WriteString(w, text+"\n")
	return err
}

// lines calls fn for the records up to the last one that counts.
func lines(ctx context.Context, l *ledger.Ledger, last int64, fn func(hashed, personal string) error) error {
	return l.Lines(ctx, 1, func(sequence int64, _, text string) error {
		if sequence > last {
			return nil
		}
		return fn(ledger.Parts(text))
	})
}

// concerns reports whether a row is about a person: as somebody who asked, approved, did it, or gains by it.
func concerns(r *schemas.AuditRow, person string) bool {
	same := func(name string) bool { return strings.EqualFold(name, person) }
	_, target, _ := strings.Cut(r.Target, "/")
	return same(target) || same(r.MergedBy) || same(r.FulfilledBy) || slices.ContainsFunc(r.Requesters, same) || slices.ContainsFunc(r.Beneficiaries, same) ||
		slices.ContainsFunc(r.Approvals, func(a schemas.Approval) bool { return same(a.Person) })
}

const defaultSample = 25

// draw returns n grants and n removals that took effect, in the order of the rows. The same rows and seed give the same
// sample.
func draw(rows []*schemas.AuditRow, seed uint64, n int) []*schemas.AuditRow {
	if n <= 0 {
		n = defaultSample
	}
	var grants, removals []int
	for i, r := range rows {
		switch {
		case r.EffectiveAt == nil || r.State == schemas.AuditObserved:
		case r.Kind == schemas.OperationRevoke || r.Kind == schemas.OperationDelete:
			removals = append(removals, i)
		default:
			grants = append(grants, i)
		}
	}
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // it has to be repeatable
	var chosen []int
	for _, list := range [][]int{grants, removals} {
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		chosen = append(chosen, list[:min(n, len(list))]...)
	}
	slices.Sort(chosen)
	out := make([]*schemas.AuditRow, len(chosen))
	for i, at := range chosen {
		out[i] = rows[at]
	}
	return out
}
