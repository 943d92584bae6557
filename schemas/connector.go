package schemas

// ConnectorProtocol is the version of the protocol that countersign speaks with connectors in processes of their own.
const ConnectorProtocol = 1

// ConnectorRequest is a line that countersign writes to a connector's standard input. The connector answers each
// request but cancel with any number of parts and one last answer, in order, before it reads the next.
type ConnectorRequest struct {
	// ID is the request's number, from 1 and counting up. Each answer repeats it.
	ID   int64  `json:"id" jsonschema:"minimum=1"`
	Type string `json:"type" jsonschema:"enum=hello,enum=describe,enum=open,enum=describe_installation,enum=read,enum=list,enum=normalize,enum=apply,enum=cancel,enum=close,enum=test"`
	// Hello is the first request of all. It is answered with hello.
	Hello *ConnectorHello `json:"hello,omitempty"`
	// Open comes after hello, at most once. It is answered with done, when the application can be reached.
	Open *ConnectorOpen `json:"open,omitempty"`
	// Read asks for connections with their entitlements. It is answered with connections and entitlements, then done.
	Read *ConnectorSelection `json:"read,omitempty"`
	// List asks what exists of a type. It is answered with items, then done.
	List *ConnectorQuery `json:"list,omitempty"`
	// Connections are to be normalized, each by itself. They come back as connections, as many and in the same
	// order, then done.
	Connections []ConnectorConnection `json:"connections,omitempty"`
	// Operations are to be carried out in order. An outcome answers each as it happens, then done. None depends on
	// another of the same request.
	Operations []ConnectorOperation `json:"operations,omitempty"`
	// Cancel asks to end a request early. It has no answer of its own, and is ignored when the request is over.
	Cancel *ConnectorCancel `json:"cancel,omitempty"`
	// Test is for connector test alone.
	Test *ConnectorTest `json:"test,omitempty"`
}

// ConnectorHello offers versions of the protocol.
type ConnectorHello struct {
	Versions []int `json:"versions" jsonschema:"minItems=1"`
}

// ConnectorOpen opens the application.
type ConnectorOpen struct {
	// Mode is read or write. A connector that was opened with read is asked for nothing that changes anything, and
	// is not given the settings whose names begin with apply_.
	Mode        string `json:"mode" jsonschema:"enum=read,enum=write"`
	Application string `json:"application"`
	// Directory is the access repository's folder, which relative paths in the config start from; "" when there is none.
	Directory string `json:"directory,omitempty"`
	// Config is the application's spec.config with its secrets resolved.
	Config map[string]any `json:"config"`
}

// ConnectorSelection says which connections to read: those named, and all that match a pattern. Neither is
// everything. An answer may hold more than was selected: what is beyond is dropped.
type ConnectorSelection struct {
	Names []Name `json:"names,omitempty"`
	// Scope has glob patterns by type.
	Scope map[string][]string `json:"scope,omitempty"`
}

// ConnectorQuery asks what exists of a type: identities, resources or connections.
type ConnectorQuery struct {
	Type string `json:"type"`
	// Names limits the answer; absent is all. An answer may hold more.
	Names []string `json:"names,omitempty"`
}

// ConnectorCancel names the request to end.
type ConnectorCancel struct {
	Request int64 `json:"request" jsonschema:"minimum=1"`
}

// ConnectorOperation is one step of a plan. Doing it twice is doing it once.
type ConnectorOperation struct {
	ID         string `json:"id"`
	Kind       string `json:"kind" jsonschema:"enum=create,enum=update,enum=grant,enum=revoke,enum=delete"`
	Connection Name   `json:"connection"`
	// NativeID is the id that must stand behind the connection's name; else the outcome is a conflict.
	NativeID string `json:"native_id,omitempty"`
	// Target, its id and the privilege are set for grant and revoke.
	Target    *Name  `json:"target,omitempty"`
	TargetID  string `json:"target_id,omitempty"`
	Privilege string `json:"privilege,omitempty"`
	// Before and After are the attributes that change. Null in After leaves an attribute as it is.
	Before map[string]any `json:"before,omitempty"`
	After  map[string]any `json:"after,omitempty"`
	// ReassignTo says who becomes owner of what a deleted connection owns.
	ReassignTo string `json:"reassign_to,omitempty"`
}

