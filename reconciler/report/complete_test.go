package report_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/schemas"
)

// However many operations there are, the privileged ones are listed with all their differences, as long as they fit, and
// otherwise the report warns about them.
func TestPrivilegedDifferencesStay(t *testing.T) {
	t.Parallel()
	p := longDocument()
	ops := &p.Plan.Applications[0].Operations
	for i := range 3000 {
		*ops = append(*ops, operation(fmt.Sprintf("x%d", i), schemas.OperationGrant, named("user", fmt.Sprintf("user%d", i)), schemas.PrivilegeMember))
	}
	got := markdownOf(t, p, report.Options{})
	if !strings.Contains(got, "iam:PassRole") || !strings.Contains(got, strings.Repeat("x", 2000)) {
		t.Errorf("the new statement is not shown:\n%s", got)
	}
	(*ops)[0].After["document"] = []any{strings.Repeat("x", 100_000)}
	if got = markdownOf(t, p, report.Options{}); !strings.Contains(got, "1 privileged operation is not shown") {
		t.Errorf("the report does not warn of what it leaves out:\n%s", got)
	}
}
