package countersign.library

# METADATA
# title: No one signs off their own change or access
# description: >-
#   A sign-off by an author, committer or co-author of the change, or by a person who gains effective access
#   from it, denies the change. The core already ignores such sign-offs; this rule is a second barrier.
# custom:
#   code: CS-101
deny contains {
	"code": "CS-101",
	"msg": sprintf("%s signed off but wrote part of the change or gains access from it", [s.person]),
	"path": "",
	"line": 0,
	"field": "",
	"fix": "ask someone who did not contribute to the change and gains nothing from it",
} if {
	some s in input.signoffs
	lower(s.person) in interested
}

# Logins and addresses are compared regardless of case.
interested := {lower(name) | some name in array.concat(input.pull_request.contributors, input.pull_request.beneficiaries)}

# METADATA
# title: Application owners sign off
# description: >-
#   One owner of each application that the change touches must sign off, whether it changes access or the
#   application itself. Owners are read from the base, so a new application needs only the settings owners.
# custom:
#   code: CS-102
require_signoff contains {
	"code": "CS-102",
	"from": application.owners,
	"count": 1,
	"why": sprintf("an owner of %s must sign off changes to it or its access", [name]),
} if {
	some name, application in input.applications
	application.owners != []
	not new_applications[name]
}

new_applications[c.application.name] if {
	some c in input.change
	c.application
	not c.merged
}

# METADATA
# title: Applications have owners
# description: >-
#   A request for an application that is unknown or lists no owners is denied, because no one could sign it off.
# custom:
#   code: CS-102
deny contains {
	"code": "CS-102",
	"msg": sprintf("the application %s is unknown or lists no owners, so no one can sign off", [c.request.application]),
	"path": c.path,
	"line": c.line,
	"field": "spec.application",
	"fix": "add the application with its owners first, in a separate change",
} if {
	some c in input.change
	object.get(input.applications, [c.request.application, "owners"], []) == []
}

# METADATA
# title: Settings owners sign off control documents
# description: >-
#   One owner named in the settings must sign off changes to settings, applications and people, and documents
#   that control a run: Admission, BudgetOverride, Acknowledgement.
# custom:
#   code: CS-102
require_signoff contains {
	"code": "CS-102",
	"from": input.settings.owners,
	"count": 1,
	"why": "an owner named in the settings must sign off changes to control files",
} if {
	some c in input.change
	not c.request
}

# METADATA
# title: Settings owners sign off policy
# description: >-
#   One owner named in the settings must sign off changes to policy and to the allowed signers.
# custom:
#   code: CS-102
require_signoff contains {
	"code": "CS-102",
	"from": input.settings.owners,
	"count": 1,
	"why": "an owner named in the settings must sign off changes to control files",
} if {
	input.control_files != []
}

# METADATA
# title: Configuration changes are separate
# description: >-
#   A change that mixes requests with applications, settings or people is denied. The configuration that judges
#   a request must be merged before it.
# custom:
#   code: CS-103
deny contains {
	"code": "CS-103",
	"msg": "the change mixes requests with the configuration that judges them",
	"path": c.path,
	"line": c.line,
	"field": "",
	"fix": "move the configuration to a separate pull request and merge it first",
} if {
	some c in input.change
	c.kind in {"Application", "Settings", "People"}
	requested
}

# METADATA
# title: Policy changes are separate
# description: >-
#   A change that mixes requests with policy or allowed signers is denied.
# custom:
#   code: CS-103
deny contains {
	"code": "CS-103",
	"msg": "the change mixes requests with the configuration that judges them",
	"path": path,
	"line": 0,
	"field": "",
	"fix": "move the configuration to a separate pull request and merge it first",
} if {
	some path in input.control_files
	requested
}

requested if {
	some c in input.change
	c.request
}
