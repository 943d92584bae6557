package countersign.library

# METADATA
# title: Expired grants get a warning
# description: >-
#   A grant that expires before it is judged never takes effect. The rule warns about it.
# custom:
#   code: CS-180
warn contains {
	"code": "CS-180",
	"msg": sprintf("the grant of %s expired at %s, so it never takes effect", [g.source_name, g.expires]),
	"path": c.path,
	"line": c.line,
	"field": sprintf("spec.grants[%d].expires", [i]),
	"fix": "set expires to a time in the future, or remove it",
} if {
	some c in written
	some i, g in c.request.grants
	g.expires <= input.now
}

# METADATA
# title: Starts in the past get a warning
# description: >-
#   A grant whose start is in the past starts at once. The rule warns about it.
# custom:
#   code: CS-180
warn contains {
	"code": "CS-180",
	"msg": sprintf("the start of the grant of %s is in the past (%s), so it starts at once", [g.source_name, g.starts]),
	"path": c.path,
	"line": c.line,
	"field": sprintf("spec.grants[%d].starts", [i]),
	"fix": "remove starts, or set it to a time in the future",
} if {
	some c in written
	some i, g in c.request.grants
	g.starts < input.now
}

# METADATA
# title: Requests that change nothing get a warning
# description: >-
#   A request that leads to no operation, now or at a later start, gets a warning.
# custom:
#   code: CS-181
warn contains {
	"code": "CS-181",
	"msg": "the request changes nothing",
	"path": c.path,
	"line": c.line,
	"field": "",
	"fix": "it may have been requested before; if so, remove it",
} if {
	some c in written
	not plans_something(c)
	not starts_later(c)
}

plans_something(c) if c.operations > 0

starts_later(c) if {
	some g in c.request.grants
	g.starts > input.now
}
