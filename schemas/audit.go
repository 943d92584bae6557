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
	// quarantined, waiting (admitted, and nothing done yet), adopted (already in place) or undone.
	State AuditState `json:"state"`
	// Time is that of the row's first record: each row lies in one period for good.
	Time time.Time `json:"time"`
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
	HoldReason string        `json:"hold_reason"`
	Attempts   int           `json:"attempts"`
	Started    *time.Time    `json:"started"`
	Finished   *time.Time    `json:"finished"`
	Outcome    OutcomeStatus `json:"outcome"`
	Error      string        `json:"error"`
	ErrorCode  string        `json:"error_code"`

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

	// Afterlife: the verified operation that took this one back, and when it was first found changed.
	EndedBy    string     `json:"ended_by"`
	EndedCause Cause      `json:"ended_cause"`
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
}

// AuditManifest describes the population that was exported, so that its completeness can be checked.
type AuditManifest struct {
	APIVersion  string    `json:"apiVersion"`
	Kind        string    `json:"kind"` // AuditManifest
	Version     string    `json:"version"`
	At          time.Time `json:"at"`
	Format      string    `json:"format"`
	Application string    `json:"application"` // "" is all
	// Since is inclusive, Until exclusive, by the time of a row's first record; null is open.
	Since *time.Time `json:"since"`
	Until *time.Time `json:"until"`
	// AsOf leaves out every record after it; null is none.
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
	// Exceptions are the assertions that are false.
	Exceptions []AuditException `json:"exceptions"`
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

// AuditException is an assertion that is false.
type AuditException struct {
	Sequence    int64  `json:"sequence"`
	Operation   string `json:"operation"`
	RequestPath string `json:"request_path"`
	Assertion   string `json:"assertion"`
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
}

// AuditEntitlement is access that somebody or something had at an instant, by the records: the last read-back up to
// then showed it as desired.
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
	// Requests are the documents that ask for it, sorted.
	Requests []DocumentID `json:"requests"`
}
