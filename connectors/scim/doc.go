// Package scim reads and changes groups in applications that support SCIM 2.0 (RFC 7643 and 7644). A connection is a
// group, named by its displayName. Its members are users (named by userName), and groups if the application supports
// nesting.
//
// SCIM was designed for directories that push accounts, not for clients that read, and applications implement only
// parts of it. A profile, set in the config, describes one application, with the source of each entry. The
// application's ServiceProviderConfig overrides the profile. The design follows from these properties:
//
//   - A group without members, and a group whose members a list leaves out, look alike. Each group
//     whose members the list doesn't show is read by itself, and so are large groups. AWS IAM Identity Center never shows members: the connector asks
//     for each pair of group and user.
//   - Pages are numbered by index, and the list can change between requests. The pages are compared with the total in
//     each of them. On a difference the list is read again, and after that it is incomplete. Applications that ignore
//     paging and return everything are detected the same way.
//   - Members are ids. Their names come from the lists of users and groups; other ids are looked up one by one.
//     A member that isn't found (deactivated, hidden or deleted) stays in the state as unresolved, under its id.
//   - Filters are used for plain names only, since servers differ in quotes, backslashes and non-ASCII letters. Other
//     names are searched in the complete list. Results of a filter are compared again here.
//   - Two groups can have the same name. Both are shown, and operations need the group's id (source_id).
//   - Names are case-sensitive here, although RFC 7643 calls them case-insensitive: a server that follows it rejects
//     the second of two such names, and on other servers, folding would mistake one person for another.
//   - A member that is added twice may be stored twice. So each write follows a read, with one PATCH for many members
//     within the application's limit. After a failed PATCH, each member is changed by itself to find the cause.
//   - Without PATCH, a PUT replaces the group by its last read state, under If-Match if the application supports ETags.
//     Otherwise the group is read again after a while (config settle): if a writer that read before our PUT has
//     overwritten it, the PUT is repeated.
//
// In most applications, a credential can do everything: see the scripts of the Description.
//
// The package has slightly more than 2,500 lines: profiles of eleven services and the differences between their servers are
// most of it.
package scim
