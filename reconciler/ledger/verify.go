package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/countersign/countersign/schemas"
)

// VerifyOptions may name a head from outside the ledger: only that finds a ledger that was cut off or
// replaced completely.
type VerifyOptions struct {
	// Head is the hash of a record, as an earlier report or manifest gave it; "" is none.
	Head string
	// Count is that record's sequence, or how many records there were at least; 0 is any.
	Count int64
	// ChainOnly leaves out the tables that are derived from the records.
	ChainOnly bool
	// Pseudonyms lets these be in the place of texts that name a person, or nothing.
	Pseudonyms bool
}

// Verify recomputes every hash, compares it with the chain and the head, and rebuilds the derived tables.
// An error means that the ledger could not be read, never that it is invalid.
func (l *Ledger) Verify(ctx context.Context, o VerifyOptions) (schemas.AuditVerification, error) {
	v := verifier{report: schemas.AuditVerification{Problems: []schemas.AuditProblem{}}, options: o}
	if l.db == nil {
		v.conclude()
		return v.report, nil
	}
	err := l.snapshot(ctx, func(q querier) error {
		if err := v.chain(ctx, q); err != nil {
			return err
		}
		// Tables derived from a broken chain prove nothing.
		if o.ChainOnly || len(v.report.Problems) > 0 {
			return nil
		}
		return v.derived(ctx, q, l.derived)
	})
	if err != nil {
		return v.report, fmt.Errorf("verify the ledger: %w", err)
	}
	return v.report, nil
}

// ReadVerified verifies the chain and calls fn for each record in order; both see the ledger as of one moment. The
// report shows whether the chain is valid: fn gets the records also where it isn't. fn must not use the ledger.
func (l *Ledger) ReadVerified(ctx context.Context, fn func(schemas.Record) error) (schemas.AuditVerification, error) {
	v := verifier{report: schemas.AuditVerification{Problems: []schemas.AuditProblem{}}}
	if l.db == nil {
		return v.report, nil
	}
	err := l.snapshot(ctx, func(q querier) error {
		if err := v.chain(ctx, q); err != nil {
			return err
		}
		read := decode
		if len(v.report.Problems) > 0 {
			read = decodeAny
		}
		return stream(ctx, q, ` ORDER BY sequence`, nil, read, fn)
	})
	return v.report, err
}

type verifier struct {
	report  schemas.AuditVerification
	options VerifyOptions
	found   bool // the head that was given
}

func (v *verifier) bad(sequence int64, format string, args ...any) {
	v.report.Problems = append(v.report.Problems, schemas.AuditProblem{Sequence: sequence, What: fmt.Sprintf(format, args...)})
}

// chain checks each record by itself, its link to the previous one, and the end.
func (v *verifier) chain(ctx context.Context, q querier) error {
	previous := ""
	err := rows(ctx, q, `SELECT sequence, type, application, run, time, hash, body FROM records ORDER BY sequence`, nil, func(s *sql.Rows) error {
		var sequence int64
		var kind, application, run, at, hash string
		var body sql.RawBytes
		if err := s.Scan(&sequence, &kind, &application, &run, &at, &hash, &body); err != nil {
			return err
		}
		if want := v.report.LastSequence + 1; sequence > want {
			v.bad(want, "it is missing: the next record is %d", sequence)
		}
		v.report.Records++
		v.report.LastSequence = sequence
		// Only what the columns repeat, and the link: the parts of a record may be of any size.
		var r struct {
			Sequence    int64              `json:"sequence"`
			Previous    string             `json:"previous"`
			Type        schemas.RecordType `json:"type"`
			Application string             `json:"application"`
			Run         string             `json:"run"`
			Time        jsonTime           `json:"time"`
		}
		// The JSON is decoded after its hash is known, and only up to the personal texts.
		hashed, _ := split(body)
		_, rerr := restore(body, v.options.Pseudonyms)
		switch err := errors.Join(rerr, json.Unmarshal(hashed, &r)); {
		case rerr != nil && errors.Is(rerr, errCommitment) && hashText(hashed) == hash:
			v.bad(sequence, "%v", errCommitment)
		case err != nil:
			v.bad(sequence, "it cannot be read: %v", err)
		case hashText(hashed) != hash:
			v.bad(sequence, "its content does not match its hash: it was changed")
		case r.Sequence != sequence:
			v.bad(sequence, "it was record %d: it was moved", r.Sequence)
		case r.Previous != previous:
			v.bad(sequence, "it does not follow the record before it")
		case string(r.Type) != kind || r.Application != application || r.Run != run || string(r.Time) != at:
			v.bad(sequence, "it is filed under another type, application, run or time than its own")
		}
		previous = hash
		v.found = v.found || hash == v.options.Head && (v.options.Count == 0 || v.options.Count == sequence)
		return nil
	})
	if err != nil {
		return err
	}
	v.report.Head = previous
	var sequence int64
	var hash string
	switch err := q.QueryRowContext(ctx, `SELECT sequence, hash FROM head`).Scan(&sequence, &hash); {
	case errors.Is(err, sql.ErrNoRows):
		v.bad(0, "the note of the last record was removed")
	case err != nil:
		return err
	case sequence != v.report.LastSequence || hash != previous:
		v.bad(sequence, "it was the last record once, and now record %d is: the end was cut off or put on", v.report.LastSequence)
	}
	v.conclude()
	return nil
}

// conclude compares the end with the head known from outside.
func (v *verifier) conclude() {
	o := v.options
	switch {
	case o.Head != "" && !v.found:
		v.bad(o.Count, "the given head was not found: the ledger was cut off, or replaced")
	case v.report.LastSequence < o.Count:
		v.bad(o.Count, "there were this many records once, and now there are %d: the ledger was cut off", v.report.LastSequence)
	}
}

// derived derives everything again, beside the file, and compares.
func (v *verifier) derived(ctx context.Context, q querier, version int) (err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	if _, err := tx.ExecContext(ctx, derivedLayout); err != nil {
		return err
	}
	w := newWriter(tx)
	if err := errors.Join(w.fill(ctx, q), w.close()); err != nil {
		return err
	}
	for _, t := range derivedTables {
		if t.name == "fulfilments" && version == unfulfilled {
			continue
		}
		want, err := derivation(ctx, tx, t.name, t.order)
		if err != nil {
			return err
		}
		got, err := derivation(ctx, q, t.name, t.order)
		if err != nil {
			return err
		}
		if got != want {
			v.bad(0, "the table %s does not follow from the records: it was changed", t.name)
		}
	}
	return nil
}

// jsonTime is a record's time as the column has it.
type jsonTime string

// UnmarshalJSON reads an RFC 3339 time.
func (t *jsonTime) UnmarshalJSON(b []byte) error {
	var r schemas.Record
	if err := r.Time.UnmarshalJSON(b); err != nil {
		return err
	}
	*t = jsonTime(r.Time.UTC().Format(timeKey))
	return nil
}
