package schemas

import "time"

// Truth is an assertion's value. Unknown is for what the records cannot prove: it is never shown as true.
type Truth string

// The values of an assertion.
const (
	True    Truth = "true"
	False   Truth = "false"
	Unknown Truth = "unknown"
)

// AuditRow is one operation, or one change without operation, with what an auditor asks of it. Times are
// those of the machine that ran it, but for approvals, previews and merges, which are the forge's.
type AuditRow struct {
	// State is verified, attested (reported as done, and no read can show it), withdrawn, pending (a read-back that waits for somebody, or an intent without outcome), differs,
	// unverifiable, applied (not read back yet), failed, blocked, cancelled or held. Without an operation it is
	// quarantined, waiting (admitted, and nothing done yet), adopted (already in place), undone, or observed (changed
	// by hand, as a read showed).
	State AuditState `json:"state"`
	// Time is that of the row's first record.
	Time time.Time `json:"time"`
	// EffectiveAt is when it took effect: the end of the operation that the application carried out, else the read that
	// showed it; null where it did not. A row lies in the period of EffectiveAt, without one in that of Time.
	EffectiveAt *time.Time `json:"effective_at"`
	// Identity. Sequence and Hash are of the row's last record.
	Sequence         int64        `json:"sequence"`
	Hash             string       `json:"hash"`
	Run              string       `json:"run"`
	Operation        string       `json:"operation"`
	RequestPath      string       `json:"request_path"`
	RequestIndex     int          `json:"request_index"`
	RequestBlob      string       `json:"request_blob"`
	RequestKind      Kind         `json:"request_kind"`
	Documents        []DocumentID `json:"documents"` // all that the operation follows from; the request is the last
	MergeCommit      string       `json:"merge_commit"`
	HeadCommit       string       `json:"head_commit"`
	PullRequest      int          `json:"pull_request"`
	PullRequestURL   string       `json:"pull_request_url"`
	PullRequestTitle string       `json:"pull_request_title"`
	AdmissionSeq     int64        `json:"admission_sequence"`
	AdmissionHash    string       `json:"admission_hash"`

	// The request.
	Requesters    []string      `json:"requesters"`
	Unattributed  []string      `json:"unattributed"`
	Beneficiaries []string      `json:"beneficiaries"`
	RequestName   string        `json:"request_name"`
	Reason        string        `json:"reason"`
	Ticket        string        `json:"ticket"`
	ChangeReason  string        `json:"change_reason"` // the commits' own: a Reason trailer, or the text below the subject
	Expires       *time.Time    `json:"expires"`
	Application   string        `json:"application"`
	Connection    string        `json:"connection"`
	ConnectionID  string        `json:"connection_id"`
	Kind          OperationKind `json:"kind"`
	Cause         Cause         `json:"cause"`
	Target        string        `json:"target"`
	TargetID      string        `json:"target_id"`
	Privilege     string        `json:"privilege"`
	Privileged    bool          `json:"privileged"`

	// Authorisation.
	Verdict   AdmissionVerdict `json:"verdict"`
	Reasons   []string         `json:"reasons"`
	Forge     string           `json:"forge"`
	Approvals []Approval       `json:"approvals"` // those that do not count too, with why
	Required  []Requirement    `json:"required"`
	Unmet     []Requirement    `json:"unmet"`
	MergedAt  *time.Time       `json:"merged_at"`
	MergedBy  string           `json:"merged_by"`

	// Policy.
	PolicyBundle string       `json:"policy_bundle"`
	PolicyEngine string       `json:"policy_engine"`
	PolicyRules  int          `json:"policy_rules"`
	Denials      []RuleResult `json:"denials"`
	Warnings     []RuleResult `json:"warnings"`

	// Preview: what was reviewed, and what the run saw.
	ContentDigest  string     `json:"content_digest"`
	PreviewDigest  *string    `json:"preview_digest"` // null: the forge keeps no previews
	PreviewAt      *time.Time `json:"preview_at"`
	PlanDigest     string     `json:"plan_digest"`
	RunPlanDigest  string     `json:"run_plan_digest"`
	LiveDigest     string     `json:"live_digest"`
	IntentSequence int64      `json:"intent_sequence"`

	// Execution.
	Version    string        `json:"version"`
	Connector  string        `json:"connector"`
	Credential string        `json:"credential"` // its name
	Hold       Hold          `json:"hold"`
	HoldReason string        `json:"hold_reason"` // why it is held, or why an admitted request waits
	Attempts   int           `json:"attempts"`    // in all runs together
	Runs       int           `json:"runs"`        // how many runs planned it
	Started    *time.Time    `json:"started"`
	Finished   *time.Time    `json:"finished"`
	Outcome    OutcomeStatus `json:"outcome"`
	Error      string        `json:"error"`
	ErrorCode  string        `json:"error_code"`
	// Failures counts the attempts that failed, FirstFailedAt and LastFailedAt are when the first and the last ended, and
	// FirstError is the first one's error.
	Failures      int        `json:"failures"`
	FirstFailedAt *time.Time `json:"first_failed_at"`
	LastFailedAt  *time.Time `json:"last_failed_at"`
	FirstError    string     `json:"first_error"`

	// Fulfilment: whom it was given to, and who reported its result. Empty for what countersign carried out.
	Provisioning      Provisioning     `json:"provisioning"`
	Submission        string           `json:"submission"`
	SubmittedAt       *time.Time       `json:"submitted_at"`
	FulfilledIn       string           `json:"fulfilled_in"` // the webhook's host, or the ticket
	FulfilledBy       string           `json:"fulfilled_by"`
	FulfilledByMethod FulfilmentMethod `json:"fulfilled_by_method"` // answer, callback, ticket, operator or read
	FulfilledAt       *time.Time       `json:"fulfilled_at"`
	FulfilmentMessage string           `json:"fulfilment_message"`

	// Result, by reading back.
	Before       any               `json:"before"`
	After        any               `json:"after"`
	Verification VerificationState `json:"verification"`
	VerifiedAt   *time.Time        `json:"verified_at"`

	// Observation, of access and changes that no operation made: Sighting is unmanaged, returned, missing or changed.
	// FirstSeenAt is the first complete read that showed it, LastSeenAt the last one on record. LiveBeforeApproval is
	// true where a read showed the access before its request was admitted, and unknown where it was found in place
	// afterwards.
	Sighting           SightingKind `json:"sighting"`
	FirstSeenAt        *time.Time   `json:"first_seen_at"`
	LastSeenAt         *time.Time   `json:"last_seen_at"`
	Foreign            bool         `json:"foreign"` // the member is from outside the application, or can't be named there
	LiveBeforeApproval Truth        `json:"live_before_approval"`

	// Afterlife: how and when it ended, the verified operation that ended it (operation@run), and when it was first found
	// changed.
	EndedBy    string     `json:"ended_by"`
	EndedCause Cause      `json:"ended_cause"`
	EndedHow   EndedHow   `json:"ended_how"`
	EndedAt    *time.Time `json:"ended_at"`
	DriftedAt  *time.Time `json:"drifted_at"`

	// Assertions: each rests on the facts described at its function.
	ApprovedBeforeApplied           Truth `json:"approved_before_applied"`
	ApprovedContentIsAppliedContent Truth `json:"approved_content_is_applied_content"`
	GrantedEqualsApproved           Truth `json:"granted_equals_approved"`
	IndependentApprover             Truth `json:"independent_approver"`
	RationalePresent                Truth `json:"rationale_present"`
	ExpiredInTime                   Truth `json:"expired_in_time"`
	ApprovedBeforeSubmitted         Truth `json:"approved_before_submitted"`
	IndependentFulfiller            Truth `json:"independent_fulfiller"`
	ChainOK                         Truth `json:"chain_ok"`
	// ProofComplete is true when signature, chain, evidence and read-back are all on record. ProofMissing lists those of
	// them that are not.
	ProofComplete Truth    `json:"proof_complete"`
	ProofMissing  []string `json:"proof_missing"`
}

