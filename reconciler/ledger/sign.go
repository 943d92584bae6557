package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/schemas"
)

// AlarmError means that the ledger isn't what countersign wrote: it was altered, damaged, cut off, put back, removed, or
// it isn't signed as it should be. Nothing may be decided by it.
type AlarmError struct {
	What string
	// Fix is what an operator can do.
	Fix string
	// Err is the error that shows it; nil for none.
	Err error
}

// Unwrap returns Err.
func (e *AlarmError) Unwrap() error { return e.Err }

// Error describes what was found and what to do.
func (e *AlarmError) Error() string {
	fix := e.Fix
	if fix == "" {
		fix = "put the last backup in its place that its witness accepts, or begin another one with countersign audit restart"
	}
	return fmt.Sprintf("the ledger can't be believed: %s; nothing is applied; %s", e.What, fix)
}

// LedgerAlarm marks it as an alarm about the ledger.
func (*AlarmError) LedgerAlarm() {}

// IsAlarm reports whether an error is about a ledger that can't be believed, wherever it is kept.
func IsAlarm(err error) bool {
	var alarm interface{ LedgerAlarm() }
	return errors.As(err, &alarm)
}

var (
	// ErrNoKey means that a ledger is signed, and this run lacks the key.
	ErrNoKey = errors.New("the ledger is signed, and this run lacks the key: set COUNTERSIGN_LEDGER_KEY or COUNTERSIGN_LEDGER_KEY_FILE, or give --ledger-key")
	// ErrUnsigned means that this run has a key, and the ledger has records that nobody signed.
	ErrUnsigned = errors.New("the ledger has records and isn't signed, and this run has a key: an owner acknowledges its head, then countersign audit take-over signs it")
)

// beginSigning brings a file of the first layout up to date.
func beginSigning(ctx context.Context, w *writer) error {
	_, err := w.tx.ExecContext(ctx, fmt.Sprintf(`CREATE TABLE IF NOT EXISTS signature (one INTEGER PRIMARY KEY CHECK (one = 1), note TEXT NOT NULL); PRAGMA user_version = %d;`, layoutVersion))
	return err
}

