// Package guides holds countersign's guides, one per reader, which are help topics of the program and pages at the
// forge. It imports nothing of countersign.
package guides

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.md
var files embed.FS

// Guide is one guide.
type Guide struct {
	// Name is the help topic, and the file without its ending.
	Name string
	// Title is the guide's heading.
	Title string
	// Text is the guide in Markdown.
	Text string
}

// All returns the guides by name.
func All() ([]Guide, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("list the guides: %w", err)
	}
	var all []Guide
	for _, e := range entries {
		content, err := files.ReadFile(e.Name())
		if err != nil {
			return nil, fmt.Errorf("read the guide %s: %w", e.Name(), err)
		}
		text := string(content)
		title, _, _ := strings.Cut(strings.TrimPrefix(text, "# "), "\n")
		all = append(all, Guide{Name: strings.TrimSuffix(e.Name(), ".md"), Title: title, Text: text})
	}
	return all, nil
}