// AuditManifest describes the population that was exported, so that its completeness can be checked.
type AuditManifest struct {
	APIVersion  string    `json:"apiVersion"`
	Kind        string    `json:"kind"` // AuditManifest
	Version     string    `json:"version"`
	At          time.Time `json:"at"`
	Format      string    `json:"format"`
	Application string    `json:"application"` // "" is all
	// Since is inclusive, Until exclusive; null is open. Period describes in words which instant of a row decides.
	Since  *time.Time `json:"since"`
	Until  *time.Time `json:"until"`
	Period string     `json:"period"`
	// AsOf is the time of the last record that counts: At, Head and the rows are of that moment, so that the same
	// export can be made again from a longer ledger.
	AsOf *time.Time `json:"as_of"`
	Rows int        `json:"rows"`
	// States counts the rows by state.
	States map[AuditState]int `json:"states"`
	// Records are all of the ledger, FirstSequence to LastSequence without a gap when ChainOK. Head and
	// LastSequence, kept elsewhere, are what a later verification is given.
	Records       int64          `json:"records"`
	FirstSequence int64          `json:"first_sequence"`
	LastSequence  int64          `json:"last_sequence"`
	Head          string         `json:"head"`
	ChainOK       bool           `json:"chain_ok"`
	Problems      []AuditProblem `json:"problems"`
	// RequestFiles are those that changes of the period brought, Reconciled those of them that came to an
	// operation, to what was there already, to a refusal or to their end. The others are listed: they wait.
	RequestFiles int      `json:"request_files"`
	Reconciled   int      `json:"reconciled"`
	Unreconciled []string `json:"unreconciled"`
	// Configuration are the changes of the period to other control files: settings, applications, policy.
	Configuration []AuditConfigurationChange `json:"configuration"`
	// PolicyBundles and Versions are those that judged and ran in the period, sorted.
	PolicyBundles []string `json:"policy_bundles"`
	Versions      []string `json:"versions"`
	// Reads are the last complete reads of the applications, sorted.
	Reads []AuditRead `json:"reads"`
	// Exceptions are what a person should look at: the assertions that are false, and what was out of order. Open counts
	// those that have not ended and that nobody accepted.
	Exceptions []AuditException `json:"exceptions"`
	Open       int              `json:"open_exceptions"`
	// SHA256 is the digest of the exported bytes.
	SHA256 string `json:"sha256"`
}

