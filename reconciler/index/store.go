package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/url"
	"strings"

	// and the driver of that name

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// format changes with the encoding, and with whatever makes the same documents decode to something else.
const format = "3"

type store struct {
	db *sql.DB
	// tx is the snapshot that is read: the file as it was when the transaction began.
	tx *sql.Tx
	// whole means that all that the file has, verdicts apart, is in memory, too: asking the file is useless.
	whole bool
	// wipe means that nothing in the file holds.
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

// begin starts a read transaction, and returns how far the file has come.
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
