package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manOptions configures man.
type manOptions struct {
	*app
	dir string
}

// newManCommand writes the manual pages, for packages and installers.
func newManCommand(a *app) *cobra.Command {
	o := &manOptions{app: a}
	c := &cobra.Command{
		Use:     "man",
		Hidden:  true,
		Short:   "Write the manual pages",
		Long:    "Writes a manual page for each command into a folder, for packages and\ninstallers.",
		Example: "  countersign man --dir /usr/local/share/man/man1",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c.Root()) },
	}
	c.Flags().StringVar(&o.dir, "dir", ".", "the `DIR` to write to; created if needed")
	return c
}

func (o *manOptions) run(root *cobra.Command) error {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return fmt.Errorf("create the folder of the manual pages: %w", err)
	}
	now := o.Now()
	root.DisableAutoGenTag = true
	err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "countersign " + programVersion(), Manual: "countersign manual", Date: &now}, o.dir)
	if err != nil {
		return fmt.Errorf("write the manual pages: %w", err)
	}
	return nil
}
