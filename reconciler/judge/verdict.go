package judge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// Judgement is the verdict on an examined change.
type Judgement struct {
	Verdict  signoff.Verdict
	Decision *schemas.Decision
	// PolicyError is set if policy could not be evaluated, which denies the change.
	PolicyError error
}

// judge asks policy which sign-offs the change needs and checks the evidence against them.
func (j *Judge) judge(ctx context.Context, e *Examination, phase, baseCommit, headCommit string, ev schemas.Evidence, live Live, now time.Time) (*Judgement, error) {
	people, unknown := e.beneficiaries()
	people, _ = e.gainers(live, people)
	ev.ContentDigest = e.Digest
	ev.Beneficiaries = people
	signoffs := signoff.Independent(ev, e.trust.Directory, people)
	holders := e.holders
	if holders == nil {
		var err error
		if holders, err = j.holders(ctx, e, live, now); err != nil {
			return nil, err
		}
	}
	evaluate := e.trust.engine.Evaluate
	if e.onlyPolicy() {
		// No rule of the repository decides about the rules of the repository, or a bad one could never be taken back.
		evaluate = e.trust.engine.EvaluateLibrary
	}
	decision, err := evaluate(ctx, e.input(phase, baseCommit, headCommit, ev, signoffs, people, holders, live, now))
	if err != nil {
		return nil, fmt.Errorf("could not evaluate policy, which denies the change: %w", err)
	}
	decision.Required = append(decision.Required, e.second(live)...)
	v := signoff.Judge(signoff.JudgeInput{
		Evidence: ev, Required: decision.Required, Beneficiaries: people, UnknownBeneficiaries: unknown, Directory: e.trust.Directory, Owners: e.owners(), Now: now,
	})
	for _, d := range decision.Denials {
		v.Admitted = false
		v.Reasons = append(v.Reasons, strings.TrimSpace(fmt.Sprintf("%s denies: %s %s", d.Code, d.Msg, at(d))))
	}
	return &Judgement{Verdict: v, Decision: &decision}, nil
}

// onlyPolicy reports whether the change is about files of the policy folder and nothing else.
func (e *Examination) onlyPolicy() bool {
	return len(e.files) > 0 && !slices.ContainsFunc(e.files, func(f *file) bool { return f.class != schemas.ClassPolicy })
}

// owners returns the owners, in the base, of the applications that the change touches.
func (e *Examination) owners() map[string][]string {
	out := map[string][]string{}
	for name, app := range e.trust.Applications {
		out[name] = app.Spec.Owners
	}
	return out
}

func at(d schemas.RuleResult) string {
	switch {
	case d.Path == "":
		return ""
	case d.Line == 0:
		return "(" + d.Path + ")"
	}
	return fmt.Sprintf("(%s:%d)", d.Path, d.Line)
}

// record returns the ledger's record of a commit's files and requests, with the verdict quarantined until it is judged.
func (e *Examination) record(c *history.Commit) *schemas.AdmissionRecord {
	r := &schemas.AdmissionRecord{Commit: c.Hash, Parent: c.Parent, Sequence: e.sequence, Verdict: VerdictQuarantined, Admits: e.admits}
	for _, f := range e.files {
		r.Changes = append(r.Changes, schemas.FileChange{Path: f.path, Before: f.before, After: f.after})
		for _, d := range f.new {
			if v, ok := d.Value.(*schemas.Request); ok {
				r.Requests = append(r.Requests, schemas.RequestInfo{Document: schemas.DocumentID{Path: f.path, Index: d.Index, Blob: f.after},
					Kind: d.Kind, Metadata: d.Metadata, Application: v.Application, Connection: v.Connection.Name()})
			}
			if v, ok := d.Value.(*schemas.AcknowledgementSpec); ok && v.Exception != nil {
				r.Accepts = append(r.Accepts, schemas.AcceptedException{Exception: v.Exception.ID, Owner: v.Exception.Owner, Reason: d.Metadata.Reason, Path: f.path})
			}
		}
	}
	return r
}

