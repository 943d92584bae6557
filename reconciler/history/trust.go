package history

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/config"
)

// ErrOwner means that a repository belongs to somebody else: they decide which commits it has, where its links lead, and
// what is written to its state.
var ErrOwner = errors.New("it belongs to another user")

// checkOwner refuses a repository with a folder of another user, as git does: unless that is root, or who became root
// with sudo, or the operator's own Git configuration lists the repository in safe.directory.
func checkOwner(gitDir, workTree string, more ...string) error {
	for _, path := range append([]string{gitDir, workTree}, more...) {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		owner, foreign := foreignOwner(info)
		if !foreign {
			continue
		}
		root := workTree
		if root == "" {
			root = gitDir
		}
		if safeDirectory(root) {
			return nil
		}
		return fmt.Errorf("%w: %s is owned by user %d; run countersign as that user, or, if you trust it, run git config --global --add safe.directory %s",
			ErrOwner, path, owner, root)
	}
	return nil
}

// safeDirectory reports whether the system's or the user's own Git configuration lists a repository as safe.
func safeDirectory(root string) bool {
	safe := false
	for _, path := range operatorConfigs() {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		c := config.New()
		err = errors.Join(config.NewDecoder(f).Decode(c), f.Close())
		if err != nil {
			continue // git reports it; here it allows nothing
		}
		for _, v := range c.Section("safe").OptionAll("directory") {
			switch {
			case v == "":
				safe = false
			case v == "*", filepath.Clean(v) == root:
				safe = true
			case strings.HasSuffix(v, "/*") && strings.HasPrefix(root, strings.TrimSuffix(v, "*")):
				safe = true
			}
		}
	}
	return safe
}

// operatorConfigs are the files of Git's configuration that no repository can change, the system's first
// (git-config(1)).
func operatorConfigs() []string {
	var out []string
	if os.Getenv("GIT_CONFIG_NOSYSTEM") == "" {
		system := os.Getenv("GIT_CONFIG_SYSTEM")
		if system == "" {
			system = "/etc/gitconfig"
		}
		out = append(out, system)
	}
	if global, ok := os.LookupEnv("GIT_CONFIG_GLOBAL"); ok {
		return append(out, global)
	}
	home := os.Getenv("HOME")
	if dir := os.Getenv("XDG_CONFIG_HOME"); dir != "" {
		out = append(out, filepath.Join(dir, "git", "config"))
	} else if home != "" {
		out = append(out, filepath.Join(home, ".config", "git", "config"))
	}
	if home != "" {
		out = append(out, filepath.Join(home, ".gitconfig"))
	}
	return out
}

// CheckFolder refuses a folder for files of countersign's own that isn't safe to write in: a link, a folder of another
// user or one that everybody may write to, or links within it or its folders named, through which files would be
// written elsewhere. A folder that doesn't exist is safe.
func CheckFolder(dir string, within ...string) error {
	for _, at := range append([]string{""}, within...) {
		at = filepath.Join(dir, at)
		info, err := os.Lstat(at)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		owner, foreign := foreignOwner(info)
		switch {
		case !info.IsDir():
			return fmt.Errorf("the folder %s is not a folder but %s; remove it, or name another with --state", at, kindOf(info.Mode()))
		case foreign:
			return fmt.Errorf("the folder %s is owned by user %d; run countersign as that user, or name another with --state", at, owner)
		case info.Mode()&0o002 != 0 && supportsOwners:
			return fmt.Errorf("everybody may write to the folder %s: run chmod o-w, or name another with --state", at)
		}
		entries, err := os.ReadDir(at)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !e.IsDir() && !e.Type().IsRegular() {
				return fmt.Errorf("%s is %s (expected a file): remove it", filepath.Join(at, e.Name()), kindOf(e.Type()))
			}
		}
	}
	return nil
}

func kindOf(mode os.FileMode) string {
	switch {
	case mode&os.ModeSymlink != 0:
		return "a symbolic link"
	case mode&os.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&(os.ModeDevice|os.ModeSocket) != 0:
		return "a device or socket"
	}
	return "a file"
}
