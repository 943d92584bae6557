package judge

import (
	"path"
	"strings"

	"github.com/countersign/countersign/schemas"
)

// ControlFiles limits the reading of Git to control files and to anything that could replace their folders.
type ControlFiles struct{ Settings *schemas.SettingsSpec }

// Dir reports whether a folder may contain control files.
func (f ControlFiles) Dir(p string) bool {
	for _, root := range []string{f.Settings.Folders.Requests, f.Settings.Folders.Applications, f.Settings.Folders.Policy, path.Dir(f.Settings.AllowedSigners)} {
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
	for _, root := range []string{f.Settings.Folders.Requests, f.Settings.Folders.Applications, f.Settings.Folders.Policy} {
		if p == root || strings.HasPrefix(root, p+"/") {
			return true
		}
	}
	return false
}
