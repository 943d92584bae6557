package forge

// File is a file to write into an access repository; its path has slashes and begins at the root.
type File struct{ Path, Content string }

// Starter writes what a new access repository at a forge needs beside its control files.
type Starter interface {
	// Settings returns countersign.yaml for a repository.
	Settings(repository string) string
	// Files returns the forge's own files, such as CI workflows, for the control files that are in a folder by now.
	Files(dir string) ([]File, error)
	// NextSteps returns a text about what to do with them.
	NextSteps() string
}
