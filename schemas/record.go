package schemas

import "time"

// RecordType is the subject of a ledger record.
type RecordType string

// The types of ledger records.
const (
	RecordAdmission    RecordType = "admission"    // the verdict on one first-parent commit, with its evidence
	RecordRun          RecordType = "run"          // a run over one application begins (its plan, live digest, version)
	RecordIntent       RecordType = "intent"       // operations are about to be carried out
	RecordOutcome      RecordType = "outcome"      // the result of one operation
	RecordVerification RecordType = "verification" // the read-back of one operation
	RecordAdoption     RecordType = "adoption"     // a request's access was already in place
	RecordRunEnd       RecordType = "run-end"
	RecordFinding      RecordType = "finding" // drift, a rewritten branch, a name that changed hands
	RecordAcknowledged RecordType = "acknowledged"
	// RecordHeld lists the operations that a run shows and does not carry out, in full, as an intent does.
	RecordHeld RecordType = "held"
	// RecordObservation is what a complete read of an application showed beside what was verified, as far as it differs
	// from the observation before.
	RecordObservation RecordType = "observation"
	// RecordKey names the key that signs this record and those after it.
	RecordKey RecordType = "key"
	// RecordRestart begins a ledger in the place of one that was lost.
	RecordRestart RecordType = "restart"
)

// Record is one line of the ledger. Which of the parts are set depends on the type.
type Record struct {
	APIVersion string     `json:"apiVersion"`
	Sequence   int64      `json:"sequence"` // from 1, without gaps
	Time       time.Time  `json:"time"`
	Type       RecordType `json:"type"`
	// Run groups the records of one pass over one application.
	Run         string `json:"run,omitempty"`
	Application string `json:"application,omitempty"`

	Admission  *AdmissionRecord `json:"admission,omitempty"`
	RunInfo    *RunRecord       `json:"run_info,omitempty"`
	Operation  *Operation       `json:"operation,omitempty"`
	Operations []string         `json:"operations,omitempty"` // ids, for intent
	// Planned are the operations of an intent, in full, so that a crash right after leaves nothing unexplained.
	Planned []Operation `json:"planned,omitempty"`
	// Fulfilments are set for an intent whose operations somebody outside is asked for: one for each of Planned.
	Fulfilments  []FulfilmentRecord  `json:"fulfilments,omitempty"`
	Outcome      *OutcomeRecord      `json:"outcome,omitempty"`
	Verification *VerificationRecord `json:"verification,omitempty"`
	Finding      *Finding            `json:"finding,omitempty"`
	Observation  *ObservationRecord  `json:"observation,omitempty"`
	// Baseline is what this record establishes as seen in the application, for verification and adoption.
	Baseline []BaselineItem `json:"baseline,omitempty"`
	Key      *KeyRecord     `json:"key,omitempty"`
	Restart  *RestartRecord `json:"restart,omitempty"`
	Note     string         `json:"note,omitempty"`

	// Commitments is how many texts that name a person have a salted commitment in their place. Personal are these texts,
	// by commitment. Both are set as a record is kept.
	Commitments int                     `json:"commitments,omitempty"`
	Personal    map[string]PersonalText `json:"personal,omitempty"`

	// Previous is the hash of the record before, Hash the SHA-256 (hex) over the canonical JSON (RFC 8785)
	// of this record without Hash and Personal.
	Previous string `json:"previous"`
	Hash     string `json:"hash"`
}

// PersonalText is what a commitment was made of: a text with its salt, or a pseudonym in its place.
type PersonalText struct {
	Salt      string `json:"salt,omitempty"`
	Text      string `json:"text,omitempty"`
	Pseudonym string `json:"pseudonym,omitempty"`
}

