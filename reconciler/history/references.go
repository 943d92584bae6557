package history

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// storer writes references as git does: into a new file that then replaces the old one. go-git truncates the old file
// first, so that a process that reads the reference meanwhile finds it empty.
type storer struct{ *filesystem.Storage }

// The lock is one for all references and is held for one write. The kernel releases it when its process dies, unlike
// git's own lock files. Both files are among the objects, where linked work trees share them and git prunes leftovers.
const (
	referenceLock = "objects/tmp_obj_reference_lock"
	nextReference = "objects/tmp_obj_reference"
)

// SetReference writes a reference.
func (s storer) SetReference(ref *plumbing.Reference) error { return s.CheckAndSetReference(ref, nil) }

// CheckAndSetReference writes a reference unless another process changed it from old to something else; nil is not
// checked.
func (s storer) CheckAndSetReference(ref, old *plumbing.Reference) (err error) {
	if ref.Type() != plumbing.HashReference || !strings.HasPrefix(ref.Name().String(), "refs/") || ref.Name().Validate() != nil {
		return s.Storage.CheckAndSetReference(ref, old)
	}
	fs := s.Filesystem()
	lock, err := fs.OpenFile(referenceLock, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return fmt.Errorf("lock the references: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // unlocks it
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("lock the references: %w", err)
	}
	if old != nil {
		is, err := s.Reference(old.Name())
		if err != nil {
			return err
		}
		switch is.Hash() {
		case old.Hash():
		case ref.Hash():
			return nil // another fetch was quicker
		default:
			return storage.ErrReferenceHasChanged
		}
	}
	f, err := fs.OpenFile(nextReference, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(ref.Hash().String() + "\n"))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return fs.Rename(nextReference, ref.Name().String())
}
