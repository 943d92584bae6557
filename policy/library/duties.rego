package countersign.library

# METADATA
# title: Separation of duties
# description: >-
#   data.separation_of_duties lists sets of connections (application/type/source_name). One identity may hold
#   at most at_most (default 1) of a set at a time. A change that gives an identity more than that is denied.
# custom:
#   code: CS-120
deny contains {
	"code": "CS-120",
	"msg": sprintf("%s would hold %s at the same time, and %s allows at most %v of them", [identity, concat(" and ", both), duty.name, at_most]),
	"path": at.path,
	"line": at.line,
	"field": at.field,
	"fix": "revoke one of them from the identity in the same change, or choose another identity",
} if {
	some duty in data.separation_of_duties
	at_most := object.get(duty, "at_most", 1)
	apart := {c | some c in duty.connections}
	some identity, held in input.holdings
	both := apart & {c | some c in held}
	count(both) > at_most
	at := gain(identity)
}

# The place of the first operation that gives an identity access.
gain(identity) := array.concat(
	[p |
		some op in input.plan
		some a in op.gained
		concat("/", [a.application, a.identity.type, a.identity.source_name]) == identity
		p := {"path": object.get(op, "path", ""), "line": op.line, "field": object.get(op, "field", "")}
	],
	[{"path": "", "line": 0, "field": ""}],
)[0]
