package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/server"
	"github.com/countersign/countersign/schemas"
)

func (a *app) validate() *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Check all control files by themselves: no Git, no application, no reviewer",
		Long: `Checks every control file below --repo as it lies in the folder: YAML, schemas, payloads and names against
the connectors, policy. All errors are listed at once, with file, line and column.`,
		Example: "  countersign validate\n  countersign validate --format json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := a.checkFormat(); err != nil {
				return err
			}
			registry, err := a.registry(c.Context())
			if err != nil {
				return err
			}
			rep, err := reconciler.Validate(c.Context(), a.repo, registry)
			if err != nil {
				return err
			}
			if err := a.print(rep); err != nil {
				return err
			}
			if len(rep.Errors) > 0 {
				return &exit{code: exitError}
			}
			return nil
		},
	}
}

func (a *app) preview() *cobra.Command {
	var base, head string
	var blind, exitCode bool
	var pull server.Preview
	c := &cobra.Command{
		Use:   "preview",
		Short: "Show what a change would do, what policy says, and who must still approve",
		Long: `Compares the head with where it forked from the base, folds both, and diffs both against the live
applications as they stand configured in the base. Nothing is written to any application.

Exit codes: 0 ready or nothing to do; 1 errors, or live state not known whole; 2 ready and something would
change, with --exit-code; 3 denied by policy; 4 sign-off missing.
` + forgeHelp,
		Example: "  countersign preview\n  countersign preview --base origin/main --head HEAD --format markdown\n  countersign preview --blind            # without reading any application\n  countersign preview --pull-request 57  # and tell it there",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			r, repo, err := a.open(c.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, r.Close()) }()
			var p *schemas.Preview
			if pull.Number > 0 {
				if c.Flags().Changed("base") || blind || a.application != "" {
					return errors.New("--pull-request goes without --base, --blind and --application: a pull request is previewed whole, against the settings' branch")
				}
				if c.Flags().Changed("head") {
					pull.Head = head
				}
				if pull.Full && pull.Head == "" {
					return errors.New("--full needs --head with the commit that somebody has looked at")
				}
				p, err = a.publishPreview(c, r, repo, pull)
			} else {
				if base == "" {
					if base, err = a.branch(c.Context(), repo); err != nil {
						return err
					}
				}
				p, err = r.Preview(c.Context(), reconciler.PreviewOptions{Base: base, Head: head, Blind: blind, Application: a.application})
			}
			if p != nil && !pull.Redact {
				err = errors.Join(err, a.print(p))
			}
			if err != nil || p == nil {
				return err
			}
			return previewExit(p, exitCode)
		},
	}
	c.Flags().StringVar(&base, "base", "", "the branch that the change would land on (default: the settings' branch)")
	c.Flags().StringVar(&head, "head", "HEAD", "the change")
	c.Flags().BoolVar(&blind, "blind", false, "do not read the live applications")
	c.Flags().IntVar(&pull.Number, "pull-request", 0, "preview this pull request, and tell it there: comment, check run, statuses, review requests")
	c.Flags().BoolVar(&pull.Full, "full", false, "with --pull-request and --head: read the live applications for a fork's pull request too, when --head is its head")
	c.Flags().StringVar(&pull.StatusOn, "status-on", "", "with --pull-request: publish the statuses on this commit too, which a merge queue made")
	c.Flags().BoolVar(&pull.Redact, "redact", false, "with --pull-request: leave out who gains and loses, here and there")
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 2 when something would change")
	return c
}

func previewExit(p *schemas.Preview, exitCode bool) error {
	switch p.Verdict {
	case schemas.VerdictInvalid, schemas.VerdictIncomplete:
		return &exit{code: exitError}
	case schemas.VerdictDenied:
		return &exit{code: exitDenied}
	case schemas.VerdictSignoff:
		return &exit{code: exitSignoff}
	}
	pending := func(o schemas.Operation) bool { return o.Hold == schemas.HoldPending }
	if exitCode && slices.ContainsFunc(p.Plan.Applications, func(x schemas.ApplicationPlan) bool {
		return slices.ContainsFunc(x.Operations, func(o schemas.Operation) bool { return !pending(o) })
	}) {
		return &exit{code: exitDifference}
	}
	return nil
}

func (a *app) apply() *cobra.Command {
	var to string
	var dryRun bool
	var tell telling
	c := &cobra.Command{
		Use:   "apply",
		Short: "Admit what was merged, carry it out, and verify it by reading back",
		Long: `Judges every commit of the branch since the last one judged, takes what was signed off from live to
desired in each application, reads back, and records it. What was not signed off is quarantined: it is
reported and has no effect. Running it again does nothing twice.

Exit codes: 0 all done; 1 error; 3 or 4 a commit was quarantined now, by policy or for want of sign-off;
5 applied in part.
` + forgeHelp,
		Example: "  countersign apply\n  countersign apply --dry-run\n  countersign apply --application warehouse",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			return a.run(c, reconciler.RunOptions{To: to, DryRun: dryRun}, false, tell)
		},
	}
	c.Flags().StringVar(&to, "to", "", "the revision that the branch has come to (default: the settings' branch)")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "plan only: write nothing, neither to applications nor to the ledger")
	tell.flags(c)
	return c
}

func (a *app) drift() *cobra.Command {
	var to string
	var enforce, exitCode bool
	var tell telling
	c := &cobra.Command{
		Use:   "drift",
		Short: "Hold the live applications against what was admitted",
		Long: `Reports where an application differs from what admitted requests want: by hand, or because something is
still pending. With --enforce the difference is mended and read back. Without it nothing is written.`,
		Example: "  countersign drift --exit-code\n  countersign drift --enforce --application warehouse",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.run(c, reconciler.RunOptions{To: to, Drift: true, Enforce: enforce}, exitCode, tell)
		},
	}
	c.Flags().StringVar(&to, "to", "", "the revision that the branch has come to (default: the settings' branch)")
	c.Flags().BoolVar(&enforce, "enforce", false, "mend what differs")
	c.Flags().BoolVar(&exitCode, "exit-code", false, "exit with 2 when something differs")
	tell.flags(c)
	return c
}

