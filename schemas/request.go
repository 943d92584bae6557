package schemas

import "time"

// Metadata names a request and its reason.
type Metadata struct {
	Name   string `yaml:"name" json:"name" jsonschema:"minLength=1,maxLength=253,pattern=^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$" jsonschema_description:"What people call this document, in lower case."`
	Reason string `yaml:"reason,omitempty" json:"reason,omitempty" jsonschema:"maxLength=2000" jsonschema_description:"Why it is wanted, for reviewers and auditors."`
	Ticket string `yaml:"ticket,omitempty" json:"ticket,omitempty" jsonschema:"maxLength=200" jsonschema_description:"The ticket that asked for it."`
}

// ConnectionRef names a connection in a request. SourceID, where given, is the application's own id
// and decides between two of the same name.
type ConnectionRef struct {
	Type       string `yaml:"type" json:"type" jsonschema:"minLength=1,maxLength=64,pattern=^[a-z][a-z0-9_]*$" jsonschema_description:"The type of connection, as the connector names it."`
	SourceName string `yaml:"source_name" json:"source_name" jsonschema:"minLength=1,maxLength=1024" jsonschema_description:"Its name in the application, to the letter."`
	SourceID   string `yaml:"source_id,omitempty" json:"source_id,omitempty" jsonschema:"maxLength=1024" jsonschema_description:"Its id in the application, when the name alone is ambiguous."`
}

// Name is the reference without its id.
func (r ConnectionRef) Name() Name { return Name{r.Type, r.SourceName} }

// Entry is one item of a ConnectionAssignment: what is granted or revoked. Each of its privileges is
// an entitlement of its own.
type Entry struct {
	Type       string     `yaml:"type" json:"type" jsonschema:"minLength=1,maxLength=64,pattern=^[a-z][a-z0-9_]*$" jsonschema_description:"The type of the target: a resource, another connection or an identity."`
	SourceName string     `yaml:"source_name" json:"source_name" jsonschema:"minLength=1,maxLength=1024" jsonschema_description:"The target's name in the application, to the letter."`
	SourceID   string     `yaml:"source_id,omitempty" json:"source_id,omitempty" jsonschema:"maxLength=1024" jsonschema_description:"The target's id in the application, when the name alone is ambiguous."`
	Privileges []string   `yaml:"privileges,omitempty" json:"privileges,omitempty" jsonschema:"minItems=1,maxItems=64,uniqueItems=true" jsonschema_description:"What may be done with it; a membership needs none (MEMBER) or ADMIN."`
	Starts     *time.Time `yaml:"starts,omitempty" json:"starts,omitempty" jsonschema:"format=date-time" jsonschema_description:"The grant is in force from this instant (RFC 3339)."`
	Expires    *time.Time `yaml:"expires,omitempty" json:"expires,omitempty" jsonschema:"format=date-time" jsonschema_description:"The grant is taken away at this instant (RFC 3339)."`
}

// Name is the entry's target without its id.
func (e Entry) Name() Name { return Name{e.Type, e.SourceName} }

// Window is the time in which the entry is in force.
func (e Entry) Window() Window { return Window{Starts: e.Starts, Expires: e.Expires} }

// Request is any of the three request kinds, flat. It is what the fold reads; the kinds' own documents
// (with spec) are what people write.
type Request struct {
	Kind         Kind           `json:"kind"`
	Metadata     Metadata       `json:"metadata"`
	Application  string         `json:"application"`
	Provisioning Provisioning   `json:"provisioning,omitempty"`
	Connection   ConnectionRef  `json:"connection"`
	Payload      map[string]any `json:"payload,omitempty"`
	Grants       []Entry        `json:"grants,omitempty"`
	Revokes      []Entry        `json:"revokes,omitempty"`
	ReassignTo   string         `json:"reassign_to,omitempty"`
}

