package history

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/util"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// Resolve returns the full hash of the commit that a revision names: HEAD or @, a branch, origin/branch, a
// tag, a full reference, a full or abbreviated hash, each followed by any of ~N, ^N, ^{} and ^{commit}.
//
// Unlike git it refuses what could mean two commits, such as a tag that is called like the branch: anyone who
// may push a tag could otherwise choose what is applied.
func (r *Repository) Resolve(rev string) (string, error) {
	if rev == "" {
		return "", errors.New("no revision was named")
	}
	name, steps := rev, ""
	if i := strings.IndexAny(rev, "~^"); i >= 0 {
		name, steps = rev[:i], rev[i:]
	}
	hash, err := r.resolveName(name)
	if err == nil {
		hash, err = r.follow(hash, steps)
	}
	if err != nil {
		return "", fmt.Errorf("revision %q: %w", rev, err)
	}
	return hash, nil
}

func (r *Repository) follow(hash, steps string) (string, error) {
	for steps != "" {
		kind := steps[0]
		steps = steps[1:]
		if kind == '^' {
			if rest, ok := strings.CutPrefix(steps, "{}"); ok {
				steps = rest
				continue
			}
			if rest, ok := strings.CutPrefix(steps, "{commit}"); ok {
				steps = rest
				continue
			}
		}
		end := strings.IndexFunc(steps, func(c rune) bool { return c < '0' || c > '9' })
		if end < 0 {
			end = len(steps)
		}
		n := 1
		if end > 0 {
			var err error
			if n, err = strconv.Atoi(steps[:end]); err != nil {
				return "", err
			}
		}
		steps = steps[end:]
		if steps != "" && steps[0] != '~' && steps[0] != '^' {
			return "", fmt.Errorf("%q is not understood: %w", steps, ErrNoRevision)
		}
		switch {
		case kind == '~':
			for range n {
				c, err := r.Lenient(hash)
				if err != nil {
					return "", err
				}
				if c.Parent == "" {
					return "", fmt.Errorf("%s doesn't have a parent: %w", hash, ErrNoRevision)
				}
				hash = c.Parent
			}
		case n > 0:
			c, err := r.Lenient(hash)
			if err != nil {
				return "", err
			}
			if n > len(c.Parents) {
				return "", fmt.Errorf("%s has %d parents: %w", hash, len(c.Parents), ErrNoRevision)
			}
			hash = c.Parents[n-1]
		}
	}
	_, err := r.Lenient(hash)
	return hash, err
}

// resolveName finds the commit of a name without steps.
func (r *Repository) resolveName(name string) (string, error) {
	if name == "@" {
		name = "HEAD"
	}
	if isHash(strings.ToLower(name)) {
		return r.peel(plumbing.NewHash(name))
	}
	if name == "" || strings.ContainsAny(name, " :?*[\\\x7f") || strings.Contains(name, "..") || strings.Contains(name, "@{") ||
		strings.HasPrefix(name, "/") || strings.HasPrefix(name, "-") || strings.IndexFunc(name, func(c rune) bool { return c < ' ' }) >= 0 {
		return "", fmt.Errorf("it is not understood here: %w", ErrNoRevision)
	}
	var refs []string
	if name == "HEAD" || strings.HasPrefix(name, "refs/") {
		refs = append(refs, name)
	}
	if name != "HEAD" {
		refs = append(refs, "refs/"+name, "refs/tags/"+name, "refs/heads/"+name, "refs/remotes/"+name, "refs/remotes/"+name+"/HEAD")
	}
	found := map[string]string{} // commit → the reference
	var names, commits []string
	for _, ref := range refs {
		h, err := r.reference(ref)
		if errors.Is(err, ErrNoRevision) {
			continue
		}
		var commit string
		if err == nil {
			commit, err = r.peel(h)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", ref, err)
		}
		if found[commit] == "" {
			found[commit] = ref
			names, commits = append(names, ref), append(commits, commit)
		}
	}
	if n := len(name); n >= 4 && n < 40 && isHex(strings.ToLower(name)) {
		r.mu.Lock()
		hashes, err := r.objects.withPrefix(strings.ToLower(name))
		r.mu.Unlock()
		if err != nil {
			return "", fmt.Errorf("look for its hash: %w", err)
		}
		for _, h := range hashes {
			commit, err := r.peel(h)
			if errors.Is(err, errNoCommit) {
				continue
			}
			if err != nil {
				return "", err
			}
			if found[commit] == "" {
				found[commit] = "commit " + commit
				names, commits = append(names, found[commit]), append(commits, commit)
			}
		}
	}
	switch len(commits) {
	case 0:
		return "", ErrNoRevision
	case 1:
		return commits[0], nil
	}
	slices.Sort(names)
	return "", fmt.Errorf("it is ambiguous: it could be %s; name it in full", strings.Join(names, " or "))
}

