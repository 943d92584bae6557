package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// Admission returns the verdict on a commit.
func (l *Ledger) Admission(ctx context.Context, commit string) (*schemas.AdmissionRecord, bool, error) {
	return l.admission(ctx, `SELECT body FROM records WHERE sequence = (SELECT sequence FROM admissions WHERE commit_hash = ?)`, commit)
}

// LastAdmission returns the verdict that was recorded last.
func (l *Ledger) LastAdmission(ctx context.Context) (*schemas.AdmissionRecord, bool, error) {
	return l.admission(ctx, `SELECT body FROM records WHERE sequence = (SELECT max(sequence) FROM admissions)`)
}

// AdmissionOf returns the latest verdict that admitted a file's content; with last, whatever content it admitted of the
// file, also its end.
func (l *Ledger) AdmissionOf(ctx context.Context, path, blob string, last bool) (*schemas.AdmissionRecord, bool, error) {
	return l.admission(ctx, `SELECT body FROM records WHERE sequence = (SELECT max(sequence) FROM approvals WHERE path = ? AND (? OR blob = ?) AND admitted)`, path, last, blob)
}

func (l *Ledger) admission(ctx context.Context, query string, args ...any) (*schemas.AdmissionRecord, bool, error) {
	if l.db == nil {
		return nil, false, nil
	}
	var body string
	err := l.db.QueryRowContext(ctx, query, args...).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	var r schemas.Record
	if err == nil {
		err = decode([]byte(body), &r)
	}
	if err != nil {
		return nil, false, fmt.Errorf("read a verdict: %w", err)
	}
	return r.Admission, r.Admission != nil, nil
}

// Admissions calls fn for every verdict in the order of the records. fn may use the ledger.
func (l *Ledger) Admissions(ctx context.Context, fn func(schemas.AdmissionRecord) error) error {
	return l.Records(ctx, Filter{Types: []schemas.RecordType{schemas.RecordAdmission}}, func(r schemas.Record) error { return fn(*r.Admission) })
}

// AdmittedAfterRun reports whether the commit was admitted when a run over the application was on record already.
func (l *Ledger) AdmittedAfterRun(ctx context.Context, application, commit string) (after bool, err error) {
	if l.db == nil {
		return false, nil
	}
	err = l.db.QueryRowContext(ctx, `SELECT coalesce((SELECT min(sequence) FROM runs WHERE application = ?) < (SELECT sequence FROM admissions WHERE commit_hash = ?), 0)`,
		application, commit).Scan(&after)
	return after, err
}

// Restarted returns how this ledger began in the place of one that was lost; nil for one that didn't. With several, it is
// the last.
func (l *Ledger) Restarted(ctx context.Context) (*schemas.RestartRecord, error) {
	var out *schemas.RestartRecord
	err := l.Records(ctx, Filter{Types: []schemas.RecordType{schemas.RecordRestart}}, func(r schemas.Record) error {
		out = r.Restart
		return nil
	})
	return out, err
}

// Acknowledgements returns the records of acknowledgements that runs over an application used.
func (l *Ledger) Acknowledgements(ctx context.Context, application string) ([]schemas.Record, error) {
	var out []schemas.Record
	err := l.Records(ctx, Filter{Application: application, Types: []schemas.RecordType{schemas.RecordAcknowledged}}, func(r schemas.Record) error {
		out = append(out, r)
		return nil
	})
	return out, err
}

const baselineColumns = `SELECT item, token, made, native_id FROM baseline WHERE application = ?`

// AllBaseline calls fn for the items that were seen as desired in an application, sorted by item. fn must not use
// the ledger.
func (l *Ledger) AllBaseline(ctx context.Context, application string, fn func(schemas.BaselineItem) error) error {
	if l.db == nil {
		return nil
	}
	return baseline(ctx, l.db, baselineColumns+" ORDER BY item", []any{application}, fn)
}