// AuditConfigurationChange is a change to a control file other than a request; a blob is "" where the file is not there.
type AuditConfigurationChange struct {
	Sequence int64            `json:"sequence"`
	Time     time.Time        `json:"time"`
	Commit   string           `json:"commit"`
	Verdict  AdmissionVerdict `json:"verdict"`
	Path     string           `json:"path"`
	Before   string           `json:"before"`
	After    string           `json:"after"`
}

// ExceptionKind is the kind of an exception.
type ExceptionKind string

// The kinds of exceptions.
const (
	ExceptionAssertion    ExceptionKind = "assertion"              // an assertion about a row is false
	ExceptionQuarantined  ExceptionKind = "quarantined"            // a change was merged without the sign-offs that it needs
	ExceptionSelfApproved ExceptionKind = "self-approved"          // an author, or somebody who gains, tried to approve
	ExceptionLater        ExceptionKind = "admitted later"         // quarantined content was admitted afterwards
	ExceptionBudget       ExceptionKind = "held over the budget"   // more removals than the limits allow
	ExceptionOverdue      ExceptionKind = "overdue expiry"         // past its end, and not seen gone
	ExceptionFailing      ExceptionKind = "long failure"           // failed for longer than a day
	ExceptionBefore       ExceptionKind = "access before approval" // live before its request was admitted
	ExceptionByHand       ExceptionKind = "changed by hand"        // a read showed a change that no operation made
	ExceptionUnsigned     ExceptionKind = "unsigned period"        // no signature covers the records
)

// AuditException is one thing that a person should look at.
type AuditException struct {
	// ID stays the same in every export.
	ID          string        `json:"id"`
	Kind        ExceptionKind `json:"kind"`
	Application string        `json:"application"`
	// The text of What describes it in words, Who lists those who did it, and Why is the reason on record.
	What string    `json:"what"`
	Who  []string  `json:"who"`
	At   time.Time `json:"at"`
	Why  string    `json:"why"`
	// EndedAt and EndedHow are when and how it ended; null and "" while it lasts.
	EndedAt  *time.Time `json:"ended_at"`
	EndedHow EndedHow   `json:"ended_how"`
	// Accepted is the document by which an owner accepts it; null for none. Open means that it lasts and is not accepted.
	Accepted *AuditAcceptance `json:"accepted"`
	Open     bool             `json:"open"`
	// Sequence, Operation and RequestPath identify the row, Assertion what is false about it.
	Sequence    int64  `json:"sequence"`
	Operation   string `json:"operation"`
	RequestPath string `json:"request_path"`
	Assertion   string `json:"assertion"`
}

