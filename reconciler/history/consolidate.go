package history

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

const (
	// maxSmallPacks is how many small packs are left as they are. Each fetch brings one, and each is an open file for those
	// who read the clone.
	maxSmallPacks = 16
	// smallPack is how many objects the packs have that are put together.
	smallPack = 4096
)

// consolidate puts small packs together into one. Readers who have the old ones open keep them, and find the new one when
// they miss something.
func consolidate(files *filesystem.Storage) (err error) {
	packs, err := files.ObjectPacks()
	if err != nil || len(packs) <= maxSmallPacks {
		return err
	}
	fs := files.Filesystem()
	lock, err := fs.OpenFile(referenceLock, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // unlocks it
	if err := lock.Lock(); err != nil {
		return err
	}
	if packs, err = files.ObjectPacks(); err != nil {
		return err
	}
	var small, objects []plumbing.Hash
	seen := map[plumbing.Hash]bool{}
	for _, p := range packs {
		base := "objects/pack/pack-" + p.String()
		if kept(fs.Stat, base) {
			continue
		}
		list, err := objectsOf(fs.Open, base+".idx")
		if errors.Is(err, os.ErrNotExist) {
			continue // another fetch has put it together
		}
		if err != nil {
			return fmt.Errorf("read %s.idx: %w", base, err)
		}
		if len(list) > smallPack {
			continue
		}
		small = append(small, p)
		for _, h := range list {
			if !seen[h] {
				seen[h] = true
				objects = append(objects, h)
			}
		}
	}
	if len(small) <= maxSmallPacks {
		return nil
	}
	made, err := writePack(files, objects)
	if err != nil {
		return fmt.Errorf("put %d packs together: %w", len(small), err)
	}
	for _, p := range small {
		if p != made {
			if err := files.DeleteOldObjectPackAndIndex(p, time.Time{}); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// kept reports whether a pack is marked as one to leave alone.
func kept(stat func(string) (os.FileInfo, error), base string) bool {
	for _, mark := range []string{".keep", ".promisor"} {
		if _, err := stat(base + mark); err == nil {
			return true
		}
	}
	return false
}

func objectsOf[F io.ReadCloser](open func(string) (F, error), path string) (out []plumbing.Hash, err error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	index := idxfile.NewMemoryIndex()
	if err := idxfile.NewDecoder(f).Decode(index); err != nil {
		return nil, err
	}
	entries, err := index.Entries()
	if err != nil {
		return nil, err
	}
	for {
		e, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, e.Hash)
	}
}

func writePack(files *filesystem.Storage, objects []plumbing.Hash) (made plumbing.Hash, err error) {
	w, err := files.PackfileWriter()
	if err != nil {
		return made, err
	}
	made, err = packfile.NewEncoder(w, files, false).Encode(objects, 10)
	return made, errors.Join(err, w.Close())
}
