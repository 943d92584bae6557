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
	Read *Selection `json:"read,omitempty"`
	// List asks what exists of a type. It is answered with items, then done.
	List *ConnectorQuery `json:"list,omitempty"`
	// Connections are to be normalized, each by itself. They come back as connections, as many and in the same
	// order, then done.
	Connections []Connection `json:"connections,omitempty"`
	// Operations are to be carried out in order. An outcome answers each as it happens, then done. None depends on
	// another of the same request.
	Operations []ConnectorOperation `json:"operations,omitempty"`
	// Cancel asks to end a request early. It is not answered, and is ignored when the request is over.
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

// ConnectorQuery asks what exists of a type: identities, resources or connections.
type ConnectorQuery struct {
	Type string `json:"type"`
	// Names limits the answer; absent is all. An answer may hold more.
	Names []string `json:"names,omitempty"`
	// IDs adds what has these native ids, whatever it is called now; connectors with native ids are asked by them. An answer
	// that lacks one is asked for again without names and ids.
	IDs []string `json:"ids,omitempty"`
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
	// NativeID is the id that the connection's name must have; otherwise the outcome is a conflict.
	NativeID string `json:"native_id,omitempty"`
	// Target, its id and the privilege are set for grant and revoke.
	Target    *Name  `json:"target,omitempty"`
	TargetID  string `json:"target_id,omitempty"`
	Privilege string `json:"privilege,omitempty"`
	// Before and After are the attributes that change. Null in After leaves an attribute as it is.
	Before map[string]any `json:"before,omitempty"`
	After  map[string]any `json:"after,omitempty"`
	// ReassignTo is the new owner of what a deleted connection owns.
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
	Description *Description `json:"description,omitempty"`
	// Connections are the next ones of a state, sorted by type, then source_name, then native_id, over all parts.
	Connections []Connection `json:"connections,omitempty"`
	// Entitlements belong to the last connection of the part before, and follow those that it has.
	Entitlements []Entitlement `json:"entitlements,omitempty"`
	// Items are what exists, in any order.
	Items []Item `json:"items,omitempty"`
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
	// Normalizes means that the connector wants to be asked normalize: the application gives names or attributes
	// back otherwise than they were given to it.
	Normalizes bool `json:"normalizes,omitempty"`
	// Batch bounds the operations of one apply request; 0 is unbounded.
	Batch int `json:"batch,omitempty" jsonschema:"minimum=0"`
}

// ConnectorDone is the end of an answer.
type ConnectorDone struct {
	// Count is how many connections, items or outcomes the answer had. One that is lost is noticed.
	Count int `json:"count" jsonschema:"minimum=0"`
	// Incomplete explains why something is missing from what was read; "" when it is complete.
	Incomplete string `json:"incomplete,omitempty" jsonschema:"maxLength=4000"`
}

// ConnectorError describes what went wrong. It never contains a secret.
type ConnectorError struct {
	// Code is not_found, conflict, unsupported, denied, invalid or unavailable.
	Code string `json:"code" jsonschema:"enum=not_found,enum=conflict,enum=unsupported,enum=denied,enum=invalid,enum=unavailable"`
	// Message tells the user what to do.
	Message string `json:"message" jsonschema:"minLength=1,maxLength=4000"`
	// RetryAfterSeconds is when an unavailable application can be tried again.
	RetryAfterSeconds int `json:"retry_after_seconds,omitempty" jsonschema:"minimum=0,maximum=86400"`
	// Whole means, with unavailable, that the application itself does not answer: nothing else is worth a try now.
	// As the outcome of an operation it ends the apply: this operation and those after it are not known.
	Whole bool `json:"whole,omitempty"`
	// Dependents are the objects in the way.
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

// ConnectorTest asks the outside hand of connector test: it changes an application without the connector's code.
type ConnectorTest struct {
	// Do is harness (list what the hand can do), start and stop (an application of its own for one case), or a change.
	Do string `json:"do" jsonschema:"enum=harness,enum=start,enum=stop,enum=add_identity,enum=remove_identity,enum=add_resource,enum=add_connection,enum=drop_connection,enum=grant,enum=revoke,enum=set_identity_state,enum=own,enum=protected,enum=break,enum=rename,enum=hide"`
	// Application is what start answered with.
	Application string `json:"application,omitempty"`
	// Type and Word ask for a new identity or resource, named after the word.
	Type string `json:"type,omitempty"`
	Word string `json:"word,omitempty"`
	// rename gives what Name is a name made from the word, and answers with it.
	// Name is of what is removed, made or changed, Key the entitlement, State the identity's.
	Name  *Name            `json:"name,omitempty"`
	Key   *Key             `json:"key,omitempty"`
	State EntitlementState `json:"state,omitempty"`
	// Break is the name of one of the ways of breaking.
	Break string `json:"break,omitempty"`
	// Hidden is for hide: whether the identity is hidden from the connector's credential, or shown again.
	Hidden bool `json:"hidden,omitempty"`
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
	// Name answers add_identity, add_resource, protected and rename.
	Name *Name `json:"name,omitempty"`
	// Not means that the application lacks it: a resource of the type, or a state of an identity; or that it can't rename or
	// hide that type.
	Not bool `json:"not,omitempty"`
}

// ConnectorHarness is what an outside hand knows of its connector.
type ConnectorHarness struct {
	// Payloads has two payloads for each connection type, with every attribute, as the application gives them back.
	Payloads map[string][]map[string]any `json:"payloads"`
	// Can are the optional requests that the hand knows.
	Can []string `json:"can,omitempty" jsonschema:"enum=set_identity_state,enum=own,enum=protected,enum=rename,enum=hide"`
	// Breaks are ways in which an application cannot be read completely.
	Breaks []ConnectorBreak `json:"breaks,omitempty"`
	// Faulty are configs that cannot work.
	Faulty []ConnectorFaulty `json:"faulty,omitempty"`
	// Serial means that only one application can be open at a time.
	Serial bool `json:"serial,omitempty"`
}

// ConnectorBreak is a way of breaking an application.
type ConnectorBreak struct {
	Name string `json:"name" jsonschema:"minLength=1"`
	// Corrupt means that the application itself is damaged, so that nothing may be applied to it.
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
