package connectors

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

var (
	errIrregular = errors.New("not a regular file")
	errKernel    = errors.New("the kernel's files are refused")
)

// OpenFile opens a regular file for reading. Files in Git choose such paths, so everything else is refused: a pipe or a
// device can block forever or never end, and /proc holds this process's own environment.
func OpenFile(path string) (*os.File, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	if resolved, err = filepath.Abs(resolved); err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" {
		for _, root := range []string{"/proc", "/sys", "/dev"} {
			if resolved == root || strings.HasPrefix(resolved, root+"/") {
				return nil, &os.PathError{Op: "open", Path: path, Err: errKernel}
			}
		}
	}
	// Without O_NONBLOCK, opening a pipe waits for its writer. A link put there since is not followed.
	f, err := os.OpenFile(resolved, os.O_RDONLY|syscall.O_NONBLOCK|noFollow, 0)
	if err != nil {
		return nil, err
	}
	if err := regular(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func regular(f *os.File) error {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: f.Name(), Err: errIrregular}
	}
	return err
}

func readRegular(f *os.File, limit int64) ([]byte, error) {
	if err := regular(f); err != nil {
		return nil, err
	}
	return ReadAtMost(f, limit)
}

// ReadFile reads a file as OpenFile opens it. A file of more than limit bytes is an error.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := OpenFile(path)
	if err != nil {
		return nil, err
	}
	b, err := ReadAtMost(f, limit)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return b, nil
}

// ReadAtMost reads all of r. More than limit bytes are an error.
func ReadAtMost(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("too large (expected at most %d bytes)", limit)
	}
	return b, err
}
