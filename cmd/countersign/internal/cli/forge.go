package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/ledger/branch"
	"github.com/countersign/countersign/reconciler/server"
	"github.com/countersign/countersign/reconciler/signoff"
	"github.com/countersign/countersign/schemas"
)

// openForge opens a repository on a kind of forge. The forge's address and credentials come only from the environment.
func (a *app) openForge(kind, repository string) (forge.Forge, error) {
	k, err := forges().Named(kind)
	if err != nil {
		return nil, err
	}
	return k.Open(forge.Config{Repository: repository, Getenv: a.Getenv, Now: a.Now, Logger: a.logger()})
}

// forge opens the evidence of the forge that settings name, for a reconciler.
func (a *app) forge(_ context.Context, s schemas.SettingsSpec) (signoff.Forge, error) {
	f, err := a.openForge(s.Forge.Kind, s.Forge.Repository)
	if err != nil {
		return nil, err
	}
	return f.Evidence(s)
}

// heads opens the place at the forge where the ledger's head is left; nil without a forge.
func (a *app) heads(_ context.Context, s schemas.SettingsSpec) (forge.Heads, error) {
	if s.Forge.Kind == localForge {
		return nil, nil
	}
	return a.openForge(s.Forge.Kind, s.Forge.Repository)
}

// localForge is the forge.kind of a repository without one.
const localForge = "local"

// site is a clone with its forge.
type site struct {
	client forge.Forge
	dir    string
	// branch is the reference of the settings' branch in the clone, spec the refspec that fetches it.
	branch, spec string
}

// site finds the forge of the settings that are trusted, which are those of the branch.
func (a *app) site(ctx context.Context, r *reconciler.Reconciler, repo *history.Repository) (*site, error) {
	name, ref, err := a.branch(repo)
	if err != nil {
		return nil, err
	}
	c, err := r.Configuration(ctx, ref)
	if err != nil {
		return nil, err
	}
	if c.Settings.Forge.Kind == localForge {
		return nil, fmt.Errorf("%s: forge.kind is %s, so there is nowhere to publish (expected %s)", schemas.SettingsPath, c.Settings.Forge.Kind, alternatives(forgeNames()))
	}
	if c.Settings.Branch != name {
		return nil, fmt.Errorf("%s on branch %s sets branch: %s; add --branch %s if that is right", schemas.SettingsPath, name, c.Settings.Branch, c.Settings.Branch)
	}
	s := &site{dir: repo.GitDir()}
	if s.client, err = a.openForge(c.Settings.Forge.Kind, c.Settings.Forge.Repository); err != nil {
		return nil, err
	}
	// Fetching must not move the branches of a work tree. A bare clone is ours.
	s.branch = "refs/heads/" + c.Settings.Branch
	if repo.WorkTree() != "" {
		s.branch = "refs/remotes/origin/" + c.Settings.Branch
	}
	s.spec = "refs/heads/" + c.Settings.Branch + ":" + s.branch
	return s, nil
}

func (s *site) fetch(ctx context.Context, refspecs ...string) error {
	_, err := history.Fetch(ctx, s.dir, s.client.Remote(), refspecs...)
	return err
}

// replica is the ledger's branch; nil without one. It is on the forge's repository, or on the remote origin.
func (a *app) replica(ctx context.Context, repo *history.Repository) (reconciler.Replica, error) {
	if a.ledgerBranch == "" {
		return nil, nil
	}
	key, err := a.ledgerKey(a.stateDir(repo))
	if err != nil {
		return nil, err
	}
	c := branch.Config{Key: key, Dir: filepath.Join(a.stateDir(repo), "ledger.git"), Name: a.ledgerBranch, Anchor: a.ledgerAnchor, Now: a.Now, Logger: a.logger(), Progress: a.progress, Holder: a.holder()}
	_, ref, err := a.branch(repo)
	if err != nil {
		return nil, err
	}
	if s := settingsAt(ctx, repo, ref); s != nil && s.Spec.Forge.Kind != localForge {
		client, err := a.openForge(s.Spec.Forge.Kind, s.Spec.Forge.Repository)
		if err != nil {
			return nil, err
		}
		remote := client.Remote()
		c.URL, c.Password = remote.URL, remote.Password
		return replicaOf(branch.New(c))
	}
	origin, err := history.Origin(repo.GitDir())
	if err != nil {
		return nil, fmt.Errorf("--ledger-branch: %w", err)
	}
	c.URL = origin
	return replicaOf(branch.New(c))
}

// replicaOf keeps a missing branch from becoming a replica that is not nil.
func replicaOf(b *branch.Branch, err error) (reconciler.Replica, error) {
	if err != nil {
		return nil, err
	}
	return b, nil
}

// holder identifies this run to others that wait for the lease.
func (a *app) holder() string {
	if url := a.runURL(); url != "" {
		return url
	}
	host, err := os.Hostname()
	if err != nil {
		host = "a machine"
	}
	return fmt.Sprintf("process %d on %s", os.Getpid(), host)
}

// jobs are the CI jobs of each kind of forge that this may run in.
func (a *app) jobs() []forge.Job {
	var out []forge.Job
	for _, k := range forges() {
		if k.Job != nil {
			out = append(out, k.Job(a.Getenv))
		}
	}
	return out
}

// runURL leads to the log of the CI job that this runs in; "" elsewhere.
func (a *app) runURL() string {
	for _, j := range a.jobs() {
		if url := j.URL(); url != "" {
			return url
		}
	}
	return ""
}

// publishPreview previews a pull request and publishes the result there.
func (a *app) publishPreview(c *cobra.Command, r *reconciler.Reconciler, repo *history.Repository, p server.Preview) (*schemas.Preview, error) {
	s, err := a.site(c.Context(), r, repo)
	if err != nil {
		return nil, err
	}
	p.Reconciler, p.Forge, p.Fetch, p.Branch, p.BranchSpec, p.URL = r, s.client, s.fetch, s.branch, s.spec, a.runURL()
	preview, out, err := p.Run(c.Context())
	var moved *forge.MovedError
	if errors.As(err, &moved) {
		// Not a failure: somebody pushed, and that push gets its own preview.
		fmt.Fprintln(a.Stderr, moved.Error())
		return nil, nil
	}
	if errors.Is(err, server.ErrClosed) {
		fmt.Fprintln(a.Stderr, err.Error())
		return nil, nil
	}
	if out != nil {
		for _, part := range out.Skipped {
			fmt.Fprintln(a.Stderr, "not published, permission missing: "+part)
		}
		for _, j := range a.jobs() {
			err = errors.Join(err, j.Report(preview, out, p.Redact))
		}
	}
	return preview, err
}

// muzzle keeps the surrounding CI job from executing text of requesters as workflow commands.
func (a *app) muzzle() (release func()) {
	var flushes []func()
	for _, j := range a.jobs() {
		out, flushOut := j.Guard(a.Stdout, func() bool { return a.format == "json" })
		errs, flushErrs := j.Guard(a.Stderr, func() bool { return false })
		a.Stdout, a.Stderr = out, errs
		flushes = append([]func(){flushOut, flushErrs}, flushes...)
	}
	return func() {
		for _, flush := range flushes {
			flush()
		}
	}
}
