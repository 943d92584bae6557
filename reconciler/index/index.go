package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"modernc.org/sqlite" // and the driver of that name
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/countersign/countersign/schemas"
)

// Head is how far the index has come.
type Head struct {
	// Tip is the last first-parent commit judged, Sequence its place from 0 at the root.
	Tip      string `json:"tip"`
	Sequence int    `json:"sequence"`
	// Anchor is the commit that trust starts at.
	Anchor string `json:"anchor"`
	// Instant is the latest commit time so far, which no later judgement goes behind (Unix seconds).
	Instant int64 `json:"instant"`
	// Recorded is the number of commits, from the first on, whose verdicts are known to be in the ledger.
	Recorded int `json:"recorded,omitempty"`
}

// Index is the order index in its file. Close it.
type Index struct {
	*Layer
	Head Head
	// Verdicts are the records of commits judged since the index was opened, in order.
	Verdicts []schemas.AdmissionRecord
	loaded   Head
	held     bool
}

// Hold keeps everything from now on in memory: the next process begins again where the file ends.
func (x *Index) Hold() { x.held = true }

// Held reports whether Hold was called.
func (x *Index) Held() bool { return x.held }

// ErrChanged means that another process has written the file since it was opened. Open it again: what the
// other has judged need not be judged twice.
var ErrChanged = errors.New("the order index was written by another process")

// Damaged reports whether an error means that the file holds no index that could be read.
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
// is emptied. Reads see the file as it was then, whatever others write.
func Open(ctx context.Context, path string) (*Index, error) {
	x := &Index{Layer: newLayer(nil), Head: Head{Sequence: -1}}
	if path == "" {
		return x, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the order index: %w", err)
	}
	if err := private(path); err != nil {
		return nil, fmt.Errorf("open the order index %s: %w", path, err)
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

// private makes the file for its owner alone: it has every request. A link isn't followed.
func private(path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|noFollow, 0o600)
	if errors.Is(err, fs.ErrPermission) {
		return nil // a reader of somebody else's state, which SQLite opens, too, or reports
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return err
	}
	return f.Chmod(0o600)
}

// Close closes the file and discards unsaved layers.
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
	if x.store == nil || x.held || (x.Head == x.loaded && len(x.dirtyFiles) == 0 && len(x.dirtyConns) == 0 && !x.store.wipe) {
		return nil
	}
	if err := x.store.save(ctx, x); err != nil {
		return fmt.Errorf("save the order index: %w", err)
	}
	x.loaded, x.Verdicts = x.Head, nil
	x.clean()
	return nil
}
