package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/history/order"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
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
		if err := x.Reset(ctx); err != nil {
			return err
		}
	}
	if x.Head.Tip == "" {
		if err := r.anchor(ctx, x, to); err != nil {
			return err
		}
	}
	if err := r.walk(ctx, x, l, to); err != nil {
		return err
	}
	if err := r.checkRewritten(ctx, x, l, to); err != nil {
		return err
	}
	return x.Save(ctx)
}

// checkRewritten stops when the last commit on record is no ancestor of the branch, unless an admitted
// Acknowledgement names it.
func (r *Reconciler) checkRewritten(ctx context.Context, x *order.Index, l *ledger.Ledger, to string) error {
	last, ok, err := l.LastAdmission(ctx)
	if err != nil || !ok || last.Commit == to {
		return err
	}
	ancestor, err := r.c.Repository.IsAncestor(ctx, last.Commit, to)
	if err == nil && ancestor {
		return nil
	}
	if err != nil && !errors.Is(err, history.ErrNotFound) {
		return fmt.Errorf("compare %s with %s: %w", short(last.Commit), short(to), err)
	}
	controls, err := x.Controls(ctx)
	if err != nil {
		return err
	}
	for _, c := range controls {
		if c.Acknowledgement != nil && c.Acknowledgement.RewrittenFrom == last.Commit {
			return nil
		}
	}
	return &RewrittenError{Last: last.Commit, Tip: to}
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
	docs, errs := schemas.Decode(schemas.SettingsPath, content)
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
	record := schemas.AdmissionRecord{Commit: found.Hash, Parent: found.Parent, Sequence: sequence, Verdict: verdictAnchor}
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
	record.Changes, record.Requests = e.record(found.Hash)
	e.head.Merge()
	x.Head = order.Head{Tip: found.Hash, Sequence: sequence, Anchor: found.Hash, Instant: found.CommittedAt.Unix()}
	x.Verdicts = append(x.Verdicts, record)
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

// record is what the ledger keeps of a change's files and requests.
func (e *examined) record(commit string) (changes []schemas.FileChange, requests []schemas.RequestInfo) {
	for _, f := range e.files {
		changes = append(changes, schemas.FileChange{Path: f.path, Before: f.before, After: f.after})
		for _, d := range f.new {
			if v, ok := d.Value.(*schemas.Request); ok {
				requests = append(requests, schemas.RequestInfo{Document: schemas.DocumentID{Path: f.path, Index: d.Index, Blob: f.after},
					Kind: d.Kind, Metadata: d.Metadata, Application: v.Application, Connection: v.Connection.Name()})
			}
		}
	}
	for _, f := range e.head.Touched() {
		f.Commit = commit
	}
	return changes, requests
}

type settingsOnly struct{}

func (settingsOnly) Dir(string) bool    { return false }
func (settingsOnly) File(p string) bool { return p == schemas.SettingsPath }

// walk judges the commits after the index's tip.
func (r *Reconciler) walk(ctx context.Context, x *order.Index, l *ledger.Ledger, to string) error {
	if x.Head.Tip == to {
		return nil
	}
	t, err := r.trust(ctx, x.Layer)
	if err != nil {
		return err
	}
	dynamic := &filter{&t.settings.Spec}
	done := 0
	err = r.c.Repository.Walk(ctx, x.Head.Tip, to, dynamic, func(c *history.Commit) error {
		x.Head.Tip, x.Head.Sequence = c.Hash, x.Head.Sequence+1
		// The pusher chooses commit dates: never before what came before, never ahead of the clock.
		instant := min(max(x.Head.Instant, c.CommittedAt.Unix()), r.now().Unix())
		x.Head.Instant = instant
		if done++; done%100 == 0 {
			r.c.Progress("judge merges", done, 0)
		}
		if len(c.Changes) == 0 {
			return nil
		}
		reconfigured, err := r.judgeCommit(ctx, x, l, t, c, time.Unix(instant, 0).UTC())
		if err != nil {
			return fmt.Errorf("commit %s: %w", short(c.Hash), err)
		}
		if !reconfigured {
			return nil
		}
		// The next commit is judged by what this one left.
		if t, err = r.trust(ctx, x.Layer); err != nil {
			return err
		}
		dynamic.settings = &t.settings.Spec
		return nil
	})
	if err != nil {
		return fmt.Errorf("judge the merges: %w", err)
	}
	return nil
}

// judgeCommit admits a commit or quarantines it, and says whether it changed what later ones are judged by.
func (r *Reconciler) judgeCommit(ctx context.Context, x *order.Index, l *ledger.Ledger, t *trust, c *history.Commit, now time.Time) (reconfigured bool, err error) {
	e, err := r.examine(ctx, x.Layer, t, c.Changes, x.Head.Sequence, now)
	if err != nil {
		return false, err
	}
	for _, f := range e.restored {
		x.SetFile(f)
	}
	if len(e.files) == 0 {
		return false, nil
	}
	record, known, err := l.Admission(ctx, c.Hash)
	if err != nil {
		return false, err
	}
	if !known {
		if record, err = r.verdict(ctx, e, c, now); err != nil {
			return false, err
		}
	}
	x.Verdicts = append(x.Verdicts, *record)
	if record.Verdict != verdictQuarantined && len(e.errors) == 0 {
		for _, f := range e.head.Touched() {
			f.Commit = c.Hash
		}
		e.head.Merge()
		return slices.ContainsFunc(e.files, func(f *file) bool { return f.class != schemas.ClassRequest }), nil
	}
	// Quarantined: the branch has it, and it has no effect.
	for _, f := range e.files {
		q := &order.File{Path: f.path, Class: string(f.class)}
		if f.was != nil {
			*q = *f.was
		}
		q.Raw, q.Quarantine, q.Reasons = f.after, c.Hash, record.Reasons
		x.SetFile(q)
	}
	return false, nil
}

func (r *Reconciler) verdict(ctx context.Context, e *examined, c *history.Commit, now time.Time) (*schemas.AdmissionRecord, error) {
	record := &schemas.AdmissionRecord{Commit: c.Hash, Parent: c.Parent, Sequence: e.sequence, Verdict: verdictQuarantined, Admits: e.admits}
	record.Changes, record.Requests = e.record(c.Hash)
	if len(e.errors) > 0 {
		for _, f := range e.errors {
			record.Reasons = append(record.Reasons, findingsError([]schemas.Finding{f}).Error())
		}
		return record, nil
	}
	merged, err := r.c.Repository.MergedCommits(ctx, c)
	if err != nil {
		record.Reasons = append(record.Reasons, "its commits could not be told: "+err.Error())
		return record, nil
	}
	ev, err := e.trust.forge.Evidence(ctx, signoff.Change{Commit: c, Merged: merged, Digest: e.digest, Instant: now})
	if err != nil {
		return nil, fmt.Errorf("ask who approved it: %w", err)
	}
	j, err := r.judge(ctx, e, "merge", c.Parent, c.Hash, ev, now)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		// Loud, and closed: what policy could not judge is not admitted.
		r.c.Logger.Error("policy could not be evaluated", "commit", c.Hash, "error", err)
		record.Evidence = &ev
		record.Reasons = append(record.Reasons, err.Error())
		return record, nil
	}
	record.Evidence, record.Decision, record.Unmet = &j.verdict.Evidence, j.decision, j.verdict.Unmet
	record.Reasons = j.verdict.Reasons
	if record.PlanDigest, err = e.planDigest(); err != nil {
		return nil, err
	}
	if j.verdict.Admitted {
		record.Verdict = verdictAdmitted
	}
	return record, nil
}

// recordAdmissions puts the verdicts that the ledger has not yet into it, in order.
func (r *Reconciler) recordAdmissions(ctx context.Context, x *order.Index, l *ledger.Ledger) ([]schemas.AdmissionRecord, error) {
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
