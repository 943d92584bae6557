package history

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
)

// maxMerged bounds how many commits one merge may bring: more cannot be looked through for contributors.
// maxSearched bounds the search for them.
const maxMerged, maxSearched = 1000, 50_000

// ErrTooMany means that a change has more commits than are looked through.
var ErrTooMany = errors.New("too many commits")

// MergedCommits are the commits whose authors made a first-parent commit's changes: those of the merged
// branches, and the merge itself where c.Changes, as Walk sets them, have something that no branch brought;
// for a commit with one parent, the commit. The youngest come first.
func (r *Repository) MergedCommits(ctx context.Context, c *Commit) ([]*Commit, error) {
	if len(c.Parents) < 2 {
		return []*Commit{c}, nil
	}
	out, err := r.between(ctx, c.Parents[:1], c.Parents[1:])
	if err != nil {
		return nil, err
	}
	own, err := r.changesItself(ctx, c)
	if err != nil {
		return nil, err
	}
	if own {
		out = append([]*Commit{c}, out...)
	}
	return out, nil
}

// CommitsBetween are the commits reachable from head and not from base, the youngest first.
func (r *Repository) CommitsBetween(ctx context.Context, base, head string) ([]*Commit, error) {
	return r.between(ctx, []string{base}, []string{head})
}

// changesItself reports whether a merge has a change that none of its branches brought: the content at the path
// afterwards must be what a branch had made of it since it forked. Else somebody wrote it while merging.
func (r *Repository) changesItself(ctx context.Context, c *Commit) (bool, error) {
	if ok, err := r.isPlain(c); err != nil || ok {
		return false, err
	}
	_, rest, err := r.accounted(ctx, c, c.Changes)
	return len(rest) > 0, err
}

// isPlain reports whether a merge is of the usual kind: one branch, a few commits in a line on top of the first
// parent, whose content the merge takes as it is.
func (r *Repository) isPlain(c *Commit) (bool, error) {
	if len(c.Parents) != 2 {
		return false, nil
	}
	at, err := r.Lenient(c.Parents[1])
	if err != nil || at.Tree != c.Tree {
		return false, err
	}
	for range 50 {
		if len(at.Parents) != 1 {
			return false, nil
		}
		if at.Parent == c.Parent {
			return true, nil
		}
		if at, err = r.Lenient(at.Parent); err != nil {
			return false, err
		}
	}
	return false, nil
}

// brought reports whether a branch made the change since each of its bases.
func (d *differ) brought(x Change, branch string, bases []string) (bool, error) {
	// What can't be read brought nothing that anybody could have reviewed.
	if at, err := d.at(branch, x.Path); err != nil || at != x.After {
		return false, unlessOdd(err)
	}
	for _, b := range bases {
		if at, err := d.at(b, x.Path); err != nil || at == x.After {
			return false, unlessOdd(err)
		}
	}
	return len(bases) > 0 || x.After != Entry{}, nil
}

func unlessOdd(err error) error {
	if isOdd(err) {
		return nil
	}
	return err
}

// IsAncestor reports whether a is b, or reachable from it.
func (r *Repository) IsAncestor(ctx context.Context, a, b string) (bool, error) {
	if _, err := r.Lenient(a); err != nil {
		return false, err
	}
	// The youngest first, which finds it soon; no date ends the search, since clocks lie.
	p := newPaint(r)
	if err := p.push(b, left); err != nil {
		return false, err
	}
	for {
		n, err := p.pop(ctx)
		if err != nil || n == nil {
			return false, err
		}
		if n.commit.Hash == a {
			return true, nil
		}
	}
}

// Contains reports whether the commit is in the repository and reachable from a revision.
func (r *Repository) Contains(ctx context.Context, rev, commit string) (bool, error) {
	tip, err := r.Resolve(rev)
	if err != nil {
		return false, err
	}
	ok, err := r.IsAncestor(ctx, commit, tip)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return ok, err
}

// MergeBase returns the one best common ancestor of two commits.
func (r *Repository) MergeBase(ctx context.Context, a, b string) (string, error) {
	bases, err := r.mergeBases(ctx, a, b)
	switch {
	case err != nil:
		return "", fmt.Errorf("find the merge base: %w", err)
	case len(bases) == 0:
		return "", errors.New("the two don't share a commit")
	case len(bases) > 1:
		return "", fmt.Errorf("the two have %d merge bases: merge the base into the change first", len(bases))
	}
	return bases[0], nil
}

// mergeBases are the common ancestors that are not ancestors of one another.
func (r *Repository) mergeBases(ctx context.Context, a, b string) ([]string, error) {
	if a == b {
		return []string{a}, nil
	}
	p := newPaint(r)
	if err := errors.Join(p.push(a, left), p.push(b, right)); err != nil {
		return nil, err
	}
	var found []*node
	for p.open > 0 {
		n, err := p.pop(ctx)
		if err != nil {
			return nil, err
		}
		if n.flags&(left|right|below) == left|right && !n.found {
			n.found = true
			found = append(found, n)
		}
	}
	var out []string
	for i, n := range found {
		if n.flags&below != 0 {
			continue
		}
		// Clocks that lie may have let one through that another reaches.
		best := true
		for j, other := range found {
			if i == j || other.flags&below != 0 || len(found) == 1 {
				continue
			}
			under, err := r.IsAncestor(ctx, n.commit.Hash, other.commit.Hash)
			if err != nil {
				return nil, err
			}
			best = best && !under
		}
		if best {
			out = append(out, n.commit.Hash)
		}
	}
	return out, nil
}

