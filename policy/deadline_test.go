package policy

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestDeadlineCountsWork ends an evaluation by the CPU time that it used, and by the clock only after ten times as long.
func TestDeadlineCountsWork(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second
	for name, tt := range map[string]struct {
		// share is how much of the clock's time this process gets to run; below 0 is not known.
		share float64
		want  time.Duration
	}{
		"a processor of its own": {1, limit},
		"two processors":         {2, limit},
		"a third of a processor": {0.34, 3 * limit},
		"hardly ever runs":       {0.01, patience * limit},
		"never runs":             {0, patience * limit},
		"CPU time isn't known":   {-1, limit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				used := func() (time.Duration, bool) {
					return time.Hour + time.Duration(tt.share*float64(time.Since(start))), tt.share >= 0
				}
				ended := make(chan time.Duration, 1)
				d := startDeadline(limit, used, func() { ended <- time.Since(start) })
				if got := <-ended; got != tt.want {
					t.Errorf("it ended after %s, want %s", got, tt.want)
				}
				d.stop()
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		d := startDeadline(limit, func() (time.Duration, bool) { return 0, true }, func() { t.Error("ended after it was stopped") })
		time.Sleep(3 * limit)
		d.stop()
		d.stop()
		time.Sleep(patience * limit)
	})
}