// Baseline returns those of the items that were seen as desired.
func (l *Ledger) Baseline(ctx context.Context, application string, items []string) (map[string]schemas.BaselineItem, error) {
	out := map[string]schemas.BaselineItem{}
	// Almost all lists have one length, so that there are only two statements.
	const most = 500
	for l.db != nil && len(items) > 0 {
		n := min(most, len(items))
		args := []any{application}
		for _, i := range items[:n] {
			args = append(args, i)
		}
		items = items[n:]
		err := baseline(ctx, l.db, baselineColumns+" AND item IN (?"+strings.Repeat(", ?", n-1)+")", args, func(b schemas.BaselineItem) error {
			out[b.Item] = b
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func baseline(ctx context.Context, q querier, query string, args []any, fn func(schemas.BaselineItem) error) error {
	var b schemas.BaselineItem
	into := []any{&b.Item, &b.Token, &b.Made, &b.NativeID}
	return rows(ctx, q, query, args, func(s *sql.Rows) error {
		if err := s.Scan(into...); err != nil {
			return err
		}
		return fn(b)
	})
}

// Unsettled returns the operations, sorted by id, whose intent is on record and whose result no
// read-back shows: a run was cut short, or could not read.
func (l *Ledger) Unsettled(ctx context.Context, application string) ([]schemas.Operation, error) {
	if l.db == nil {
		return nil, nil
	}
	var out []schemas.Operation
	err := rows(ctx, l.db, `SELECT body FROM open WHERE application = ? ORDER BY operation`, []any{application}, func(s *sql.Rows) error {
		var body sql.RawBytes
		if err := s.Scan(&body); err != nil {
			return err
		}
		var o schemas.Operation
		if err := json.Unmarshal(body, &o); err != nil {
			return fmt.Errorf("read an open intent: %w", err)
		}
		out = append(out, o)
		return nil
	})
	return out, err
}

// HeldFor is an operation that waits, and a document that it follows from.
type HeldFor struct {
	Document  Key
	Operation string
}

// HeldState is the purpose of a waiting operation, and why it waits.
type HeldState struct {
	Cause schemas.Cause
	Hold  schemas.Hold
}

// Held returns what the last run on record over an application held back. Operations that follow from no
// document are left out.
func (l *Ledger) Held(ctx context.Context, application string) (map[HeldFor]HeldState, error) {
	out := map[HeldFor]HeldState{}
	if l.db == nil {
		return out, nil
	}
	err := rows(ctx, l.db, `SELECT path, idx, operation, cause, hold FROM held WHERE application = ?`, []any{application}, func(s *sql.Rows) error {
		var h HeldFor
		var st HeldState
		if err := s.Scan(&h.Document.Path, &h.Document.Index, &h.Operation, &st.Cause, &st.Hold); err != nil {
			return err
		}
		out[h] = st
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what waits in %s: %w", application, err)
	}
	return out, nil
}

// RunSummary is how a run over an application began and ended.
type RunSummary struct {
	Run      string    `json:"run"`
	Sequence int64     `json:"sequence"`
	Time     time.Time `json:"time"`
	Version  string    `json:"version"`
	Tip      string    `json:"tip"`
	// Operations were to be carried out, Held were not.
	Operations int `json:"operations"`
	Held       int `json:"held"`
	// Ended means that it came to its end; EndedAt and Counts are set then.
	Ended   bool           `json:"ended"`
	EndedAt time.Time      `json:"ended_at,omitzero"`
	Counts  map[string]int `json:"counts,omitempty"`
}

// LastRun returns the run over an application that began last.
func (l *Ledger) LastRun(ctx context.Context, application string) (RunSummary, bool, error) {
	var out RunSummary
	if l.db == nil {
		return out, false, nil
	}
	var begin, end sql.RawBytes
	found := false
	err := rows(ctx, l.db, `SELECT b.body, coalesce(e.body, '') FROM (SELECT sequence, ended FROM runs WHERE application = ? ORDER BY sequence DESC LIMIT 1) r
JOIN records b ON b.sequence = r.sequence LEFT JOIN records e ON e.sequence = r.ended`, []any{application}, func(s *sql.Rows) error {
		if err := s.Scan(&begin, &end); err != nil {
			return err
		}
		var r schemas.Record
		if err := decode(begin, &r); err != nil {
			return err
		}
		found = true
		out = RunSummary{Run: r.Run, Sequence: r.Sequence, Time: r.Time, Version: r.RunInfo.Version, Tip: r.RunInfo.Tip, Operations: r.RunInfo.Operations, Held: r.RunInfo.Held}
		if len(end) == 0 {
			return nil
		}
		var e schemas.Record
		if err := decode(end, &e); err != nil {
			return err
		}
		out.Ended, out.EndedAt, out.Counts = true, e.Time, e.RunInfo.Counts
		return nil
	})
	if err != nil {
		return RunSummary{}, false, fmt.Errorf("read the last run over %s: %w", application, err)
	}
	return out, found, nil
}

// FirstRunDone reports whether a run of the version over the application ended that saw everything and held
// nothing back for being the first.
func (l *Ledger) FirstRunDone(ctx context.Context, application, version string) (bool, error) {
	if l.db == nil {
		return false, nil
	}
	var n int
	if err := l.db.QueryRowContext(ctx, `SELECT count(*) FROM first_runs WHERE application = ? AND version = ?`, application, version).Scan(&n); err != nil {
		return false, fmt.Errorf("look for a first run over %s: %w", application, err)
	}
	return n > 0, nil
}

// Counts are removals by dimension.
type Counts struct {
	Members    int `json:"members"`
	Grants     int `json:"grants"`
	Deletions  int `json:"deletions"`
	Attributes int `json:"attributes"`
}

// Removals counts what was taken from an application since an instant (inclusive) that no approved document
// names: removals for drift, undo and unmanaged access that were applied, or seen by a read-back.
func (l *Ledger) Removals(ctx context.Context, application string, since time.Time) (Counts, error) {
	var c Counts
	if l.db == nil {
		return c, nil
	}
	err := l.db.QueryRowContext(ctx, `SELECT coalesce(sum(members), 0), coalesce(sum(grants), 0), coalesce(sum(deletions), 0), coalesce(sum(attributes), 0)
FROM removals WHERE application = ? AND time >= ?`, application, ceil(since).Format(timeKey)).Scan(&c.Members, &c.Grants, &c.Deletions, &c.Attributes)
	if err != nil {
		return Counts{}, fmt.Errorf("count the removals from %s: %w", application, err)
	}
	return c, nil
}

// LastRecord returns the last record's sequence, hash and time alone; the zero Record for an empty ledger.
func (l *Ledger) LastRecord(ctx context.Context) (schemas.Record, error) {
	var r schemas.Record
	if l.db == nil {
		return r, nil
	}
	var at string
	err := l.db.QueryRowContext(ctx, `SELECT sequence, hash, time FROM records ORDER BY sequence DESC LIMIT 1`).Scan(&r.Sequence, &r.Hash, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return r, nil
	}
	if err == nil {
		r.Time, err = time.Parse(timeKey, at)
	}
	if err != nil {
		return r, fmt.Errorf("read the ledger's last record: %w", err)
	}
	return r, nil
}
