# The built-in library: what holds in every access repository, whatever its own rules say.
#
# Each rule has a code, and a METADATA block from which the documentation comes.
#
# Rules see input as schemas.PolicyInput describes it, and data as the policy folder's data.yaml gives it:
# checked, and with defaults for what it leaves out. Instants of the input are in UTC and to the second, so
# that they may be compared as text.
#
# A limit is a rule that says what is within it, and "not" of that rule denies: where a value is missing it
# denies, too. "not" of an expression would not do, because OPA evaluates its operands before it. For the same
# reason a result is made of what is surely there: an undefined message would take the denial with it.
#
# Of a small change most of the time is spent on finding out that rules do not apply: the first expressions of
# a rule are those that tell.
package countersign.library

# What the engine asks for, in one query. The manifest comes back with every answer: an answer of other
# rules than these is no answer.
decision := {"deny": deny, "warn": warn, "require_signoff": require_signoff, "manifest": manifest}

# How many rules there are of each code. A rule that was lost on the way here is missed by this count.
manifest := {
	"CS-101": 1,
	"CS-102": 4,
	"CS-103": 2,
	"CS-110": 3,
	"CS-120": 1,
	"CS-130": 1,
	"CS-140": 1,
	"CS-150": 1,
	"CS-160": 1,
	"CS-161": 2,
	"CS-170": 2,
	"CS-180": 2,
	"CS-181": 1,
	"CS-190": 1,
}

# The requests that this change writes. A document has a request if and only if its kind is one of the three.
written := [c |
	some c in input.change
	c.request
	c.action != "deleted"
]

now_ns := time.parse_rfc3339_ns(input.now)

# An instant in nanoseconds. What the clock cannot count lies at its end or its beginning.
instant(text) := 9223372036854775807 if {
	text >= "2262"
} else := 0 if {
	text < "1700"
} else := time.parse_rfc3339_ns(text)

# Where the first request for an application stands in the change, for what is said of it as a whole.
place(name) := array.concat(
	[{"path": c.path, "line": c.line} | some c in input.change; c.request.application == name],
	[{"path": "", "line": 0}],
)[0]
