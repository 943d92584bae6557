package history

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// walker compares the commits of the first-parent line in turn. One that can't be read, or that is too large to read,
// must not end the walk: then nothing would expire any longer, and nothing be revoked.
type walker struct {
	r      *Repository
	differ differ
	// before is the last commit whose tree was compared; "" before the root. gap means that commits after it were left out.
	before string
	gap    bool
}

// begin finds the commit to compare the next one with. Where from itself was left out as too large, it is an earlier one.
func (w *walker) begin(ctx context.Context, from string) error {
	w.before = from
	for w.before != "" {
		c, err := w.r.Lenient(w.before)
		if err != nil {
			return err
		}
		if _, err = w.compare(ctx, c.Parent, c.Tree); !errors.Is(err, errLimit) {
			return err
		}
		w.before, w.gap = c.Parent, true
	}
	return nil
}

// compare returns the changes from a commit to a tree.
func (w *walker) compare(ctx context.Context, before, tree string) ([]Change, error) {
	was := ""
	if before != "" {
		c, err := w.r.Lenient(before)
		if err != nil {
			return nil, err
		}
		was = c.Tree
	}
	w.differ.last = func(ctx context.Context, path string) (string, error) { return w.lastReadable(ctx, before, path) }
	return w.differ.compare(ctx, was, tree)
}

// changes sets the changes of the next commit.
func (w *walker) changes(ctx context.Context, c *Commit) error {
	changes, err := w.compare(ctx, w.before, c.Tree)
	if errors.Is(err, errLimit) {
		c.Odd = errors.Join(c.Odd, err)
		w.gap = true
		return nil
	}
	if err != nil {
		return err
	}
	late := slices.Clone(w.differ.gaps)
	if w.gap {
		changes, late = nil, append(late, changes...)
	}
	c.Odd = errors.Join(c.Odd, w.differ.odd)
	w.before, w.gap = c.Hash, false
	if len(late) > 0 {
		brought, rest, err := w.r.accounted(ctx, c, late)
		if err != nil {
			return err
		}
		changes, c.Unaccounted = append(slices.Clone(changes), brought...), rest
		for _, list := range [][]Change{changes, rest} {
			slices.SortFunc(list, func(x, y Change) int { return strings.Compare(x.Path, y.Path) })
		}
	}
	c.Changes = changes
	return nil
}

// lastReadable returns the folder at a path as it was in the last commit before which could be read; "" where it was not.
func (w *walker) lastReadable(ctx context.Context, commit, path string) (string, error) {
	d := differ{r: w.r}
	for at := commit; at != ""; {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		c, err := w.r.Lenient(at)
		if err != nil {
			return "", err
		}
		tree, err := d.folder(c.Tree, path)
		if err == nil {
			if _, err = d.tree(tree); err == nil {
				return tree, nil
			}
		}
		if !isOdd(err) {
			return "", err
		}
		at = c.Parent
	}
	return "", nil
}

// folder returns the tree at a path, "" for none.
func (d *differ) folder(tree, path string) (string, error) {
	for name := range strings.SplitSeq(path, "/") {
		if path == "" {
			break
		}
		b, err := d.tree(tree)
		if err != nil {
			return "", err
		}
		tree = ""
		for len(b) > 0 {
			if r := cutRecord(&b); string(r.name) == name && r.isTree() {
				tree = r.hashString()
				break
			}
		}
	}
	return tree, nil
}

// accounted divides changes into those that a merge's own branches brought, and the rest.
func (r *Repository) accounted(ctx context.Context, c *Commit, changes []Change) (brought, rest []Change, err error) {
	rest = changes
	if len(c.Parents) < 2 {
		return nil, rest, nil
	}
	d := differ{r: r}
	for _, parent := range c.Parents[1:] {
		branch, err := r.Lenient(parent)
		if err != nil {
			return nil, nil, err
		}
		trees, err := r.baseTrees(ctx, c.Parent, parent)
		if err != nil {
			return nil, nil, err
		}
		var still []Change
		for _, x := range rest {
			ok, err := d.brought(x, branch.Tree, trees)
			if err != nil {
				return nil, nil, err
			}
			if ok {
				brought = append(brought, x)
			} else {
				still = append(still, x)
			}
		}
		rest = still
	}
	return brought, rest, nil
}

// baseTrees are the trees of the merge bases of two commits.
func (r *Repository) baseTrees(ctx context.Context, a, b string) ([]string, error) {
	bases, err := r.mergeBases(ctx, a, b)
	if err != nil {
		return nil, err
	}
	var trees []string
	for _, h := range bases {
		base, err := r.Lenient(h)
		if err != nil {
			return nil, err
		}
		trees = append(trees, base.Tree)
	}
	return trees, nil
}