// ConnectorAnswer is a line that a connector writes to its standard output: a part of an answer, or its last line.
type ConnectorAnswer struct {
	// ID is the request's.
	ID   int64  `json:"id" jsonschema:"minimum=1"`
	Type string `json:"type" jsonschema:"enum=hello,enum=description,enum=connections,enum=entitlements,enum=items,enum=outcome,enum=test,enum=done,enum=error"`
	// Hello answers hello.
	Hello *ConnectorWelcome `json:"hello,omitempty"`
	// Description answers describe and describe_installation.
	Description *ConnectorDescription `json:"description,omitempty"`
	// Connections are the next ones of a state, sorted by type, then source_name, then native_id, over all parts.
	Connections []ConnectorConnection `json:"connections,omitempty"`
	// Entitlements belong to the last connection of the part before, and follow those that it has.
	Entitlements []ConnectorEntitlement `json:"entitlements,omitempty"`
	// Items are what exists, in any order.
	Items []ConnectorItem `json:"items,omitempty"`
	// Outcome is what became of one operation.
	Outcome *ConnectorOutcome `json:"outcome,omitempty"`
	// Test answers test.
	Test *ConnectorTestAnswer `json:"test,omitempty"`
	// Done is the last line of an answer that went well.
	Done *ConnectorDone `json:"done,omitempty"`
	// Error is the last line of an answer that did not.
	Error *ConnectorError `json:"error,omitempty"`
}

// ConnectorWelcome answers hello.
type ConnectorWelcome struct {
	// Version is one of those that were offered.
	Version int `json:"version"`
	// Normalizes says that the connector wants to be asked normalize: the application gives names or attributes
	// back otherwise than they were given to it.
	Normalizes bool `json:"normalizes,omitempty"`
	// Batch bounds the operations of one apply request; 0 is no bound of the connector's.
	Batch int `json:"batch,omitempty" jsonschema:"minimum=0"`
}

// ConnectorDone is the end of an answer.
type ConnectorDone struct {
	// Count is how many connections, items or outcomes the answer had. One that is lost is noticed.
	Count int `json:"count" jsonschema:"minimum=0"`
	// Incomplete says why something is missing from what was read; "" when it is whole.
	Incomplete string `json:"incomplete,omitempty" jsonschema:"maxLength=4000"`
}

// ConnectorError says what went wrong. No secret stands in it.
type ConnectorError struct {
	// Code is not_found, conflict, unsupported, denied, invalid or unavailable.
	Code string `json:"code" jsonschema:"enum=not_found,enum=conflict,enum=unsupported,enum=denied,enum=invalid,enum=unavailable"`
	// Message says what the user can do.
	Message string `json:"message" jsonschema:"minLength=1,maxLength=4000"`
	// RetryAfterSeconds is when an unavailable application can be tried again.
	RetryAfterSeconds int `json:"retry_after_seconds,omitempty" jsonschema:"minimum=0,maximum=86400"`
	// Whole says, with unavailable, that the application as a whole does not answer: nothing else is worth a try now.
	// As the outcome of an operation it ends the apply: this operation and those after it are not known.
	Whole bool `json:"whole,omitempty"`
	// Dependents are what stands in the way.
	Dependents []string `json:"dependents,omitempty" jsonschema:"maxItems=1000"`
}

// ConnectorOutcome is what became of one operation.
type ConnectorOutcome struct {
	// Operation is the operation's id.
	Operation string `json:"operation"`
	// Attempts is how often it was tried; 0 is once.
	Attempts int `json:"attempts,omitempty" jsonschema:"minimum=0,maximum=1000"`
	// Error is absent when it was applied, or was applied already.
	Error *ConnectorError `json:"error,omitempty"`
}

// ConnectorConnection is a group, role or policy with its entitlements.
type ConnectorConnection struct {
	Name
	NativeID string `json:"native_id,omitempty" jsonschema:"maxLength=4096"`
	// Payload has the attributes that the type's schema names. A key that is absent is not known.
	Payload map[string]any `json:"payload,omitempty"`
	// Protected says why the connection must never be changed; "" for ordinary ones.
	Protected string `json:"protected,omitempty" jsonschema:"maxLength=4000"`
	// Entitlements are sorted by target, then privilege, then target_id.
	Entitlements []ConnectorEntitlement `json:"entitlements,omitempty"`
}

