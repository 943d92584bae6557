package countersign.library

# METADATA
# title: Nobody signs off a change or access of their own
# description: >-
#   A sign-off by an author, committer or co-author of the change, or by a person whose effective access grows
#   through it, denies it. The core leaves such sign-offs out already; this holds should it ever let one through.
# custom:
#   code: CS-101
deny contains {
	"code": "CS-101",
	"msg": sprintf("%s signed off, and has written part of the change or gains access by it", [s.person]),
	"path": "",
	"line": 0,
	"field": "",
	"fix": "ask somebody who took no part in the change and gains nothing by it",
} if {
	some s in input.signoffs
	lower(s.person) in interested
}

# Logins and addresses are the same in upper and in lower case.
interested := {lower(name) | some name in array.concat(input.pull_request.contributors, input.pull_request.beneficiaries)}

# METADATA
# title: Application owners sign off
# description: >-
#   One owner of each application that the change touches signs off, as the owners stand in the base: changes
#   of its access, and changes of the application itself. A new application has no owners in the base.
# custom:
#   code: CS-102
require_signoff contains {
	"code": "CS-102",
	"from": application.owners,
	"count": 1,
	"why": sprintf("an owner of %s signs off what changes it or its access", [name]),
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
# title: An application has owners
# description: >-
#   A request for an application that is unknown, or that nobody owns, is denied: nobody could sign it off.
# custom:
#   code: CS-102
deny contains {
	"code": "CS-102",
	"msg": sprintf("the application %s is unknown or has no owners: nobody can sign off", [c.request.application]),
	"path": c.path,
	"line": c.line,
	"field": "spec.application",
	"fix": "add the application with its owners first, in a change of its own",
} if {
	some c in input.change
	object.get(input.applications, [c.request.application, "owners"], []) == []
}

# METADATA
# title: Owners of the settings sign off control documents
# description: >-
#   One owner named in the settings signs off changes of settings, applications and people, and documents that
#   steer a run: Admission, BudgetOverride, Acknowledgement.
# custom:
#   code: CS-102
require_signoff contains {
	"code": "CS-102",
	"from": input.settings.owners,
	"count": 1,
	"why": "an owner named in the settings signs off changes of control files",
} if {
	some c in input.change
	not c.request
}

# METADATA
# title: Owners of the settings sign off policy
# description: >-
#   One owner named in the settings signs off changes of policy and of the allowed signers.
# custom:
#   code: CS-102
require_signoff contains {
	"code": "CS-102",
	"from": input.settings.owners,
	"count": 1,
	"why": "an owner named in the settings signs off changes of control files",
} if {
	input.control_files != []
}

# METADATA
# title: Configuration changes alone
# description: >-
#   A change that mixes requests with applications, settings or people is denied. What judges a request must
#   stand before it.
# custom:
#   code: CS-103
deny contains {
	"code": "CS-103",
	"msg": "the change mixes requests with the configuration that judges them",
	"path": c.path,
	"line": c.line,
	"field": "",
	"fix": "move the configuration to a pull request of its own and merge it first",
} if {
	some c in input.change
	c.kind in {"Application", "Settings", "People"}
	requested
}

# METADATA
# title: Policy changes alone
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
	"fix": "move the configuration to a pull request of its own and merge it first",
} if {
	some path in input.control_files
	requested
}

requested if {
	some c in input.change
	c.request
}
