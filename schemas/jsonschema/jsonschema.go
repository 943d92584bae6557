package jsonschema

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// baseURL is where the schemas' $id lie; nothing is ever fetched from there.
const baseURL = "https://countersign.dev/schemas/v1/"

//go:embed *.json
var files embed.FS

// Names are the names that Get knows, sorted: the kinds of documents, document (any of
// them, for editors), and the outputs plan, decision, policy-input and record.
func Names() []string {
	files, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil // the pattern is constant and well-formed
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f, ".json"))
	}
	slices.Sort(names)
	return names
}

// Get returns the JSON Schema (draft 2020-12) of that name. Case, dashes and underscores make no
// difference. The error for a name that is not known lists the names.
func Get(name string) ([]byte, error) {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s))
	}
	names := Names()
	for _, n := range names {
		if plain(n) == plain(name) {
			return files.ReadFile(n + ".json")
		}
	}
	hint := ""
	if h := DidYouMean(name, names); h != "" {
		hint = "; " + h
	}
	return nil, fmt.Errorf("no schema is named %q (expected one of %s)%s", name, strings.Join(names, ", "), hint)
}
