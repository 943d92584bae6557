package countersign.library

few if input.affected <= data.blast_radius.warn

not_many if input.affected <= data.blast_radius.two

# For messages alone: they must not keep a rule from telling.
affected := object.get(input, "affected", "many")

# METADATA
# title: Many identities are pointed out
# description: >-
#   A change of the effective access of more than data.blast_radius.warn (20) identities is pointed out.
# custom:
#   code: CS-170
warn contains {
	"code": "CS-170",
	"msg": sprintf("the effective access of %v identities changes", [affected]),
	"path": "",
	"line": 0,
	"field": "",
	"fix": "look through the list before you approve; several smaller changes are easier to judge",
} if {
	not few
}

# METADATA
# title: Many identities need two sign-offs
# description: >-
#   A change of the effective access of more than data.blast_radius.two (100) identities is signed off by two
#   owners of each application.
# custom:
#   code: CS-170
require_signoff contains {
	"code": "CS-170",
	"from": application.owners,
	"count": 2,
	"why": sprintf("two owners of %s sign off a change for %v identities", [name, affected]),
} if {
	not not_many
	some name, application in input.applications
	application.owners != []
}
