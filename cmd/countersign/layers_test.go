package main

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/countersign/countersign/"

// arrows says which packages of countersign each package may import: those that match one of the prefixes.
// A package below another inherits nothing. Changing an arrow is changing the architecture: say why.
func arrows() map[string][]string {
	core := []string{"reconciler/plan", "reconciler/history", "reconciler/history/order", "reconciler/signoff", "reconciler/ledger",
		"policy", "connectors", "schemas"}
	return map[string][]string{
		"cmd/countersign":              {"cmd/countersign/internal/cli"},
		"cmd/countersign/guides":       {},
		"cmd/countersign/internal/cli": {"cmd/countersign/guides", "reconciler", "reconciler/github", "reconciler/history", "reconciler/ledger", "reconciler/ledger/branch", "reconciler/report", "reconciler/server", "reconciler/signoff", "policy", "connectors", "connectors/all", "connectors/casbin", "connectors/exec", "connectors/connectortest/suite", "examples", "schemas"},
		"reconciler":                   append(core, "reconciler/fulfil"),
		"reconciler/plan":              {"connectors", "schemas"},
		"reconciler/history":           {"schemas"},
		"reconciler/history/order":     {"reconciler/plan", "schemas"},
		"reconciler/signoff":           {"reconciler/history", "schemas"},
		"reconciler/ledger":            {"schemas"},
		"reconciler/ledger/branch":     {"reconciler/ledger"},
		"reconciler/report":            {"schemas"},
		"reconciler/github":            {"reconciler/signoff", "reconciler/history", "reconciler/report", "schemas", "reconciler/fulfil", "connectors/rest"}, // rest: how an answer asks to wait
		"reconciler/server":            {"reconciler", "reconciler/github", "reconciler/report", "schemas", "reconciler/fulfil"},
		"policy":                       {"schemas"},
		"connectors":                   {"schemas"},
		"connectors/all":               {"connectors", "connectors/aws", "connectors/casbin", "connectors/github", "connectors/ldap", "connectors/manual", "connectors/mysql", "connectors/okta", "connectors/postgres", "connectors/scim"},
		"connectors/aws":               {"connectors", "connectors/rest", "schemas"},
		"connectors/casbin":            {"connectors", "schemas"},
		"connectors/okta":              {"connectors", "connectors/rest", "schemas"},
		"connectors/mysql":             {"connectors", "schemas"},
		"connectors/ldap":              {"connectors", "schemas"},
		"connectors/github":            {"connectors", "connectors/rest", "schemas"},
		"connectors/postgres":          {"connectors", "schemas"},
		"connectors/scim":              {"connectors", "connectors/rest", "schemas"},
		"connectors/exec":              {"connectors", "schemas"},
		"connectors/rest":              {"connectors"},
		"examples":                     {},
		"schemas":                      {},
		"examples/exec-go/connector":   {"connectors", "connectors/exec", "schemas"},
		// Webhooks are posted by the client that connectors to JSON APIs share: it knows when sending again helps and harms nothing.
		"reconciler/fulfil": {"reconciler/report", "connectors", "connectors/rest", "schemas"},
		"connectors/manual": {"connectors", "schemas"},
		// What only tests import.
		"connectors/connectortest":         {"connectors", "connectors/connectortest/suite"},
		"connectors/connectortest/suite":   {"connectors", "schemas"},
		"connectors/connectortest/servers": {},
		"reconciler/history/historytest":   {},
		"reconciler/github/githubtest":     {},
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
	}
	for name := range allowed {
		if !seen[name] {
			t.Errorf("the table of arrows names %s, which is no package", name)
		}
	}
}
