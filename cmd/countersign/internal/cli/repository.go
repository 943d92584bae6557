package cli

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// open opens the repository and a reconciler over it.
func (a *app) open(ctx context.Context) (*reconciler.Reconciler, *history.Repository, error) {
	repo, err := history.Open(a.repo)
	if err != nil {
		return nil, nil, err
	}
	registry, err := a.registry(ctx)
	if err != nil {
		return nil, nil, err
	}
	replica, err := a.replica(ctx, repo)
	if err != nil {
		return nil, nil, err
	}
	limit, err := a.maxFiles()
	if err != nil {
		return nil, nil, err
	}
	r, err := reconciler.New(reconciler.Config{
		MaxFiles:   limit,
		Repository: repo, Replica: replica, State: a.stateDir(repo), Connectors: registry, Anchor: a.anchor, Version: programVersion(),
		Forge: a.forge, Tickets: a.tickets, Isolate: a.isolate, Now: a.Now, Logger: a.logger(), Progress: a.progress, Step: a.Step,
	})
	return r, repo, err
}

// maxFiles is how many control files one change may have, where the operator allows more than the default.
func (a *app) maxFiles() (int, error) {
	text := a.Getenv("COUNTERSIGN_MAX_FILES")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("COUNTERSIGN_MAX_FILES: %q is not a number of files (expected at least 1)", text)
	}
	return n, nil
}

func (a *app) stateDir(repo *history.Repository) string {
	if a.state != "" {
		return a.state
	}
	if dir := a.Getenv("COUNTERSIGN_STATE"); dir != "" {
		return dir
	}
	return filepath.Join(repo.GitDir(), "countersign")
}

// isolate starts this program again as the child process that evaluates a repository's own rules, with an empty
// environment.
func (a *app) isolate(ctx context.Context) (*exec.Cmd, error) {
	self, err := a.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, policyChildCommand)
	cmd.Env = []string{}
	return cmd, nil
}

// branch is the branch given by --branch, or else that of the settings on the current checkout, or else main. Which
// settings apply is decided from the admitted history; this only finds where to look.
func (a *app) branch(ctx context.Context, repo *history.Repository) (string, error) {
	name := a.branchName
	if name == "" {
		name = defaultBranch
		if s := settingsAt(ctx, repo, "HEAD"); s != nil {
			name = s.Spec.Branch
		}
	}
	return findBranch(repo, name)
}

// defaultBranch is the branch whose merges take effect by default.
const defaultBranch = "main"

// ownBranch is the branch where others may have made the checkout: only the operator names it, since a pull request's
// checkout could name another.
func (a *app) ownBranch(repo *history.Repository) (name, ref string, err error) {
	if name = a.branchName; name == "" {
		name = defaultBranch
	}
	ref, err = findBranch(repo, name)
	return name, ref, err
}

func findBranch(repo *history.Repository, name string) (string, error) {
	for _, ref := range []string{"refs/heads/" + name, "refs/remotes/origin/" + name} {
		if _, err := repo.Resolve(ref); err == nil {
			return ref, nil
		}
	}
	return "", fmt.Errorf("branch %s not found, neither here nor on origin; name the revision with --to or --base", name)
}

// settingsAt returns the settings at a revision, admitted or not, or nil.
func settingsAt(ctx context.Context, repo *history.Repository, rev string) *schemas.Settings {
	files, err := repo.Snapshot(ctx, rev, onlySettings{})
	if err != nil || len(files) != 1 {
		return nil
	}
	content, err := repo.Blob(files[0].Blob, schemas.MaxFileBytes)
	if err != nil {
		return nil
	}
	docs, errs := strict.Decode(schemas.SettingsPath, content)
	if len(errs) > 0 {
		return nil
	}
	s, _ := docs[0].Value.(*schemas.Settings)
	return s
}

type onlySettings struct{}

func (onlySettings) Dir(string) bool    { return false }
func (onlySettings) File(p string) bool { return p == schemas.SettingsPath }
