package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/report/layout"
	"github.com/countersign/countersign/reconciler/server"
	"github.com/countersign/countersign/schemas"
)

// previewOptions configures preview.
type previewOptions struct {
	*app
	base, head      string
	baseSet         bool // base and head were given, rather than defaulted
	headSet         bool
	blind, exitCode bool
	pull            server.Preview
}

func newPreviewCommand(a *app) *cobra.Command {
	o := &previewOptions{app: a}
	c := &cobra.Command{
		Use:   "preview",
		Short: "Show what a change would do, and who must still approve it",
		Long: `Shows what a change would do in each live application, who gains and loses
access, the policy results, and who must still approve. Compares the head with
the point where it forked from the base, and reads applications as they are
configured in the base. Nothing is written to any application.

Exit codes: 0 ready, or nothing to do; 1 errors, or live state could not be
read completely; 2 ready and something would change, with --exit-code;
3 denied by policy; 4 sign-off missing.
` + forgeHelp,
		Example: `  countersign preview
  countersign preview --base origin/main --head HEAD --format markdown
  countersign preview --blind              # don't read any application
  countersign preview --pull-request 57    # and publish it there`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.baseSet, o.headSet = c.Flags().Changed("base"), c.Flags().Changed("head")
			return o.run(c)
		},
	}
	f := c.Flags()
	f.StringVar(&o.base, "base", "", "the `BRANCH` that the change would be merged into (default: main, or --branch)")
	f.StringVar(&o.head, "head", "HEAD", "the `REVISION` of the change")
	f.BoolVar(&o.blind, "blind", false, "don't read the live applications")
	f.IntVar(&o.pull.Number, "pull-request", 0, "preview the pull request `NUMBER` and publish the result there: comment, check run, statuses, review requests")
	f.BoolVar(&o.pull.Full, "full", false, "with --pull-request and --head: read the live applications even if the pull request is from a fork, provided its head is --head")
	f.StringVar(&o.pull.StatusOn, "status-on", "", "with --pull-request: only publish the statuses, on this `COMMIT` of a merge queue")
	f.BoolVar(&o.pull.Redact, "redact", false, "with --pull-request: hide who gains and loses access, in all output")
	f.BoolVar(&o.exitCode, "exit-code", false, "exit with 2 if something would change")
	a.applicationFlag(c)
	formatFlag(c, &a.format, formatText, formatMarkdown, formatJSON)
	a.reconcilerFlags(c)
	return c
}

func (o *previewOptions) run(c *cobra.Command) (err error) {
	r, repo, err := o.open(c.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var p *schemas.Preview
	if o.pull.Number > 0 {
		p, err = o.pullRequest(c, r, repo)
	} else {
		if o.base == "" {
			if _, o.base, err = o.branch(repo); err != nil {
				return err
			}
		}
		if !o.headSet {
			defer o.tellUncommitted(c.Context(), repo)()
		}
		p, err = r.Preview(c.Context(), reconciler.PreviewOptions{Base: o.base, Head: o.head, Blind: o.blind, Application: o.application})
	}
	if p != nil && !o.pull.Redact {
		err = errors.Join(err, o.print(p))
	}
	if err != nil || p == nil {
		return err
	}
	return previewExit(p, o.exitCode)
}

// tellUncommitted looks for control files that aren't committed while something else goes on. The returned function waits for
// the answer and prints it: a preview is of commits, and a newcomer's first file isn't in one yet.
func (o *previewOptions) tellUncommitted(ctx context.Context, repo *history.Repository) func() {
	var paths []string
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		paths, err = repo.Uncommitted(ctx, o.head, reconciler.DefaultControlFiles())
	}()
	return func() {
		<-done
		switch {
		case err != nil && ctx.Err() == nil:
			o.logger().Warn("could not look for uncommitted files", "error", err)
		case len(paths) > 0:
			const most = 5
			fmt.Fprintln(o.Stderr, "\nNot committed, so not in this preview:")
			for _, p := range paths[:min(len(paths), most)] {
				fmt.Fprintf(o.Stderr, "  %s\n", layout.Safe(p))
			}
			if n := len(paths) - most; n > 0 {
				fmt.Fprintf(o.Stderr, "  and %d more\n", n)
			}
		}
	}
}

// pullRequest previews a pull request and publishes the result.
func (o *previewOptions) pullRequest(c *cobra.Command, r *reconciler.Reconciler, repo *history.Repository) (*schemas.Preview, error) {
	if o.baseSet || o.blind || o.application != "" {
		return nil, errors.New("--pull-request can't be combined with --base, --blind or --application: it previews the complete pull request, against the branch of --branch")
	}
	if o.headSet {
		o.pull.Head = o.head
	}
	if o.pull.Full && o.pull.Head == "" {
		return nil, errors.New("--full requires --head with the commit that was reviewed")
	}
	return o.publishPreview(c, r, repo, o.pull)
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
