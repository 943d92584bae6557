package schemas

// PreviewVerdict is what a preview comes to.
type PreviewVerdict string

// The verdicts of a preview.
const (
	VerdictNothing    PreviewVerdict = "nothing"    // no control file changed
	VerdictReady      PreviewVerdict = "ready"      // it can be merged
	VerdictSignoff    PreviewVerdict = "sign-off"   // sign-offs are missing
	VerdictDenied     PreviewVerdict = "denied"     // policy denies it
	VerdictIncomplete PreviewVerdict = "incomplete" // could not read all of the live state
	VerdictInvalid    PreviewVerdict = "invalid"    // the change has errors
)

// AdmissionVerdict is the verdict on one first-parent commit.
type AdmissionVerdict string

// The verdicts on a first-parent commit.
const (
	AdmissionAnchor      AdmissionVerdict = "anchor"      // the trust anchor: it needs no review
	AdmissionAdmitted    AdmissionVerdict = "admitted"    // it was reviewed as policy requires
	AdmissionQuarantined AdmissionVerdict = "quarantined" // it was not, and is ignored
	AdmissionUnchanged   AdmissionVerdict = "unchanged"   // it touches no control file
)

// ApprovalState is where a request is on the first axis: was it approved?
type ApprovalState string

// The states of approval.
const (
	ApprovalPending     ApprovalState = "pending"     // no verdict on it is on record
	ApprovalAdmitted    ApprovalState = "admitted"    // it was reviewed as policy requires, and is in force
	ApprovalQuarantined ApprovalState = "quarantined" // it is on the branch, was not admitted, and is ignored
	ApprovalUndone      ApprovalState = "undone"      // it was admitted once; its file has gone since, or has other content
)

// ProvisioningState is where a request is on the second axis: was it carried out?
type ProvisioningState string

// The states of provisioning.
const (
	ProvisioningNone    ProvisioningState = "none"    // no operation follows from it: it is new, or what it wants was there
	ProvisioningPending ProvisioningState = "pending" // an intent is on record, and no outcome: somebody outside is at it, perhaps
	ProvisioningHeld    ProvisioningState = "held"    // its operations are shown and not carried out
	ProvisioningPartial ProvisioningState = "partial" // some of its operations are applied
	ProvisioningApplied ProvisioningState = "applied"
	ProvisioningFailed  ProvisioningState = "failed"
	ProvisioningBlocked ProvisioningState = "blocked" // a dependency failed
	// Somebody outside was asked, and nothing wants it any longer: they were told.
	ProvisioningWithdrawn ProvisioningState = "withdrawn"
	// ProvisioningScheduled is a grant whose start lies ahead.
	ProvisioningScheduled ProvisioningState = "scheduled"
	// ProvisioningSuperseded is a request of which later requests left nothing: revoked, or its connection deleted.
	ProvisioningSuperseded ProvisioningState = "superseded"
)

// VerificationState is what a read-back showed of one operation, or of all those of a request.
type VerificationState string

// The states of verification.
const (
	VerificationNone     VerificationState = "none"    // no operation was carried out
	VerificationPending  VerificationState = "pending" // no read-back yet, or somebody outside has to act: accept an invitation
	VerificationVerified VerificationState = "verified"
	VerificationPartial  VerificationState = "partial" // some of its operations are verified
	// VerificationInPlace is what needed no operation: the access was already as requested.
	VerificationInPlace VerificationState = "already in place"
	// VerificationNoEffect is a removal whose target can't be found: it removed nothing.
	VerificationNoEffect     VerificationState = "no effect"
	VerificationDiffers      VerificationState = "differs" // the read-back showed something else
	VerificationUnverifiable VerificationState = "unverifiable"
	VerificationAttested     VerificationState = "attested" // somebody entitled reported it as done, and no read can show it
	VerificationDrifted      VerificationState = "drifted"  // it was so once, and no longer is
	VerificationOverdue      VerificationState = "overdue"  // it has expired, and is held in place
	// VerificationSuperseded is a request of which later requests left nothing to verify.
	VerificationSuperseded VerificationState = "superseded"
)

// OutcomeStatus is what became of one operation.
type OutcomeStatus string

// The outcomes of operations.
const (
	OutcomeApplied   OutcomeStatus = "applied"
	OutcomeFailed    OutcomeStatus = "failed"
	OutcomeBlocked   OutcomeStatus = "blocked"   // a dependency failed
	OutcomeCancelled OutcomeStatus = "cancelled" // it was not tried
	OutcomePending   OutcomeStatus = "pending"   // somebody outside was asked
	OutcomeWithdrawn OutcomeStatus = "withdrawn" // nothing wants it any longer, and they were told
)

// The states of a fulfilment: how far somebody outside is with an operation. FulfilmentPending, FulfilmentApplied and
// FulfilmentFailed are the values of an answer. They lack a type of their own yet, since what somebody outside says
// becomes the outcome, and what a read-back shows of it the state.
const (
	FulfilmentSubmitting = "submitting" // the intent is on record; whether they have heard of it is not known
	FulfilmentPending    = "pending"
	FulfilmentApplied    = "applied" // reported as done, and not seen yet
	FulfilmentFailed     = "failed"
	FulfilmentDiffers    = "differs" // reported as done, looked for and not found
	FulfilmentWithdrawn  = "withdrawn"
	FulfilmentVerified   = "verified"
	FulfilmentAttested   = "attested"
)

// Severity is how much a finding matters.
type Severity string

// The severities of findings.
const (
	SeverityError   Severity = "error"   // it stops what it is about
	SeverityWarning Severity = "warning" // somebody should act
	SeverityInfo    Severity = "info"
)

// CheckState is what doctor found out about one thing.
type CheckState string

// The states of a check.
const (
	CheckOK      CheckState = "ok"
	CheckOpen    CheckState = "open"
	CheckUnknown CheckState = "unknown"
)

// CaseResult is the result of a case of the conformance suite.
type CaseResult string

// The results of a case.
const (
	CasePassed  CaseResult = "pass"
	CaseFailed  CaseResult = "fail"
	CaseSkipped CaseResult = "skip"
)

// Origin is where an entitlement comes from.
type Origin string

// The origins of entitlements.
const (
	OriginRequest   Origin = "request"
	OriginUnmanaged Origin = "unmanaged" // no admitted request asks for it
)
