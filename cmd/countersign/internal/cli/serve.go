package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/server"
)

const envSecret = "COUNTERSIGN_WEBHOOK_SECRET"

// serveOptions configures serve.
type serveOptions struct {
	*app
	kind, repository   string
	listen, secretFile string
	poll               time.Duration
	previews, redact   bool
}

func newServeCommand(a *app) *cobra.Command {
	o := &serveOptions{app: a}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run as a server: merges, drift schedules, starts and expiries",
		Long: `Keeps a bare clone in --repo (created if needed), applies merges within seconds,
follows each application's drift schedule, and wakes up when a grant starts or
expires. It finds merges by polling, and sooner with webhooks, which it treats
as hints. With --previews it also previews open pull requests, so you need no
workflow. /healthz reports that it is running, /readyz that a pass has
succeeded.

Webhooks are accepted on /webhook if COUNTERSIGN_WEBHOOK_SECRET or
--webhook-secret-file contains the secret that GitHub signs them with.
Callbacks from webhook provisioning are accepted on /fulfilments, signed with
the application's own secret. On SIGTERM, serve finishes the current operation
and stops. If it is killed, the next start finishes the rest.
` + forgeHelp,
		Example: `  countersign serve --repository acme/access --listen :8080 --previews \
    --repo /var/lib/countersign/access.git
  countersign serve --repository acme/access --repo ./access.git --poll 30s`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	f := c.Flags()
	f.StringVar(&o.kind, "forge", forges()[0].Name, "the `KIND` of forge that hosts --repository, as in the settings")
	f.StringVar(&o.repository, "repository", "", "the access repository on GitHub, `OWNER/NAME`")
	f.StringVar(&o.listen, "listen", "", "`ADDRESS` for webhooks and health checks, such as :8080 (default: none)")
	f.StringVar(&o.secretFile, "webhook-secret-file", "", "`FILE` with the webhook secret (default: $"+envSecret+")")
	f.BoolVar(&o.previews, "previews", false, "preview open pull requests too, if no workflow does; those from forks without live state")
	f.BoolVar(&o.redact, "redact", false, "hide who the identities are in everything published")
	f.DurationVar(&o.poll, "poll", time.Minute, "check the branch at this `INTERVAL`, with or without webhooks")
	a.reconcilerFlags(c)
	return c
}

func (o *serveOptions) run(ctx context.Context) (err error) {
	if o.repository == "" {
		return errors.New("--repository OWNER/NAME is required")
	}
	secret, err := o.webhookSecret()
	if err != nil {
		return err
	}
	if o.listen != "" && len(secret) == 0 {
		fmt.Fprintf(o.Stderr, "%s is not set: webhooks are rejected, and merges are found by polling every %s\n", envSecret, o.poll)
	}
	client, err := o.openForge(o.kind, o.repository)
	if err != nil {
		return err
	}
	unlock, err := o.lockClone()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if o.branchName == "" {
		o.branchName = defaultBranch
	}
	ref := "refs/heads/" + o.branchName
	spec := ref + ":" + ref
	fetch := func(ctx context.Context, refspecs ...string) error {
		_, err := history.Fetch(ctx, o.repo, client.Remote(), refspecs...)
		return err
	}
	if err := fetch(ctx, spec); err != nil {
		return err
	}
	r, repo, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	previews := &server.Preview{Forge: client, Fetch: fetch, Branch: ref, BranchSpec: spec}
	config := server.Config{
		Reconciler: r, Branch: ref, Tip: func() (string, error) { return repo.Resolve(ref) },
		Webhooks: client, Secret: secret, Serial: o.ledgerBranch != "", Poll: o.poll, Now: o.Now,
		Pass:   server.Pass{Fetch: func(ctx context.Context) error { return fetch(ctx, spec) }, Forge: client, Redact: o.redact},
		Logger: slog.New(slog.NewTextHandler(o.Stderr, nil)),
	}
	if o.previews {
		previews.Redact = o.redact
		config.Previews = previews
	} else {
		config.Pass.Previews = previews
	}
	if o.listen != "" {
		var lc net.ListenConfig
		if config.Listener, err = lc.Listen(ctx, "tcp", o.listen); err != nil {
			return fmt.Errorf("--listen: %w", err)
		}
		fmt.Fprintf(o.Stderr, "listening on %s\n", config.Listener.Addr())
	}
	s, err := server.New(config)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// lockClone keeps a second process away from the clone, since both would fetch at the same time.
func (o *serveOptions) lockClone() (unlock func() error, err error) {
	if err := os.MkdirAll(o.repo, 0o700); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Clean(o.repo) + ".lock")
	if ok, err := lock.TryLock(); err != nil || !ok {
		return nil, errors.Join(fmt.Errorf("%s is in use by another process", o.repo), err)
	}
	return lock.Unlock, nil
}

// webhookSecret is the secret that webhooks are signed with, without the line feed that ends its file.
func (o *serveOptions) webhookSecret() ([]byte, error) {
	if o.secretFile == "" {
		return []byte(o.Getenv(envSecret)), nil
	}
	b, err := os.ReadFile(o.secretFile)
	if err != nil {
		return nil, fmt.Errorf("--webhook-secret-file: %w", err)
	}
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b, nil
}
