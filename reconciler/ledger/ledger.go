package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/countersign/countersign/schemas"
)

// layoutVersion is the version of the tables. A file of a later one is not touched.
const layoutVersion = 1

const layout = `
CREATE TABLE records (
  sequence INTEGER PRIMARY KEY, type TEXT NOT NULL, application TEXT NOT NULL, run TEXT NOT NULL, time TEXT NOT NULL,
  hash TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX records_type ON records (type, application);
CREATE TRIGGER records_no_update BEFORE UPDATE ON records BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER records_no_delete BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL, hash TEXT NOT NULL);
INSERT INTO head VALUES (1, 0, '');
` + derivedLayout + `
PRAGMA user_version = 1;
`

// derivedLayout are the tables that Rebuild empties and fills.
const derivedLayout = `
CREATE TABLE admissions (commit_hash TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE baseline (application TEXT, item TEXT, token TEXT NOT NULL, made INTEGER NOT NULL, native_id TEXT NOT NULL, PRIMARY KEY (application, item)) WITHOUT ROWID;
CREATE TABLE open (application TEXT, operation TEXT, body TEXT NOT NULL, PRIMARY KEY (application, operation)) WITHOUT ROWID;
CREATE TABLE first_runs (application TEXT, version TEXT, PRIMARY KEY (application, version)) WITHOUT ROWID;
CREATE TABLE removals (sequence INTEGER PRIMARY KEY, application TEXT NOT NULL, time TEXT NOT NULL,
  members INTEGER NOT NULL, grants INTEGER NOT NULL, deletions INTEGER NOT NULL, attributes INTEGER NOT NULL);
CREATE TABLE operations (path TEXT, idx INTEGER, application TEXT, operation TEXT, outcome TEXT NOT NULL, verification TEXT NOT NULL,
  error TEXT NOT NULL, PRIMARY KEY (path, idx, application, operation)) WITHOUT ROWID;
`

// Config says where the ledger is.
type Config struct {
	// Path is the file. Required.
	Path string
	// ReadOnly refuses Append. A file that is not there is an empty ledger then.
	ReadOnly bool
	// Now is the clock; nil is the system's.
	Now    func() time.Time
	Logger *slog.Logger
}

// Ledger is an open ledger. It is safe for concurrent use, also by several processes: writers wait for each
// other.
type Ledger struct {
	c  Config
	db *sql.DB // nil for a read-only ledger without a file
}

// ErrReadOnly says that the ledger was opened for reading.
var ErrReadOnly = errors.New("the ledger was opened for reading")

// Open opens the ledger, or makes it.
func Open(ctx context.Context, c Config) (*Ledger, error) {
	if c.Path == "" {
		return nil, errors.New("ledger: no path")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	l := &Ledger{c: c}
	if _, err := os.Stat(c.Path); errors.Is(err, os.ErrNotExist) && c.ReadOnly {
		return l, nil
	}
	if err := l.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the ledger %s: %w", c.Path, err), l.Close())
	}
	return l, nil
}

