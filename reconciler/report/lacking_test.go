package report_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/countersign/countersign/reconciler/report"
	"github.com/countersign/countersign/schemas"
)

// TestLacking makes comments of previews that have room for everything that an approval is about, and of such that don't.
func TestLacking(t *testing.T) {
	t.Parallel()
	// crowd is a change by which n people gain, each something of its own unless same.
	crowd := func(n int, same bool) *schemas.Preview {
		p := preview(schemas.VerdictSignoff, warehouse())
		for i := range n {
			target := orders
			if !same {
				target = named("table", fmt.Sprintf("sales.orders_of_the_year_%d", i))
			}
			p.Gained = append(p.Gained, gains(target, "SELECT", fmt.Sprintf("user%d", i))...)
		}
		return p
	}
	with := func(n int, change func(i int, o *schemas.Operation)) *schemas.Preview {
		p := preview(schemas.VerdictSignoff, warehouse())
		for i := range n {
			o := operation(fmt.Sprintf("x%d", i), schemas.OperationGrant, named("table", fmt.Sprintf("t%d", i)), "SELECT")
			change(i, &o)
			p.Plan.Applications[0].Operations = append(p.Plan.Applications[0].Operations, o)
		}
		return p
	}
	update := func(fields int, value string) *schemas.Preview {
		return with(1, func(_ int, o *schemas.Operation) {
			o.Kind, o.Target, o.Privileged, o.After = schemas.OperationUpdate, nil, true, map[string]any{}
			for i := range fields {
				o.After[fmt.Sprintf("field%d", i)] = value + fmt.Sprint(i)
			}
		})
	}
	terms := func(n int) *schemas.Preview {
		p := preview(schemas.VerdictSignoff, warehouse())
		for i := range n {
			p.Terms = append(p.Terms, schemas.TermChange{Application: "warehouse", Key: schemas.Key{Connection: reader, Target: named("user", fmt.Sprintf("user%d", i)), Privilege: "MEMBER"},
				Before: []schemas.Window{{}}})
		}
		return p
	}
	for _, tt := range []struct {
		name    string
		p       *schemas.Preview
		redact  bool
		lacking string
		shows   []string
	}{
		{"a few people", crowd(3, false), false, "", []string{"user2"}},
		{"many people with the same effect", crowd(2000, true), false, "", []string{"user0", "user777", "user1999"}},
		{"many people with different effects", crowd(300, false), false, "", []string{"user299"}},
		{"too many people", crowd(3000, false), false, "leaves out 2950 people who gain or lose access", nil},
		{"too many people with the same effect", crowd(12_000, true), false, "people who gain or lose access", nil},
		{"a name too long", func() *schemas.Preview {
			p := crowd(1, true)
			p.Gained[0].Target.SourceName = strings.Repeat("x", 100_000)
			return p
		}(), false, "1 person", nil},
		{"hidden people", crowd(1, true), true, "it hides who gains or loses access", nil},
		{"hidden members", with(1, func(_ int, o *schemas.Operation) { o.Privilege = "MEMBER"; *o.Target = named("user", "alice") }), true, "it hides", nil},
		{"nobody to hide", with(1, func(int, *schemas.Operation) {}), true, "", nil},
		{"many operations", with(3000, func(int, *schemas.Operation) {}), false, "", nil},
		{"many privileged operations", with(400, func(_ int, o *schemas.Operation) { o.Privileged = true }), false, "", []string{"t399"}},
		{"too many privileged operations", with(3000, func(_ int, o *schemas.Operation) { o.Privileged = true }), false, "leaves out 3000 privileged operations or deletions", nil},
		{"many deletions", with(300, func(i int, o *schemas.Operation) {
			o.Kind, o.Target, o.Connection = schemas.OperationDelete, nil, named("role", fmt.Sprintf("role%d", i))
		}), false, "", []string{"role299"}},
		{"too many deletions", with(3000, func(i int, o *schemas.Operation) {
			o.Kind, o.Target, o.Connection = schemas.OperationDelete, nil, named("role", fmt.Sprintf("role%d", i))
		}), false, "privileged operations or deletions", nil},
		{"many fields", update(100, "v"), false, "", []string{"field99"}},
		{"a long field", update(1, strings.Repeat("x", 5000)), false, "", []string{strings.Repeat("x", 5000) + "0"}},
		{"a field too long", update(1, strings.Repeat("x", 100_000)), false, "1 privileged operation or deletion", nil},
		{"many ends", terms(300), false, "", []string{"user299"}},
		{"too many ends", terms(5000), false, "grants with another start or end", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text, lacking, err := report.Comment(tt.p, report.Options{Redact: tt.redact})
			if err != nil {
				t.Fatal(err)
			}
			if (lacking == "") != (tt.lacking == "") || !strings.Contains(lacking, tt.lacking) {
				t.Errorf("lacking %q, want %q", lacking, tt.lacking)
			}
			if got := strings.Contains(text, "don't count"); got != (tt.lacking != "") {
				t.Errorf("the comment explains that approvals don't count: %v\n%.600s", got, text)
			}
			for _, s := range tt.shows {
				if !strings.Contains(text, s) {
					t.Errorf("the comment of %d bytes doesn't show %.60s", len(text), s)
				}
			}
		})
	}
}
