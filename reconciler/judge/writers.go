package judge

import (
	"context"
	"fmt"
	"slices"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/schemas"
)

// addWriters adds the people who wrote the quarantined content that a change admits, or changes further, to its authors:
// nobody signs off their own content by having somebody else ask for it. before is the commit that the change follows.
func (j *Judge) addWriters(ctx context.Context, e *Examination, before string, ev *schemas.Evidence) error {
	since := map[string][]string{} // paths by the last commit whose content of them was admitted
	for _, f := range e.files {
		if f.was != nil && f.was.Quarantined() {
			since[f.was.Commit] = append(since[f.was.Commit], f.path)
		}
	}
	known := map[string]bool{}
	for from, paths := range since {
		err := j.config.Repository.Walk(ctx, from, before, onlyPaths{ControlFiles{&e.trust.Settings.Spec}, paths}, func(c *history.Commit) error {
			if len(c.Changes) == 0 || known[c.Hash] {
				return nil
			}
			known[c.Hash] = true
			return j.addWritersOf(ctx, e, c, ev)
		})
		if err != nil {
			return fmt.Errorf("find who wrote the quarantined content: %w", err)
		}
	}
	slices.Sort(ev.Authors)
	ev.Authors = slices.Compact(ev.Authors)
	slices.Sort(ev.Unattributed)
	ev.Unattributed = slices.Compact(ev.Unattributed)
	return nil
}

func (j *Judge) addWritersOf(ctx context.Context, e *Examination, c *history.Commit, ev *schemas.Evidence) error {
	p := &prepared{commit: c}
	var err error
	if p.merged, err = j.config.Repository.MergedCommits(ctx, c); err != nil {
		return err
	}
	wrote, err := e.trust.forge.Evidence(ctx, j.change(e.trust, p, ""))
	if err != nil {
		return err
	}
	ev.Authors = append(ev.Authors, wrote.Authors...)
	ev.Unattributed = append(ev.Unattributed, wrote.Unattributed...)
	if len(wrote.Authors)+len(wrote.Unattributed) == 0 {
		ev.Unattributed = append(ev.Unattributed, fmt.Sprintf("the author of the quarantined content of commit %s", short(c.Hash)))
	}
	return nil
}

// onlyPaths limits the reading of Git to some control files.
type onlyPaths struct {
	ControlFiles
	paths []string
}

// File reports whether a file is one of them.
func (o onlyPaths) File(p string) bool { return slices.Contains(o.paths, p) }
