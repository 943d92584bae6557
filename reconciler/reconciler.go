package reconciler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/history/order"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// Config is what a Reconciler works with.
type Config struct {
	// Repository is the access repository. Required.
	Repository *history.Repository
	// State is the folder of the ledger, the order index and the leases. Required.
	State string
	// Replica keeps the ledger elsewhere as well, for runners that begin with nothing; nil is nowhere.
	Replica Replica
	// Connectors are those that applications may name. Required.
	Connectors connectors.Registry
	// Anchor names the commit that trust starts at; "" is the commit that first added countersign.yaml.
	Anchor string
	// Version is that of the program: its first run takes nothing away.
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
	// Logger takes diagnostics; nil discards them.
	Logger *slog.Logger
	// Progress is told what a long job is at, by one goroutine at a time; nil is told nothing. total is 0
	// while unknown.
	Progress func(what string, done, total int)
	// Step is called after each step of an apply that a crash could follow, for tests, by several goroutines
	// where there are several applications; nil is not.
	Step func(string)
}

// Tickets is where people are asked to carry operations out: the issues of one repository.
type Tickets = forge.Tickets

// Replica is where the ledger is kept beside its file: its truth, where there is one.
type Replica interface {
	// Acquire keeps other runs away until release, waiting for one that is under way.
	Acquire(ctx context.Context, wait time.Duration) (release func(context.Context) error, err error)
	// Pull brings the ledger what it lacks, or says why what is there cannot be trusted.
	Pull(context.Context, *ledger.Ledger) error
	Replicate(context.Context, ledger.Batch) error
}

// maxWaitForRun is how long a run waits for another one to end.
const maxWaitForRun = 15 * time.Minute

// Reconciler turns admitted requests into access. Its methods may be called one at a time.
type Reconciler struct {
	c     Config
	cache trustCache
	// pulled says that the ledger has what the replica had when this pass began.
	pulled  bool
	checker *schemas.Checker
	names   connectors.Names
	// described are the connectors' static descriptions.
	described map[string]connectors.Description
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
	c.Progress = oneAtATime(c.Progress)
	if c.Step == nil {
		c.Step = func(string) {}
	}
	return newReconciler(c), nil
}

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

func newReconciler(c Config) *Reconciler {
	return &Reconciler{c: c, checker: schemas.NewChecker(), names: connectors.Names{}, described: map[string]connectors.Description{}}
}

// LedgerPath is where the ledger of a state folder lies.
func LedgerPath(state string) string { return filepath.Join(state, "ledger.db") }

// now is the instant in UTC, without what JSON would lose.
func (r *Reconciler) now() time.Time { return r.c.Now().UTC().Truncate(time.Microsecond) }

func (r *Reconciler) openLedger(ctx context.Context, readOnly bool) (*ledger.Ledger, error) {
	c := ledger.Config{Path: LedgerPath(r.c.State), ReadOnly: readOnly, Now: r.c.Now, Logger: r.c.Logger}
	if r.c.Replica == nil {
		return ledger.Open(ctx, c)
	}
	// Also who only reads has to know what other runs did.
	c.ReadOnly, c.Replicate = readOnly && r.pulled, r.c.Replica.Replicate
	l, err := ledger.Open(ctx, c)
	if err != nil || r.pulled {
		return l, err
	}
	if err := r.c.Replica.Pull(ctx, l); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	r.pulled = true
	return l, nil
}

// alone keeps other runs away for the time of a pass, where runs share a ledger.
func (r *Reconciler) alone(ctx context.Context, readOnly bool) (release func() error, err error) {
	if r.c.Replica == nil {
		return func() error { return nil }, nil
	}
	if r.pulled = false; readOnly {
		return func() error { return nil }, nil
	}
	free, err := r.c.Replica.Acquire(ctx, maxWaitForRun)
	if err != nil {
		return nil, err
	}
	// Also a pass that was told to stop lets go.
	return func() error { return free(context.WithoutCancel(ctx)) }, nil
}

