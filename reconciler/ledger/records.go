package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/countersign/countersign/schemas"
)

// timeKey sorts as text.
const timeKey = "2006-01-02T15:04:05.000000Z"

// Filter narrows Records. The zero Filter is everything.
type Filter struct {
	Application string
	Types       []schemas.RecordType
	Run         string
	// FromSequence is inclusive.
	FromSequence int64
	// Since is inclusive, Until exclusive; zero is open.
	Since, Until time.Time
}

// page is how many records are held in memory at a time.
const page = 500

// Records calls fn for the records that the filter lets through, in order. fn may use the ledger; records
// that are appended meanwhile may come too.
func (l *Ledger) Records(ctx context.Context, f Filter, fn func(schemas.Record) error) error {
	if l.db == nil {
		return nil
	}
	where, args := f.where()
	from := max(f.FromSequence, 1)
	for {
		var batch []schemas.Record
		err := stream(ctx, l.db, ` WHERE sequence >= ?`+where+` ORDER BY sequence LIMIT ?`, append(append([]any{from}, args...), page), decode, func(r schemas.Record) error {
			batch = append(batch, r)
			return nil
		})
		if err != nil {
			return err
		}
		for _, r := range batch {
			if err := fn(r); err != nil {
				return err
			}
		}
		if len(batch) < page {
			return nil
		}
		from = batch[len(batch)-1].Sequence + 1
	}
}

func (f Filter) where() (string, []any) {
	var where strings.Builder
	var args []any
	and := func(condition string, a ...any) {
		where.WriteString(" AND " + condition)
		args = append(args, a...)
	}
	if f.Application != "" {
		and("application = ?", f.Application)
	}
	if f.Run != "" {
		and("run = ?", f.Run)
	}
	if n := len(f.Types); n > 0 {
		var types []any
		for _, t := range f.Types {
			types = append(types, string(t))
		}
		and("type IN (?"+strings.Repeat(", ?", n-1)+")", types...)
	}
	// Records have microseconds: an instant between two belongs to the later.
	if !f.Since.IsZero() {
		and("time >= ?", ceil(f.Since).Format(timeKey))
	}
	if !f.Until.IsZero() {
		and("time < ?", ceil(f.Until).Format(timeKey))
	}
	return where.String(), args
}

func ceil(t time.Time) time.Time { return t.UTC().Add(time.Microsecond - 1).Truncate(time.Microsecond) }

// stream calls fn for records as they are read, by decode. fn must not use q.
func stream(ctx context.Context, q querier, rest string, args []any, decode func([]byte, any) error, fn func(schemas.Record) error) error {
	return rows(ctx, q, `SELECT sequence, hash, body FROM records`+rest, args, func(s *sql.Rows) error {
		var hash string
		var body sql.RawBytes
		var sequence int64
		if err := s.Scan(&sequence, &hash, &body); err != nil {
			return err
		}
		var r schemas.Record
		if err := decode(body, &r); err != nil {
			return fmt.Errorf("record %d is damaged: %w", sequence, err)
		}
		r.Sequence, r.Hash = sequence, hash
		return fn(r)
	})
}

// rows calls each for the rows of an answer.
func rows(ctx context.Context, q querier, query string, args []any, each func(*sql.Rows) error) (err error) {
	s, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for s.Next() {
		if err := each(s); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	return nil
}

// Lines are the records from a sequence on, as Batch has them, each with its sequence and hash.
func (l *Ledger) Lines(ctx context.Context, from int64, fn func(sequence int64, hash, line string) error) error {
	if l.db == nil {
		return nil
	}
	return rows(ctx, l.db, `SELECT sequence, hash, body FROM records WHERE sequence >= ? ORDER BY sequence`, []any{from}, func(s *sql.Rows) error {
		var sequence int64
		var hash, line string
		if err := s.Scan(&sequence, &hash, &line); err != nil {
			return err
		}
		return fn(sequence, hash, line)
	})
}
