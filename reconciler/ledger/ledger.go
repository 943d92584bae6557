package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite" // also the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/countersign/countersign/schemas"
)

const (
	// applicationID marks a file as a ledger ("cslg"), so that no other database is ever written to.
	applicationID = 0x63736c67
	// layoutVersion is the version of records and head. A file of a later one is not touched.
	layoutVersion = 1
	// derivedVersion is the version of the derived tables. They are made anew when it differs.
	derivedVersion = 2
	// unfulfilled is the version before anybody outside was asked for anything: the tables are the same but for the one
	// that says so, and can be read.
	unfulfilled = 1
)

// MaxPlanned is how many operations one record may hold: a run of more writes several.
const MaxPlanned = 1000

// The triggers stop a slip, not somebody who can write the file: that is found by Verify.
const layout = `
CREATE TABLE records (
  sequence INTEGER PRIMARY KEY, type TEXT NOT NULL, application TEXT NOT NULL, run TEXT NOT NULL, time TEXT NOT NULL,
  hash TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX records_type ON records (type, application);
CREATE TRIGGER records_no_update BEFORE UPDATE ON records BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER records_no_delete BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER records_no_gap BEFORE INSERT ON records WHEN NEW.sequence <> coalesce((SELECT max(sequence) FROM records), 0) + 1
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL, hash TEXT NOT NULL);
INSERT INTO head VALUES (1, 0, '');
CREATE TRIGGER head_grows BEFORE UPDATE ON head WHEN NEW.sequence <= OLD.sequence BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER head_stays BEFORE DELETE ON head BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TABLE derived (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL);
INSERT INTO derived VALUES (1, 0);
`

// Config says where the ledger is.
type Config struct {
	// Path is the file. Required. It is made for its owner alone, and so is its folder.
	Path string
	// ReadOnly refuses Append and Rebuild. A file that is not there is an empty ledger then.
	ReadOnly bool
	// Replicate keeps records elsewhere before they are kept here: what it cannot keep is not appended. It is never
	// behind this file, and may be ahead by the records of one Append, which Import brings. nil is nowhere.
	Replicate func(context.Context, Batch) error
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Logger is told of what is odd and stops nothing; nil is nobody.
	Logger *slog.Logger
}

// Batch is what one Append adds.
type Batch struct {
	// First and Last are sequences, Head is the hash of the last record.
	First, Last int64
	Head        string
	// Lines are the records, each the canonical JSON (RFC 8785) that its hash is the SHA-256 of. The field previous of
	// the one after is that hash.
	Lines []string
}

func (c Config) nowUTC() time.Time { return c.Now().UTC().Truncate(time.Microsecond) }

// Ledger is an open ledger. It is safe for concurrent use, also by several processes: writers wait for each
// other. Callbacks must not use the ledger that calls them, unless it says so.
type Ledger struct {
	c  Config
	db *sql.DB // nil for a read-only ledger without a file
	// derived is the version of the tables.
	derived int
}

var (
	// ErrReadOnly says that the ledger was opened for reading.
	ErrReadOnly = errors.New("the ledger was opened for reading")
	// ErrNewer says that a later version of countersign wrote the ledger.
	ErrNewer = errors.New("it was written by a newer version of countersign")
	// ErrForeign says that the file is a database of something else.
	ErrForeign = errors.New("it is a database, and not a ledger of countersign")
)

// Open opens the ledger, or makes it. Close it.
func Open(ctx context.Context, c Config) (*Ledger, error) {
	if c.Path == "" {
		return nil, errors.New("ledger: no path")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Ledger{c: c}
	info, err := os.Stat(c.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.ReadOnly:
		return l, nil
	case err == nil && info.Mode().Perm()&0o077 != 0:
		c.Logger.WarnContext(ctx, "others than its owner can open the ledger", "path", c.Path, "mode", info.Mode().Perm().String())
	}
	if err := l.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the ledger %s: %w", c.Path, err), l.Close())
	}
	return l, nil
}

