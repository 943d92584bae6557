package audit

import "github.com/countersign/countersign/schemas"

// The answers of this package by their names here; package schemas has the types.
type (
	Truth               = schemas.Truth
	ExportRow           = schemas.AuditRow
	Manifest            = schemas.AuditManifest
	ConfigurationChange = schemas.AuditConfigurationChange
	Exception           = schemas.AuditException
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
