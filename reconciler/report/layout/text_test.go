package layout_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/report/layout"
)

// TestTextWidth lays one table out in ever narrower terminals.
func TestTextWidth(t *testing.T) {
	t.Parallel()
	table := func(lead bool) layout.Document {
		name := func(s string) layout.Line { return layout.Say("{}", layout.Name(s)) }
		return layout.Document{Title: layout.Say("Title"), Blocks: []layout.Block{layout.Table{
			Head: []layout.Literal{"Request", "State", "Connection"}, Titled: true, Lead: lead,
			Rows: []layout.Row{
				{Mark: layout.MarkYes, Cells: []layout.Line{name("requests/a.yaml"), layout.Say("verified"), name("role/reader")}},
				{Mark: layout.MarkNo, Cells: []layout.Line{name("requests/2026/b.yaml"), layout.Say("failed"), name("role/a_long_name")}, More: []layout.Line{layout.Say("why it failed")}},
			}}}}
	}
	tests := []struct {
		name  string
		width int
		lead  bool
		want  string
	}{
		{"not bounded", 0, false, `Title

  Request               State     Connection
✓ requests/a.yaml       verified  role/reader
✗ requests/2026/b.yaml  failed    role/a_long_name
      why it failed
`},
		{"wide enough", 50, true, `Title

  Request               State     Connection
✓ requests/a.yaml       verified  role/reader
✗ requests/2026/b.yaml  failed    role/a_long_name
      why it failed
`},
		{"one row is too long", 48, false, `Title

  Request               State     Connection
✓ requests/a.yaml       verified  role/reader
✗ requests/2026/b.yaml  failed
      Connection: role/a_long_name
      why it failed
`},
		{"a line for the first column", 40, true, `Title

  Request
    State     Connection
✓ requests/a.yaml
    verified  role/reader
✗ requests/2026/b.yaml
    failed    role/a_long_name
      why it failed
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := layout.Text(table(tt.lead), layout.Options{Width: tt.width})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("width %d (-want +got):\n%s", tt.width, diff)
			}
			for l := range strings.Lines(got) {
				if n := len([]rune(l)) - 1; tt.width > 0 && n > tt.width {
					t.Errorf("width %d: %d columns in %q", tt.width, n, l)
				}
			}
		})
	}
}

func TestFill(t *testing.T) {
	t.Parallel()
	got := layout.Fill("one two three four", 10, "  ")
	if want := "  one two\n  three\n  four\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