// ConnectionCreationSpec asks for a connection, or for another payload of one.
type ConnectionCreationSpec struct {
	Application  string         `yaml:"application" json:"application" jsonschema:"minLength=1,maxLength=64,pattern=^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" jsonschema_description:"The application, as its file in applications/ names it."`
	Provisioning Provisioning   `yaml:"provisioning,omitempty" json:"provisioning,omitempty" jsonschema:"enum=direct,enum=webhook,enum=ticket" jsonschema_description:"Who carries it out; default: the application's provisioning."`
	Connection   ConnectionRef  `yaml:"connection" json:"connection" jsonschema_description:"The connection to create."`
	Payload      map[string]any `yaml:"payload,omitempty" json:"payload,omitempty" jsonschema_description:"Its attributes, checked against the connector's schema for this type. An absent attribute is at the schema's default; null leaves an attribute as it is."`
}

// ConnectionAssignmentSpec adds and removes entitlements of a connection.
type ConnectionAssignmentSpec struct {
	Application  string        `yaml:"application" json:"application" jsonschema:"minLength=1,maxLength=64,pattern=^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" jsonschema_description:"The application, as its file in applications/ names it."`
	Provisioning Provisioning  `yaml:"provisioning,omitempty" json:"provisioning,omitempty" jsonschema:"enum=direct,enum=webhook,enum=ticket" jsonschema_description:"Who carries it out; default: the application's provisioning."`
	Connection   ConnectionRef `yaml:"connection" json:"connection" jsonschema_description:"The connection whose entitlements change."`
	Grants       []Entry       `yaml:"grants,omitempty" json:"grants,omitempty" jsonschema:"maxItems=2000" jsonschema_description:"What is given."`
	Revokes      []Entry       `yaml:"revokes,omitempty" json:"revokes,omitempty" jsonschema:"maxItems=2000" jsonschema_description:"What is taken away; it beats every earlier grant."`
}

// ConnectionDeletionSpec ends a connection and everything granted to it.
type ConnectionDeletionSpec struct {
	Application  string        `yaml:"application" json:"application" jsonschema:"minLength=1,maxLength=64,pattern=^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" jsonschema_description:"The application, as its file in applications/ names it."`
	Provisioning Provisioning  `yaml:"provisioning,omitempty" json:"provisioning,omitempty" jsonschema:"enum=direct,enum=webhook,enum=ticket" jsonschema_description:"Who carries it out; default: the application's provisioning."`
	Connection   ConnectionRef `yaml:"connection" json:"connection" jsonschema_description:"The connection to delete."`
	ReassignTo   string        `yaml:"reassign_to,omitempty" json:"reassign_to,omitempty" jsonschema:"maxLength=1024" jsonschema_description:"Who becomes owner of what it owns in the application; without it, a connection that owns something is not deleted."`
}

// AdmissionSpec admits quarantined content unchanged: the exact blob at a path ("" where the
// quarantined change was the deletion of the file).
type AdmissionSpec struct {
	Path string `yaml:"path" json:"path" jsonschema:"minLength=1,maxLength=1024" jsonschema_description:"The file whose quarantined content is admitted."`
	Blob string `yaml:"blob" json:"blob" jsonschema:"pattern=^([0-9a-f]{40})?$" jsonschema_description:"The Git blob of exactly that content; empty to admit the file's deletion."`
}

// BudgetOverrideSpec lifts the removal budget of one application until an instant.
type BudgetOverrideSpec struct {
	Application string    `yaml:"application" json:"application" jsonschema:"minLength=1,maxLength=64,pattern=^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" jsonschema_description:"The application whose limits are lifted."`
	Limits      LimitSet  `yaml:"limits" json:"limits" jsonschema_description:"What holds instead, until then."`
	Until       time.Time `yaml:"until" json:"until" jsonschema:"format=date-time" jsonschema_description:"When the override ends (RFC 3339)."`
}

