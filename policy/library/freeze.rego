package countersign.library

# METADATA
# title: Freeze windows
# description: >-
#   data.freeze lists windows {from, to, applications, reason} in which changes that give access are denied. from
#   is inclusive and to exclusive (RFC 3339). applications are glob patterns, by default all applications. A change
#   by which no one gains access is still allowed: someone who leaves must not keep it until the freeze is over.
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
	not only_takes(name)
	at := place(name)
}

# Creations, updates and grants count as giving access, though no one may gain by them yet: who is a member in the
# application is not known at the merge. An heir receives what a deleted connection owns, and an Acknowledgement
# releases held operations.
only_takes(name) if {
	count([op | some op in input.plan; op.application == name; not takes(op)]) == 0
	count([c | some c in input.change; c.request.application == name; c.request.reassign_to]) == 0
	count([c | some c in input.change; c.kind == "Acknowledgement"]) == 0
}

takes(op) if {
	op.kind in {"revoke", "delete"}
	object.get(op, "gained", []) == []
}

frozen(window, _) if not window.applications

frozen(window, name) if {
	some pattern in window.applications
	glob.match(pattern, null, name)
}
