package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/all"
	"github.com/countersign/countersign/connectors/exec"
)

// inherited are the variables that every program gets: none of them holds secrets.
func inherited() []string {
	return []string{"PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE"}
}

// environ is the environment of a program: the inherited variables, and the named ones.
func (a *app) environ(names ...string) []string {
	var out []string
	for _, name := range append(inherited(), names...) {
		if v := a.Getenv(name); v != "" {
			out = append(out, name+"="+v)
		}
	}
	return out
}

// program is an executable as it will be run: found in PATH, or from the current folder, once.
func program(path string) (string, error) {
	found, err := osexec.LookPath(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(found)
}

// workTree is the root of the work tree that --repo is in, with its links resolved; "" where there is none.
func (a *app) workTree() string {
	at, err := filepath.EvalSymlinks(a.repo)
	if err != nil || a.repo == "" {
		return ""
	}
	if at, err = filepath.Abs(at); err != nil {
		return ""
	}
	for {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			return ""
		}
		at = filepath.Dir(at)
	}
}

// within reports whether a path is in a folder, once its links are resolved.
func within(root, path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	inside, err := filepath.Rel(root, real)
	return err == nil && filepath.IsLocal(inside)
}

// bindings are the programs that the operator bound to connectors, in the order of the command line. Files in Git can't
// bind any.
func (a *app) bindings() ([]exec.Config, error) {
	var out []exec.Config
	add := func(where, text string) error {
		name, path, ok := strings.Cut(text, "=")
		if !ok || name == "" || path == "" {
			return fmt.Errorf("%s %s: expected NAME=PATH", where, text)
		}
		if slices.ContainsFunc(out, func(c exec.Config) bool { return c.Name == name }) {
			return fmt.Errorf("%s %s: connector %s is already bound", where, text, name)
		}
		if strings.ContainsRune(path, filepath.Separator) && !filepath.IsAbs(path) {
			return fmt.Errorf("%s %s: expected an absolute path, or the name of a program in PATH", where, text)
		}
		found, err := program(path)
		if err != nil {
			return fmt.Errorf("%s %s: %w", where, text, errors.Unwrap(err))
		}
		if root := a.workTree(); root != "" && within(root, found) {
			return fmt.Errorf("%s %s: the program is in the access repository's work tree, where a colleague's branch can change it; copy it to a folder outside", where, text)
		}
		out = append(out, exec.Config{Name: name, Path: found, Env: a.environ(), Logger: a.logger()})
		return nil
	}
	for _, text := range a.execs {
		if err := add("--exec", text); err != nil {
			return nil, err
		}
	}
	for _, text := range filepath.SplitList(a.Getenv("COUNTERSIGN_EXEC")) {
		if text == "" {
			continue
		}
		if err := add("COUNTERSIGN_EXEC:", text); err != nil {
			return nil, err
		}
	}
	bound := func(where, text string) (*exec.Config, string, error) {
		name, rest, ok := strings.Cut(text, "=")
		i := slices.IndexFunc(out, func(c exec.Config) bool { return c.Name == name })
		switch {
		case !ok:
			return nil, "", fmt.Errorf("%s %s: expected NAME=VALUE", where, text)
		case i < 0:
			return nil, "", fmt.Errorf("%s %s: connector %s is not bound by --exec", where, text, name)
		}
		return &out[i], rest, nil
	}
	for _, text := range a.execArgs {
		c, arg, err := bound("--exec-arg", text)
		if err != nil {
			return nil, err
		}
		c.Args = append(c.Args, arg)
	}
	for _, text := range a.execEnv {
		c, names, err := bound("--exec-env", text)
		if err != nil {
			return nil, err
		}
		c.Env = append(c.Env, a.environ(strings.Split(names, ",")...)[len(a.environ()):]...)
	}
	return out, nil
}

// registry is the list of connectors: the built-in ones, and those that the operator bound to programs.
func (a *app) registry(ctx context.Context) (connectors.Registry, error) {
	own, err := all.Registry()
	if err != nil {
		return connectors.Registry{}, err
	}
	bindings, err := a.bindings()
	if err != nil {
		return connectors.Registry{}, err
	}
	var more []connectors.Connector
	for _, b := range bindings {
		if _, taken := own.Get(b.Name); taken {
			return connectors.Registry{}, fmt.Errorf("--exec %s=%s: connector %s is built in; bind the program to another name", b.Name, b.Path, b.Name)
		}
		c, err := exec.New(ctx, b)
		if err != nil {
			return connectors.Registry{}, fmt.Errorf("--exec %s=%s: %w", b.Name, b.Path, err)
		}
		more = append(more, c)
	}
	return own.With(more...)
}

// directory is the access repository's folder, for relative paths in configs.
func (a *app) directory() (string, error) {
	info, err := os.Stat(a.repo)
	if err != nil || !info.IsDir() {
		return "", fmt.Errorf("--repo %s is not a folder", a.repo)
	}
	return filepath.Abs(a.repo)
}
