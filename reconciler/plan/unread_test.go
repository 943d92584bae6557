package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/plan"
	"github.com/countersign/countersign/schemas"
)

// TestUnreadPart has a part of the application out of reach: nothing of it is granted, revoked or settled.
func TestUnreadPart(t *testing.T) {
	t.Parallel()
	w := newWorld(t).steps("C role/a", "A role/a +table/far/x +table/near/x +user/far/u", "live role/a table/far/x:SELECT table/near/x:SELECT user/far/u:MEMBER", "run",
		"A role/a -table/far/x -table/near/x +table/far/y +table/near/y -user/far/u", "live role/a table/near/x:SELECT user/far/u:MEMBER")
	w.adjust = func(in *plan.Input) {
		in.Live.Unread = []schemas.Unread{{Prefix: "far/", Reason: "connection refused"}}
	}
	res := w.diff()
	want := []string{"revoke role/a table/near/x SELECT, request", "revoke role/a user/far/u MEMBER, request", "grant role/a table/near/y SELECT, request", "! unread /"}
	if diff := cmp.Diff(want, lines(&res.Plan)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, s := range res.Settled {
		if strings.Contains(s.Item, "table") {
			t.Errorf("settled %q", s.Item)
		}
	}
	live := schemas.State{Unread: []schemas.Unread{{Prefix: "far/", Reason: "connection refused"}}}
	far, near := name("table/far/x"), name("table/near/x")
	if !plan.Unread(live, &schemas.Operation{Target: &far}) || plan.Unread(live, &schemas.Operation{Target: &near}) || plan.Unread(live, &schemas.Operation{}) {
		t.Error("Unread doesn't tell what is out of reach")
	}
}
