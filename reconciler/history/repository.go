package history

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/config"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

var (
	// ErrTooLarge means that a blob is larger than the caller takes.
	ErrTooLarge = errors.New("the object is too large")
	// ErrNotFound means that the repository does not have the object.
	ErrNotFound = errors.New("object not found in the repository")
	// ErrNoRevision means that a revision names nothing here.
	ErrNoRevision = errors.New("revision not found (run git fetch, or name another)")
	// ErrNoMergeBase means that two commits lack a merge base, or have several.
	ErrNoMergeBase = errors.New("there is not one merge base")
	// ErrOffLine means that a walk cannot begin at a commit, since it is not on the first-parent line.
	ErrOffLine = errors.New("it is not on the first-parent line")
	// ErrNoRepository means that a folder is in none.
	ErrNoRepository = errors.New("is in no Git repository; make one with git init, or name it with --repo")
	// ErrShallow means that a clone lacks its older commits.
	ErrShallow = errors.New("it is a shallow clone, whose history cannot be judged: git fetch --unshallow (in a workflow: fetch-depth: 0)")
)

// Repository is a clone, bare or ordinary. It is safe for concurrent use; objects are read one at a time.
// It may stay open while others fetch and repack: a missing object is looked for once more.
type Repository struct {
	gitDir, workTree string
	partial          bool

	mu      sync.Mutex // guards what follows
	refs    *dotgit.DotGit
	objects *objects
	commits recent[*Commit]
}

// Open opens the repository at dir: a work tree, a folder in one, a linked work tree or a bare clone. A shallow clone
// is refused with ErrShallow, one of another user with ErrOwner. The environment's GIT_ variables are ignored.
func Open(dir string) (*Repository, error) { return find(dir, true) }

// Discover is Open for a folder that nobody named, such as the current one: a bare repository is refused with ErrBare.
// A work tree may contain one as ordinary files of a colleague's branch.
func Discover(dir string) (*Repository, error) { return find(dir, false) }

// ErrBare means that a bare repository was found and not named.
var ErrBare = errors.New("it is a bare repository that was not named")

func find(dir string, named bool) (*Repository, error) {
	start, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the repository: %w", err)
	}
	at := start
	for {
		gitDir, workTree, err := gitDirAt(at)
		if err == nil && gitDir != "" && workTree == "" && !(named && at == start) {
			err = fmt.Errorf("%w; if you trust it, name it with --repo %s", ErrBare, at)
		}
		if err != nil {
			return nil, fmt.Errorf("open the repository at %s: %w", at, err)
		}
		if gitDir != "" {
			r, err := open(gitDir, workTree)
			if err != nil {
				return nil, fmt.Errorf("open the repository %s: %w", gitDir, err)
			}
			return r, nil
		}
		if at == filepath.Dir(at) {
			return nil, fmt.Errorf("%s %w", dir, ErrNoRepository)
		}
		at = filepath.Dir(at)
	}
}

