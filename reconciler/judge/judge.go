package judge

import (
	"context"
	"errors"
	"log/slog"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// Config configures a Judge. All fields except Anchor, Forge and Isolate are required.
type Config struct {
	// Repository is the access repository.
	Repository *history.Repository
	// State is the folder of the index.
	State string
	// Connectors are the connectors that applications may name.
	Connectors connectors.Registry
	// Anchor is the commit where trust starts; "" is the commit that first added countersign.yaml.
	Anchor string
	// Forge opens the forge that the settings name; nil supports only the local forge.
	Forge func(context.Context, schemas.SettingsSpec) (signoff.Forge, error)
	// Authenticate proves that a ledger is the one of the repository where trust starts at a commit with these settings.
	// It is called before a verdict of the ledger is used; nil believes all.
	Authenticate func(ctx context.Context, l *ledger.Ledger, anchor string, settings *schemas.SettingsSpec) error
	// Isolate starts the child process that evaluates the repository's own rules; nil evaluates them in this process.
	Isolate func(context.Context) (*exec.Cmd, error)
	// Now is the clock.
	Now func() time.Time
	// Logger takes diagnostics.
	Logger *slog.Logger
	// Progress is called during long jobs; total is 0 while unknown.
	Progress func(what string, done, total int)
}

// Judge judges changes. It is not safe for concurrent use. The caller must Close it.
type Judge struct {
	config     Config
	cache      trustCache
	checker    *strict.Checker
	tags       tagCache
	describing sync.Mutex // guards what follows
	// described are the connectors' static descriptions, configured those of applications where they depend on the
	// configuration.
	described  map[string]schemas.Description
	configured map[*schemas.Application]schemas.Description

	// unjudged is the first commit of the last walk that could not be judged.
	unjudged *UnjudgedError
	// strict refuses rules that an older version would have taken.
	strict bool
	// anchored are the settings of the anchor.
	anchored struct {
		commit   string
		settings *schemas.Settings
	}
}

// New returns a Judge. It opens nothing yet.
func New(c Config) *Judge {
	return &Judge{config: c, checker: strict.NewChecker(), described: map[string]schemas.Description{}, configured: map[*schemas.Application]schemas.Description{}}
}

// Refresh drops cached answers of the forge, so that teams are read once for each pass.
func (j *Judge) Refresh() error {
	if j.config.Forge == nil {
		return nil
	}
	return j.cache.close()
}

// Close ends the policy engine's child process.
func (j *Judge) Close() error { return j.cache.close() }

// now returns the current time in UTC, at the precision that survives JSON.
func (j *Judge) now() time.Time { return j.config.Now().UTC().Truncate(time.Microsecond) }

// Admitted is the admitted state at a commit of the branch: the index at that commit, and the Trust by which changes
// on top of it are judged. The caller must Close it.
type Admitted struct {
	*index.Index
	Trust *Trust
	// Unjudged is set if a passing fault kept commits from being judged.
	Unjudged *UnjudgedError
}

// Admit judges all commits up to a commit of the branch that are not judged yet, and returns the admitted state there.
// Verdicts are taken from the ledger where it has them; new ones are not recorded (RecordVerdicts does that).
func (j *Judge) Admit(ctx context.Context, l *ledger.Ledger, to string) (*Admitted, error) {
	j.unjudged = nil
	x, err := j.openIndex(ctx, l, to)
	if err != nil {
		return nil, err
	}
	t, err := j.readTrust(ctx, x.Layer)
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return &Admitted{Index: x, Trust: t, Unjudged: j.unjudged}, nil
}

// openIndex opens the index and brings it to the commit, judging commits that are not judged yet.
func (j *Judge) openIndex(ctx context.Context, l *ledger.Ledger, to string) (*index.Index, error) {
	j.tags.forget()
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
			j.config.Logger.Warn("the order index is damaged, rebuilding it", "path", path, "error", err)
			if rerr := index.Remove(path); rerr != nil {
				return nil, errors.Join(err, rerr)
			}
		case !errors.Is(err, index.ErrChanged):
			return nil, err
		}
	}
	// Other processes keep writing it, perhaps for another branch. It is only a cache: continue without it.
	x, err := index.Open(ctx, "")
	if err != nil {
		return nil, err
	}
	return x, j.advance(ctx, x, l, to)
}

// FindingOf converts an error in a document to a finding.
func FindingOf(e schemas.Error, code string) schemas.Finding {
	msg := e.Msg
	if e.Field != "" {
		msg = e.Field + ": " + msg
	}
	return schemas.Finding{Code: code, Severity: schemas.SeverityError, Message: msg, Fix: e.Hint, Position: e.Position,
		Document: schemas.DocumentID{Path: e.Path}}
}
