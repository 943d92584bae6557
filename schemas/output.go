package schemas

import "time"

// Output is a JSON output of a command. Only types of this package are outputs, each with a published JSON Schema:
// what a command prints as JSON, it prints by one of these.
type Output interface {
	// schema is the name of the output's JSON Schema.
	schema() string
}

// SchemaOf is the name of an output's JSON Schema, as countersign schema has it.
func SchemaOf(o Output) string { return o.schema() }

// Outputs are an empty one of each, sorted by the names of their schemas.
func Outputs() []Output {
	return []Output{
		&AccessReport{}, &AuditEntitlements{}, &AuditManifest{}, &AuditVerification{}, &ConformanceReport{}, &ConnectorReport{},
		&ConnectorList{}, &Decision{}, &DoctorReport{}, &FulfilReport{}, &Plan{}, &PolicyRules{}, &PolicyTestReport{}, &Preview{},
		&RunReport{}, &StatusReport{}, &ValidateReport{}, &VersionReport{},
	}
}

func (*AccessReport) schema() string      { return "access" }
func (*AuditEntitlements) schema() string { return "audit-entitlements" }
func (*AuditManifest) schema() string     { return "audit-manifest" }
func (*AuditVerification) schema() string { return "audit-verify" }
func (*ConformanceReport) schema() string { return "conformance" }
func (*ConnectorReport) schema() string   { return "connector" }
func (*ConnectorList) schema() string     { return "connectors" }
func (*Decision) schema() string          { return "decision" }
func (*DoctorReport) schema() string      { return "doctor" }
func (*FulfilReport) schema() string      { return "fulfil" }
func (*Plan) schema() string              { return "plan" }
func (*PolicyRules) schema() string       { return "policy-rules" }
func (*PolicyTestReport) schema() string  { return "policy-test" }
func (*Preview) schema() string           { return "preview" }
func (*RunReport) schema() string         { return "run" }
func (*StatusReport) schema() string      { return "status" }
func (*ValidateReport) schema() string    { return "validate" }
func (*VersionReport) schema() string     { return "version" }

// Preview is the answer of countersign preview: what a change would do, the policy's answer, and who
// must still approve.
type Preview struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"` // Preview
	// Base is the admitted commit that the change is judged against, Head the change's commit.
	Base string `json:"base"`
	Head string `json:"head"`
	// Verdict is nothing, ready, sign-off, denied, incomplete or invalid.
	Verdict PreviewVerdict `json:"verdict"`
	// Files are the control files that the change touches.
	Files []FileChange `json:"files"`
	// ContentDigest is over these files' paths and blobs: what a reviewer approves.
	ContentDigest string `json:"content_digest"`
	// Errors are why the change cannot be judged or would make no sense, with places.
	Errors []Finding `json:"errors"`
	// Plan is what the change does against live state: operations that the base alone would need are left out.
	Plan Plan `json:"plan"`
	// Gained and Lost are the effective access that the change brings, sorted by identity.
	Gained []Access `json:"gained"`
	Lost   []Access `json:"lost"`
	// Already are desired entitlements of the change that live state has already.
	Already []Key `json:"already,omitempty"`
	// Terms are grants that begin later, or begin or end at other times than before the change.
	Terms []TermChange `json:"terms,omitempty"`
	// Drift are operations that the base alone needs: not part of this change.
	Drift []ApplicationPlan `json:"drift,omitempty"`
	// Decision is the policy's answer; nil when it could not be asked (see Errors).
	Decision *Decision     `json:"decision,omitempty"`
	Evidence *Evidence     `json:"evidence,omitempty"`
	Unmet    []Requirement `json:"unmet"`
	// Quarantined are files of the base that are quarantined, with the reasons.
	Quarantined []QuarantinedFile `json:"quarantined,omitempty"`
	// Live means that live state was read; a preview without is blind.
	Live bool      `json:"live"`
	At   time.Time `json:"at"`
}

// QuarantinedFile is content on the branch that was not approved and doesn't take effect.
type QuarantinedFile struct {
	Path string `json:"path"`
	// Blob is the content on the branch, "" where the file was deleted; Admitted is what holds instead.
	Blob     string   `json:"blob,omitempty"`
	Admitted string   `json:"admitted,omitempty"`
	Commit   string   `json:"commit"`
	Reasons  []string `json:"reasons"`
}

// RunReport is the answer of countersign apply and drift.
type RunReport struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"` // Apply or Drift
	Tip        string `json:"tip"`
	DryRun     bool   `json:"dry_run"`
	Enforce    bool   `json:"enforce"`
	// Admissions are the verdicts on commits that were judged for the first time.
	Admissions   []AdmissionRecord    `json:"admissions"`
	Quarantined  []QuarantinedFile    `json:"quarantined"`
	Applications []ApplicationOutcome `json:"applications"`
	// Next is the next instant at which a start or an expiry changes what is desired.
	Next *time.Time `json:"next,omitempty"`
	// Again is when to look again at what somebody outside was asked for.
	Again *time.Time `json:"again,omitempty"`
	At    time.Time  `json:"at"`
}

// ApplicationOutcome is one pass over one application.
type ApplicationOutcome struct {
	Application string `json:"application"`
	Run         string `json:"run,omitempty"`
	// Plan is the difference between live and desired when the pass began.
	Plan ApplicationPlan `json:"plan"`
	// Outcomes are those of the operations that were carried out, in order.
	Outcomes []OutcomeRecord `json:"outcomes"`
	// Verifications are what the read-back showed of them.
	Verifications []VerificationRecord `json:"verifications"`
	// Remaining is how many operations the plan made from the read-back still has, those on hold included.
	Remaining int `json:"remaining"`
	// Seen are operations that somebody outside was asked for earlier, and that this pass found done; Withdrawn are those
	// that are no longer wanted.
	Seen      []Operation `json:"seen,omitempty"`
	Withdrawn []Operation `json:"withdrawn,omitempty"`
	// Adopted is how many items were found as desired for the first time.
	Adopted int `json:"adopted"`
	// Error explains why the pass could not go on; "" when it did.
	Error string `json:"error,omitempty"`
}

