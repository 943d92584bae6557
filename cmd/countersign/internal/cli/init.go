package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/connectors/casbin"
	"github.com/countersign/countersign/schemas"
)

// initOptions configures init.
type initOptions struct {
	*app
	connector, name string
	forge           starting
}

func newInitCommand(a *app) *cobra.Command {
	o := &initOptions{app: a}
	c := &cobra.Command{
		Use:   "init",
		Short: "Write the control files of a new access repository",
		Long: `Writes countersign.yaml, people.yaml, one application and a policy folder to
--repo. For casbin, it also writes a small policy file to try things on.
Existing files are kept. Replace the sample people and owners with your own,
commit and merge: trust starts at that commit.

With --github, the settings name that repository, and init also writes its
workflows, CODEOWNERS and a ruleset to import.`,
		Example: `  countersign init
  countersign init --github acme/access --connector postgres
  countersign init --connector postgres --name warehouse
  countersign init --connector slack`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context()) },
	}
	f := c.Flags()
	f.StringVar(&o.connector, "connector", "casbin", "the `NAME` of the first application's connector, or of an example application, such as slack")
	o.forge.flags(c)
	f.StringVar(&o.name, "name", "", "the `NAME` of the first application (default: authz for casbin, warehouse for postgres, otherwise the example's name)")
	a.repositoryFlag(c)
	a.connectorFlags(c)
	return c
}

func (o *initOptions) run(ctx context.Context) error {
	registry, err := o.registry(ctx)
	if err != nil {
		return err
	}
	body, known, err := beginning(registry, o.connector)
	if err != nil {
		return err
	}
	at, repository, err := o.forge.chosen()
	if err != nil {
		return err
	}
	if o.connector == "ticket" && at == nil {
		return errors.New("--connector ticket: " + o.forge.hint())
	}
	name := o.name
	if name == "" {
		name = known
	}
	for _, f := range starter(body, name) {
		if at != nil && f.path == schemas.SettingsPath {
			f.content = at.Settings(repository)
		}
		if f.path == schemas.SettingsPath {
			if f.content, err = o.withKey(f.content); err != nil {
				return err
			}
		}
		if err := o.write(f); err != nil {
			return err
		}
	}
	if at != nil {
		// From the files as they are now, so that kept files have their owners too.
		more, err := at.Files(o.repo)
		if err != nil {
			return err
		}
		for _, f := range more {
			if err := o.write(starterFile{f.Path, f.Content}); err != nil {
				return err
			}
		}
		fmt.Fprint(o.Stdout, at.NextSteps())
		return nil
	}
	if o.connector == "casbin" {
		if err := o.initStore(name + "/policy.csv"); err != nil {
			return err
		}
	}
	fmt.Fprint(o.Stdout, initNext)
	return nil
}

const initNext = `
countersign.yaml has signoff: unauthenticated: anybody who can push can write an
Approved-by trailer. That is fine for a trial. Before production use, set
allowed_signers, so that only signed merges count.

Next: put your own people, owners and application in these files, then
  countersign validate
  git add . && git commit -m "Begin access as code"
  countersign status
`

// withKey adds the public key of the ledger to the settings of a new repository, and makes the key.
func (o *initOptions) withKey(settings string) (string, error) {
	if _, err := os.Stat(filepath.Join(o.repo, schemas.SettingsPath)); err == nil {
		return settings, nil
	}
	public, path, err := o.firstKey()
	if err != nil {
		return "", err
	}
	if public == "" {
		fmt.Fprint(o.Stdout, "no key for the ledger: not a Git repository yet (countersign audit new-key)\n")
		return settings, nil
	}
	if path != "" {
		root, err := filepath.Abs(o.repo)
		if err != nil {
			return "", err
		}
		if short, err := filepath.Rel(root, path); err == nil && len(short) < len(path) {
			path = short
		}
		fmt.Fprintf(o.Stdout, "written  %s   (signs the ledger; not for Git)\n", path)
	}
	return settings + "  # The key that signs the record of what was approved and done; apply has the private half.\n  ledger: {public_key: " + public + "}\n", nil
}

// write writes a file, unless it exists.
func (o *initOptions) write(f starterFile) error {
	path := filepath.Join(o.repo, filepath.FromSlash(f.path))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		fmt.Fprintf(o.Stdout, "kept     %s\n", f.path)
		return nil
	}
	if err != nil {
		return err
	}
	_, err = out.WriteString(f.content)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	fmt.Fprintf(o.Stdout, "written  %s\n", f.path)
	return nil
}

var repositoryName = regexp.MustCompile(`^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`)

// initStore creates a store to try things on.
func (o *initOptions) initStore(path string) error {
	full := filepath.Join(o.repo, filepath.FromSlash(path))
	if _, err := os.Stat(full); err == nil {
		fmt.Fprintf(o.Stdout, "kept     %s\n", path)
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	if err := casbin.Init(full, casbin.Contents{Users: []string{"alice", "bob", "dave"}, Objects: []string{"sales.orders", "sales.payroll"}}); err != nil {
		return err
	}
	fmt.Fprintf(o.Stdout, "written  %s   (the application itself; not for Git)\n", path)
	return nil
}
