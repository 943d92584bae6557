package countersign.library

# METADATA
# title: A connection in use stays
# description: >-
#   The deletion of a connection that still has members is denied, unless the change itself revokes them.
# custom:
#   code: CS-130
deny contains {
	"code": "CS-130",
	"msg": sprintf("%s %s in %s still has members: %v", [op.connection.type, op.connection.source_name, op.application, op.members]),
	"path": object.get(op, "path", ""),
	"line": op.line,
	"field": object.get(op, "field", ""),
	"fix": "revoke its members first, or in the same change",
} if {
	some op in input.plan
	op.kind == "delete"
	op.members > 0
}

# METADATA
# title: Merged requests stay as they were approved
# description: >-
#   An edit of a merged request is denied. Deleting its file undoes it, with the sign-offs that takes.
# custom:
#   code: CS-140
deny contains {
	"code": "CS-140",
	"msg": "the request was merged before and is edited here",
	"path": c.path,
	"line": c.line,
	"field": "",
	"fix": "leave it as it was and add a new request; to undo it, delete the file",
} if {
	some c in input.change
	c.merged
	c.action == "modified"
	c.request
}

# METADATA
# title: Something is judged
# description: >-
#   A change in which nothing was found is denied: to judge nothing is a failure, never a pass.
# custom:
#   code: CS-190
deny contains {
	"code": "CS-190",
	"msg": "a change was expected, and none was found",
	"path": "",
	"line": 0,
	"field": "",
	"fix": "see that the files stand in the folders that the settings name and are part of this pull request",
} if {
	input.change == []
	input.control_files == []
}
