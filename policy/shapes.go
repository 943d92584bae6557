package policy

import "github.com/countersign/countersign/schemas"

// Aliases for the engine's answers about rules. Package schemas declares the types.
type (
	RuleDoc      = schemas.PolicyRule
	TestResult   = schemas.PolicyTestResult
	FileCoverage = schemas.PolicyCoverage
	TestReport   = schemas.PolicyTestReport
)
