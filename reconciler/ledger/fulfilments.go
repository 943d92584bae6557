package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/countersign/countersign/schemas"
)

// isOpen reports whether somebody outside is working on it.
func isOpen(state string) bool {
	return state == schemas.FulfilmentSubmitting || state == schemas.FulfilmentPending || state == schemas.FulfilmentApplied
}

// Fulfilment is an operation that somebody outside was asked for, by its last asking.
type Fulfilment struct {
	schemas.FulfilmentRecord
	Application string
	State       string
	// Since is when they were asked, Changed when the state came to be.
	Since, Changed time.Time
	// Run is the one that asked, Intent the sequence of its record.
	Run    string
	Intent int64
	// Plan is the operation as they were asked for it.
	Plan schemas.Operation
}

// Fulfilments returns the operations that somebody outside was asked for in an application ("" is all), by application and
// operation: each operation with its last asking, including those that ended.
func (l *Ledger) Fulfilments(ctx context.Context, application string) ([]Fulfilment, error) {
	return l.fulfilments(ctx, ` WHERE ? IN ('', application)`, application)
}

// Fulfilment returns the last asking for an operation, in any application if none is named.
func (l *Ledger) Fulfilment(ctx context.Context, application, operation string) ([]Fulfilment, error) {
	return l.fulfilments(ctx, ` WHERE ? IN ('', application) AND operation = ?`, application, operation)
}

func (l *Ledger) fulfilments(ctx context.Context, where string, args ...any) ([]Fulfilment, error) {
	if l.db == nil || l.derived == unfulfilled {
		return nil, nil
	}
	var out []Fulfilment
	err := rows(ctx, l.db, `SELECT application, state, since, changed, intent, run, record, body FROM fulfilments`+where+` ORDER BY application, operation`, args, func(s *sql.Rows) error {
		var f Fulfilment
		var since, changed string
		var record, body sql.RawBytes
		if err := s.Scan(&f.Application, &f.State, &since, &changed, &f.Intent, &f.Run, &record, &body); err != nil {
			return err
		}
		var err error
		if f.Since, err = time.Parse(timeKey, since); err != nil {
			return err
		}
		if f.Changed, err = time.Parse(timeKey, changed); err != nil {
			return err
		}
		if err := json.Unmarshal(record, &f.FulfilmentRecord); err != nil {
			return err
		}
		if err := json.Unmarshal(body, &f.Plan); err != nil {
			return err
		}
		out = append(out, f)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what others were asked for: %w", err)
	}
	return out, nil
}

// Attestations calls fn for every operation that somebody outside reported as done in an application, in order,
// unless they took it back or a read showed otherwise. fn must not use the ledger.
func (l *Ledger) Attestations(ctx context.Context, application string, fn func(o *schemas.Operation, f *schemas.FulfilmentRecord, at time.Time)) error {
	if l.db == nil {
		return nil
	}
	var done []schemas.Record
	last := map[string]int{} // by operation
	err := l.Records(ctx, Filter{Application: application, Types: []schemas.RecordType{schemas.RecordOutcome, schemas.RecordVerification}}, func(r schemas.Record) error {
		i, known := last[r.Operation.ID]
		if r.Type == schemas.RecordVerification {
			if known && r.Verification.Status == statusDiffers {
				done[i].Operation = nil
			}
			return nil
		}
		switch f := r.Outcome.Fulfilment; {
		case f == nil:
		case r.Outcome.Status == statusApplied:
			last[r.Operation.ID] = len(done)
			done = append(done, r)
		case known && r.Outcome.Status == statusPending && f.Submission == done[i].Outcome.Fulfilment.Submission:
			done[i].Operation = nil // the ticket was opened again before anything followed from its closing
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range done {
		if r := &done[i]; r.Operation != nil {
			fn(r.Operation, r.Outcome.Fulfilment, r.Time)
		}
	}
	return nil
}
