package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/history/order"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// The verdicts on a first-parent commit.
const (
	verdictAnchor      = "anchor"
	verdictAdmitted    = "admitted"
	verdictQuarantined = "quarantined"
)

var errFound = errors.New("found")

// advance brings the index to the commit, judging each first-parent commit since the last one judged. A
// verdict that the ledger holds already is taken as it is.
func (r *Reconciler) advance(ctx context.Context, x *order.Index, l *ledger.Ledger, to string) error {
	if x.Head.Tip == to && (r.c.Anchor == "" || x.Head.Anchor == r.c.Anchor) {
		return r.checkRewritten(ctx, x, l, to)
	}
	reset := x.Head.Tip != "" && r.c.Anchor != "" && x.Head.Anchor != r.c.Anchor
	if x.Head.Tip != "" && !reset {
		ancestor, err := r.c.Repository.IsAncestor(ctx, x.Head.Tip, to)
		// A commit that Git no longer has was rewritten away and swept up.
		if err != nil && !errors.Is(err, history.ErrNotFound) {
			return fmt.Errorf("compare %s with %s: %w", short(x.Head.Tip), short(to), err)
		}
		reset = err != nil || !ancestor
	}
	if reset {
		x.Reset()
	}
	if x.Head.Tip == "" {
		if err := r.anchor(ctx, x, to); err != nil {
			return err
		}
	}
	err := r.walk(ctx, x, l, to)
	if errors.Is(err, history.ErrOffLine) {
		// The index's tip is behind another parent of a merge: the first-parent line is another.
		x.Reset()
		if err = r.anchor(ctx, x, to); err == nil {
			err = r.walk(ctx, x, l, to)
		}
	}
	if err != nil {
		return err
	}
	if err := r.checkRewritten(ctx, x, l, to); err != nil {
		return err
	}
	return x.Save(ctx)
}

// checkRewritten stops when the last commit on record is not on the first-parent line of the branch, unless an
// admitted Acknowledgement names it. A merge that has it behind another parent is no better: what was admitted
// would come as the content of one change that nobody has approved.
func (r *Reconciler) checkRewritten(ctx context.Context, x *order.Index, l *ledger.Ledger, to string) error {
	last, ok, err := l.LastAdmission(ctx)
	if err != nil || !ok || last.Commit == to {
		return err
	}
	if _, judged, err := x.Verdict(ctx, last.Commit); err != nil || judged {
		return err
	}
	if r.c.Anchor != "" {
		// What lies before the anchor that the operator named is trusted with it.
		before, err := r.c.Repository.IsAncestor(ctx, last.Commit, x.Head.Anchor)
		if err == nil && before {
			return nil
		}
		if err != nil && !errors.Is(err, history.ErrNotFound) {
			return fmt.Errorf("compare %s with %s: %w", short(last.Commit), short(x.Head.Anchor), err)
		}
	} else if _, known, err := l.Admission(ctx, x.Head.Anchor); err != nil || !known {
		// Another beginning brings its own owners and what they acknowledge along.
		return errors.Join(err, &RewrittenError{Last: last.Commit, Tip: to, Anchor: x.Head.Anchor})
	}
	controls, err := x.Controls(ctx)
	if err != nil {
		return err
	}
	rewritten := &RewrittenError{Last: last.Commit, Tip: to}
	for _, c := range controls {
		if c.Acknowledgement == nil || c.Acknowledgement.RewrittenFrom != last.Commit {
			continue
		}
		if r.c.Anchor != "" {
			return nil
		}
		if rewritten.Rolled, err = r.rolledBack(ctx, x, l, c); err != nil || rewritten.Rolled == "" {
			return err
		}
	}
	return rewritten
}

