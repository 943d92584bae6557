package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/countersign/countersign/schemas"
)

// derivedLayout are the tables that Rebuild drops and fills. Each is a function of the records alone.
const derivedLayout = `
CREATE TABLE admissions (commit_hash TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE approvals (path TEXT, sequence INTEGER, blob TEXT, admitted INTEGER NOT NULL, PRIMARY KEY (path, sequence, blob)) WITHOUT ROWID;
CREATE TABLE baseline (application TEXT, item TEXT, token TEXT NOT NULL, made INTEGER NOT NULL, native_id TEXT NOT NULL, PRIMARY KEY (application, item)) WITHOUT ROWID;
CREATE TABLE runs (run TEXT PRIMARY KEY, application TEXT NOT NULL, sequence INTEGER NOT NULL, ended INTEGER NOT NULL, end TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX runs_last ON runs (application, sequence);
CREATE TABLE first_runs (application TEXT, version TEXT, PRIMARY KEY (application, version)) WITHOUT ROWID;
CREATE TABLE open (application TEXT, operation TEXT, intent INTEGER NOT NULL, untried INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (application, operation)) WITHOUT ROWID;
CREATE TABLE removals (application TEXT, operation TEXT, intent INTEGER, time TEXT NOT NULL,
  members INTEGER NOT NULL, grants INTEGER NOT NULL, deletions INTEGER NOT NULL, attributes INTEGER NOT NULL, PRIMARY KEY (application, operation, intent)) WITHOUT ROWID;
CREATE INDEX removals_time ON removals (application, time);
CREATE TABLE operations (path TEXT, idx INTEGER, application TEXT, operation TEXT, run TEXT NOT NULL, cause TEXT NOT NULL,
  outcome TEXT NOT NULL, verification TEXT NOT NULL, error TEXT NOT NULL, PRIMARY KEY (path, idx, application, operation)) WITHOUT ROWID;
CREATE TABLE fulfilments (application TEXT, operation TEXT, submission TEXT NOT NULL, state TEXT NOT NULL, since TEXT NOT NULL, changed TEXT NOT NULL,
  intent INTEGER NOT NULL, run TEXT NOT NULL, record TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (application, operation)) WITHOUT ROWID;
CREATE TABLE sightings (application TEXT, kind TEXT, item TEXT, sequence INTEGER NOT NULL, time TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (application, kind, item)) WITHOUT ROWID;
CREATE TABLE reads (application TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE held (application TEXT, path TEXT, idx INTEGER, operation TEXT, cause TEXT NOT NULL, hold TEXT NOT NULL, PRIMARY KEY (application, path, idx, operation)) WITHOUT ROWID;
`

// derivedTables with what their rows are sorted by, to compare them.
var derivedTables = [...]struct{ name, order string }{
	{"admissions", "1"}, {"approvals", "1, 2, 3"}, {"baseline", "1, 2"}, {"runs", "1"}, {"first_runs", "1, 2"}, {"open", "1, 2"},
	{"removals", "1, 2, 3"}, {"operations", "1, 2, 3, 4"}, {"held", "1, 2, 3, 4"}, {"fulfilments", "1, 2"},
	{"sightings", "1, 2, 3"}, {"reads", "1"},
}

// writer prepares each statement once and keeps the first error.
type writer struct {
	tx       *sql.Tx
	prepared map[string]*sql.Stmt
	err      error
}

func newWriter(tx *sql.Tx) *writer {
	return &writer{tx: tx, prepared: map[string]*sql.Stmt{}}
}

func (w *writer) exec(ctx context.Context, query string, args ...any) {
	if w.err != nil {
		return
	}
	st := w.prepared[query]
	if st == nil {
		if st, w.err = w.tx.PrepareContext(ctx, query); w.err != nil {
			return
		}
		w.prepared[query] = st
	}
	// The transaction heeds the context: watching it in each statement costs as much as the statement.
	_, w.err = st.ExecContext(context.WithoutCancel(ctx), args...)
}

func (w *writer) close() error {
	err := w.err
	for _, st := range w.prepared {
		err = errors.Join(err, st.Close())
	}
	return err
}