// ConnectorEntitlement is one privilege on one target.
type ConnectorEntitlement struct {
	Target    Name   `json:"target"`
	TargetID  string `json:"target_id,omitempty" jsonschema:"maxLength=4096"`
	Privilege string `json:"privilege" jsonschema:"minLength=1,maxLength=1024"`
	// State is absent when it is in force.
	State string `json:"state,omitempty" jsonschema:"enum=,enum=invited,enum=expired,enum=blocked"`
}

// ConnectorItem is an identity, resource or connection that exists.
type ConnectorItem struct {
	Name
	NativeID string `json:"native_id,omitempty" jsonschema:"maxLength=4096"`
	// State is absent, or invited, expired or blocked, for identities.
	State string `json:"state,omitempty" jsonschema:"enum=,enum=invited,enum=expired,enum=blocked"`
	// Protected says why it must never be given or changed.
	Protected string `json:"protected,omitempty" jsonschema:"maxLength=4000"`
	// Connection says that the item has members of its own.
	Connection bool `json:"connection,omitempty"`
}

// ConnectorDescription is what a connector can do, or one installation of its application. The connector's name is
// the operator's to give.
type ConnectorDescription struct {
	Title string `json:"title" jsonschema:"minLength=1,maxLength=200"`
	// Version is the application's, once it was opened.
	Version string `json:"version,omitempty" jsonschema:"maxLength=200"`
	// Config is the JSON Schema (draft 2020-12, closed) of spec.config. "x-secret": true marks a secret.
	Config map[string]any `json:"config"`
	// Types are the types of connections, sorted by name.
	Types       []ConnectorType `json:"types" jsonschema:"minItems=1,maxItems=100"`
	PlanScript  string          `json:"plan_script" jsonschema:"minLength=1"`
	ApplyScript string          `json:"apply_script" jsonschema:"minLength=1"`
}

// ConnectorType is one type of connection and what can be done with it.
type ConnectorType struct {
	Name  string `json:"name" jsonschema:"pattern=^[a-z][a-z0-9_]*$,maxLength=100"`
	Title string `json:"title" jsonschema:"minLength=1,maxLength=200"`
	// Payload is the JSON Schema of the payload (draft 2020-12, closed).
	Payload  map[string]any `json:"payload"`
	Create   bool           `json:"create,omitempty"`
	Update   bool           `json:"update,omitempty"`
	Delete   bool           `json:"delete,omitempty"`
	Reassign bool           `json:"reassign,omitempty"`
	// Grantable are the types of targets.
	Grantable []ConnectorTarget `json:"grantable,omitempty" jsonschema:"maxItems=100"`
	Names     ConnectorNames    `json:"names"`
	// Privileged are glob patterns of connections that are powerful by themselves, PrivilegedFields attributes.
	Privileged       []string `json:"privileged,omitempty"`
	PrivilegedFields []string `json:"privileged_fields,omitempty"`
}

// ConnectorTarget is a type of target that can be given.
type ConnectorTarget struct {
	Type string `json:"type" jsonschema:"pattern=^[a-z][a-z0-9_]*$,maxLength=100"`
	// Edge is resource (the connection may use the target), connection (it becomes a member of the target), member
	// (the target connection becomes a member of it) or identity (the target identity does).
	Edge       string   `json:"edge" jsonschema:"enum=resource,enum=connection,enum=member,enum=identity"`
	Privileges []string `json:"privileges" jsonschema:"minItems=1,maxItems=1000"`
	// Default is what an entry without privileges means.
	Default []string `json:"default,omitempty"`
	// Implies says which other privileges a privilege on a resource brings with it, all of them. In privileges a
	// higher one stands before those that it implies. What is read and normalized names each by itself.
	Implies map[string][]string `json:"implies,omitempty"`
	// Single says that a connection has at most one target of this type.
	Single               bool           `json:"single,omitempty"`
	Names                ConnectorNames `json:"names"`
	Privileged           []string       `json:"privileged,omitempty"`
	PrivilegedPrivileges []string       `json:"privileged_privileges,omitempty"`
	Grant                bool           `json:"grant,omitempty"`
	Revoke               bool           `json:"revoke,omitempty"`
}