// StatusReport is the answer of countersign status: the state of every request.
type StatusReport struct {
	APIVersion  string            `json:"apiVersion"`
	Kind        string            `json:"kind"` // Status
	Tip         string            `json:"tip"`
	Requests    []RequestStatus   `json:"requests"`
	Quarantined []QuarantinedFile `json:"quarantined"`
	At          time.Time         `json:"at"`
	// Ledger tells how the record of all this is protected.
	Ledger LedgerTrust `json:"ledger"`
}

// RequestStatus is one request on the three axes.
type RequestStatus struct {
	Document    DocumentID `json:"document"`
	Kind        Kind       `json:"kind"`
	Name        string     `json:"name"`
	Application string     `json:"application"`
	Connection  Name       `json:"connection"`
	// Approval is admitted, quarantined or undone; Provisioning and Verification are as the ledger has them.
	Approval     ApprovalState     `json:"approval"`
	Provisioning ProvisioningState `json:"provisioning"`
	Verification VerificationState `json:"verification"`
	Detail       string            `json:"detail,omitempty"`
	// Fulfilment is whom its operations were given to, and how far that is.
	Fulfilment []FulfilmentStatus `json:"fulfilment,omitempty"`
	// Commit is the first-parent commit that admitted it, and PullRequest what that landed; 0 without a forge.
	Commit      string `json:"commit,omitempty"`
	PullRequest int    `json:"pull_request,omitempty"`
}

// AccessReport is the answer of countersign access: who can do what, and why.
type AccessReport struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"` // Access
	Tip        string        `json:"tip"`
	Entries    []AccessEntry `json:"entries"`
	// Incomplete names applications whose live state could not be read completely, with the reason.
	Incomplete map[string]string `json:"incomplete,omitempty"`
	// NotRead has what exists in each application and is not part of the answer.
	NotRead map[string][]NotRead `json:"not_read,omitempty"`
	// Attested are the applications that no read can show: for them it shows what was reported as done.
	Attested []string  `json:"attested,omitempty"`
	At       time.Time `json:"at"`
}

// AccessEntry is one effective right with the entitlements that lead to it.
type AccessEntry struct {
	Access
	// Everyone means that every identity of the application has it; the identity is then the connection of everyone.
	Everyone bool `json:"everyone,omitempty"`
	// Steps are the entitlements from the identity to the target, each with where it comes from.
	Steps []AccessStep `json:"steps"`
}

// AccessStep is one entitlement of a way.
type AccessStep struct {
	Key Key `json:"entitlement"`
	// Origin is request or unmanaged.
	Origin    Origin       `json:"origin"`
	Documents []DocumentID `json:"documents,omitempty"`
	// Commit is the first-parent commit that admitted the latest of the documents, Approvers who signed it off.
	Commit      string     `json:"commit,omitempty"`
	PullRequest int        `json:"pull_request,omitempty"`
	Approvers   []Approval `json:"approvers,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
}

// ValidateReport is the answer of countersign validate.
type ValidateReport struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"` // Validate
	Files      int       `json:"files"`
	Documents  int       `json:"documents"`
	Errors     []Finding `json:"errors"`
}

// DoctorReport is the answer of countersign doctor: what the forge's rules leave open.
type DoctorReport struct {
	APIVersion string  `json:"apiVersion"`
	Kind       string  `json:"kind"` // Doctor
	Checks     []Check `json:"checks"`
}

// Check is one thing that doctor looked at.
type Check struct {
	// State is ok, open or unknown.
	State CheckState `json:"state"`
	Name  string     `json:"name"`
	// Detail describes what was looked for, Fix what closes it.
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

// ConnectorReport is the answer of countersign schema with the name of a connector.
type ConnectorReport struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"` // Connector
	Description
}

// ConnectorList is the answer of countersign connector list: what every connector can do, at most.
type ConnectorList struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"` // Connectors
	// Connectors are sorted by name.
	Connectors []Description `json:"connectors"`
}

// VersionReport is the answer of countersign version: that of the program, and of what it is built on. "" is unknown.
type VersionReport struct {
	APIVersion  string `json:"apiVersion"`
	Kind        string `json:"kind"` // Version
	Countersign string `json:"countersign"`
	API         string `json:"api"`
	Go          string `json:"go"`
	OPA         string `json:"opa,omitempty"`
	GoGit       string `json:"go-git,omitempty"`
}

// ConformanceReport is the answer of countersign connector test: how a connector conforms to the contract.
type ConformanceReport struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"` // Conformance
	Title      string `json:"title"`
	// Reduced explains why only some of the cases ran, and what makes all run; "" when all did.
	Reduced string            `json:"reduced,omitempty"`
	Cases   []ConformanceCase `json:"cases"`
	Passed  int               `json:"passed"`
	Failed  int               `json:"failed"`
	Skipped int               `json:"skipped"`
}

// ConformanceCase is one case, with the cases within it.
type ConformanceCase struct {
	// Name is the way to the case: grant and revoke/role.
	Name string `json:"name"`
	// Result is pass, fail or skip.
	Result CaseResult `json:"result"`
	// Log has the case's messages, one entry each.
	Log     []string `json:"log,omitempty"`
	Seconds float64  `json:"seconds"`
}
