package judge

import (
	"path"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// ControlFiles limits the reading of Git to control files and to anything that could replace their folders.
type ControlFiles struct{ Settings *schemas.SettingsSpec }

// maxActionDepth is how many folders deep descriptions of actions are looked for outside of .github.
const maxActionDepth = 4

// Dir reports whether a folder may contain control files.
func (f ControlFiles) Dir(p string) bool {
	return strings.Count(p, "/") < maxActionDepth || f.Holds(p)
}

// Holds reports whether a folder is one of those for control files, or contains one.
func (f ControlFiles) Holds(p string) bool {
	for _, root := range []string{schemas.AutomationFolder, f.Settings.Folders.Requests, f.Settings.Folders.Applications, f.Settings.Folders.Policy, path.Dir(f.Settings.AllowedSigners)} {
		if p == root || strings.HasPrefix(p, root+"/") || strings.HasPrefix(root, p+"/") {
			return true
		}
	}
	return false
}

// File reports whether a file is a control file or replaces a folder of them.
func (f ControlFiles) File(p string) bool {
	if _, ok := schemas.IsControlFile(p, f.Settings); ok {
		return true
	}
	// A link or submodule in place of a folder is a file of that name.
	for _, root := range []string{schemas.AutomationFolder, f.Settings.Folders.Requests, f.Settings.Folders.Applications, f.Settings.Folders.Policy} {
		if p == root || strings.HasPrefix(root, p+"/") {
			return true
		}
	}
	return false
}