// ConnectorNames says which names the application can hold.
type ConnectorNames struct {
	// MaxBytes bounds the length in UTF-8; 0 is no bound.
	MaxBytes int `json:"max_bytes,omitempty" jsonschema:"minimum=0"`
	// Pattern is RE2 and matches the whole name. It lets no control character pass, nor the empty name.
	Pattern  string   `json:"pattern" jsonschema:"minLength=1,maxLength=4000"`
	Reserved []string `json:"reserved,omitempty"`
	// FoldCase says that the application does not tell upper from lower case.
	FoldCase bool `json:"fold_case,omitempty"`
}

// ConnectorTest asks the outside hand of connector test: it changes an application without the connector's code.
type ConnectorTest struct {
	// Do is harness (say what the hand can do), start and stop (an application of its own for one case), or a change.
	Do string `json:"do" jsonschema:"enum=harness,enum=start,enum=stop,enum=add_identity,enum=remove_identity,enum=add_resource,enum=add_connection,enum=drop_connection,enum=grant,enum=revoke,enum=set_identity_state,enum=own,enum=protected,enum=break"`
	// Application is what start answered with.
	Application string `json:"application,omitempty"`
	// Type and Word ask for a new identity or resource, named after the word.
	Type string `json:"type,omitempty"`
	Word string `json:"word,omitempty"`
	// Name is of what is removed, made or changed, Key the entitlement, State the identity's.
	Name  *Name  `json:"name,omitempty"`
	Key   *Key   `json:"key,omitempty"`
	State string `json:"state,omitempty"`
	// Break is the name of one of the ways of breaking.
	Break string `json:"break,omitempty"`
}

// ConnectorTestAnswer is what the outside hand answers.
type ConnectorTestAnswer struct {
	// Harness answers harness.
	Harness *ConnectorHarness `json:"harness,omitempty"`
	// Application, Prefix and Config answer start: an id, what names of connections begin with, and the config for
	// the connector, with its secrets. Config answers break too.
	Application string         `json:"application,omitempty"`
	Prefix      string         `json:"prefix,omitempty"`
	Config      map[string]any `json:"config,omitempty"`
	// Name answers add_identity, add_resource and protected.
	Name *Name `json:"name,omitempty"`
	// Not says that the application has no such thing: a resource of the type, or a state of an identity.
	Not bool `json:"not,omitempty"`
}

// ConnectorHarness is what an outside hand knows of its connector.
type ConnectorHarness struct {
	// Payloads has two payloads for each connection type, with every attribute, as the application gives them back.
	Payloads map[string][]map[string]any `json:"payloads"`
	// Can are the optional requests that the hand knows.
	Can []string `json:"can,omitempty" jsonschema:"enum=set_identity_state,enum=own,enum=protected"`
	// Breaks are ways in which an application cannot be read whole.
	Breaks []ConnectorBreak `json:"breaks,omitempty"`
	// Faulty are configs that cannot work.
	Faulty []ConnectorFaulty `json:"faulty,omitempty"`
	// Serial says that only one application can be open at a time.
	Serial bool `json:"serial,omitempty"`
}

// ConnectorBreak is a way of breaking an application.
type ConnectorBreak struct {
	Name string `json:"name" jsonschema:"minLength=1"`
	// Corrupt says that the application itself is damaged, so that nothing may be applied to it.
	Corrupt bool `json:"corrupt,omitempty"`
}

// ConnectorFaulty is a change of a good config after which opening or reading fails.
type ConnectorFaulty struct {
	Name string `json:"name" jsonschema:"minLength=1"`
	Code string `json:"code" jsonschema:"enum=not_found,enum=conflict,enum=unsupported,enum=denied,enum=invalid,enum=unavailable"`
	// Set has the settings that change, Remove those that go.
	Set    map[string]any `json:"set,omitempty"`
	Remove []string       `json:"remove,omitempty"`
}
