package countersign.library

# The documents of this change that must give a reason: requests, and those that control a run.
stated := [c |
	some c in input.change
	c.action in {"added", "modified"}
	not c.kind in {"Application", "Settings", "People"}
]

# METADATA
# title: A reason is required
# description: >-
#   Each request, and each document that controls a run, must give a reason in metadata.reason: at least
#   data.reason.min_length (default 10) characters, not counting surrounding spaces.
# custom:
#   code: CS-160
deny contains {
	"code": "CS-160",
	"msg": sprintf("%s needs a reason of at least %v characters", [c.metadata.name, reason_length]),
	"path": c.path,
	"line": c.line,
	"field": "metadata.reason",
	"fix": "explain in metadata.reason why this is needed, for reviewers and auditors",
} if {
	some c in stated
	not reasoned(c)
}

# For the message only: a missing value must not keep the rule from denying.
default reason_length := "enough"

reason_length := data.reason.min_length

reasoned(c) if count(trim_space(c.metadata.reason)) >= data.reason.min_length

# METADATA
# title: A ticket is required
# description: >-
#   If the settings define the format of tickets (spec.tickets), each request and each document that controls
#   a run must name a ticket in metadata.ticket.
# custom:
#   code: CS-161
deny contains {
	"code": "CS-161",
	"msg": sprintf("%s needs a ticket", [c.metadata.name]),
	"path": c.path,
	"line": c.line,
	"field": "metadata.ticket",
	"fix": sprintf("name its ticket in metadata.ticket; the ticket must match %s", [input.settings.tickets]),
} if {
	input.settings.tickets != ""
	some c in stated
	object.get(c.metadata, "ticket", "") == ""
}

# METADATA
# title: Tickets match the format in the settings
# description: >-
#   All of metadata.ticket must match the regular expression spec.tickets of the settings.
# custom:
#   code: CS-161
deny contains {
	"code": "CS-161",
	"msg": sprintf("the ticket %s of %s does not have the required format", [c.metadata.ticket, c.metadata.name]),
	"path": c.path,
	"line": c.line,
	"field": "metadata.ticket",
	"fix": sprintf("name a ticket that matches %s", [input.settings.tickets]),
} if {
	input.settings.tickets != ""
	some c in stated
	c.metadata.ticket != ""
	not regex.match(concat("", ["^(?:", input.settings.tickets, ")$"]), c.metadata.ticket)
}
