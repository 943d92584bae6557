package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/ledger/ledgertest"
	"github.com/countersign/countersign/schemas"
)

const app = ledgertest.Application

// The records that tests append.
var (
	doc       = ledgertest.Doc
	operation = ledgertest.Operation
	runRecord = ledgertest.RunRecord
	end       = ledgertest.End
	intent    = ledgertest.Intent
	held      = ledgertest.Held
	outcome   = ledgertest.Outcome
	verified  = ledgertest.Verified
	verdict   = ledgertest.Verdict
	asking    = ledgertest.Asking
	word      = ledgertest.Word
	note      = ledgertest.Note
	outcomes  = ledgertest.Outcomes
)

func openAt(t testing.TB, path string, now func() time.Time) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), Config{Path: path, Now: now})
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

func temp(t testing.TB) (*Ledger, *ledgertest.Clock) {
	t.Helper()
	c := ledgertest.NewClock()
	return openAt(t, filepath.Join(t.TempDir(), "state", "ledger.db"), c.Now), c
}

func appendTo(t testing.TB, l *Ledger, records ...schemas.Record) []schemas.Record {
	t.Helper()
	out, err := l.Append(t.Context(), records...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func problems(t testing.TB, l *Ledger, o VerifyOptions) []string {
	t.Helper()
	rep, err := l.Verify(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, p := range rep.Problems {
		out = append(out, fmt.Sprintf("%d: %s", p.Sequence, p.What))
	}
	return out
}

func holds(t testing.TB, l *Ledger) {
	t.Helper()
	if got := problems(t, l, VerifyOptions{}); len(got) > 0 {
		t.Errorf("Verify() found %q, want nothing", got)
	}
}

func TestAppendChains(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	in := []schemas.Record{note("one"), note("two")}
	first := appendTo(t, l, in...)
	second := appendTo(t, l, note("three"))
	if in[0].Hash != "" || in[0].Sequence != 0 {
		t.Errorf("Append changed what it was given: %+v", in[0])
	}
	all := append(first, second...)
	for i, r := range all {
		previous := ""
		if i > 0 {
			previous = all[i-1].Hash
		}
		if r.Sequence != int64(i+1) || r.Previous != previous || len(r.Hash) != 64 || r.APIVersion != schemas.APIVersion || r.Time.IsZero() {
			t.Errorf("record %d: %+v", i, r)
		}
	}
	var read []schemas.Record
	if err := l.Records(t.Context(), Filter{}, func(r schemas.Record) error { read = append(read, r); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, read); diff != "" {
		t.Errorf("Records() differ from Append()'s (-append +read):\n%s", diff)
	}
	holds(t, l)
}

func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	many := make([]schemas.Operation, MaxPlanned+1)
	for name, tt := range map[string]struct {
		record schemas.Record
		want   string
	}{
		"no type":           {schemas.Record{}, "type: required"},
		"empty intent":      {schemas.Record{Type: schemas.RecordIntent, Operations: []string{"a"}}, "requires planned"},
		"outcome alone":     {schemas.Record{Type: schemas.RecordOutcome, Outcome: &schemas.OutcomeRecord{}}, "requires operation or outcome"},
		"verification":      {schemas.Record{Type: schemas.RecordVerification, Operation: &schemas.Operation{}}, "requires operation or verification"},
		"run":               {schemas.Record{Type: schemas.RecordRun}, "requires run_info"},
		"run's end":         {schemas.Record{Type: schemas.RecordRunEnd}, "requires run_info"},
		"admission":         {schemas.Record{Type: schemas.RecordAdmission, Admission: &schemas.AdmissionRecord{}}, "requires admission"},
		"finding":           {schemas.Record{Type: schemas.RecordFinding}, "requires finding"},
		"too many":          {schemas.Record{Type: schemas.RecordIntent, Planned: many}, "more than 1000"},
		"a name in Latin-1": {schemas.Record{Type: schemas.RecordAcknowledged, Application: "caf\xe9"}, "UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := temp(t)
			_, err := l.Append(t.Context(), note("fine"), tt.record)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Append() error %v, want one with %q", err, tt.want)
			}
			rep, err := l.Verify(t.Context(), VerifyOptions{})
			if err != nil || rep.Records != 0 {
				t.Errorf("after a refusal: %+v, %v; want no records", rep, err)
			}
		})
	}
}

// What became of an operation gets on record, in whatever encoding the server complains.
func TestAppendTakesAnyError(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	o := schemas.OutcomeRecord{Operation: "a", Status: "failed", Error: "r\xf4le inconnu"}
	got := appendTo(t, l, schemas.Record{Type: schemas.RecordOutcome, Operation: &schemas.Operation{ID: "a"}, Outcome: &o, Note: "\xff"})
	if got[0].Outcome.Error != "r\ufffdle inconnu" || got[0].Note != "\ufffd" || o.Error != "r\xf4le inconnu" {
		t.Errorf("got %q and %q, given is now %q", got[0].Outcome.Error, got[0].Note, o.Error)
	}
	holds(t, l)
}

func TestOpen(t *testing.T) {
	t.Parallel()
	t.Run("for its owner alone", func(t *testing.T) {
		t.Parallel()
		l, _ := temp(t)
		appendTo(t, l, note("x"))
		for _, p := range []string{l.config.Path, l.config.Path + "-wal", filepath.Dir(l.config.Path)} {
			info, err := os.Stat(p)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %s, want nothing for others", filepath.Base(p), info.Mode())
			}
		}
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "30000"} {
			var got string
			if err := l.db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("PRAGMA %s = %s, %v; want %s", pragma, got, err, want)
			}
		}
	})
	t.Run("read only without a file", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "none", "ledger.db")
		l, err := Open(t.Context(), Config{Path: path, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		empty(t, l)
		if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("reading made the folder: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("read only of a file that is empty", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "ledger.db")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(t.Context(), Config{Path: path, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		empty(t, l)
	})
	t.Run("read only beside a writer, and after it", func(t *testing.T) {
		t.Parallel()
		l, _ := temp(t)
		appendTo(t, l, note("x"))
		for range 2 {
			r, err := Open(t.Context(), Config{Path: l.config.Path, ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			holds(t, r)
			if rep, err := r.Verify(t.Context(), VerifyOptions{}); err != nil || rep.Records != 1 {
				t.Errorf("Verify() = %+v, %v; want one record", rep, err)
			}
			if _, err := r.db.ExecContext(t.Context(), `DELETE FROM baseline`); err == nil {
				t.Error("a read-only ledger was written to")
			}
			if err := errors.Join(r.Close(), l.Close()); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("a path with everything in it", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "a b?c#d%20&mode=memory", "ledger é.db")
		l := openAt(t, path, nil)
		appendTo(t, l, note("x"))
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("the file is not where it was asked for: %v", err)
		}
	})
	for name, tt := range map[string]struct {
		sql  string
		want error
	}{
		"a newer layout":     {fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 99; CREATE TABLE x (y)", applicationID), ErrNewer},
		"another's database": {"CREATE TABLE x (y)", ErrForeign},
		"another's version":  {"PRAGMA user_version = 1; CREATE TABLE x (y)", ErrForeign},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "ledger.db")
			raw(t, path, tt.sql)
			for _, readOnly := range []bool{true, false} {
				if _, err := Open(t.Context(), Config{Path: path, ReadOnly: readOnly}); !errors.Is(err, tt.want) {
					t.Errorf("Open(read only %v) error %v, want %v", readOnly, err, tt.want)
				}
			}
		})
	}
	t.Run("no database at all", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "ledger.db")
		if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Config{Path: path}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("Open() error %v, want one that names the file", err)
		}
	})
	t.Run("other derived tables are made anew", func(t *testing.T) {
		t.Parallel()
		l, _ := temp(t)
		appendTo(t, l, schemas.Record{Type: schemas.RecordAdoption, Application: "warehouse", Baseline: []schemas.BaselineItem{{Item: "c\x1frole\x1fr", Token: "present:"}}})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		raw(t, l.config.Path, "UPDATE derived SET version = 0; DROP TABLE baseline; CREATE TABLE baseline (old)")
		if _, err := Open(t.Context(), Config{Path: l.config.Path, ReadOnly: true}); err == nil || !strings.Contains(err.Error(), "an apply") {
			t.Errorf("Open() for reading: error %v, want what to do", err)
		}
		again := openAt(t, l.config.Path, nil)
		holds(t, again)
		if got, err := again.Baseline(t.Context(), "warehouse", []string{"c\x1frole\x1fr"}); err != nil || len(got) != 1 {
			t.Errorf("Baseline() = %v, %v; want the item", got, err)
		}
	})
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

