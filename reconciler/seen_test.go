package reconciler_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/reconciler/history/historytest"
)

// TestStatusAfterDrift keeps status from calling verified what the last drift report found gone.
func TestStatusAfterDrift(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	w.land(files{"requests/two.yaml": assignment("authz", "sales_reader", grants(user("dave")))}, historytest.Bob())
	w.run()
	want := func(when, want string) {
		t.Helper()
		if got := w.states("requests/two.yaml"); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	want("after the run", "applied verified")
	before := w.content("authz")
	lines := slices.DeleteFunc(strings.SplitAfter(before, "\n"), func(l string) bool { return strings.Contains(l, "dave") && !strings.HasPrefix(l, "p3") })
	w.overwrite("authz", strings.Join(lines, ""))
	want("before anybody looked", "applied verified")
	w.runWith(reconciler.RunOptions{Drift: true})
	want("after drift", "applied drifted")
	w.overwrite("authz", before)
	w.runWith(reconciler.RunOptions{Drift: true})
	want("after it was back", "applied verified")
	w.overwrite("authz", strings.Join(lines, ""))
	w.runWith(reconciler.RunOptions{Drift: true, DryRun: true})
	want("after a dry run", "applied verified")
	w.runWith(reconciler.RunOptions{Drift: true})
	w.runWith(reconciler.RunOptions{Drift: true, Enforce: true})
	want("after it was corrected", "applied verified")
}
