package reconciler_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/schemas"
)

// A connection goes when the change takes its members away too, by a revoke or by undoing what put them there.
func TestConnectionInUse(t *testing.T) {
	t.Parallel()
	const out = "requests/out.yaml"
	role := creation("authz", "sales_writer")
	dave := assignment("authz", "sales_writer", grants(user("dave")))
	nested := assignment("authz", "sales_reader", grants("{type: role, source_name: sales_writer}"))
	tests := []struct {
		name    string
		stands  files
		change  files
		refused string // by which rule or finding of the preview
	}{
		{"deletion with a member", files{"requests/dave.yaml": dave}, files{out: deletion("authz", "sales_writer")}, "CS-130"},
		{"deletion and a revoke", files{"requests/dave.yaml": dave},
			files{out: assignment("authz", "sales_writer", revokes(user("dave"))) + "---\n" + deletion("authz", "sales_writer")}, ""},
		{"deletion and an undo", files{"requests/dave.yaml": dave}, files{out: deletion("authz", "sales_writer"), "requests/dave.yaml": ""}, ""},
		{"undo of the creation alone", files{"requests/dave.yaml": dave}, files{"requests/role.yaml": ""}, "undone-in-use"},
		{"undo of all", files{"requests/dave.yaml": dave}, files{"requests/role.yaml": "", "requests/dave.yaml": ""}, ""},
		{"undo of one of two grants", files{"requests/dave.yaml": dave, "requests/too.yaml": dave}, files{"requests/role.yaml": "", "requests/dave.yaml": ""}, "undone-in-use"},
		{"undo with another role in it", files{"requests/in.yaml": nested}, files{"requests/role.yaml": ""}, "undone-in-use"},
		{"undo of that too", files{"requests/in.yaml": nested}, files{"requests/role.yaml": "", "requests/in.yaml": ""}, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, files{"requests/role.yaml": role})
			w.land(tc.stands, historytest.Bob())
			w.run()
			w.propose("x", tc.change)
			p := w.preview("x")
			said := codes(p.Errors)
			for _, d := range p.Decision.Denials {
				said = append(said, d.Code)
			}
			before := w.holds("authz")
			c := w.merge("x", historytest.Bob())
			r := w.run()
			if tc.refused != "" {
				if !slices.Equal(said, []string{tc.refused}) {
					t.Errorf("the preview says %v, want %s", said, tc.refused)
				}
				// A merge all the same takes nothing away.
				if diff := cmp.Diff(before, w.holds("authz")); diff != "" {
					t.Errorf("after the merge (-before +after):\n%s", diff)
				}
				return
			}
			if p.Verdict != schemas.VerdictSignoff || len(said) > 0 {
				t.Errorf("the preview is %s %v, want %s", p.Verdict, said, schemas.VerdictSignoff)
			}
			wantVerdict(t, r, c, "admitted")
			w.wantHolds("authz", quiet()...)
		})
	}
}
