package reconciler_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/reconciler/history/historytest"
)

// TestDutiesAtRelease releases what was held for another sign-off when somebody who gains by live access has become a member
// of what policy keeps apart: in the same application, and in another one by another account.
func TestDutiesAtRelease(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ other, app string }{
		"in the application":       {"authz/role/auditor", "authz"},
		"in another application":   {"hr/role/auditor", "hr"},
		"with nothing else at all": {"authz/role/other", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			anchor := files{"policy/data.yaml": "separation_of_duties:\n  - {name: four eyes, connections: [authz/role/sales_reader, " + tt.other + "]}\n"}
			w := newWorld(t, anchor)
			w.land(files{"applications/hr.yaml": w.application("hr", "")}, historytest.Bob(), historytest.Carol())
			w.land(files{"requests/base.yaml": creation("authz", "sales_reader") + "---\n" + assignment("authz", "sales_reader", grants(read("sales.orders"))) + "---\n" + creation("authz", "auditor"),
				"requests/hr.yaml": creation("hr", "auditor")}, historytest.Bob())
			wantCode(t, w.run(), 0)
			w.land(files{payroll: assignment("authz", "sales_reader", grants(read("sales.payroll")))}, historytest.Bob())
			w.tamper("authz", "g, bob, sales_reader")
			r := w.run()
			ops := held(t, r)
			if len(ops) != 1 {
				t.Fatalf("held: %+v", ops)
			}
			if tt.app != "" {
				w.tamper(tt.app, "g, bob, auditor")
			}
			w.land(files{"requests/ack.yaml": released(t, ops[0])}, frank(), historytest.Carol())
			may := func(when string, want bool) {
				t.Helper()
				if got := slices.Contains(w.holds("authz"), "sales_reader read sales.payroll"); got != want {
					t.Errorf("%s, the role may read the payroll: %v", when, got)
				}
			}
			r = w.run()
			if tt.app == "" {
				wantCode(t, r, 0)
				may("released", true)
				return
			}
			wantCode(t, r, 5)
			may("with both duties", false)
			if ops = held(t, r); len(ops) != 1 || !strings.HasPrefix(ops[0].HoldReason, "bob would hold ") || !strings.Contains(ops[0].HoldReason, tt.other+" ") {
				t.Errorf("held: %+v", ops)
			}
			w.overwrite(tt.app, strings.Replace(w.content(tt.app), "g, bob, auditor\n", "", 1))
			wantCode(t, w.run(), 0)
			may("with one of them", true)
		})
	}
}
