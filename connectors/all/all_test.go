package all_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/connectors"
	"github.com/countersign/countersign/connectors/all"
)

// Each folder beside this one that has code, but for the suite's, what connectors share, and exec, which has no name of its own, is a connector in the
// list under its own name.
func TestRegistry(t *testing.T) {
	t.Parallel()
	r, err := all.Registry()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range entries {
		code, err := filepath.Glob(filepath.Join("..", e.Name(), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		code = slices.DeleteFunc(code, func(f string) bool { return strings.HasSuffix(f, "_test.go") })
		if shared := []string{"all", "connectortest", "exec", "rest", "secrets"}; e.IsDir() && !slices.Contains(shared, e.Name()) && len(code) > 0 {
			want = append(want, e.Name())
		}
	}
	if got := r.Names(); !slices.Equal(got, want) {
		t.Errorf("the list has %v, the folders are %v", got, want)
	}
	for _, name := range r.Names() {
		c, ok := r.Get(name)
		if !ok {
			t.Fatalf("%s is listed and not there", name)
		}
		d := c.Describe()
		configured, own := c.(connectors.Configured)
		if d.Attested != (len(d.Types) == 0) || d.Attested && !own {
			t.Errorf("%s: an attested application gets its types from its configuration alone, and any other has types without one", name)
		}
		if own && !d.Attested {
			got, err := configured.DescribeConfig(nil)
			if err != nil {
				t.Fatalf("%s: describe the default configuration: %v", name, err)
			}
			if diff := cmp.Diff(d, got); diff != "" {
				t.Errorf("%s: the default configuration is described differently from the connector (-connector +default):\n%s", name, diff)
			}
		}
		// The suite of connectors holds what is read against what was written: of one that reads and writes nothing
		// (manual) there is nothing to hold, and its own tests are about its configuration.
		for _, typ := range d.Types {
			if d.Name != name || typ.Name == "" || typ.Title == "" {
				t.Errorf("%s: a row of the table is empty: %+v", name, typ)
			}
		}
	}
}
