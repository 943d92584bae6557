package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"modernc.org/sqlite" // also the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/schemas"
)

const (
	// applicationID marks a file as a ledger ("cslg"), so that no other database is ever written to.
	applicationID = 0x63736c67
	// layoutVersion is the version of records and head. A file of a later one is not touched.
	layoutVersion = 2
	// derivedVersion is the version of the derived tables. They are rebuilt when it differs.
	derivedVersion = 4
	// unfulfilled is the version before anybody outside was asked for anything: the tables are the same but for that
	// one, and can be read.
	unfulfilled = 1
)

// The triggers stop mistakes, not an attacker who can write the file: Verify finds that.
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
CREATE TABLE signature (one INTEGER PRIMARY KEY CHECK (one = 1), note TEXT NOT NULL);
CREATE TABLE derived (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL);
INSERT INTO derived VALUES (1, 0);
`

// Config configures a Ledger.
type Config struct {
	// Path is the file. Required. It is made for its owner alone, and so is its folder.
	Path string
	// ReadOnly refuses Append and Rebuild. A file that is not there is an empty ledger then.
	ReadOnly bool
	// Replicate keeps records elsewhere before they are kept here: records that it cannot keep are not appended. It is
	// never behind this file, and may be ahead by the records of one Append, which Import adds. nil is nowhere.
	Replicate func(context.Context, Batch) error
	// Key signs each head; nil leaves a ledger unsigned, and appends nothing to a signed one.
	Key *seal.Key
	// Clean takes secrets out of a record before it is written; nil changes nothing.
	Clean func(schemas.Record) schemas.Record
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Random salts commitments; nil is crypto/rand.
	Random io.Reader
	// Logger takes warnings; nil discards them.
	Logger *slog.Logger
}

func (c Config) nowUTC() time.Time { return c.Now().UTC().Truncate(time.Microsecond) }

// Ledger is an open ledger. It is safe for concurrent use, also by several processes: writers wait for each
// other. Callbacks must not use the ledger that calls them unless its documentation allows it.
type Ledger struct {
	config Config
	db     *sql.DB // nil for a read-only ledger without a file
	// derived is the version of the tables.
	derived int
	// origin is the commit where trust in the ledger's repository starts, once it is known.
	origin atomic.Value
	// trusted is the key that the head is verified with; nil while nothing is signed.
	trusted atomic.Pointer[seal.Public]
	// proven means that every record was proven since the file was last written by somebody else, written that records were
	// added since.
	proven, written atomic.Bool
}

var (
	// ErrReadOnly means that the ledger was opened for reading.
	ErrReadOnly = errors.New("the ledger was opened for reading")
	// ErrNewer means that a later version of countersign wrote the ledger.
	ErrNewer = errors.New("it was written by a newer version of countersign")
	// ErrForeign means that the file is a database of something else.
	ErrForeign = errors.New("it is a database, but not a ledger of countersign")
)

// Open opens the ledger, or makes it. Close it.
func Open(ctx context.Context, c Config) (*Ledger, error) {
	if c.Path == "" {
		return nil, errors.New("ledger: no path")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Ledger{config: c}
	info, err := os.Stat(c.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.ReadOnly:
		return l, nil
	case err == nil && info.Mode().Perm()&0o077 != 0:
		c.Logger.WarnContext(ctx, "the ledger can be opened by others than its owner", "path", c.Path, "mode", info.Mode().Perm().String())
	}
	if err := l.open(ctx); err != nil {
		if damaged(err) {
			err = &AlarmError{What: "it is damaged: " + err.Error(), Err: err}
		}
		return nil, errors.Join(fmt.Errorf("open the ledger %s: %w", c.Path, err), l.Close())
	}
	return l, nil
}

func (l *Ledger) open(ctx context.Context) error {
	dsn := "file:" + (&url.URL{Path: l.config.Path}).EscapedPath() + "?_pragma=busy_timeout(30000)"
	if l.config.ReadOnly {
		dsn += "&mode=ro&_pragma=query_only(1)"
	} else {
		if err := os.MkdirAll(filepath.Dir(l.config.Path), 0o700); err != nil {
			return err
		}
		// Made here, so that nobody else can read it from the first moment on.
		f, err := os.OpenFile(l.config.Path, os.O_CREATE|os.O_RDWR|noFollow, 0o600)
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
		if l.config.ReadOnly {
			// The file was made and not filled yet: it counts as missing.
			err := db.Close()
			l.db = nil
			return err
		}
		if err := l.write(ctx, create); err != nil {
			return err
		}
	}
	if version == 1 && !l.config.ReadOnly {
		if err := l.write(ctx, beginSigning); err != nil {
			return err
		}
	}
	if err := db.QueryRowContext(ctx, `SELECT version FROM derived`).Scan(&l.derived); err != nil {
		return err
	}
	switch {
	case l.derived == derivedVersion, l.derived == unfulfilled && l.config.ReadOnly:
		return nil
	case l.config.ReadOnly:
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

func damaged(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_CORRUPT || e.Code()&0xff == sqlite3.SQLITE_NOTADB) || errors.Is(err, ErrForeign)
}

func busy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_BUSY || e.Code()&0xff == sqlite3.SQLITE_LOCKED)
}

func create(ctx context.Context, w *writer) error {
	var id int
	// Another process may have done it first.
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
	if err := l.db.Close(); err != nil {
		return err
	}
	if l.proven.Load() && l.written.Load() {
		l.leaveMark()
	}
	return nil
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
			l.written.Store(true)
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

// Head is the sequence and the hash of the last record; 0 and "" for an empty ledger.
func (l *Ledger) Head(ctx context.Context) (sequence int64, hash string, err error) {
	if l.db == nil {
		return 0, "", nil
	}
	err = l.db.QueryRowContext(ctx, `SELECT sequence, hash FROM head`).Scan(&sequence, &hash)
	return sequence, hash, err
}

// Now is the ledger's clock with the precision of records: UTC, truncated to microseconds.
func (l *Ledger) Now() time.Time { return l.config.nowUTC() }
