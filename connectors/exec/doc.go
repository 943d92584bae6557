// Package exec runs connectors in processes of their own, written in any language.
//
// A file in Git never names code to run: the operator's command line binds a connector's name to an executable, and
// an application's spec.connector refers to that name. For each open Reader or Writer one child is started. It gets
// one JSON object on each line of its standard input and answers in lines on its standard output; its standard error
// is logged. The JSON Schemas connector-request and connector-answer (countersign schema connector-request) describe
// the lines.
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
// A request is answered completely before the next is sent; only cancel may arrive while one is in progress. A
// request that fails is answered with error, and so is one that ends early because it was cancelled; outcomes sent
// before that remain valid. A child that doesn't know cancel completes its request, within Limits.Grace. After close,
// and at the end of its input, the child exits.
//
// # What a connector need not do
//
// Operations are already checked against the description, those with a failed dependency are left out, and none
// depends on another of the same request. Extra items in the answer to a read or list are dropped, so a small
// connector may answer with everything. Pages, patterns, the order of items and implied privileges are handled here.
// Only a connector that declares normalizes is asked to normalize.
//
// # What it cannot do
//
// A child that hangs, dies, floods a stream, answers another question or answers out of turn is killed with all that it
// started. Operations without an outcome by then are unknown until they are read back; its output can't affect
// anything but its own application's state. Its environment is Config.Env alone, and its config arrives on standard
// input alone. On Linux, its memory and the number of its processes are bounded, processes that left its group end with
// it, and it can't read this program's environment or memory in /proc, not even as root. Nothing else
// that its user may do is prevented: run untrusted connectors as another user (Config.User), or in a container.
package exec
