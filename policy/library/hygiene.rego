package countersign.library

# METADATA
# title: A grant that has ended
# description: >-
#   A grant that expires before it is judged never takes effect: pointed out.
# custom:
#   code: CS-180
warn contains {
	"code": "CS-180",
	"msg": sprintf("the grant of %s expired at %s: it takes no effect", [g.source_name, g.expires]),
	"path": c.path,
	"line": c.line,
	"field": sprintf("spec.grants[%d].expires", [i]),
	"fix": "give it an end in the future, or leave it out",
} if {
	some c in written
	some i, g in c.request.grants
	g.expires <= input.now
}

# METADATA
# title: A start that has passed
# description: >-
#   A grant whose start lies in the past starts at once: pointed out.
# custom:
#   code: CS-180
warn contains {
	"code": "CS-180",
	"msg": sprintf("the grant of %s was to start at %s: it starts at once", [g.source_name, g.starts]),
	"path": c.path,
	"line": c.line,
	"field": sprintf("spec.grants[%d].starts", [i]),
	"fix": "leave starts out, or give it an instant in the future",
} if {
	some c in written
	some i, g in c.request.grants
	g.starts < input.now
}

# METADATA
# title: A request that changes nothing
# description: >-
#   A request from which no operation follows, now or at a start that is to come, is pointed out.
# custom:
#   code: CS-181
warn contains {
	"code": "CS-181",
	"msg": "the request changes nothing",
	"path": c.path,
	"line": c.line,
	"field": "",
	"fix": "perhaps it was asked for before; leave it out if so",
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
