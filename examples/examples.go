// Package examples embeds the application files of this folder, one for each application that countersign reaches with
// a dedicated connector or by SCIM. countersign init starts from one of them.
package examples

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
)

//go:embed applications/*.yaml
var files embed.FS

// Names returns the names of the application files without their extension, sorted.
func Names() []string {
	entries, err := files.ReadDir("applications")
	if err != nil {
		panic(err) // it is embedded
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// Application returns the application file with that name.
func Application(name string) ([]byte, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("unknown example %q (expected one of %s)", name, strings.Join(Names(), ", "))
	}
	return files.ReadFile(path.Join("applications", name+".yaml"))
}
