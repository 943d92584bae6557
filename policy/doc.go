// Package policy decides by Rego rules whether a change with its sign-offs may take effect. There is a built-in
// library, which is always evaluated and cannot be changed from outside, and there are the access repository's own
// rules. The decision is the union of both.
//
// An Engine uses the rules and data in the base of a change, never those that the change itself brings. It fails
// closed: rules that don't compile, an undefined or malformed answer, a time-out and a child process that dies are
// errors, and an error denies the change.
//
// # Own rules
//
// Own rules are in package countersign (or below it, for helpers) and add to three sets:
//
//	deny contains {"code": "ACME-1", "msg": "…"} if { … }      // also path, line, field, fix
//	warn contains {"code": "ACME-2", "msg": "…"} if { … }
//	require_signoff contains {"code": "ACME-3", "from": ["team:acme/security"], "count": 1, "why": "…"} if { … }
//
// The input is schemas.PolicyInput; a rule that uses an unknown field of it does not compile. data.countersign.lib has
// a few helpers (library/lib.rego). Only deterministic built-ins are available: rules that read the clock, the network,
// the environment or random numbers do not compile. input.now is the time of the judgement. Codes that begin with CS-
// are reserved for the library.
//
// Own rules are compiled separately from the library, so that they cannot redefine, extend or replace any part of it.
// If Config.Isolate is set, they are evaluated in a child process with limits on memory and time.
//
// # Data
//
// data.yaml (or data.json) beside the rules is the data of own rules and of the library, which reads these optional
// keys:
//
//	separation_of_duties: [{name, connections: [application/type/source_name, …], at_most: 1}]
//	privileged:           {max_days: 90}
//	freeze:               [{from, to, applications: [glob, …], reason}]
//	reason:               {min_length: 10}
//	blast_radius:         {warn: 20, two: 100}
//
// Of countersign's packages, policy may import only schemas and its own policy/encode.
package policy
