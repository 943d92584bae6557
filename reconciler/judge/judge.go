package judge

import (
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// Config configures a Judge. All but Anchor, Forge and Isolate are required.
type Config struct {
	// Repository is the access repository.
	Repository *history.Repository
	// State is the folder of the index.
	State string
	// Connectors are those that applications may name.
	Connectors connectors.Registry
	// Anchor names the commit that trust starts at; "" is the commit that first added countersign.yaml.
	Anchor string
	// Forge opens the forge that the settings name; nil serves only the local one, which needs none opened.
	Forge func(context.Context, schemas.SettingsSpec) (signoff.Forge, error)
	// Isolate starts the child process that evaluates the repository's own rules; nil evaluates them here.
	Isolate func(context.Context) (*exec.Cmd, error)
	// Now is the clock.
	Now func() time.Time
	// Logger takes diagnostics.
	Logger *slog.Logger
	// Progress is told what a long job is at; total is 0 while unknown.
	Progress func(what string, done, total int)
}

// Judge judges changes. Its methods may be called one at a time. Close it.
type Judge struct {
	config  Config
	cache   trustCache
	checker *strict.Checker
	names   connectors.Names
	// described are the connectors' static descriptions.
	described map[string]connectors.Description
}

// New opens nothing.
func New(c Config) *Judge {
	return &Judge{config: c, checker: strict.NewChecker(), names: connectors.Names{}, described: map[string]connectors.Description{}}
}

// Refresh forgets what a forge was asked: teams are read once for each pass, not once for ever.
func (j *Judge) Refresh() error {
	if j.config.Forge == nil {
		return nil
	}
	return j.cache.close()
}

// Close ends the policy engine's child process.
func (j *Judge) Close() error { return j.cache.close() }

// now is the instant in UTC, without what JSON would lose.
func (j *Judge) now() time.Time { return j.config.Now().UTC().Truncate(time.Microsecond) }

// Admitted is a commit of the branch as it was admitted: the index brought to it, and what changes on top of it are
// judged by. Close it.
type Admitted struct {
	*index.Index
	Trust *Trust
}

// Admit judges what was not judged yet up to a commit of the branch, and returns what is admitted there. Verdicts that
// the ledger has are taken from it; it records none (RecordVerdicts does).
func (j *Judge) Admit(ctx context.Context, l *ledger.Ledger, to string) (*Admitted, error) {
	x, err := j.openIndex(ctx, l, to)
	if err != nil {
		return nil, err
	}
	t, err := j.readTrust(ctx, x.Layer)
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return &Admitted{Index: x, Trust: t}, nil
}

// openIndex opens the index and brings it to the commit, judging what was not judged yet.
func (j *Judge) openIndex(ctx context.Context, l *ledger.Ledger, to string) (*index.Index, error) {
	path := filepath.Join(j.config.State, "index.db")
	for range 5 {
		x, err := index.Open(ctx, path)
		if err == nil {
			if err = j.advance(ctx, x, l, to); err == nil {
				return x, nil
			}
			err = errors.Join(err, x.Close())
		}
		switch {
		case index.Damaged(err):
			j.config.Logger.Warn("the order index is damaged and is built again", "path", path, "error", err)
			if rerr := index.Remove(path); rerr != nil {
				return nil, errors.Join(err, rerr)
			}
		case !errors.Is(err, index.ErrChanged):
			return nil, err
		}
	}
	// Others keep writing it, about another branch perhaps: it is a cache, and can be done without.
	x, err := index.Open(ctx, "")
	if err != nil {
		return nil, err
	}
	return x, j.advance(ctx, x, l, to)
}

// FindingOf is the finding of a document's error.
func FindingOf(e schemas.Error, code string) schemas.Finding {
	msg := e.Msg
	if e.Field != "" {
		msg = e.Field + ": " + msg
	}
	return schemas.Finding{Code: code, Severity: schemas.SeverityError, Message: msg, Fix: e.Hint, Position: e.Position,
		Document: schemas.DocumentID{Path: e.Path}}
}
