package history_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/history"
	"github.com/countersign/countersign/reconciler/history/historytest"
)

type yamlFiles struct{}

func (yamlFiles) Dir(path string) bool  { return path != "other" }
func (yamlFiles) File(path string) bool { return strings.HasSuffix(path, ".yaml") }

func TestUncommitted(t *testing.T) {
	t.Parallel()
	r := historytest.New(t)
	write := func(path, content string) {
		t.Helper()
		at := filepath.Join(r.Dir, path)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"requests/same.yaml", "requests/lines.yaml", "requests/changed.yaml", "requests/gone.yaml", "readme.txt"} {
		write(p, "a\nb\n")
	}
	r.Git("add", ".")
	r.Git("commit", "-q", "-m", "Begin")
	open := func() []string {
		t.Helper()
		repo, err := history.Open(r.Dir)
		if err != nil {
			t.Fatal(err)
		}
		defer repo.Close()
		got, err := repo.Uncommitted(t.Context(), "HEAD", yamlFiles{})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := open(); len(got) > 0 {
		t.Errorf("after the commit: got %v, want nothing", got)
	}
	write("requests/lines.yaml", "a\r\nb\r\n")
	write("requests/changed.yaml", "a\nc\n")
	write("requests/staged.yaml", "a\n")
	r.Git("add", "requests/staged.yaml")
	write("requests/new/new.yaml", "a\n")
	write("other/new.yaml", "a\n")
	write("readme.txt", "b\n")
	if err := os.Remove(filepath.Join(r.Dir, "requests", "gone.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("same.yaml", filepath.Join(r.Dir, "requests", "link.yaml")); err != nil {
		t.Fatal(err)
	}
	want := []string{"requests/changed.yaml", "requests/gone.yaml", "requests/new/new.yaml", "requests/staged.yaml"}
	if diff := cmp.Diff(want, open()); diff != "" {
		t.Errorf("uncommitted (-want +got):\n%s", diff)
	}
}