// gitDirAt reports whether a folder is a work tree or a bare repository.
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
		target, ok := strings.CutPrefix(strings.TrimRight(string(b), "\r\n"), "gitdir: ")
		if !ok {
			return "", "", fmt.Errorf("%s is not a Git link", dotGit)
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
	if err := checkOwner(gitDir, workTree); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(gitDir, "HEAD")); err != nil {
		return nil, fmt.Errorf("it is not a Git directory: %w", err)
	}
	// A linked work tree keeps its own HEAD and shares the rest.
	common := gitDir
	b, err := os.ReadFile(filepath.Join(gitDir, "commondir"))
	switch {
	case err == nil:
		if common = strings.TrimRight(string(b), "\r\n"); !filepath.IsAbs(common) {
			common = filepath.Join(gitDir, common)
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	if common != gitDir {
		if err := checkOwner(common, "", workTree); err != nil {
			return nil, err
		}
	}
	info, err := os.Stat(filepath.Join(common, "shallow"))
	switch {
	case err == nil && info.Size() > 0:
		return nil, ErrShallow
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	r := &Repository{gitDir: common, workTree: workTree}
	if err := r.checkFormat(); err != nil {
		return nil, err
	}
	var fs billy.Filesystem = osfs.New(gitDir)
	if common != gitDir {
		fs = dotgit.NewRepositoryFilesystem(fs, osfs.New(common))
	}
	r.refs = dotgit.New(fs)
	if r.objects, err = openObjects(filepath.Join(common, "objects")); err != nil {
		return nil, err
	}
	r.commits.limit = 8192
	return r, nil
}

// checkFormat refuses what would be misread: hashes other than SHA-1, references that are not files.
func (r *Repository) checkFormat() (err error) {
	f, err := os.Open(filepath.Join(r.gitDir, "config"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c := config.New()
	if err := config.NewDecoder(f).Decode(c); err != nil {
		return fmt.Errorf("read its config: %w", err)
	}
	if v := c.Section("core").Option("repositoryformatversion"); v != "" && v != "0" && v != "1" {
		return fmt.Errorf("its format version %s is not known here", v)
	}
	for _, o := range c.Section("extensions").Options {
		switch key, value := strings.ToLower(o.Key), strings.ToLower(o.Value); {
		case key == "objectformat" && value != "sha1":
			return fmt.Errorf("its objects are named by %s; only sha1 is read here", value)
		case key == "refstorage" && value != "files":
			return fmt.Errorf("its references are stored as %s; only files are read here (git refs migrate --ref-format=files)", value)
		case key == "partialclone":
			r.partial = true
		}
	}
	for _, s := range c.Section("remote").Subsections {
		r.partial = r.partial || strings.EqualFold(s.Option("promisor"), "true")
	}
	return nil
}

// GitDir is the Git directory, shared by linked work trees.
func (r *Repository) GitDir() string { return r.gitDir }

// WorkTree is the work tree's root; "" for a bare clone.
func (r *Repository) WorkTree() string { return r.workTree }

// Close closes the packs. The repository cannot be read afterwards.
func (r *Repository) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.objects.close()
}

// Blob returns a blob's content, if it has at most limit bytes; else the error is ErrTooLarge, and the
// content was not read.
func (r *Repository) Blob(hash string, limit int64) ([]byte, error) {
	return r.raw(plumbing.BlobObject, hash, limit)
}

// raw reads a complete object of a type.
func (r *Repository) raw(typ plumbing.ObjectType, hash string, limit int64) ([]byte, error) {
	if !isHash(hash) {
		return nil, fmt.Errorf("%q is not the hash of an object: %w", hash, ErrNotFound)
	}
	t, b, err := r.object(plumbing.NewHash(hash), limit)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", typ, hash, err)
	}
	if t != typ {
		return nil, fmt.Errorf("%s %s: it is a %s: %w", typ, hash, t, ErrNotFound)
	}
	return b, nil
}

// object reads an object of any type. Its content is held against its name, except for trees, of which there
// is much and which are checked in form: a file swapped in the clone, or a made-up collision, is an error.
func (r *Repository) object(h plumbing.Hash, limit int64) (plumbing.ObjectType, []byte, error) {
	t, b, err := r.read(h, limit)
	if errors.Is(err, ErrNotFound) && r.partial {
		return t, nil, fmt.Errorf("%w: this is a partial clone; fetch everything (git fetch --refetch, without a filter)", err)
	}
	if err != nil {
		return t, nil, err
	}
	if t != plumbing.TreeObject {
		if got := plumbing.ComputeHash(t, b); got != h {
			return t, nil, fmt.Errorf("its content has the hash %s: the clone is damaged; run git fsck", got)
		}
	}
	return t, b, nil
}

// read reads an object, and looks once more where it is missing.
func (r *Repository) read(h plumbing.Hash, limit int64) (plumbing.ObjectType, []byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, b, err := r.objects.read(h, limit)
	if err == nil || errors.Is(err, ErrTooLarge) {
		return t, b, err
	}
	// Another process may have repacked: the packs that were opened may be gone, and new ones there.
	fresh, freshErr := openObjects(filepath.Join(r.gitDir, "objects"))
	if freshErr != nil {
		return t, nil, errors.Join(err, freshErr)
	}
	if err := r.objects.close(); err != nil {
		return t, nil, errors.Join(err, fresh.close())
	}
	r.objects = fresh
	return r.objects.read(h, limit)
}

// recent remembers the last values, at least limit and at most twice as many.
type recent[V any] struct {
	limit    int
	now, old map[string]V
}

func (c *recent[V]) get(k string) (V, bool) {
	if v, ok := c.now[k]; ok {
		return v, true
	}
	v, ok := c.old[k]
	if ok {
		c.put(k, v)
	}
	return v, ok
}

func (c *recent[V]) put(k string, v V) {
	if c.now == nil {
		c.now = map[string]V{}
	}
	if len(c.now) >= c.limit {
		c.now, c.old = map[string]V{}, c.now
	}
	c.now[k] = v
}
