package index

import (
	"path/filepath"
	"testing"
)

// Of two that find no index, the slower one leaves what the faster has saved since.
func TestLayOutOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "index.db")
	fast, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	fast.Head = Head{Tip: "c0", Anchor: "c0"}
	fast.SetFile(&File{Path: "countersign.yaml", Class: "settings", Admitted: "b1", Raw: "b1"})
	if err := fast.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := fast.Close(); err != nil {
		t.Fatal(err)
	}
	slow, err := openStore(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := slow.layOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := slow.close(); err != nil {
		t.Fatal(err)
	}
	x, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}()
	if f, err := x.File(t.Context(), "countersign.yaml"); err != nil || f == nil || x.Head != fast.Head {
		t.Errorf("after the slower one: head %+v, file %+v, %v", x.Head, f, err)
	}
}
