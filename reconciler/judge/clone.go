package judge

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/ledger"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// clone reads from Git what a reviewer saw, for one change.
type clone struct {
	judge    *Judge
	settings *schemas.SettingsSpec
	// base is the commit that the change landed on, or would.
	base string
	// changed are the files that the change leaves, by path, and digest is the digest of the change.
	changed map[string]history.Entry
	digest  string
}

var _ signoff.Clone = (*clone)(nil)

func (j *Judge) clone(settings *schemas.SettingsSpec, base string, changes []history.Change, digest string) *clone {
	c := &clone{judge: j, settings: settings, base: base, changed: map[string]history.Entry{}, digest: digest}
	for _, f := range changes {
		c.changed[f.Path] = f.After
	}
	return c
}

// people are those of people.yaml, with the accounts that the ledger has for their logins.
type people struct {
	*signoff.Directory
	ledger *ledger.Ledger
}

func (t *Trust) peopleOf(j *Judge) signoff.People { return people{t.Directory, j.ledger} }

// Account returns the id that people.yaml has for a login, or else the first that signed off under it.
func (p people) Account(ctx context.Context, login string) (int64, error) {
	if id, err := p.Directory.Account(ctx, login); id != 0 || err != nil {
		return id, err
	}
	return p.ledger.Account(ctx, login)
}

// Content compares the files that a commit changed since it forked from the base with those that the change leaves. A
// file that the commit leaves as the base has it is not a change.
func (c *clone) Content(ctx context.Context, commit string) (string, error) {
	repository := c.judge.config.Repository
	if _, err := repository.Commit(commit); err != nil {
		return "", err
	}
	changes, _, err := c.judge.changesBetween(ctx, c.base, commit, ControlFiles{c.settings})
	if err != nil {
		return "", err
	}
	paths := slices.Collect(maps.Keys(c.changed))
	for _, f := range changes {
		paths = append(paths, f.Path)
	}
	base, err := repository.At(c.base, paths)
	if err != nil {
		return "", fmt.Errorf("read the base: %w", err)
	}
	var files []*file
	seen := map[string]history.Entry{}
	for _, f := range changes {
		if base[f.Path] != f.After {
			seen[f.Path] = f.After
			files = append(files, &file{path: f.Path, before: base[f.Path].Blob, after: f.After.Blob})
		}
	}
	changed := maps.Clone(c.changed)
	maps.DeleteFunc(changed, func(path string, after history.Entry) bool { return base[path] == after })
	if maps.Equal(seen, changed) {
		return c.digest, nil
	}
	return "other " + contentDigest(files), nil // no change has such a digest
}

func (c *clone) Bring(ctx context.Context, remote history.Remote, refspec string) error {
	_, err := history.Fetch(ctx, c.judge.config.Repository.GitDir(), remote, refspec)
	return err
}
