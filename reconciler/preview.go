package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/judge"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/reconciler/run"
	"github.com/countersign/countersign/schemas"
)

// PreviewOptions configures a preview.
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

// Preview shows what a change would do, the policy's decision and who must still approve. It reads the live
// applications as configured in the base, and writes nothing but the order index.
func (r *Reconciler) Preview(ctx context.Context, o PreviewOptions) (_ *schemas.Preview, err error) {
	if err := r.judge.Refresh(); err != nil {
		return nil, err
	}
	baseCommit, err := r.config.Repository.Resolve(o.Base)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	head, err := r.config.Repository.Resolve(o.Head)
	if err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	b, err := r.open(ctx, baseCommit, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	p := &schemas.Preview{APIVersion: schemas.APIVersion, Kind: "Preview", Base: b.tip, Head: head, At: r.now(),
		Errors: []schemas.Finding{}, Gained: []schemas.Access{}, Lost: []schemas.Access{}, Unmet: []schemas.Requirement{},
		Plan: schemas.Plan{APIVersion: schemas.APIVersion, Applications: []schemas.ApplicationPlan{}}}
	if p.Quarantined, err = b.admitted.Quarantined(ctx); err != nil {
		return nil, err
	}
	change, err := r.judge.Propose(ctx, b.admitted, b.tip, head, p.At)
	if err != nil {
		return nil, err
	}
	p.Files, p.ContentDigest = change.Files(), change.Digest
	p.Errors = append(append(p.Errors, change.Errors...), change.Conflicts...)
	if len(p.Files) == 0 {
		p.Verdict = schemas.VerdictNothing
		return p, nil
	}
	if len(change.Errors) > 0 {
		p.Verdict = schemas.VerdictInvalid
		return p, nil
	}
	p.Errors = append(p.Errors, change.Findings...)
	live := judge.Live{}
	incomplete, err := r.previewLive(ctx, p, b, change, live, o)
	if err != nil {
		return nil, err
	}
	if err := r.previewJudgement(ctx, p, change, live, o.PullRequest); err != nil {
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
	return clean(r, p), nil
}

// previewLive compares the change with the live applications, and adds to live what it gives there beyond what documents
// show. It reports whether something could not be read.
func (r *Reconciler) previewLive(ctx context.Context, p *schemas.Preview, b *base, change *judge.Examination, live judge.Live, o PreviewOptions) (incomplete bool, err error) {
	for i, name := range change.Affected {
		if o.Application != "" && o.Application != name {
			continue
		}
		if b.admitted.Trust.Applications[name] == nil || o.Blind {
			// An application that the change itself adds is never opened: the change could point it anywhere.
			if after := change.After[name]; after != nil {
				operations, gained := atOnce(change.Changes[name])
				p.Plan.Applications = append(p.Plan.Applications, schemas.ApplicationPlan{Application: name, Connector: after.Spec.Connector,
					Mode: after.Spec.Mode, Operations: operations})
				p.Terms = append(p.Terms, change.Changes[name].Terms...)
				p.Gained = append(p.Gained, gained...)
				p.Lost = append(p.Lost, change.Changes[name].Lost...)
			}
			continue
		}
		r.config.Progress("read "+name, i, len(change.Affected))
		ap, err := r.previewApplication(ctx, p, b, change, live, name)
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

// previewApplication adds the change's effect on an application's live state to the preview.
func (r *Reconciler) previewApplication(ctx context.Context, p *schemas.Preview, b *base, change *judge.Examination, live judge.Live, name string) (*schemas.ApplicationPlan, error) {
	app := b.admitted.Trust.Applications[name]
	// The change's version of the application counts, but the base decides where it connects.
	judged := *change.After[name]
	judged.Spec.Connector, judged.Spec.Config = app.Spec.Connector, app.Spec.Config
	f, err := r.runner.Preview(ctx, change, b.runs(nil), app, &judged, p.At)
	var broken *run.LedgerError
	if errors.As(err, &broken) {
		return nil, err
	}
	if err != nil {
		p.Terms = append(p.Terms, change.Changes[name].Terms...)
		operations, _ := atOnce(change.Changes[name])
		return &schemas.ApplicationPlan{Application: name, Connector: app.Spec.Connector, Mode: app.Spec.Mode,
			Operations: operations, Incomplete: err.Error()}, nil
	}
	p.Gained, p.Lost = append(p.Gained, f.Gained...), append(p.Lost, f.Lost...)
	live[name] = liveEffect(f)
	if len(f.Drift) > 0 {
		p.Drift = append(p.Drift, schemas.ApplicationPlan{Application: name, Connector: f.Plan.Connector, Mode: f.Plan.Mode, Operations: f.Drift})
	}
	terms := carriedOut(change.Changes[name].Terms, &f.Plan)
	p.Terms = append(p.Terms, terms...)
	p.Already = append(p.Already, alreadyThere(change.Changes[name].Operations, &f.Plan, terms)...)
	// Findings of the live diff that the change brings are errors: it could not be carried out.
	for _, found := range f.Plan.Findings {
		if !change.Touches(found.Document.Path) || slices.ContainsFunc(p.Errors, func(o schemas.Finding) bool {
			return o.Code == found.Code && o.Document == found.Document && o.Message == found.Message
		}) {
			continue
		}
		p.Errors = append(p.Errors, change.Place(found))
	}
	f.Plan.Findings, f.Plan.Unmanaged = nil, nil
	return &f.Plan, nil
}

// liveEffect is what a change gives in a live application, in the terms of the judgement.
func liveEffect(f *run.Foreseen) judge.LiveEffect {
	out := judge.LiveEffect{Gained: map[string][]schemas.Name{}, Privileged: f.Privileged, Left: f.ByLive.Left, Holdings: map[schemas.Name][]schemas.Name{}}
	out.MemberOf = func(id schemas.Name) (held []schemas.Name) {
		for _, a := range f.ByLive.After.AccessOf(id) {
			if a.Privilege == schemas.PrivilegeMember {
				held = append(held, a.Target)
			}
		}
		return held
	}
	hold := func(id schemas.Name) {
		if _, done := out.Holdings[id]; !done {
			out.Holdings[id] = out.MemberOf(id)
		}
	}
	for id, g := range f.ByLive.Of {
		out.Gained[id] = g.Identities
		for _, n := range g.Identities {
			hold(n)
		}
	}
	for _, a := range f.Gained {
		hold(a.Identity)
	}
	return out
}

// atOnce leaves out of a change, live state apart, the grants that its terms list, and what only they give.
func atOnce(c plan.Change) (operations []schemas.Operation, gained []schemas.Access) {
	if len(c.Terms) == 0 {
		return c.Operations, c.Gained
	}
	type right struct {
		identity, target schemas.Name
		privilege        string
	}
	of := func(a schemas.Access) right { return right{a.Identity, a.Target, a.Privilege} }
	listed, later, now := map[schemas.Key]bool{}, map[right]bool{}, map[right]bool{}
	for i := range c.Terms {
		listed[c.Terms[i].Key] = true
		for _, a := range c.Terms[i].Gained {
			later[of(a)] = true
		}
	}
	for i := range c.Operations {
		if o := &c.Operations[i]; o.Kind != schemas.OperationGrant || !listed[o.Key()] {
			operations = append(operations, *o)
			for _, a := range o.Gained {
				now[of(a)] = true
			}
		}
	}
	return operations, slices.DeleteFunc(slices.Clone(c.Gained), func(a schemas.Access) bool { return later[of(a)] && !now[of(a)] })
}

// carriedOut leaves out the terms of requests that can't be carried out.
func carriedOut(terms []schemas.TermChange, live *schemas.ApplicationPlan) []schemas.TermChange {
	wrong := impossible(live)
	return slices.DeleteFunc(slices.Clone(terms), func(t schemas.TermChange) bool {
		return len(t.Documents) > 0 && !slices.ContainsFunc(t.Documents, func(d schemas.DocumentID) bool { return !wrong[d] })
	})
}

// impossible are the documents that can't be carried out.
func impossible(live *schemas.ApplicationPlan) map[schemas.DocumentID]bool {
	wrong := map[schemas.DocumentID]bool{}
	for _, f := range live.Findings {
		if f.Severity == schemas.SeverityError {
			wrong[f.Document] = true
		}
	}
	return wrong
}

// alreadyThere are the change's grants that need no operation in the live plan, and that begin and end as before.
func alreadyThere(operations []schemas.Operation, live *schemas.ApplicationPlan, terms []schemas.TermChange) []schemas.Key {
	todo := map[schemas.Key]bool{}
	for i := range live.Operations {
		todo[live.Operations[i].Key()] = true
	}
	for i := range live.Pending {
		todo[live.Pending[i].Key] = true
	}
	for i := range terms {
		todo[terms[i].Key] = true
	}
	wrong := impossible(live)
	var out []schemas.Key
	for _, o := range operations {
		if o.Kind == schemas.OperationGrant && !todo[o.Key()] && !slices.ContainsFunc(o.Documents, func(d schemas.DocumentID) bool { return wrong[d] }) {
			out = append(out, o.Key())
		}
	}
	return out
}

// previewJudgement evaluates the policy and finds the sign-offs that are missing.
func (r *Reconciler) previewJudgement(ctx context.Context, p *schemas.Preview, change *judge.Examination, live judge.Live, pullRequest int) error {
	j, err := r.judge.JudgeProposal(ctx, change, p.Base, p.Head, pullRequest, live, p.At)
	if err != nil {
		return err
	}
	if err := j.PolicyError; err != nil {
		p.Errors = append(p.Errors, schemas.Finding{Code: "policy", Severity: schemas.SeverityError, Message: err.Error(), Fix: "fix the policy of the base; until then nothing is admitted"})
		p.Decision = &schemas.Decision{APIVersion: schemas.APIVersion, Denials: []schemas.RuleResult{{Code: "policy-error", Msg: err.Error()}}}
		return nil
	}
	p.Decision, p.Evidence, p.Unmet = j.Decision, &j.Verdict.Evidence, j.Verdict.Unmet
	if p.Unmet == nil {
		p.Unmet = []schemas.Requirement{}
	}
	// Problems that no approval can fix are shown before anybody approves.
	for _, reason := range j.Verdict.Blocking {
		p.Errors = append(p.Errors, schemas.Finding{Code: "sign-off", Severity: schemas.SeverityError, Message: reason})
	}
	return nil
}

// DefaultControlFiles lets the control files through that are in the default folders.
func DefaultControlFiles() history.Filter {
	s := &schemas.SettingsSpec{}
	s.SetDefaults()
	return judge.ControlFiles{Settings: s}
}
