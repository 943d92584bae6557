package history

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// Person is somebody as a commit names them.
type Person struct{ Name, Email string }

// Commit is one commit. Changes are set by Walk alone.
type Commit struct {
	Hash string
	// Parent is the first of Parents, "" for a root.
	Parent, Tree            string
	Parents                 []string
	Author, Committer       Person
	AuthoredAt, CommittedAt time.Time
	Message                 string
	// Signature is the armored signature, "" for none; Payload is what it signs: the commit's own bytes
	// without the signature.
	Signature string
	Payload   []byte
	Changes   []Change
}

// Commit reads a commit. The form must be the one that Git writes: anything else, such as a second tree
// header, is refused, since two readers could see two things in it.
func (r *Repository) Commit(hash string) (*Commit, error) {
	if c, ok := r.commits[hash]; ok {
		return c, nil
	}
	b, err := r.raw(plumbing.CommitObject, hash, maxObject)
	if err != nil {
		return nil, err
	}
	c, err := parseCommit(b)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", hash, err)
	}
	c.Hash = hash
	if c.Signature == "" {
		c.Payload = nil
	}
	if len(r.commits) > 20_000 {
		clear(r.commits)
	}
	r.commits[hash] = c
	return c, nil
}

var errForm = errors.New("it has not the form that Git writes")

func parseCommit(b []byte) (*Commit, error) {
	c := &Commit{}
	rest := b
	line := func() (key, value string, ok bool) {
		end := bytes.IndexByte(rest, '\n')
		if end <= 0 {
			return "", "", false
		}
		k, v, found := strings.Cut(string(rest[:end]), " ")
		if !found {
			return "", "", false
		}
		return k, v, true
	}
	next := func() { rest = rest[bytes.IndexByte(rest, '\n')+1:] }
	k, v, ok := line()
	if !ok || k != "tree" || !isHash(v) {
		return nil, errForm
	}
	c.Tree = v
	next()
	for {
		k, v, ok = line()
		if !ok || k != "parent" {
			break
		}
		if !isHash(v) {
			return nil, errForm
		}
		c.Parents = append(c.Parents, v)
		next()
	}
	if len(c.Parents) > 0 {
		c.Parent = c.Parents[0]
	}
	var err error
	if !ok || k != "author" {
		return nil, errForm
	}
	if c.Author, c.AuthoredAt, err = parsePerson(v); err != nil {
		return nil, err
	}
	next()
	if k, v, ok = line(); !ok || k != "committer" {
		return nil, errForm
	}
	if c.Committer, c.CommittedAt, err = parsePerson(v); err != nil {
		return nil, err
	}
	next()
	payload := append([]byte{}, b[:len(b)-len(rest)]...)
	for len(rest) > 0 && rest[0] != '\n' {
		k, v, ok = line()
		if !ok {
			return nil, errForm
		}
		switch k {
		case "tree", "parent", "author", "committer":
			return nil, errForm
		}
		start := rest
		next()
		value := []string{v}
		for len(rest) > 0 && rest[0] == ' ' {
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				return nil, errForm
			}
			value = append(value, string(rest[1:end]))
			next()
		}
		if k == "gpgsig" {
			if c.Signature != "" {
				return nil, errForm
			}
			c.Signature = strings.Join(value, "\n") + "\n"
			continue
		}
		payload = append(payload, start[:len(start)-len(rest)]...)
	}
	if len(rest) == 0 {
		return nil, errForm
	}
	c.Payload = append(payload, rest...)
	c.Message = string(rest[1:])
	return c, nil
}

func isHash(s string) bool {
	if len(s) != 40 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') }) < 0
}

// parsePerson reads "Name <mail> 1700000000 +0100".
func parsePerson(s string) (Person, time.Time, error) {
	open, end := strings.IndexByte(s, '<'), strings.LastIndexByte(s, '>')
	if open < 0 || end < open {
		return Person{}, time.Time{}, errForm
	}
	p := Person{Name: strings.TrimSpace(s[:open]), Email: s[open+1 : end]}
	fields := strings.Fields(s[end+1:])
	if len(fields) != 2 {
		return p, time.Time{}, errForm
	}
	seconds, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return p, time.Time{}, errForm
	}
	return p, time.Unix(seconds, 0).UTC(), nil
}

// maxMerged bounds how many commits one merge may bring: more cannot be looked through for contributors.
const maxMerged = 1000

