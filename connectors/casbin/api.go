package casbin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/countersign/countersign/connectors"
)

// snapshot is the file at one moment.
type snapshot struct {
	content []byte
	info    os.FileInfo
}

// same says whether nobody has written or replaced the file since.
func (s snapshot) same(info os.FileInfo) bool {
	return os.SameFile(s.info, info) && s.info.Size() == info.Size() && s.info.ModTime().Equal(info.ModTime())
}

// load reads the file. Somebody who writes it in place, as casbin's SavePolicy does, is waited for a few
// times: half of a file must not pass for the whole.
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
	return snapshot{}, fault(connectors.Unavailable, op, "the policy file changes while it is read", nil)
}

func loadOnce(path string) (s snapshot, torn bool, err error) {
	f, err := os.Open(filepath.Clean(path))
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
	if s.content, err = io.ReadAll(f); err != nil {
		return s, false, err
	}
	after, err := f.Stat()
	if err != nil {
		return s, false, err
	}
	return s, !s.same(after) || after.Size() != int64(len(s.content)), nil
}

var (
	errOutside = errors.New("the path leads out of the access repository; name the file by its absolute path if that is meant")
	errBare    = errors.New("the path is relative, and there is no folder that it starts from; name the file by its absolute path")
)

// locate finds a file with all links resolved, since a rename would replace the link. A relative path
// stays within the directory, also by way of links: files in Git choose it.
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

var errIrregular = errors.New("it is no regular file")

// pathFault is the typed form of what went wrong with a file.
func pathFault(op, what string, err error) error {
	switch {
	case errors.Is(err, errOutside), errors.Is(err, errBare), errors.Is(err, errIrregular):
		return fault(connectors.Invalid, op, what+": "+err.Error(), nil)
	case errors.Is(err, fs.ErrNotExist):
		return fault(connectors.Unavailable, op, what+": there is no such file, and a missing store is not an empty one: correct config.policy, or put the file there", err)
	case errors.Is(err, fs.ErrPermission):
		return fault(connectors.Denied, op, what+": this account may not use the file or its folder", err)
	}
	return fault(connectors.Unavailable, op, what+": the file cannot be used", err)
}

// lock takes the lock that all countersign processes take. Its file stays: to remove it would let two
// hold it.
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
		return nil, errors.Join(fault(connectors.Unavailable, op, "the lock beside the policy file was not given", nil), l.Close())
	}
	return l.Close, nil
}

// replace puts new content in the file's place, durably and at once for all who read it, with the same
// mode and owner. It returns false, and has done nothing, when the file is no more what it was.
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
		return false, fmt.Errorf("look again: %w", err)
	}
	if !was.same(now) {
		return false, nil
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return false, fmt.Errorf("replace: %w", err)
	}
	return true, syncDir(dir)
}
