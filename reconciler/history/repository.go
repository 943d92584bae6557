package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

var (
	// ErrTooLarge says that a blob is larger than the caller takes.
	ErrTooLarge = errors.New("the blob is too large")
	// ErrNotFound says that the repository has no such object.
	ErrNotFound = errors.New("the repository has no such object")
)

// Repository is a clone, bare or ordinary. It is not safe for concurrent use: go-git's storage is not.
type Repository struct {
	gitDir, workTree string
	repo             *git.Repository
	commits          map[string]*Commit // the last ones parsed
}

// Open finds the repository that holds dir: a work tree, a folder in one, a linked work tree or a bare
// clone. A shallow clone is refused, since its history cannot be judged.
func Open(dir string) (*Repository, error) {
	at, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the repository: %w", err)
	}
	for {
		gitDir, workTree, err := gitDirAt(at)
		if err != nil {
			return nil, fmt.Errorf("open the repository at %s: %w", at, err)
		}
		if gitDir != "" {
			return open(gitDir, workTree)
		}
		if at == filepath.Dir(at) {
			return nil, fmt.Errorf("%s is in no Git repository; make one with git init, or name it with --repo", dir)
		}
		at = filepath.Dir(at)
	}
}

// gitDirAt says whether a folder is a work tree or a bare repository.
func gitDirAt(at string) (gitDir, workTree string, err error) {
	dotGit := filepath.Join(at, ".git")
	info, err := os.Stat(dotGit)
	switch {
	case err == nil && info.IsDir():
		return dotGit, at, nil
	case err == nil:
		b, err := os.ReadFile(dotGit)
		if err != nil {
			return "", "", err
		}
		target, ok := strings.CutPrefix(strings.TrimSpace(string(b)), "gitdir: ")
		if !ok {
			return "", "", fmt.Errorf("%s is no Git link", dotGit)
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(at, target)
		}
		return target, at, nil
	case !errors.Is(err, os.ErrNotExist):
		return "", "", err
	}
	for _, part := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(at, part)); err != nil {
			return "", "", nil
		}
	}
	return at, "", nil
}

func open(gitDir, workTree string) (*Repository, error) {
	// A linked work tree keeps its own HEAD and shares the rest.
	common := gitDir
	if b, err := os.ReadFile(filepath.Join(gitDir, "commondir")); err == nil {
		if common = strings.TrimSpace(string(b)); !filepath.IsAbs(common) {
			common = filepath.Join(gitDir, common)
		}
	}
	if info, err := os.Stat(filepath.Join(common, "shallow")); err == nil && info.Size() > 0 {
		return nil, fmt.Errorf("%s is a shallow clone, whose history cannot be judged: git fetch --unshallow (in a workflow: fetch-depth: 0)", gitDir)
	}
	var fs billy.Filesystem = osfs.New(gitDir)
	if common != gitDir {
		fs = dotgit.NewRepositoryFilesystem(fs, osfs.New(common))
	}
	storage := filesystem.NewStorageWithOptions(fs, cache.NewObjectLRU(16*cache.MiByte), filesystem.Options{
		KeepDescriptors: true, AlternatesFS: osfs.New("/"),
	})
	repo, err := git.Open(storage, nil)
	if err != nil {
		return nil, fmt.Errorf("open the repository %s: %w", gitDir, err)
	}
	return &Repository{gitDir: common, workTree: workTree, repo: repo, commits: map[string]*Commit{}}, nil
}

// GitDir is the Git directory, shared by linked work trees.
func (r *Repository) GitDir() string { return r.gitDir }

// WorkTree is the work tree's root; "" for a bare clone.
func (r *Repository) WorkTree() string { return r.workTree }

// Resolve returns the full hash of the commit that a revision names.
func (r *Repository) Resolve(rev string) (string, error) {
	if rev == "" {
		return "", errors.New("no revision was named")
	}
	h, err := r.repo.ResolveRevision(plumbing.Revision(rev))
	if err != nil {
		return "", fmt.Errorf("there is no revision %q here: %w", rev, err)
	}
	return h.String(), nil
}

// raw reads an object of a type, whole.
func (r *Repository) raw(typ plumbing.ObjectType, hash string, limit int64) ([]byte, error) {
	o, err := r.repo.Storer.EncodedObject(typ, plumbing.NewHash(hash))
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, fmt.Errorf("%s %s: %w", typ, hash, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", typ, hash, err)
	}
	if o.Size() > limit {
		return nil, fmt.Errorf("%s %s has %d bytes: %w", typ, hash, o.Size(), ErrTooLarge)
	}
	rd, err := o.Reader()
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", typ, hash, err)
	}
	b, err := io.ReadAll(io.LimitReader(rd, limit+1))
	if err := errors.Join(err, rd.Close()); err != nil {
		return nil, fmt.Errorf("read %s %s: %w", typ, hash, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s %s: %w", typ, hash, ErrTooLarge)
	}
	return b, nil
}

// Blob returns a blob's content, if it has at most limit bytes.
func (r *Repository) Blob(hash string, limit int64) ([]byte, error) {
	return r.raw(plumbing.BlobObject, hash, limit)
}

// maxObject bounds trees and commits: larger ones are an attack, not a repository.
const maxObject = 64 << 20

// IsAncestor says whether a is b, or reachable from it.
func (r *Repository) IsAncestor(ctx context.Context, a, b string) (bool, error) {
	if a == b {
		return true, nil
	}
	if _, err := r.Commit(a); err != nil {
		return false, err
	}
	// Along the first parents it is found at once, almost always.
	at := b
	for range 100_000 {
		c, err := r.Commit(at)
		if err != nil {
			return false, err
		}
		if c.Parent == a {
			return true, nil
		}
		if c.Parent == "" {
			break
		}
		at = c.Parent
	}
	seen := map[string]bool{b: true}
	queue := []string{b}
	for len(queue) > 0 {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		c, err := r.Commit(queue[0])
		if err != nil {
			return false, err
		}
		queue = queue[1:]
		for _, p := range c.Parents {
			if p == a {
				return true, nil
			}
			if !seen[p] {
				seen[p] = true
				queue = append(queue, p)
			}
		}
	}
	return false, nil
}

// MergeBase returns the one best common ancestor of two commits.
func (r *Repository) MergeBase(_ context.Context, a, b string) (string, error) {
	ca, err := r.repo.CommitObject(plumbing.NewHash(a))
	if err != nil {
		return "", fmt.Errorf("read commit %s: %w", a, err)
	}
	cb, err := r.repo.CommitObject(plumbing.NewHash(b))
	if err != nil {
		return "", fmt.Errorf("read commit %s: %w", b, err)
	}
	// The ordinary case, a branch that forked from the line of the base, needs no walk of the whole graph.
	if ok, err := r.onFirstParents(a, b); err == nil && ok {
		return a, nil
	}
	bases, err := ca.MergeBase(cb)
	if err != nil {
		return "", fmt.Errorf("find the merge base: %w", err)
	}
	switch len(bases) {
	case 1:
		return bases[0].Hash.String(), nil
	case 0:
		return "", errors.New("the two have no commit in common")
	}
	return "", fmt.Errorf("the two have %d merge bases: merge the base into the change first", len(bases))
}

// onFirstParents says whether a stands a few first parents behind b.
func (r *Repository) onFirstParents(a, b string) (bool, error) {
	at := b
	for range 1000 {
		if at == a {
			return true, nil
		}
		c, err := r.Commit(at)
		if err != nil || c.Parent == "" {
			return false, err
		}
		at = c.Parent
	}
	return false, nil
}
