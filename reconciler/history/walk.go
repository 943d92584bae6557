package history

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Entry is what stands at a path: the blob (or link text, or submodule commit) and the mode as Git has it.
// The zero Entry is nothing.
type Entry struct {
	Blob string
	Mode uint32
}

const modeTree = 0o40000

// Change is one path that two trees have differently.
type Change struct {
	Path          string
	Before, After Entry
}

// File is one path of a tree.
type File struct {
	Path string
	Entry
}

// Filter keeps reading to the paths that matter. Paths are from the root, with slashes.
type Filter interface {
	// Dir says whether a folder may hold paths that matter.
	Dir(path string) bool
	// File says whether a path matters, whatever stands there.
	File(path string) bool
}

// Walk calls fn for the first-parent commits after from up to to, the oldest first, each with the changes
// against its first parent that the filter lets through, sorted by path. from "" begins at the root, whose
// content is all additions. An error of fn ends the walk.
func (r *Repository) Walk(ctx context.Context, from, to string, f Filter, fn func(*Commit) error) error {
	var line []string
	for at := to; at != from; {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, err := r.Commit(at)
		if err != nil {
			return err
		}
		line = append(line, at)
		if c.Parent == "" {
			if from != "" {
				return fmt.Errorf("%s is not on the first-parent line of %s", from, to)
			}
			break
		}
		at = c.Parent
	}
	before := ""
	if from != "" {
		c, err := r.Commit(from)
		if err != nil {
			return err
		}
		before = c.Tree
	}
	d := differ{r: r, f: f, trees: map[string][]entry{}}
	for _, hash := range slices.Backward(line) {
		if err := ctx.Err(); err != nil {
			return err
		}
		known, err := r.Commit(hash)
		if err != nil {
			return err
		}
		c := *known
		if c.Changes, err = d.compare(before, c.Tree); err != nil {
			return fmt.Errorf("commit %s: %w", hash, err)
		}
		before = c.Tree
		if err := fn(&c); err != nil {
			return err
		}
	}
	return nil
}

// Compare returns the changes from one commit to another that the filter lets through, sorted by path.
func (r *Repository) Compare(_ context.Context, base, head string, f Filter) ([]Change, error) {
	b, err := r.Commit(base)
	if err != nil {
		return nil, err
	}
	h, err := r.Commit(head)
	if err != nil {
		return nil, err
	}
	d := differ{r: r, f: f, trees: map[string][]entry{}}
	return d.compare(b.Tree, h.Tree)
}

// Snapshot returns the files of a revision that the filter lets through, sorted by path.
func (r *Repository) Snapshot(_ context.Context, rev string, f Filter) ([]File, error) {
	hash, err := r.Resolve(rev)
	if err != nil {
		return nil, err
	}
	c, err := r.Commit(hash)
	if err != nil {
		return nil, err
	}
	d := differ{r: r, f: f, trees: map[string][]entry{}}
	changes, err := d.compare("", c.Tree)
	files := make([]File, 0, len(changes))
	for _, x := range changes {
		files = append(files, File{x.Path, x.After})
	}
	return files, err
}

type entry struct {
	name string
	Entry
}

// differ compares trees. It remembers the trees of the last commits: each is the next one's base.
type differ struct {
	r     *Repository
	f     Filter
	trees map[string][]entry
	out   []Change
}

func (d *differ) compare(a, b string) ([]Change, error) {
	d.out = nil
	if len(d.trees) > 4096 {
		clear(d.trees)
	}
	if err := d.walk("", a, b, 0); err != nil {
		return nil, err
	}
	slices.SortFunc(d.out, func(x, y Change) int { return strings.Compare(x.Path, y.Path) })
	return d.out, nil
}

const maxDepth = 64

// walk merges two trees, both sorted by plain name.
func (d *differ) walk(prefix, a, b string, depth int) error {
	if a == b {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("folders are nested deeper than %d", maxDepth)
	}
	x, err := d.tree(a)
	if err != nil {
		return err
	}
	y, err := d.tree(b)
	if err != nil {
		return err
	}
	i, j := 0, 0
	for i < len(x) || j < len(y) {
		var was, is Entry
		var name string
		switch {
		case j == len(y) || (i < len(x) && x[i].name < y[j].name):
			name, was = x[i].name, x[i].Entry
			i++
		case i == len(x) || y[j].name < x[i].name:
			name, is = y[j].name, y[j].Entry
			j++
		default:
			name, was, is = x[i].name, x[i].Entry, y[j].Entry
			i++
			j++
		}
		if was == is {
			continue
		}
		path := name
		if prefix != "" {
			path = prefix + "/" + name
		}
		var oldTree, newTree string
		if was.Mode == modeTree {
			oldTree, was = was.Blob, Entry{}
		}
		if is.Mode == modeTree {
			newTree, is = is.Blob, Entry{}
		}
		if oldTree != newTree && d.f.Dir(path) {
			if err := d.walk(path, oldTree, newTree, depth+1); err != nil {
				return err
			}
		}
		if was != is && d.f.File(path) {
			d.out = append(d.out, Change{path, was, is})
		}
	}
	return nil
}

// tree reads a tree object, sorted by plain name. An entry that stands twice, or has no name, is refused.
func (d *differ) tree(hash string) ([]entry, error) {
	if hash == "" {
		return nil, nil
	}
	if t, ok := d.trees[hash]; ok {
		return t, nil
	}
	b, err := d.r.raw(plumbing.TreeObject, hash, maxObject)
	if err != nil {
		return nil, err
	}
	text := string(b)
	var out []entry
	sorted := true
	for len(b) > 0 {
		space, nul := bytes.IndexByte(b, ' '), bytes.IndexByte(b, 0)
		if space <= 0 || nul < space+2 || len(b) < nul+21 {
			return nil, fmt.Errorf("tree %s: %w", hash, errForm)
		}
		var mode uint32
		for _, c := range b[:space] {
			if c < '0' || c > '7' {
				return nil, fmt.Errorf("tree %s: %w", hash, errForm)
			}
			mode = mode<<3 | uint32(c-'0')
		}
		at := len(text) - len(b)
		out = append(out, entry{text[at+space+1 : at+nul], Entry{hex.EncodeToString(b[nul+1 : nul+21]), mode}})
		sorted = sorted && (len(out) < 2 || out[len(out)-2].name < out[len(out)-1].name)
		b = b[nul+21:]
	}
	if !sorted {
		// Git sorts folders as if their names ended in a slash.
		slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.name, b.name) })
		for i := 1; i < len(out); i++ {
			if out[i].name == out[i-1].name {
				return nil, fmt.Errorf("tree %s names %q twice: %w", hash, out[i].name, errForm)
			}
		}
	}
	d.trees[hash] = out
	return out, nil
}
