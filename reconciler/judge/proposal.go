package judge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// Propose examines the change from base to head as if it were merged now. at is the admitted state at the base.
func (j *Judge) Propose(ctx context.Context, at *Admitted, base, head string, now time.Time) (*Examination, error) {
	files := ControlFiles{&at.Trust.Settings.Spec}
	changes, fork, err := j.changesBetween(ctx, base, head, files)
	if err != nil {
		return nil, err
	}
	e, err := j.examine(ctx, at.Layer, at.Trust, proposal{changes: changes, sequence: at.Head.Sequence + 1, now: now})
	if err != nil {
		return nil, err
	}
	e.fork = fork
	return e, j.conflicts(ctx, e, base, files)
}

// changesBetween returns the control files that the head changes since it forked from the base.
func (j *Judge) changesBetween(ctx context.Context, base, head string, f ControlFiles) (changes []history.Change, fork string, err error) {
	if fork, err = j.config.Repository.MergeBase(ctx, base, head); err != nil {
		return nil, "", fmt.Errorf("find where the change forked from the base: %w", err)
	}
	if changes, err = j.config.Repository.Compare(ctx, fork, head, f); err != nil {
		return nil, "", fmt.Errorf("compare the change with its base: %w", err)
	}
	return changes, fork, nil
}

// conflicts finds files that both the change and the base have changed since the fork.
func (j *Judge) conflicts(ctx context.Context, e *Examination, base string, files ControlFiles) error {
	if e.fork == base {
		return nil
	}
	since, err := j.config.Repository.Compare(ctx, e.fork, base, files)
	if err != nil {
		return fmt.Errorf("compare the base with the fork: %w", err)
	}
	for _, c := range since {
		if f := e.fileOf(c.Path); f != nil && f.after != c.After.Blob {
			e.Conflicts = append(e.Conflicts, schemas.Finding{Code: "conflict", Severity: schemas.SeverityError, Position: schemas.Position{Path: c.Path},
				Document: schemas.DocumentID{Path: c.Path}, Message: "the base has also changed this file since the fork", Fix: "merge the base into the change, or rebase it"})
		}
	}
	return nil
}

// JudgeProposal asks policy which sign-offs the change from base to head needs, and which it already has. live is what it
// gives in the live applications, as far as they were read.
func (j *Judge) JudgeProposal(ctx context.Context, e *Examination, base, head string, pullRequest int, live Live, now time.Time) (*Judgement, error) {
	commits, err := j.config.Repository.CommitsBetween(ctx, e.fork, head)
	if err != nil {
		return nil, fmt.Errorf("read the change's commits: %w", err)
	}
	ev, err := e.trust.forge.Pending(ctx, signoff.Pending{Head: head, Commits: commits, Digest: e.Digest, PullRequest: pullRequest, Directory: e.trust.Directory})
	if err != nil {
		return nil, err
	}
	if err := j.addWriters(ctx, e, base, &ev); err != nil {
		return nil, err
	}
	judgement, err := j.judge(ctx, e, "preview", base, head, ev, live, now)
	if passing(err) {
		return nil, err
	}
	if err != nil {
		return &Judgement{PolicyError: err}, nil
	}
	return judgement, nil
}

// Files returns the control files that the change touches, sorted by path.
func (e *Examination) Files() []schemas.FileChange {
	out := []schemas.FileChange{}
	for _, f := range e.files {
		out = append(out, schemas.FileChange{Path: f.path, Before: f.before, After: f.after})
	}
	return out
}

// Touches reports whether the change touches a control file.
func (e *Examination) Touches(path string) bool { return e.fileOf(path) != nil }

// Closure returns the connections of an application that affect who gains access by the change, given the nesting in an
// installation with that description.
func (e *Examination) Closure(ctx context.Context, application string, description schemas.Description) (map[schemas.Name]bool, error) {
	var seeds []schemas.Name
	for _, f := range e.files {
		for _, d := range slices.Concat(f.old, f.new) {
			if v, ok := d.Value.(*schemas.Request); ok && v.Application == application {
				seeds = append(seeds, v.Connection.Name())
			}
		}
	}
	if d, ok := e.desired[application]; ok {
		for _, c := range d[1].Connections {
			seeds = append(seeds, c.Name)
		}
	}
	return e.closure(ctx, application, seeds, description)
}

// Fold returns the desired state of the connections before and after the change.
func (e *Examination) Fold(ctx context.Context, application string, connections map[schemas.Name]bool, description schemas.Description, now time.Time) (before, after *plan.Desired, err error) {
	return e.foldPair(ctx, application, connections, description, now)
}
