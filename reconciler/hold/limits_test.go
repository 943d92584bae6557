package hold_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/countersign/countersign/reconciler/hold"
	"github.com/countersign/countersign/schemas"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	n := func(i int) *int { return &i }
	type set = schemas.LimitSet
	type all = schemas.Limits
	defaults := set{Revokes: n(50), Deletions: n(5)}
	tests := []struct {
		name     string
		settings all
		own      *all
		override *set
		want     all
	}{
		{"nobody says anything", all{}, nil, nil, all{LimitSet: defaults}},
		{"the settings", all{LimitSet: set{Members: n(9)}, Day: &set{Revokes: n(7)}}, nil, nil, all{LimitSet: set{Members: n(9), Deletions: n(5)}, Day: &set{Revokes: n(7)}}},
		{"the application leaves deletions open", all{LimitSet: set{Deletions: n(2)}}, &all{LimitSet: set{Revokes: n(100)}}, nil, all{LimitSet: set{Revokes: n(100), Deletions: n(2)}}},
		{"the application leaves all open", all{}, &all{Day: &set{Deletions: n(1)}}, nil, all{LimitSet: defaults, Day: &set{Deletions: n(1)}}},
		{"an override of revokes leaves deletions limited", all{LimitSet: set{Revokes: n(2), Deletions: n(0)}}, nil, &set{Revokes: n(3)}, all{LimitSet: set{Revokes: n(3), Deletions: n(0)}}},
		{"an override counts for the day too", all{Day: &set{Revokes: n(1), Deletions: n(1)}}, nil, &set{Members: n(80)}, all{LimitSet: set{Members: n(80), Deletions: n(5)}, Day: &set{Deletions: n(1)}}},
		{"an override of deletions", all{Run: &set{Revokes: n(4), Deletions: n(1)}}, nil, &set{Deletions: n(8)}, all{LimitSet: set{Revokes: n(50), Deletions: n(8)}, Run: &set{Revokes: n(4)}}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			app, settings := &schemas.Application{}, &schemas.Settings{}
			app.Spec.Limits, settings.Spec.Limits = tc.own, tc.settings
			got := hold.Limits(app, settings)
			if tc.override != nil {
				got = hold.Override(got, *tc.override)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
