package countersign.library

# METADATA
# title: Freeze windows
# description: >-
#   data.freeze lists windows {from, to, applications, reason} in which changes to access and to applications
#   are denied. from is inclusive and to exclusive (RFC 3339). applications are glob patterns, by default all
#   applications. Changes to policy are still allowed, so that a freeze can be lifted.
# custom:
#   code: CS-150
deny contains {
	"code": "CS-150",
	"msg": sprintf("changes to %s are frozen until %s: %s", [name, window.to, window.reason]),
	"path": at.path,
	"line": at.line,
	"field": "",
	"fix": "merge after the freeze, or ask the settings owners to lift it",
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
