package all_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
		if shared := []string{"all", "connectortest", "exec", "rest"}; e.IsDir() && !slices.Contains(shared, e.Name()) && len(code) > 0 {
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
		if _, own := c.(connectors.Configured); own != c.Describe().Attested || own != (len(c.Describe().Types) == 0) {
			t.Errorf("%s: only what is attested has its types from its configuration, and then no others", name)
		}
		// The suite of connectors holds what is read against what was written: of one that reads and writes nothing
		// (manual) there is nothing to hold, and its own tests are about its configuration.
		d := c.Describe()
		for _, typ := range d.Types {
			if d.Name != name || typ.Name == "" || typ.Title == "" {
				t.Errorf("%s: a row of the table is empty: %+v", name, typ)
			}
		}
	}
}