// stamp sets the commit of the files that the change writes.
func (e *Examination) stamp(commit string) {
	for _, f := range e.head.Touched() {
		f.Commit = commit
	}
}

// refuse returns the record of a commit with errors.
func (e *Examination) refuse(c *history.Commit) *schemas.AdmissionRecord {
	r := e.record(c)
	for _, f := range e.Errors {
		r.Reasons = append(r.Reasons, findingsError([]schemas.Finding{f}).Error())
	}
	return r
}

// verdict judges a commit without errors and completes its record.
func (j *Judge) verdict(ctx context.Context, e *Examination, p *prepared, record *schemas.AdmissionRecord, now time.Time) error {
	c := p.commit
	if p.mergedErr != nil && !errors.Is(p.mergedErr, history.ErrOdd) && !errors.Is(p.mergedErr, history.ErrTooMany) {
		// Not a fact about the commit, so not a verdict: the next run reads again.
		return fmt.Errorf("read its commits: %w", p.mergedErr)
	}
	if p.mergedErr != nil {
		record.Reasons = append(record.Reasons, "could not read its commits: "+p.mergedErr.Error())
		return nil
	}
	if e.trust.unread != nil {
		return e.trust.unread
	}
	change := j.change(e.trust, p, e.Digest)
	change.Instant, change.Clone = now, j.clone(&e.trust.Settings.Spec, c.Parent, e.changes, e.Digest)
	ev, err := e.trust.forge.Evidence(ctx, change)
	if err == nil {
		err = j.addWriters(ctx, e, c.Parent, &ev)
	}
	if err != nil {
		return fmt.Errorf("read its approvals: %w", err)
	}
	judgement, err := j.judge(ctx, e, "merge", c.Parent, c.Hash, ev, nil, now)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if passing(err) {
		return &UnjudgedError{Commit: c.Hash, Err: err}
	}
	if err != nil {
		// Fail closed: a change that policy could not judge is not admitted.
		j.config.Logger.Error("could not evaluate policy", "commit", c.Hash, "error", err)
		record.Evidence = &ev
		record.Reasons = append(record.Reasons, err.Error())
		return nil
	}
	messages := []string{c.Message}
	for _, m := range p.merged {
		messages = append(messages, m.Message)
	}
	rationale := history.Rationale(messages...)
	record.Rationale = &rationale
	judgement.Verdict.Evidence.Persons = persons(&judgement.Verdict.Evidence, e.trust.Directory)
	record.Evidence, record.Decision, record.Unmet = &judgement.Verdict.Evidence, judgement.Decision, judgement.Verdict.Unmet
	record.Reasons = judgement.Verdict.Reasons
	for _, reason := range e.invalid() {
		judgement.Verdict.Admitted = false
		record.Reasons = append(record.Reasons, reason)
	}
	if record.PlanDigest, err = e.planDigest(); err != nil {
		return err
	}
	if judgement.Verdict.Admitted {
		record.Verdict = VerdictAdmitted
	}
	return nil
}

// invalid explains why the preview calls the change's own documents invalid. Such a change is not admitted, with any
// sign-off: policy has not seen its operations. A duplicate of a request that was merged meanwhile does no harm.
func (e *Examination) invalid() []string {
	var out []string
	for _, f := range e.Findings {
		if f.Severity == schemas.SeverityError && f.Code != plan.CodeTwice && e.fileOf(f.Document.Path) != nil {
			out = append(out, findingsError([]schemas.Finding{f}).Error())
		}
	}
	return out
}

// persons lists the people behind names in the evidence that are not a person's first, sorted.
func persons(ev *schemas.Evidence, d *signoff.Directory) []schemas.PersonName {
	names := slices.Concat(ev.Authors, ev.Beneficiaries)
	for i := range ev.Approvals {
		names = append(names, ev.Approvals[i].Person)
	}
	slices.Sort(names)
	var out []schemas.PersonName
	for _, n := range slices.Compact(names) {
		if id := d.Canonical(n); id != "" && id != n {
			out = append(out, schemas.PersonName{Name: n, Person: id})
		}
	}
	return out
}

