package pack

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/audit"
	"github.com/countersign/countersign/reconciler/ledger/ledgertest"
	"github.com/countersign/countersign/schemas"
)

func ptr[T any](v T) *T { return &v }

// year is a ledger with a grant, its removal and something done by hand.
func year(t testing.TB) *ledger.Ledger {
	t.Helper()
	c := ledgertest.NewClock()
	l, err := ledger.Open(t.Context(), ledger.Config{Path: filepath.Join(t.TempDir(), "state", "ledger.db"), Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	at := c.Peek()
	d := ledgertest.Doc("requests/r.yaml", "b1")
	grant := ledgertest.Operation("mallory", schemas.OperationGrant, schemas.CauseRequest, d)
	off := ledgertest.Operation("mallory", schemas.OperationRevoke, schemas.CauseExpiry, d)
	off.ID = "off"
	admission := ledgertest.Verdict("c1", schemas.AdmissionAdmitted, schemas.FileChange{Path: d.Path, After: d.Blob})
	admission.Admission.Requests = []schemas.RequestInfo{{Document: d, Kind: schemas.KindConnectionAssignment, Application: ledgertest.Application, Connection: ledgertest.Role("sales"),
		Metadata: schemas.Metadata{Name: "r", Reason: `=HYPERLINK("http://evil.test";"Mallory needs <b>it</b>")`}}}
	admission.Admission.Evidence = &schemas.Evidence{Forge: "github", Authors: []string{"zoe"}, Beneficiaries: []string{"mallory"}, MergedAt: &at,
		Approvals: []schemas.Approval{{Person: "frank", Capacities: []string{"user:frank"}, At: &at, Authenticated: true, Method: "review", Counts: true}}}
	item := strings.Join([]string{"e", "role", "sales", "user", "erin", "MEMBER"}, "\x1f")
	for _, r := range []schemas.Record{admission, ledgertest.RunRecord("r1", "v"), ledgertest.Intent("r1", grant), ledgertest.Outcome("r1", grant, schemas.OutcomeApplied),
		ledgertest.Verified("r1", grant, schemas.VerificationVerified), ledgertest.Intent("r2", off), ledgertest.Outcome("r2", off, schemas.OutcomeApplied), ledgertest.Verified("r2", off, schemas.VerificationVerified),
		{Type: schemas.RecordObservation, Application: ledgertest.Application, Observation: &schemas.ObservationRecord{ReadAt: at.Add(time.Hour), Opened: []schemas.Sighting{{Kind: schemas.SightingUnmanaged, Item: item}}}},
		ledgertest.End("r2", "v", nil)} {
		if _, err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func write(t testing.TB, l *ledger.Ledger, o Options) (string, Result) {
	t.Helper()
	o.Directory = filepath.Join(t.TempDir(), "package")
	r, err := Write(t.Context(), l, o)
	if err != nil {
		t.Fatal(err)
	}
	return o.Directory, r
}

func read(t testing.TB, parts ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The package verifies with nothing but SHA-256: its sums, and the chain of its records.
func TestPackageVerifies(t *testing.T) {
	t.Parallel()
	l := year(t)
	for name, pseudonyms := range map[string]bool{"names": false, "pseudonyms": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, r := write(t, l, Options{Pseudonyms: pseudonyms})
			if r.Sampled != 2 || r.Seed == 0 || r.Manifest.Rows != 3 {
				t.Errorf("%+v; want 2 sampled of 3 rows", r)
			}
			listed := map[string]string{}
			s := bufio.NewScanner(bytes.NewReader(read(t, dir, "SHA256SUMS")))
			for s.Scan() {
				sum, file, _ := strings.Cut(s.Text(), "  ")
				listed[file] = sum
			}
			for _, f := range r.Files {
				sum := sha256.Sum256(read(t, dir, f))
				if f != "SHA256SUMS" && listed[f] != hex.EncodeToString(sum[:]) {
					t.Errorf("%s is not as SHA256SUMS has it", f)
				}
			}
			previous := ""
			for line := range strings.Lines(string(read(t, dir, "records.jsonl"))) {
				line = strings.TrimSuffix(line, "\n")
				var rec struct{ Previous string }
				if err := json.Unmarshal([]byte(line), &rec); err != nil || rec.Previous != previous {
					t.Fatalf("a record doesn't follow %s: %v", previous, err)
				}
				sum := sha256.Sum256([]byte(line))
				previous = hex.EncodeToString(sum[:])
			}
			if previous != r.Manifest.Head {
				t.Errorf("the records end with %s, the manifest with %s", previous, r.Manifest.Head)
			}
		})
	}
}

// With pseudonyms, no file has a name or free text, and one name has one pseudonym.
func TestPseudonyms(t *testing.T) {
	t.Parallel()
	l := year(t)
	names := []string{"mallory", "Mallory", "zoe", "frank", "erin", "evil.test"}
	count := func(dir string) (found int) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			texts := [][]byte{read(t, dir, e.Name())}
			if strings.HasSuffix(e.Name(), ".xlsx") {
				texts = unzipped(t, texts[0])
			}
			for _, n := range names {
				for _, text := range texts {
					if bytes.Contains(text, []byte(n)) {
						found++
						t.Logf("%s has %s", e.Name(), n)
					}
				}
			}
		}
		return found
	}
	with, _ := write(t, l, Options{Pseudonyms: true})
	if n := count(with); n > 0 {
		t.Errorf("%d names in a package with pseudonyms", n)
	}
	if without, _ := write(t, l, Options{}); count(without) == 0 {
		t.Error("no names in a package without pseudonyms: this test proves nothing")
	}
	rows := string(read(t, with, "rows.jsonl"))
	if n := strings.Count(rows, `"target":"user/person-`); n != 3 {
		t.Errorf("%d targets with a pseudonym, want 3:\n%s", n, rows)
	}
}

func unzipped(t testing.TB, b []byte) (out [][]byte) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
	}
	return out
}