// MergedCommits are the commits that a first-parent commit brought to the branch: those of the merged
// branches, without the merge itself; for a commit with one parent, the commit.
func (r *Repository) MergedCommits(ctx context.Context, c *Commit) ([]*Commit, error) {
	if len(c.Parents) < 2 {
		return []*Commit{c}, nil
	}
	return r.between(ctx, c.Parents[:1], c.Parents[1:])
}

// CommitsBetween are the commits reachable from head and not from base.
func (r *Repository) CommitsBetween(ctx context.Context, base, head string) ([]*Commit, error) {
	return r.between(ctx, []string{base}, []string{head})
}

// between walks both sides at once, the youngest first, until only what the base reaches is left. With
// skewed clocks it may take a commit that the base has for the branch's own, never the other way round: that
// names one contributor too many, and fails closed.
func (r *Repository) between(ctx context.Context, base, head []string) ([]*Commit, error) {
	marks := map[string]bool{} // → reachable from the base
	var q commitQueue
	pending := 0 // entries of q that are not
	push := func(hash string, old bool) error {
		was, seen := marks[hash]
		if seen && (was || !old) {
			return nil
		}
		c, err := r.Commit(hash)
		if err != nil {
			return err
		}
		marks[hash] = old
		if !old {
			pending++
		}
		heap.Push(&q, queued{c, old})
		return nil
	}
	for _, h := range base {
		if err := push(h, true); err != nil {
			return nil, err
		}
	}
	for _, h := range head {
		if err := push(h, false); err != nil {
			return nil, err
		}
	}
	var out []*Commit
	for pending > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e, ok := heap.Pop(&q).(queued)
		if !ok {
			break
		}
		if !e.old {
			pending--
			if !marks[e.commit.Hash] {
				out = append(out, e.commit)
				if len(out) > maxMerged {
					return nil, fmt.Errorf("the change has more than %d commits", maxMerged)
				}
			}
		}
		for _, p := range e.commit.Parents {
			if err := push(p, marks[e.commit.Hash]); err != nil {
				return nil, err
			}
		}
	}
	kept := out[:0]
	for _, c := range out {
		if !marks[c.Hash] {
			kept = append(kept, c)
		}
	}
	return kept, nil
}

type queued struct {
	commit *Commit
	old    bool
}

// commitQueue gives the youngest commit first.
type commitQueue []queued

func (q commitQueue) Len() int { return len(q) }
func (q commitQueue) Less(i, j int) bool {
	return q[i].commit.CommittedAt.After(q[j].commit.CommittedAt)
}
func (q commitQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push is for container/heap.
func (q *commitQueue) Push(x any) {
	if e, ok := x.(queued); ok {
		*q = append(*q, e)
	}
}

// Pop is for container/heap.
func (q *commitQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// CoAuthors are the people of a message's Co-authored-by trailers.
func CoAuthors(message string) []Person {
	var out []Person
	for _, t := range Trailers(message) {
		if strings.EqualFold(t.Key, "Co-authored-by") {
			out = append(out, PersonOf(t.Value))
		}
	}
	return out
}

// Trailer is one line of the block at the end of a message.
type Trailer struct{ Key, Value string }

// Trailers are those of the last paragraph, when all of its lines are trailers or go on one. What looks
// like one further up in the message is prose. The title is never a trailer.
func Trailers(message string) []Trailer {
	text := strings.TrimRight(strings.ReplaceAll(message, "\r\n", "\n"), " \t\n")
	i := strings.LastIndex(text, "\n\n")
	if i < 0 {
		return nil
	}
	var out []Trailer
	for _, l := range strings.Split(text[i+2:], "\n") {
		if l != "" && (l[0] == ' ' || l[0] == '\t') && len(out) > 0 {
			out[len(out)-1].Value += " " + strings.TrimSpace(l)
			continue
		}
		k, v, ok := strings.Cut(l, ":")
		if !ok || k == "" || strings.IndexFunc(k, func(r rune) bool {
			return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		}) >= 0 {
			return nil
		}
		out = append(out, Trailer{k, strings.TrimSpace(v)})
	}
	return out
}

// PersonOf reads "Name <mail>"; a value without an address in angle brackets has none.
func PersonOf(s string) Person {
	open := strings.LastIndexByte(s, '<')
	if open < 0 || !strings.HasSuffix(s, ">") {
		return Person{Name: strings.TrimSpace(s)}
	}
	return Person{Name: strings.TrimSpace(s[:open]), Email: strings.TrimSpace(s[open+1 : len(s)-1])}
}
