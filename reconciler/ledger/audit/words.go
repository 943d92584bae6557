package audit

// The words of the records that an audit looks at.
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

func admits(verdict string) bool { return verdict == verdictAdmitted || verdict == verdictAnchor }