// between walks down from both sides until all that is left to visit is common to them, and returns what
// only head reaches. The walk goes by the clocks, and where one was seen to lie it goes to the roots. A lie
// deeper than the walk names a contributor too many, never one too few.
func (r *Repository) between(ctx context.Context, base, head []string) ([]*Commit, error) {
	p := newPaint(r)
	for _, h := range base {
		if err := p.push(h, left); err != nil {
			return nil, err
		}
	}
	for _, h := range head {
		if err := p.push(h, right); err != nil {
			return nil, err
		}
	}
	var seen []*node
	oldest := int64(0)
	slop := 16
	for len(p.queue) > 0 {
		// Common commits may still reach some that were taken for the branch's: not what is older, clocks willing.
		if p.open == 0 && !p.skewed && (len(seen) == 0 || p.queue[0].date < oldest) {
			if slop--; slop < 0 {
				break
			}
		}
		n, err := p.pop(ctx)
		if err != nil {
			return nil, err
		}
		if n.flags == right && !n.found {
			n.found = true
			if len(seen) == 0 || n.date < oldest {
				oldest = n.date
			}
			if seen = append(seen, n); len(seen) > maxSearched {
				return nil, fmt.Errorf("the change has more than %d commits: %w", maxSearched, ErrTooMany)
			}
		}
	}
	var out []*Commit
	for _, n := range seen {
		if n.flags == right {
			out = append(out, n.commit)
		}
	}
	if len(out) > maxMerged {
		return nil, fmt.Errorf("the change has %d commits (expected at most %d): %w", len(out), maxMerged, ErrTooMany)
	}
	return out, nil
}

// The sides that reach a commit; below means that a common commit does.
const left, right, below = 1, 2, 4

type node struct {
	commit *Commit
	date   int64
	order  int // of the first visit: makes equal dates come in a fixed order
	flags  uint8
	queued bool
	found  bool
}

// paint walks the graph from one side or two, the youngest commit first, and carries flags down.
type paint struct {
	r     *Repository
	nodes map[string]*node
	queue nodeQueue
	// open counts the queued nodes that no common commit is known to reach.
	open int
	// skewed means that a commit was seen that is older than its parent.
	skewed bool
}

func newPaint(r *Repository) *paint { return &paint{r: r, nodes: map[string]*node{}} }

const common = left | right

func (n *node) isOpen() bool { return n.flags&below == 0 }

// push adds flags to a commit and queues it if that is news.
func (p *paint) push(hash string, flags uint8) error {
	n := p.nodes[hash]
	if n == nil {
		c, err := p.r.Lenient(hash)
		if err != nil {
			return err
		}
		n = &node{commit: c, date: c.CommittedAt.Unix(), order: len(p.nodes)}
		p.nodes[hash] = n
	} else if n.flags&flags == flags {
		return nil
	}
	wasOpen := n.queued && n.isOpen()
	n.flags |= flags
	if !n.queued {
		n.queued = true
		heap.Push(&p.queue, n)
	}
	switch isOpen := n.isOpen(); {
	case isOpen && !wasOpen:
		p.open++
	case !isOpen && wasOpen:
		p.open--
	}
	return nil
}

// pop takes the youngest node and hands its flags to its parents. It is nil when there is none.
func (p *paint) pop(ctx context.Context) (*node, error) {
	if len(p.queue) == 0 {
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n, ok := heap.Pop(&p.queue).(*node)
	if !ok {
		return nil, errors.New("the queue holds something else")
	}
	n.queued = false
	if n.isOpen() {
		p.open--
	}
	flags := n.flags
	if flags&common == common {
		flags |= below
	}
	for _, parent := range n.commit.Parents {
		if err := p.push(parent, flags); err != nil {
			return nil, err
		}
		p.skewed = p.skewed || p.nodes[parent].date > n.date
	}
	return n, nil
}

// nodeQueue gives the youngest first.
type nodeQueue []*node

// Len is for container/heap.
func (q nodeQueue) Len() int { return len(q) }

// Less is for container/heap.
func (q nodeQueue) Less(i, j int) bool {
	if q[i].date != q[j].date {
		return q[i].date > q[j].date
	}
	return q[i].order < q[j].order
}

// Swap is for container/heap.
func (q nodeQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is for container/heap.
func (q *nodeQueue) Push(x any) {
	if n, ok := x.(*node); ok {
		*q = append(*q, n)
	}
}

// Pop is for container/heap.
func (q *nodeQueue) Pop() any {
	old := *q
	n := old[len(old)-1]
	*q = old[:len(old)-1]
	return n
}
