package run

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/secrets"
	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// Config configures a Runner. All but Tickets and RetryWait are required.
type Config struct {
	// Connectors are those that applications may name. Directory is the base of their relative paths.
	Connectors connectors.Registry
	Directory  string
	// Secrets resolves the secrets that applications refer to.
	Secrets *secrets.Store
	// State is the folder of the leases.
	State string
	// Version is the program's version. The first run of a version removes nothing that no document names.
	Version string
	// Tickets opens the issues of a repository at the settings' forge, as the account that publishes; nil serves no
	// tickets.
	Tickets func(ctx context.Context, s schemas.Forge, repository string) (Tickets, error)
	// RetryWait is the first wait before a webhook is tried again; 0 is that of package rest.
	RetryWait time.Duration
	// Now is the clock.
	Now func() time.Time
	// Logger takes diagnostics.
	Logger *slog.Logger
	// Progress is called with the progress of a long job; total is 0 while unknown.
	Progress func(what string, done, total int)
	// Leased reports, before each batch, why another run has taken over; nil asks nobody.
	Leased func(context.Context) error
	// Step is called after each step that a crash could follow, from several goroutines when there are several
	// applications.
	Step func(string)
}

// Tickets are the issues of one repository in which people are asked to carry operations out.
type Tickets = forge.Tickets

// Documents are the admitted control files and requests. *index.Index has them.
type Documents interface {
	// All returns all documents of an application, in merge order for each connection.
	All(ctx context.Context, application string) ([]*plan.Document, error)
	// File returns the control file at a path; nil when there is none.
	File(ctx context.Context, path string) (*index.File, error)
	// Verdict returns the verdict on a commit that the ledger doesn't have yet.
	Verdict(ctx context.Context, commit string) (schemas.AdmissionRecord, bool, error)
}

// People resolves people's names. *signoff.Directory implements it.
type People interface {
	// Canonical is the one name of a person, whichever of their logins is given.
	Canonical(login string) string
	// Identity returns whose identity a name is in an application.
	Identity(application, name string) (person string, ok bool)
	// Speaks reports whether a login is among owners, which may be teams.
	Speaks(login string, owners []string) bool
}

// Base is the starting point of runs: the admitted documents at a commit, and the ledger.
type Base struct {
	// Tip is the commit.
	Tip          string
	Ledger       *ledger.Ledger
	Documents    Documents
	Controls     []index.Control
	Settings     *schemas.Settings
	Applications map[string]*schemas.Application
	People       People
	// Duties are the sets of connections that policy keeps apart.
	Duties []schemas.Duty
}

// Options configures a pass.
type Options struct {
	// Applications are the names of the applications to process.
	Applications []string
	// ReadOnly plans and writes nothing, neither to applications nor to the ledger.
	ReadOnly bool
	// Drift reports differences without carrying out what is pending, unless Enforce is set.
	Drift bool
	// Enforce corrects drift as well, on every application; otherwise those whose drift mode is enforce.
	Enforce bool
}

// Runner takes applications from their live to their desired state. Its methods may be called one at a time, except that
// RecordAnswer, a function, may run beside them.
type Runner struct{ config Config }

// New opens nothing.
func New(c Config) *Runner { return &Runner{c} }

// now is the instant in UTC, with the precision that JSON keeps.
func (r *Runner) now() time.Time { return r.config.Now().UTC().Truncate(time.Microsecond) }

// Result is the outcome of a pass.
type Result struct {
	// Applications are in the order of Options. Those that failed have an Error.
	Applications []schemas.ApplicationOutcome
	// Next is when a start or an expiry changes the desired state. Again is when to check again on the operations that
	// somebody outside was asked for; nil for never.
	Next, Again *time.Time
	// Observations are what a read-only pass saw of each application that it could read completely.
	Observations []Observation
}

// Once is one pass over the applications, each by itself. The result is complete even where an error is returned
// beside it.
func (r *Runner) Once(ctx context.Context, base Base, o Options) (Result, error) {
	p := &pass{Runner: r, options: o, base: base}
	runs, err := p.applications(ctx, o.Applications)
	var out Result
	for _, a := range runs {
		if a.err != nil {
			// An application that cannot be reached stops only itself.
			a.outcome.Error = a.err.Error()
		}
		out.Applications = append(out.Applications, *a.outcome)
		if a.observed != nil {
			out.Observations = append(out.Observations, *a.observed)
		}
		out.Next, out.Again = earlier(out.Next, a.next), earlier(out.Again, a.lookAgain)
	}
	if err == nil {
		err = ctx.Err()
	}
	return out, err
}

// earlier returns the earlier of two instants; a zero one is never.
func earlier(a *time.Time, b time.Time) *time.Time {
	if b.IsZero() || a != nil && !b.Before(*a) {
		return a
	}
	return &b
}

// pass is one invocation over several applications.
type pass struct {
	*Runner
	options Options
	base    Base
	removed hold.Counts // by the applications so far
	// epoch orders this pass among all that share the ledger: it is taken once the applications are locked.
	epoch int64
}

// maxApplications is how many applications are open and worked on at a time.
const maxApplications = 4

// applications takes each application through one pass of its own, a few at a time. The limit on removals is
// checked once for all of them, in their order.
func (p *pass) applications(ctx context.Context, names []string) ([]*application, error) {
	var runs []*application
	overlaps := p.overlaps(ctx, names)
	for part := range slices.Chunk(names, maxApplications) {
		some := make([]*application, len(part))
		for i, name := range part {
			some[i] = newApplication(p, p.base.Applications[name])
			some[i].err = overlaps[name]
		}
		err := p.together(ctx, some, len(runs), len(names))
		for _, a := range some {
			a.close()
		}
		if runs = append(runs, some...); err != nil || ctx.Err() != nil {
			return runs, err
		}
	}
	return runs, nil
}

func (p *pass) together(ctx context.Context, runs []*application, done, all int) error {
	for _, a := range runs {
		// One after the other, in their order: two processes that took them in different ones would wait for
		// each other.
		if a.err != nil {
			continue
		}
		if !p.options.ReadOnly {
			a.unlock, a.err = p.lease(ctx, a.app.Name)
		}
		var err error
		if a.documents, err = p.base.Documents.All(ctx, a.app.Name); err != nil {
			return err
		}
	}
	if err := p.newEpoch(ctx); err != nil {
		return err
	}
	each := func(what string, fn func(*application) error) {
		var g errgroup.Group
		for i, a := range runs {
			if a.err != nil {
				continue
			}
			g.Go(func() error {
				p.config.Progress(what+" "+a.app.Name, done+i, all)
				a.err = fn(a)
				return nil
			})
		}
		_ = g.Wait() // each has kept its own error
	}
	each("read", func(a *application) error { return a.prepare(ctx) })
	for _, a := range runs {
		if a.err == nil {
			a.err = a.holdBack(ctx)
		}
	}
	if !p.options.ReadOnly {
		each("reconcile", func(a *application) error { return a.carryOut(ctx) })
	}
	return nil
}
