package countersign.library

# Taking privileged access away, too, is privileged in the plan. It needs no second sign-off: a revoke must
# not wait for one.
privileged_operations := [op |
	some op in input.plan
	op.privileged
	op.kind != "revoke"
]

# METADATA
# title: Privileged changes need two sign-offs
# description: >-
#   Two owners of the application sign off what is privileged: by the connector's own list, or by the
#   application's. Revokes are excepted.
# custom:
#   code: CS-110
require_signoff contains {
	"code": "CS-110",
	"from": owners,
	"count": 2,
	"why": sprintf("two owners of %s sign off what is privileged", [op.application]),
} if {
	some op in privileged_operations
	owners := input.applications[op.application].owners
}

# METADATA
# title: Privileged grants expire
# description: >-
#   A privileged grant without expires is denied.
# custom:
#   code: CS-110
deny contains {
	"code": "CS-110",
	"msg": sprintf("the grant of %s %s to %s is privileged%s and has no end", [object.get(op, "privilege", ""), object.get(op, ["target", "source_name"], ""), op.connection.source_name, because(op)]),
	"path": object.get(op, "path", ""),
	"line": op.line,
	"field": object.get(op, "field", ""),
	"fix": sprintf("give the entry an expires at most %v days ahead", [longest]),
} if {
	some op in privileged_operations
	op.kind == "grant"
	not op.expires
}

# METADATA
# title: Privileged grants expire soon
# description: >-
#   A privileged grant that expires later than data.privileged.max_days (90) from now is denied.
# custom:
#   code: CS-110
deny contains {
	"code": "CS-110",
	"msg": sprintf("the grant of %s %s to %s is privileged%s and ends %s, more than %v days ahead", [object.get(op, "privilege", ""), object.get(op, ["target", "source_name"], ""), op.connection.source_name, because(op), op.expires, longest]),
	"path": object.get(op, "path", ""),
	"line": op.line,
	"field": object.get(op, "field", ""),
	"fix": sprintf("let it end within %v days", [longest]),
} if {
	some op in privileged_operations
	op.kind == "grant"
	op.expires
	not expires_soon(op)
}

expires_soon(op) if instant(op.expires) <= now_ns + (data.privileged.max_days * 86400000000000)

# For messages alone: they must not keep a rule from denying.
default longest := "so many"

longest := data.privileged.max_days

because(op) := sprintf(" (%s)", [op.privileged_why]) if {
	op.privileged_why
} else := ""