// reference reads a reference, through symbolic ones, as HEAD mostly is.
func (r *Repository) reference(name string) (plumbing.Hash, error) {
	for range 8 {
		ref, err := r.readReference(plumbing.ReferenceName(name))
		if errors.Is(err, plumbing.ErrReferenceNotFound) || errors.Is(err, os.ErrNotExist) ||
			errors.Is(err, dotgit.ErrReferenceNameEscape) {
			return plumbing.ZeroHash, ErrNoRevision
		}
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if ref.Type() == plumbing.HashReference {
			return ref.Hash(), nil
		}
		name = ref.Target().String()
	}
	return plumbing.ZeroHash, errors.New("its symbolic references go in circles")
}

// readReference reads a reference file. One that another process is writing is empty for a moment, and read again: git's
// packed references would have an older commit, or none.
func (r *Repository) readReference(name plumbing.ReferenceName) (*plumbing.Reference, error) {
	for attempt := range referenceTries {
		if attempt > 0 {
			time.Sleep(referenceWait)
		}
		r.mu.Lock()
		ref, err := r.refs.Ref(name)
		if errors.Is(err, dotgit.ErrReferenceNameEscape) {
			r.mu.Unlock()
			return nil, err
		}
		content, loose := util.ReadFile(r.refs.Fs(), name.String())
		r.mu.Unlock()
		text := strings.TrimSpace(string(content))
		switch {
		case loose != nil:
			return ref, err // packed, or missing
		case isHash(text), strings.HasPrefix(text, "ref: "):
			return plumbing.NewReferenceFromStrings(name.String(), text), nil
		}
	}
	return nil, fmt.Errorf("the file of %s does not name a commit: run git fsck", name)
}

const (
	referenceTries = 50
	referenceWait  = 10 * time.Millisecond
)

var errNoCommit = fmt.Errorf("it is not a commit: %w", ErrNoRevision)

// peel follows tags to the commit.
func (r *Repository) peel(h plumbing.Hash) (string, error) {
	for range 16 {
		t, b, err := r.object(h, maxObject)
		if errors.Is(err, ErrTooLarge) {
			return "", errNoCommit
		}
		if err != nil {
			return "", err
		}
		switch t {
		case plumbing.CommitObject:
			return h.String(), nil
		case plumbing.TagObject:
			line, _, _ := bytes.Cut(b, []byte("\n"))
			target, ok := bytes.CutPrefix(line, []byte("object "))
			if !ok || !isHash(string(target)) {
				return "", fmt.Errorf("tag %s: %w", h, errForm)
			}
			h = plumbing.NewHash(string(target))
		default:
			return "", errNoCommit
		}
	}
	return "", errors.New("its tags go on and on")
}

func isHex(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return (c < '0' || c > '9') && (c < 'a' || c > 'f') }) < 0
}

func isHash(s string) bool { return len(s) == 40 && isHex(s) }
