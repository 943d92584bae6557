package countersign.library

# METADATA
# title: Freeze windows
# description: >-
#   data.freeze lists windows {from, to, applications, reason} in which changes of access and of applications
#   are denied: from inclusive, to exclusive (RFC 3339), applications as glob patterns, all of them when left
#   out. Changes of policy go through, so that a freeze can be lifted.
# custom:
#   code: CS-150
deny contains {
	"code": "CS-150",
	"msg": sprintf("changes of %s are frozen until %s: %s", [name, window.to, window.reason]),
	"path": at.path,
	"line": at.line,
	"field": "",
	"fix": "merge it after the freeze, or have the owners of the settings lift the freeze",
} if {
	some window in data.freeze
	now_ns >= instant(window.from)
	now_ns < instant(window.to)
	some name, _ in input.applications
	frozen(window, name)
	at := place(name)
}

frozen(window, _) if not window.applications

frozen(window, name) if {
	some pattern in window.applications
	glob.match(pattern, null, name)
}