// rolledBack names a file that the acknowledging change was judged by and that is not the one admitted last: an
// older state of the branch brings owners back who are none any more. "" when there is none.
func (r *Reconciler) rolledBack(ctx context.Context, x *order.Index, l *ledger.Ledger, ack order.Control) (string, error) {
	t, err := r.trust(ctx, x.Layer)
	if err != nil {
		return "", err
	}
	last := map[string]string{}
	err = l.Admissions(ctx, func(a schemas.AdmissionRecord) error {
		if a.Verdict == verdictQuarantined {
			return nil
		}
		for _, f := range a.Changes {
			last[f.Path] = f.After
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("read what was admitted last: %w", err)
	}
	list, err := x.Files(ctx)
	if err != nil {
		return "", err
	}
	files := map[string]*order.File{}
	for _, f := range list {
		files[f.Path] = f
		last[f.Path] += "" // also those that the ledger has not
	}
	for _, p := range slices.Sorted(maps.Keys(last)) {
		switch class, _ := schemas.IsControlFile(p, &t.settings.Spec); class {
		case schemas.ClassSettings, schemas.ClassPeople, schemas.ClassPolicy, schemas.ClassSigners:
		default:
			continue
		}
		f := files[p]
		if f == nil {
			f = &order.File{}
		}
		if f.Admitted != last[p] {
			return p, nil
		}
		v, known, err := x.Verdict(ctx, f.Commit)
		if err != nil {
			return "", err
		}
		if known && v.Sequence > ack.Commit {
			return p, nil // it became so after the acknowledgement
		}
	}
	return "", nil
}

// anchor finds where trust starts, and takes what stands there as it is.
func (r *Reconciler) anchor(ctx context.Context, x *order.Index, to string) error {
	sequence := -1
	var found *history.Commit
	err := r.c.Repository.Walk(ctx, "", to, settingsOnly{}, func(c *history.Commit) error {
		sequence++
		switch {
		case r.c.Anchor != "" && c.Hash != r.c.Anchor:
			return nil
		case r.c.Anchor == "" && (len(c.Changes) == 0 || c.Changes[0].After.Blob == ""):
			return nil
		}
		found = c
		return errFound
	})
	if err != nil && !errors.Is(err, errFound) {
		return fmt.Errorf("look for the trust anchor: %w", err)
	}
	if found == nil && r.c.Anchor != "" {
		return fmt.Errorf("the anchor %s is not on the first-parent line of %s", r.c.Anchor, short(to))
	}
	if found == nil {
		return ErrNoAnchor
	}
	files, err := r.c.Repository.Snapshot(ctx, found.Hash, settingsOnly{})
	if err != nil {
		return err
	}
	if len(files) != 1 || files[0].Mode != regularFile {
		return fmt.Errorf("the anchor %s has no ordinary file %s", short(found.Hash), schemas.SettingsPath)
	}
	content, err := r.c.Repository.Blob(files[0].Blob, schemas.MaxFileBytes)
	if err != nil {
		return fmt.Errorf("read %s: %w", schemas.SettingsPath, err)
	}
	docs, errs := strict.Decode(schemas.SettingsPath, content)
	if err := errs.Err(); err != nil {
		return fmt.Errorf("the settings that trust starts with are wrong: %w", err)
	}
	settings, ok := docs[0].Value.(*schemas.Settings)
	if !ok {
		return fmt.Errorf("%s holds no Settings", schemas.SettingsPath)
	}
	if files, err = r.c.Repository.Snapshot(ctx, found.Hash, filter{&settings.Spec}); err != nil {
		return err
	}
	e := &examined{base: x.Layer, head: x.Fork(), sequence: sequence,
		trust: &trust{settings: settings, applications: map[string]*schemas.Application{}}}
	for _, f := range files {
		if err := r.examineFile(ctx, e, f.Path, f.Entry); err != nil {
			return err
		}
	}
	if len(e.errors) > 0 {
		return fmt.Errorf("the commit %s that trust starts with has errors:\n%w", short(found.Hash), findingsError(e.errors))
	}
	e.digest = contentDigest(e.files)
	if err := r.checkConfiguration(ctx, e); err != nil {
		return err
	}
	if len(e.errors) > 0 {
		return fmt.Errorf("the commit %s that trust starts with has errors:\n%w", short(found.Hash), findingsError(e.errors))
	}
	for _, f := range e.files {
		if err := e.apply(ctx, f, sequence, map[order.ConnectionKey]bool{}); err != nil {
			return err
		}
	}
	record := e.record(found)
	record.Verdict = verdictAnchor
	e.stamp(found.Hash)
	e.head.Merge()
	x.Head = order.Head{Tip: found.Hash, Sequence: sequence, Anchor: found.Hash, Instant: found.CommittedAt.Unix()}
	x.Verdicts = append(x.Verdicts, *record)
	return nil
}

type findingList []schemas.Finding

func findingsError(list []schemas.Finding) error { return findingList(list) }

// Error is one line for each finding.
func (l findingList) Error() string {
	var lines []string
	for _, f := range l {
		line := f.Message
		if f.Position.Path != "" {
			line = fmt.Sprintf("%s:%d:%d: %s", f.Position.Path, max(f.Position.Line, 1), max(f.Position.Column, 1), line)
		}
		if f.Fix != "" {
			line += "; " + f.Fix
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// record is what the ledger keeps of a commit's files and requests, quarantined until it is judged.
func (e *examined) record(c *history.Commit) *schemas.AdmissionRecord {
	r := &schemas.AdmissionRecord{Commit: c.Hash, Parent: c.Parent, Sequence: e.sequence, Verdict: verdictQuarantined, Admits: e.admits}
	for _, f := range e.files {
		r.Changes = append(r.Changes, schemas.FileChange{Path: f.path, Before: f.before, After: f.after})
		for _, d := range f.new {
			if v, ok := d.Value.(*schemas.Request); ok {
				r.Requests = append(r.Requests, schemas.RequestInfo{Document: schemas.DocumentID{Path: f.path, Index: d.Index, Blob: f.after},
					Kind: d.Kind, Metadata: d.Metadata, Application: v.Application, Connection: v.Connection.Name()})
			}
		}
	}
	return r
}

// stamp notes on the files that the change leaves which commit it was.
func (e *examined) stamp(commit string) {
	for _, f := range e.head.Touched() {
		f.Commit = commit
	}
}

// refuse is the record of a commit that makes no sense.
func (e *examined) refuse(c *history.Commit) *schemas.AdmissionRecord {
	r := e.record(c)
	for _, f := range e.errors {
		r.Reasons = append(r.Reasons, findingsError([]schemas.Finding{f}).Error())
	}
	return r
}

type settingsOnly struct{}

func (settingsOnly) Dir(string) bool    { return false }
func (settingsOnly) File(p string) bool { return p == schemas.SettingsPath }

// verdict judges a commit that makes sense, and completes its record.
func (r *Reconciler) verdict(ctx context.Context, e *examined, p *prepared, record *schemas.AdmissionRecord, now time.Time) error {
	c := p.commit
	if p.mergedErr != nil {
		record.Reasons = append(record.Reasons, "its commits could not be told: "+p.mergedErr.Error())
		return nil
	}
	ev, err := e.trust.forge.Evidence(ctx, signoff.Change{Commit: c, Merged: p.merged, Digest: e.digest, Instant: now,
		Directory: e.trust.directory, Range: r.rangeOf(&e.trust.settings.Spec)})
	if err != nil {
		return fmt.Errorf("ask who approved it: %w", err)
	}
	j, err := r.judge(ctx, e, "merge", c.Parent, c.Hash, ev, now)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		// Loud, and closed: what policy could not judge is not admitted.
		r.c.Logger.Error("policy could not be evaluated", "commit", c.Hash, "error", err)
		record.Evidence = &ev
		record.Reasons = append(record.Reasons, err.Error())
		return nil
	}
	record.Evidence, record.Decision, record.Unmet = &j.verdict.Evidence, j.decision, j.verdict.Unmet
	record.Reasons = j.verdict.Reasons
	if record.PlanDigest, err = e.planDigest(); err != nil {
		return err
	}
	if j.verdict.Admitted {
		record.Verdict = verdictAdmitted
	}
	return nil
}

// rangeOf says what several commits of the branch changed together. Unlike a commit's own digest it is taken
// against the tree before them, and so differs from what was previewed where something quarantined lies there.
//
// Where two of them change the same file there is no digest: each of them takes effect by itself, and what the former
// did there is not in what was previewed. An Admission that is added and taken away again would have admitted.
func (r *Reconciler) rangeOf(settings *schemas.SettingsSpec) func(context.Context, string, int) ([]string, string, error) {
	return func(ctx context.Context, last string, n int) ([]string, string, error) {
		commits := make([]string, n)
		before := last
		touched := map[string]bool{}
		for i := n - 1; i >= 0; i-- {
			c, err := r.c.Repository.Commit(before)
			if err != nil {
				return nil, "", err
			}
			if c.Parent == "" {
				return nil, "", fmt.Errorf("%s has fewer than %d commits before it: %w", short(last), n, history.ErrNotFound)
			}
			changes, err := r.c.Repository.Compare(ctx, c.Parent, before, filter{settings})
			if err != nil {
				return nil, "", err
			}
			for _, f := range changes {
				if touched[f.Path] {
					return nil, "", fmt.Errorf("%s is changed by two of the %d commits up to %s: %w", f.Path, n, short(last), history.ErrNotFound)
				}
				touched[f.Path] = true
			}
			commits[i], before = before, c.Parent
		}
		changes, err := r.c.Repository.Compare(ctx, before, last, filter{settings})
		if err != nil {
			return nil, "", err
		}
		var files []*file
		for _, c := range changes {
			files = append(files, &file{path: c.Path, before: c.Before.Blob, after: c.After.Blob})
		}
		return commits, contentDigest(files), nil
	}
}

// freshAdmissions are the verdicts that the ledger has not yet, in order. They are put on record, except in a
// dry run.
func (r *Reconciler) freshAdmissions(ctx context.Context, x *order.Index, l *ledger.Ledger, record bool) ([]schemas.AdmissionRecord, error) {
	from := 0
	if last, ok, err := l.LastAdmission(ctx); err != nil {
		return nil, err
	} else if ok {
		if seen, _, err := x.Verdict(ctx, last.Commit); err != nil {
			return nil, err
		} else if seen.Commit == last.Commit {
			from = seen.Sequence + 1
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
	return fresh, nil
}
