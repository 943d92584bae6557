package history

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Entry is the content at a path: the blob (or link text, or submodule commit) and the mode as Git has it.
// The zero Entry is nothing, or a folder.
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

// Filter keeps reading to the paths that matter. Paths are from the root, with slashes, and as they are in
// the trees: the caller refuses unsafe paths.
type Filter interface {
	// Dir reports whether a folder may hold paths that matter.
	Dir(path string) bool
	// File reports whether a path matters, whatever is there: file, link or submodule.
	File(path string) bool
}

// Walk calls fn for the first-parent commits after from up to to, the oldest first, each with the changes
// against its first parent that the filter lets through, sorted by path. from "" begins at the root, whose
// content is all additions. An error of fn ends the walk.
func (r *Repository) Walk(ctx context.Context, from, to string, f Filter, fn func(*Commit) error) error {
	line, err := r.line(ctx, from, to)
	if err != nil {
		return err
	}
	w := walker{r: r, differ: differ{r: r, f: f, lenient: true}}
	if err := w.begin(ctx, from); err != nil {
		return err
	}
	for _, h := range slices.Backward(line) {
		if err := ctx.Err(); err != nil {
			return err
		}
		known, err := r.Lenient(h.String())
		if err != nil {
			return err
		}
		c := *known
		if err := w.changes(ctx, &c); err != nil {
			return fmt.Errorf("commit %s: %w", c.Hash, err)
		}
		if err := fn(&c); err != nil {
			return err
		}
	}
	return nil
}

// line is the first-parent line, the youngest first, without from.
func (r *Repository) line(ctx context.Context, from, to string) ([]plumbing.Hash, error) {
	var line []plumbing.Hash
	for at := to; at != from; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, err := r.Lenient(at)
		if err != nil {
			return nil, err
		}
		line = append(line, plumbing.NewHash(at))
		if c.Parent == "" {
			if from != "" {
				return nil, fmt.Errorf("%s of %s: %w", from, to, ErrOffLine)
			}
			break
		}
		at = c.Parent
	}
	return line, nil
}

// Compare returns the changes from one commit to another that the filter lets through, sorted by path.
func (r *Repository) Compare(ctx context.Context, base, head string, f Filter) ([]Change, error) {
	b, err := r.Commit(base)
	if err != nil {
		return nil, err
	}
	h, err := r.Commit(head)
	if err != nil {
		return nil, err
	}
	d := differ{r: r, f: f}
	return d.compare(ctx, b.Tree, h.Tree)
}

// Snapshot returns the files of a revision that the filter lets through, sorted by path.
func (r *Repository) Snapshot(ctx context.Context, rev string, f Filter) ([]File, error) {
	hash, err := r.Resolve(rev)
	if err != nil {
		return nil, err
	}
	c, err := r.Commit(hash)
	if err != nil {
		return nil, err
	}
	d := differ{r: r, f: f}
	changes, err := d.compare(ctx, "", c.Tree)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", hash, err)
	}
	files := make([]File, 0, len(changes))
	for _, x := range changes {
		files = append(files, File{x.Path, x.After})
	}
	return files, nil
}

const (
	maxDepth = 64
	// maxTrees and maxChanges bound one comparison: a few nested trees, each naming the next one many times,
	// expand to more files than there is memory.
	maxTrees, maxChanges = 1_000_000, 1_000_000
	// treeCache is how many bytes of trees are remembered, at least: each tree is the next one's base.
	treeCache = 4 << 20
)

// differ compares trees as they are stored, and parses only what differs.
type differ struct {
	r *Repository
	f Filter
	// Two generations: the older goes when the younger is full.
	trees, older map[string][]byte
	bytes        int
	visited      int
	out          []Change

	// lenient leaves a folder of b that can't be read as it was before, and adds it to odd. Where it can be read again,
	// last finds the folder as it could be read last, and the changes are gaps.
	lenient bool
	last    func(ctx context.Context, path string) (string, error)
	odd     error
	gaps    []Change
	gap     bool // within such a folder
}

