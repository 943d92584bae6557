package cli

import (
	"context"
	"errors"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/schemas"
)

func (a *app) fulfil() *cobra.Command {
	var operation, status, message string
	c := &cobra.Command{
		Use:   "fulfil",
		Short: "Say of an operation that a webhook was asked for that it is done, or failed",
		Long: `Puts on record what became of an operation of provisioning webhook, as its callback to countersign serve
would: for where no such server runs, by hand or from a workflow. Who runs it is recorded. It is trusted for no
more than that: the next run reads the application, and verifies only what it shows. An operation of
provisioning ticket is done when its issue is closed.`,
		Example: "  countersign fulfil --operation 0f1e2d3c4b5a6978 --status applied\n  countersign fulfil --application crm --operation 0f1e2d3c4b5a6978 --status failed --message \"no licence is left\"",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if operation == "" {
				return errors.New("--operation is missing: countersign status --format json has the ids")
			}
			if status != schemas.FulfilmentApplied && status != schemas.FulfilmentFailed {
				return errors.New("--status must be applied or failed")
			}
			r, _, err := a.open(c.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, r.Close()) }()
			rep, err := r.Fulfil(c.Context(), reconciler.Answer{Application: a.application, Operation: operation, Status: status, Message: message,
				By: a.operator(), Method: schemas.FulfilledByOperator})
			if err != nil {
				return err
			}
			return a.print(rep)
		},
	}
	c.Flags().StringVar(&operation, "operation", "", "the operation's id, as status and apply have it with --format json")
	c.Flags().StringVar(&status, "status", "", "applied or failed")
	c.Flags().StringVar(&message, "message", "", "why it failed, or where it is kept")
	return c
}

// operator is who runs this, as far as the machine tells: a workflow's run, or an account here.
func (a *app) operator() string {
	if url := a.runURL(); url != "" {
		return url
	}
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// tickets are the issues of a repository at the forge.
func (a *app) tickets(_ context.Context, s schemas.Forge, repository string) (reconciler.Tickets, error) {
	// One client for as long as this runs: it asks only for what has changed since.
	key := s.Kind + " " + repository + " " + s.Publisher
	if t, ok := a.desks.Load(key); ok {
		return t.(reconciler.Tickets), nil
	}
	f, err := a.openForge(s.Kind, repository)
	if err != nil {
		return nil, err
	}
	t, _ := a.desks.LoadOrStore(key, f.Tickets(s.Publisher))
	return t.(reconciler.Tickets), nil
}
