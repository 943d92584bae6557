package schemas

import "time"

// PolicyInput is what a policy sees as input. Its JSON Schema is what a misspelt field in a rule fails against.
type PolicyInput struct {
	APIVersion string `json:"apiVersion"`
	// Phase is preview or merge. The rules are the same in both.
	Phase string `json:"phase"`
	// Change are the control files' documents that differ between base and head.
	Change []ChangedDocument `json:"change"`
	// ControlFiles are changed control files that hold no documents of their own: policy, allowed signers.
	ControlFiles []string `json:"control_files"`
	// Plan is what the change does to the desired state, live state apart: it is the same at every time.
	Plan []PolicyOperation `json:"plan"`
	// Applications are those that the change touches, by name. An engine keeps what it made of each pointer: what
	// it points to is not changed afterwards.
	Applications map[string]*PolicyApplication `json:"applications"`
	// Holdings are, for each person who gains something, the connections that the person holds after the change, in effect,
	// with all identities in all applications. An identity that nobody is known to own has a key of its own:
	// "application/type/source_name". Where no rule of the repository's own asks for them, they are only those that a set of
	// duties names.
	Holdings map[string][]string `json:"holdings"`
	// Identities are the identities that gain something, as "application/type/source_name", with the person who owns each;
	// "" for unknown.
	Identities map[string]string `json:"identities"`
	// Affected is how many identities gain or lose effective access. The engine counts them.
	Affected    int               `json:"affected"`
	PullRequest PolicyPullRequest `json:"pull_request"`
	// Signoffs are the sign-offs that count by the core's rules.
	Signoffs []PolicySignoff `json:"signoffs"`
	Settings PolicySettings  `json:"settings"`
	Now      time.Time       `json:"now"`
}

// ChangedDocument is one document that a change adds, modifies or deletes.
type ChangedDocument struct {
	// Action is added, modified, deleted, or reformatted: the file changed, and what the document says did not.
	Action string `json:"action"`
	Path   string `json:"path"`
	Index  int    `json:"index"`
	// Line is that of the document's first line in the head, of the base's for a deleted one.
	Line     int      `json:"line"`
	Kind     Kind     `json:"kind"`
	Metadata Metadata `json:"metadata"`
	// Request is set for the three request kinds.
	Request *Request `json:"request,omitempty"`
	// Before is the former version of a modified request.
	Before *Request `json:"before,omitempty"`
	// Application is set for application files.
	Application *PolicyApplication `json:"application,omitempty"`
	// Merged means that the document was in the base: editing or deleting it changes what was approved.
	Merged bool `json:"merged"`
	// Operations is how many operations of the plan follow from the document. The engine counts them.
	Operations int `json:"operations"`
}

// PolicyOperation is an operation as policies see it.
type PolicyOperation struct {
	Kind        OperationKind `json:"kind"`
	Application string        `json:"application"`
	Connection  Name          `json:"connection"`
	Target      *Name         `json:"target,omitempty"`
	Privilege   string        `json:"privilege,omitempty"`
	Privileged  bool          `json:"privileged"`
	// PrivilegedWhy names what makes it so.
	PrivilegedWhy string         `json:"privileged_why,omitempty"`
	Expires       *time.Time     `json:"expires,omitempty"`
	Path          string         `json:"path"`
	Index         int            `json:"index"`
	Line          int            `json:"line"`
	Field         string         `json:"field"`
	After         map[string]any `json:"after,omitempty"`
	Gained        []Access       `json:"gained,omitempty"`
	Lost          []Access       `json:"lost,omitempty"`
	// Members is, for a deletion, how many members the connection still has in the desired state after the change's own revokes.
	Members int `json:"members"`
}

// PolicyApplication is an application as policies see it, without its config.
type PolicyApplication struct {
	Name         string              `json:"name"`
	Connector    string              `json:"connector"`
	Owners       []string            `json:"owners"`
	Scope        map[string][]string `json:"scope"`
	Grantable    map[string][]string `json:"grantable"`
	Privileged   map[string][]string `json:"privileged"`
	Provisioning Provisioning        `json:"provisioning"`
	Mode         Mode                `json:"mode"`
	Unmanaged    Unmanaged           `json:"unmanaged"`
	DriftMode    DriftMode           `json:"drift_mode"`
}

// PolicyPullRequest is who made the change. Number is 0 without a pull request.
type PolicyPullRequest struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	// Contributors are the author, every committer and co-author, as logins or addresses, sorted.
	Contributors []string `json:"contributors"`
	// Beneficiaries are the people whose effective access grows, sorted.
	Beneficiaries []string `json:"beneficiaries"`
	Base          string   `json:"base"`
	Head          string   `json:"head"`
}

// PolicySignoff is one sign-off that counts.
type PolicySignoff struct {
	// Person is the login or address of the approver.
	Person string `json:"person"`
	// Capacities are the principals that the person speaks for: user:x, team:y.
	Capacities    []string  `json:"capacities"`
	At            time.Time `json:"at"`
	Authenticated bool      `json:"authenticated"`
}

// PolicySettings is what policies see of the settings.
type PolicySettings struct {
	Owners  []string `json:"owners"`
	Tickets string   `json:"tickets"`
}

// Decision is the policy's answer about a change: the union of the built-in library and the repository's own rules.
type Decision struct {
	APIVersion string       `json:"apiVersion"`
	Denials    []RuleResult `json:"deny"`
	Warnings   []RuleResult `json:"warn"`
	// Required are the sign-offs that the change needs, sorted; all of them must be met.
	Required []Requirement `json:"require_signoff"`
	// Rules is how many rules were loaded: 0 is never a pass.
	Rules int `json:"rules"`
	// Bundle is the digest of the rules and data evaluated; Engine is OPA's version.
	Bundle string `json:"bundle"`
	Engine string `json:"engine"`
}

// RuleResult is one denial or warning.
type RuleResult struct {
	Code string `json:"code"`
	Msg  string `json:"msg"`
	Path string `json:"path,omitempty"`
	Line int    `json:"line,omitempty"`
	// Field is the path inside the document, as spec.grants[0].expires.
	Field string `json:"field,omitempty"`
	Fix   string `json:"fix,omitempty"`
}

// CodeLiveMembers is the code of the core's requirement of a second sign-off where identities gain that nobody is known to
// own.
const CodeLiveMembers = "live-members"

// Requirement is a sign-off that a change needs: Count different people out of those that From names.
type Requirement struct {
	Code  string   `json:"code"`
	From  []string `json:"from"`
	Count int      `json:"count"`
	Why   string   `json:"why"`
}
