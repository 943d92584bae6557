package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/schemas"
)

// MaxPlanned is how many operations one record may hold: a run of more writes several.
const MaxPlanned = 1000

// Batch is what one Append adds.
type Batch struct {
	// First and Last are sequences, Head is the hash of the last record.
	First, Last int64
	Head        string
	// Lines are the records, each in canonical JSON (RFC 8785). A record's hash, which the field previous of the one after
	// has, is the SHA-256 of that without the member personal.
	Lines []string
	// Note is the signed note of the head; "" for a ledger that isn't signed.
	Note string
}

// body is a record as it is kept.
type body struct {
	text string
	err  error
}

// encoded chains the records on to the last one and encodes them, one ahead of the other, in a goroutine of its
// own: it takes about as long as SQLite does. A record may be read once its body came. Call stop at the end.
func encoded(records []schemas.Record, last int64, previous string, now time.Time, random io.Reader) (bodies <-chan body, stop func()) {
	out, done := make(chan body, 64), make(chan struct{})
	go func() {
		defer close(out)
		for i := range records {
			r := &records[i]
			last++
			r.APIVersion, r.Sequence, r.Time, r.Previous, r.Hash = schemas.APIVersion, last, now, previous, ""
			hashed, kept, err := bodyOf(r, random)
			if err == nil {
				r.Hash = hashText(hashed)
				previous = r.Hash
			}
			select {
			case out <- body{string(kept), err}:
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
	return l.add(ctx, l.config.Key, l.maySign, records)
}

// add is Append with the key that signs the head, and with what allows to go on from the last record.
func (l *Ledger) add(ctx context.Context, key *seal.Key, may permission, records []schemas.Record) ([]schemas.Record, error) {
	if len(records) == 0 {
		return nil, nil
	}
	if l.config.ReadOnly || l.db == nil {
		return nil, ErrReadOnly
	}
	out := make([]schemas.Record, len(records))
	for i, r := range records {
		if err := Check(&r); err != nil {
			return nil, fmt.Errorf("record %d of %d: %w", i+1, len(records), err)
		}
		if l.config.Clean != nil {
			r = l.config.Clean(r)
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
		origin, err := may(ctx, w, last, previous)
		if err != nil {
			return err
		}
		bodies, stop := encoded(out, last, previous, l.config.nowUTC(), l.config.Random)
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
			if l.config.Replicate != nil {
				batch.Lines = append(batch.Lines, b.text)
			}
		}
		if batch.Note, err = l.sign(ctx, w, key, seal.Head{Origin: origin, Sequence: last, Hash: previous}); err != nil {
			return err
		}
		if l.config.Replicate == nil || w.err != nil {
			return nil
		}
		batch.Last, batch.Head = last, previous
		return l.config.Replicate(ctx, batch)
	})
	if err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	return out, nil
}

// ErrForeignRecord means that a record made elsewhere does not follow the last one here.
var ErrForeignRecord = errors.New("the record does not follow the last one of this ledger")

// Import adds records that were made elsewhere, as Batch has them, in one transaction, with the note of the last one's
// head. Lines that are here already must be the same ones; the rest must follow. After an error, nothing was added.
func (l *Ledger) Import(ctx context.Context, lines iter.Seq2[string, error], note string) error {
	if l.config.ReadOnly || l.db == nil {
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
			if err := decode([]byte(line), &r); err != nil {
				return fmt.Errorf("after record %d: a line is not a record: %w: %w", last, err, ErrForeignRecord)
			}
			hash := hashOf([]byte(line))
			if r.Sequence <= from {
				var here string
				if err := w.tx.QueryRowContext(ctx, `SELECT hash FROM records WHERE sequence = ?`, r.Sequence).Scan(&here); err != nil || here != hash {
					return errors.Join(fmt.Errorf("record %d differs here: %w", r.Sequence, ErrForeignRecord), err)
				}
				continue
			}
			if r.Sequence != last+1 || r.Previous != previous {
				return fmt.Errorf("record %d after record %d: %w", r.Sequence, last, ErrForeignRecord)
			}
			if err := Check(&r); err != nil {
				return fmt.Errorf("record %d: %w: %w", r.Sequence, err, ErrForeignRecord)
			}
			r.Hash = hash
			last, previous = r.Sequence, hash
			w.exec(ctx, `INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)`, r.Sequence, string(r.Type), r.Application, r.Run, r.Time.Format(timeKey), hash, line)
			w.derive(ctx, &r)
		}
		if last > from {
			l.head(ctx, w, last, previous, note)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	return nil
}

// Check refuses records that are useless later: each type requires its parts.
func Check(r *schemas.Record) error {
	missing := ""
	switch r.Type {
	case "":
		return errors.New("type: required")
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
	case schemas.RecordKey:
		if r.Key == nil || r.Key.PublicKey == "" {
			missing = "key"
		}
	case schemas.RecordRestart:
		if r.Restart == nil || r.Restart.Commit == "" {
			missing = "restart"
		}
	case schemas.RecordFinding:
		if r.Finding == nil {
			missing = "finding"
		}
	case schemas.RecordObservation:
		if r.Observation == nil || r.Application == "" {
			missing = "observation and application"
		}
	}
	if missing != "" {
		return fmt.Errorf("a record of type %s requires %s", r.Type, missing)
	}
	if len(r.Planned) > MaxPlanned {
		return fmt.Errorf("a record of type %s has %d operations, more than %d", r.Type, len(r.Planned), MaxPlanned)
	}
	return nil
}
