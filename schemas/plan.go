package schemas

import "time"

// OperationKind is what an operation does.
type OperationKind string

// The kinds of operations, in the order in which a plan carries them out.
const (
	OperationCreate OperationKind = "create" // a connection
	OperationUpdate OperationKind = "update" // attributes of a connection
	OperationRevoke OperationKind = "revoke" // an entitlement
	OperationGrant  OperationKind = "grant"  // an entitlement
	OperationDelete OperationKind = "delete" // a connection
)

// Cause explains why an operation is in the plan.
type Cause string

// The causes of operations.
const (
	CauseRequest   Cause = "request"   // an admitted request that was never verified in this form
	CauseStart     Cause = "start"     // a grant's start has come
	CauseExpiry    Cause = "expiry"    // a grant has expired
	CauseUndo      Cause = "undo"      // a request was removed from Git
	CauseDrift     Cause = "drift"     // verified once, and no longer so
	CauseUnmanaged Cause = "unmanaged" // never requested, and the application's unmanaged is revoke
)

// Hold explains why an operation is shown and not carried out.
type Hold string

// The reasons for holding an operation.
const (
	HoldNone      Hold = ""
	HoldObserve   Hold = "observe"   // the application is in mode observe
	HoldAdd       Hold = "add"       // the application is in mode add, and this takes something away
	HoldFirstRun  Hold = "first-run" // the first run against an application, or of a new version, removes nothing
	HoldDrift     Hold = "drift"     // drift is only reported here
	HoldBudget    Hold = "budget"    // more removals than the limits allow
	HoldUnknown   Hold = "unknown"   // the live state could not be read completely
	HoldProtected Hold = "protected" // the application's own, or too powerful to be touched
	HoldIdentity  Hold = "identity"  // the name now has another native id than the one approved
	HoldTarget    Hold = "target"    // the target of a verified grant no longer exists
	HoldProvision Hold = "provision" // webhook or ticket, and nobody there who could be asked
	HoldPending   Hold = "pending"   // somebody outside was asked and is at it, or what it needs is
	HoldSignoff   Hold = "sign-off"  // somebody gains by live access that the sign-offs on record don't cover
	HoldRejudged  Hold = "rejudged"  // its request was judged again after the ledger was lost
	HoldDeclined  Hold = "declined"  // somebody outside was asked, and reported a failure or a refusal
)

// Operation is one step of a plan: at most one connection, attribute set or entitlement. Doing it twice
// is doing it once.
type Operation struct {
	// ID is stable: the same step of the same application has the same id in every plan.
	ID          string        `json:"id"`
	Kind        OperationKind `json:"kind"`
	Application string        `json:"application"`
	Connection  Name          `json:"connection"`
	// NativeID is the connection's id in live state, "" when it is not there yet.
	NativeID string `json:"native_id,omitempty"`
	// Target and Privilege are set for grant and revoke.
	Target    *Name  `json:"target,omitempty"`
	TargetID  string `json:"target_id,omitempty"`
	Privilege string `json:"privilege,omitempty"`
	// WrittenTarget and WrittenConnection are the names in the requests, where the application has other names today.
	WrittenTarget     *Name `json:"written_target,omitempty"`
	WrittenConnection *Name `json:"written_connection,omitempty"`
	// Before and After are set for create, update and delete: the attributes that change.
	Before map[string]any `json:"before,omitempty"`
	After  map[string]any `json:"after,omitempty"`
	// ReassignTo is set for a deletion that names a new owner of what is owned.
	ReassignTo string `json:"reassign_to,omitempty"`

	Cause Cause `json:"cause"`
	// Documents are those that the operation follows from, sorted; none for unmanaged access.
	Documents []DocumentID `json:"documents,omitempty"`
	// Expires is when a grant ends, nil for one without end.
	Expires *time.Time `json:"expires,omitempty"`
	// DependsOn are the ids of operations that must have succeeded.
	DependsOn    []string     `json:"depends_on,omitempty"`
	Privileged   bool         `json:"privileged,omitempty"`
	Provisioning Provisioning `json:"provisioning,omitempty"`
	Hold         Hold         `json:"hold,omitempty"`
	// HoldReason explains in a sentence why it is held and what releases it.
	HoldReason string `json:"hold_reason,omitempty"`
	// HoldExplained means that HoldReason names what releases it, so that reports don't. HeldBy is the operation that it
	// depends on and waits for. Both are in the sentence, and so not in the output.
	HoldExplained bool   `json:"-"`
	HeldBy        string `json:"-"`
	// Gained and Lost are the changes of effective access that this step leads to, sorted.
	Gained []Access `json:"gained,omitempty"`
	Lost   []Access `json:"lost,omitempty"`
}

