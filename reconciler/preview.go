package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// PreviewOptions say what to preview.
type PreviewOptions struct {
	// Base is the branch that the change would land on, Head the change; both are revisions.
	Base, Head string
	// Blind leaves live state out.
	Blind bool
	// Application limits live reading to one application; "" is all that the change touches.
	Application string
	// PullRequest is the change's number on the forge; 0 is not known.
	PullRequest int
}

// Preview says what a change would do, what policy says of it and who must still approve. It reads the live
// applications as they stand configured in the base, and writes nothing but the order index.
func (r *Reconciler) Preview(ctx context.Context, o PreviewOptions) (_ *schemas.Preview, err error) {
	if err := r.refresh(); err != nil {
		return nil, err
	}
	repo := r.c.Repository
	base, err := repo.Resolve(o.Base)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	head, err := repo.Resolve(o.Head)
	if err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	s, err := r.standing(ctx, base, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	l, x, t := s.ledger, s.index, s.trust
	now := r.now()
	p := &schemas.Preview{APIVersion: schemas.APIVersion, Kind: "Preview", Base: base, Head: head, At: now,
		Files: []schemas.FileChange{}, Errors: []schemas.Finding{}, Gained: []schemas.Access{}, Lost: []schemas.Access{}, Unmet: []schemas.Requirement{},
		Plan: schemas.Plan{APIVersion: schemas.APIVersion, Applications: []schemas.ApplicationPlan{}}}
	if p.Quarantined, err = quarantined(ctx, x.Layer); err != nil {
		return nil, err
	}
	changes, fork, err := r.changesBetween(ctx, base, head, filter{&t.settings.Spec})
	if err != nil {
		return nil, err
	}
	e, err := r.examine(ctx, x.Layer, t, examination{changes: changes, sequence: x.Head.Sequence + 1, now: now})
	if err != nil {
		return nil, err
	}
	for _, f := range e.files {
		p.Files = append(p.Files, schemas.FileChange{Path: f.path, Before: f.before, After: f.after})
	}
	p.ContentDigest = e.digest
	p.Errors = append(p.Errors, e.errors...)
	if err := r.conflicts(ctx, p, fork, base, e); err != nil {
		return nil, err
	}
	if len(e.files) == 0 {
		p.Verdict = schemas.VerdictNothing
		return p, nil
	}
	if len(e.errors) > 0 {
		p.Verdict = schemas.VerdictInvalid
		return p, nil
	}
	p.Errors = append(p.Errors, e.findings...)
	incomplete, err := r.previewLive(ctx, p, e, l, o)
	if err != nil {
		return nil, err
	}
	if err := r.previewJudgement(ctx, p, e, fork, o.PullRequest); err != nil {
		return nil, err
	}
	switch {
	case slices.ContainsFunc(p.Errors, func(f schemas.Finding) bool { return f.Severity == schemas.SeverityError && f.Code != "sign-off" }):
		p.Verdict = schemas.VerdictInvalid
	case len(p.Decision.Denials) > 0:
		p.Verdict = schemas.VerdictDenied
	case len(p.Errors) > 0:
		p.Verdict = schemas.VerdictInvalid
	case incomplete:
		p.Verdict = schemas.VerdictIncomplete
	case len(p.Unmet) > 0:
		p.Verdict = schemas.VerdictSignoff
	default:
		p.Verdict = schemas.VerdictReady
	}
	return p, nil
}

// changesBetween are the control files that the head changes against where it forked from the base.
func (r *Reconciler) changesBetween(ctx context.Context, base, head string, f filter) (changes []history.Change, fork string, err error) {
	if fork, err = r.c.Repository.MergeBase(ctx, base, head); err != nil {
		return nil, "", fmt.Errorf("find where the change forked from the base: %w", err)
	}
	if changes, err = r.c.Repository.Compare(ctx, fork, head, f); err != nil {
		return nil, "", fmt.Errorf("compare the change with its base: %w", err)
	}
	return changes, fork, nil
}

// conflicts finds files that both the change and the base touched since they parted.
func (r *Reconciler) conflicts(ctx context.Context, p *schemas.Preview, fork, base string, e *examined) error {
	if fork == base {
		return nil
	}
	since, err := r.c.Repository.Compare(ctx, fork, base, filter{&e.trust.settings.Spec})
	if err != nil {
		return fmt.Errorf("compare the base with the fork: %w", err)
	}
	for _, c := range since {
		if f := e.fileOf(c.Path); f != nil && f.after != c.After.Blob {
			p.Errors = append(p.Errors, schemas.Finding{Code: "conflict", Severity: schemas.SeverityError, Position: schemas.Position{Path: c.Path},
				Document: schemas.DocumentID{Path: c.Path}, Message: "the base changed this file too since the change was begun", Fix: "merge the base into the change, or rebase it"})
		}
	}
	return nil
}

// previewLive diffs the change against the live applications. It says whether something could not be read.
func (r *Reconciler) previewLive(ctx context.Context, p *schemas.Preview, e *examined, l *ledger.Ledger, o PreviewOptions) (incomplete bool, err error) {
	for i, name := range e.affected {
		if o.Application != "" && o.Application != name {
			continue
		}
		app := e.trust.applications[name]
		if app == nil || o.Blind {
			// An application that the change itself adds is never opened: the change could point us anywhere.
			if after := e.afterApplications[name]; after != nil {
				ap := schemas.ApplicationPlan{Application: name, Connector: after.Spec.Connector, Mode: after.Spec.Mode,
					Operations: e.changes[name].Operations}
				p.Plan.Applications = append(p.Plan.Applications, ap)
				p.Gained = append(p.Gained, e.changes[name].Gained...)
				p.Lost = append(p.Lost, e.changes[name].Lost...)
			}
			continue
		}
		r.c.Progress("read "+name, i, len(e.affected))
		ap, err := r.previewApplication(ctx, p, e, l, name)
		if err != nil {
			return false, err
		}
		incomplete = incomplete || ap.Incomplete != ""
		p.Live = true
		p.Plan.Applications = append(p.Plan.Applications, *ap)
	}
	p.Plan.Digest, err = plan.Digest(p.Plan.Applications)
	return incomplete, err
}

// previewApplication holds fold(head) beside fold(base), both against what the application holds now.
func (r *Reconciler) previewApplication(ctx context.Context, p *schemas.Preview, e *examined, l *ledger.Ledger, name string) (*schemas.ApplicationPlan, error) {
	app := e.trust.applications[name]
	// What the change makes of the application counts, but where it connects is the base's word.
	judged := *e.afterApplications[name]
	judged.Spec.Connector, judged.Spec.Config = app.Spec.Connector, app.Spec.Config
	unknown := func(err error) *schemas.ApplicationPlan {
		return &schemas.ApplicationPlan{Application: name, Connector: app.Spec.Connector, Mode: app.Spec.Mode,
			Operations: e.changes[name].Operations, Incomplete: err.Error()}
	}
	lv, err := r.openLive(ctx, &judged, l)
	if err != nil {
		return unknown(err), nil
	}
	defer func() {
		if err := lv.reader.Close(); err != nil {
			r.c.Logger.Warn("close the application", "application", name, "error", err)
		}
	}()
	now := p.At
	set, err := e.liveClosure(ctx, lv, name)
	if err != nil {
		return unknown(err), nil
	}
	remembered, err := baseline(ctx, l, name)
	if err != nil {
		return nil, err
	}
	before, after, err := e.foldPair(ctx, name, set, lv.description, now)
	if err != nil {
		return nil, err
	}
	// The base's needs are those of the application as the base has it: what wakes when its scope is widened
	// is this change's doing.
	was := *lv
	was.app = app
	asIs, err := was.diff(ctx, plan.Input{Desired: before, Baseline: remembered, Now: now})
	if err != nil {
		return unknown(err), nil
	}
	toBe, err := lv.diff(ctx, plan.Input{Desired: after, Baseline: remembered, Now: now})
	if err != nil {
		return unknown(err), nil
	}
	ap := toBe.Plan
	ap.ReadAt = now
	if ap.LiveDigest, err = plan.LiveDigest(lv.state); err != nil {
		return nil, err
	}
	asked, err := l.Fulfilments(ctx, name)
	if err != nil {
		return nil, err
	}
	byID := map[string]ledger.Fulfilment{}
	for _, f := range asked {
		byID[f.Operation] = f
	}
	out := classify(&judged, byID, nil, func(*ledger.Fulfilment) bool { return false }, &ap, true, now)
	plan.Hold(&ap, plan.Rules{Limits: limits(&judged, e.trust.settings), Shrunken: toBe.Shrunken, Enforce: true,
		Outside: out.holds, Unable: r.unable(&judged, e.trust.settings, lv.description)})
	// What the base alone would need is not this change's doing.
	base := map[string]bool{}
	for _, op := range asIs.Plan.Operations {
		base[op.ID] = true
	}
	start := plan.NewGraph(name, lv.description, lv.whole)
	for i := range asIs.Plan.Operations {
		start.Apply(&asIs.Plan.Operations[i])
	}
	end := plan.NewGraph(name, lv.description, lv.whole)
	for i := range toBe.Plan.Operations {
		end.Apply(&toBe.Plan.Operations[i])
	}
	own, other := []schemas.Operation{}, []schemas.Operation{}
	for _, op := range ap.Operations {
		if base[op.ID] {
			other = append(other, op)
		} else {
			own = append(own, op)
		}
	}
	gained, lost := plan.Effects(own, start, end)
	ap.Operations = own
	p.Gained, p.Lost = append(p.Gained, gained...), append(p.Lost, lost...)
	if len(other) > 0 {
		p.Drift = append(p.Drift, schemas.ApplicationPlan{Application: name, Connector: ap.Connector, Mode: ap.Mode, Operations: other})
	}
	p.Already = append(p.Already, e.already(name, own, &ap)...)
	// Findings of the live diff that the change brings are errors: it could not be carried out.
	for _, f := range ap.Findings {
		if e.fileOf(f.Document.Path) == nil || slices.ContainsFunc(p.Errors, func(o schemas.Finding) bool {
			return o.Code == f.Code && o.Document == f.Document && o.Message == f.Message
		}) {
			continue
		}
		p.Errors = append(p.Errors, e.place(f))
	}
	ap.Findings, ap.Unmanaged = nil, nil
	return &ap, nil
}

// already are the change's grants that need no operation.
func (e *examined) already(name string, own []schemas.Operation, ap *schemas.ApplicationPlan) []schemas.Key {
	todo := map[schemas.Key]bool{}
	for i := range own {
		todo[own[i].Key()] = true
	}
	for i := range ap.Pending {
		todo[ap.Pending[i].Key] = true
	}
	wrong := map[schemas.DocumentID]bool{}
	for _, f := range ap.Findings {
		if f.Severity == schemas.SeverityError {
			wrong[f.Document] = true
		}
	}
	var out []schemas.Key
	for _, o := range e.changes[name].Operations {
		if o.Kind == schemas.OperationGrant && !todo[o.Key()] && !slices.ContainsFunc(o.Documents, func(d schemas.DocumentID) bool { return wrong[d] }) {
			out = append(out, o.Key())
		}
	}
	return out
}

// previewJudgement asks policy and says which sign-offs are missing.
func (r *Reconciler) previewJudgement(ctx context.Context, p *schemas.Preview, e *examined, fork string, pull int) error {
	ev, err := r.previewEvidence(ctx, e, fork, p.Head, pull)
	if err != nil {
		return err
	}
	j, err := r.judge(ctx, e, "preview", p.Base, p.Head, ev, p.At)
	if err != nil {
		p.Errors = append(p.Errors, schemas.Finding{Code: "policy", Severity: schemas.SeverityError, Message: err.Error(), Fix: "mend the policy of the base; until then nothing is admitted"})
		p.Decision = &schemas.Decision{APIVersion: schemas.APIVersion, Denials: []schemas.RuleResult{{Code: "policy-error", Msg: err.Error()}}}
		return nil
	}
	p.Decision, p.Evidence, p.Unmet = j.decision, &j.verdict.Evidence, j.verdict.Unmet
	if p.Unmet == nil {
		p.Unmet = []schemas.Requirement{}
	}
	// What no approval can mend is said before anybody approves.
	for _, reason := range j.verdict.Blocking {
		p.Errors = append(p.Errors, schemas.Finding{Code: "sign-off", Severity: schemas.SeverityError, Message: reason})
	}
	return nil
}

// previewEvidence is who made the change so far: the commits between the fork and the head.
func (r *Reconciler) previewEvidence(ctx context.Context, e *examined, fork, head string, pull int) (schemas.Evidence, error) {
	commits, err := r.c.Repository.CommitsBetween(ctx, fork, head)
	if err != nil {
		return schemas.Evidence{}, fmt.Errorf("read the change's commits: %w", err)
	}
	return e.trust.forge.Pending(ctx, signoff.Pending{Head: head, Commits: commits, Digest: e.digest, PullRequest: pull, Directory: e.trust.directory})
}

// liveClosure is the closure of the change's connections over what the requests say and over what is there.
func (e *examined) liveClosure(ctx context.Context, lv *live, name string) (map[schemas.Name]bool, error) {
	var seeds []schemas.Name
	for _, f := range e.files {
		for _, docs := range [][]schemas.Document{f.old, f.new} {
			for _, d := range docs {
				if v, ok := d.Value.(*schemas.Request); ok && v.Application == name {
					seeds = append(seeds, v.Connection.Name())
				}
			}
		}
	}
	if d, ok := e.desired[name]; ok {
		for _, c := range d[1].Connections {
			seeds = append(seeds, c.Name)
		}
	}
	set, err := e.closure(ctx, name, seeds, lv.description)
	if err != nil {
		return nil, err
	}
	names := &plan.Desired{}
	for n := range set {
		names.Connections = append(names.Connections, &plan.Connection{Name: n})
	}
	if err := lv.read(ctx, names); err != nil {
		return nil, err
	}
	// The diff is about the change's connections; who gains what is asked of all that was read.
	lv.whole = lv.state
	lv.state.Connections = slices.DeleteFunc(slices.Clone(lv.state.Connections), func(c connectors.Connection) bool { return !set[c.Name] })
	return set, nil
}

// affectedOrAll are the applications that a run goes over, sorted.
func (t *trust) affectedOrAll(only string) ([]string, error) {
	if only == "" {
		return t.names(), nil
	}
	if t.applications[only] == nil {
		return nil, fmt.Errorf("there is no application %q; the applications are %s", only, strings.Join(t.names(), ", "))
	}
	return []string{only}, nil
}
