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

// fulfilOptions configures fulfil.
type fulfilOptions struct {
	*app
	operation, status, message string
}

func newFulfilCommand(a *app) *cobra.Command {
	o := &fulfilOptions{app: a}
	c := &cobra.Command{
		Use:   "fulfil",
		Short: "Record the result of a webhook operation",
		Long: `Records the result of a webhook operation by hand or from a workflow, if no
countersign serve is running to receive the callback. Your account is recorded
too. The next run still reads the application, and verifies only what it finds.
An operation provisioned by ticket is done when its issue is closed.`,
		Example: `  countersign fulfil --operation 0f1e2d3c4b5a6978 --status applied
  countersign fulfil --application crm --operation 0f1e2d3c4b5a6978 \
    --status failed --message "no licences left"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	f := c.Flags()
	f.StringVar(&o.operation, "operation", "", "the operation's `ID`, from status or apply --format json")
	f.StringVar(&o.status, "status", "", "the `RESULT`: applied or failed")
	f.StringVar(&o.message, "message", "", "a `TEXT`: why it failed, or where the work is documented")
	a.applicationFlag(c)
	formatFlag(c, &a.format, formatText, formatMarkdown, formatJSON)
	a.reconcilerFlags(c)
	return c
}

func (o *fulfilOptions) run(ctx context.Context) (err error) {
	if o.operation == "" {
		return errors.New("--operation is required; countersign status --format json lists the ids")
	}
	status := schemas.OutcomeStatus(o.status)
	if status != schemas.OutcomeApplied && status != schemas.OutcomeFailed {
		return errors.New("--status must be applied or failed")
	}
	r, _, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	rep, err := r.Fulfil(ctx, reconciler.Answer{Application: o.application, Operation: o.operation, Status: status, Message: o.message,
		By: o.operator(), Method: schemas.FulfilledByOperator})
	if err != nil {
		return err
	}
	return o.print(rep)
}

// operator is the account that runs this: a workflow's run, or a local account.
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