// empty asks everything of a ledger that has nothing.
func empty(t *testing.T, l *Ledger) {
	t.Helper()
	ctx := t.Context()
	if _, err := l.Append(ctx, note("x")); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Append() error %v, want %v", err, ErrReadOnly)
	}
	if err := l.Rebuild(ctx); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Rebuild() error %v, want %v", err, ErrReadOnly)
	}
	holds(t, l)
	_, found, err := l.Admission(ctx, "c")
	_, last, err2 := l.LastAdmission(ctx)
	done, err3 := l.FirstRunDone(ctx, "a", "v")
	_, run, err4 := l.LastRun(ctx, "a")
	ops, err5 := l.Unsettled(ctx, "a")
	counts, err6 := l.Removals(ctx, "a", time.Time{})
	base, err7 := l.Baseline(ctx, "a", []string{"i"})
	docs, err8 := l.ByDocument(ctx, "p")
	err10 := l.AllBaseline(ctx, "a", func(schemas.BaselineItem) error { return errors.New("an item") })
	err11 := l.Admissions(ctx, func(schemas.AdmissionRecord) error { return errors.New("an admission") })
	if err := errors.Join(err, err2, err3, err4, err5, err6, err7, err8, err10, err11); err != nil {
		t.Error(err)
	}
	if found || last || done || run || len(ops)+len(base)+len(docs) > 0 || counts != (Counts{}) {
		t.Error("an empty ledger has something")
	}
	states, err := l.States(ctx, schemas.DocumentID{Path: "p"})
	if diff := cmp.Diff(map[Key]State{{Path: "p"}: {"pending", "none", "none", ""}}, states); err != nil || diff != "" {
		t.Errorf("States(): %v\n%s", err, diff)
	}
}

