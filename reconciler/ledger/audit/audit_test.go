package audit

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/ledgertest"
	"github.com/countersign/countersign/schemas"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const app = ledgertest.Application

// The records that tests append.
var (
	role      = ledgertest.Role
	doc       = ledgertest.Doc
	operation = ledgertest.Operation
	runRecord = ledgertest.RunRecord
	end       = ledgertest.End
	intent    = ledgertest.Intent
	held      = ledgertest.Held
	outcome   = ledgertest.Outcome
	verified  = ledgertest.Verified
	verdict   = ledgertest.Verdict
)

func openAt(t testing.TB, path string, now func() time.Time) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), ledger.Config{Path: path, Now: now, Random: ledgertest.Random()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func temp(t testing.TB) (*ledger.Ledger, *ledgertest.Clock) {
	t.Helper()
	c := ledgertest.NewClock()
	return openAt(t, filepath.Join(t.TempDir(), "state", "ledger.db"), c.Now), c
}

func appendTo(t testing.TB, l *ledger.Ledger, records ...schemas.Record) []schemas.Record {
	t.Helper()
	out, err := l.Append(t.Context(), records...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// raw runs SQL on a file as somebody with an editor for it would.
func raw(t testing.TB, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestNothing asks everything of a ledger without a file, of an empty file, and of one without records.
func TestNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := openAt(t, path, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".empty", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"no file": path + ".none", "an empty file": path + ".empty", "no records": path} {
		l, err := ledger.Open(t.Context(), ledger.Config{Path: path, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		list, err := AsOf(t.Context(), l, time.Now(), "")
		if err != nil || len(list.Entitlements) > 0 || len(list.Reads) > 0 {
			t.Errorf("%s: AsOf() = %v, %v; want nothing", name, list, err)
		}
		var out strings.Builder
		m, err := Export(t.Context(), l, ExportOptions{Out: &out})
		if err != nil || m.Rows != 0 || !m.ChainOK || out.Len() != 0 {
			t.Errorf("%s: Export() = %+v, %v, %q; want nothing", name, m, err, out.String())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkExport(b *testing.B) {
	l := openAt(b, filepath.Join(b.TempDir(), "l.db"), nil)
	for _, batch := range ledgertest.LargeRun(10000) {
		appendTo(b, l, batch...)
	}
	for _, format := range []string{"jsonl", "csv"} {
		b.Run(format, func(b *testing.B) {
			for b.Loop() {
				if m, err := Export(b.Context(), l, ExportOptions{Format: format, Out: io.Discard}); err != nil || m.Rows != 10000 {
					b.Fatal(m.Rows, err)
				}
			}
		})
	}
}
