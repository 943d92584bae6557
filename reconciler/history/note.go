package history

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// maxNote bounds the text that a reference leads to.
const maxNote = 4 << 10

// Note returns the text that a reference of the repository leads to, such as refs/countersign/head; "" where there is
// none. The reference is of a blob: no branch and no fetch of branches has it.
func (r *Repository) Note(name string) (string, error) {
	h, err := r.reference(name)
	if errors.Is(err, ErrNoRevision) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	b, err := r.Blob(h.String(), maxNote)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	return string(b), nil
}

// SetNote lets a reference lead to a text.
func (r *Repository) SetNote(name, text string) (err error) {
	s := storer{filesystem.NewStorage(osfs.New(r.gitDir), cache.NewObjectLRUDefault())}
	o := s.NewEncodedObject()
	o.SetType(plumbing.BlobObject)
	w, err := o.Writer()
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, text)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	h, err := s.SetEncodedObject(o)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := s.SetReference(plumbing.NewHashReference(plumbing.ReferenceName(name), h)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