// AcknowledgementSpec accepts what stopped a run. Exactly one of its fields is given.
type AcknowledgementSpec struct {
	// RewrittenFrom is the last admitted commit that is no longer an ancestor of the branch.
	RewrittenFrom string `yaml:"rewritten_from,omitempty" json:"rewritten_from,omitempty" jsonschema:"pattern=^[0-9a-f]{40}$" jsonschema_description:"The last admitted commit, which a rewritten branch no longer contains."`
	// FirstRun names the application whose first run's removals are released.
	FirstRun string `yaml:"first_run,omitempty" json:"first_run,omitempty" jsonschema:"maxLength=64,pattern=^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" jsonschema_description:"The application whose first run's removals may go ahead."`
	// FutureRecord is the hash of the ledger's last record, whose time is in the future.
	FutureRecord string `yaml:"future_record,omitempty" json:"future_record,omitempty" jsonschema:"pattern=^[0-9a-f]{64}$" jsonschema_description:"The hash of the ledger's last record, if its time is wrong and in the future."`
	// Held names operations that are held because of who gains by live access.
	Held *HeldOperations `yaml:"held,omitempty" json:"held,omitempty" jsonschema_description:"Operations that wait for another sign-off because of who gains by live access."`
	// Exception names an exception of an audit that is accepted.
	Exception *ExceptionRef `yaml:"exception,omitempty" json:"exception,omitempty" jsonschema_description:"An exception of an audit that is accepted, for the reason that the metadata gives."`
	// Rebind names an application that was restored: its names are bound to the ids that they have now.
	Rebind *Rebinding `yaml:"rebind,omitempty" json:"rebind,omitempty" jsonschema_description:"A restored application, whose names have other ids than before: whoever has a name now is taken for the one that was approved."`
	// Rejudged names what is held because it was judged again after the ledger was lost.
	Rejudged *RejudgedOperations `yaml:"rejudged,omitempty" json:"rejudged,omitempty" jsonschema_description:"Operations that wait because their requests were judged again after the ledger was lost."`
	// UnsignedLedger names the end of a ledger that nobody signed yet.
	UnsignedLedger *UnsignedLedger `yaml:"unsigned_ledger,omitempty" json:"unsigned_ledger,omitempty" jsonschema_description:"A ledger without signatures that countersign audit take-over may sign."`
}

// Rebinding names an application whose names are bound to other ids than they were verified with.
type Rebinding struct {
	Application string `yaml:"application" json:"application" jsonschema:"minLength=1,maxLength=64,pattern=^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" jsonschema_description:"The application that was restored."`
	Digest      string `yaml:"digest" json:"digest" jsonschema:"minLength=16,maxLength=64,pattern=^[0-9a-f]+$" jsonschema_description:"The digest that the report of the run shows: of the names, and of their ids before and now."`
}

// RejudgedOperations names operations that are held after the ledger was lost.
type RejudgedOperations struct {
	Application string `yaml:"application" json:"application" jsonschema:"minLength=1,maxLength=64,pattern=^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" jsonschema_description:"The application that they change."`
	Commit      string `yaml:"commit" json:"commit" jsonschema:"pattern=^[0-9a-f]{40}$" jsonschema_description:"The commit up to which everything was judged again, as the report of the run shows it."`
	Digest      string `yaml:"digest" json:"digest" jsonschema:"minLength=16,maxLength=64,pattern=^[0-9a-f]+$" jsonschema_description:"The digest of what is held, as the report of the run shows it."`
}

// UnsignedLedger names the end of a ledger, as countersign audit verify prints it.
type UnsignedLedger struct {
	PublicKey string `yaml:"public_key" json:"public_key" jsonschema:"maxLength=200,pattern=^countersign-ledger[+][0-9a-f]{8}[+][A-Za-z0-9+/=]+$" jsonschema_description:"The public key that signs it from then on."`
	Records   int    `yaml:"records" json:"records" jsonschema:"minimum=1" jsonschema_description:"The number of its records."`
	Head      string `yaml:"head" json:"head" jsonschema:"pattern=^[0-9a-f]{64}$" jsonschema_description:"The hash of the last one."`
}

// ExceptionRef names an exception of an audit, and who is responsible for it.
type ExceptionRef struct {
	ID    string `yaml:"id" json:"id" jsonschema:"pattern=^[0-9a-f]{16}$" jsonschema_description:"The exception's id, as the manifest of an audit lists it."`
	Owner string `yaml:"owner" json:"owner" jsonschema:"minLength=1,maxLength=253" jsonschema_description:"Who is responsible for the accepted exception."`
}

// HeldOperations names operations that are held for another sign-off.
type HeldOperations struct {
	Application string `yaml:"application" json:"application" jsonschema:"minLength=1,maxLength=64,pattern=^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" jsonschema_description:"The application that they change."`
	Digest      string `yaml:"digest" json:"digest" jsonschema:"minLength=16,maxLength=64,pattern=^[0-9a-f]+$" jsonschema_description:"The digest that status and the report of the run show: of the commit and of who gains what."`
}
