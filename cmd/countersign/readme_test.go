package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/all"
	"github.com/countersign/countersign/examples"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// tables is the guide with the generated tables.
const tables = "guides/applications.md"

// TestReadme holds the generated tables of the guide on applications against the connectors and the examples. With -update it writes them.
func TestReadme(t *testing.T) {
	t.Parallel()
	registry, err := all.Registry()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(tables)
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for name, table := range map[string]string{"connectors": connectorTable(registry), "applications": coverageTable(t, registry)} {
		block := regexp.MustCompile(`(?s)(<!-- generated: ` + name + `[^\n]*-->\n).*?(<!-- end -->)`)
		if !block.MatchString(text) {
			t.Fatalf("guides/applications.md lacks the markers of the table of %s", name)
		}
		text = block.ReplaceAllStringFunc(text, func(old string) string {
			parts := block.FindStringSubmatch(old)
			return parts[1] + "\n" + table + "\n" + parts[2]
		})
	}
	if text == string(content) {
		return
	}
	if update, ok := flag.Lookup("update").Value.(flag.Getter); ok && update.Get() == true {
		if err := os.WriteFile(tables, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Error("the tables of guides/applications.md are old: run go test ./cmd/countersign -run TestReadme -update, and look at them")
}

// connectorTable has a row for each type of connection.
func connectorTable(registry connectors.Registry) string {
	var b strings.Builder
	b.WriteString("| Connector | Application | Connection | Operations | Attributes | Can be given |\n|---|---|---|---|---|---|\n")
	for _, name := range registry.Names() {
		c, _ := registry.Get(name)
		d := c.Describe()
		if len(d.Types) == 0 {
			fmt.Fprintf(&b, "| `%s` | %s | listed in its application file | | | |\n", d.Name, d.Title)
		}
		for i, typ := range d.Types {
			connector, title := "", ""
			if i == 0 {
				connector, title = "`"+d.Name+"`", d.Title
			}
			can := ""
			for _, x := range []struct {
				ok   bool
				mark string
			}{{typ.Create, "C"}, {typ.Update, "U"}, {slices.ContainsFunc(typ.Grantable, func(g schemas.GrantableType) bool { return g.Grant }), "A"}, {typ.Delete, "D"}, {typ.Reassign, "R"}} {
				if x.ok {
					can += x.mark
				}
			}
			var attributes, targets []string
			for a := range typ.Attributes() {
				attributes = append(attributes, "`"+a+"`")
			}
			slices.Sort(attributes)
			for _, g := range typ.Grantable {
				target := "`" + g.Type + "`"
				if !g.Grant {
					target += " (revoke only)"
				}
				targets = append(targets, target)
			}
			fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s | %s |\n", connector, title, typ.Name, can, strings.Join(attributes, ", "), strings.Join(targets, ", "))
		}
	}
	b.WriteString("\nC create, U update, A assign, D delete, R reassign owned objects. `countersign connector list` shows the privileges.\n")
	return b.String()
}

// coverageTable has a row for each application, whose example has to be one of the connector that the route names.
func coverageTable(t *testing.T, registry connectors.Registry) string {
	t.Helper()
	content, err := os.ReadFile("../../examples/coverage.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct{ Application, Route, Example, What string }
	if err := yaml.Unmarshal(content, &rows); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| Application | Route | Connection: what it can be given | Application file |\n|---|---|---|---|\n")
	// An example that no row names is one of a connector's own: its row is made from it.
	for _, name := range examples.Names() {
		if !slices.ContainsFunc(rows, func(r struct{ Application, Route, Example, What string }) bool { return r.Example == name }) {
			rows = append(rows, struct{ Application, Route, Example, What string }{Application: name, Route: "native", Example: name})
		}
	}
	for _, r := range rows {
		if r.Route == "other" {
			fmt.Fprintf(&b, "| %s | webhook, ticket or `--exec` | %s | |\n", r.Application, r.What)
			continue
		}
		file := filepath.Join("applications", r.Example+".yaml")
		content, err := examples.Application(r.Example)
		if err != nil {
			t.Errorf("%s: %v", r.Application, err)
			continue
		}
		docs, list := strict.Decode(file, content)
		if err := list.Err(); err != nil {
			t.Errorf("%s: %v", r.Application, err)
			continue
		}
		app, ok := docs[0].Value.(*schemas.Application)
		if !ok || app.Name != r.Example || app.Spec.Mode != schemas.ModeObserve {
			t.Errorf("%s: expected an application of that name in mode observe", file)
			continue
		}
		c, ok := registry.Get(app.Spec.Connector)
		if !ok || (r.Route == "scim") != (app.Spec.Connector == "scim") {
			t.Errorf("%s: the route is %s, and the example's connector %s", r.Application, r.Route, app.Spec.Connector)
			continue
		}
		d := c.Describe()
		if list := strict.NewChecker().Config(docs[0], d.Config); len(list) > 0 {
			t.Errorf("%s: %v", r.Application, list)
		}
		for typ := range app.Spec.Scope {
			if _, ok := d.Type(typ); !ok && len(d.Types) > 0 {
				t.Errorf("%s: %s lacks the connection type %s", r.Application, d.Name, typ)
			}
		}
		route := "native: `" + app.Spec.Connector + "`"
		switch r.Route {
		case "ticket", "webhook":
			route = "`provisioning: " + r.Route + "`"
		case "scim":
			route = fmt.Sprintf("`scim`, profile `%v`", app.Spec.Config["profile"])
		}
		fmt.Fprintf(&b, "| %s | %s | %s | [%s](../../../examples/applications/%s.yaml) |\n", r.Application, route, r.What, r.Example, r.Example)
	}
	return b.String()
}
