package history

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// Person is somebody as a commit names them. Nobody vouches for it.
type Person struct{ Name, Email string }

// Commit is one commit. Changes are set by Walk alone. Everything it points to is shared: do not change it.
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
	// Odd is the reason why the commit, or a part of its tree, can't be read strictly; nil for others. Of such a commit
	// only Hash, Parents and Tree are known, and its author is nobody. Where the tree has the odd part, Changes have
	// nothing of it.
	Odd error
	// Unaccounted are changes by earlier commits whose trees could not be read, and which this one's branch did not
	// bring: they show only now.
	Unaccounted []Change
}

// Commit reads a commit. The form must be the one that Git writes: anything else, such as a second tree
// header, is refused, since two readers could see two things in it. A name, address or date that makes no
// sense is not an error: old histories have them. It is returned unchanged, for the caller to attribute or not.
func (r *Repository) Commit(hash string) (*Commit, error) {
	r.mu.Lock()
	c, ok := r.commits.get(hash)
	r.mu.Unlock()
	if ok {
		return c, nil
	}
	b, err := r.raw(plumbing.CommitObject, hash, maxObject)
	if err != nil {
		return nil, err
	}
	if c, err = parseCommit(string(b)); err != nil {
		return nil, fmt.Errorf("commit %s: %w", hash, err)
	}
	c.Hash = hash
	r.mu.Lock()
	r.commits.put(hash, c)
	r.mu.Unlock()
	return c, nil
}

// Lenient is Commit for walks along the history: of a commit that can't be read strictly, it returns what Git itself
// needs of it, with Odd set. One such commit must not hide all others.
func (r *Repository) Lenient(hash string) (*Commit, error) {
	c, err := r.Commit(hash)
	if !errors.Is(err, errForm) && !errors.Is(err, ErrTooLarge) {
		return c, err
	}
	b, rawErr := r.raw(plumbing.CommitObject, hash, maxObject)
	if rawErr != nil {
		return nil, err
	}
	nobody := Person{Name: "commit " + hash + ", which can't be read"}
	odd := &Commit{Hash: hash, Author: nobody, Committer: nobody, Odd: err}
	h := &headers{rest: string(b)}
	if odd.Tree, rawErr = h.one("tree"); rawErr != nil || !isHash(odd.Tree) {
		return nil, err // Git can't read it either
	}
	for strings.HasPrefix(h.rest, "parent ") {
		parent, rawErr := h.one("parent")
		if rawErr != nil || !isHash(parent) {
			return nil, err
		}
		odd.Parents = append(odd.Parents, parent)
	}
	if len(odd.Parents) > 0 {
		odd.Parent = odd.Parents[0]
	}
	for line := range strings.Lines(h.rest) {
		if committer, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "committer "); ok {
			_, odd.CommittedAt = parsePerson(committer) // for the order of walks alone
			break
		}
	}
	return odd, nil
}

// headers reads a commit's headers in turn.
type headers struct {
	rest string
	// key and value are those of the present line, raw its bytes with the lines that continue it.
	key, value, raw string
}

// next goes on to the next header; it is false at the empty line before the message.
func (h *headers) next() (bool, error) {
	if strings.HasPrefix(h.rest, "\n") {
		return false, nil
	}
	end := strings.IndexByte(h.rest, '\n')
	if end < 0 || h.rest[0] == ' ' {
		return false, errForm
	}
	line := h.rest[:end]
	end++
	for end < len(h.rest) && h.rest[end] == ' ' {
		n := strings.IndexByte(h.rest[end:], '\n')
		if n < 0 {
			return false, errForm
		}
		end += n + 1
	}
	h.raw, h.rest = h.rest[:end], h.rest[end:]
	h.key, h.value, _ = strings.Cut(line, " ")
	return true, nil
}

// one reads a header that must be there, on one line.
func (h *headers) one(key string) (string, error) {
	ok, err := h.next()
	if err != nil {
		return "", err
	}
	if !ok || h.key != key || len(h.raw) != len(key)+1+len(h.value)+1 {
		return "", fmt.Errorf("its header %s is missing: %w", key, errForm)
	}
	return h.value, nil
}

func parseCommit(b string) (*Commit, error) {
	if strings.IndexByte(b, 0) >= 0 {
		// Git shows nothing of what comes after it.
		return nil, fmt.Errorf("it has a NUL byte: %w", errForm)
	}
	c, h := &Commit{}, &headers{rest: b}
	var err error
	if c.Tree, err = h.one("tree"); err != nil || !isHash(c.Tree) {
		return nil, fmt.Errorf("its tree: %w", errForm)
	}
	for strings.HasPrefix(h.rest, "parent ") {
		p, err := h.one("parent")
		if err != nil || !isHash(p) {
			return nil, fmt.Errorf("a parent: %w", errForm)
		}
		c.Parents = append(c.Parents, p)
	}
	if len(c.Parents) > 0 {
		c.Parent = c.Parents[0]
	}
	author, err := h.one("author")
	if err != nil {
		return nil, err
	}
	committer, err := h.one("committer")
	if err != nil {
		return nil, err
	}
	c.Author, c.AuthoredAt = parsePerson(author)
	c.Committer, c.CommittedAt = parsePerson(committer)
	kept := []string{b[:len(b)-len(h.rest)]}
	for {
		ok, err := h.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		switch h.key {
		case "tree", "parent", "author", "committer":
			return nil, fmt.Errorf("its header %s is duplicate or out of place: %w", h.key, errForm)
		case "gpgsig":
			if c.Signature != "" {
				return nil, fmt.Errorf("it has two signatures: %w", errForm)
			}
			c.Signature = strings.ReplaceAll(h.raw[len("gpgsig "):], "\n ", "\n")
		case "gpgsig-sha256":
			// The signature for the same commit under its other name signs neither.
		default:
			kept = append(kept, h.raw)
		}
	}
	c.Message = h.rest[1:]
	if c.Signature != "" {
		c.Payload = []byte(strings.Join(append(kept, h.rest), ""))
	}
	return c, nil
}

// parsePerson reads "Name <mail> 1700000000 +0100". Other forms give an address that is none, or
// no date.
func parsePerson(s string) (Person, time.Time) {
	open, end := strings.IndexByte(s, '<'), strings.LastIndexByte(s, '>')
	if open < 0 || end < open {
		return Person{Name: strings.TrimSpace(s)}, time.Time{}
	}
	p := Person{Name: strings.TrimSpace(s[:open]), Email: s[open+1 : end]}
	seconds, zone, ok := strings.Cut(strings.TrimSpace(s[end+1:]), " ")
	at, err := strconv.ParseInt(seconds, 10, 64)
	if !ok || err != nil || len(zone) != 5 || at < 0 || at > 1<<40 {
		return p, time.Time{}
	}
	return p, time.Unix(at, 0).UTC()
}
