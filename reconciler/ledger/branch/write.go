package branch

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/countersign/countersign/reconciler/ledger"
)

// commit writes a commit that adds one file.
func (b *Branch) commit(parent plumbing.Hash, batch ledger.Batch) (plumbing.Hash, error) {
	now := b.config.Now().UTC()
	blob, err := b.store(plumbing.BlobObject, func(w io.Writer) error {
		for _, l := range batch.Lines {
			if _, err := io.WriteString(w, l+"\n"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return plumbing.ZeroHash, err
	}
	var root *object.Tree
	c := &object.Commit{Message: fmt.Sprintf("ledger: records %d to %d\n\nhead %s\n", batch.First, batch.Last, batch.Head)}
	if batch.Note != "" {
		c.Message += "\n" + batch.Note
	}
	if !parent.IsZero() {
		c.ParentHashes = []plumbing.Hash{parent}
		p, err := b.repo.CommitObject(parent)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if root, err = p.Tree(); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	way := append(strings.Split(now.Format("2006/01/02"), "/"), pad(fmt.Sprint(batch.First))+".jsonl")
	if c.TreeHash, err = b.insert(root, way, blob); err != nil {
		return plumbing.ZeroHash, err
	}
	c.Author = object.Signature{Name: "countersign", Email: "countersign@localhost.invalid", When: now}
	c.Committer = c.Author
	return b.store(plumbing.CommitObject, func(w io.Writer) error { return encode(w, c) })
}

// insert puts a file into a tree, under folders.
func (b *Branch) insert(t *object.Tree, way []string, blob plumbing.Hash) (plumbing.Hash, error) {
	var entries []object.TreeEntry
	var below *object.Tree
	if t != nil {
		for _, e := range t.Entries {
			if e.Name != way[0] {
				entries = append(entries, e)
				continue
			}
			if len(way) == 1 {
				return plumbing.ZeroHash, fmt.Errorf("there is a file %s already", way[0])
			}
			var err error
			if below, err = b.repo.TreeObject(e.Hash); err != nil {
				return plumbing.ZeroHash, err
			}
		}
	}
	entry := object.TreeEntry{Name: way[0], Mode: filemode.Regular, Hash: blob}
	if len(way) > 1 {
		entry.Mode = filemode.Dir
		var err error
		if entry.Hash, err = b.insert(below, way[1:], blob); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	entries = append(entries, entry)
	// Names have one length on each level, so that the order of bytes is Git's.
	slices.SortFunc(entries, func(x, y object.TreeEntry) int { return strings.Compare(x.Name, y.Name) })
	return b.store(plumbing.TreeObject, func(w io.Writer) error { return encode(w, &object.Tree{Entries: entries}) })
}

type encoder interface {
	Encode(plumbing.EncodedObject) error
}

// encode writes an object as go-git does.
func encode(w io.Writer, e encoder) error {
	o := &plumbing.MemoryObject{}
	if err := e.Encode(o); err != nil {
		return err
	}
	r, err := o.Reader()
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, r.Close())
}

func (b *Branch) store(kind plumbing.ObjectType, write func(io.Writer) error) (plumbing.Hash, error) {
	o := b.repo.Storer.NewEncodedObject()
	o.SetType(kind)
	w, err := o.Writer()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if err := errors.Join(write(w), w.Close()); err != nil {
		return plumbing.ZeroHash, err
	}
	return b.repo.Storer.SetEncodedObject(o)
}