func (l *Ledger) open(ctx context.Context) error {
	if !l.c.ReadOnly {
		if err := os.MkdirAll(filepath.Dir(l.c.Path), 0o700); err != nil {
			return err
		}
		// Made here, so that nobody else can read it from the first moment on.
		f, err := os.OpenFile(l.c.Path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	// An intent must be on the disk before the application is touched: synchronous is FULL.
	dsn := "file:" + (&url.URL{Path: l.c.Path}).EscapedPath() + "?_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
	if l.c.ReadOnly {
		dsn += "&_pragma=query_only(1)"
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	l.db = db
	var version int
	if err := db.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	switch {
	case version == layoutVersion:
		return nil
	case version > layoutVersion:
		return fmt.Errorf("it was written by a newer version of countersign (layout %d, this one knows %d): use that version", version, layoutVersion)
	case l.c.ReadOnly:
		// Made and not yet filled: as good as none.
		err := db.Close()
		l.db = nil
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	// Another process may have been quicker.
	if err := tx.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil || version == layoutVersion {
		return errors.Join(err, tx.Rollback())
	}
	if _, err := tx.ExecContext(ctx, layout); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// Close closes the file.
func (l *Ledger) Close() error {
	if l.db == nil {
		return nil
	}
	return l.db.Close()
}

// Append adds the records in one transaction and returns them with sequence, time, previous and hash filled
// in. When it returns without error they are on the disk.
func (l *Ledger) Append(ctx context.Context, records ...schemas.Record) (_ []schemas.Record, err error) {
	if len(records) == 0 {
		return nil, nil
	}
	if l.c.ReadOnly || l.db == nil {
		return nil, ErrReadOnly
	}
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	var last int64
	var previous string
	if err := tx.QueryRowContext(ctx, `SELECT sequence, hash FROM head`).Scan(&last, &previous); err != nil {
		return nil, fmt.Errorf("read the head: %w", err)
	}
	w := newWriter(ctx, tx)
	out := make([]schemas.Record, len(records))
	now := l.c.Now().UTC().Truncate(time.Microsecond)
	for i, r := range records {
		if r.Type == "" {
			return nil, errors.New("a record has no type")
		}
		last++
		r.APIVersion, r.Sequence, r.Time, r.Previous, r.Hash = schemas.APIVersion, last, now, previous, ""
		body, err := bodyOf(&r)
		if err != nil {
			return nil, fmt.Errorf("encode record %d: %w", last, err)
		}
		r.Hash = hashOf(body)
		previous = r.Hash
		w.exec(`INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)`, r.Sequence, string(r.Type), r.Application, r.Run, r.Time.Format(time.RFC3339Nano), r.Hash, string(body))
		w.derive(&r)
		out[i] = r
	}
	w.exec(`UPDATE head SET sequence = ?, hash = ?`, last, previous)
	if err := w.close(); err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return out, nil
}

// bodyOf is the canonical JSON (RFC 8785) of a record without its hash.
func bodyOf(r *schemas.Record) ([]byte, error) {
	c := *r
	c.Hash = ""
	return schemas.Canonical(c)
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// writer prepares each statement once and keeps the first error.
type writer struct {
	ctx      context.Context
	tx       *sql.Tx
	prepared map[string]*sql.Stmt
	err      error
}

func newWriter(ctx context.Context, tx *sql.Tx) *writer {
	return &writer{ctx: ctx, tx: tx, prepared: map[string]*sql.Stmt{}}
}

func (w *writer) exec(query string, args ...any) {
	if w.err != nil {
		return
	}
	st := w.prepared[query]
	if st == nil {
		if st, w.err = w.tx.PrepareContext(w.ctx, query); w.err != nil {
			return
		}
		w.prepared[query] = st
	}
	_, w.err = st.ExecContext(w.ctx, args...)
}

func (w *writer) close() error {
	err := w.err
	for _, st := range w.prepared {
		err = errors.Join(err, st.Close())
	}
	return err
}

// derive keeps the derived tables in step with a record.
func (w *writer) derive(r *schemas.Record) {
	if r.Admission != nil {
		w.exec(`INSERT OR REPLACE INTO admissions VALUES (?, ?)`, r.Admission.Commit, r.Sequence)
	}
	for _, b := range r.Baseline {
		if b.Token == "" {
			w.exec(`DELETE FROM baseline WHERE application = ? AND item = ?`, r.Application, b.Item)
			continue
		}
		w.exec(`INSERT OR REPLACE INTO baseline VALUES (?, ?, ?, ?, ?)`, r.Application, b.Item, b.Token, b.Made, b.NativeID)
	}
	switch r.Type {
	case schemas.RecordIntent:
		for i := range r.Planned {
			w.exec(`INSERT OR REPLACE INTO open VALUES (?, ?, ?)`, r.Application, r.Planned[i].ID, w.json(&r.Planned[i]))
			w.operation(r, &r.Planned[i], "pending", "pending", "")
		}
	case schemas.RecordOutcome:
		if r.Operation != nil && r.Outcome != nil {
			w.operation(r, r.Operation, r.Outcome.Status, "pending", r.Outcome.Error)
		}
	case schemas.RecordVerification:
		if r.Operation == nil || r.Verification == nil {
			return
		}
		w.exec(`DELETE FROM open WHERE application = ? AND operation = ?`, r.Application, r.Operation.ID)
		for _, d := range r.Operation.Documents {
			w.exec(`UPDATE operations SET verification = ? WHERE path = ? AND idx = ? AND application = ? AND operation = ?`,
				r.Verification.Status, d.Path, d.Index, r.Application, r.Operation.ID)
		}
		if r.Verification.Status == "verified" {
			w.removal(r)
		}
	case schemas.RecordRunEnd:
		if r.RunInfo != nil && r.RunInfo.Counts["held-"+string(schemas.HoldFirstRun)] == 0 {
			w.exec(`INSERT OR IGNORE INTO first_runs VALUES (?, ?)`, r.Application, r.RunInfo.Version)
		}
	}
}

func (w *writer) operation(r *schemas.Record, o *schemas.Operation, outcome, verification, failure string) {
	for _, d := range o.Documents {
		w.exec(`INSERT OR REPLACE INTO operations VALUES (?, ?, ?, ?, ?, ?, ?)`, d.Path, d.Index, r.Application, o.ID, outcome, verification, failure)
	}
}

// removal counts what the daily budget counts: removals that no approved document names.
func (w *writer) removal(r *schemas.Record) {
	o := r.Operation
	switch o.Cause {
	case schemas.CauseDrift, schemas.CauseUnmanaged, schemas.CauseUndo:
	default:
		return
	}
	var c Counts
	switch o.Kind {
	case schemas.OperationRevoke:
		if o.Privilege == schemas.PrivilegeMember || o.Privilege == schemas.PrivilegeAdmin {
			c.Members = 1
		} else {
			c.Grants = 1
		}
	case schemas.OperationDelete:
		c.Deletions = 1
	case schemas.OperationUpdate:
		c.Attributes = len(o.After)
	default:
		return
	}
	w.exec(`INSERT INTO removals VALUES (?, ?, ?, ?, ?, ?, ?)`, r.Sequence, r.Application, r.Time.UTC().Format(timeKey), c.Members, c.Grants, c.Deletions, c.Attributes)
}

// timeKey sorts as text.
const timeKey = "2006-01-02T15:04:05.000000Z"

func (w *writer) json(v any) string {
	b, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	return string(b)
}

// Rebuild makes the derived tables anew from the records.
func (l *Ledger) Rebuild(ctx context.Context) (err error) {
	if l.c.ReadOnly || l.db == nil {
		return ErrReadOnly
	}
	var all []schemas.Record
	if err := l.Records(ctx, Filter{}, func(r schemas.Record) error { all = append(all, r); return nil }); err != nil {
		return err
	}
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	w := newWriter(ctx, tx)
	for _, t := range []string{"admissions", "baseline", "open", "first_runs", "removals", "operations"} {
		w.exec("DELETE FROM " + t)
	}
	for i := range all {
		w.derive(&all[i])
	}
	if err := w.close(); err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	return tx.Commit()
}

// Filter narrows Records. The zero Filter is everything.
type Filter struct {
	Application  string
	Types        []schemas.RecordType
	Run          string
	FromSequence int64
	// Since is inclusive, Until exclusive; zero is open.
	Since, Until time.Time
}

// Records calls fn for the records that the filter lets through, in order. fn may use the ledger.
func (l *Ledger) Records(ctx context.Context, f Filter, fn func(schemas.Record) error) error {
	if l.db == nil {
		return nil
	}
	from := max(f.FromSequence, 1)
	where, args := "", []any{}
	if f.Application != "" {
		where, args = where+" AND application = ?", append(args, f.Application)
	}
	if f.Run != "" {
		where, args = where+" AND run = ?", append(args, f.Run)
	}
	if len(f.Types) > 0 {
		where += " AND type IN (?" + strings.Repeat(", ?", len(f.Types)-1) + ")"
		for _, t := range f.Types {
			args = append(args, string(t))
		}
	}
	for {
		var page []schemas.Record
		// In pieces, so that memory does not grow with the ledger and fn may use it.
		err := l.rows(ctx, `SELECT sequence, hash, body FROM records WHERE sequence >= ?`+where+` ORDER BY sequence LIMIT 500`,
			append([]any{from}, args...), func(rows *sql.Rows) error {
				var hash, body string
				var sequence int64
				if err := rows.Scan(&sequence, &hash, &body); err != nil {
					return err
				}
				var r schemas.Record
				if err := json.Unmarshal([]byte(body), &r); err != nil {
					return fmt.Errorf("record %d is damaged: %w", sequence, err)
				}
				r.Sequence, r.Hash = sequence, hash
				page = append(page, r)
				return nil
			})
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		for _, r := range page {
			if (!f.Since.IsZero() && r.Time.Before(f.Since)) || (!f.Until.IsZero() && !r.Time.Before(f.Until)) {
				continue
			}
			if err := fn(r); err != nil {
				return err
			}
		}
		if len(page) < 500 {
			return nil
		}
		from = page[len(page)-1].Sequence + 1
	}
}

func (l *Ledger) rows(ctx context.Context, query string, args []any, each func(*sql.Rows) error) (err error) {
	if l.db == nil {
		return nil
	}
	rows, err := l.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Problem is one place where the chain does not hold.
type Problem struct {
	Sequence int64  `json:"sequence"`
	What     string `json:"what"`
}

// VerifyReport says whether the chain holds.
type VerifyReport struct {
	Records  int64     `json:"records"`
	Head     string    `json:"head"`
	Problems []Problem `json:"problems"`
}

// VerifyOptions may name a head from outside the ledger.
type VerifyOptions struct {
	// Head is the hash that record number Count had when somebody wrote it down: a ledger that was cut off,
	// or made anew, cannot show it.
	Head  string
	Count int64
}

// Verify recomputes every hash and holds it against the chain.
func (l *Ledger) Verify(ctx context.Context, o VerifyOptions) (VerifyReport, error) {
	rep := VerifyReport{Problems: []Problem{}}
	bad := func(sequence int64, what string) { rep.Problems = append(rep.Problems, Problem{sequence, what}) }
	previous, found := "", o.Head == ""
	err := l.rows(ctx, `SELECT sequence, hash, body FROM records ORDER BY sequence`, nil, func(rows *sql.Rows) error {
		var sequence int64
		var hash, body string
		if err := rows.Scan(&sequence, &hash, &body); err != nil {
			return err
		}
		rep.Records++
		if sequence != rep.Records {
			bad(sequence, fmt.Sprintf("record %d is missing", rep.Records))
			rep.Records = sequence
		}
		var link struct {
			Sequence int64  `json:"sequence"`
			Previous string `json:"previous"`
		}
		switch err := json.Unmarshal([]byte(body), &link); {
		case err != nil:
			bad(sequence, "it cannot be read")
		case hashOf([]byte(body)) != hash:
			bad(sequence, "its content does not have its hash: it was changed")
		case link.Sequence != sequence:
			bad(sequence, fmt.Sprintf("it was record %d: it was moved", link.Sequence))
		case link.Previous != previous:
			bad(sequence, "it does not follow the record before it")
		}
		previous = hash
		if sequence == o.Count && hash == o.Head {
			found = true
		}
		return nil
	})
	if err != nil {
		return rep, fmt.Errorf("read the ledger: %w", err)
	}
	rep.Head = previous
	if l.db != nil {
		var sequence int64
		var hash string
		if err := l.db.QueryRowContext(ctx, `SELECT sequence, hash FROM head`).Scan(&sequence, &hash); err != nil {
			return rep, fmt.Errorf("read the head: %w", err)
		}
		if sequence != rep.Records || hash != previous {
			bad(sequence, fmt.Sprintf("the ledger ended at record %d once, and ends at %d", sequence, rep.Records))
		}
	}
	if !found {
		bad(o.Count, "the head that was given is not in the chain: the ledger was cut off or made anew")
	}
	return rep, nil
}
