// Package okta reads and changes the groups of an Okta organisation over its management API.
//
// A connection is a group of the type OKTA_GROUP. Groups that a directory or application feeds (APP_GROUP) and Okta's
// own (BUILT_IN, such as Everyone) are read, and never changed. A group's targets are members ("user", named by login
// in lower case), applications ("application", named by label) and administrator roles ("admin_role", named by type:
// HELP_DESK_ADMIN). Two groups, or two applications, of one name are distinguished by source_id.
//
// # Credentials
//
// An API token (token), or a service app with a private key (client_id, private_key), once for planning and, with the
// prefix apply_, once for applying. plan.sh and apply.sh list the rights that each needs. A service app must not
// require DPoP proofs, which this package doesn't support. Administrator roles can be left out (admin_roles: false):
// then groups that hold one are protected, since their members are administrators.
//
// # Cost of a read
//
// Groups are listed 200 at a time, without the parameters q, filter and search, which Okta answers from an index that
// lags behind. Members take one call for each selected group and 1,000 members, and administrator roles one for each
// selected group: no call returns more. Applications are listed 200 at a time; then, whichever is fewer, each
// selected group is asked for its applications or each application for its groups. So G selected groups of N, with A
// applications, take N/200 + A/200 + 2G + min(A, G) calls, G less without administrator roles, and describing the
// installation N/200 more. At 600 calls a minute 10,000 groups are half an hour: let the scope name those that are
// managed, and the schedule be wide. The time at which a group's members last changed doesn't save any: it doesn't
// cover a member's state or login. Requests are sent one after the other, and wait for the next window when a tenth
// of a rate limit is left, which is kept for others.
//
// # Properties of Okta that shaped the design
//
//   - A group rule adds members, and removing such a member by hand puts the user on the rule's list of
//     exclusions: it changes the rule. So this is refused, with the rule's name, unless on_rule is remove. Okta may
//     show which rule added a member (groupRuleId) or not; if an active rule feeds the group and no member shows
//     such an id, none of its members is removed.
//   - A rule whose group is deleted becomes INVALID permanently. Such a group isn't deleted.
//   - Replacing a group's profile drops absent attributes: the complete profile is read, changed and sent. Okta has
//     no optimistic lock, so somebody else's change in that instant is lost.
//   - Assigning an application again resets the assignment's priority and profile: an existing assignment isn't
//     changed.
//   - A user can be fetched by login, id, short name or the word me. Only the exact login counts.
//   - An absent object is a 404 with the code E0000007. Any other 404 isn't Okta's answer.
//   - A new group isn't visible in all parts of Okta at once: "not found" is retried within the Apply that created it.
//     Whether the names of groups are case-sensitive isn't documented: here they are, and a name that Okta
//     considers taken is a conflict.
//   - An organisation always has groups. An empty list means that the credential sees none.
//   - A list has only the items that the credential's administrator role may see, without a hint of the others: an
//     administrator of some groups reads only these.
//
// Custom roles are shown as custom:LABEL; they can be revoked but not granted. The resources that a role is
// restricted to aren't read: a restricted role counts as held, so that a grant never widens one.
//
// All administrator roles are privileged, and so are groups that hold one according to the statistics of Okta's list;
// without the statistics, every group is.
//
// # Test coverage
//
// The tests don't use a real Okta. Requests and answers of the tests' own server are checked against Okta's
// description of the API; groups, members and the lists of users and applications were also tested with an
// independent emulator (npm emulate). Only the description has checked group rules, assignments of applications,
// administrator roles, the statistics of groups, cursors, rate limits and the service app's token; the last four,
// which it leaves open, follow Okta's written documentation.
package okta
