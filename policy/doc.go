// Package policy says whether a change with its sign-offs may take effect, by rules in Rego: a built-in
// library, which is always evaluated and cannot be changed from outside, and an access repository's own
// rules beside it. The decision is the union of what both say.
//
// An Engine is made of rules and data as they stand in the base of a change, never of what the change
// itself brings. Nothing it cannot evaluate passes: rules that don't compile, an answer that is undefined or
// malformed, a deadline that passes and a child process that dies are errors, and an error denies.
//
// # Own rules
//
// They are in package countersign (or below it, for helpers) and add to three sets:
//
//	deny contains {"code": "ACME-1", "msg": "…"} if { … }      // also path, line, field, fix
//	warn contains {"code": "ACME-2", "msg": "…"} if { … }
//	require_signoff contains {"code": "ACME-3", "from": ["team:acme/security"], "count": 1, "why": "…"} if { … }
//
// The input is schemas.PolicyInput; a rule that names a field which it does not have does not compile.
// data.countersign.lib has a few helpers (library/lib.rego). Only deterministic built-ins exist: what reads
// the clock, the network, the environment or chance does not compile. The instant of the judgement is
// input.now. Codes that begin with CS- belong to the library.
//
// Own rules are compiled apart from the library, so that none can redefine, extend or replace any part of
// it, and are evaluated in a child process with limits on memory and time where Config.Isolate starts one.
//
// # Data
//
// data.yaml (or data.json) beside the rules is data to own rules and to the library, which reads these keys,
// all of them optional:
//
//	separation_of_duties: [{name, connections: [application/type/source_name, …], at_most: 1}]
//	privileged:           {max_days: 90}
//	freeze:               [{from, to, applications: [glob, …], reason}]
//	reason:               {min_length: 10}
//	blast_radius:         {warn: 20, two: 100}
//
// policy imports schemas and OPA, and no other package of countersign.
package policy
