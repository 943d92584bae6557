package countersign.library

# METADATA
# title: Separation of duties
# description: >-
#   data.separation_of_duties lists sets of connections (application/type/source_name). One person may hold at
#   most at_most (default 1) of a set at a time, with all their identities in all applications. A change that gives
#   a person more than that is denied.
# custom:
#   code: CS-120
deny contains {
	"code": "CS-120",
	"msg": sprintf("%s would hold %s at the same time, and %s allows at most %v of them", [holder, concat(" and ", both), duty.name, at_most]),
	"path": at.path,
	"line": at.line,
	"field": at.field,
	"fix": "revoke one of them in the same change, or choose another person",
} if {
	some duty in data.separation_of_duties
	at_most := object.get(duty, "at_most", 1)
	apart := {c | some c in duty.connections}
	some holder, held in input.holdings
	both := apart & {c | some c in held}
	count(both) > at_most
	at := gain(holder)
}

# The place of the first operation that gives an identity of a person access. holder is a person, or an identity that
# nobody is known to own.
gain(holder) := array.concat(
	[p |
		some op in input.plan
		some a in op.gained
		identity := concat("/", [a.application, a.identity.type, a.identity.source_name])
		holder in {identity, object.get(input, ["identities", identity], "")}
		p := {"path": object.get(op, "path", ""), "line": op.line, "field": object.get(op, "field", "")}
	],
	[{"path": "", "line": 0, "field": ""}],
)[0]
