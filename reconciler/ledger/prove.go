package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/countersign/countersign/reconciler/ledger/seal"
)

// markSuffix names the file that remembers how the database was when every record was proven.
const markSuffix = ".proven"

// mark is what that file has: the files of the database as they were. A run with a key signs it, since anybody who can write
// the database can write this file too. The time of a file's last change can't be set to what it was by an ordinary user.
type mark struct {
	Files []fileState `json:"files"`
	Code  string      `json:"code,omitempty"`
}

// fileState is what changes when a file is written or replaced.
type fileState struct {
	Name    string `json:"name"`
	Size    int64  `json:"size"`
	Inode   uint64 `json:"inode"`
	Changed int64  `json:"changed"` // nanoseconds
}

// Prove recomputes every hash and every derived table, unless the file is as it was when that was done, or when a run of
// its own wrote it last. It returns an *AlarmError for a ledger that is damaged or was altered. A signature isn't looked
// at; Authenticate does that.
func (l *Ledger) Prove(ctx context.Context) error {
	if l.db == nil || l.proven.Load() {
		return nil
	}
	before, ok := l.files()
	if ok && l.marked(before) {
		l.proven.Store(true)
		return nil
	}
	rep, err := l.Verify(ctx, VerifyOptions{})
	if err != nil {
		return &AlarmError{What: "it can't be read: " + err.Error()}
	}
	if len(rep.Problems) > 0 {
		p := rep.Problems[0]
		more := ""
		if n := len(rep.Problems); n > 1 {
			more = fmt.Sprintf(" (and %d more: countersign audit verify)", n-1)
		}
		return &AlarmError{What: fmt.Sprintf("record %d: %s%s", p.Sequence, p.What, more)}
	}
	l.proven.Store(true)
	if after, still := l.files(); ok && still && slices.Equal(before, after) {
		l.keepMark(after)
	}
	return nil
}

func (l *Ledger) markPath() string { return l.config.Path + markSuffix }

// files are those of the database; false where the system doesn't tell when a file was changed.
func (l *Ledger) files() ([]fileState, bool) {
	var out []fileState
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Lstat(l.config.Path + suffix)
		if errors.Is(err, os.ErrNotExist) || err == nil && suffix != "" && info.Size() == 0 {
			continue // a reader makes an empty one
		}
		if err != nil {
			return nil, false
		}
		f, ok := stateOf(info)
		if !ok || !info.Mode().IsRegular() {
			return nil, false
		}
		f.Name = filepath.Base(l.config.Path + suffix)
		out = append(out, f)
	}
	return out, len(out) > 0
}

func (l *Ledger) code(files []fileState) (string, error) {
	if l.config.Key == nil {
		return "", nil
	}
	text, err := json.Marshal(files)
	return l.config.Key.Mark(text), err
}

func (l *Ledger) marked(files []fileState) bool {
	b, err := os.ReadFile(l.markPath())
	var m mark
	if err != nil || json.Unmarshal(b, &m) != nil || !slices.Equal(m.Files, files) {
		return false
	}
	// A run with a key takes no one else's word.
	code, err := l.code(files)
	return err == nil && (l.config.Key == nil || code == m.Code)
}

// leaveMark remembers the file as this process left it.
func (l *Ledger) leaveMark() {
	if files, ok := l.files(); ok {
		l.keepMark(files)
	}
}

// keepMark writes the mark. Without one, all is proven again: a reader without a place of its own does that each time.
func (l *Ledger) keepMark(files []fileState) {
	code, err := l.code(files)
	if err != nil {
		return
	}
	b, err := json.Marshal(mark{files, code})
	if err != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(l.config.Path), filepath.Base(l.markPath())+".*")
	if err != nil {
		return
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), l.markPath())
	}
	if err != nil {
		l.config.Logger.Debug("could not remember that the ledger was proven", "error", errors.Join(err, os.Remove(f.Name())))
	}
}

// Check compares the ledger with the last head that a witness knows, in a statement that names the record and its hash.
// A ledger that goes on from there is right: a run may have ended before it told the witness. by names the witness.
func (l *Ledger) Check(ctx context.Context, by string, sequence int64, is func(hash string) bool) error {
	last, _, err := l.Head(ctx)
	if err != nil {
		return err
	}
	switch {
	case last == 0:
		return &AlarmError{What: fmt.Sprintf("it is missing, and %s knows of %d records", by, sequence)}
	case last < sequence:
		return &AlarmError{What: fmt.Sprintf("it is older than what was recorded: it ends with record %d, and %s knows of record %d; it was put back or cut off", last, by, sequence)}
	}
	var hash string
	if err := l.db.QueryRowContext(ctx, `SELECT hash FROM records WHERE sequence = ?`, sequence).Scan(&hash); err != nil {
		return fmt.Errorf("read record %d: %w", sequence, err)
	}
	if !is(hash) {
		return &AlarmError{What: fmt.Sprintf("record %d is another one than %s knows: the ledger was replaced", sequence, by)}
	}
	return nil
}

// Statement is what a witness is given: the signed note of the head, or the head itself where nothing is signed; "" for an
// empty ledger.
func (l *Ledger) Statement(ctx context.Context) (string, error) {
	sequence, hash, err := l.Head(ctx)
	if err != nil || sequence == 0 {
		return "", err
	}
	note, err := l.Note(ctx)
	if err != nil || note != "" {
		return note, err
	}
	return seal.Head{Origin: l.Origin(), Sequence: sequence, Hash: hash}.Text(), nil
}

// CheckStatement compares the ledger with what a witness has. believed is false for something that isn't a statement about
// this ledger, in a place that others can write to (own is false): such a thing proves nothing. A ledger that is signed has
// witnesses whose statements are signed.
func (l *Ledger) CheckStatement(ctx context.Context, by, statement string, own bool) (believed bool, err error) {
	h, perr := seal.ParseHead(statement)
	if key := l.trusted.Load(); key != nil && perr == nil {
		var signed seal.Head
		if signed, perr = key.Open(statement); perr == nil {
			h = signed
		} else if own {
			perr = nil // the key before, perhaps: the repository's own witness is heard all the same
		}
	}
	switch {
	case perr == nil:
		return true, l.Check(ctx, by, h.Sequence, func(hash string) bool { return hash == h.Hash })
	case own:
		return false, &AlarmError{What: by + " has something that countersign didn't leave there", Fix: "look at who wrote it, and delete the reference"}
	}
	return false, nil
}