// telling is whether an outcome is told at the forge, and how much of it.
type telling struct{ publish, redact bool }

func (t *telling) flags(c *cobra.Command) {
	c.Flags().BoolVar(&t.publish, "publish", false, "fetch the branch first, and tell the outcome at the forge: pull requests, deployments, issues")
	c.Flags().BoolVar(&t.redact, "redact", false, "with --publish: leave out who the identities are there, and print nothing here")
}

func (a *app) run(c *cobra.Command, o reconciler.RunOptions, exitCode bool, tell telling) (err error) {
	r, repo, err := a.open(c.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	p := server.Pass{Reconciler: r, URL: a.runURL(), Redact: tell.redact}
	if tell.redact && !tell.publish {
		return errors.New("--redact goes with --publish")
	}
	if tell.publish {
		s, err := a.site(c.Context(), r, repo)
		if err != nil {
			return err
		}
		if o.To != "" {
			return errors.New("--publish is about the branch as the forge has it, and goes without --to")
		}
		o.To, p.Forge = s.branch, s.client
		if !o.Drift {
			p.Previews = &server.Preview{Forge: s.client, Fetch: s.fetch, Branch: s.branch, BranchSpec: s.spec}
		}
		p.Fetch = func(ctx context.Context) error { return s.fetch(ctx, s.spec) }
	}
	if o.To == "" {
		if o.To, err = a.branch(c.Context(), repo); err != nil {
			return err
		}
	}
	o.Application = a.application
	p.Options = o
	rep, err := p.Run(c.Context())
	if rep != nil && !tell.redact {
		if perr := a.print(rep); perr != nil {
			return errors.Join(err, perr)
		}
	}
	if err != nil {
		return err
	}
	return runExit(rep, exitCode)
}

// runExit says how a run went. What keeps an auditor awake comes first: parts undone, then quarantine.
func runExit(rep *schemas.RunReport, exitCode bool) error {
	failed, worked, differs := 0, 0, false
	for _, x := range rep.Applications {
		bad := x.Error != "" || x.Plan.Incomplete != ""
		last := map[string]schemas.OutcomeStatus{}
		for _, o := range x.Outcomes {
			last[o.Operation] = o.Status
		}
		for _, s := range last {
			bad = bad || s != schemas.OutcomeApplied && s != schemas.OutcomePending
			worked++
		}
		for _, v := range x.Verifications {
			bad = bad || v.Status == schemas.VerificationDiffers || v.Status == schemas.VerificationUnverifiable
		}
		if bad {
			failed++
		}
		// What somebody outside is at is on its way.
		differs = differs || slices.ContainsFunc(x.Plan.Operations, func(o schemas.Operation) bool { return o.Hold != schemas.HoldPending })
	}
	switch {
	case failed > 0 && failed == len(rep.Applications) && worked == 0:
		return &exit{code: exitError}
	case failed > 0:
		return &exit{code: exitPart}
	}
	for _, v := range rep.Admissions {
		if v.Verdict != schemas.AdmissionQuarantined {
			continue
		}
		if v.Decision != nil && len(v.Decision.Denials) > 0 {
			return &exit{code: exitDenied}
		}
		return &exit{code: exitSignoff}
	}
	if exitCode && differs {
		return &exit{code: exitDifference}
	}
	return nil
}

func (a *app) status() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:     "status",
		Short:   "Say where every request stands: approval, provisioning, verification",
		Example: "  countersign status\n  countersign status --application warehouse --format json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			r, repo, err := a.open(c.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, r.Close()) }()
			if to == "" {
				if to, err = a.branch(c.Context(), repo); err != nil {
					return err
				}
			}
			rep, err := r.Status(c.Context(), to, a.application)
			if err != nil {
				return err
			}
			return a.print(rep)
		},
	}
	c.Flags().StringVar(&to, "to", "", "the revision that the branch has come to (default: the settings' branch)")
	return c
}

func (a *app) access() *cobra.Command {
	var o reconciler.AccessOptions
	c := &cobra.Command{
		Use:   "access",
		Short: "Answer who can do what, and which request, commit and approvers made it so",
		Long: `Reads the live applications and follows nested connections from identities to resources. Each step names
the request, the commit that admitted it and who signed it off, or says that it is unmanaged.`,
		Example: "  countersign access --identity alice\n  countersign access --resource sales.orders\n  countersign access --connection role/sales_reader --format json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			r, repo, err := a.open(c.Context())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, r.Close()) }()
			if o.To == "" {
				if o.To, err = a.branch(c.Context(), repo); err != nil {
					return err
				}
			}
			o.Application = a.application
			rep, err := r.Access(c.Context(), o)
			if err != nil {
				return err
			}
			if err := a.print(rep); err != nil {
				return err
			}
			if len(rep.Incomplete) > 0 {
				return &exit{code: exitError, err: fmt.Errorf("%d applications could not be read whole", len(rep.Incomplete))}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.To, "to", "", "the revision that the branch has come to (default: the settings' branch)")
	f.StringVar(&o.Identity, "identity", "", "only this identity: alice, or user/alice")
	f.StringVar(&o.Connection, "connection", "", "only through this connection: sales_reader, or role/sales_reader")
	f.StringVar(&o.Resource, "resource", "", "only to this target: sales.orders, or table/sales.orders")
	return c
}
