package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/schemas"
)

func update() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

var _ = flag.Bool("update", false, "rewrite the golden files")

// TestBadRequests previews a branch with each kind of bad request: the error with its line and column, exit
// code 1, and no operation.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../schemas/strict/testdata/bad/*.yaml")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d bad files (%v)", len(files), err)
	}
	w := newAuthz(t)
	w.propose(alice(), "bad", map[string]string{"requests/bad.yaml": "not yet\n"})
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".yaml")
		if name == "settings-request" {
			continue // a good request, bad only in the place of settings
		}
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		w.write("requests/bad.yaml", string(content))
		w.git(alice(), "commit", "-q", "--amend", "-m", "Bad", "requests/bad.yaml")
		text := w.run("preview")
		p := decode[schemas.Preview](t, w.run("preview", "--format", "json"))
		if text.code != 1 || p.Verdict != schemas.VerdictInvalid {
			t.Errorf("%s: exit code %d, verdict %s, want 1, invalid", name, text.code, p.Verdict)
		}
		for _, a := range p.Plan.Applications {
			if len(a.Operations) > 0 {
				t.Errorf("%s: %d operations, want none", name, len(a.Operations))
			}
		}
		for _, e := range p.Errors {
			if e.Position.Path != "requests/bad.yaml" {
				t.Errorf("%s: the error %q without a position", name, e.Message)
			}
		}
		golden := filepath.Join("testdata", "bad", name+".golden")
		if update() {
			if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(golden, []byte(text.out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), text.out); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
