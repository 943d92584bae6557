// Package okta reads and changes the groups of an Okta organisation over its management API.
//
// A connection is a group of the type OKTA_GROUP. Groups that a directory or application feeds (APP_GROUP) and
// Okta's own (BUILT_IN, as Everyone) are read, and never changed. A group is given members ("user", named by
// login in lower case), applications ("application", named by label) and administrator roles ("admin_role",
// named by type: HELP_DESK_ADMIN). Two groups, or two applications, of one name are two, told apart by
// source_id.
//
// # What it needs
//
// An API token (token), or a service app with a private key (client_id, private_key), once for planning and,
// with the prefix apply_, once for applying. What each of the two has to be allowed is in plan.sh and apply.sh.
// A service app must not demand DPoP proofs, which this package does not make. Administrator roles can be left
// out (admin_roles: false): then groups that hold one are protected, since their members are administrators.
//
// # What a read costs
//
// Groups are listed 200 at a time, without the parameters q, filter and search, which Okta answers from an
// index that lags behind. Members take one call for each selected group and 1,000 members, and administrator
// roles one for each selected group: there is no call that gives more. Applications are listed 200 at a time;
// then, whichever is fewer, each selected group is asked for its applications or each application for its groups.
// So G selected groups of N, with A applications, take N/200 + A/200 + 2G + min(A, G) calls, G less without
// administrator roles, and describing the installation N/200 more. At 600 calls a minute 10,000 groups are half an hour:
// let the scope name those that are managed, and the schedule be wide. The time at which a group's members last
// changed saves none: it says nothing of a member's state or login. Requests are sent one after the other, and
// wait for the next window when a tenth of a rate limit is left, which stays for others.
//
// # Habits of Okta that decided the design
//
//   - A group rule adds members, and removing such a member by hand puts the user on the rule's list of
//     exclusions: it changes the rule. So this is refused, with the rule's name, unless on_rule says remove. Okta may
//     say by which rule a member came (groupRuleId) or may not; where an active rule feeds the group and no
//     member shows such an id, no member of it is taken out.
//   - A rule whose group is deleted becomes INVALID for good. Such a group is not deleted.
//   - Replacing a group's profile drops what is not sent: the profile is read, changed and sent whole. There is
//     no optimistic lock, so what somebody else changes in that instant is lost.
//   - Assigning an application anew resets the assignment's priority and profile: an assignment that is there is
//     left alone.
//   - A user can be fetched by login, id, short name or the word me. Only a login that is the one asked
//     for counts.
//   - An absent thing is a 404 with the code E0000007. Any other 404 is somebody else's answer.
//   - Okta's parts learn of a new group one after the other: that it is not there is worth another try, within the
//     Apply that made it. Whether the names of groups are told apart by case is not documented: here they are, and a
//     name that Okta finds taken is a conflict.
//   - An organisation always has groups. An empty list means that the credential sees none.
//   - A list holds what the credential's administrator role may see, without a word about the rest: an
//     administrator of some groups reads these alone.
//
// Custom roles are shown as custom:LABEL; they can be taken away and not given. The resources that a role is
// restricted to are not read: a restricted role counts as held, so that a grant never widens one.
//
// Privileged are, besides all administrator roles, the groups that hold one, as far as Okta says so in the
// statistics of its list; where it does not, every group.
//
// # What was tested
//
// There is no Okta to test with. Requests and answers of the tests' own server are held to Okta's description of
// the API, and groups, members and the lists of users and applications were also read from and changed in an
// emulator by others (npm emulate). Group rules, assignments of applications, administrator roles, the statistics of
// groups, cursors, rate limits and the service app's token were checked by nobody but the description, and the
// last four, which it leaves open, only by Okta's written documentation.
package okta
