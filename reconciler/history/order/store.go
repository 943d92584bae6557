package order

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"modernc.org/sqlite" // and the driver of that name
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// format changes with the encoding, and with whatever makes the same documents decode to something else.
const format = "2"

// Head is how far the index has come.
type Head struct {
	// Tip is the last first-parent commit judged, Sequence its place from 0 at the root.
	Tip      string `json:"tip"`
	Sequence int    `json:"sequence"`
	// Anchor is the commit that trust starts at.
	Anchor string `json:"anchor"`
	// Instant is the latest commit time so far, which no later judgement goes behind (Unix seconds).
	Instant int64 `json:"instant"`
}

// Index is the order index in its file. Close it.
type Index struct {
	*Layer
	Head Head
	// Verdicts are the records of commits judged since the index was opened, in order.
	Verdicts []schemas.AdmissionRecord
	loaded   Head
}

// ErrChanged says that another process has written the file since it was opened. Open it again: what the
// other has judged need not be judged twice.
var ErrChanged = errors.New("the order index was written by another process")

// Damaged says whether an error means that the file holds no index that could be read.
func Damaged(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) {
		code := e.Code() & 0xff
		return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
	}
	return errors.Is(err, errCorrupt)
}

// Remove deletes an index that is damaged: it is a cache.
func Remove(path string) error {
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Open opens the index, or makes it. With an empty path it is in memory only. An index of another format
// is emptied. What is read is the file as it stood then, whatever others write.
func Open(ctx context.Context, path string) (*Index, error) {
	x := &Index{Layer: newLayer(nil), Head: Head{Sequence: -1}}
	if path == "" {
		return x, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the order index: %w", err)
	}
	s, err := openStore(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open the order index %s: %w", path, err)
	}
	x.store = s
	if x.Head, err = s.begin(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("read the order index %s: %w", path, err), s.db.Close())
	}
	x.loaded = x.Head
	s.whole = x.Head.Sequence < 0
	return x, nil
}

// Close closes the file. What was not saved is forgotten.
func (x *Index) Close() error {
	if x.store == nil {
		return nil
	}
	return x.store.close()
}

// Reset forgets everything, for a branch that was rewritten or another anchor. The file is emptied by the
// next Save.
func (x *Index) Reset() {
	s := x.store
	x.Layer = newLayer(nil)
	if x.store = s; s != nil {
		s.whole, s.wipe = true, true
	}
	x.Head, x.Verdicts = Head{Sequence: -1}, nil
}

// Verdict returns the record of a commit judged earlier; false when the index has none.
func (x *Index) Verdict(ctx context.Context, commit string) (schemas.AdmissionRecord, bool, error) {
	for i := len(x.Verdicts) - 1; i >= 0; i-- {
		if x.Verdicts[i].Commit == commit {
			return x.Verdicts[i], true, nil
		}
	}
	if x.store == nil || x.store.wipe {
		return schemas.AdmissionRecord{}, false, nil
	}
	return x.store.verdict(ctx, commit)
}

