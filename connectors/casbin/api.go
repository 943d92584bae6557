package casbin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/countersign/countersign/connectors"
)

// snapshot is the content of the file at one moment.
type snapshot struct {
	content []byte
	info    os.FileInfo
}

// same reports whether the file is unchanged since.
func (s snapshot) same(info os.FileInfo) bool {
	return os.SameFile(s.info, info) && s.info.Size() == info.Size() && s.info.ModTime().Equal(info.ModTime())
}

// load reads the file. If another program is writing it in place, as casbin's SavePolicy does, load retries a few
// times, so that half a file never passes for the complete one.
// maxFile is the limit on a policy or a model in bytes: a million rules have 50 MB.
const maxFile = 256 << 20

func load(path, op string) (snapshot, error) {
	for range 5 {
		s, torn, err := loadOnce(path)
		if err != nil {
			return snapshot{}, pathFault(op, "config.policy", err)
		}
		if !torn {
			return s, nil
		}
	}
	return snapshot{}, fault(connectors.Unavailable, op, "the policy file keeps changing while it is read; run again", nil)
}

func loadOnce(path string) (s snapshot, torn bool, err error) {
	f, err := connectors.OpenFile(path)
	if err != nil {
		return s, false, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if s.info, err = f.Stat(); err != nil {
		return s, false, err
	}
	if !s.info.Mode().IsRegular() {
		return s, false, errIrregular
	}
	if s.content, err = connectors.ReadAtMost(f, maxFile); err != nil {
		return s, false, err
	}
	after, err := f.Stat()
	if err != nil {
		return s, false, err
	}
	return s, !s.same(after) || after.Size() != int64(len(s.content)), nil
}

var (
	errOutside = errors.New("path leads outside the access repository; use an absolute path if you mean it")
	errBare    = errors.New("relative path without a folder to start from; use an absolute path")
)

// locate resolves a path and all links in it, since a rename would replace the link. A relative path must
// stay within the directory, also through links, because files in Git set it.
func locate(directory, path string) (string, error) {
	relative := !filepath.IsAbs(path)
	if relative {
		if directory == "" {
			return "", errBare
		}
		if !filepath.IsLocal(path) {
			return "", errOutside
		}
		path = filepath.Join(directory, path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	if relative {
		root, err := filepath.EvalSymlinks(directory)
		if err != nil {
			return "", err
		}
		inside, err := filepath.Rel(root, real)
		if err != nil || !filepath.IsLocal(inside) {
			return "", errOutside
		}
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errIrregular
	}
	return filepath.Abs(real)
}

var errIrregular = errors.New("not a regular file")

// pathFault turns an error about a file into a typed one.
func pathFault(op, what string, err error) error {
	switch {
	case errors.Is(err, errOutside), errors.Is(err, errBare), errors.Is(err, errIrregular):
		return fault(connectors.Invalid, op, what+": "+err.Error(), nil)
	case errors.Is(err, fs.ErrNotExist):
		return fault(connectors.Unavailable, op, what+": file not found, and a missing store is not an empty one; correct the path or create the file", err)
	case errors.Is(err, fs.ErrPermission):
		return fault(connectors.Denied, op, what+": permission denied on the file or its folder", err)
	}
	return fault(connectors.Unavailable, op, what+": can't use the file", err)
}

// lock takes the lock that all countersign processes share. The lock's file is never removed: otherwise two
// processes could hold it.
func lock(ctx context.Context, path, op string) (func() error, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, pathFault(op, "config.policy", err)
	}
	l := flock.New(path+".lock", flock.SetPermissions(info.Mode().Perm()))
	waiting, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	ok, err := l.TryLockContext(waiting, lockPoll)
	switch {
	case ctx.Err() != nil:
		return nil, errors.Join(connectors.Stopped(ctx, op), l.Close())
	case errors.Is(err, context.DeadlineExceeded):
		e := &connectors.Error{Code: connectors.Unavailable, Op: op, Message: "another process holds the lock beside the policy file", RetryAfter: lockWait, Err: err}
		return nil, errors.Join(e, l.Close())
	case err != nil:
		return nil, errors.Join(pathFault(op, "the lock beside config.policy", err), l.Close())
	case !ok:
		return nil, errors.Join(fault(connectors.Unavailable, op, "could not get the lock beside the policy file", nil), l.Close())
	}
	return l.Close, nil
}

// replace replaces the file atomically and durably, and keeps its mode and owner. It returns false, without
// changing anything, if the file has changed since the snapshot.
func replace(path string, was snapshot, content []byte) (done bool, err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".countersign-*")
	if err != nil {
		return false, fmt.Errorf("create beside the policy file: %w", err)
	}
	open := true
	defer func() {
		if open {
			err = errors.Join(err, f.Close())
		}
		if !done {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if _, err := f.Write(content); err != nil {
		return false, fmt.Errorf("write: %w", err)
	}
	if err := keepOwner(f, was.info); err != nil {
		return false, fmt.Errorf("keep the owner: %w", err)
	}
	if err := f.Chmod(was.info.Mode().Perm()); err != nil {
		return false, fmt.Errorf("keep the mode: %w", err)
	}
	if err := f.Sync(); err != nil {
		return false, fmt.Errorf("sync: %w", err)
	}
	open = false
	if err := f.Close(); err != nil {
		return false, fmt.Errorf("close: %w", err)
	}
	now, err := os.Stat(path)
	if err != nil {
		return false, fmt.Errorf("check for changes: %w", err)
	}
	if !was.same(now) {
		return false, nil
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return false, fmt.Errorf("replace: %w", err)
	}
	return true, syncDir(dir)
}