// AuditAcceptance is who accepts an exception, and why.
type AuditAcceptance struct {
	Owner  string    `json:"owner"`
	Reason string    `json:"reason"`
	Path   string    `json:"path"`
	At     time.Time `json:"at"`
	// By are the people whose approvals of the document count.
	By []string `json:"by"`
}

// AuditRead is the last complete read of an application that is on record.
type AuditRead struct {
	Application string    `json:"application"`
	At          time.Time `json:"at"`
	Sequence    int64     `json:"sequence"`
	// NotRead counts what exists there and is never read. UnmanagedIgnored means that the application ignores access
	// that no request mentions, so that it is not listed.
	NotRead          []NotRead `json:"not_read"`
	UnmanagedIgnored bool      `json:"unmanaged_ignored"`
}

// AuditProblem is one place where the ledger does not hold.
type AuditProblem struct {
	// Sequence is the record, 0 where it is about the complete ledger.
	Sequence int64  `json:"sequence"`
	What     string `json:"what"`
}

// AuditVerification is the answer of countersign audit verify. It reports whether the chain holds: it does when the list of problems is empty.
type AuditVerification struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"` // AuditVerify
	// Records is how many were found, LastSequence the highest sequence: the same where nothing is missing.
	Records      int64 `json:"records"`
	LastSequence int64 `json:"last_sequence"`
	// Head is the hash of the last record, "" for an empty ledger.
	Head     string         `json:"head"`
	Problems []AuditProblem `json:"problems"`
	// Trust tells by whom it is signed, and who would notice that it was put back.
	Trust LedgerTrust `json:"trust"`
}

// LedgerTrust tells how a ledger is protected.
type LedgerTrust struct {
	Signed bool `json:"signed"`
	// PublicKey is the key that signs it; "" for none.
	PublicKey string          `json:"public_key"`
	Witnesses []LedgerWitness `json:"witnesses"`
}

// LedgerWitness knows the last head of a ledger, and isn't where the ledger is.
type LedgerWitness struct {
	Name string `json:"name"`
	// Sequence is the last record that it knows of; 0 for none.
	Sequence int64 `json:"sequence"`
}

// AuditEntitlements is the answer of countersign audit entitlements.
type AuditEntitlements struct {
	APIVersion   string             `json:"apiVersion"`
	Kind         string             `json:"kind"` // AuditEntitlements
	AsOf         time.Time          `json:"as_of"`
	Entitlements []AuditEntitlement `json:"entitlements"`
	// Reads are the last complete reads before AsOf, by which the entitlements are judged. An application without one is
	// not listed: nothing is known of its live state.
	Reads []AuditRead `json:"reads"`
}

// AuditEntitlement is access that somebody or something had at an instant, by the records: the last complete read up to
// then showed it.
type AuditEntitlement struct {
	Application string `json:"application"`
	Connection  Name   `json:"connection"`
	// Kind is connection, payload or entitlement; Target and Privilege are set for the last.
	Kind      AuditItem `json:"kind"`
	Target    *Name     `json:"target"`
	Privilege string    `json:"privilege"`
	NativeID  string    `json:"native_id"`
	// Made means that an operation of ours made it so; false is found there.
	Made bool `json:"made"`
	// Since and Sequence are of the record that established it.
	Since    time.Time `json:"since"`
	Sequence int64     `json:"sequence"`
	// Origin is request, or unmanaged where no admitted request on record asks for it.
	Origin Origin `json:"origin"`
	// Source is where the answer comes from: operation, adoption or read.
	Source AuditSource `json:"source"`
	// Sighting is unmanaged or returned for access that no admitted request asks for, changed for a payload whose
	// attributes differ from the approved ones, else "".
	Sighting SightingKind `json:"sighting"`
	Foreign  bool         `json:"foreign"` // the member is from outside the application, or can't be named there
	// Requests are the documents that ask for it, sorted.
	Requests []DocumentID `json:"requests"`
}
