package policy

import (
	"sync"
	"time"
)

// patience is how many times its limit an evaluation may take by the clock, if other work keeps it from running.
const patience = 10

// deadline ends an evaluation that has used up its time: the limit in CPU time of this process, or patience times the
// limit by the clock. Rules therefore don't time out just because the machine is busy, and none runs for ever.
type deadline struct {
	limit  time.Duration
	cancel func()
	// used returns the CPU time of this process so far; false if it isn't known.
	used func() (time.Duration, bool)

	mu     sync.Mutex // guards what follows
	timer  *time.Timer
	began  time.Duration
	rounds int
}

// startDeadline calls cancel when the time is used up, unless it is stopped first.
func startDeadline(limit time.Duration, used func() (time.Duration, bool), cancel func()) *deadline {
	d := &deadline{limit: limit, cancel: cancel, used: used, rounds: patience}
	d.began, _ = used()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timer = time.AfterFunc(limit, d.check)
	return d
}

// check runs once per limit, by the clock.
func (d *deadline) check() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.rounds == 0 {
		return // stopped
	}
	now, ok := d.used()
	if d.rounds--; !ok || d.rounds == 0 || now-d.began >= d.limit {
		d.rounds = 0
		d.cancel()
		return
	}
	d.timer.Reset(d.limit)
}

// stop stops the deadline. It is idempotent.
func (d *deadline) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rounds = 0
	d.timer.Stop()
}
