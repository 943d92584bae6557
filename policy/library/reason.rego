package countersign.library

# The documents that this change writes and that say why: requests, and those that steer a run.
stated := [c |
	some c in input.change
	c.action != "deleted"
	not c.kind in {"Application", "Settings", "People"}
]

# METADATA
# title: A reason is given
# description: >-
#   Each request, and each document that steers a run, says why in metadata.reason: data.reason.min_length
#   (10) characters at least, spaces around it apart.
# custom:
#   code: CS-160
deny contains {
	"code": "CS-160",
	"msg": sprintf("%s gives no reason of %v characters at least", [c.metadata.name, reason_length]),
	"path": c.path,
	"line": c.line,
	"field": "metadata.reason",
	"fix": "say in metadata.reason why this is wanted, for reviewers and auditors",
} if {
	some c in stated
	not reasoned(c)
}

# For the message alone: it must not keep the rule from denying.
default reason_length := "enough"

reason_length := data.reason.min_length

reasoned(c) if count(trim_space(c.metadata.reason)) >= data.reason.min_length

# METADATA
# title: A ticket is given
# description: >-
#   Where the settings say how tickets look (spec.tickets), each request and each document that steers a run
#   names one in metadata.ticket.
# custom:
#   code: CS-161
deny contains {
	"code": "CS-161",
	"msg": sprintf("%s names no ticket", [c.metadata.name]),
	"path": c.path,
	"line": c.line,
	"field": "metadata.ticket",
	"fix": sprintf("name the ticket that asked for it; it matches %s", [input.settings.tickets]),
} if {
	input.settings.tickets != ""
	some c in stated
	object.get(c.metadata, "ticket", "") == ""
}

# METADATA
# title: Tickets look as the settings say
# description: >-
#   The whole of metadata.ticket matches the regular expression spec.tickets of the settings.
# custom:
#   code: CS-161
deny contains {
	"code": "CS-161",
	"msg": sprintf("the ticket %s of %s does not look like one", [c.metadata.ticket, c.metadata.name]),
	"path": c.path,
	"line": c.line,
	"field": "metadata.ticket",
	"fix": sprintf("name the ticket so that it matches %s", [input.settings.tickets]),
} if {
	input.settings.tickets != ""
	some c in stated
	c.metadata.ticket != ""
	not regex.match(concat("", ["^(?:", input.settings.tickets, ")$"]), c.metadata.ticket)
}
