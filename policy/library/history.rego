package countersign.library

# METADATA
# title: Connections in use are not deleted
# description: >-
#   Deleting a connection that still has members is denied, unless the same change revokes them.
# custom:
#   code: CS-130
deny contains {
	"code": "CS-130",
	"msg": sprintf("%s %s in %s still has members: %v", [op.connection.type, op.connection.source_name, op.application, op.members]),
	"path": object.get(op, "path", ""),
	"line": op.line,
	"field": object.get(op, "field", ""),
	"fix": "revoke its members first or in the same change",
} if {
	some op in input.plan
	op.kind == "delete"
	op.members > 0
}

# METADATA
# title: Merged requests are not edited
# description: >-
#   Editing a merged request is denied. Deleting its file undoes the request and needs sign-off like any change.
# custom:
#   code: CS-140
deny contains {
	"code": "CS-140",
	"msg": "the change edits a request that is already merged",
	"path": c.path,
	"line": c.line,
	"field": "",
	"fix": "restore the request and add a new one; to undo it, delete its file",
} if {
	some c in input.change
	c.merged
	c.action == "modified"
	c.request
}

# METADATA
# title: Empty changes are denied
# description: >-
#   A change without control files is denied: judging nothing is a failure, never a pass.
# custom:
#   code: CS-190
deny contains {
	"code": "CS-190",
	"msg": "expected a change to control files, found none",
	"path": "",
	"line": 0,
	"field": "",
	"fix": "check that the files are in the folders named in the settings and are part of this pull request",
} if {
	input.change == []
	input.control_files == []
}