func (w *writer) json(v any) string {
	b, err := json.Marshal(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	return string(b)
}

// derive keeps the derived tables in step with a record. It looks at nothing but the record and those tables.
func (w *writer) derive(ctx context.Context, r *schemas.Record) {
	for _, b := range r.Baseline {
		if b.Token == "" {
			w.exec(ctx, `DELETE FROM baseline WHERE application = ? AND item = ?`, r.Application, b.Item)
			continue
		}
		w.exec(ctx, `INSERT OR REPLACE INTO baseline VALUES (?, ?, ?, ?, ?)`, r.Application, b.Item, b.Token, b.Made, b.NativeID)
	}
	switch r.Type {
	case schemas.RecordAdmission:
		w.admission(ctx, r)
	case schemas.RecordRun:
		w.exec(ctx, `INSERT OR REPLACE INTO runs VALUES (?, ?, ?, 0, '')`, r.Run, r.Application, r.Sequence)
		// A run's plan is the complete list of held operations: those of an earlier run may be settled.
		w.exec(ctx, `DELETE FROM held WHERE application = ?`, r.Application)
	case schemas.RecordHeld:
		for i := range r.Planned {
			o := &r.Planned[i]
			for _, d := range o.Documents {
				w.exec(ctx, `INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?, ?)`, r.Application, d.Path, d.Index, o.ID, string(o.Cause), string(o.Hold))
			}
		}
	case schemas.RecordIntent:
		for i := range r.Planned {
			o := &r.Planned[i]
			if len(r.Fulfilments) > 0 {
				w.submitted(ctx, r, o, &r.Fulfilments[i])
			} else {
				w.exec(ctx, `INSERT OR REPLACE INTO open VALUES (?, ?, ?, 0, ?)`, r.Application, o.ID, r.Sequence, w.json(o))
			}
			w.operation(ctx, r, o, schemas.OutcomePending, "")
		}
	case schemas.RecordOutcome:
		w.outcome(ctx, r)
	case schemas.RecordVerification:
		w.verification(ctx, r)
	case schemas.RecordObservation:
		w.observation(ctx, r)
	case schemas.RecordRunEnd:
		w.exec(ctx, `UPDATE runs SET ended = ?, end = ? WHERE run = ?`, r.Sequence, w.json(r.RunInfo), r.Run)
		// A run that saw only a part decides nothing about what the next one may remove.
		if c := r.RunInfo.Counts; c["held-"+string(schemas.HoldFirstRun)] == 0 && c["held-"+string(schemas.HoldUnknown)] == 0 && c[CountIncomplete] == 0 {
			w.exec(ctx, `INSERT OR IGNORE INTO first_runs VALUES (?, ?)`, r.Application, r.RunInfo.Version)
		}
	}
}

// CountIncomplete is the count that a run's end sets when the live state was incomplete: such a run
// doesn't count as the first run.
const CountIncomplete = "incomplete"

func (w *writer) admission(ctx context.Context, r *schemas.Record) {
	a := r.Admission
	w.exec(ctx, `INSERT OR REPLACE INTO admissions VALUES (?, ?)`, a.Commit, r.Sequence)
	if !a.Verdict.Admits() && a.Verdict != schemas.AdmissionQuarantined {
		return
	}
	for _, f := range a.Changes {
		w.exec(ctx, `INSERT OR REPLACE INTO approvals VALUES (?, ?, ?, ?)`, f.Path, r.Sequence, f.After, a.Verdict.Admits())
	}
	if !a.Verdict.Admits() {
		return
	}
	for _, f := range a.Admits {
		w.exec(ctx, `INSERT OR REPLACE INTO approvals VALUES (?, ?, ?, 1)`, f.Path, r.Sequence, f.After)
	}
}

func (w *writer) outcome(ctx context.Context, r *schemas.Record) {
	o := r.Operation
	if r.Outcome.Fulfilment != nil {
		w.fulfilment(ctx, r)
		return
	}
	w.operation(ctx, r, o, r.Outcome.Status, r.Outcome.Error)
	status := r.Outcome.Status
	if untried := status == schemas.OutcomeBlocked || status == schemas.OutcomeCancelled; untried || r.Outcome.Attempts > 1 {
		w.exec(ctx, `UPDATE open SET untried = ? WHERE application = ? AND operation = ?`, untried, r.Application, o.ID)
	}
	if status == schemas.OutcomeApplied {
		w.removal(ctx, r)
	}
}

func (w *writer) verification(ctx context.Context, r *schemas.Record) {
	o, status := r.Operation, r.Verification.Status
	if status == schemas.VerificationVerified {
		// Before the intent is closed: it identifies the removal.
		w.removal(ctx, r)
	}
	switch status {
	case schemas.VerificationVerified, schemas.VerificationAttested:
		w.exec(ctx, `UPDATE fulfilments SET state = ?, changed = ? WHERE application = ? AND operation = ? AND state <> ?`, status, r.Time.UTC().Format(timeKey), r.Application, o.ID, schemas.OutcomeWithdrawn)
	case schemas.VerificationDiffers:
		w.exec(ctx, `UPDATE fulfilments SET state = ?, changed = ? WHERE application = ? AND operation = ? AND state = ?`, status, r.Time.UTC().Format(timeKey), r.Application, o.ID, schemas.OutcomeApplied)
	}
	switch {
	case status == schemas.VerificationUnverifiable:
		// Its result is unknown, so it stays open, unless it was never tried.
		w.exec(ctx, `DELETE FROM open WHERE application = ? AND operation = ? AND untried`, r.Application, o.ID)
	case (status == schemas.VerificationDiffers || status == schemas.VerificationPending) && len(o.Documents) > 0:
		// The application accepted it, and doesn't show it yet: it stays open until it is seen.
		d := o.Documents[0]
		w.exec(ctx, `DELETE FROM open WHERE application = ? AND operation = ? AND NOT EXISTS
  (SELECT 1 FROM operations WHERE path = ? AND idx = ? AND application = ? AND operation = ? AND outcome = ?)`, r.Application, o.ID, d.Path, d.Index, r.Application, o.ID, schemas.OutcomeApplied)
	default:
		w.exec(ctx, `DELETE FROM open WHERE application = ? AND operation = ?`, r.Application, o.ID)
	}
	for _, d := range o.Documents {
		w.exec(ctx, `UPDATE operations SET verification = ? WHERE path = ? AND idx = ? AND application = ? AND operation = ?`, status, d.Path, d.Index, r.Application, o.ID)
	}
}

func (w *writer) operation(ctx context.Context, r *schemas.Record, o *schemas.Operation, outcome schemas.OutcomeStatus, failure string) {
	for _, d := range o.Documents {
		w.exec(ctx, `INSERT OR REPLACE INTO operations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, d.Path, d.Index, r.Application, o.ID, r.Run, string(o.Cause), outcome, schemas.OutcomePending, failure)
	}
}

// submitted opens the row of an asking, in place of an earlier one.
func (w *writer) submitted(ctx context.Context, r *schemas.Record, o *schemas.Operation, f *schemas.FulfilmentRecord) {
	at := r.Time.UTC().Format(timeKey)
	w.exec(ctx, `INSERT OR REPLACE INTO fulfilments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, r.Application, o.ID, f.Submission, schemas.FulfilmentSubmitting, at, at, r.Sequence, r.Run, w.json(f), w.json(o))
}

// fulfilment applies an answer about an operation that somebody outside was asked for. An answer to an asking that was
// replaced changes nothing, and the response to a request doesn't override a callback that came before it.
func (w *writer) fulfilment(ctx context.Context, r *schemas.Record) {
	o, f, status := r.Operation, r.Outcome.Fulfilment, r.Outcome.Status
	state, from := schemas.FulfilmentState(status), schemas.FulfilmentState("")
	switch {
	case status == schemas.OutcomeFailed && f.Method == schemas.FulfilledByDelivery:
		state, from = schemas.FulfilmentSubmitting, schemas.FulfilmentSubmitting
	case status == schemas.OutcomePending && f.Method == schemas.FulfilledByAnswer:
		from = schemas.FulfilmentSubmitting
	}
	const this = ` application = ? AND operation = ? AND submission = ? AND (? = '' OR state = ?)`
	args := []any{r.Application, o.ID, f.Submission, from, from}
	for _, d := range o.Documents {
		w.exec(ctx, `UPDATE operations SET run = ?, outcome = ?, verification = ?, error = ? WHERE path = ? AND idx = ? AND application = ? AND operation = ?
AND EXISTS (SELECT 1 FROM fulfilments WHERE`+this+`)`, append([]any{r.Run, string(status), schemas.OutcomePending, r.Outcome.Error, d.Path, d.Index, r.Application, o.ID}, args...)...)
	}
	if status == schemas.OutcomeApplied {
		w.removal(ctx, r)
	}
	w.exec(ctx, `UPDATE fulfilments SET state = ?, changed = ?, record = ? WHERE`+this, append([]any{state, r.Time.UTC().Format(timeKey), w.json(f)}, args...)...)
}

// removal counts what the daily budget counts: removals that no approved document names, once they are
// applied or seen, whichever comes first.
func (w *writer) removal(ctx context.Context, r *schemas.Record) {
	o := r.Operation
	switch o.Cause {
	case schemas.CauseDrift, schemas.CauseUnmanaged, schemas.CauseUndo:
	default:
		return
	}
	var c Counts
	switch o.Kind {
	case schemas.OperationRevoke:
		if o.Privilege == schemas.PrivilegeMember || o.Privilege == schemas.PrivilegeAdmin {
			c.Members = 1
		} else {
			c.Grants = 1
		}
	case schemas.OperationDelete:
		c.Deletions = 1
	case schemas.OperationUpdate:
		c.Attributes = len(o.After)
	default:
		return
	}
	w.exec(ctx, `INSERT OR IGNORE INTO removals VALUES (?, ?, coalesce((SELECT intent FROM open WHERE application = ? AND operation = ?),
  (SELECT intent FROM fulfilments WHERE application = ? AND operation = ? AND state NOT IN ('verified', 'attested')), ?), ?, ?, ?, ?, ?)`,
		r.Application, o.ID, r.Application, o.ID, r.Application, o.ID, r.Sequence, r.Time.UTC().Format(timeKey), c.Members, c.Grants, c.Deletions, c.Attributes)
}

// Rebuild rebuilds the derived tables from the records, each of which must have its hash.
func (l *Ledger) Rebuild(ctx context.Context) error {
	if l.config.ReadOnly || l.db == nil {
		return ErrReadOnly
	}
	if err := l.write(ctx, rebuild); err != nil {
		return fmt.Errorf("rebuild: %w", err)
	}
	l.derived = derivedVersion
	return nil
}

func rebuild(ctx context.Context, w *writer) error {
	for _, t := range derivedTables {
		if _, err := w.tx.ExecContext(ctx, "DROP TABLE IF EXISTS "+t.name); err != nil {
			return err
		}
	}
	if _, err := w.tx.ExecContext(ctx, derivedLayout); err != nil {
		return err
	}
	if err := w.fill(ctx, w.tx); err != nil {
		return err
	}
	w.exec(ctx, `UPDATE derived SET version = ?`, derivedVersion)
	return nil
}

// fill derives from all records of q.
func (w *writer) fill(ctx context.Context, q querier) error {
	previous := ""
	return rows(ctx, q, `SELECT sequence, hash, body FROM records ORDER BY sequence`, nil, func(s *sql.Rows) error {
		var sequence int64
		var hash string
		var body sql.RawBytes
		if err := s.Scan(&sequence, &hash, &body); err != nil {
			return err
		}
		var r schemas.Record
		if err := decode(body, &r); err != nil {
			return fmt.Errorf("record %d is damaged: %w", sequence, err)
		}
		if hashOf(body) != hash || r.Previous != previous || r.Sequence != sequence {
			return fmt.Errorf("record %d breaks the chain: nothing is derived from it", sequence)
		}
		previous = hash
		w.derive(ctx, &r)
		return w.err
	})
}

// derivation is a digest of a derived table's rows.
func derivation(ctx context.Context, q querier, table, order string) (string, error) {
	var all []byte
	err := rows(ctx, q, "SELECT * FROM "+table+" ORDER BY "+order, nil, func(s *sql.Rows) error {
		names, err := s.Columns()
		if err != nil {
			return err
		}
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := s.Scan(into...); err != nil {
			return err
		}
		row, err := json.Marshal(values)
		if err != nil {
			return err
		}
		// A chain of hashes, so that memory does not grow with the table.
		all = []byte(hashOf(append(all, row...)))
		return nil
	})
	return string(all), err
}
