package countersign.library

few if input.affected <= data.blast_radius.warn

not_many if input.affected <= data.blast_radius.two

# For messages only: a missing value must not keep a rule from applying.
affected := object.get(input, "affected", "many")

# METADATA
# title: Changes that affect many identities get a warning
# description: >-
#   A change to the effective access of more than data.blast_radius.warn (default 20) identities gets a warning.
# custom:
#   code: CS-170
warn contains {
	"code": "CS-170",
	"msg": sprintf("the effective access of %v identities changes", [affected]),
	"path": "",
	"line": 0,
	"field": "",
	"fix": "check the list before you approve; several smaller changes are easier to review",
} if {
	not few
}

# METADATA
# title: Changes that affect many identities need two sign-offs
# description: >-
#   A change to the effective access of more than data.blast_radius.two (default 100) identities needs the
#   sign-off of two owners of each application.
# custom:
#   code: CS-170
require_signoff contains {
	"code": "CS-170",
	"from": application.owners,
	"count": 2,
	"why": sprintf("two owners of %s must sign off a change that affects %v identities", [name, affected]),
} if {
	not not_many
	some name, application in input.applications
	application.owners != []
}
