# METADATA
# title: Helpers for an organisation's own rules
# description: >-
#   import data.countersign.lib makes these names available to rules in the policy folder. The built-in rules do
#   not depend on them.
package countersign.lib

# The requests that this change adds or modifies, in the form of input.change.
requests := [c |
	some c in input.change
	c.action in {"added", "modified"}
	c.request
]

# The time of the judgement in nanoseconds, to compare with ns.
now_ns := ns(input.now)

# An instant in nanoseconds, clamped to the years 1700 to 2261.
ns(instant) := 9223372036854775807 if {
	instant >= "2262"
} else := 0 if {
	instant < "1700"
} else := time.parse_rfc3339_ns(instant)

# The number of days from now to an instant, rounded down.
days_until(instant) := floor((ns(instant) - now_ns) / 86400000000000)

# Whether one of the glob patterns matches the complete name. A star matches any run of characters.
matches_any(patterns, name) if {
	some pattern in patterns
	glob.match(pattern, null, name)
}

# A result for deny or warn at a changed document or an operation of the plan.
result(code, msg, at) := {
	"code": code,
	"msg": msg,
	"path": object.get(at, "path", ""),
	"line": object.get(at, "line", 0),
	"field": object.get(at, "field", ""),
}

# A sign-off by count of the owners of an application, for require_signoff.
owners_sign_off(code, name, n, why) := {
	"code": code,
	"from": input.applications[name].owners,
	"count": n,
	"why": why,
}
