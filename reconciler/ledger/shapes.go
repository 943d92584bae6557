package ledger

import "github.com/countersign/countersign/schemas"

// Problem and VerifyReport are the answers of Verify; package schemas has the types.
type (
	Problem      = schemas.AuditProblem
	VerifyReport = schemas.AuditVerification
)
