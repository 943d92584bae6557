package cli

import (
	"fmt"
	"time"

	"github.com/countersign/countersign/reconciler/report"
)

// progress shows the current step on a terminal, and prints a line every ten seconds elsewhere.
func (a *app) progress(what string, done, total int) {
	text := what
	switch {
	case total > 1:
		text = fmt.Sprintf("%s (%d of %d)", what, done+1, total)
	case done > 0:
		text = fmt.Sprintf("%s (%d)", what, done)
	}
	now := a.Now()
	if a.Progress {
		if now.Sub(a.lastProgress) > 100*time.Millisecond {
			fmt.Fprintf(a.Stderr, "\r\x1b[K%s …", report.Safe(text))
			a.lastProgress, a.progressOn = now, true
		}
		return
	}
	if a.lastProgress.IsZero() {
		a.lastProgress = now
	}
	if now.Sub(a.lastProgress) > 10*time.Second {
		fmt.Fprintln(a.Stderr, report.Safe(text))
		a.lastProgress = now
	}
}

func (a *app) progressEnd() {
	if a.progressOn {
		fmt.Fprint(a.Stderr, "\r\x1b[K")
		a.progressOn = false
	}
}