// rangeOf returns the combined change of several commits of the branch. Unlike the digest of one commit, the digest is
// taken against the tree before them, so it differs from the preview if that tree contains quarantined content.
//
// If two of them change the same file, there is an error instead of a digest: each commit takes effect on its own, and
// the preview does not show the first one's change. An Admission that is added and then removed would have admitted.
func (j *Judge) rangeOf(settings *schemas.SettingsSpec) func(context.Context, string, int) (signoff.Landing, error) {
	return func(ctx context.Context, last string, n int) (signoff.Landing, error) {
		none := signoff.Landing{}
		commits := make([]string, n)
		before := last
		touched := map[string]bool{}
		for i := n - 1; i >= 0; i-- {
			c, err := j.config.Repository.Commit(before)
			if errors.Is(err, history.ErrOdd) {
				return none, fmt.Errorf("%w: %w", err, history.ErrNotFound)
			}
			if err != nil {
				return none, err
			}
			if c.Parent == "" {
				return none, fmt.Errorf("%s has fewer than %d commits before it: %w", short(last), n, history.ErrNotFound)
			}
			changes, err := j.config.Repository.Compare(ctx, c.Parent, before, ControlFiles{settings})
			if errors.Is(err, history.ErrOdd) {
				return none, fmt.Errorf("%w: %w", err, history.ErrNotFound)
			}
			if err != nil {
				return none, err
			}
			for _, f := range changes {
				if touched[f.Path] {
					return none, fmt.Errorf("%s is changed by two of the %d commits up to %s: %w", f.Path, n, short(last), history.ErrNotFound)
				}
				touched[f.Path] = true
			}
			commits[i], before = before, c.Parent
		}
		changes, err := j.config.Repository.Compare(ctx, before, last, ControlFiles{settings})
		if err != nil {
			return none, err
		}
		var files []*file
		for _, c := range changes {
			files = append(files, &file{path: c.Path, before: c.Before.Blob, after: c.After.Blob})
		}
		digest := contentDigest(files)
		return signoff.Landing{Commits: commits, Digest: digest, Clone: j.clone(settings, before, changes, digest)}, nil
	}
}

// RecordVerdicts returns the verdicts that are not in the ledger yet, in order, and records them if record is true.
func (j *Judge) RecordVerdicts(ctx context.Context, x *index.Index, l *ledger.Ledger, record bool) ([]schemas.AdmissionRecord, error) {
	from := 0
	if last, ok, err := l.LastAdmission(ctx); err != nil {
		return nil, err
	} else if ok {
		if seen, _, err := x.Verdict(ctx, last.Commit); err != nil {
			return nil, err
		} else if seen.Commit == last.Commit {
			// A commit whose judgement had to wait may be older than the last one on record.
			from = min(seen.Sequence+1, x.Head.Recorded)
		}
	}
	var fresh []schemas.AdmissionRecord
	var batch []schemas.Record
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		_, err := l.Append(ctx, batch...)
		batch = batch[:0]
		return err
	}
	err := x.EachVerdict(ctx, from, func(v schemas.AdmissionRecord) error {
		if _, known, err := l.Admission(ctx, v.Commit); err != nil || known {
			return err
		}
		fresh = append(fresh, v)
		if !record {
			return nil
		}
		batch = append(batch, schemas.Record{Type: schemas.RecordAdmission, Admission: &v})
		if len(batch) < 500 {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return nil, fmt.Errorf("record the verdicts: %w", err)
	}
	if record && !x.Held() {
		x.Head.Recorded = x.Head.Sequence + 1
	}
	return fresh, nil
}

// planDigest returns the digest of the change's operations, without regard to live state.
func (e *Examination) planDigest() (string, error) {
	var plans []schemas.ApplicationPlan
	for _, app := range e.Affected {
		plans = append(plans, schemas.ApplicationPlan{Application: app, Operations: e.Changes[app].Operations})
	}
	return plan.Digest(plans)
}
