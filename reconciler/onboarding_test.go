package reconciler_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/history/historytest"
	"github.com/countersign/countersign/schemas"
)

// What a narrow application left without effect is woken by widening it: the preview shows all that wakes, and
// its gainers do not sign it off.
func TestWidening(t *testing.T) {
	t.Parallel()
	const narrow = "scope: {role: [sales_*]}\n"
	tests := []struct {
		name     string
		asleep   files
		wide     string
		codes    []string // of the sleeping request's own preview
		plan     []string
		gained   []string
		then     []string
		signoffs []historytest.Person // that are not enough
		enough   []historytest.Person
	}{
		{
			name:     "scope",
			asleep:   files{"requests/clerk.yaml": creation("authz", "hr_clerk") + "---\n" + assignment("authz", "hr_clerk", grants(user("bob"), read("sales.orders")))},
			wide:     `scope: {role: ["*"]}` + "\n",
			codes:    []string{"out-of-scope"},
			plan:     []string{"create hr_clerk (request)", "grant hr_clerk bob member (request)", "grant hr_clerk sales.orders read (request)"},
			gained:   []string{"bob MEMBER hr_clerk", "bob read sales.orders"},
			then:     []string{"hr_clerk", "hr_clerk: bob", "hr_clerk read sales.orders"},
			signoffs: []historytest.Person{historytest.Bob(), historytest.Carol()}, // Bob gains
			enough:   []historytest.Person{frank(), historytest.Carol()},
		},
		{
			name:     "grantable",
			asleep:   files{"requests/files.yaml": assignment("authz", "sales_reader", grants(read("hr.files"), user("dave")))},
			wide:     narrow + `grantable: {object: ["sales.*", "hr.*"]}` + "\n",
			codes:    []string{"not-grantable"},
			plan:     []string{"grant sales_reader hr.files read (request)"},
			gained:   []string{"dave read hr.files"},
			then:     []string{"sales_reader: dave", "sales_reader read hr.files"},
			signoffs: []historytest.Person{historytest.Carol()},
			enough:   []historytest.Person{historytest.Bob(), historytest.Carol()},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := settled(t, nil)
			w.land(files{"applications/authz.yaml": w.application("authz", narrow)}, historytest.Bob(), historytest.Carol())
			w.run()
			w.propose("asleep", tc.asleep)
			p := w.preview("asleep")
			if got := codes(p.Errors); p.Verdict != schemas.VerdictInvalid || !slices.Equal(got, tc.codes) {
				t.Errorf("the preview of what is out of bounds: %s %v, want invalid %v", p.Verdict, got, tc.codes)
			}
			w.merge("asleep", frank())
			w.run()
			asleep := w.holds("authz")

			w.propose("widen", files{"applications/authz.yaml": w.application("authz", tc.wide)})
			p = w.preview("widen")
			if len(p.Plan.Applications) != 1 {
				t.Fatalf("plans: %v", p.Plan.Applications)
			}
			wantPlan(t, p.Plan.Applications[0].Operations, tc.plan...)
			var gained []string
			for _, a := range p.Gained {
				gained = append(gained, a.Identity.SourceName+" "+a.Privilege+" "+a.Target.SourceName)
			}
			slices.Sort(gained)
			if diff := cmp.Diff(tc.gained, gained); diff != "" {
				t.Errorf("gained (-want +got):\n%s", diff)
			}
			if p.Verdict != schemas.VerdictSignoff {
				t.Errorf("verdict %s, want %s: %v", p.Verdict, schemas.VerdictSignoff, p.Errors)
			}
			w.Checkout("main").Branch("try", "main")
			c := w.Land(historytest.Merge, historytest.MergeOptions{Approvers: tc.signoffs}, "widen")
			w.Git("branch", "-q", "-f", "main", "try")
			wantVerdict(t, w.run(), c, "quarantined")
			if diff := cmp.Diff(asleep, w.holds("authz")); diff != "" {
				t.Errorf("without the sign-offs (-before +after):\n%s", diff)
			}
			// The same content again, with those of today.
			w.land(files{"applications/authz.yaml": w.application("authz", tc.wide) + "# again\n"}, tc.enough...)
			w.run()
			w.wantHolds("authz", append(quiet(), tc.then...)...)
		})
	}
}
