package suite

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/countersign/countersign/connectors/connectortest/harness"
	"github.com/countersign/countersign/schemas"
)

// Runner runs cases without go test, one after the other.
type Runner struct {
	// Match reports whether to run a case of the top level; nil runs all.
	Match func(name string) bool
	// Now is the clock.
	Now func() time.Time
	// Done is called after each case; nil means no call.
	Done func(schemas.ConformanceCase)
}

// Run runs the cases and reports on them. A case that ends the context ends those after it.
func (r Runner) Run(ctx context.Context, cases func(*Case)) *schemas.ConformanceReport {
	rep := &schemas.ConformanceReport{APIVersion: schemas.APIVersion, Kind: "Conformance"}
	root := &Case{r: r, rep: rep, ctx: ctx}
	root.do(cases)
	if root.failed && len(root.log) > 0 {
		root.add()
	}
	for _, c := range rep.Cases {
		switch c.Result {
		case schemas.CasePassed:
			rep.Passed++
		case schemas.CaseFailed:
			rep.Failed++
		case schemas.CaseSkipped:
			rep.Skipped++
		}
	}
	return rep
}

// Case implements T for a Runner.
type Case struct {
	r               Runner
	rep             *schemas.ConformanceReport
	ctx             context.Context
	parent          *Case
	name            string
	log             []string
	failed, skipped bool
	parted          bool // has cases within it
	cleanups        []func()
	took            time.Duration
}

var _ harness.T = (*Case)(nil)

// do runs a function, however it ends, and then its cleanups.
func (c *Case) do(f func(*Case)) {
	begin := c.r.Now()
	protected := func(f func()) {
		done := make(chan struct{})
		// Fatal and Skip end a goroutine.
		go func() {
			defer close(done)
			defer func() {
				if p := recover(); p != nil {
					c.failed = true
					c.log = append(c.log, fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
				}
			}()
			f()
		}()
		<-done
	}
	ctx, cancel := context.WithCancel(c.ctx)
	c.ctx = ctx
	protected(func() { f(c) })
	cancel()
	for len(c.cleanups) > 0 {
		last := c.cleanups[len(c.cleanups)-1]
		c.cleanups = c.cleanups[:len(c.cleanups)-1]
		protected(last)
	}
	c.took = c.r.Now().Sub(begin)
}

func (c *Case) add() {
	result := schemas.CasePassed
	switch {
	case c.failed:
		result = schemas.CaseFailed
	case c.skipped:
		result = schemas.CaseSkipped
	}
	out := schemas.ConformanceCase{Name: c.name, Result: result, Log: c.log, Seconds: c.took.Round(time.Millisecond).Seconds()}
	c.rep.Cases = append(c.rep.Cases, out)
	if c.r.Done != nil {
		c.r.Done(out)
	}
}

// Name returns the case's path.
func (c *Case) Name() string { return c.name }

// Context returns a context that ends before the case's cleanups.
func (c *Case) Context() context.Context { return c.ctx }

// Helper does nothing: lines of the suite's code don't help an author in another language.
func (c *Case) Helper() {}

// Parallel does nothing: cases run one after the other.
func (c *Case) Parallel() {}

// Cleanup makes f run after the case, the last first.
func (c *Case) Cleanup(f func()) { c.cleanups = append(c.cleanups, f) }

// TempDir creates a folder that is removed after the case.
func (c *Case) TempDir() string {
	dir, err := os.MkdirTemp("", "countersign-")
	if err != nil {
		c.Fatalf("TempDir: %v", err)
	}
	c.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			c.Errorf("TempDir: %v", err)
		}
	})
	return dir
}

// Logf adds to the log.
func (c *Case) Logf(format string, args ...any) { c.log = append(c.log, fmt.Sprintf(format, args...)) }

// Error fails the case and continues.
func (c *Case) Error(args ...any) { c.failWith(fmt.Sprint(args...)) }

// Errorf fails the case and continues.
func (c *Case) Errorf(format string, args ...any) { c.failWith(fmt.Sprintf(format, args...)) }

// Fatal fails the case and ends it.
func (c *Case) Fatal(args ...any) {
	c.failWith(fmt.Sprint(args...))
	runtime.Goexit()
}

// Fatalf fails the case and ends it.
func (c *Case) Fatalf(format string, args ...any) {
	c.failWith(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// maxFailures bounds the log of one case.
const maxFailures = 20

func (c *Case) failWith(message string) {
	c.failed = true
	switch n := len(c.log); {
	case n < maxFailures:
		c.log = append(c.log, strings.TrimSpace(message))
	case n == maxFailures:
		c.log = append(c.log, "and more")
	}
}

// Skip ends the case without a verdict.
func (c *Case) Skip(args ...any) {
	c.skipped = true
	c.log = append(c.log, fmt.Sprint(args...))
	runtime.Goexit()
}

// Skipf ends the case without a verdict.
func (c *Case) Skipf(format string, args ...any) { c.Skip(fmt.Sprintf(format, args...)) }

// Failed reports whether the case, or one within it, has failed.
func (c *Case) Failed() bool { return c.failed }

// Run runs a case within this one, and reports whether it succeeded.
func (c *Case) Run(name string, f func(harness.T)) bool {
	if c.parent == nil && c.r.Match != nil && !c.r.Match(name) {
		return true
	}
	sub := &Case{r: c.r, rep: c.rep, ctx: c.ctx, parent: c, name: strings.TrimPrefix(c.name+"/"+name, "/")}
	c.parted = true
	if err := c.ctx.Err(); err != nil {
		sub.failed, sub.log = true, []string{"stopped"}
	} else {
		sub.do(func(c *Case) { f(c) })
	}
	if sub.failed {
		c.failed = true
	}
	// A case that only contains others isn't reported itself.
	if !sub.parted || len(sub.log) > 0 {
		sub.add()
	}
	return !sub.failed
}