// openIndex opens the order index and brings it to the commit, judging what was not judged yet.
func (r *Reconciler) openIndex(ctx context.Context, l *ledger.Ledger, to string) (*order.Index, error) {
	path := filepath.Join(r.c.State, "index.db")
	for range 5 {
		x, err := order.Open(ctx, path)
		if err == nil {
			if err = r.advance(ctx, x, l, to); err == nil {
				return x, nil
			}
			err = errors.Join(err, x.Close())
		}
		switch {
		case order.Damaged(err):
			r.c.Logger.Warn("the order index is damaged and is built again", "path", path, "error", err)
			if rerr := order.Remove(path); rerr != nil {
				return nil, errors.Join(err, rerr)
			}
		case !errors.Is(err, order.ErrChanged):
			return nil, err
		}
	}
	// Others keep writing it, about another branch perhaps: it is a cache, and can be done without.
	x, err := order.Open(ctx, "")
	if err != nil {
		return nil, err
	}
	return x, r.advance(ctx, x, l, to)
}

// standing is a commit of the branch as it was admitted: the records, the index brought to it, and what it is judged by.
type standing struct {
	ledger *ledger.Ledger
	index  *order.Index
	trust  *trust
}

// standing opens what stands at a commit of the branch, judging what was not judged yet. Close it.
func (r *Reconciler) standing(ctx context.Context, tip string, readOnly bool) (_ *standing, err error) {
	s := &standing{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.ledger, err = r.openLedger(ctx, readOnly); err != nil {
		return nil, err
	}
	if s.index, err = r.openIndex(ctx, s.ledger, tip); err != nil {
		return nil, err
	}
	if s.trust, err = r.trust(ctx, s.index.Layer); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *standing) close() (err error) {
	if s.index != nil {
		err = s.index.Close()
	}
	if s.ledger != nil {
		err = errors.Join(err, s.ledger.Close())
	}
	return err
}

// ErrNoAnchor says that a branch has no countersign.yaml, so that nothing is trusted yet.
var ErrNoAnchor = errors.New("no commit of the branch has a countersign.yaml: make one with countersign init and merge it")

// RewrittenError says that the last commit that was judged is no longer on the first-parent line of the branch.
type RewrittenError struct {
	Last, Tip string
	// Anchor is where trust would start now, where that is another commit than before: "" when it is not.
	Anchor string
	// Rolled is a file that an Acknowledgement was judged by and that is not the one admitted last: "" for none.
	Rolled string
}

// Error says what to do.
func (e *RewrittenError) Error() string {
	if e.Anchor != "" {
		return fmt.Sprintf("the branch was rewritten from its beginning: %s was admitted last and is not on the first-parent line of %s, which "+
			"starts trust anew at %s; nothing is done until the operator names that commit as the anchor, or the branch is put back",
			short(e.Last), short(e.Tip), e.Anchor)
	}
	if e.Rolled != "" {
		return fmt.Sprintf("the branch was rewritten: %s was admitted last and is not on the first-parent line of %s; its Acknowledgement does not count, since "+
			"%s was another one when that was judged: put back the content admitted last and acknowledge it then, or the operator names the anchor",
			short(e.Last), short(e.Tip), e.Rolled)
	}
	return fmt.Sprintf("the branch was rewritten: %s was admitted last and is not on the first-parent line of %s; nothing is done until an Acknowledgement "+
		"with rewritten_from: %s is admitted (its sign-off is that of the settings' owners), or the branch is put back", short(e.Last), short(e.Tip), e.Last)
}

func short(hash string) string { return hash[:min(len(hash), 8)] }

func findingOf(e schemas.Error, code string) schemas.Finding {
	msg := e.Msg
	if e.Field != "" {
		msg = e.Field + ": " + msg
	}
	return schemas.Finding{Code: code, Severity: "error", Message: msg, Fix: e.Hint, Position: e.Position,
		Document: schemas.DocumentID{Path: e.Path}}
}
