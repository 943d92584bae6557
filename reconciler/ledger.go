package reconciler

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/ledger/seal"
	"github.com/countersign/countersign/schemas"
)

// Witness knows the last head of a ledger, and isn't where the ledger is. So a ledger that was put back or removed is
// noticed. It may be behind: a run may have ended before it told the witness.
type Witness interface {
	// Name names it for people.
	Name() string
	// Last returns what it was told last, or the newest that it has; "" for nothing.
	Last(ctx context.Context) (string, error)
	// Leave tells it what ledger.Statement returned.
	Leave(ctx context.Context, statement string) error
}

// WitnessReference is the reference of the repository that the last head is left at.
const WitnessReference = "refs/countersign/head"

// reference is the witness in the repository itself.
type reference struct{ repository *history.Repository }

var _ Witness = reference{}

func (reference) Name() string { return "the reference " + WitnessReference }

func (w reference) Last(context.Context) (string, error) { return w.repository.Note(WitnessReference) }

func (w reference) Leave(_ context.Context, statement string) error {
	return w.repository.SetNote(WitnessReference, statement)
}

// openLedger opens the ledger, brings it up to date, and proves its records. Whose it is, authenticate finds out.
func (r *Reconciler) openLedger(ctx context.Context, readOnly bool) (_ *ledger.Ledger, err error) {
	if err := CheckState(r.config.State); err != nil {
		return nil, err
	}
	c := ledger.Config{Path: LedgerPath(r.config.State), ReadOnly: readOnly, Key: r.config.LedgerKey, Now: r.clock.now, Random: r.config.Random, Logger: r.config.Logger, Clean: r.cleanRecord}
	if r.config.Replica != nil {
		// Readers also need the records of other runs.
		c.ReadOnly, c.Replicate = readOnly && r.pulled, r.config.Replica.Replicate
	}
	l, err := ledger.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if err := l.Prove(ctx); err != nil {
		return nil, err
	}
	if r.config.Replica != nil && !r.pulled {
		if err := r.config.Replica.Pull(ctx, l); err != nil {
			return nil, err
		}
		r.pulled = true
	}
	return l, r.clock.follow(ctx, l)
}

// authenticate proves that a ledger is that of the repository, signed by whom it has to be, and not older than its
// witnesses know.
func (r *Reconciler) authenticate(ctx context.Context, l *ledger.Ledger, anchor string, settings *schemas.SettingsSpec) error {
	a := ledger.Authority{Anchor: anchor, PublicKey: settings.Ledger.PublicKey, Operator: r.config.LedgerPublicKey}
	if r.config.Anchor != "" {
		// The operator moved the anchor: the ledger is still that of the branch.
		a.Related = func(commit string) (bool, error) {
			for _, pair := range [][2]string{{commit, anchor}, {anchor, commit}} {
				ok, err := r.config.Repository.IsAncestor(ctx, pair[0], pair[1])
				if err != nil && !errors.Is(err, history.ErrNotFound) || ok {
					return ok, err
				}
			}
			return false, nil
		}
	}
	if err := l.Authenticate(ctx, a); err != nil || r.restarting {
		return err
	}
	if err := r.question(ctx, l, reference{r.config.Repository}, true); err != nil || r.questioned {
		return err
	}
	for _, w := range r.others() {
		if err := r.question(ctx, l, w, false); err != nil {
			return err
		}
	}
	if err := r.questionForge(ctx, l, anchor, settings); err != nil {
		return err
	}
	r.questioned = r.tip != ""
	return nil
}

// others are the witnesses outside of the repository.
func (r *Reconciler) others() []Witness {
	out := r.config.Witnesses
	if w, ok := r.config.Replica.(Witness); ok {
		out = append([]Witness{w}, out...)
	}
	return out
}

// question compares the ledger with a witness. Of one that others can write to, only signed statements count where the
// ledger is signed.
func (r *Reconciler) question(ctx context.Context, l *ledger.Ledger, w Witness, own bool) error {
	statement, err := w.Last(ctx)
	if err != nil {
		sequence, _, herr := l.Head(ctx)
		if own || sequence == 0 || herr != nil {
			return errors.Join(fmt.Errorf("ask %s for the ledger's last head: %w", w.Name(), err), herr)
		}
		r.config.Logger.WarnContext(ctx, "could not ask a witness of the ledger", "witness", w.Name(), "error", err)
		return nil
	}
	if statement == "" {
		return nil
	}
	believed, err := l.CheckStatement(ctx, w.Name(), statement, own)
	if err == nil && !believed {
		r.config.Logger.WarnContext(ctx, "a witness of the ledger has something that countersign didn't leave there", "witness", w.Name())
	}
	return err
}

// checkKey compares the operator's key with the one that the settings name. They have to be the same.
func (r *Reconciler) checkKey(ctx context.Context, l *ledger.Ledger, settings *schemas.SettingsSpec, readOnly bool) error {
	key, named := r.config.LedgerKey, settings.Ledger.PublicKey
	sequence, _, err := l.Head(ctx)
	if err != nil {
		return err
	}
	note, err := l.Note(ctx)
	switch {
	case err != nil:
		return err
	case note == "" && sequence > 0 && named != "":
		return &ledger.AlarmError{What: "it isn't signed, and the settings name a key", Fix: "if it is the ledger from before the key, an owner acknowledges its end " +
			"(countersign audit verify prints it) with unsigned_ledger, and countersign audit take-over signs it"}
	case readOnly || key == nil && named == "":
		return nil
	case key == nil:
		return fmt.Errorf("the settings name the key %s for the ledger, and this run has none: set COUNTERSIGN_LEDGER_KEY or COUNTERSIGN_LEDGER_KEY_FILE, or give --ledger-key", named)
	case named == "":
		return fmt.Errorf("this run has a key for the ledger, and the settings name none: add ledger: {public_key: %s} to %s", key.Public(), schemas.SettingsPath)
	case !key.Public().Is(named):
		return &ledger.AlarmError{What: fmt.Sprintf("the settings name the key %s, and this run's is %s", named, key.Public()),
			Fix: "after a change of keys that you wanted, run countersign audit rotate-key with the key of before; otherwise revert the settings"}
	case note == "" && sequence > 0:
		return ledger.ErrUnsigned
	}
	return nil
}