// KeyRecord names the key that signs the ledger from here on, and on whose word.
type KeyRecord struct {
	PublicKey string `json:"public_key"`
	// Former is the key before, which signed Statement; "" where the ledger wasn't signed before.
	Former    string `json:"former,omitempty"`
	Statement string `json:"statement,omitempty"`
	// Document is the Acknowledgement by which an owner of the settings accepted the unsigned records before.
	Document DocumentID `json:"document,omitzero"`
	Commit   string     `json:"commit,omitempty"`
}

// RestartRecord tells of the ledger that was lost, as far as its witness knew it. Changes up to a commit are judged again,
// and what follows from them is held until an owner acknowledges it.
type RestartRecord struct {
	// Commit is the tip of the branch then, CommitSequence its place on the first-parent line.
	Commit         string `json:"commit"`
	CommitSequence int    `json:"commit_sequence"`
	// LastSequence and Head are the last record's of the lost ledger, by its witness; 0 and "" for none.
	LastSequence int64  `json:"last_sequence,omitempty"`
	Head         string `json:"head,omitempty"`
}

// AdmissionRecord is the verdict on one first-parent commit, kept for good: it is not judged again.
type AdmissionRecord struct {
	Commit   string `json:"commit"`
	Parent   string `json:"parent,omitempty"`
	Sequence int    `json:"commit_sequence"`
	// Verdict is anchor, admitted, quarantined or unchanged (no control file touched).
	Verdict AdmissionVerdict `json:"verdict"`
	Reasons []string         `json:"reasons,omitempty"`
	// Changes are the control files that the commit changed against the admitted tree.
	Changes  []FileChange  `json:"changes,omitempty"`
	Evidence *Evidence     `json:"evidence,omitempty"`
	Decision *Decision     `json:"decision,omitempty"`
	Unmet    []Requirement `json:"unmet,omitempty"`
	// Requests are the request documents that the commit added or modified.
	Requests []RequestInfo `json:"requests,omitempty"`
	// PlanDigest is that of the plan between the desired states, live state apart.
	PlanDigest string `json:"plan_digest,omitempty"`
	// Admits are quarantined files that an Admission document of this commit admits.
	Admits []FileChange `json:"admits,omitempty"`
	// Rationale is the reason that the commits give: a Reason trailer, or else the text below the subject. "" is none;
	// nil where it was not recorded.
	Rationale *string `json:"rationale,omitempty"`
	// Accepts are the exceptions of an audit that documents of this commit accept.
	Accepts []AcceptedException `json:"accepts,omitempty"`
}

// RequestInfo is what an auditor asks of a request, beside what it does.
type RequestInfo struct {
	Document    DocumentID `json:"document"`
	Kind        Kind       `json:"kind"`
	Metadata    Metadata   `json:"metadata"`
	Application string     `json:"application"`
	Connection  Name       `json:"connection"`
}

// BaselineItem means that one item of an application was seen to be as the desired state of that moment
// wanted it. A later difference from the same Token is drift; another token is a change to carry out.
type BaselineItem struct {
	// Item is a connection ("c"), its payload ("p") or an entitlement ("e") with its names, in the order of Key.
	Item string `json:"item"`
	// Token is the assertion: present or absent, and its documents.
	Token string `json:"token"`
	// Made means that an operation of ours made it so; false is adopted: it was so already.
	Made bool `json:"made"`
	// Expires is when the requests end an entitlement that is present, nil for one without expiry.
	Expires *time.Time `json:"expires,omitempty"`
	// NativeID is the id that the target's name had.
	NativeID string `json:"native_id,omitempty"`
}

