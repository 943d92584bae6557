package history_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign/countersign/reconciler/history"
	. "github.com/countersign/countersign/reconciler/history/historytest"
)

// A bare repository may be ordinary files of a colleague's branch: it is opened only by its own name.
func TestBareRepositoryMustBeNamed(t *testing.T) {
	t.Parallel()
	outer := begun(t)
	inner := filepath.Join(outer.Dir, "requests", "2026", "sales")
	if err := os.CopyFS(inner, os.DirFS(begun(t).Clone("--bare").Dir)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		open func(string) (*history.Repository, error)
		dir  string
		want error
	}{
		{"named", history.Open, inner, nil},
		{"a folder in it named", history.Open, filepath.Join(inner, "refs"), history.ErrBare},
		{"not named", history.Discover, inner, history.ErrBare},
		{"a folder in it", history.Discover, filepath.Join(inner, "objects", "info"), history.ErrBare},
		{"the folder around", history.Discover, filepath.Dir(inner), nil},
	} {
		r, err := tc.open(tc.dir)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if r != nil {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// Whoever owns the repository decides what runs over it.
func TestRepositoryOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give files away")
	}
	const other = 65534
	config := filepath.Join(t.TempDir(), "config")
	t.Setenv("GIT_CONFIG_GLOBAL", config)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	for _, tc := range []struct {
		name, path string // given away, of a linked work tree at linked
		safe, sudo string
		refused    bool
	}{
		{"nobody else's", "", "", "", false},
		{"the Git directory", ".git", "", "", true},
		{"the work tree", ".", "", "", true},
		{"the shared directory of a linked work tree", "linked", "", "", true},
		{"listed as safe", ".git", "[safe]\n\tdirectory = DIR\n", "", false},
		{"the folder listed", ".git", "[safe]\n\tdirectory = PARENT/*\n", "", false},
		{"another listed", ".git", "[safe]\n\tdirectory = DIRx\n", "", true},
		{"listed and withdrawn", ".git", "[safe]\n\tdirectory = *\n\tdirectory =\n", "", true},
		{"of who used sudo", ".git", "", "65534", false},
		{"of another than who used sudo", ".git", "", "1000", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			repo := begun(t)
			dir, given := repo.Dir, filepath.Join(repo.Dir, tc.path)
			if tc.path == "linked" {
				dir = filepath.Join(t.TempDir(), "linked")
				repo.Git("worktree", "add", "-q", "--detach", dir, "main")
				given = filepath.Join(repo.Dir, ".git")
			}
			if tc.path != "" {
				if err := os.Chown(given, other, other); err != nil {
					t.Fatal(err)
				}
			}
			// Not even what is in it may list it.
			text := strings.NewReplacer("DIR", dir, "PARENT", filepath.Dir(dir)).Replace(tc.safe)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			own, err := os.OpenFile(filepath.Join(repo.Dir, ".git", "config"), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = own.WriteString("[safe]\n\tdirectory = *\n")
			if err := errors.Join(err, own.Close()); err != nil {
				t.Fatal(err)
			}
			t.Setenv("SUDO_UID", tc.sudo)
			r, err := history.Open(dir)
			if errors.Is(err, history.ErrOwner) != tc.refused || err != nil && !tc.refused {
				t.Errorf("Open = %v, refused should be %v", err, tc.refused)
			}
			if r != nil {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Nothing is written through links of a state folder, nor into a folder that others may change.
func TestCheckFolder(t *testing.T) {
	t.Parallel()
	link := func(at string) func(string) error {
		return func(dir string) error { return os.Symlink("/nowhere", filepath.Join(dir, at)) }
	}
	for _, tc := range []struct {
		name string
		make func(dir string) error
		want string
	}{
		{"usual", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "ledger.db"), nil, 0o600)
		}, ""},
		{"not there", os.RemoveAll, ""},
		{"link to the ledger", link("ledger.db"), "ledger.db is a symbolic link"},
		{"link to its log", link("ledger.db-wal"), "ledger.db-wal is a symbolic link"},
		{"link to a lease", link("leases/erp.lock"), "erp.lock is a symbolic link"},
		{"link to a folder", func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, "leases")), os.Symlink(os.TempDir(), filepath.Join(dir, "leases")))
		}, "leases is a symbolic link"},
		{"pipe", func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "index.db"), 0o600) }, "index.db is a named pipe"},
		{"file", func(dir string) error {
			return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600))
		}, "not a folder but a file"},
		{"itself a link", func(dir string) error {
			return errors.Join(os.Rename(dir, dir+"2"), os.Symlink(dir+"2", dir))
		}, "not a folder but a symbolic link"},
		{"open to everybody", func(dir string) error { return os.Chmod(dir, 0o777) }, "everybody may write"},
	} {
		dir := filepath.Join(t.TempDir(), "state")
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "leases"), 0o700), tc.make(dir)); err != nil {
			t.Fatal(err)
		}
		if err := history.CheckFolder(dir, "leases"); (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

// A reference that another process is writing is an empty file for a moment.
func TestReferenceIsReadAgainWhileWritten(t *testing.T) {
	t.Parallel()
	repo := begun(t)
	path := filepath.Join(repo.Dir, ".git", "refs", "heads", "main")
	var content []byte
	var err error
	repo.Git("pack-refs", "--all") // what is packed is older
	repo.Write("b", "2").Commit(CommitOptions{})
	if content, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	r := open(t, repo.Dir)
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	time.AfterFunc(15*time.Millisecond, func() { written <- os.WriteFile(path, content, 0o644) })
	got, err := r.Resolve("refs/heads/main")
	if err := errors.Join(err, <-written); err != nil || got != strings.TrimSpace(string(content)) {
		t.Errorf("Resolve = %s, %v", got, err)
	}
}
