package policy

import (
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign/schemas"
)

func TestLibrary(t *testing.T) {
	t.Parallel()
	r, err := engine(t, Config{}).Test(t.Context(), TestOptions{Coverage: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, res := range r.Results {
		if res.Outcome != "pass" {
			t.Errorf("%s:%d: %s: %s: %s %s", res.Position.Path, res.Position.Line, res.Name, res.Outcome, res.Message, res.Output)
		}
		if res.Suite != "library" || res.Position.Line == 0 {
			t.Errorf("%s: suite %q at line %d", res.Name, res.Suite, res.Position.Line)
		}
	}
	if !r.OK() || r.Passed < 60 || r.NoOwnTests {
		t.Errorf("%d passed, OK %v, no own tests %v", r.Passed, r.OK(), r.NoOwnTests)
	}
	if r.LibraryCoverage != 100 {
		t.Errorf("coverage is %v %%", r.LibraryCoverage)
		for _, f := range r.Files {
			if len(f.NotCovered) > 0 {
				t.Errorf("%s: lines %v", f.Path, f.NotCovered)
			}
		}
	}
	if len(r.Files) < 9 {
		t.Errorf("coverage of %d files", len(r.Files))
	}
	// Each rule has tests by its code, allowing and denying.
	for _, d := range Rules() {
		n := 0
		for _, res := range r.Results {
			if strings.Contains(res.Name, ".test_"+strings.TrimPrefix(d.Code, "CS-")+"_") {
				n++
			}
		}
		if n < 2 {
			t.Errorf("%s has %d tests", d.Code, n)
		}
	}
}

const ownRule = `package countersign

deny contains {"code": "ACME-1", "msg": "not on this table", "path": op.path, "line": op.line} if {
	some op in input.plan
	op.target.source_name == "sales.orders"
}
`

func TestOwnSuite(t *testing.T) {
	t.Parallel()
	own := map[string][]byte{"policy/a.rego": []byte(ownRule)}
	r, err := engine(t, Config{Modules: own}).Test(t.Context(), TestOptions{Coverage: true, Run: "countersign_test"})
	if err != nil {
		t.Fatal(err)
	}
	if !r.NoOwnTests || r.OwnTests != 0 || r.OwnRules != 1 || r.OwnCoverage != 0 {
		t.Errorf("without tests: %+v", r)
	}

	own["policy/a_test.rego"] = []byte(`package countersign_test

import data.countersign
import data.limits

test_orders if {
	some d in countersign.deny with input as {"plan": [{"path": "p", "line": 1, "target": {"source_name": "sales.orders"}}]}
	d.code == "ACME-1"
}

test_wrong if {
	print("limits are", limits)
	count(countersign.deny) == 3 with input as {"plan": []}
}

test_error if {
	1 / count(countersign.deny) == 1 with input as {"plan": []}
}

todo_test_later if false
`)
	r, err = engine(t, Config{Modules: own, Data: map[string]any{"limits": 3}}).Test(t.Context(), TestOptions{Coverage: true, Run: "countersign_test"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Passed != 1 || r.Failed != 1 || r.Errors != 1 || r.Skipped != 1 || r.OwnTests != 4 || r.OK() || r.NoOwnTests {
		t.Errorf("%+v", r)
	}
	if r.OwnCoverage != 100 {
		t.Errorf("own coverage %v: %+v", r.OwnCoverage, r.Files)
	}
	for _, res := range r.Results {
		switch {
		case strings.HasSuffix(res.Name, "test_wrong"):
			if !strings.Contains(res.Output, "limits are 3") {
				t.Errorf("%+v", res)
			}
		case strings.HasSuffix(res.Name, "test_error"):
			if !strings.Contains(res.Message, "divide by zero") {
				t.Errorf("%+v", res)
			}
		}
	}

	own["policy/a_test.rego"] = []byte("package countersign_test\n\ntest_x if {\n\tinput.chagne\n}\n")
	_, err = engine(t, Config{Modules: own}).Test(t.Context(), TestOptions{})
	var ce *CompileError
	if !errors.As(err, &ce) || ce.Errors[0].Path != "policy/a_test.rego" || ce.Errors[0].Line != 4 {
		t.Errorf("a test that does not compile: %v", err)
	}
	if _, err := engine(t, Config{}).Test(t.Context(), TestOptions{Run: "("}); err == nil {
		t.Error("a pattern that is none was taken")
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	e := engine(t, Config{})
	rules := Rules()
	if len(rules) != e.rules {
		t.Errorf("%d rules are documented, and %d loaded", len(rules), e.rules)
	}
	seen := map[schemas.PolicyRule]bool{}
	for _, r := range rules {
		if !strings.HasPrefix(r.Code, "CS-1") || r.Title == "" || r.Description == "" {
			t.Errorf("%+v", r)
		}
		switch r.Severity {
		case "deny", "warn", "require_signoff":
		default:
			t.Errorf("%s has severity %q", r.Code, r.Severity)
		}
		if seen[r] {
			t.Errorf("twice: %+v", r)
		}
		seen[r] = true
	}
}

func TestWhereATestFails(t *testing.T) {
	t.Parallel()
	own := map[string][]byte{"policy/a.rego": []byte(ownRule), "policy/a_test.rego": []byte(`package countersign_test

import data.countersign

test_wrong if {
	count(countersign.deny) == 3 with input as {"plan": []}
}
`)}
	r, err := engine(t, Config{Modules: own}).Test(t.Context(), TestOptions{Run: "countersign_test"})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Results) != 1 || !strings.Contains(r.Results[0].Message, "line 6 is not true: count(countersign.deny) == 3") {
		t.Errorf("%+v", r.Results)
	}
}