// Key is the entitlement that a grant or revoke is about.
func (o *Operation) Key() Key {
	k := Key{Connection: o.Connection, Privilege: o.Privilege}
	if o.Target != nil {
		k.Target = *o.Target
	}
	return k
}

// Removes reports whether the operation takes access away: a revoke or a deletion.
func (o *Operation) Removes() bool { return o.Kind == OperationRevoke || o.Kind == OperationDelete }

// TermChange is a grant that a change lets begin later, or begin or end at other times than before.
type TermChange struct {
	Application string `json:"application"`
	Key
	// Documents are the requests that grant it after the change, or granted it before if none does.
	Documents []DocumentID `json:"documents,omitempty"`
	// Before and After are when it is in force, in order; none where it isn't wanted. A window without a start is open
	// when the change is judged.
	Before     []Window `json:"before,omitempty"`
	After      []Window `json:"after,omitempty"`
	Privileged bool     `json:"privileged,omitempty"`
	// Gained is the effective access that it gives or prolongs.
	Gained []Access `json:"gained,omitempty"`
}

// Access is one effective right: an identity may use a privilege on a resource, or is a member (perhaps
// through others) of a connection.
type Access struct {
	Application string `json:"application"`
	Identity    Name   `json:"identity"`
	Target      Name   `json:"target"`
	Privilege   string `json:"privilege"`
	// Via are the connections from the identity to the target, in order.
	Via []Name `json:"via,omitempty"`
	// Switch means that the identity must switch to one of these connections first, as by SET ROLE.
	Switch bool `json:"switch,omitempty"`
}

// Finding is something that a person should look at: it stops nothing but its own item.
type Finding struct {
	Code     string     `json:"code"`
	Severity Severity   `json:"severity"` // error | warning | info
	Message  string     `json:"message"`
	Fix      string     `json:"fix,omitempty"`
	Document DocumentID `json:"document,omitzero"`
	Position Position   `json:"position,omitzero"`
	// Application, Connection and Target are set where the finding is about one.
	Application string `json:"application,omitempty"`
	Connection  Name   `json:"connection,omitzero"`
	Target      Name   `json:"target,omitzero"`
}

// ApplicationPlan is what one application needs.
type ApplicationPlan struct {
	Application string      `json:"application"`
	Connector   string      `json:"connector"`
	Mode        Mode        `json:"mode"`
	Operations  []Operation `json:"operations"`
	// Unmanaged are live entitlements inside managed connections that no request ever mentioned.
	Unmanaged []Key `json:"unmanaged,omitempty"`
	// Overdue are expired grants that mode add leaves in place.
	Overdue []Key `json:"overdue,omitempty"`
	// Pending are entitlements of invited, expired or blocked identities: a state, neither drift nor error.
	Pending  []PendingEntitlement `json:"pending,omitempty"`
	Findings []Finding            `json:"findings,omitempty"`
	// Incomplete explains why the live state could not be read completely; "" when it was.
	Incomplete string `json:"incomplete,omitempty"`
	// NotRead counts what exists and is not part of the live state.
	NotRead []NotRead `json:"not_read,omitempty"`
	// NotManaged counts access that exists and that nobody can request, such as ownership.
	NotManaged []NotRead `json:"not_managed,omitempty"`
	ReadAt     time.Time `json:"read_at,omitzero"`
	// LiveDigest is the digest of the live state that the plan was made from.
	LiveDigest string `json:"live_digest,omitempty"`
	// Attested means that the live state is what fulfillers reported, since nothing can be read: drift is unknown.
	Attested bool `json:"attested,omitempty"`
}

// PendingEntitlement waits for somebody outside: an invitation to be accepted, an account to be unblocked.
type PendingEntitlement struct {
	Key   Key              `json:"entitlement"`
	State EntitlementState `json:"state"`
}

// Plan is the ordered operations that take the applications from live to desired.
type Plan struct {
	APIVersion   string            `json:"apiVersion"`
	Applications []ApplicationPlan `json:"applications"`
	// Digest is over the sorted typed operations, holds left out; the same operations have the same digest.
	Digest string `json:"digest"`
}
