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

// Admits reports whether a commit with this verdict takes effect.
func (v AdmissionVerdict) Admits() bool { return v == AdmissionAdmitted || v == AdmissionAnchor }

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

// FulfilmentState is how far somebody outside is with an operation. Their report becomes the outcome of the operation, and
// what a read-back shows of it the verification; this is the two together.
type FulfilmentState string

// The states of a fulfilment.
const (
	FulfilmentSubmitting FulfilmentState = "submitting" // the intent is on record; whether they have heard of it is not known
	FulfilmentPending    FulfilmentState = "pending"
	FulfilmentApplied    FulfilmentState = "applied" // reported as done, and not seen yet
	FulfilmentFailed     FulfilmentState = "failed"
	FulfilmentDiffers    FulfilmentState = "differs" // reported as done, looked for and not found
	FulfilmentWithdrawn  FulfilmentState = "withdrawn"
	FulfilmentVerified   FulfilmentState = "verified"
	FulfilmentAttested   FulfilmentState = "attested"
)

// FulfilmentMethod is how the state of a fulfilment is known.
type FulfilmentMethod string

// The ways in which the state of a fulfilment becomes known.
const (
	FulfilledByDelivery FulfilmentMethod = "delivery" // the request could not be delivered
	FulfilledByAnswer   FulfilmentMethod = "answer"   // the webhook answered so at once
	FulfilledByCallback FulfilmentMethod = "callback" // the webhook reported it later, signed
	FulfilledByTicket   FulfilmentMethod = "ticket"   // somebody closed or reopened the issue
	FulfilledByOperator FulfilmentMethod = "operator" // an operator reported it, with countersign fulfil
	FulfilledByRead     FulfilmentMethod = "read"     // a read of the application showed it
	FulfilledByPlan     FulfilmentMethod = "plan"     // it is no longer wanted
)

// AuditState is the state of one row of the audit export: that of an operation's outcome or of its read-back, or one of
// those below.
type AuditState string

// The states of rows.
const (
	AuditVerified     AuditState = "verified"
	AuditAttested     AuditState = "attested"  // reported as done, and no read can show it
	AuditWithdrawn    AuditState = "withdrawn" // nothing wants it any longer, and they were told
	AuditPending      AuditState = "pending"   // a read-back that waits for somebody, or an intent without outcome
	AuditDiffers      AuditState = "differs"
	AuditUnverifiable AuditState = "unverifiable"
	AuditApplied      AuditState = "applied" // not read back yet
	AuditFailed       AuditState = "failed"
	AuditBlocked      AuditState = "blocked"
	AuditCancelled    AuditState = "cancelled"
	AuditHeld         AuditState = "held"
	// A change without operation is one of these.
	AuditQuarantined AuditState = "quarantined"
	AuditWaiting     AuditState = "waiting" // admitted, and nothing done yet
	AuditAdopted     AuditState = "adopted" // already in place
	AuditUndone      AuditState = "undone"  // admitted once; its file has gone since, or has other content
	// AuditObserved is a change by hand: a read showed it, and no operation of countersign made it.
	AuditObserved AuditState = "observed"
)

// EndedHow is how what a row shows came to its end.
type EndedHow string

// The ways in which a row ends.
const (
	EndedByOperation EndedHow = "operation"        // a verified operation of countersign
	EndedByHand      EndedHow = "by hand"          // a read showed it gone, and no operation of countersign did it
	EndedConnection  EndedHow = "connection"       // the connection went, and everything granted to it
	EndedReplaced    EndedHow = "replaced"         // other approved requests grant the same now
	EndedApproved    EndedHow = "approved"         // access by hand that a request approved later
	EndedUnwanted    EndedHow = "no longer wanted" // a later plan doesn't have the operation
)

// AuditSource is where an answer about an instant takes an entitlement from.
type AuditSource string

// The sources of entitlements as of an instant.
const (
	SourceOperation AuditSource = "operation" // an operation of countersign, read back
	SourceAdoption  AuditSource = "adoption"  // a read found it in place, as requested
	SourceRead      AuditSource = "read"      // a read showed it, and no admitted request asks for it
)

// AuditItem is what an entitlement of an audit is about.
type AuditItem string

// The items of an audit.
const (
	AuditItemConnection  AuditItem = "connection"
	AuditItemPayload     AuditItem = "payload"
	AuditItemEntitlement AuditItem = "entitlement"
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
