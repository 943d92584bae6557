package audit

import "github.com/countersign/countersign/schemas"

// The values in records that an audit reads.
const (
	statusPending      = "pending"
	statusApplied      = "applied"
	statusFailed       = "failed"
	statusVerified     = "verified"
	statusDiffers      = "differs"
	statusAttested     = "attested"
	statusUnverifiable = "unverifiable"

	verdictAnchor      = "anchor"
	verdictAdmitted    = "admitted"
	verdictQuarantined = "quarantined"
)

func admits(verdict schemas.AdmissionVerdict) bool {
	return verdict == verdictAdmitted || verdict == verdictAnchor
}