func (d *differ) compare(ctx context.Context, a, b string) ([]Change, error) {
	d.out, d.visited, d.odd, d.gaps, d.gap = nil, 0, nil, nil, false
	if err := d.walk(ctx, "", a, b, 0); err != nil {
		return nil, err
	}
	slices.SortFunc(d.out, func(x, y Change) int { return strings.Compare(x.Path, y.Path) })
	// A file in place of a folder, or the other way round, is two entries of one name: they sort apart.
	for i := 1; i < len(d.out); i++ {
		if d.out[i].Path == d.out[i-1].Path {
			return nil, fmt.Errorf("duplicate path %q: %w", d.out[i].Path, errForm)
		}
	}
	return d.out, nil
}

func (d *differ) walk(ctx context.Context, prefix, a, b string, depth int) error {
	if a == b {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("folders are nested deeper than %d: %w", maxDepth, errLimit)
	}
	if d.visited++; d.visited > maxTrees {
		return fmt.Errorf("there are more than %d folders: %w", maxTrees, errLimit)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	y, err := d.tree(b)
	if d.lenient && isOdd(err) {
		d.odd = errors.Join(d.odd, fmt.Errorf("the folder %q: %w", prefix, err))
		return nil
	}
	if err != nil {
		return err
	}
	x, err := d.tree(a)
	if d.lenient && isOdd(err) {
		if a, err = d.last(ctx, prefix); err != nil {
			return err
		}
		was := d.gap
		d.gap = true
		defer func() { d.gap = was }()
		if a == b {
			return nil
		}
		x, err = d.tree(a)
	}
	if err != nil {
		return err
	}
	for len(x) > 0 || len(y) > 0 {
		var p, q record
		switch n := recordLen(x); {
		case n > 0 && len(y) >= n && bytes.Equal(x[:n], y[:n]):
			x, y = x[n:], y[n:]
			continue
		case n == 0:
			q = cutRecord(&y)
		case len(y) == 0:
			p = cutRecord(&x)
		default:
			// Both have one: the one that sorts first, or both when they are of one name.
			left, right := x, y
			p, q = cutRecord(&left), cutRecord(&right)
			switch c := p.compare(q); {
			case c < 0:
				q, x = record{}, left
			case c > 0:
				p, y = record{}, right
			default:
				x, y = left, right
			}
		}
		if err := d.entry(ctx, prefix, p, q, depth); err != nil {
			return err
		}
	}
	return nil
}

// entry takes one name: what it was and what it is. Either may be nothing.
func (d *differ) entry(ctx context.Context, prefix string, was, is record, depth int) error {
	name := was.name
	if name == nil {
		name = is.name
	}
	path := string(name)
	if prefix != "" {
		path = prefix + "/" + path
	}
	if was.isTree() || is.isTree() {
		if !d.f.Dir(path) {
			return nil
		}
		return d.walk(ctx, path, was.hashString(), is.hashString(), depth+1)
	}
	if !d.f.File(path) {
		return nil
	}
	if len(d.out) >= maxChanges {
		return fmt.Errorf("there are more than %d changes: %w", maxChanges, errLimit)
	}
	if x := (Change{path, was.entry(), is.entry()}); d.gap {
		d.gaps = append(d.gaps, x)
	} else {
		d.out = append(d.out, x)
	}
	return nil
}

// record is one entry of a tree object, in place. The zero record is none.
type record struct {
	mode       uint32
	name, hash []byte
}

func (r record) isTree() bool { return r.mode == modeTree }

func (r record) hashString() string { return hex.EncodeToString(r.hash) }

func (r record) entry() Entry {
	if r.name == nil {
		return Entry{}
	}
	return Entry{r.hashString(), r.mode}
}

// compare orders records as Git does: a folder as if its name ended in a slash.
func (r record) compare(o record) int {
	n := min(len(r.name), len(o.name))
	if c := bytes.Compare(r.name[:n], o.name[:n]); c != 0 {
		return c
	}
	return int(r.at(n)) - int(o.at(n))
}

func (r record) at(i int) byte {
	switch {
	case i < len(r.name):
		return r.name[i]
	case r.isTree():
		return '/'
	}
	return 0
}

// recordLen is the length of the first record of a tree that was checked; 0 when there is none.
func recordLen(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return bytes.IndexByte(b, 0) + 1 + 20
}

// cutRecord takes the first record off a tree that was checked.
func cutRecord(b *[]byte) record {
	r, rest, _ := parseRecord(*b)
	*b = rest
	return r
}

func parseRecord(b []byte) (r record, rest []byte, ok bool) {
	nul := bytes.IndexByte(b, 0)
	if nul < 0 || len(b) < nul+21 {
		return record{}, nil, false
	}
	i := 0
	for ; i < nul && b[i] != ' '; i++ {
		if b[i] < '0' || b[i] > '7' || i >= 6 {
			return record{}, nil, false
		}
		r.mode = r.mode<<3 | uint32(b[i]-'0')
	}
	if i == 0 || i+1 >= nul {
		return record{}, nil, false
	}
	r.name, r.hash = b[i+1:nul], b[nul+1:nul+21]
	return r, b[nul+21:], bytes.IndexByte(r.name, '/') < 0
}

// checkTree refuses trees that two readers could take for two things: entries out of order, of one name, or
// with a slash in the name (git fsck calls them errors too).
func checkTree(b []byte) error {
	var last record
	// Between a file and a folder of one name there may be others: files whose name begins what follows.
	var files [][]byte
	for len(b) > 0 {
		r, rest, ok := parseRecord(b)
		if !ok {
			return errForm
		}
		if last.name != nil && last.compare(r) >= 0 {
			if bytes.Equal(last.name, r.name) {
				return fmt.Errorf("duplicate entry %q in it: %w", r.name, errForm)
			}
			return fmt.Errorf("%q is out of order in it: %w", r.name, errForm)
		}
		for len(files) > 0 && !bytes.HasPrefix(r.name, files[len(files)-1]) {
			files = files[:len(files)-1]
		}
		if !r.isTree() {
			files = append(files, r.name)
		} else if len(files) > 0 && bytes.Equal(files[len(files)-1], r.name) {
			return fmt.Errorf("duplicate entry %q in it: %w", r.name, errForm)
		}
		last, b = r, rest
	}
	return nil
}

// tree reads a tree object and checks its form. "" is the empty tree.
func (d *differ) tree(hash string) ([]byte, error) {
	if hash == "" {
		return nil, nil
	}
	b, ok := d.trees[hash]
	if ok {
		return b, nil
	}
	if b, ok = d.older[hash]; !ok {
		var err error
		if b, err = d.r.raw(plumbing.TreeObject, hash, maxObject); err != nil {
			return nil, err
		}
		if err := checkTree(b); err != nil {
			return nil, fmt.Errorf("tree %s: %w", hash, err)
		}
	}
	if d.trees == nil || d.bytes > treeCache {
		d.older, d.trees, d.bytes = d.trees, map[string][]byte{}, 0
	}
	d.trees[hash] = b
	d.bytes += len(b)
	return b, nil
}

// at returns the entry at a path of a tree.
func (d *differ) at(tree, path string) (Entry, error) {
	for {
		name, rest, deeper := strings.Cut(path, "/")
		b, err := d.tree(tree)
		if err != nil {
			return Entry{}, err
		}
		var found record
		for len(b) > 0 {
			if r := cutRecord(&b); string(r.name) == name {
				found = r
				break
			}
		}
		switch {
		case found.name == nil || found.isTree() != deeper:
			return Entry{}, nil
		case !deeper:
			return found.entry(), nil
		}
		tree, path = found.hashString(), rest
	}
}

var (
	errForm = errors.New("it doesn't have the form that Git writes")
	// ErrOdd means that a commit or a tree can't be read strictly, and never will be.
	ErrOdd = errForm
	// errLimit means that a tree is larger than anything that a repository needs.
	errLimit = errors.New("that is not a repository, but an attack on its readers")
)

// isOdd reports whether an error is a fact about an object, which reading it again won't change.
func isOdd(err error) bool { return errors.Is(err, errForm) || errors.Is(err, ErrTooLarge) }
