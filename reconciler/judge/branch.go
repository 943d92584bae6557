package judge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/index"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// The verdicts on a first-parent commit.
const (
	VerdictAnchor      = "anchor"
	VerdictAdmitted    = "admitted"
	VerdictQuarantined = "quarantined"
)

var errFound = errors.New("found")

// advance brings the index to the commit, judging each first-parent commit since the last one judged. Verdicts
// that the ledger already contains are not made again.
func (j *Judge) advance(ctx context.Context, x *index.Index, l *ledger.Ledger, to string) error {
	if x.Head.Tip == to && (j.config.Anchor == "" || x.Head.Anchor == j.config.Anchor) {
		if err := j.authenticate(ctx, l, x.Head.Anchor); err != nil {
			return err
		}
		return j.checkRewritten(ctx, x, l, to)
	}
	reset := x.Head.Tip != "" && j.config.Anchor != "" && x.Head.Anchor != j.config.Anchor
	if x.Head.Tip != "" && !reset {
		ancestor, err := j.config.Repository.IsAncestor(ctx, x.Head.Tip, to)
		// A commit that Git no longer has was rewritten and garbage-collected.
		if err != nil && !errors.Is(err, history.ErrNotFound) {
			return fmt.Errorf("compare %s with %s: %w", short(x.Head.Tip), short(to), err)
		}
		reset = err != nil || !ancestor
	}
	if reset {
		x.Reset()
	}
	if x.Head.Tip == "" {
		if err := j.anchor(ctx, x, to); err != nil {
			return err
		}
	}
	if err := j.authenticate(ctx, l, x.Head.Anchor); err != nil {
		return err
	}
	err := j.walk(ctx, x, l, to)
	if errors.Is(err, history.ErrOffLine) {
		// The index's tip is reachable only through another parent of a merge: the first-parent line has changed.
		x.Reset()
		if err = j.anchor(ctx, x, to); err == nil {
			err = j.authenticate(ctx, l, x.Head.Anchor)
		}
		if err == nil {
			err = j.walk(ctx, x, l, to)
		}
	}
	if err != nil {
		return err
	}
	if err := j.checkRewritten(ctx, x, l, to); err != nil {
		return err
	}
	return x.Save(ctx)
}

// checkRewritten fails when the last commit on record is not on the first-parent line of the branch, unless an
// admitted Acknowledgement names it. A merge that reaches it through another parent fails as well: everything
// admitted so far would arrive as one change that no one has approved.
func (j *Judge) checkRewritten(ctx context.Context, x *index.Index, l *ledger.Ledger, to string) error {
	last, ok, err := l.LastAdmission(ctx)
	if err != nil || !ok || last.Commit == to {
		return err
	}
	if _, judged, err := x.Verdict(ctx, last.Commit); err != nil || judged {
		return err
	}
	if j.config.Anchor != "" {
		// The operator who names an anchor also trusts everything before it.
		before, err := j.config.Repository.IsAncestor(ctx, last.Commit, x.Head.Anchor)
		if err == nil && before {
			return nil
		}
		if err != nil && !errors.Is(err, history.ErrNotFound) {
			return fmt.Errorf("compare %s with %s: %w", short(last.Commit), short(x.Head.Anchor), err)
		}
	} else if _, known, err := l.Admission(ctx, x.Head.Anchor); err != nil || !known {
		// A different beginning brings its own owners, who could acknowledge anything.
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
		if j.config.Anchor != "" {
			return nil
		}
		if rewritten.Rolled, err = j.rolledBack(ctx, x, l, c); err != nil || rewritten.Rolled == "" {
			return err
		}
	}
	return rewritten
}

