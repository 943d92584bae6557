package report

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDifferences(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	for name, tt := range map[string]struct {
		before, after any
		want          []difference
	}{
		"the same, written differently": {`{"a": [1, 2]}`, object{"a": []any{1.0, 2.0}}, nil},
		"a scalar":                      {"old", "new", []difference{{"p", "old", "new", true, true}}},
		"an element more":               {[]any{"a", "b"}, []any{"a", "x", "b"}, []difference{{path: "p[1]", new: "x", has: true}}},
		"an element less":               {[]any{"a", "b", "c"}, []any{"a", "c"}, []difference{{path: "p[1]", old: "b", had: true}}},
		"the same element twice":        {[]any{"a"}, []any{"a", "a"}, []difference{{path: "p[1]", new: "a", has: true}}},
		"an element changed": {[]any{object{"e": "Allow", "r": "x"}}, []any{object{"e": "Allow", "r": "*"}},
			[]difference{{"p[0].r", "x", "*", true, true}}},
		"another order": {[]any{"a", "b"}, []any{"b", "a"}, []difference{{"p (order)", []any{"a", "b"}, []any{"b", "a"}, true, true}}},
		"keys": {object{"gone": 1.0, "stays": 2.0}, object{"new": nil, "stays": 2.0},
			[]difference{{path: "p.gone", old: 1.0, had: true}, {path: "p.new", has: true}}},
		"a list that is new":      {nil, []any{"a"}, []difference{{path: "p[0]", new: "a", has: true}}},
		"a list that is gone":     {[]any{"a"}, nil, []difference{{path: "p[0]", old: "a", had: true}}},
		"another type":            {[]any{"a"}, object{"a": 1.0}, []difference{{"p", []any{"a"}, object{"a": 1.0}, true, true}}},
		"a list of strings in Go": {[]string{"a"}, []any{"a"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, differences("p", tt.before, tt.after), cmp.AllowUnexported(difference{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}
