package cli

import (
	"github.com/countersign/countersign/reconciler/forge"
	"github.com/countersign/countersign/reconciler/github"
)

// forges are the kinds of forges that settings may name, the default first. Another one is a line here, a package beside
// github, and its name in the schema of the settings; nothing else in the command line names a forge.
func forges() forge.Kinds {
	return forge.Kinds{
		github.Kind(),
	}
}

// forgeHelp lists the environment variables that the forges read.
const forgeHelp = github.EnvironmentHelp

// forgeNames are the kinds of forges that settings may name.
func forgeNames() []string {
	var names []string
	for _, k := range forges() {
		names = append(names, k.Name)
	}
	return names
}
