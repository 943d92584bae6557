package scim_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/scim"
	"github.com/countersign/countersign/schemas"
	"github.com/countersign/countersign/schemas/strict"
)

// The example of each application is decoded as a control file is, and opened with secrets in the place of references.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../examples/applications/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	checker := strict.NewChecker()
	schema := scim.New().Describe().Config
	seen := map[string]bool{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		docs, list := strict.Decode(file, content)
		if len(list) > 0 || len(docs) != 1 {
			t.Errorf("%s: %d documents: %v", file, len(docs), list)
			continue
		}
		app, ok := docs[0].Value.(*schemas.Application)
		if !ok {
			t.Errorf("%s is a %s", file, docs[0].Kind)
			continue
		}
		if app.Spec.Connector != "scim" {
			continue // another connector's example
		}
		if list := checker.Config(docs[0], schema); len(list) > 0 {
			t.Errorf("%s: %v", file, list)
		}
		if name := strings.TrimSuffix(filepath.Base(file), ".yaml"); app.Name != name {
			t.Errorf("%s is named %s", file, app.Name)
		}
		profile, _ := app.Spec.Config["profile"].(string)
		if seen[profile] {
			t.Errorf("%s: a second example of %q", file, profile)
		}
		seen[profile] = true
		values := resolved(app.Spec.Config)
		w, err := scim.New().OpenWriter(t.Context(), connectors.Config{Application: app.Name, Values: values, Now: time.Now})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		for typ := range app.Spec.Grantable {
			group, _ := scim.New().Describe().Type("group")
			if _, ok := group.Target(typ); !ok {
				t.Errorf("%s: nothing of the type %s can be granted", file, typ)
			}
		}
	}
	for _, profile := range scim.ProfileNames() {
		if !seen[profile] {
			t.Errorf("there is no example of %s", profile)
		}
	}
}

// resolved puts a secret where a config refers to one.
func resolved(config map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range config {
		if m, ok := v.(map[string]any); ok {
			if _, isSecret := m["env"]; isSecret {
				v = connectors.NewSecret("s")
			} else {
				v = resolved(m)
			}
		}
		out[k] = v
	}
	return out
}
