package judge

import "testing"

func TestHoldings(t *testing.T) {
	t.Parallel()
	duties := map[string]any{"separation_of_duties": []any{map[string]any{"name": "payments", "connections": []any{"erp/role/pays", "erp/role/approves"}}}}
	for name, tc := range map[string]struct {
		module      string
		data        map[string]any
		pays, other bool
	}{
		"no rules":                    {"", nil, false, false},
		"duties":                      {"", duties, true, false},
		"a rule on something else":    {"deny contains r if { count(input.plan) > 5 }", duties, true, false},
		"a rule on holdings":          {"deny contains r if { some id, held in input.holdings }", nil, true, true},
		"a rule on holdings by index": {`deny contains r if { input["holdings"] }`, nil, true, true},
		"a rule on any part":          {"deny contains r if { some k; input[k] }", nil, true, true},
		"the input as a value":        {"f(x) := x\ndeny contains r if { f(input) }", nil, true, true},
		"input at the end of a line":  {"x := input\n", nil, true, true},
		"another word":                {"deny contains r if { inputs.a }", nil, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			modules := map[string][]byte{}
			if tc.module != "" {
				modules["policy/a.rego"] = []byte("package countersign\n" + tc.module)
			}
			h := holdingsOf(modules, tc.data)
			if got := h.asked("erp/role/pays"); got != tc.pays {
				t.Errorf("asks about a connection of the duties: %v", got)
			}
			if got := h.asked("erp/role/other"); got != tc.other {
				t.Errorf("asks about another connection: %v", got)
			}
			if h.none() != (!tc.pays && !tc.other) {
				t.Errorf("none: %v", h.none())
			}
		})
	}
}
