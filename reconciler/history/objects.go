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

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/objfile"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// maxObject bounds trees and commits: larger ones are an attack, not a repository.
const maxObject = 64 << 20

// objects reads objects out of a repository's packs and loose files and out of its alternates. go-git's own
// object storage reopens the pack for each object over 16 kB and a complete alternate again for each object
// in it; its parts, used here and in pack.go, do not.
type objects struct {
	folders []*objectFolder
	bases   bases
	// The reader that each object in turn is inflated with.
	in   *bufio.Reader
	zlib io.ReadCloser
}

// objectFolder is one folder of objects: the repository's own first, then the alternates.
type objectFolder struct {
	dir   *dotgit.DotGit
	packs []*pack
}

// openObjects opens the objects folder and all that it borrows from.
func openObjects(folder string) (*objects, error) {
	o := &objects{bases: bases{limit: 12 << 20}, in: bufio.NewReader(nil)}
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
		f, err := openObjectFolder(at)
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

func openObjectFolder(at string) (*objectFolder, error) {
	if filepath.Base(at) != "objects" {
		return nil, errors.New("a folder of objects is called objects")
	}
	if info, err := os.Stat(at); err != nil || !info.IsDir() {
		return nil, errors.Join(errors.New("folder not found"), err)
	}
	f := &objectFolder{dir: dotgit.New(osfs.New(filepath.Dir(at)))}
	names, err := f.dir.ObjectPacks()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		p, err := openPack(f.dir, name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("pack-%s: %w", name, err), f.close())
		}
		f.packs = append(f.packs, p)
	}
	return f, nil
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

// read returns a complete object with its type. The error is ErrNotFound where it does not exist.
func (o *objects) read(h plumbing.Hash, limit int64) (plumbing.ObjectType, []byte, error) {
	for _, f := range o.folders {
		for _, p := range f.packs {
			offset, err := p.index.FindOffset(h)
			if errors.Is(err, plumbing.ErrObjectNotFound) {
				continue
			}
			if err != nil {
				return plumbing.InvalidObject, nil, err
			}
			return o.unpack(p, offset, limit)
		}
		t, b, err := f.loose(h, limit)
		if !errors.Is(err, ErrNotFound) {
			return t, b, err
		}
	}
	return plumbing.InvalidObject, nil, ErrNotFound
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
		return t, nil, errors.New("it is longer than its header declares")
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
