package schemas

import "time"

// PolicyRules is the answer of countersign policy rules.
type PolicyRules struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"` // PolicyRules
	Rules      []PolicyRule `json:"rules"`
}

// PolicyRule describes one rule of the built-in library.
type PolicyRule struct {
	Code        string `json:"code"`
	Title       string `json:"title"`
	Description string `json:"description"`
	// Severity is the set that the rule adds to: deny, require_signoff or warn.
	Severity string `json:"severity"`
}

// PolicyTestResult is the outcome of one Rego test.
type PolicyTestResult struct {
	// Suite is library or own.
	Suite string `json:"suite"`
	Name  string `json:"name"`
	// Outcome is pass, fail, error or skip.
	Outcome  string   `json:"outcome"`
	Position Position `json:"position"`
	// Duration is in nanoseconds.
	Duration time.Duration `json:"duration"`
	// Message explains why a test failed or could not run.
	Message string `json:"message,omitempty"`
	// Output is what the test printed.
	Output string `json:"output,omitempty"`
}

// PolicyCoverage is how much of a file the tests reach.
type PolicyCoverage struct {
	Suite string `json:"suite"`
	Path  string `json:"path"`
	// Percent of the lines with something to evaluate.
	Percent float64 `json:"percent"`
	// NotCovered are line numbers, sorted.
	NotCovered []int `json:"not_covered,omitempty"`
}

// PolicyTestReport is the answer of countersign policy test: what came of the Rego tests.
type PolicyTestReport struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"` // PolicyTest
	Results    []PolicyTestResult `json:"results"`
	Files      []PolicyCoverage   `json:"files,omitempty"`
	// LibraryCoverage and OwnCoverage are percentages; 0 where coverage was not asked for.
	LibraryCoverage float64 `json:"library_coverage,omitempty"`
	OwnCoverage     float64 `json:"own_coverage,omitempty"`
	Passed          int     `json:"passed"`
	Failed          int     `json:"failed"`
	Errors          int     `json:"errors"`
	Skipped         int     `json:"skipped"`
	// OwnRules and OwnTests are how many rules and tests the repository has of its own.
	OwnRules int `json:"own_rules"`
	OwnTests int `json:"own_tests"`
	// NoOwnTests means that there are own rules and no test of them ran.
	NoOwnTests bool `json:"no_own_tests"`
}

// OK reports whether every test that ran passed, and one ran at least.
func (r *PolicyTestReport) OK() bool { return r.Passed > 0 && r.Failed == 0 && r.Errors == 0 }
