package reconciler_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/schemas"
)

// held returns the operations of authz that wait for another sign-off.
func held(t *testing.T, r *schemas.RunReport) []schemas.Operation {
	t.Helper()
	ops := outcome(t, r, "authz").Plan.Operations
	return slices.DeleteFunc(slices.Clone(ops), func(o schemas.Operation) bool { return o.Hold != schemas.HoldSignoff })
}

// released is an Acknowledgement that names what is held.
func released(t *testing.T, o schemas.Operation) string {
	t.Helper()
	digest := regexp.MustCompile(`digest: ([0-9a-f]+)`).FindStringSubmatch(o.HoldReason)
	if digest == nil {
		t.Fatalf("the reason names no digest: %q", o.HoldReason)
	}
	return document("Acknowledgement", "held: {application: authz, digest: "+digest[1]+"}\n")
}

const payroll = "requests/payroll.yaml"

// TestLateMembers lets people gain as members whom no request names, since before the review or only after it.
func TestLateMembers(t *testing.T) {
	t.Parallel()
	granted := files{payroll: assignment("authz", "sales_reader", grants(read("sales.payroll")))}
	for name, tc := range map[string]struct {
		// lines are in the store before the preview, late after the merge.
		lines, late []string
		approvers   []historytest.Person
		// held is part of the reason why it is held; "" where it takes effect.
		held string
		// gains is a person among the beneficiaries in the preview, second whether it requires two approvers.
		gains  string
		second bool
	}{
		"nobody else":                            {approvers: []historytest.Person{historytest.Bob()}},
		"an approver who is a member":            {lines: []string{"g, bob, sales_reader"}, approvers: []historytest.Person{historytest.Bob()}, held: "bob signed it off and gains by it", gains: "bob"},
		"an approver who became one since":       {late: []string{"g, bob, sales_reader"}, approvers: []historytest.Person{historytest.Bob()}, held: "bob signed it off and gains by it"},
		"an approver in a nested role":           {lines: []string{"p2, interns, role, , , false", "g, bob, interns", "g, interns, sales_reader"}, approvers: []historytest.Person{historytest.Bob()}, held: "bob signed it off", gains: "bob"},
		"another approver too":                   {lines: []string{"g, bob, sales_reader"}, approvers: []historytest.Person{historytest.Bob(), frank()}, gains: "bob"},
		"somebody who approved nothing":          {lines: []string{"g, dave, sales_reader"}, approvers: []historytest.Person{historytest.Bob()}, gains: "dave"},
		"a member whom nobody knows":             {lines: []string{"g, robot, sales_reader"}, approvers: []historytest.Person{historytest.Bob()}, held: "user/robot would gain by it", second: true},
		"a member whom nobody knows, two owners": {lines: []string{"g, robot, sales_reader"}, approvers: []historytest.Person{historytest.Bob(), frank()}, second: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			if len(tc.lines) > 0 {
				w.tamper("authz", tc.lines...)
			}
			w.propose("x", granted)
			p := w.preview("x")
			if got := p.Evidence.Beneficiaries; tc.gains != "" && !slices.Contains(got, tc.gains) {
				t.Errorf("the preview counts %v among those who gain, want %s", got, tc.gains)
			}
			if got := slices.ContainsFunc(p.Unmet, func(r schemas.Requirement) bool { return r.Code == "live-members" && r.Count == 2 }); got != tc.second {
				t.Errorf("the preview requires a second approver: %v, in %+v", got, p.Unmet)
			}
			w.merge("x", tc.approvers...)
			if len(tc.late) > 0 {
				w.tamper("authz", tc.late...)
			}
			r := w.run()
			ops := held(t, r)
			if (len(ops) > 0) != (tc.held != "") || len(ops) > 0 && !strings.Contains(ops[0].HoldReason, tc.held) {
				t.Fatalf("held: %+v, want %q", ops, tc.held)
			}
			may := func(want bool) {
				t.Helper()
				if got := slices.Contains(w.holds("authz"), "sales_reader read sales.payroll"); got != want {
					t.Errorf("the role may read the payroll: %v", got)
				}
			}
			may(tc.held == "")
			if tc.held == "" {
				wantCode(t, r, 0)
				return
			}
			wantCode(t, r, 5)
			if s := w.states(payroll); s != "held pending" {
				t.Errorf("the request is %s, want held pending", s)
			}
			if strings.Contains(tc.held, "bob") {
				// Bob gains by it: what he signs off again releases nothing.
				w.land(files{"requests/ack.yaml": released(t, ops[0])}, historytest.Bob(), historytest.Carol())
				wantCode(t, w.run(), 5)
				may(false)
			}
			w.land(files{"requests/another.yaml": released(t, ops[0])}, frank(), historytest.Carol())
			wantCode(t, w.run(), 0)
			may(true)
		})
	}
}
