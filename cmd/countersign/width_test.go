package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/tools/txtar"
)

// TestTextFits80Columns reads the golden texts: only a path, a URL or a digest by itself may be longer.
func TestTextFits80Columns(t *testing.T) {
	t.Parallel()
	texts := map[string]string{}
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	stdout := regexp.MustCompile(`(?m)^cmp stdout (?:\$WORK/)?(\S+\.txt)$`)
	for _, path := range scripts {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range stdout.FindAllStringSubmatch(string(archive.Comment), -1) {
			for _, f := range archive.Files {
				if f.Name == m[1] {
					texts[path+": "+f.Name] = string(f.Data)
				}
			}
		}
	}
	golden, err := filepath.Glob("testdata/bad/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range golden {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(b)
	}
	if len(texts) < 100 {
		t.Errorf("%d golden texts, expected at least 100", len(texts))
	}
	for name, text := range texts {
		for l := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > 80 && len(strings.Fields(l)) > 1 {
				t.Errorf("%s: %d columns: %q", name, n, l)
			}
		}
	}
}
