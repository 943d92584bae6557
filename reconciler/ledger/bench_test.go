package ledger

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign/countersign/reconciler/ledger/ledgertest"
	"github.com/countersign/countersign/schemas"
)

// outcomes are n records as a run writes them: the whole operation and what became of it.
func BenchmarkAppend(b *testing.B) {
	records := outcomes(60000)
	for b.Loop() {
		l, err := Open(b.Context(), Config{Path: filepath.Join(b.TempDir(), "l.db")})
		if err != nil {
			b.Fatal(err)
		}
		for i := 0; i < len(records); i += 1000 {
			if _, err := l.Append(b.Context(), records[i:i+1000]...); err != nil {
				b.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBody(b *testing.B) {
	records := outcomes(100)
	for b.Loop() {
		for i := range records {
			if _, _, err := bodyOf(&records[i], rand.Reader); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkAllBaseline(b *testing.B) {
	l := openAt(b, filepath.Join(b.TempDir(), "l.db"), nil)
	for i := 0; i < 30000; i += 1000 {
		var items []schemas.BaselineItem
		for j := range 1000 {
			items = append(items, schemas.BaselineItem{Item: fmt.Sprintf("e\x1frole\x1fsales_%d\x1fuser\x1fperson_%d\x1fMEMBER", (i+j)%300, i+j), Token: "present:0123456789abcdef", Made: true, NativeID: "16400"})
		}
		appendTo(b, l, schemas.Record{Type: schemas.RecordAdoption, Application: "warehouse", Baseline: items})
	}
	for b.Loop() {
		n := 0
		if err := l.AllBaseline(b.Context(), "warehouse", func(schemas.BaselineItem) error { n++; return nil }); err != nil || n != 30000 {
			b.Fatal(n, err)
		}
	}
}

// large is a ledger of a run with n operations.
func large(b *testing.B, n int) *Ledger {
	l := openAt(b, filepath.Join(b.TempDir(), "l.db"), nil)
	for _, batch := range ledgertest.LargeRun(n) {
		appendTo(b, l, batch...)
	}
	return l
}

// Each of these is over 10,000 operations, that is 20,010 records.
func BenchmarkVerify(b *testing.B) {
	l := large(b, 10000)
	for b.Loop() {
		if rep, err := l.Verify(b.Context(), VerifyOptions{}); err != nil || len(rep.Problems) > 0 {
			b.Fatal(rep, err)
		}
	}
}

func BenchmarkStates(b *testing.B) {
	l := large(b, 10000)
	for b.Loop() {
		if s, err := l.States(b.Context()); err != nil || len(s) != 200 {
			b.Fatal(len(s), err)
		}
	}
}

// BenchmarkIntent is what stands between a plan and its first write: one operation, on the disk.
func BenchmarkIntent(b *testing.B) {
	l := openAt(b, filepath.Join(b.TempDir(), "l.db"), nil)
	r := outcomes(1)[0]
	for b.Loop() {
		appendTo(b, l, schemas.Record{Type: schemas.RecordIntent, Application: "warehouse", Planned: []schemas.Operation{*r.Operation}})
	}
}

// BenchmarkProve opens a ledger of 40,000 records and proves it: in full, and as it is when nothing changed since.
func BenchmarkProve(b *testing.B) {
	path := filepath.Join(b.TempDir(), "l.db")
	l := openAt(b, path, nil)
	records := outcomes(40000)
	for i := 0; i < len(records); i += 1000 {
		appendTo(b, l, records[i:i+1000]...)
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	prove := func(b *testing.B) {
		b.Helper()
		again, err := Open(b.Context(), Config{Path: path, ReadOnly: true})
		if err == nil {
			err = again.Prove(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
		if err := again.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("in full", func(b *testing.B) {
		for b.Loop() {
			if err := os.Remove(path + markSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				b.Fatal(err)
			}
			prove(b)
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		for b.Loop() {
			prove(b)
		}
	})
}
