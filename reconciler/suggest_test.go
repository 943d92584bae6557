package reconciler_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestMisspelt previews requests with slips in the names of connections and targets: the finding names what may be meant,
// and the line of the name.
func TestMisspelt(t *testing.T) {
	t.Parallel()
	w := settled(t, nil)
	for i, tt := range []struct{ request, code, fix, line string }{
		{assignment("authz", "sales_raeder", grants(user("dave"))), "no-connection", "did you mean sales_reader? ", "source_name: sales_raeder"},
		{creation("authz", "brand_new") + "---\n" + assignment("authz", "brand_nwe", grants(user("dave"))), "no-connection", "did you mean brand_new? ", "source_name: brand_nwe"},
		{assignment("authz", "nothing_like_it", grants(user("dave"))), "no-connection", "", "source_name: nothing_like_it"},
		{assignment("authz", "sales_reader", grants(user("dave"), read("sales.odrers"))), "target-not-found", "did you mean sales.orders? ", "sales.odrers"},
		{assignment("authz", "sales_reader", revokes(read("sales.orders"), read("sales.payrol"))), "no-effect", "did you mean sales.payroll? ", "sales.payrol,"},
	} {
		branch := fmt.Sprint("slip-", i)
		w.propose(branch, files{"requests/slip.yaml": tt.request})
		found := false
		p := w.preview(branch)
		for _, f := range p.Errors {
			if f.Code != tt.code {
				continue
			}
			found = true
			if strings.Contains(f.Fix, "did you mean") != (tt.fix != "") || !strings.HasPrefix(f.Fix, tt.fix) {
				t.Errorf("%s: fix %q, want %q", tt.code, f.Fix, tt.fix)
			}
			lines := strings.Split(tt.request, "\n")
			if at := f.Position.Line; at < 1 || at > len(lines) || !strings.Contains(lines[at-1], tt.line) {
				t.Errorf("%s: line %d, want that of %s", tt.code, at, tt.line)
			}
		}
		if !found {
			t.Errorf("no %s among %+v", tt.code, p.Errors)
		}
	}
}