// noteOf is the signed note of the head; "" for none.
func noteOf(ctx context.Context, q querier) (string, error) {
	var tables int
	if err := q.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'signature'`).Scan(&tables); err != nil || tables == 0 {
		return "", err
	}
	var note string
	err := q.QueryRowContext(ctx, `SELECT note FROM signature`).Scan(&note)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return note, err
}

// Note returns the signed note of the head; "" for a ledger that isn't signed or is empty.
func (l *Ledger) Note(ctx context.Context) (string, error) {
	if l.db == nil {
		return "", nil
	}
	note, err := noteOf(ctx, l.db)
	if err != nil {
		return "", fmt.Errorf("read the ledger's signature: %w", err)
	}
	return note, nil
}

// Origin is the commit where trust in the ledger's repository starts; "" while it isn't known.
func (l *Ledger) Origin() string {
	s, _ := l.origin.Load().(string)
	return s
}

// Trusted is the key that Authenticate verified the head with; nil where nothing is signed.
func (l *Ledger) Trusted() *seal.Public { return l.trusted.Load() }

// permission decides whether records may follow the last one, and of which origin the ledger is.
type permission func(ctx context.Context, w *writer, last int64, previous string) (origin string, err error)

// maySign is the permission of a run: what it goes on from is signed by its own key, or nothing is signed at all.
func (l *Ledger) maySign(ctx context.Context, w *writer, last int64, previous string) (string, error) {
	note, err := noteOf(ctx, w.tx)
	switch {
	case err != nil:
		return "", fmt.Errorf("read the signature: %w", err)
	case l.config.Key == nil && note != "":
		return "", ErrNoKey
	case l.config.Key == nil:
		return "", nil
	case last == 0 && l.Origin() == "":
		return "", errors.New("it isn't known which repository the ledger is of")
	case last == 0:
		return l.Origin(), nil
	case note == "":
		return "", ErrUnsigned
	}
	h, err := openHead(l.config.Key.Public(), note, last, previous)
	return h.Origin, err
}

func openHead(key *seal.Public, note string, sequence int64, hash string) (seal.Head, error) {
	h, err := key.Open(note)
	switch {
	case err != nil:
		return h, &AlarmError{What: "its head isn't signed by the key " + key.String()}
	case h.Sequence != sequence || h.Hash != hash:
		return h, &AlarmError{What: fmt.Sprintf("the head that is signed is record %d, and the last one is record %d or another", h.Sequence, sequence)}
	}
	return h, nil
}

// sign writes a new head, with its note where there is a key.
func (l *Ledger) sign(ctx context.Context, w *writer, key *seal.Key, h seal.Head) (note string, err error) {
	if key != nil {
		if note, err = key.Sign(h); err != nil {
			return "", fmt.Errorf("sign the head: %w", err)
		}
	}
	l.head(ctx, w, h.Sequence, h.Hash, note)
	return note, nil
}

func (l *Ledger) head(ctx context.Context, w *writer, sequence int64, hash, note string) {
	w.exec(ctx, `UPDATE head SET sequence = ?, hash = ?`, sequence, hash)
	if note != "" {
		w.exec(ctx, `INSERT OR REPLACE INTO signature VALUES (1, ?)`, note)
	}
}

// Authority is whose ledger it has to be.
type Authority struct {
	// Anchor is the commit where trust in the repository starts, PublicKey the key that its settings name; "" is none.
	Anchor, PublicKey string
	// Related reports whether another commit belongs to the same repository, where the operator moved the anchor; nil is none.
	Related func(commit string) (bool, error)
	// Operator is the key that the operator gave, if any. It goes before PublicKey.
	Operator *seal.Public
}

// Authenticate proves that the head is signed by whom the ledger has to be signed by, for this repository. Call it before
// a record is used. It returns an *AlarmError for a ledger that isn't, and for an unsigned one where there is to be a key.
func (l *Ledger) Authenticate(ctx context.Context, a Authority) error {
	l.origin.Store(a.Anchor)
	if a.Operator == nil && l.config.Key != nil {
		a.Operator = l.config.Key.Public()
	}
	if err := l.trust(a); err != nil {
		return err
	}
	sequence, hash, err := l.Head(ctx)
	if err != nil || sequence == 0 {
		return err
	}
	note, err := l.Note(ctx)
	if err != nil {
		return err
	}
	if note == "" {
		taken, err := l.keys(ctx)
		switch {
		case err != nil:
			return err
		case a.PublicKey != "" || len(taken) > 0:
			return &AlarmError{What: "it isn't signed, and it has to be"}
		}
		return nil
	}
	key := a.Operator
	if key == nil {
		if key, err = l.keyFrom(ctx, a.PublicKey); err != nil {
			return err
		}
	}
	l.trusted.Store(key)
	h, err := openHead(key, note, sequence, hash)
	if err != nil || h.Origin == a.Anchor {
		return err
	}
	if a.Related != nil {
		if ok, err := a.Related(h.Origin); err != nil || ok {
			return err
		}
	}
	return &AlarmError{What: fmt.Sprintf("it is of a repository where trust starts at %.8s, and here it starts at %.8s", h.Origin, a.Anchor)}
}

// trust takes the key of an authority, for a ledger without records that change it.
func (l *Ledger) trust(a Authority) error {
	key := a.Operator
	if key == nil && a.PublicKey != "" {
		var err error
		if key, err = seal.ParsePublic(a.PublicKey); err != nil {
			return fmt.Errorf("the settings of the anchor: ledger.public_key: %w", err)
		}
	}
	l.trusted.Store(key)
	return nil
}

// keys are the records of keys, in order.
func (l *Ledger) keys(ctx context.Context) (out []schemas.Record, err error) {
	err = l.Records(ctx, Filter{Types: []schemas.RecordType{schemas.RecordKey}}, func(r schemas.Record) error {
		out = append(out, r)
		return nil
	})
	return out, err
}

// keyFrom follows the rotations from a key to the one that signs today. Without one, it begins with the key that the
// ledger was taken over by: then only the operator's own word (Authority.Operator) proves who that was.
func (l *Ledger) keyFrom(ctx context.Context, text string) (*seal.Public, error) {
	list, err := l.keys(ctx)
	if err != nil {
		return nil, err
	}
	if text == "" && len(list) > 0 && list[0].Key.Former == "" {
		text, list = list[0].Key.PublicKey, list[1:]
	}
	if text == "" {
		return nil, &AlarmError{What: "it is signed, and no settings name a key", Fix: "give the key with COUNTERSIGN_LEDGER_PUBLIC_KEY"}
	}
	return followKeys(text, list)
}

// followKeys is the key that a list of rotations leads to.
func followKeys(text string, list []schemas.Record) (*seal.Public, error) {
	key, err := seal.ParsePublic(text)
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if r.Key.Former == "" && key.Is(r.Key.PublicKey) {
			continue // it was taken over by this key
		}
		next, err := seal.ParsePublic(r.Key.PublicKey)
		if err == nil && !key.Is(r.Key.Former) {
			err = seal.ErrSignature
		}
		if err == nil {
			var h seal.Head
			if h, err = key.OpenRotation(r.Key.Statement, next); err == nil && (h.Sequence != r.Sequence-1 || h.Hash != r.Previous) {
				err = seal.ErrSignature
			}
		}
		if err != nil {
			return nil, &AlarmError{What: fmt.Sprintf("record %d changes the key, and the key before didn't sign that", r.Sequence)}
		}
		key = next
	}
	return key, nil
}

// Rotate lets another key sign from here on. The run's own key signs a record of that.
func (l *Ledger) Rotate(ctx context.Context, next *seal.Key) error {
	if l.config.Key == nil {
		return ErrNoKey
	}
	sequence, hash, err := l.Head(ctx)
	if err != nil {
		return err
	}
	if sequence == 0 {
		return errors.New("the ledger is empty: put the new key in the settings and into the environment")
	}
	note, err := l.Note(ctx)
	if err != nil {
		return err
	}
	h, err := openHead(l.config.Key.Public(), note, sequence, hash)
	if err != nil {
		return err
	}
	statement, err := l.config.Key.SignRotation(h, next.Public())
	if err != nil {
		return err
	}
	may := func(ctx context.Context, w *writer, last int64, previous string) (string, error) {
		if last != sequence || previous != hash {
			return "", errors.New("another run wrote to the ledger in the meantime: run it again")
		}
		return l.maySign(ctx, w, last, previous)
	}
	_, err = l.add(ctx, next, may, []schemas.Record{{Type: schemas.RecordKey, Key: &schemas.KeyRecord{
		PublicKey: next.Public().String(), Former: l.config.Key.Public().String(), Statement: statement}}})
	return err
}

// ErrSigned means that a ledger can't be taken over: it is signed already.
var ErrSigned = errors.New("the ledger is signed already")

// TakeOver signs an unsigned ledger, on the word of the document that names the record and its hash.
func (l *Ledger) TakeOver(ctx context.Context, document schemas.DocumentID, commit string, sequence int64, hash string) error {
	if l.config.Key == nil {
		return ErrNoKey
	}
	may := func(ctx context.Context, w *writer, last int64, previous string) (string, error) {
		note, err := noteOf(ctx, w.tx)
		if err != nil {
			return "", err
		}
		if note != "" {
			return "", ErrSigned
		}
		var is string
		if err := w.tx.QueryRowContext(ctx, `SELECT hash FROM records WHERE sequence = ?`, sequence).Scan(&is); err != nil || is != hash {
			return "", fmt.Errorf("record %d isn't the one that %s acknowledges", sequence, document.Path)
		}
		if l.Origin() == "" {
			return "", errors.New("it isn't known which repository the ledger is of")
		}
		return l.Origin(), nil
	}
	_, err := l.add(ctx, l.config.Key, may, []schemas.Record{{Type: schemas.RecordKey, Key: &schemas.KeyRecord{
		PublicKey: l.config.Key.Public().String(), Document: document, Commit: commit}}})
	return err
}
