package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
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
		err = json.Unmarshal([]byte(body), &r)
	}
	if err != nil {
		return nil, false, fmt.Errorf("read a verdict: %w", err)
	}
	return r.Admission, r.Admission != nil, nil
}

// AllBaseline calls fn for what was seen to be as desired in an application, sorted by item. fn must not use
// the ledger.
func (l *Ledger) AllBaseline(ctx context.Context, application string, fn func(schemas.BaselineItem) error) error {
	return l.rows(ctx, `SELECT item, token, made, native_id FROM baseline WHERE application = ?`, []any{application}, func(rows *sql.Rows) error {
		var b schemas.BaselineItem
		if err := rows.Scan(&b.Item, &b.Token, &b.Made, &b.NativeID); err != nil {
			return err
		}
		return fn(b)
	})
}

// Unsettled returns the operations whose intent is on record and whose read-back is not: a run was cut short.
func (l *Ledger) Unsettled(ctx context.Context, application string) ([]schemas.Operation, error) {
	var out []schemas.Operation
	err := l.rows(ctx, `SELECT body FROM open WHERE application = ?`, []any{application}, func(rows *sql.Rows) error {
		var body string
		if err := rows.Scan(&body); err != nil {
			return err
		}
		var o schemas.Operation
		if err := json.Unmarshal([]byte(body), &o); err != nil {
			return err
		}
		out = append(out, o)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the open intents: %w", err)
	}
	return out, nil
}

// FirstRunDone says whether a run of the version over the application ended without holding anything back for
// being the first.
func (l *Ledger) FirstRunDone(ctx context.Context, application, version string) (bool, error) {
	if l.db == nil {
		return false, nil
	}
	var one int
	err := l.db.QueryRowContext(ctx, `SELECT 1 FROM first_runs WHERE application = ? AND version = ?`, application, version).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Counts are removals by dimension.
type Counts struct {
	Members    int `json:"members"`
	Grants     int `json:"grants"`
	Deletions  int `json:"deletions"`
	Attributes int `json:"attributes"`
}

// Removals counts the verified removals from an application since an instant that no approved document named.
func (l *Ledger) Removals(ctx context.Context, application string, since time.Time) (Counts, error) {
	var c Counts
	if l.db == nil {
		return c, nil
	}
	err := l.db.QueryRowContext(ctx, `SELECT coalesce(sum(members), 0), coalesce(sum(grants), 0), coalesce(sum(deletions), 0), coalesce(sum(attributes), 0)
FROM removals WHERE application = ? AND time >= ?`, application, since.UTC().Format(timeKey)).Scan(&c.Members, &c.Grants, &c.Deletions, &c.Attributes)
	return c, err
}

// State is where a request stands by the records: provisioning is none, pending, partial, applied, failed or
// blocked; verification none, pending, partial, verified, differs or unverifiable.
type State struct {
	Provisioning string `json:"provisioning"`
	Verification string `json:"verification"`
	// Error is that of the operation that failed last.
	Error string `json:"error,omitempty"`
}

// Key names a document without its content.
type Key struct {
	Path  string
	Index int
}

// States returns the states of all documents that operations follow from.
func (l *Ledger) States(ctx context.Context) (map[Key]State, error) {
	type sums struct{ outcome, verification map[string]int }
	all := map[Key]sums{}
	failures := map[Key]string{}
	err := l.rows(ctx, `SELECT path, idx, outcome, verification, error FROM operations`, nil, func(rows *sql.Rows) error {
		var k Key
		var outcome, verification, failure string
		if err := rows.Scan(&k.Path, &k.Index, &outcome, &verification, &failure); err != nil {
			return err
		}
		s, ok := all[k]
		if !ok {
			s = sums{map[string]int{}, map[string]int{}}
			all[k] = s
		}
		s.outcome[outcome]++
		s.verification[verification]++
		if failure != "" {
			failures[k] = failure
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the states of operations: %w", err)
	}
	out := make(map[Key]State, len(all))
	for k, s := range all {
		out[k] = State{Provisioning: oneOf(s.outcome, "applied", "failed", "blocked", "pending"),
			Verification: oneOf(s.verification, "verified", "differs", "unverifiable", "pending"), Error: failures[k]}
	}
	return out, nil
}

// oneOf is good when all are, partial when some are, else the first of the others that is there.
func oneOf(counts map[string]int, good string, others ...string) string {
	total := 0
	for _, n := range counts {
		total += n
	}
	switch {
	case total == 0:
		return "none"
	case counts[good] == total:
		return good
	case counts[good] > 0:
		return "partial"
	}
	for _, o := range others {
		if counts[o] > 0 {
			return o
		}
	}
	return "pending"
}