// rolledBack returns a file that the acknowledging change was judged by and that differs from the version admitted
// last, or "". An older state of the branch could bring back former owners.
func (j *Judge) rolledBack(ctx context.Context, x *index.Index, l *ledger.Ledger, ack index.Control) (string, error) {
	t, err := j.readTrust(ctx, x.Layer)
	if err != nil {
		return "", err
	}
	last := map[string]string{}
	err = l.Admissions(ctx, func(a schemas.AdmissionRecord) error {
		if a.Verdict == VerdictQuarantined {
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
	files := map[string]*index.File{}
	for _, f := range list {
		files[f.Path] = f
		last[f.Path] += "" // include files that the ledger does not have
	}
	for _, p := range slices.Sorted(maps.Keys(last)) {
		switch class, _ := schemas.IsControlFile(p, &t.Settings.Spec); class {
		case schemas.ClassSettings, schemas.ClassPeople, schemas.ClassPolicy, schemas.ClassSigners:
		default:
			continue
		}
		f := files[p]
		if f == nil {
			f = &index.File{}
		}
		if f.Admitted != last[p] {
			return p, nil
		}
		v, known, err := x.Verdict(ctx, f.Commit)
		if err != nil {
			return "", err
		}
		if known && v.Sequence > ack.Commit {
			return p, nil // restored only after the acknowledgement
		}
	}
	return "", nil
}

// anchor finds the commit where trust starts, and admits its content.
func (j *Judge) anchor(ctx context.Context, x *index.Index, to string) error {
	sequence := -1
	var found *history.Commit
	err := j.config.Repository.Walk(ctx, "", to, settingsOnly{}, func(c *history.Commit) error {
		sequence++
		switch {
		case j.config.Anchor != "" && c.Hash != j.config.Anchor:
			return nil
		case j.config.Anchor == "" && c.Odd != nil:
			return nil // trust does not start at what can't be read
		case j.config.Anchor == "" && !slices.ContainsFunc(slices.Concat(c.Changes, c.Unaccounted), func(x history.Change) bool { return x.After.Blob != "" }):
			return nil
		}
		found = c
		return errFound
	})
	if err != nil && !errors.Is(err, errFound) {
		return fmt.Errorf("look for the trust anchor: %w", err)
	}
	if found == nil && j.config.Anchor != "" {
		return fmt.Errorf("the anchor %s is not on the first-parent line of %s", j.config.Anchor, short(to))
	}
	if found == nil {
		return ErrNoAnchor
	}
	settings, err := j.settingsOf(ctx, found.Hash)
	if err != nil {
		return err
	}
	var files []history.File
	if files, err = j.config.Repository.Snapshot(ctx, found.Hash, ControlFiles{&settings.Spec}); err != nil {
		return err
	}
	e := &Examination{base: x.Layer, head: x.Fork(), sequence: sequence, settled: true,
		trust: &Trust{Settings: settings, Applications: map[string]*schemas.Application{}}}
	for _, f := range files {
		if err := j.examineFile(ctx, e, f.Path, f.Entry); err != nil {
			return err
		}
	}
	if len(e.Errors) > 0 {
		return fmt.Errorf("the anchor %s, where trust starts, has errors:\n%w", short(found.Hash), findingsError(e.Errors))
	}
	e.Digest = contentDigest(e.files)
	if err := j.checkConfiguration(ctx, e); err != nil {
		return err
	}
	if len(e.Errors) > 0 {
		return fmt.Errorf("the anchor %s, where trust starts, has errors:\n%w", short(found.Hash), findingsError(e.Errors))
	}
	for _, f := range e.files {
		if err := e.apply(ctx, f, sequence, map[index.ConnectionKey]bool{}); err != nil {
			return err
		}
	}
	record := e.record(found)
	record.Verdict = VerdictAnchor
	e.stamp(found.Hash)
	e.head.Merge()
	x.Head = index.Head{Tip: found.Hash, Sequence: sequence, Anchor: found.Hash, Instant: found.CommittedAt.Unix()}
	x.Verdicts = append(x.Verdicts, *record)
	return nil
}

// Anchor finds the commit where trust starts on the way to a commit, and its settings, without judging anything.
func (j *Judge) Anchor(ctx context.Context, to string) (string, *schemas.SettingsSpec, error) {
	x, err := index.Open(ctx, "")
	if err != nil {
		return "", nil, err
	}
	if err := j.anchor(ctx, x, to); err != nil {
		return "", nil, errors.Join(err, x.Close())
	}
	settings, err := j.settingsOf(ctx, x.Head.Anchor)
	if err = errors.Join(err, x.Close()); err != nil {
		return "", nil, err
	}
	return x.Head.Anchor, &settings.Spec, nil
}

// authenticate proves that the ledger is this repository's.
func (j *Judge) authenticate(ctx context.Context, l *ledger.Ledger, anchor string) error {
	if j.config.Authenticate == nil {
		return nil
	}
	settings, err := j.settingsOf(ctx, anchor)
	if err != nil {
		return err
	}
	return j.config.Authenticate(ctx, l, anchor, &settings.Spec)
}

// settingsOf reads the settings of the anchor.
func (j *Judge) settingsOf(ctx context.Context, anchor string) (*schemas.Settings, error) {
	if j.anchored.commit == anchor {
		return j.anchored.settings, nil
	}
	files, err := j.config.Repository.Snapshot(ctx, anchor, settingsOnly{})
	if err != nil {
		return nil, err
	}
	if len(files) != 1 || files[0].Mode != regularFile {
		return nil, fmt.Errorf("the anchor %s does not contain %s as a regular file", short(anchor), schemas.SettingsPath)
	}
	content, err := j.config.Repository.Blob(files[0].Blob, schemas.MaxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", schemas.SettingsPath, err)
	}
	docs, errs := strict.Decode(schemas.SettingsPath, content)
	if err := errs.Err(); err != nil {
		return nil, fmt.Errorf("the settings of the anchor are invalid: %w", err)
	}
	settings, ok := docs[0].Value.(*schemas.Settings)
	if !ok {
		return nil, fmt.Errorf("%s does not contain Settings", schemas.SettingsPath)
	}
	j.anchored.commit, j.anchored.settings = anchor, settings
	return settings, nil
}

type findingList []schemas.Finding

func findingsError(list []schemas.Finding) error { return findingList(list) }

// Error returns one line for each finding.
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

type settingsOnly struct{}

func (settingsOnly) Dir(string) bool    { return false }
func (settingsOnly) File(p string) bool { return p == schemas.SettingsPath }
