package countersign.library

# The plan marks the removal of privileged access as privileged, too. It needs no second sign-off, because a
# revoke must not wait for one.
privileged_operations := [op |
	some op in input.plan
	op.privileged
	op.kind != "revoke"
]

# METADATA
# title: Privileged changes need two sign-offs
# description: >-
#   Two owners of the application must sign off a privileged change. Privileged connections and privileges are
#   listed by the connector and the application. Revokes are exempt.
# custom:
#   code: CS-110
require_signoff contains {
	"code": "CS-110",
	"from": owners,
	"count": 2,
	"why": sprintf("two owners of %s must sign off a privileged change", [op.application]),
} if {
	some op in privileged_operations
	owners := input.applications[op.application].owners
}

# METADATA
# title: Privileged grants expire
# description: >-
#   A privileged grant without an expiry is denied.
# custom:
#   code: CS-110
deny contains {
	"code": "CS-110",
	"msg": sprintf("the grant of %s %s to %s is privileged%s and does not expire", [object.get(op, "privilege", ""), object.get(op, ["target", "source_name"], ""), op.connection.source_name, because(op)]),
	"path": object.get(op, "path", ""),
	"line": op.line,
	"field": object.get(op, "field", ""),
	"fix": sprintf("set expires on the entry, at most %v days from now", [longest]),
} if {
	some op in privileged_operations
	op.kind == "grant"
	not op.expires
}

# METADATA
# title: Privileged grants expire in time
# description: >-
#   A privileged grant that expires more than data.privileged.max_days (default 90) days from now is denied.
# custom:
#   code: CS-110
deny contains {
	"code": "CS-110",
	"msg": sprintf("the grant of %s %s to %s is privileged%s and expires at %s, more than %v days from now", [object.get(op, "privilege", ""), object.get(op, ["target", "source_name"], ""), op.connection.source_name, because(op), op.expires, longest]),
	"path": object.get(op, "path", ""),
	"line": op.line,
	"field": object.get(op, "field", ""),
	"fix": sprintf("set expires to at most %v days from now", [longest]),
} if {
	some op in privileged_operations
	op.kind == "grant"
	op.expires
	not expires_soon(op)
}

expires_soon(op) if instant(op.expires) <= now_ns + (data.privileged.max_days * 86400000000000)

# For messages only: a missing value must not keep a rule from denying.
default longest := "so many"

longest := data.privileged.max_days

because(op) := sprintf(" (%s)", [op.privileged_why]) if {
	op.privileged_why
} else := ""
