package cli

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// open opens the repository and a reconciler over it.
func (a *app) open(ctx context.Context) (*reconciler.Reconciler, *history.Repository, error) {
	repo, err := a.openRepository()
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
	key, err := a.ledgerKey(a.stateDir(repo))
	if err != nil {
		return nil, nil, err
	}
	public, err := a.ledgerPublicKey()
	if err != nil {
		return nil, nil, err
	}
	r, err := reconciler.New(reconciler.Config{
		Repository: repo, Replica: replica, LedgerKey: key, LedgerPublicKey: public, State: a.stateDir(repo), Connectors: registry, Secrets: a.secretStore(), Anchor: a.anchor, Version: programVersion(),
		Heads: a.heads, Forge: a.forge, Tickets: a.tickets, Isolate: a.isolate, Now: a.Now, Random: a.Random, Logger: a.logger(), Progress: a.progress, Step: a.Step,
	})
	return r, repo, err
}

// openRepository opens the repository of --repo, or the one around the current folder.
func (a *app) openRepository() (*history.Repository, error) {
	open := history.Discover
	if a.repoNamed {
		open = history.Open
	}
	repo, err := open(a.repo)
	if err != nil {
		return nil, err
	}
	if err := reconciler.CheckState(a.stateDir(repo)); err != nil {
		return nil, errors.Join(err, repo.Close())
	}
	return repo, nil
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

// defaultBranch is the branch whose merges take effect by default.
const defaultBranch = "main"

// branch is the branch whose merges take effect. Only the operator names it, since the settings of a checkout, which a
// colleague may have made, could name another.
func (a *app) branch(repo *history.Repository) (name, ref string, err error) {
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
	return "", fmt.Errorf("branch %s not found, neither here nor on origin; name the one whose merges take effect with --branch", name)
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
