package reconciler

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/ledger"
)

// maxSkew is how far the clock may be behind the ledger's last record. Machines that share a ledger differ by seconds.
const maxSkew = 5 * time.Minute

// clock is the system's clock, except that it never runs behind the ledger's last record: what has expired would be
// granted again, and a freeze that has begun would not hold.
type clock struct {
	system func() time.Time
	last   atomic.Int64 // the last record's time in microseconds; 0 for none
}

// now returns the instant in UTC, with the precision that JSON keeps.
func (c *clock) now() time.Time {
	now := c.system().UTC().Truncate(time.Microsecond)
	if last := c.last.Load(); last > now.UnixMicro() {
		return time.UnixMicro(last).UTC()
	}
	return now
}

// follow takes the time of a ledger's last record.
func (c *clock) follow(ctx context.Context, l *ledger.Ledger) error {
	last, err := l.LastRecord(ctx)
	if err != nil {
		return err
	}
	c.last.Store(0)
	if last.Sequence > 0 {
		c.last.Store(last.Time.UnixMicro())
	}
	return nil
}

// ClockError is returned when the clock is so far behind the ledger's last record that one of them is wrong.
type ClockError struct {
	// Now is the clock's time, Last and Record are the time and the hash of the last record.
	Now, Last time.Time
	Record    string
}

// Error explains the ways out.
func (e *ClockError) Error() string {
	return fmt.Sprintf("the clock (%s) is %s behind the ledger's last record (%s): nothing is applied; correct the clock, or, if the record's time is wrong, "+
		"merge an Acknowledgement with future_record: %s (the settings owners sign it off)",
		e.Now.Format(time.RFC3339), e.Last.Sub(e.Now).Round(time.Second), e.Last.Format(time.RFC3339), e.Record)
}

// checkClock fails when the clock is behind the ledger's last record by more than maxSkew. If an admitted
// Acknowledgement names the record, the clock is right, and used from here on.
func (r *Reconciler) checkClock(ctx context.Context, l *ledger.Ledger, controls []index.Control) error {
	last, err := l.LastRecord(ctx)
	if err != nil {
		return err
	}
	now := r.clock.system().UTC()
	if last.Sequence == 0 || last.Time.Sub(now) <= maxSkew {
		return nil
	}
	for _, c := range controls {
		if a := c.Acknowledgement; a != nil && a.FutureRecord == last.Hash {
			r.clock.last.Store(0)
			return nil
		}
	}
	return &ClockError{Now: now, Last: last.Time, Record: last.Hash}
}
