package main

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign/countersign/connectors/all"
)

const module = "github.com/countersign/countersign/"

// arrows lists the packages of countersign that each package may import: those that match one of the prefixes.
// A package below another inherits nothing. Changing an arrow changes the architecture: give the reason.
func arrows() map[string][]string {
	table := map[string][]string{
		"cmd/countersign":        {"cmd/countersign/internal/cli"},
		"cmd/countersign/guides": {},
		// One file of the command line, forges.go, names the forges; all others know them as package forge has them.
		"cmd/countersign/internal/cli": {"cmd/countersign/guides", "reconciler", "reconciler/forge", "reconciler/github", "reconciler/history", "reconciler/ledger", "reconciler/ledger/audit", "reconciler/ledger/audit/pack",
			"reconciler/ledger/branch", "reconciler/ledger/seal", "reconciler/report", "reconciler/report/layout", "reconciler/server", "reconciler/signoff", "policy", "connectors", "connectors/all", "connectors/casbin", "connectors/secrets",
			"connectors/exec", "connectors/connectortest/suite", "examples", "schemas", "schemas/strict", "schemas/jsonschema"},
		"reconciler": {"reconciler/forge", "reconciler/judge", "reconciler/run", "reconciler/run/fulfilment", "reconciler/validate", "reconciler/index", "reconciler/plan", "reconciler/graph",
			"reconciler/history", "reconciler/signoff", "reconciler/ledger", "reconciler/ledger/seal", "connectors", "connectors/secrets", "schemas"},
		"reconciler/graph":   {"reconciler/ordered", "schemas"},
		"reconciler/ordered": {},
		"reconciler/excerpt": {"reconciler/plan", "reconciler/graph", "reconciler/ordered", "schemas"},
		// The effect of a change is who gains and loses access.
		"reconciler/plan":              {"reconciler/graph", "schemas"},
		"reconciler/hold":              {"reconciler/plan", "schemas"},
		"reconciler/history":           {},
		"reconciler/index":             {"reconciler/plan", "schemas"},
		"reconciler/forge":             {"reconciler/history", "schemas"},
		"reconciler/signoff":           {"reconciler/forge", "reconciler/history", "schemas"},
		"reconciler/ledger":            {"reconciler/ledger/seal", "schemas"},
		"reconciler/ledger/seal":       {},
		"reconciler/ledger/audit":      {"reconciler/ledger", "reconciler/ledger/seal", "schemas"},
		"reconciler/ledger/audit/pack": {"reconciler/ledger", "reconciler/ledger/audit", "schemas"},
		"reconciler/ledger/branch":     {"reconciler/ledger", "reconciler/ledger/seal"},
		"reconciler/report":            {"reconciler/report/layout", "reconciler/report/redact", "schemas"},
		"reconciler/report/redact":     {"schemas"},
		"reconciler/report/layout":     {},
		// rest bounds answers, and knows how an answer asks to wait.
		"reconciler/github": {"reconciler/forge", "reconciler/history", "reconciler/report", "connectors/rest", "schemas", "schemas/strict"},
		"reconciler/server": {"reconciler", "reconciler/forge", "reconciler/report", "reconciler/run/fulfilment", "schemas"},
		// A configuration that could judge nothing is refused, in a merge and offline.
		"reconciler/soundness": {"policy", "reconciler/signoff", "schemas"},
		// Judging opens no application and runs nothing; running is handed what was judged, and knows neither Git nor policy.
		// Errors about names suggest the nearest one as errors about fields do: jsonschema has that. What one person holds in
		// other applications is asked of the graph.
		"reconciler/judge": {"reconciler/history", "reconciler/index", "reconciler/excerpt", "reconciler/graph", "reconciler/plan", "reconciler/hold", "reconciler/signoff", "reconciler/soundness", "reconciler/ledger", "policy", "connectors",
			"schemas", "schemas/strict", "schemas/jsonschema"},
		"reconciler/run": {"reconciler/forge", "reconciler/index", "reconciler/plan", "reconciler/graph", "reconciler/hold", "reconciler/ledger", "reconciler/run/fulfilment", "connectors", "connectors/secrets", "schemas"},
		// Webhooks are posted by the client that connectors to JSON APIs share: it knows when sending again helps and harms nothing.
		"reconciler/run/fulfilment": {"reconciler/ledger", "reconciler/plan", "reconciler/hold", "reconciler/report", "connectors", "connectors/rest", "schemas"},
		// A work tree is checked by the same rules as a merge, without anything being admitted.
		"reconciler/validate": {"reconciler/judge", "reconciler/plan", "reconciler/hold", "reconciler/signoff", "reconciler/soundness", "policy", "connectors", "schemas", "schemas/strict"},
		"policy":              {"policy/encode", "schemas", "schemas/jsonschema"},
		"policy/encode":       {"schemas"},
		"connectors":          {"schemas"},
		// The texts of a program that was given secrets are cleaned of them.
		"connectors/exec":            {"connectors", "connectors/secrets", "schemas", "schemas/strict"},
		"connectors/secrets":         {"connectors", "schemas"},
		"connectors/rest":            {"connectors"},
		"examples":                   {},
		"examples/exec-go/connector": {"connectors", "connectors/exec", "schemas"},
		"schemas":                    {},
		"schemas/jsonschema":         {"schemas"},
		"schemas/strict":             {"schemas", "schemas/jsonschema"},
		// Packages that only tests import.
		"connectors/connectortest":         {"connectors/connectortest/faults", "connectors/connectortest/harness", "connectors/connectortest/suite"},
		"connectors/connectortest/faults":  {"connectors", "connectors/connectortest/harness", "schemas"},
		"connectors/connectortest/harness": {"connectors", "schemas"},
		"connectors/connectortest/suite":   {"connectors", "connectors/connectortest/harness", "schemas"},
		"connectors/connectortest/virtual": {"connectors/connectortest/harness"},
		"connectors/connectortest/servers": {},
		"reconciler/history/historytest":   {},
		"reconciler/github/githubtest":     {},
		"reconciler/ledger/ledgertest":     {"schemas"},
	}
	// Each connector in the list of them may import the same, so that adding one changes nothing here.
	table["connectors/all"] = []string{"connectors"}
	for _, name := range connectorNames() {
		table["connectors/"+name] = []string{"connectors", "connectors/rest", "schemas"}
		table["connectors/all"] = append(table["connectors/all"], "connectors/"+name)
	}
	return table
}