// FileChange is a control file that changed; a blob is "" where the file is not there.
type FileChange struct {
	Path   string `json:"path"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Evidence is who made a change and who approved it, as the forge tells it. A nil pointer is unknown, never true.
type Evidence struct {
	Forge       string `json:"forge"` // local, github
	PullRequest int    `json:"pull_request,omitempty"`
	URL         string `json:"url,omitempty"`
	Title       string `json:"title,omitempty"`
	// Authors are the author, committers and co-authors of the change's commits, as logins or addresses.
	Authors []string `json:"authors"`
	// Unattributed are authors or committers that could not be told to be anybody.
	Unattributed  []string   `json:"unattributed,omitempty"`
	Beneficiaries []string   `json:"beneficiaries,omitempty"`
	Approvals     []Approval `json:"approvals"`
	// Head is the commit that was merged, where the forge knows one.
	Head string `json:"head,omitempty"`
	// ContentDigest is the digest of the changed control files that were merged.
	ContentDigest string `json:"content_digest,omitempty"`
	// PreviewDigest is the digest of what was previewed; nil where the forge keeps no previews.
	PreviewDigest *string    `json:"preview_digest,omitempty"`
	PreviewAt     *time.Time `json:"preview_at,omitempty"`
	MergedAt      *time.Time `json:"merged_at,omitempty"`
	MergedBy      string     `json:"merged_by,omitempty"`
	// Persons are the people behind names above that are not a person's first: one person may have several.
	Persons []PersonName `json:"persons,omitempty"`
	// Problems are why no approval can admit this, as the forge tells: for example, it came without a pull request.
	Problems []string `json:"problems,omitempty"`
}

// PersonName is a name in the evidence and the first name of the person who has it.
type PersonName struct {
	Name   string `json:"name"`
	Person string `json:"person"`
}

// Approval is one person's approval and whether it counts.
type Approval struct {
	Person string `json:"person"`
	// Capacities are the principals that the person spoke for at the merge.
	Capacities []string `json:"capacities,omitempty"`
	// At is when, by the forge's clock; nil where the forge has none.
	At *time.Time `json:"at,omitempty"`
	// Commit is the commit that was approved.
	Commit string `json:"commit,omitempty"`
	// Authenticated means that a signature or the forge vouches for the person; a bare trailer does not.
	Authenticated bool   `json:"authenticated"`
	Method        string `json:"method"` // review, signature, trailer
	// Named means that the settings name this bot as one whose approval counts.
	Named  bool `json:"named,omitempty"`
	Counts bool `json:"counts"`
	// For are the requirements that it is counted for, each a code and what it asks.
	For []string `json:"for,omitempty"`
	// Why explains why it does not count.
	Why string `json:"why,omitempty"`
}

// RunRecord is what a run began with.
type RunRecord struct {
	Version    string `json:"version"`
	Connector  string `json:"connector"`
	Credential string `json:"credential,omitempty"` // its name, never its value
	Tip        string `json:"tip"`
	PlanDigest string `json:"plan_digest"`
	LiveDigest string `json:"live_digest"`
	Operations int    `json:"operations"`
	Held       int    `json:"held"`
	// Counts are set at the run's end, by outcome.
	Counts map[string]int `json:"counts,omitempty"`
}

// CodeInUse is recorded in place of conflict where something is in the way, which the error names: running again
// doesn't help.
const CodeInUse = "in_use"

// OutcomeRecord is what became of one operation.
type OutcomeRecord struct {
	Operation string        `json:"operation"`
	Status    OutcomeStatus `json:"status"` // applied, failed, blocked, cancelled; of what somebody outside is asked also pending, withdrawn
	Attempts  int           `json:"attempts"`
	Started   time.Time     `json:"started"`
	Finished  time.Time     `json:"finished"`
	Error     string        `json:"error,omitempty"`
	Code      string        `json:"code,omitempty"` // the typed error's: not_found, conflict, …
	// Fulfilment is set where somebody outside was asked.
	Fulfilment *FulfilmentRecord `json:"fulfilment,omitempty"`
}

// VerificationRecord is what the read-back showed of one operation.
type VerificationRecord struct {
	Operation string `json:"operation"`
	// Status is verified, differs, pending or unverifiable; attested for what no read can show.
	Status VerificationState `json:"status"`
	Before any               `json:"before,omitempty"`
	After  any               `json:"after,omitempty"`
}
