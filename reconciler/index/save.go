package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	// and the driver of that name
)

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
