package history

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/objfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// maxObject bounds trees and commits: larger ones are an attack, not a repository.
const maxObject = 64 << 20

// objects reads objects out of a repository's packs and loose files and out of its alternates. go-git's own
// object storage opens the pack anew for each object over 16 kB and a whole alternate anew for each object
// in it; its parts, used here, do not.
type objects struct {
	folders []*objectFolder
}

// objectFolder is one folder of objects: the repository's own first, then the alternates.
type objectFolder struct {
	dir   *dotgit.DotGit
	packs []pack
}

type pack struct {
	index *idxfile.MemoryIndex
	file  billy.File
	pack  *packfile.Packfile
}

// packCache is what the packs share to keep the bases of deltas in.
const packCache = 24 * cache.MiByte

// openObjects opens the objects folder and all that it borrows from.
func openObjects(folder string) (*objects, error) {
	o := &objects{}
	shared := cache.NewObjectLRU(packCache)
	paths := []string{folder}
	seen := map[string]bool{}
	for len(paths) > 0 {
		at := filepath.Clean(paths[0])
		paths = paths[1:]
		if seen[at] {
			continue
		}
		seen[at] = true
		if len(seen) > 64 {
			return nil, errors.Join(fmt.Errorf("%s borrows from more than 64 object folders", folder), o.close())
		}
		f, err := openObjectFolder(at, shared)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open the objects in %s: %w", at, err), o.close())
		}
		o.folders = append(o.folders, f)
		more, err := alternates(at)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read the alternates of %s: %w", at, err), o.close())
		}
		paths = append(paths, more...)
	}
	return o, nil
}

// alternates are the folders that an objects folder borrows from (gitrepository-layout(5)).
func alternates(folder string) ([]string, error) {
	f, err := os.Open(filepath.Join(folder, "info", "alternates"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		l := lines.Text()
		switch {
		case l == "" || l[0] == '#':
			continue
		case l[0] == '"':
			return nil, fmt.Errorf("the quoted path %s is not understood", l)
		case !filepath.IsAbs(l):
			l = filepath.Join(folder, l)
		}
		out = append(out, l)
	}
	return out, lines.Err()
}

func openObjectFolder(at string, shared cache.Object) (*objectFolder, error) {
	if filepath.Base(at) != "objects" {
		return nil, errors.New("a folder of objects is called objects")
	}
	if info, err := os.Stat(at); err != nil || !info.IsDir() {
		return nil, errors.Join(errors.New("there is no such folder"), err)
	}
	f := &objectFolder{dir: dotgit.New(osfs.New(filepath.Dir(at)))}
	names, err := f.dir.ObjectPacks()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		p, err := openPack(f.dir, name, shared)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("pack-%s: %w", name, err), f.close())
		}
		f.packs = append(f.packs, p)
	}
	return f, nil
}

func openPack(dir *dotgit.DotGit, name plumbing.Hash, shared cache.Object) (pack, error) {
	idx, err := dir.ObjectPackIdx(name)
	if err != nil {
		return pack{}, err
	}
	p := pack{index: idxfile.NewMemoryIndex()}
	err = idxfile.NewDecoder(idx).Decode(p.index)
	if err = errors.Join(err, idx.Close()); err != nil {
		return pack{}, err
	}
	if p.file, err = dir.ObjectPack(name); err != nil {
		return pack{}, err
	}
	// Without a filesystem it reads from the one open file.
	p.pack = packfile.NewPackfileWithCache(p.index, nil, p.file, shared, 0)
	return p, nil
}

func (f *objectFolder) close() error {
	var errs []error
	for _, p := range f.packs {
		errs = append(errs, p.file.Close())
	}
	return errors.Join(errs...)
}

func (o *objects) close() error {
	var errs []error
	for _, f := range o.folders {
		errs = append(errs, f.close())
	}
	return errors.Join(errs...)
}

// read returns an object whole and says of which type it is. It is ErrNotFound where there is none.
func (o *objects) read(h plumbing.Hash, limit int64) (plumbing.ObjectType, []byte, error) {
	for _, f := range o.folders {
		for i := range f.packs {
			p := &f.packs[i]
			offset, err := p.index.FindOffset(h)
			if errors.Is(err, plumbing.ErrObjectNotFound) {
				continue
			}
			if err != nil {
				return plumbing.InvalidObject, nil, err
			}
			return p.read(h, offset, limit)
		}
		t, b, err := f.loose(h, limit)
		if !errors.Is(err, ErrNotFound) {
			return t, b, err
		}
	}
	return plumbing.InvalidObject, nil, ErrNotFound
}

func (p *pack) read(h plumbing.Hash, offset, limit int64) (plumbing.ObjectType, []byte, error) {
	size, err := p.pack.GetSizeByOffset(offset)
	if err != nil {
		return plumbing.InvalidObject, nil, err
	}
	if size > limit {
		return plumbing.InvalidObject, nil, tooLarge(size)
	}
	e, err := p.pack.Get(h)
	if err != nil {
		return plumbing.InvalidObject, nil, err
	}
	r, err := e.Reader()
	if err != nil {
		return plumbing.InvalidObject, nil, err
	}
	b := make([]byte, e.Size())
	_, err = io.ReadFull(r, b)
	return e.Type(), b, errors.Join(err, r.Close())
}

func tooLarge(size int64) error { return fmt.Errorf("it has %d bytes: %w", size, ErrTooLarge) }

func (f *objectFolder) loose(h plumbing.Hash, limit int64) (t plumbing.ObjectType, b []byte, err error) {
	file, err := f.dir.Object(h)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, plumbing.ErrObjectNotFound) {
		return plumbing.InvalidObject, nil, ErrNotFound
	}
	if err != nil {
		return plumbing.InvalidObject, nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r, err := objfile.NewReader(file)
	if err != nil {
		return plumbing.InvalidObject, nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	t, size, err := r.Header()
	if err != nil {
		return plumbing.InvalidObject, nil, err
	}
	if size > limit {
		return t, nil, tooLarge(size)
	}
	b = make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return t, nil, err
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return t, nil, errors.New("it is longer than it says")
	}
	return t, b, nil
}

// withPrefix are the hashes of all objects that begin with the prefix, in lower-case hex of even length or odd.
func (o *objects) withPrefix(prefix string) ([]plumbing.Hash, error) {
	even := plumbing.NewHash(prefix[:len(prefix)&^1] + strings.Repeat("0", 40-len(prefix)&^1))
	whole := even[:len(prefix)/2]
	var out []plumbing.Hash
	for _, f := range o.folders {
		loose, err := f.dir.ObjectsWithPrefix(whole)
		if err != nil {
			return nil, err
		}
		out = append(out, loose...)
		for _, p := range f.packs {
			entries, err := p.index.Entries()
			if err != nil {
				return nil, err
			}
			for {
				e, err := entries.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return nil, err
				}
				if bytes.HasPrefix(e.Hash[:], whole) {
					out = append(out, e.Hash)
				}
			}
		}
	}
	kept := out[:0]
	for _, h := range out {
		if strings.HasPrefix(h.String(), prefix) {
			kept = append(kept, h)
		}
	}
	return kept, nil
}