// connectorNames are the connectors that the program has; their folders have the same names.
func connectorNames() []string {
	registry, err := all.Registry()
	if err != nil {
		panic(err) // two of one name
	}
	return registry.Names()
}

// TestForgesAreNamedOnce finds the files outside a forge's package that import it: the table of forges alone may.
func TestForgesAreNamedOnce(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("internal/cli/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			if i.Path.Value == strconv.Quote(module+"reconciler/github") {
				found = append(found, filepath.Base(name))
			}
		}
	}
	if want := []string{"forges.go"}; !slices.Equal(found, want) {
		t.Errorf("GitHub is named by %v, want %v", found, want)
	}
}

// TestLayers holds every import of the product's code against the table of arrows.
func TestLayers(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	allowed := arrows()
	seen := map[string]bool{}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for dec.More() {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatalf("decode go list: %v", err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		seen[name] = true
		may, ok := allowed[name]
		if !ok {
			t.Errorf("package %s is not in the table of arrows: add it, with what it may import", name)
			continue
		}
		for _, i := range p.Imports {
			if rest, ours := strings.CutPrefix(i, module); ours && !slices.Contains(may, rest) {
				t.Errorf("%s imports %s, and the table of arrows does not let it", name, rest)
			}
		}
		// The connectors of the list share one row, so that adding one changes nothing here.
		if slices.Contains(connectorNames(), strings.TrimPrefix(name, "connectors/")) {
			continue
		}
		for _, arrow := range may {
			if !slices.Contains(p.Imports, module+arrow) {
				t.Errorf("%s does not import %s: remove the arrow from the table", name, arrow)
			}
		}
	}
	for name := range allowed {
		if !seen[name] {
			t.Errorf("the table of arrows names %s, which is not a package", name)
		}
	}
}