func TestWorkbook(t *testing.T) {
	t.Parallel()
	dir, _ := write(t, year(t), Options{})
	f, err := excelize.OpenFile(filepath.Join(dir, "audit.xlsx"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	want := []string{"Overview", "Population", "Sample", "Entitlements at start", "Entitlements at end", "Exceptions", "Control configuration", "Overrides", "Legend"}
	if got := f.GetSheetList(); strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("sheets %q, want %q", got, want)
	}
	rows, err := f.GetRows("Population")
	if err != nil || len(rows) != 4 {
		t.Fatalf("%d lines, %v; want a header and 3", len(rows), err)
	}
	for _, text := range unzipped(t, read(t, dir, "audit.xlsx")) {
		if bytes.Contains(text, []byte("<f>")) || bytes.Contains(text, []byte("<f ")) {
			t.Error("a cell is a formula")
		}
	}
	found := false
	for _, cells := range rows {
		for _, c := range cells {
			found = found || strings.HasPrefix(c, `'=HYPERLINK`)
		}
	}
	if !found {
		t.Errorf("the reason that looks like a formula is not quoted: %q", rows)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	dir, _ := write(t, year(t), Options{Content: func(blob string) (string, error) { return "kind: <script>alert(1)</script> " + blob, nil }})
	text := string(read(t, dir, "sample-001.html"))
	for _, want := range []string{"frank", "zoe", "Mallory needs &lt;b&gt;it", "kind: &lt;script&gt;", "<svg", "verified", "It is not in place"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(text, "<script") {
		t.Error("the page has a script")
	}
	if how := string(read(t, dir, "README.html")); !strings.Contains(how, "sha256sum --check SHA256SUMS") || !strings.Contains(how, "not signed") {
		t.Errorf("README.html doesn't tell how to verify, or that nothing is signed:\n%s", how)
	}
}

func TestSampleIsRepeatable(t *testing.T) {
	t.Parallel()
	var rows []*schemas.AuditRow
	for i := range 200 {
		kind := schemas.OperationGrant
		if i%2 == 0 {
			kind = schemas.OperationRevoke
		}
		rows = append(rows, &schemas.AuditRow{Sequence: int64(i), Kind: kind, EffectiveAt: ptr(time.Unix(int64(i), 0))})
	}
	rows[0].EffectiveAt = nil
	first, again, other := draw(rows, 7, 10), draw(rows, 7, 10), draw(rows, 8, 10)
	same := func(a, b []*schemas.AuditRow) bool {
		n := 0
		for i := range a {
			if a[i] == b[i] {
				n++
			}
		}
		return n == len(a)
	}
	if len(first) != 20 || !same(first, again) || same(first, other) {
		t.Errorf("%d rows; the same seed gives the same: %v; another gives another: %v", len(first), same(first, again), !same(first, other))
	}
}

func TestPackageIsNeverMixed(t *testing.T) {
	t.Parallel()
	if _, err := Write(context.Background(), year(t), Options{Directory: t.TempDir()}); !errors.Is(err, ErrExists) {
		t.Errorf("Write() into a folder that is there: %v, want ErrExists", err)
	}
}

func TestPerson(t *testing.T) {
	t.Parallel()
	_, r := write(t, year(t), Options{Person: "erin"})
	if r.Manifest.Rows != 1 {
		t.Errorf("%d rows about erin, want 1", r.Manifest.Rows)
	}
}

// BenchmarkPackage makes the package of 40,000 operations: it should take under 20 s, and 300 MB.
func BenchmarkPackage(b *testing.B) {
	c := ledgertest.NewClock()
	l, err := ledger.Open(b.Context(), ledger.Config{Path: filepath.Join(b.TempDir(), "l.db"), Now: c.Now})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	for _, batch := range ledgertest.LargeRun(40000) {
		if _, err := l.Append(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	for i := 0; b.Loop(); i++ {
		r, err := Write(b.Context(), l, Options{Directory: filepath.Join(b.TempDir(), "package"), Export: audit.ExportOptions{}})
		if err != nil || r.Manifest.Rows != 40000 {
			b.Fatal(r.Manifest.Rows, err)
		}
	}
}
