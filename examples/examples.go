// Package examples has the application files of this folder, one for each application that countersign reaches by a
// connector of its own or by SCIM. init begins with one of them.
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

// Names are those of the application files, sorted, without their endings.
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

// Application is the application file of that name.
func Application(name string) ([]byte, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("there is no example of %q (there are %s)", name, strings.Join(Names(), ", "))
	}
	return files.ReadFile(path.Join("applications", name+".yaml"))
}
