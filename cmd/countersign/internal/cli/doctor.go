package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/schemas"
)

// doctorOptions configures doctor.
type doctorOptions struct {
	*app
}

func newDoctorCommand(a *app) *cobra.Command {
	o := &doctorOptions{app: a}
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check the rules on GitHub, the ledger and the applications",
		Long: `Reads the branch's rulesets, and those of the ledger's branch, and lists gaps:
reviews that survive a push, bypass lists, force pushes, statuses that aren't
required. countersign checks every change again at the merge, so a gap costs
time and noise, not access.

Checks who signs the ledger, and who would notice that it was put back. Reads
the applications too, and lists those whose scopes overlap on one server, and
the members of the accounts that countersign logs in with. Nothing is changed.

Exit codes: 0 no gaps; 1 an error, or a gap.
` + forgeHelp,
		Example: "  countersign doctor\n  countersign doctor --ledger-branch countersign/ledger\n  countersign doctor --format json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	formatFlag(c, &a.format, formatText, formatMarkdown, formatJSON)
	a.reconcilerFlags(c)
	return c
}

func (o *doctorOptions) run(ctx context.Context) (err error) {
	r, repo, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	_, branch, err := o.branch(repo)
	if err != nil {
		return err
	}
	conf, err := r.Configuration(ctx, branch)
	if err != nil {
		return err
	}
	var checks []schemas.Check
	if conf.Settings.Forge.Kind != localForge {
		s, err := o.site(ctx, r, repo)
		if err != nil {
			return err
		}
		checks, err = s.client.Examine(ctx, forge.Examination{Settings: conf.Settings, LedgerBranch: o.ledgerBranch,
			File: func(ctx context.Context, path string) (string, error) { return fileOn(ctx, repo, branch, path) }})
		if err != nil {
			return err
		}
	}
	own, err := r.LedgerChecks(ctx, branch)
	if err != nil {
		return err
	}
	checks = append(checks, own...)
	applications, err := r.Check(ctx, branch)
	if err != nil {
		return err
	}
	checks = append(checks, applications...)
	if err := o.print(&schemas.DoctorReport{Checks: checks}); err != nil {
		return err
	}
	if slices.ContainsFunc(checks, func(k schemas.Check) bool { return k.State == schemas.CheckOpen }) {
		return &exit{code: exitError}
	}
	return nil
}

// onlyFile lets one path of a tree through.
type onlyFile string

func (f onlyFile) Dir(p string) bool  { return strings.HasPrefix(string(f), p+"/") }
func (f onlyFile) File(p string) bool { return p == string(f) }

// fileOn returns a file on a branch; "" where there is none.
func fileOn(ctx context.Context, repo *history.Repository, branch, path string) (string, error) {
	files, err := repo.Snapshot(ctx, branch, onlyFile(path))
	if err != nil || len(files) == 0 {
		return "", err
	}
	b, err := repo.Blob(files[0].Blob, 1<<20)
	return strings.TrimSpace(string(b)), err
}
