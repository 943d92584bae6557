package schemas

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxPath bounds a control file's path, in bytes.
const maxPath = 1024

// FileClass is the kind of control file that a path names.
type FileClass string

// The classes of control files.
const (
	ClassSettings    FileClass = "settings"
	ClassPeople      FileClass = "people"
	ClassApplication FileClass = "application"
	ClassRequest     FileClass = "request" // requests and the documents that steer a run
	ClassPolicy      FileClass = "policy"
	ClassSigners     FileClass = "signers"
)

// DefaultFolders are the folders of settings that name none.
func DefaultFolders() Folders {
	return Folders{Requests: "requests", Applications: "applications", Policy: "policy"}
}

// WithDefaults fills in what is empty.
func (f Folders) WithDefaults() Folders {
	d := DefaultFolders()
	if f.Requests != "" {
		d.Requests = f.Requests
	}
	if f.Applications != "" {
		d.Applications = f.Applications
	}
	if f.Policy != "" {
		d.Policy = f.Policy
	}
	return d
}

// IsControlFile reports whether a path (from the repository's root, with slashes) names a control file, and
// of which class. It does not judge the path: a control file whose path CheckPath refuses is still a
// control file, and must be reported, not ignored. Nil settings mean the default folders.
func IsControlFile(file string, s *SettingsSpec) (FileClass, bool) {
	folders := DefaultFolders()
	signers := ""
	if s != nil {
		folders, signers = s.Folders.WithDefaults(), s.AllowedSigners
	}
	switch {
	case file == SettingsPath:
		return ClassSettings, true
	case file == PeoplePath:
		return ClassPeople, true
	case signers != "" && file == signers:
		return ClassSigners, true
	case below(folders.Requests, file) && isYAML(file):
		return ClassRequest, true
	case below(folders.Applications, file) && isYAML(file):
		return ClassApplication, true
	case below(folders.Policy, file):
		switch base := path.Base(file); {
		case strings.HasSuffix(base, ".rego"), base == "data.yaml", base == "data.json":
			return ClassPolicy, true
		}
	}
	return "", false
}

func isYAML(file string) bool {
	return strings.HasSuffix(file, ".yaml") || strings.HasSuffix(file, ".yml")
}

// below reports whether file lies in folder, at any depth.
func below(folder, file string) bool {
	return len(file) > len(folder)+1 && file[len(folder)] == '/' && file[:len(folder)] == folder
}

// CheckPath reports why a path cannot be that of a control file, or nil: control files have clean
// relative paths with slashes that stay in the repository.
func CheckPath(file string) error {
	switch {
	case file == "":
		return errors.New("the path is empty")
	case len(file) > maxPath:
		return fmt.Errorf("the path has %d bytes (expected at most %d)", len(file), maxPath)
	}
	quoted := strconv.QuoteToASCII(file)
	switch {
	case !utf8.ValidString(file):
		return fmt.Errorf("path %s: is not valid UTF-8", quoted)
	case strings.ContainsRune(file, 0):
		return fmt.Errorf("path %s: has a NUL byte", quoted)
	}
	for _, r := range file {
		if f := RuneFault(r); f != "" {
			return fmt.Errorf("path %s: has %s", quoted, f)
		}
	}
	switch {
	case !norm.NFC.IsNormalString(file):
		return fmt.Errorf("path %s: is not in Unicode's normal form NFC", quoted)
	case strings.Contains(file, `\`):
		return fmt.Errorf("path %s: has a backslash (expected slashes)", quoted)
	case strings.HasPrefix(file, "/"):
		return fmt.Errorf("path %s: is absolute (expected one from the repository's root)", quoted)
	case len(file) >= 2 && file[1] == ':':
		return fmt.Errorf("path %s: names a drive (expected one from the repository's root)", quoted)
	}
	for part := range strings.SplitSeq(file, "/") {
		switch {
		case part == "..":
			return fmt.Errorf("path %s: has a .. and may leave the repository", quoted)
		case part == "" || part == ".":
			return fmt.Errorf("path %s: is not clean (expected %s)", quoted, strconv.QuoteToASCII(path.Clean(file)))
		case strings.EqualFold(part, ".git"):
			return fmt.Errorf("path %s: reaches into Git's own folder", quoted)
		case strings.TrimSpace(part) != part:
			return fmt.Errorf("path %s: has a part with white space at its beginning or end", quoted)
		}
	}
	return nil
}

// CheckPattern reports why a glob pattern is malformed, or nil. A star matches any run of characters, a
// question mark one; a backslash takes the next character as it is.
func CheckPattern(pattern string) error {
	switch {
	case pattern == "":
		return errors.New("the pattern is empty")
	case strings.HasSuffix(strings.ReplaceAll(pattern, `\\`, ""), `\`):
		return errors.New("the pattern ends in a backslash that takes no character")
	}
	return nil
}

// Overlap reports whether two paths are the same or one lies in the other, on file systems that tell upper
// from lower case and on those that don't.
func Overlap(a, b string) bool {
	a, b = FoldKey(a), FoldKey(b)
	return a == b || below(a, b) || below(b, a)
}

// UnreadFile returns a fix for a file that was probably meant to be a control file and is not read as one, or "". Beside
// control files, folders may hold documentation (*.md, LICENSE) and hidden files.
func UnreadFile(file string, s *SettingsSpec) string {
	if _, ok := IsControlFile(file, s); ok {
		return ""
	}
	folders := DefaultFolders()
	if s != nil {
		folders = s.Folders.WithDefaults()
	}
	base := path.Base(file)
	if strings.HasPrefix(file, ".") || strings.Contains(file, "/.") || strings.HasSuffix(strings.ToLower(base), ".md") || base == "LICENSE" || base == "CODEOWNERS" {
		return ""
	}
	switch {
	case below(folders.Policy, file):
		return "name it *.rego for rules; data belongs in " + folders.Policy + "/data.yaml; move anything else out of the folder"
	case below(folders.Requests, file), below(folders.Applications, file):
		lower := strings.ToLower(base)
		if strings.Contains(lower, ".yaml") || strings.Contains(lower, ".yml") || strings.HasSuffix(lower, ".json") {
			return "name it *.yaml, or move it out of the folder"
		}
	case !strings.Contains(file, "/"):
		for _, known := range []string{SettingsPath, PeoplePath} {
			stem := strings.TrimSuffix(known, ".yaml")
			if rest, ok := strings.CutPrefix(strings.ToLower(base), stem+"."); ok && rest != "" {
				return "name it " + known + ", or remove it"
			}
		}
	}
	return ""
}
