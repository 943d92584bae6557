package ledger

import "github.com/countersign/countersign/schemas"

// What the ledger answers, by its names here: package schemas has the types.
type (
	Truth               = schemas.Truth
	ExportRow           = schemas.AuditRow
	Manifest            = schemas.AuditManifest
	ConfigurationChange = schemas.AuditConfigurationChange
	Exception           = schemas.AuditException
	Problem             = schemas.AuditProblem
	VerifyReport        = schemas.AuditVerification
	Entitlement         = schemas.AuditEntitlement
)

// The values of an assertion.
const (
	True    = schemas.True
	False   = schemas.False
	Unknown = schemas.Unknown
)

// The values of Entitlement.Origin.
const (
	OriginRequest   = schemas.OriginRequest
	OriginUnmanaged = schemas.OriginUnmanaged
)
