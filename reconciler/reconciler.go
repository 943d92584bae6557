package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/secrets"
	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/judge"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/reconciler/run"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// Config configures a Reconciler.
type Config struct {
	// Repository is the access repository. Required.
	Repository *history.Repository
	// State is the folder of the ledger, the index and the leases. Required.
	State string
	// Replica keeps the ledger elsewhere as well, for ephemeral runners; nil is nowhere.
	Replica Replica
	// LedgerKey is the operator's key, which signs the ledger. nil is none: then settings must name none.
	LedgerKey *seal.Key
	// LedgerPublicKey is the key that the operator trusts without a LedgerKey; nil takes it from the settings of the
	// anchor and the rotations since.
	LedgerPublicKey *seal.Public
	// Heads opens the place at the settings' forge where the ledger's head is left too; nil is none.
	Heads func(context.Context, schemas.SettingsSpec) (forge.Heads, error)
	// Witnesses know the ledger's last head, besides the reference of the repository.
	Witnesses []Witness
	// Connectors are those that applications may name. Required.
	Connectors connectors.Registry
	// Secrets resolves the secrets that applications refer to, and takes them out of reports, records and logs; nil
	// allows none.
	Secrets *secrets.Store
	// Anchor names the commit that trust starts at; "" is the commit that first added countersign.yaml.
	Anchor string
	// Version is the program's version. The first run of a version removes nothing that no document names.
	Version string
	// Forge opens the forge that the settings name; nil serves only the local one, which needs none opened.
	Forge func(context.Context, schemas.SettingsSpec) (signoff.Forge, error)
	// Tickets opens the issues of a repository at the settings' forge, as the account that publishes; nil serves no
	// tickets.
	Tickets func(ctx context.Context, s schemas.Forge, repository string) (Tickets, error)
	// RetryWait is the first wait before a webhook is tried again; 0 is that of package rest.
	RetryWait time.Duration
	// Isolate starts the child process that evaluates the repository's own rules; nil evaluates them here.
	Isolate func(context.Context) (*exec.Cmd, error)
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Random salts the records of the ledger; nil is crypto/rand.
	Random io.Reader
	// Logger takes diagnostics; nil discards them.
	Logger *slog.Logger
	// Progress is called with the progress of a long job, by one goroutine at a time; nil ignores it. total is 0
	// while unknown.
	Progress func(what string, done, total int)
	// Step is called after each step of an apply that a crash could follow, for tests, from several goroutines
	// when there are several applications; nil is not called.
	Step func(string)
}

// Tickets are the issues of one repository in which people are asked to carry operations out.
type Tickets = forge.Tickets

// Replica keeps the ledger outside its file, and is authoritative where it is configured.
type Replica interface {
	// Acquire waits for a run that is under way, then keeps other runs away until release.
	Acquire(ctx context.Context, wait time.Duration) (release func(context.Context) error, err error)
	// Pull adds the missing records to the ledger, or returns why the replica cannot be trusted.
	Pull(context.Context, *ledger.Ledger) error
	Replicate(context.Context, ledger.Batch) error
}

// Holder is a Replica whose lease has to be renewed, and can be lost.
type Holder interface {
	// Hold renews the lease when it is due. An error means that another run has it, or may take it.
	Hold(context.Context) error
	// Beat is how often Hold should be called.
	Beat() time.Duration
}

// maxWaitForRun is how long a run waits for another one to end.
const maxWaitForRun = 15 * time.Minute

// Reconciler turns admitted requests into access. Its methods may be called one at a time. Close it.
type Reconciler struct {
	config Config
	clock  *clock
	judge  *judge.Judge
	runner *run.Runner
	// pulled means that the ledger has what the replica had when this pass began, questioned that other witnesses than the
	// repository's reference were asked since.
	pulled, questioned bool
	// heads is the witness at the forge, once it is open; tip is the commit of the branch that a run works on.
	heads *atForge
	tip   string
	// restarting means that a ledger may begin although a witness knows of one.
	restarting bool
}

