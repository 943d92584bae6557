package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/report/layout"
)

// auditKeyOptions configures the commands about who signs the ledger.
type auditKeyOptions struct {
	*app
	file string
}

func newAuditNewKeyCommand(a *app) *cobra.Command {
	o := &auditKeyOptions{app: a}
	c := &cobra.Command{
		Use:   "new-key",
		Short: "Make a key that signs the ledger",
		Long: `Writes a private key that only its owner can read, and prints the public key for
countersign.yaml. Without --file, the key goes to the state folder, where apply
finds it. Never commit it: with it, anybody can make up
what was approved.`,
		Example: "  countersign audit new-key\n  countersign audit new-key --file /etc/countersign/ledger.key",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return o.newKey() },
	}
	c.Flags().StringVar(&o.file, "file", "", "write the private key to this `FILE` (default: "+ledgerKeyName+" in the state folder)")
	a.repositoryFlag(c)
	inGroup(c, groupState, a.stateFlag)
	return c
}

func (o *auditKeyOptions) newKey() error {
	path := o.file
	if path == "" {
		repo, err := o.openRepository()
		if err != nil {
			return err
		}
		path = filepath.Join(o.stateDir(repo), ledgerKeyName)
		if err := repo.Close(); err != nil {
			return err
		}
	}
	public, err := o.newLedgerKey(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Stdout, "private key  %s (not for Git; keep a copy)\npublic key   %s\n", path, public)
	fmt.Fprint(o.Stdout, "\nPut it into countersign.yaml, and have the owners sign that off:\n  ledger: {public_key: "+public+"}\n")
	return nil
}

func newAuditRotateKeyCommand(a *app) *cobra.Command {
	o := &auditKeyOptions{app: a}
	c := &cobra.Command{
		Use:   "rotate-key",
		Short: "Let another key sign the ledger from now on",
		Long: `Records, signed by the present key, that another one signs from now on. First
merge the new public key into countersign.yaml: until this is run, nothing is
applied. Give the present key as for apply, and the new one with --new-key.`,
		Example: "  countersign audit new-key --file new.key\n  countersign audit rotate-key --new-key new.key",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.rotate(c.Context()) },
	}
	c.Flags().StringVar(&o.file, "new-key", "", "the `FILE` of the new private key")
	a.reconcilerFlags(c)
	return c
}

// withReconciler opens the reconciler for what is recorded about the branch by hand.
func (o *auditKeyOptions) withReconciler(ctx context.Context, do func(r *reconciler.Reconciler, to string) error) (err error) {
	r, repo, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	_, to, err := o.branch(repo)
	if err != nil {
		return err
	}
	return do(r, to)
}

func (o *auditKeyOptions) rotate(ctx context.Context) error {
	if o.file == "" {
		return errors.New("--new-key: required")
	}
	next, err := readLedgerKey(o.file)
	if err != nil {
		return err
	}
	return o.withReconciler(ctx, func(r *reconciler.Reconciler, to string) error {
		if err := r.RotateKey(ctx, next, to); err != nil {
			return err
		}
		fmt.Fprintf(o.Stdout, "The ledger is signed by %s from now on.\nGive apply the new key, and destroy the old one.\n", next.Public())
		return nil
	})
}

func newAuditTakeOverCommand(a *app) *cobra.Command {
	o := &auditKeyOptions{app: a}
	c := &cobra.Command{
		Use:   "take-over",
		Short: "Sign a ledger that was begun without a key",
		Long: `Signs an existing ledger, once. Before it, the owners of the settings sign off
the public key in countersign.yaml, and an Acknowledgement with unsigned_ledger
that names the key, the number of records and the head, as audit verify prints
them.`,
		Example: "  countersign audit verify\n  countersign audit take-over",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.takeOver(c.Context()) },
	}
	a.reconcilerFlags(c)
	return c
}

func (o *auditKeyOptions) takeOver(ctx context.Context) error {
	return o.withReconciler(ctx, func(r *reconciler.Reconciler, to string) error {
		document, err := r.TakeOver(ctx, to)
		if err != nil {
			return err
		}
		fmt.Fprintf(o.Stdout, "The ledger is signed from now on, as %s acknowledges.\n", document.Path)
		return nil
	})
}

func newAuditRestartCommand(a *app) *cobra.Command {
	o := &auditKeyOptions{app: a}
	c := &cobra.Command{
		Use:   "restart",
		Short: "Begin a ledger in the place of one that was lost",
		Long: `Begins a new ledger after the old one was lost, or can't be believed. Put a
backup in its place instead if you have one. All changes are judged again, by
today's teams and reviews, so nothing follows from that by itself: apply shows
what it would change and holds it, until an owner of the settings signs off the
Acknowledgement that it names. Move the old ledger away first, and keep it.`,
		Example: "  countersign audit restart\n  countersign apply",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.restart(c.Context()) },
	}
	a.reconcilerFlags(c)
	return c
}

func (o *auditKeyOptions) restart(ctx context.Context) error {
	return o.withReconciler(ctx, func(r *reconciler.Reconciler, to string) error {
		record, err := r.Restart(ctx, to)
		if err != nil {
			return err
		}
		was := "No witness knows of an earlier ledger."
		if record.LastSequence > 0 {
			was = fmt.Sprintf("The lost ledger had at least %d records.", record.LastSequence)
		}
		fmt.Fprint(o.Stdout, layout.Fill(was+" Changes up to "+record.Commit+" were judged again. Run countersign apply: it holds what would change, and shows how an owner releases it.", o.Width, ""))
		return nil
	})
}
