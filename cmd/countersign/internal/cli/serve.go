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

func (a *app) serve() *cobra.Command {
	var kind, repository, listen, secretFile string
	var poll time.Duration
	var previews, redact bool
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run as a server: merges, drift schedules, starts and expiries",
		Long: `Keeps a bare clone in --repo (created if needed), applies merges within seconds,
follows each application's drift schedule, and wakes up when a grant starts or
expires. It learns of merges from webhooks, which are only hints, and by
polling. With --previews it also previews open pull requests, so no workflow is
needed. /healthz reports that it is running, /readyz that a pass has succeeded.

Webhooks are accepted on /webhook if COUNTERSIGN_WEBHOOK_SECRET or
--webhook-secret-file contains the secret that GitHub signs them with.
Callbacks from webhook provisioning are accepted on /fulfilments, signed with
the application's own secret. On SIGTERM, serve finishes the current operation
and stops; if it is killed, the next start finishes the rest.
` + forgeHelp,
		Example: `  countersign serve --repository acme/access --listen :8080 --previews \
    --repo /var/lib/countersign/access.git
  countersign serve --repository acme/access --repo ./access.git --poll 30s`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			ctx := c.Context()
			if repository == "" {
				return errors.New("--repository OWNER/NAME is required")
			}
			secret, err := a.webhookSecret(secretFile)
			if err != nil {
				return err
			}
			if listen != "" && len(secret) == 0 {
				fmt.Fprintf(a.Stderr, "%s is not set: webhooks are rejected, and merges are found by polling every %s\n", envSecret, poll)
			}
			client, err := a.openForge(kind, repository)
			if err != nil {
				return err
			}
			// One process per clone: another one would fetch at the same time.
			if err := os.MkdirAll(a.repo, 0o700); err != nil {
				return err
			}
			lock := flock.New(filepath.Clean(a.repo) + ".lock")
			if ok, err := lock.TryLock(); err != nil || !ok {
				return errors.Join(fmt.Errorf("%s is in use by another process", a.repo), err)
			}
			defer func() { err = errors.Join(err, lock.Unlock()) }()
			if a.branchName == "" {
				a.branchName = defaultBranch
			}
			ref := "refs/heads/" + a.branchName
			fetch := func(ctx context.Context, refspecs ...string) error {
				_, err := history.Fetch(ctx, a.repo, client.Remote(), refspecs...)
				return err
			}
			spec := ref + ":" + ref
			if err := fetch(ctx, spec); err != nil {
				return err
			}
			r, repo, err := a.open(c.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, r.Close()) }()
			config := server.Config{Reconciler: r, Branch: ref, Tip: func() (string, error) { return repo.Resolve(ref) }, Webhooks: client, Secret: secret, Serial: a.ledgerBranch != "", Poll: poll, Now: a.Now,
				Pass: server.Pass{Fetch: func(ctx context.Context) error { return fetch(ctx, spec) }, Forge: client,
					Previews: &server.Preview{Forge: client, Fetch: fetch, Branch: ref, BranchSpec: spec}}, Logger: slog.New(slog.NewTextHandler(a.Stderr, nil))}
			if listen != "" {
				var lc net.ListenConfig
				if config.Listener, err = lc.Listen(ctx, "tcp", listen); err != nil {
					return fmt.Errorf("--listen: %w", err)
				}
				fmt.Fprintf(a.Stderr, "listening on %s\n", config.Listener.Addr())
			}
			config.Pass.Redact = redact
			if previews {
				config.Previews, config.Pass.Previews = config.Pass.Previews, nil
				config.Previews.Redact = redact
			}
			s, err := server.New(config)
			if err != nil {
				return err
			}
			return s.Run(ctx)
		},
	}
	f := c.Flags()
	f.StringVar(&kind, "forge", forges()[0].Name, "the `KIND` of forge that --repository is at, as in the settings")
	f.StringVar(&repository, "repository", "", "the access repository at GitHub, `OWNER/NAME`")
	f.StringVar(&listen, "listen", "", "`ADDRESS` for webhooks and health checks, such as :8080 (default: none)")
	f.StringVar(&secretFile, "webhook-secret-file", "", "`FILE` with the webhook secret (default: $"+envSecret+")")
	f.BoolVar(&previews, "previews", false, "preview open pull requests too, if no workflow does; those from forks without live state")
	f.BoolVar(&redact, "redact", false, "leave out who the identities are in everything published")
	a.reconcilerFlags(c)
	f.DurationVar(&poll, "poll", time.Minute, "how often to check the branch without a webhook")
	return c
}

func (a *app) webhookSecret(file string) ([]byte, error) {
	if file == "" {
		return []byte(a.Getenv(envSecret)), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--webhook-secret-file: %w", err)
	}
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b, nil
}
