// Package exec runs connectors in processes of their own, written in any language.
//
// A file in Git never names code to run: the operator's command line binds a connector's name to an executable, and
// an application's spec.connector refers to that name. For each open Reader or Writer one child is started. It gets
// one JSON object on each line of its standard input and answers in lines on its standard output; what it writes to
// standard error goes to the log. The JSON Schemas connector-request and connector-answer (countersign schema
// connector-request) say what the lines look like.
//
// # The conversation
//
//	→ {"id": 1, "type": "hello", "hello": {"versions": [1]}}
//	← {"id": 1, "type": "hello", "hello": {"version": 1}}
//	→ {"id": 2, "type": "describe"}
//	← {"id": 2, "type": "description", "description": {…}}
//	→ {"id": 3, "type": "open", "open": {"mode": "write", "application": "hr", "config": {…}}}
//	← {"id": 3, "type": "done", "done": {"count": 0}}
//	→ {"id": 4, "type": "describe_installation"}
//	← {"id": 4, "type": "description", "description": {…}}
//	→ {"id": 5, "type": "read", "read": {"names": [{"type": "group", "source_name": "sales"}]}}
//	← {"id": 5, "type": "connections", "connections": [{…}, {…}]}
//	← {"id": 5, "type": "done", "done": {"count": 2}}
//	→ {"id": 6, "type": "apply", "operations": [{…}, {…}]}
//	← {"id": 6, "type": "outcome", "outcome": {"operation": "op-1"}}
//	← {"id": 6, "type": "outcome", "outcome": {"operation": "op-2", "error": {"code": "conflict", "message": "…"}}}
//	← {"id": 6, "type": "done", "done": {"count": 2}}
//	→ {"id": 7, "type": "close"}
//	← {"id": 7, "type": "done", "done": {"count": 0}}
//
// A request is answered whole before the next is sent; cancel alone may come while one is on its way. A request that
// fails is answered with error, and so is one that ends early because it was cancelled; outcomes that were given
// before stand. A child that knows no cancel ends what it is at, which it has Limits.Grace for. After close, and at
// the end of its input, the child ends.
//
// # What a connector need not do
//
// Operations come held against the description, without those whose dependency failed, and none depends on another
// of the same request. What a read or list answers beyond the question is dropped, so that a small connector may
// answer with all it has. Pages, patterns, the order of items and the privileges that others imply are made here. A
// connector that does not say normalizes is not asked to.
//
// # What it cannot do
//
// A child that hangs, dies, floods a stream, lies about what it was asked or answers out of turn is killed with its
// process group. What it had not reported by then is unknown, to be settled by reading back; nothing it says outside
// of its own application's state has an effect. It inherits no environment but what Config.Env says, and its config
// comes on standard input alone. Its memory and the number of its processes are bounded on Linux. A process that
// leaves the group lives on: run connectors that you do not trust in a container of their own.
package exec
