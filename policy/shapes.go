package policy

import "github.com/countersign/countersign/schemas"

// What the engine answers about rules, by its names here: package schemas has the types.
type (
	RuleDoc      = schemas.PolicyRule
	TestResult   = schemas.PolicyTestResult
	FileCoverage = schemas.PolicyCoverage
	TestReport   = schemas.PolicyTestReport
)
