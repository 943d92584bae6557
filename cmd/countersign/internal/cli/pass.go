package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/server"
	"github.com/countersign/countersign/schemas"
)

// passOptions configures a pass over the applications, for apply and drift.
type passOptions struct {
	*app
	to              string
	publish, redact bool
}

func (o *passOptions) flags(c *cobra.Command) {
	toFlag(c, &o.to)
	c.Flags().BoolVar(&o.publish, "publish", false, "fetch the branch first, and publish the outcome on the forge: pull requests, deployments, issues")
	c.Flags().BoolVar(&o.redact, "redact", false, "with --publish: hide who the identities are, and print nothing here")
	o.applicationFlag(c)
	formatFlag(c, &o.format, formatText, formatMarkdown, formatJSON)
	o.reconcilerFlags(c)
}

// pass runs once over the applications, and reports and publishes the outcome.
func (o *passOptions) pass(ctx context.Context, run reconciler.RunOptions, exitCode bool) (err error) {
	r, repo, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	p := server.Pass{Reconciler: r, URL: o.runURL(), Redact: o.redact}
	run.To = o.to
	if o.redact && !o.publish {
		return errors.New("--redact requires --publish")
	}
	if o.publish {
		s, err := o.site(ctx, r, repo)
		if err != nil {
			return err
		}
		if run.To != "" {
			return errors.New("--publish can't be combined with --to: it works on the branch on the forge")
		}
		run.To, p.Forge = s.branch, s.client
		if !run.Drift {
			p.Previews = &server.Preview{Forge: s.client, Fetch: s.fetch, Branch: s.branch, BranchSpec: s.spec}
		}
		p.Fetch = func(ctx context.Context) error { return s.fetch(ctx, s.spec) }
	}
	if run.To == "" {
		if _, run.To, err = o.branch(repo); err != nil {
			return err
		}
	}
	run.Application = o.application
	p.Options = run
	rep, err := p.Run(ctx)
	if rep != nil && !o.redact {
		if perr := o.print(rep); perr != nil {
			return errors.Join(err, perr)
		}
	}
	if err != nil {
		return err
	}
	return runExit(rep, exitCode)
}

// runExit returns the exit code of a run as an error; nil for 0.
func runExit(rep *schemas.RunReport, exitCode bool) error {
	if code := reconciler.ExitCode(rep, exitCode); code != 0 {
		return &exit{code: code}
	}
	return nil
}
