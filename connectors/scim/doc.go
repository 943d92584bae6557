// Package scim reads and changes groups in applications that speak SCIM 2.0 (RFC 7643 and 7644). A connection is a
// group, named by its displayName. It is given users (named by userName), and other groups where the application
// nests them.
//
// SCIM was made for a directory that pushes what it knows, not for one who asks what is there, and applications
// took from it what they needed for that. A profile says what one application does: a name in the config, and a
// table with its source for each line. What the application's own ServiceProviderConfig says goes before the
// profile's assumption, where it has one. These habits decided the design:
//
//   - A group without members, and a group whose members a list leaves out, look alike. Where a list shows no members
//     at all, each group that matters is read by itself. AWS IAM Identity Center shows members nowhere: it is asked
//     for each group and user whether one is in the other.
//   - Paging goes by index over what may change meanwhile. The pages are held against the total that each of them
//     gives; what does not add up is read again, and then said to be incomplete. Applications that ignore paging and
//     answer with everything are recognised by it.
//   - A member is an id. Who it is comes from the lists of users and groups; an id that is in neither is looked up by
//     itself, so that somebody whom the list hides is no stranger, and one who is gone is nobody.
//   - Filters are trusted with plain names only: quotes, backslashes and other letters than ASCII's are where servers
//     differ. All others are found in the whole list. What a filter answers is compared again here.
//   - Nothing forbids two groups of one name. Both are shown, and operations need the group's id (source_id).
//   - Names are told apart by case, although RFC 7643 calls them case-insensitive: servers that follow it refuse the
//     second of two such names themselves, for those that don't, folding would take one person for another.
//   - A member that is added twice may be stored twice. So each write follows a read, one PATCH for many members,
//     within the application's limit. A PATCH that fails is done again member by member, to know whose fault it is.
//   - Without PATCH, a PUT replaces the group with all that was read of it, under If-Match where the application
//     keeps versions. Where it has none, the group is read again after a moment (config settle): a writer that read
//     before our PUT and wrote after it has undone it by then, and it is done again.
//
// Credentials are all or nothing in most applications: see the scripts of the Description for each.
package scim
