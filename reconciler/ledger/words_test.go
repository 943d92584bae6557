package ledger

// Short names for the states in records.
const (
	statusPending      = "pending"
	statusApplied      = "applied"
	statusFailed       = "failed"
	statusBlocked      = "blocked"
	statusCancelled    = "cancelled"
	statusVerified     = "verified"
	statusDiffers      = "differs"
	statusUnverifiable = "unverifiable"
	statusWithdrawn    = "withdrawn"
	statusAttested     = "attested"

	verdictAnchor      = "anchor"
	verdictAdmitted    = "admitted"
	verdictQuarantined = "quarantined"
)
