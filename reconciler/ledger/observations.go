package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/countersign/countersign/schemas"
)

// Seen is a difference between live and approved access that the last complete read showed.
type Seen struct {
	schemas.Sighting
	// Since is the time of the record that first showed it, Sequence its place.
	Since    time.Time
	Sequence int64
}

// observation opens and closes sightings, and remembers where the application's last observation is.
func (w *writer) observation(ctx context.Context, r *schemas.Record) {
	for i := range r.Observation.Opened {
		s := &r.Observation.Opened[i]
		w.exec(ctx, `INSERT OR REPLACE INTO sightings VALUES (?, ?, ?, ?, ?, ?)`, r.Application, string(s.Kind), s.Item, r.Sequence, r.Time.UTC().Format(timeKey), w.json(s))
	}
	for i := range r.Observation.Closed {
		s := &r.Observation.Closed[i]
		w.exec(ctx, `DELETE FROM sightings WHERE application = ? AND kind = ? AND item = ?`, r.Application, string(s.Kind), s.Item)
	}
	w.exec(ctx, `INSERT OR REPLACE INTO reads VALUES (?, ?)`, r.Application, r.Sequence)
}

// Sightings returns the open differences of an application, or of all for "", sorted by application, kind and item.
func (l *Ledger) Sightings(ctx context.Context, application string) ([]Seen, error) {
	var out []Seen
	if l.db == nil {
		return out, nil
	}
	err := rows(ctx, l.db, `SELECT sequence, time, body FROM sightings WHERE ? IN ('', application) ORDER BY application, kind, item`, []any{application}, func(s *sql.Rows) error {
		var seen Seen
		var at string
		var body sql.RawBytes
		if err := s.Scan(&seen.Sequence, &at, &body); err != nil {
			return err
		}
		var err error
		if seen.Since, err = time.Parse(timeKey, at); err != nil {
			return err
		}
		if err := json.Unmarshal(body, &seen.Sighting); err != nil {
			return err
		}
		out = append(out, seen)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what was seen: %w", err)
	}
	return out, nil
}

// LastObservation returns the last observation of an application; false where none is on record.
func (l *Ledger) LastObservation(ctx context.Context, application string) (schemas.ObservationRecord, bool, error) {
	var r schemas.Record
	if l.db == nil {
		return schemas.ObservationRecord{}, false, nil
	}
	found := false
	err := stream(ctx, l.db, ` WHERE sequence = (SELECT sequence FROM reads WHERE application = ?)`, []any{application}, decode, func(one schemas.Record) error {
		r, found = one, one.Observation != nil
		return nil
	})
	if err != nil || !found {
		return schemas.ObservationRecord{}, false, err
	}
	return *r.Observation, true, nil
}