func (l *Ledger) open(ctx context.Context) error {
	dsn := "file:" + (&url.URL{Path: l.c.Path}).EscapedPath() + "?_pragma=busy_timeout(30000)"
	if l.c.ReadOnly {
		dsn += "&mode=ro&_pragma=query_only(1)"
	} else {
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
		// An intent must be on the disk before the application is touched: synchronous is FULL. A writer takes
		// its lock at once, so that it builds on the head that it read.
		// The log grows to 32 MB before it is copied to the file: a large run writes most pages several times.
		dsn += "&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(8000)&_pragma=cache_size(-16000)&_txlock=immediate"
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	l.db = db
	version, err := l.version(ctx)
	if err != nil {
		return err
	}
	if version == 0 {
		if l.c.ReadOnly {
			// Made and not yet filled: as good as none.
			err := db.Close()
			l.db = nil
			return err
		}
		if err := l.write(ctx, create); err != nil {
			return err
		}
	}
	if err := db.QueryRowContext(ctx, `SELECT version FROM derived`).Scan(&l.derived); err != nil {
		return err
	}
	switch {
	case l.derived == derivedVersion, l.derived == unfulfilled && l.c.ReadOnly:
		return nil
	case l.c.ReadOnly:
		return fmt.Errorf("its tables are of another version of countersign (%d, this one's are %d): an apply of this version brings them up to date", l.derived, derivedVersion)
	}
	return l.Rebuild(ctx)
}

// version is the file's layout version, 0 for one that is empty.
func (l *Ledger) version(ctx context.Context) (version int, err error) {
	var id, tables int
	for attempt := 1; ; attempt++ {
		err = l.db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_master)`).Scan(&id, &version, &tables)
		if !busy(err) || attempt == 100 {
			break
		}
		// The switch to a write-ahead log does not wait for another process that does the same.
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Duration(attempt) * time.Millisecond):
		}
	}
	switch {
	case err != nil:
		return 0, err
	case id == 0 && version == 0 && tables == 0:
		return 0, nil
	case id != applicationID:
		return 0, ErrForeign
	case version > layoutVersion:
		return 0, fmt.Errorf("%w (layout %d, this one knows %d): use that version", ErrNewer, version, layoutVersion)
	}
	return version, nil
}

func busy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_BUSY || e.Code()&0xff == sqlite3.SQLITE_LOCKED)
}

func create(ctx context.Context, w *writer) error {
	var id int
	// Another process may have been quicker.
	if err := w.tx.QueryRowContext(ctx, `PRAGMA application_id`).Scan(&id); err != nil || id == applicationID {
		return err
	}
	_, err := w.tx.ExecContext(ctx, fmt.Sprintf("%s PRAGMA application_id = %d; PRAGMA user_version = %d;", layout, applicationID, layoutVersion))
	if err != nil {
		return err
	}
	return rebuild(ctx, w)
}

// Close closes the file.
func (l *Ledger) Close() error {
	if l.db == nil {
		return nil
	}
	return l.db.Close()
}

// write calls fn in a transaction that holds the write lock.
func (l *Ledger) write(ctx context.Context, fn func(context.Context, *writer) error) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	w := newWriter(tx)
	err = fn(ctx, w)
	if first := w.close(); err == nil {
		err = first
	}
	if err == nil {
		if err = tx.Commit(); err == nil {
			return nil
		}
		err = fmt.Errorf("commit: %w", err)
	}
	if undo := tx.Rollback(); undo != nil && !errors.Is(undo, sql.ErrTxDone) {
		err = errors.Join(err, undo)
	}
	return err
}

// querier is a *sql.DB, or a transaction where several answers must be of the same moment.
type querier interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

// snapshot calls fn with a view that later appends do not change.
func (l *Ledger) snapshot(ctx context.Context, fn func(querier) error) error {
	tx, err := l.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	err = fn(tx)
	if undo := tx.Rollback(); undo != nil && !errors.Is(undo, sql.ErrTxDone) {
		err = errors.Join(err, undo)
	}
	return err
}

// body is a record as it is kept.
type body struct {
	text string
	err  error
}

// encoded chains the records on to the last one and encodes them, one ahead of the other, in a goroutine of its
// own: it takes about as long as SQLite does. A record may be read once its body came. Call stop at the end.
func encoded(records []schemas.Record, last int64, previous string, now time.Time) (bodies <-chan body, stop func()) {
	out, done := make(chan body, 64), make(chan struct{})
	go func() {
		defer close(out)
		for i := range records {
			r := &records[i]
			last++
			r.APIVersion, r.Sequence, r.Time, r.Previous, r.Hash = schemas.APIVersion, last, now, previous, ""
			b, err := bodyOf(r)
			if err == nil {
				r.Hash = hashOf(b)
				previous = r.Hash
			}
			select {
			case out <- body{string(b), err}:
			case <-done:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out, func() {
		close(done)
		for range out {
		}
	}
}

// Append adds the records in one transaction and returns them with sequence, time, previous and hash filled
// in. When it returns without error they are on the disk; with one, none of them is, unless it was the
// commit itself that failed. The records given are left as they are.
func (l *Ledger) Append(ctx context.Context, records ...schemas.Record) ([]schemas.Record, error) {
	if len(records) == 0 {
		return nil, nil
	}
	if l.c.ReadOnly || l.db == nil {
		return nil, ErrReadOnly
	}
	out := make([]schemas.Record, len(records))
	for i, r := range records {
		if err := check(&r); err != nil {
			return nil, fmt.Errorf("record %d of %d: %w", i+1, len(records), err)
		}
		legible(&r)
		out[i] = r
	}
	err := l.write(ctx, func(ctx context.Context, w *writer) error {
		var last int64
		var previous string
		if err := w.tx.QueryRowContext(ctx, `SELECT sequence, hash FROM head`).Scan(&last, &previous); err != nil {
			return fmt.Errorf("read the head: %w", err)
		}
		bodies, stop := encoded(out, last, previous, l.c.nowUTC())
		defer stop()
		batch := Batch{First: last + 1}
		for i := range out {
			b := <-bodies
			if b.err != nil {
				return fmt.Errorf("encode record %d of %d: %w", i+1, len(out), b.err)
			}
			r := &out[i]
			last, previous = r.Sequence, r.Hash
			w.exec(ctx, `INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)`, r.Sequence, string(r.Type), r.Application, r.Run, r.Time.Format(timeKey), r.Hash, b.text)
			w.derive(ctx, r)
			if l.c.Replicate != nil {
				batch.Lines = append(batch.Lines, b.text)
			}
		}
		w.exec(ctx, `UPDATE head SET sequence = ?, hash = ?`, last, previous)
		if l.c.Replicate == nil || w.err != nil {
			return nil
		}
		batch.Last, batch.Head = last, previous
		return l.c.Replicate(ctx, batch)
	})
	if err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	return out, nil
}

// ErrForeignRecord says that a record made elsewhere does not follow on the last one here.
var ErrForeignRecord = errors.New("the record does not follow on the last one of this ledger")

// Head is the sequence and the hash of the last record; 0 and "" for an empty ledger.
func (l *Ledger) Head(ctx context.Context) (sequence int64, hash string, err error) {
	if l.db == nil {
		return 0, "", nil
	}
	err = l.db.QueryRowContext(ctx, `SELECT sequence, hash FROM head`).Scan(&sequence, &hash)
	return sequence, hash, err
}

// Import adds records that were made elsewhere, as Batch has them, in one transaction. Lines that are here already
// must be the same ones; what comes after must follow on. With an error, nothing was added.
func (l *Ledger) Import(ctx context.Context, lines iter.Seq2[string, error]) error {
	if l.c.ReadOnly || l.db == nil {
		return ErrReadOnly
	}
	err := l.write(ctx, func(ctx context.Context, w *writer) error {
		var last int64
		var previous string
		if err := w.tx.QueryRowContext(ctx, `SELECT sequence, hash FROM head`).Scan(&last, &previous); err != nil {
			return fmt.Errorf("read the head: %w", err)
		}
		from := last
		for line, err := range lines {
			if err != nil {
				return err
			}
			var r schemas.Record
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				return fmt.Errorf("after record %d: a line is no record: %w: %w", last, err, ErrForeignRecord)
			}
			hash := hashOf([]byte(line))
			if r.Sequence <= from {
				var here string
				if err := w.tx.QueryRowContext(ctx, `SELECT hash FROM records WHERE sequence = ?`, r.Sequence).Scan(&here); err != nil || here != hash {
					return errors.Join(fmt.Errorf("record %d is another one here: %w", r.Sequence, ErrForeignRecord), err)
				}
				continue
			}
			if r.Sequence != last+1 || r.Previous != previous {
				return fmt.Errorf("record %d after record %d: %w", r.Sequence, last, ErrForeignRecord)
			}
			if err := check(&r); err != nil {
				return fmt.Errorf("record %d: %w: %w", r.Sequence, err, ErrForeignRecord)
			}
			r.Hash = hash
			last, previous = r.Sequence, hash
			w.exec(ctx, `INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)`, r.Sequence, string(r.Type), r.Application, r.Run, r.Time.Format(timeKey), hash, line)
			w.derive(ctx, &r)
		}
		if last > from {
			w.exec(ctx, `UPDATE head SET sequence = ?, hash = ?`, last, previous)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	return nil
}

// Lines are the records from a sequence on, as Batch has them, each with its sequence and hash.
func (l *Ledger) Lines(ctx context.Context, from int64, fn func(sequence int64, hash, line string) error) error {
	if l.db == nil {
		return nil
	}
	return rows(ctx, l.db, `SELECT sequence, hash, body FROM records WHERE sequence >= ? ORDER BY sequence`, []any{from}, func(s *sql.Rows) error {
		var sequence int64
		var hash, line string
		if err := s.Scan(&sequence, &hash, &line); err != nil {
			return err
		}
		return fn(sequence, hash, line)
	})
}

// check refuses records that nobody could make sense of later: the parts that a type is about must be there.
func check(r *schemas.Record) error {
	missing := ""
	switch r.Type {
	case "":
		return errors.New("it has no type")
	case schemas.RecordAdmission:
		if r.Admission == nil || r.Admission.Commit == "" {
			missing = "admission"
		}
	case schemas.RecordRun, schemas.RecordRunEnd:
		if r.RunInfo == nil {
			missing = "run_info"
		}
	case schemas.RecordIntent, schemas.RecordHeld:
		if len(r.Planned) == 0 {
			missing = "planned"
		} else if len(r.Fulfilments) > 0 && len(r.Fulfilments) != len(r.Planned) {
			missing = "fulfilment for each operation"
		}
	case schemas.RecordOutcome:
		if r.Operation == nil || r.Outcome == nil {
			missing = "operation or outcome"
		}
	case schemas.RecordVerification:
		if r.Operation == nil || r.Verification == nil {
			missing = "operation or verification"
		}
	case schemas.RecordFinding:
		if r.Finding == nil {
			missing = "finding"
		}
	}
	if missing != "" {
		return fmt.Errorf("a record of type %s has no %s", r.Type, missing)
	}
	if len(r.Planned) > MaxPlanned {
		return fmt.Errorf("a record of type %s has %d operations, more than %d", r.Type, len(r.Planned), MaxPlanned)
	}
	return nil
}

// timeKey sorts as text.
const timeKey = "2006-01-02T15:04:05.000000Z"

// Filter narrows Records. The zero Filter is everything.
type Filter struct {
	Application string
	Types       []schemas.RecordType
	Run         string
	// FromSequence is inclusive.
	FromSequence int64
	// Since is inclusive, Until exclusive; zero is open.
	Since, Until time.Time
}

// page is how many records are held in memory at a time.
const page = 500

// Records calls fn for the records that the filter lets through, in order. fn may use the ledger; records
// that are appended meanwhile may come too.
func (l *Ledger) Records(ctx context.Context, f Filter, fn func(schemas.Record) error) error {
	if l.db == nil {
		return nil
	}
	where, args := f.where()
	from := max(f.FromSequence, 1)
	for {
		var batch []schemas.Record
		err := stream(ctx, l.db, ` WHERE sequence >= ?`+where+` ORDER BY sequence LIMIT ?`, append(append([]any{from}, args...), page), func(r schemas.Record) error {
			batch = append(batch, r)
			return nil
		})
		if err != nil {
			return err
		}
		for _, r := range batch {
			if err := fn(r); err != nil {
				return err
			}
		}
		if len(batch) < page {
			return nil
		}
		from = batch[len(batch)-1].Sequence + 1
	}
}

func (f Filter) where() (string, []any) {
	var where strings.Builder
	var args []any
	and := func(condition string, a ...any) {
		where.WriteString(" AND " + condition)
		args = append(args, a...)
	}
	if f.Application != "" {
		and("application = ?", f.Application)
	}
	if f.Run != "" {
		and("run = ?", f.Run)
	}
	if n := len(f.Types); n > 0 {
		var types []any
		for _, t := range f.Types {
			types = append(types, string(t))
		}
		and("type IN (?"+strings.Repeat(", ?", n-1)+")", types...)
	}
	// Whole microseconds are kept: what lies between two belongs to the later.
	if !f.Since.IsZero() {
		and("time >= ?", ceil(f.Since).Format(timeKey))
	}
	if !f.Until.IsZero() {
		and("time < ?", ceil(f.Until).Format(timeKey))
	}
	return where.String(), args
}

func ceil(t time.Time) time.Time { return t.UTC().Add(time.Microsecond - 1).Truncate(time.Microsecond) }

// stream calls fn for records as they are read. fn must not use q.
func stream(ctx context.Context, q querier, rest string, args []any, fn func(schemas.Record) error) error {
	return rows(ctx, q, `SELECT sequence, hash, body FROM records`+rest, args, func(s *sql.Rows) error {
		var hash string
		var body sql.RawBytes
		var sequence int64
		if err := s.Scan(&sequence, &hash, &body); err != nil {
			return err
		}
		var r schemas.Record
		if err := json.Unmarshal(body, &r); err != nil {
			return fmt.Errorf("record %d is damaged: %w", sequence, err)
		}
		r.Sequence, r.Hash = sequence, hash
		return fn(r)
	})
}

// rows calls each for the rows of an answer.
func rows(ctx context.Context, q querier, query string, args []any, each func(*sql.Rows) error) (err error) {
	s, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for s.Next() {
		if err := each(s); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	return nil
}
