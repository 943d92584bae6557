package ledger_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
)

func lines(text string) func(yield func(string, error) bool) {
	return func(yield func(string, error) bool) {
		for l := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
			if !yield(l, nil) {
				return
			}
		}
	}
}

// made is what a ledger of a few records is elsewhere.
func made(t testing.TB) string {
	t.Helper()
	var text strings.Builder
	l, err := ledger.Open(t.Context(), ledger.Config{Path: filepath.Join(t.TempDir(), "ledger.db")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := l.Append(t.Context(), schemas.Record{Type: schemas.RecordFinding, Application: "a", Finding: &schemas.Finding{Code: "x", Severity: "error", Message: strings.Repeat("m", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	err = l.Lines(t.Context(), 1, func(_ int64, _, line string) error {
		text.WriteString(line + "\n")
		return nil
	})
	if err = errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestImportIsTheSameLedger(t *testing.T) {
	t.Parallel()
	text := made(t)
	l, err := ledger.Open(t.Context(), ledger.Config{Path: filepath.Join(t.TempDir(), "ledger.db")})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time changes nothing
		if err := l.Import(t.Context(), lines(text), ""); err != nil {
			t.Fatal(err)
		}
	}
	rep, err := l.Verify(t.Context(), ledger.VerifyOptions{})
	if err != nil || rep.Records != 3 || len(rep.Problems) > 0 {
		t.Errorf("Verify = %+v, %v", rep, err)
	}
	other := strings.Replace(text, `"code":"x"`, `"code":"y"`, 1)
	if other == text {
		t.Fatal("the second record is not there")
	}
	if err := l.Import(t.Context(), lines(other), ""); !errors.Is(err, ledger.ErrForeignRecord) {
		t.Errorf("another second record: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// FuzzImport gives an import lines of anybody's: whatever they are, either all of them are taken and the chain holds, or
// none.
func FuzzImport(f *testing.F) {
	text := made(f)
	f.Add(text)
	f.Add(strings.Replace(text, `"sequence":2`, `"sequence":3`, 1))
	f.Add(text + text)
	f.Add("{}\n")
	f.Add(`{"sequence":1,"type":"run","run_info":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ledger.Open(t.Context(), ledger.Config{Path: filepath.Join(t.TempDir(), "ledger.db")})
		if err != nil {
			t.Fatal(err)
		}
		ierr := l.Import(t.Context(), lines(text), "")
		rep, err := l.Verify(t.Context(), ledger.VerifyOptions{ChainOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if ierr != nil && rep.Records != 0 {
			t.Errorf("an import that failed (%v) left %d records", ierr, rep.Records)
		}
		if len(rep.Problems) > 0 {
			t.Errorf("an import left a chain that does not hold: %v", rep.Problems)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}