// leave tells the witnesses how the ledger ends. The repository's own must know; what is elsewhere may be told later.
func (r *Reconciler) leave(ctx context.Context, l *ledger.Ledger) error {
	statement, err := l.Statement(ctx)
	if err != nil || statement == "" {
		return err
	}
	own := reference{r.config.Repository}
	if last, err := own.Last(ctx); err == nil && last == statement {
		return nil
	}
	r.leaveAtForge(ctx, statement)
	for _, w := range r.others() {
		if err := w.Leave(ctx, statement); err != nil {
			r.config.Logger.WarnContext(ctx, "could not tell a witness how the ledger ends", "witness", w.Name(), "error", err)
		}
	}
	if err := own.Leave(ctx, statement); err != nil {
		return fmt.Errorf("leave the ledger's head with its witness: %w", err)
	}
	return nil
}

// trust tells how a ledger is protected. A witness that can't be asked has 0.
func (r *Reconciler) trust(ctx context.Context, l *ledger.Ledger) (schemas.LedgerTrust, error) {
	out := schemas.LedgerTrust{Witnesses: []schemas.LedgerWitness{}}
	note, err := l.Note(ctx)
	if err != nil {
		return out, err
	}
	if key := l.Trusted(); key != nil && note != "" {
		out.Signed, out.PublicKey = true, key.String()
	}
	if r.heads != nil {
		out.Witnesses = append(out.Witnesses, schemas.LedgerWitness{Name: "a status of a commit at the forge", Sequence: r.heads.known})
	}
	for _, w := range append([]Witness{reference{r.config.Repository}}, r.others()...) {
		k := schemas.LedgerWitness{Name: w.Name()}
		statement, err := w.Last(ctx)
		if err != nil {
			r.config.Logger.WarnContext(ctx, "could not ask a witness of the ledger", "witness", w.Name(), "error", err)
		}
		if h, err := seal.ParseHead(statement); err == nil {
			k.Sequence = h.Sequence
		}
		out.Witnesses = append(out.Witnesses, k)
	}
	return out, nil
}

// VerifyLedger recomputes every hash and every derived table, and proves who signed the head of the ledger of the branch
// that the revision is on. Problems are in the report; an error means that it could not be verified.
func (r *Reconciler) VerifyLedger(ctx context.Context, to string, o ledger.VerifyOptions) (_ schemas.AuditVerification, err error) {
	c := ledger.Config{Path: LedgerPath(r.config.State), ReadOnly: r.config.Replica == nil, Now: r.clock.now, Logger: r.config.Logger}
	l, err := ledger.Open(ctx, c)
	if err != nil {
		return schemas.AuditVerification{}, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if r.config.Replica != nil {
		if err := r.config.Replica.Pull(ctx, l); err != nil {
			return schemas.AuditVerification{}, err
		}
	}
	rep, err := l.Verify(ctx, o)
	if err != nil {
		return rep, err
	}
	tip, err := r.config.Repository.Resolve(to)
	if err != nil {
		return rep, err
	}
	anchor, settings, err := r.judge.Anchor(ctx, tip)
	if errors.Is(err, ErrNoAnchor) {
		anchor, settings = "", &schemas.SettingsSpec{} // nothing is trusted yet
	} else if err != nil {
		return rep, err
	}
	r.tip = tip
	err = r.authenticate(ctx, l, anchor, settings)
	var alarm *ledger.AlarmError
	if errors.As(err, &alarm) {
		rep.Problems = append(rep.Problems, schemas.AuditProblem{What: alarm.What})
	} else if err != nil {
		return rep, err
	}
	rep.Trust, err = r.trust(ctx, l)
	if len(rep.Problems) > 0 {
		rep.Trust.Signed, rep.Trust.PublicKey = false, ""
	}
	return rep, err
}

// LedgerChecks tell, for doctor, how the ledger is protected.
func (r *Reconciler) LedgerChecks(ctx context.Context, to string) (_ []schemas.Check, err error) {
	b, err := r.open(ctx, to, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	t, err := r.trust(ctx, b.ledger)
	if err != nil {
		return nil, err
	}
	key := schemas.Check{State: schemas.CheckOK, Name: "ledger key", Detail: "the ledger is signed by " + t.PublicKey}
	switch named := b.admitted.Trust.Settings.Spec.Ledger.PublicKey; {
	case t.Signed:
	case named != "":
		key.Detail = "the next run signs the ledger, which is empty, by " + named
	default:
		key = schemas.Check{State: schemas.CheckUnknown, Name: "ledger key", Detail: "the ledger is not signed, since the settings name no key: anybody who can write it can make up records",
			Fix: "countersign audit new-key"}
	}
	out := []schemas.Check{key}
	for _, w := range t.Witnesses {
		c := schemas.Check{State: schemas.CheckOK, Name: "ledger witness", Detail: fmt.Sprintf("%s knows of record %d", w.Name, w.Sequence)}
		if w.Sequence == 0 {
			c.Detail = w.Name + " knows of no ledger yet"
		}
		out = append(out, c)
	}
	return out, nil
}