// EachVerdict calls fn for every record from a sequence on, in order.
func (x *Index) EachVerdict(ctx context.Context, from int, fn func(schemas.AdmissionRecord) error) error {
	if x.store != nil && !x.store.wipe {
		if err := x.store.verdicts(ctx, from, fn); err != nil {
			return err
		}
	}
	for _, v := range x.Verdicts {
		if v.Sequence >= from {
			if err := fn(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// Save writes what is new. It is ErrChanged when another process has written the file since it was read;
// then nothing is written.
func (x *Index) Save(ctx context.Context) error {
	if x.store == nil || (x.Head == x.loaded && len(x.dirtyFiles) == 0 && len(x.dirtyConns) == 0 && !x.store.wipe) {
		return nil
	}
	if err := x.store.save(ctx, x); err != nil {
		return fmt.Errorf("save the order index: %w", err)
	}
	x.loaded, x.Verdicts = x.Head, nil
	x.clean()
	return nil
}

type store struct {
	db *sql.DB
	// tx is what is read: the file as it stood when it was begun.
	tx *sql.Tx
	// whole says that all that the file has, verdicts apart, is in memory, too: there is no use in asking.
	whole bool
	// wipe says that nothing in the file holds.
	wipe bool
}

const layout = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (path TEXT PRIMARY KEY, class TEXT NOT NULL, quarantined INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX files_few ON files (class) WHERE class <> 'request';
CREATE INDEX files_quarantined ON files (quarantined) WHERE quarantined = 1;
CREATE TABLE connections (application TEXT, type TEXT, name TEXT, body BLOB NOT NULL, PRIMARY KEY (application, type, name)) WITHOUT ROWID;
CREATE TABLE mentions (application TEXT, type TEXT, name TEXT, ctype TEXT, cname TEXT, PRIMARY KEY (application, type, name, ctype, cname)) WITHOUT ROWID;
CREATE TABLE commits (sequence INTEGER PRIMARY KEY, hash TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX commits_hash ON commits (hash);
CREATE TABLE controls (path TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
` + mark

// drop goes before layout: another format may have laid out its tables otherwise.
const drop = `DROP TABLE IF EXISTS meta; DROP TABLE IF EXISTS files; DROP TABLE IF EXISTS connections; DROP TABLE IF EXISTS mentions;
DROP TABLE IF EXISTS commits; DROP TABLE IF EXISTS controls;
`

const wipe = `DELETE FROM meta; DELETE FROM files; DELETE FROM connections; DELETE FROM mentions; DELETE FROM commits; DELETE FROM controls;
` + mark

const mark = `INSERT INTO meta VALUES ('format', '` + format + `');
`

func openStore(ctx context.Context, path string) (*store, error) {
	// The index is a cache: losing its last writes in a power cut costs a rebuild, so it need not wait for the disk.
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	s := &store{db: db}
	if ours(db.QueryRowContext(ctx, readFormat)) {
		return s, nil
	}
	if err := s.layOut(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

const readFormat = `SELECT value FROM meta WHERE key = 'format'`

func ours(row *sql.Row) bool {
	var have string
	return row.Scan(&have) == nil && have == format
}

// layOut makes the file an empty index, unless another process has done so and gone on meanwhile.
func (s *store) layOut(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if ours(tx.QueryRowContext(ctx, readFormat)) {
		return tx.Rollback()
	}
	if _, err := tx.ExecContext(ctx, drop+layout); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// begin begins to read the file as it stands, and returns how far it has come.
func (s *store) begin(ctx context.Context) (h Head, err error) {
	if s.tx, err = s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}); err != nil {
		return Head{}, err
	}
	return head(ctx, s.tx)
}

func (s *store) end() error {
	if s.tx == nil {
		return nil
	}
	tx := s.tx
	s.tx = nil
	return tx.Rollback()
}

func (s *store) close() error { return errors.Join(s.end(), s.db.Close()) }

func head(ctx context.Context, tx *sql.Tx) (Head, error) {
	var body string
	err := tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE key = 'head'`).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return Head{Sequence: -1}, nil
	}
	if err != nil {
		return Head{}, err
	}
	h := Head{}
	if json.Unmarshal([]byte(body), &h) != nil {
		return Head{}, errCorrupt
	}
	return h, nil
}

func (s *store) file(ctx context.Context, path string) (*File, error) {
	var body string
	err := s.tx.QueryRowContext(ctx, `SELECT body FROM files WHERE path = ?`, path).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeFile(body)
}

func decodeFile(body string) (*File, error) {
	f := &File{}
	if err := json.Unmarshal([]byte(body), f); err != nil {
		return nil, errCorrupt
	}
	return f, nil
}

func (s *store) eachFile(ctx context.Context, fn func(*File), query string, args ...any) error {
	return s.rows(ctx, query, args, func(rows *sql.Rows) error {
		var body string
		if err := rows.Scan(&body); err != nil {
			return err
		}
		f, err := decodeFile(body)
		if err == nil {
			fn(f)
		}
		return err
	})
}

func (s *store) rows(ctx context.Context, query string, args []any, each func(*sql.Rows) error) (err error) {
	rows, err := s.tx.QueryContext(ctx, query, args...)
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

func (s *store) files(ctx context.Context, classes []string, fn func(*File)) error {
	if len(classes) == 0 {
		return s.eachFile(ctx, fn, `SELECT body FROM files WHERE class <> 'request'`)
	}
	args := make([]any, len(classes))
	for i, c := range classes {
		args[i] = c
	}
	return s.eachFile(ctx, fn, `SELECT body FROM files WHERE class IN (?`+strings.Repeat(", ?", len(classes)-1)+`)`, args...)
}

func (s *store) quarantined(ctx context.Context, fn func(*File)) error {
	return s.eachFile(ctx, fn, `SELECT body FROM files WHERE quarantined = 1`)
}

func (s *store) documents(ctx context.Context, k ConnectionKey) ([]*plan.Document, error) {
	var body []byte
	err := s.tx.QueryRowContext(ctx, `SELECT body FROM connections WHERE application = ? AND type = ? AND name = ?`,
		k.Application, k.Name.Type, k.Name.SourceName).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeDocuments(body)
}

func (s *store) all(ctx context.Context, application string, fn func(schemas.Name, []*plan.Document)) error {
	var body sql.RawBytes
	return s.rows(ctx, `SELECT type, name, body FROM connections WHERE application = ?`, []any{application}, func(rows *sql.Rows) error {
		var n schemas.Name
		if err := rows.Scan(&n.Type, &n.SourceName, &body); err != nil {
			return err
		}
		docs, err := decodeDocuments(body)
		if err == nil {
			fn(n, docs)
		}
		return err
	})
}

func (s *store) mentioning(ctx context.Context, t ConnectionKey) ([]schemas.Name, error) {
	var out []schemas.Name
	err := s.rows(ctx, `SELECT ctype, cname FROM mentions WHERE application = ? AND type = ? AND name = ?`,
		[]any{t.Application, t.Name.Type, t.Name.SourceName}, func(rows *sql.Rows) error {
			var n schemas.Name
			err := rows.Scan(&n.Type, &n.SourceName)
			out = append(out, n)
			return err
		})
	return out, err
}

func (s *store) controls(ctx context.Context, into map[string][]Control) error {
	return s.rows(ctx, `SELECT path, body FROM controls`, nil, func(rows *sql.Rows) error {
		var path, body string
		if err := rows.Scan(&path, &body); err != nil {
			return err
		}
		var list []Control
		if err := json.Unmarshal([]byte(body), &list); err != nil {
			return errCorrupt
		}
		into[path] = list
		return nil
	})
}

func (s *store) verdict(ctx context.Context, commit string) (schemas.AdmissionRecord, bool, error) {
	var body string
	err := s.tx.QueryRowContext(ctx, `SELECT body FROM commits WHERE hash = ?`, commit).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return schemas.AdmissionRecord{}, false, nil
	}
	var r schemas.AdmissionRecord
	if err == nil {
		err = json.Unmarshal([]byte(body), &r)
	}
	return r, err == nil, err
}

func (s *store) verdicts(ctx context.Context, from int, fn func(schemas.AdmissionRecord) error) error {
	// In pieces, so that fn may use the index.
	for {
		var page []schemas.AdmissionRecord
		err := s.rows(ctx, `SELECT body FROM commits WHERE sequence >= ? ORDER BY sequence LIMIT 1000`, []any{from}, func(rows *sql.Rows) error {
			var body string
			if err := rows.Scan(&body); err != nil {
				return err
			}
			var r schemas.AdmissionRecord
			if err := json.Unmarshal([]byte(body), &r); err != nil {
				return errCorrupt
			}
			page = append(page, r)
			return nil
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, r := range page {
			if err := fn(r); err != nil {
				return err
			}
		}
		from = page[len(page)-1].Sequence + 1
	}
}

func (s *store) save(ctx context.Context, x *Index) error {
	if err := s.end(); err != nil {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := s.write(ctx, tx, x); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.wipe = false
	_, err = s.begin(ctx)
	return err
}

func (s *store) write(ctx context.Context, tx *sql.Tx, x *Index) error {
	now, err := head(ctx, tx)
	if err != nil {
		return err
	}
	if now != x.loaded {
		return ErrChanged
	}
	if s.wipe {
		if _, err := tx.ExecContext(ctx, wipe); err != nil {
			return err
		}
	}
	w := writer{ctx: ctx, tx: tx}
	for _, p := range slices.Sorted(maps.Keys(x.dirtyFiles)) {
		f := x.files[p]
		if f == nil {
			w.exec(`DELETE FROM files WHERE path = ?`, p)
			continue
		}
		q := 0
		if f.Quarantined() {
			q = 1
		}
		w.exec(`INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)`, p, f.Class, q, w.json(f))
	}
	for _, k := range slices.SortedFunc(maps.Keys(x.dirtyConns), ConnectionKey.Compare) {
		b, err := encodeDocuments(x.documents[k])
		if err != nil {
			return err
		}
		w.exec(`INSERT OR REPLACE INTO connections VALUES (?, ?, ?, ?)`, k.Application, k.Name.Type, k.Name.SourceName, b)
	}
	for k, targets := range x.newMentions {
		for _, t := range targets {
			w.exec(`INSERT OR IGNORE INTO mentions VALUES (?, ?, ?, ?, ?)`, k.Application, t.Type, t.SourceName, k.Name.Type, k.Name.SourceName)
		}
	}
	for i := range x.Verdicts {
		v := &x.Verdicts[i]
		w.exec(`INSERT OR REPLACE INTO commits VALUES (?, ?, ?)`, v.Sequence, v.Commit, w.json(v))
	}
	for p := range x.dirtyControls {
		w.exec(`INSERT OR REPLACE INTO controls VALUES (?, ?)`, p, w.json(x.Layer.controls[p]))
	}
	w.exec(`INSERT OR REPLACE INTO meta VALUES ('head', ?)`, w.json(x.Head))
	return errors.Join(w.err, w.close())
}

// writer prepares each statement once and keeps the first error.
type writer struct {
	ctx      context.Context
	tx       *sql.Tx
	prepared map[string]*sql.Stmt
	err      error
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
		if w.prepared == nil {
			w.prepared = map[string]*sql.Stmt{}
		}
		w.prepared[query] = st
	}
	_, w.err = st.ExecContext(w.ctx, args...)
}

func (w *writer) json(v any) string {
	b, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	return string(b)
}

func (w *writer) close() error {
	var err error
	for _, st := range w.prepared {
		err = errors.Join(err, st.Close())
	}
	return err
}
