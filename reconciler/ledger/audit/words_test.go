package audit

// Short names for the states in records.
const (
	statusApplied      = "applied"
	statusFailed       = "failed"
	statusVerified     = "verified"
	statusDiffers      = "differs"
	statusUnverifiable = "unverifiable"

	verdictAnchor      = "anchor"
	verdictAdmitted    = "admitted"
	verdictQuarantined = "quarantined"
)