func TestDatabaseIsAppendOnly(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	appendTo(t, l, note("one"), note("two"))
	for _, s := range []string{
		`UPDATE records SET body = ''`, `UPDATE records SET time = '' WHERE sequence = 1`, `DELETE FROM records`, `DELETE FROM records WHERE sequence = 2`,
		`INSERT OR REPLACE INTO records SELECT 1, type, application, run, time, hash, body FROM records WHERE sequence = 2`,
		`INSERT INTO records SELECT 9, type, application, run, time, hash, body FROM records WHERE sequence = 2`,
		`UPDATE head SET sequence = 1`, `UPDATE head SET hash = ''`, `DELETE FROM head`,
	} {
		if _, err := l.db.ExecContext(t.Context(), s); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: error %v, want that the ledger is append-only", s, err)
		}
	}
	holds(t, l)
}

func TestRecordsFilter(t *testing.T) {
	t.Parallel()
	l, c := temp(t)
	start := c.Peek()
	var in []schemas.Record
	for i := range 1203 {
		in = append(in, schemas.Record{Type: []schemas.RecordType{schemas.RecordAcknowledged, schemas.RecordAdoption}[i%2], Application: []string{"a", "b", "c"}[i%3], Run: fmt.Sprint(i / 600)})
	}
	appendTo(t, l, in[:600]...)
	appendTo(t, l, in[600:]...)
	for name, tt := range map[string]struct {
		f    Filter
		want func(int, schemas.Record) bool
	}{
		"all":                {Filter{}, func(int, schemas.Record) bool { return true }},
		"application":        {Filter{Application: "b"}, func(_ int, r schemas.Record) bool { return r.Application == "b" }},
		"type":               {Filter{Types: []schemas.RecordType{schemas.RecordAdoption}}, func(_ int, r schemas.Record) bool { return r.Type == schemas.RecordAdoption }},
		"types":              {Filter{Types: []schemas.RecordType{schemas.RecordAdoption, schemas.RecordAcknowledged}}, func(int, schemas.Record) bool { return true }},
		"run":                {Filter{Run: "1"}, func(_ int, r schemas.Record) bool { return r.Run == "1" }},
		"from":               {Filter{FromSequence: 1200}, func(i int, _ schemas.Record) bool { return i >= 1199 }},
		"since":              {Filter{Since: start.Add(2 * time.Minute)}, func(i int, _ schemas.Record) bool { return i >= 600 }},
		"until":              {Filter{Until: start.Add(2 * time.Minute)}, func(i int, _ schemas.Record) bool { return i < 600 }},
		"a nanosecond later": {Filter{Since: start.Add(time.Minute + 1)}, func(i int, _ schemas.Record) bool { return i >= 600 }},
		"together": {Filter{Application: "a", Run: "0", Types: []schemas.RecordType{schemas.RecordAdoption}, FromSequence: 100}, func(i int, r schemas.Record) bool {
			return r.Application == "a" && r.Run == "0" && r.Type == schemas.RecordAdoption && i >= 99
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want, got []int64
			for i, r := range in {
				if tt.want(i, r) {
					want = append(want, int64(i+1))
				}
			}
			// The callback may use the ledger.
			err := l.Records(t.Context(), tt.f, func(r schemas.Record) error {
				got = append(got, r.Sequence)
				_, _, err := l.LastAdmission(t.Context())
				return err
			})
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("Records(): %v\n%s", err, diff)
			}
		})
	}
	stop := errors.New("stop")
	if err := l.Records(t.Context(), Filter{}, func(schemas.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Records() error %v, want the callback's", err)
	}
}

func TestAppendHeedsTheContext(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, note("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Append() error %v, want %v", err, context.Canceled)
	}
	appendTo(t, l, note("y"))
	if rep, err := l.Verify(t.Context(), VerifyOptions{}); err != nil || rep.Records != 1 {
		t.Errorf("Verify() = %+v, %v; want the one record", rep, err)
	}
}

func TestConcurrentUseOfOne(t *testing.T) {
	t.Parallel()
	l, _ := temp(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				if _, err := l.Append(t.Context(), note("x"), note("y")); err != nil {
					t.Error(err)
				}
				if _, err := l.FirstRunDone(t.Context(), "a", "v"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	holds(t, l)
	if rep, err := l.Verify(t.Context(), VerifyOptions{}); err != nil || rep.Records != 160 {
		t.Errorf("Verify() = %+v, %v; want 160 records", rep, err)
	}
}