// New checks the configuration. It opens nothing.
func New(c Config) (*Reconciler, error) {
	switch {
	case c.Repository == nil:
		return nil, errors.New("reconciler: no repository")
	case c.State == "":
		return nil, errors.New("reconciler: no state folder")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Secrets == nil {
		c.Secrets = secrets.New(secrets.Config{})
	}
	c.Logger = slog.New(c.Secrets.Handler(c.Logger.Handler()))
	c.Progress = oneAtATime(c.Progress)
	if c.Step == nil {
		c.Step = func(string) {}
	}
	t := &clock{system: c.Now}
	r := &Reconciler{config: c, clock: t}
	r.judge = judge.New(judge.Config{Repository: c.Repository, State: c.State, Connectors: c.Connectors, Anchor: c.Anchor, Forge: c.Forge, Isolate: c.Isolate,
		Authenticate: r.authenticate, Now: t.now, Logger: c.Logger, Progress: c.Progress})
	r.runner = run.New(run.Config{Connectors: c.Connectors, Directory: c.Repository.WorkTree(), Secrets: c.Secrets, State: c.State, Version: c.Version, Tickets: c.Tickets,
		RetryWait: c.RetryWait, Now: t.now, Logger: c.Logger, Progress: c.Progress, Leased: r.leased, Step: c.Step})
	return r, nil
}

// Close ends the policy engine's child process.
func (r *Reconciler) Close() error { return r.judge.Close() }

func oneAtATime(tell func(string, int, int)) func(string, int, int) {
	if tell == nil {
		return func(string, int, int) {}
	}
	var mu sync.Mutex
	return func(what string, done, total int) {
		mu.Lock()
		defer mu.Unlock()
		tell(what, done, total)
	}
}

// LedgerPath is the path of a state folder's ledger.
func LedgerPath(state string) string { return filepath.Join(state, "ledger.db") }

// now is the instant in UTC, with the precision that JSON keeps.
func (r *Reconciler) now() time.Time { return r.clock.now() }

// CheckState refuses a state folder that isn't safe to write in: of another user, or with links that lead elsewhere.
func CheckState(dir string) error {
	if err := history.CheckFolder(dir, "leases", "ledger.git"); err != nil {
		return fmt.Errorf("the state: %w", err)
	}
	return nil
}

// alone keeps other runs away during a pass, where runs share a ledger.
//
// The context ends when another run has taken over.
func (r *Reconciler) alone(ctx context.Context, readOnly bool) (_ context.Context, release func() error, err error) {
	if r.config.Replica == nil {
		return ctx, func() error { return nil }, nil
	}
	if r.pulled, r.questioned = false, false; readOnly {
		return ctx, func() error { return nil }, nil
	}
	if err := CheckState(r.config.State); err != nil {
		return nil, nil, err
	}
	free, err := r.config.Replica.Acquire(ctx, maxWaitForRun)
	if err != nil {
		return nil, nil, err
	}
	held, stop := r.heartbeat(ctx)
	// A pass that is being stopped releases it too.
	return held, func() error { return errors.Join(stop(), free(context.WithoutCancel(ctx))) }, nil
}

// heartbeat renews the lease beside the work. stop waits for its end, and returns why the lease was lost.
func (r *Reconciler) heartbeat(ctx context.Context) (held context.Context, stop func() error) {
	h, ok := r.config.Replica.(Holder)
	if !ok {
		return ctx, func() error { return nil }
	}
	held, lose := context.WithCancelCause(ctx)
	done := make(chan struct{})
	ended := errors.New("the pass has ended")
	go func() {
		defer close(done)
		tick := time.NewTicker(h.Beat())
		defer tick.Stop()
		for {
			select {
			case <-held.Done():
				return
			case <-tick.C:
			}
			if err := h.Hold(held); err != nil {
				lose(fmt.Errorf("the lease was lost, so nothing more is written: %w", err))
				return
			}
		}
	}()
	return held, func() error {
		lose(ended)
		<-done
		if cause := context.Cause(held); ctx.Err() == nil && !errors.Is(cause, ended) {
			return cause
		}
		return nil
	}
}

// leased checks, where runs share a ledger, that no other run has taken over.
func (r *Reconciler) leased(ctx context.Context) error {
	if h, ok := r.config.Replica.(Holder); ok {
		return h.Hold(ctx)
	}
	return nil
}

// base is a commit of the branch as it was admitted, with the ledger. Close it.
type base struct {
	tip      string
	ledger   *ledger.Ledger
	admitted *judge.Admitted
	// leave tells the witnesses how the ledger ends; nil for a reader.
	leave func() error
}

// open opens the admitted documents at a revision of the branch, and judges new commits first. Close it.
func (r *Reconciler) open(ctx context.Context, revision string, readOnly bool) (_ *base, err error) {
	b := &base{}
	if b.tip, err = r.config.Repository.Resolve(revision); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if r.tip = ""; !readOnly {
		r.tip = b.tip
	}
	if b.ledger, err = r.openLedger(ctx, readOnly); err != nil {
		return nil, err
	}
	if b.admitted, err = r.judge.Admit(ctx, b.ledger, b.tip); err != nil {
		return b, err
	}
	if err = r.checkKey(ctx, b.ledger, &b.admitted.Trust.Settings.Spec, readOnly); err == nil && !readOnly {
		b.leave = func() error { return r.leave(context.WithoutCancel(ctx), b.ledger) }
	}
	return b, err
}

func (b *base) close() (err error) {
	if b.admitted != nil {
		err = b.admitted.Close()
	}
	if b.leave != nil {
		err = errors.Join(err, b.leave())
	}
	if b.ledger != nil {
		err = errors.Join(err, b.ledger.Close())
	}
	return err
}

// runs is the base as runs take it.
func (b *base) runs(controls []index.Control) run.Base {
	t := b.admitted.Trust
	return run.Base{Tip: b.tip, Ledger: b.ledger, Documents: b.admitted, Controls: controls,
		Settings: t.Settings, Applications: t.Applications, People: t.Directory, Duties: t.Duties}
}

// names are the applications that a question is about, sorted: all where only is "".
func (b *base) names(only string) ([]string, error) {
	t := b.admitted.Trust
	if only == "" {
		return t.Names(), nil
	}
	if t.Applications[only] == nil {
		return nil, fmt.Errorf("application %q not found (expected one of %s)", only, strings.Join(t.Names(), ", "))
	}
	return []string{only}, nil
}

// ErrNoAnchor means that a branch has no countersign.yaml, so that nothing is trusted yet.
var ErrNoAnchor = judge.ErrNoAnchor

// RewrittenError means that the last commit that was judged is no longer on the first-parent line of the branch.
type RewrittenError = judge.RewrittenError
