# The built-in library: rules that apply in every access repository, in addition to its own rules.
#
# Each rule has a code, and a METADATA block that its documentation is generated from.
#
# Rules see the input described by schemas.PolicyInput, and the data of the policy folder's data.yaml, checked
# and with defaults filled in. Instants of the input are in UTC and to the second, so that they may be compared
# as text.
#
# A limit is a rule that is true within it, and "not" of that rule denies, so that a missing value denies too.
# "not" of an expression does not work, because OPA evaluates its operands first. For the same reason a result
# uses only values that are always defined: an undefined message would drop the denial.
#
# For a small change, most of the time goes into finding out that rules do not apply, so a rule begins with the
# expressions that decide that.
package countersign.library

# The engine's one query. The manifest comes back with every answer, so that the answer of other rules is
# rejected.
decision := {"deny": deny, "warn": warn, "require_signoff": require_signoff, "manifest": manifest}

# The number of rules of each code, so that a missing rule is noticed.
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

# The requests that this change adds or modifies. A document has a request if and only if its kind is one of
# the three.
written := [c |
	some c in input.change
	c.request
	c.action in {"added", "modified"}
]

now_ns := time.parse_rfc3339_ns(input.now)

# An instant in nanoseconds, clamped to the range that the clock can represent.
instant(text) := 9223372036854775807 if {
	text >= "2262"
} else := 0 if {
	text < "1700"
} else := time.parse_rfc3339_ns(text)

# The place of the first request for an application, for results about the application in general.
place(name) := array.concat(
	[{"path": c.path, "line": c.line} | some c in input.change; c.request.application == name],
	[{"path": "", "line": 0}],
)[0]
