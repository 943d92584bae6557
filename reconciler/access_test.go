package reconciler_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler"
	"github.com/countersign/countersign/schemas"
)

// Access that belongs to no role or group is in the answer, with who has it.
func TestAccessThatIsNotRead(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	w.tamper("authz", "p, erin, sales.payroll, admin")
	rep, err := w.open().Access(t.Context(), reconciler.AccessOptions{To: "main", Application: "authz", Resource: "sales.payroll"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]schemas.NotRead{"authz": {{What: "permission of a user", Count: 1, Connection: schemas.Name{Type: "user", SourceName: "erin"}}}}
	if diff := cmp.Diff(want, rep.NotRead); diff != "" {
		t.Errorf("not read (-want +got):\n%s", diff)
	}
}
