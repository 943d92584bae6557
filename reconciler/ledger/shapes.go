package ledger

import "github.com/countersign/countersign/schemas"

// Problem and VerifyReport are the answers of Verify; package schemas has the types.
type (
	Problem      = schemas.AuditProblem
	VerifyReport = schemas.AuditVerification
)

// The values of State.Approval.
const (
	ApprovalPending     = schemas.ApprovalPending
	ApprovalAdmitted    = schemas.ApprovalAdmitted
	ApprovalQuarantined = schemas.ApprovalQuarantined
	ApprovalUndone      = schemas.ApprovalUndone
)

// The values of State.Provisioning.
const (
	ProvisioningNone      = schemas.ProvisioningNone
	ProvisioningPending   = schemas.ProvisioningPending
	ProvisioningHeld      = schemas.ProvisioningHeld
	ProvisioningPartial   = schemas.ProvisioningPartial
	ProvisioningApplied   = schemas.ProvisioningApplied
	ProvisioningFailed    = schemas.ProvisioningFailed
	ProvisioningBlocked   = schemas.ProvisioningBlocked
	ProvisioningWithdrawn = schemas.ProvisioningWithdrawn
)

// The values of State.Verification.
const (
	VerificationNone         = schemas.VerificationNone
	VerificationPending      = schemas.VerificationPending
	VerificationVerified     = schemas.VerificationVerified
	VerificationPartial      = schemas.VerificationPartial
	VerificationDiffers      = schemas.VerificationDiffers
	VerificationUnverifiable = schemas.VerificationUnverifiable
	VerificationAttested     = schemas.VerificationAttested
	VerificationDrifted      = schemas.VerificationDrifted
	VerificationOverdue      = schemas.VerificationOverdue
)

// The values of Fulfilment.State.
const (
	FulfilmentSubmitting = schemas.FulfilmentSubmitting
	FulfilmentPending    = schemas.FulfilmentPending
	FulfilmentApplied    = schemas.FulfilmentApplied
	FulfilmentFailed     = schemas.FulfilmentFailed
	FulfilmentDiffers    = schemas.FulfilmentDiffers
	FulfilmentWithdrawn  = schemas.FulfilmentWithdrawn
	FulfilmentVerified   = schemas.FulfilmentVerified
	FulfilmentAttested   = schemas.FulfilmentAttested
)
