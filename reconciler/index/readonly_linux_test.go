package index_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign/countersign/reconciler/index"
)

// In a folder that may not be written there is an error that names the file, and what lies there stays as it is.
func TestReadOnlyFolder(t *testing.T) {
	for _, existing := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "index.db")
		if existing {
			saved(t, path, 1)
		}
		// The folder's own folder is the tester's alone.
		if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o555)); err != nil {
			t.Fatal(err)
		}
		unprivileged(t, func() {
			x, err := index.Open(t.Context(), path)
			if err == nil {
				turn(x, 2)
				err = x.Save(t.Context())
				shut(t, x)
			}
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("existing %v: Open and Save = %v, want an error that names %s", existing, err, path)
			}
		})
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if existing {
			x := open(t, path)
			if diff := same(turned(t, 1), ask(t, x)); diff != "" {
				t.Errorf("afterwards (-want +got):\n%s", diff)
			}
			shut(t, x)
		}
	}
}

// unprivileged runs fn as one whom the file's mode binds: root is not.
func unprivileged(t *testing.T, fn func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		fn()
		return
	}
	const nobody = 65534
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.Setfsuid(nobody); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setfsuid(0); err != nil {
			t.Fatal(err)
		}
	}()
	fn()
}
