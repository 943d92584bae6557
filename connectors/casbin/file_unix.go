//go:build unix

package casbin

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// keepOwner gives a file the owner of another, so that the store's application can still use it.
func keepOwner(f *os.File, like os.FileInfo) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	have, ok1 := info.Sys().(*syscall.Stat_t)
	want, ok2 := like.Sys().(*syscall.Stat_t)
	if !ok1 || !ok2 || (have.Uid == want.Uid && have.Gid == want.Gid) {
		return nil
	}
	return f.Chown(int(want.Uid), int(want.Gid))
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return fmt.Errorf("sync the folder: %w", err)
	}
	if err := d.Sync(); err != nil {
		_ = d.Close() // the sync's error matters more
		return fmt.Errorf("sync the folder: %w", err)
	}
	return d.Close()
}
