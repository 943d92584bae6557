package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/schemas"
)

// versionOptions configures version.
type versionOptions struct{ *app }

func newVersionCommand(a *app) *cobra.Command {
	o := &versionOptions{a}
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of countersign and its main components",
		Long:    "Prints the version of countersign, of its API, of Go and of the main\ncomponents. countersign --version prints only the first.",
		Example: "  countersign version\n  countersign version --format json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return o.run() },
	}
	formatFlag(c, &a.format, formatText, formatJSON)
	return c
}

func (o *versionOptions) run() error {
	v := schemas.VersionReport{Countersign: programVersion(), API: schemas.APIVersion, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch d.Path {
			case "github.com/open-policy-agent/opa":
				v.OPA = d.Version
			case "github.com/go-git/go-git/v5":
				v.GoGit = d.Version
			}
		}
	}
	if o.format == formatJSON {
		return report.JSON(o.Stdout, &v)
	}
	for _, l := range []struct{ name, version string }{
		{"countersign", v.Countersign}, {"api", v.API}, {"go", v.Go}, {"opa", v.OPA}, {"go-git", v.GoGit},
	} {
		if l.version != "" {
			fmt.Fprintf(o.Stdout, "%-12s %s\n", l.name, l.version)
		}
	}
	return nil
}

// programVersion is the module's version, or the commit it was built from.
func programVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}
