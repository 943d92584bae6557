// Package ldap reads and changes groups in an LDAP directory: OpenLDAP (2.4 and later) and Active Directory, and
// others that speak as one of them does.
//
// There is one type of connection, "group", for all classes of groups, because requesters see a directory as one list
// of groups. The config's template (create) sets the class of new groups. Existing groups are read and changed by
// their classes: groupOfNames, groupOfMembers and Active Directory's group (member), groupOfUniqueNames
// (uniqueMember), posixGroup (memberUid). The connector assigns the number of a posixGroup from a range in the config,
// and no payload contains it: to a host, two groups with one number are one group.
//
// # Members
//
// Every membership is an attribute of the group, so only the connection's own entry is ever written. "user" is an
// account below user_base_dn. "group" is a nested group below base_dn (not in a posixGroup). "foreign" is any other
// member, named by its DN: it can be revoked, not granted. Accounts that have the group as their primary one (gidNumber, primaryGroupID) are members too;
// that can only be changed at the account.
//
// A member is never left out. If its entry can't be found, because it is deleted, hidden by an ACL, or on another server,
// the member is unresolved: it is named by its DN's first attribute where requests name it so, otherwise "foreign" with
// its DN, and it can be revoked. Members outside the bases have the id of their entry, so an account that was moved away
// is still recognised. An account with the DN of the placeholder or of an ignored member is a member like any other,
// and the placeholder isn't used while it exists.
//
// # Names
//
// A name is the value of an attribute (cn and uid, in Active Directory sAMAccountName) in lower case, since names in
// directories are case-insensitive. Two entries with one name are two connections with ids, and neither is changed
// until source_id selects one. An id is entryUUID or objectGUID. A change reaches the entry with that id or none: by
// <GUID=...> in Active Directory, and by the assertion control (RFC 4528) if the server supports it.
// Two spellings of one DN are one member (RFC 4514, RFC 4518).
//
// # Reading
//
// Everything is read by pages (RFC 2696), and ranges of Active Directory (member;range=0-1499) are fetched to the end.
// A limit, a referral, a group whose members are hidden, or accounts that are all hidden lead to an error or an
// incomplete state, never to fewer members. Members are looked up many at a time, since groups contain only their DNs;
// if there are very many, all accounts are read instead. Other partitions of a forest aren't read: one application is
// one domain.
//
// # Changing
//
// Members are added and deleted value by value, never replaced, and many in one modification; if the server rejects
// it, each is tried by itself. After a rejection that may be due to another writer's change (value exists, value
// missing, would be empty), the group is read again. A groupOfNames can't be empty: a placeholder, a DN without entry,
// takes the place of the last member and goes with the first, within the same modification. Before a group is deleted,
// it is removed from other groups, since not every server does that.
//
// The domain's own groups (built in, with adminCount, critical system objects, relative ids below 1000), groups with
// countersign's own accounts, and entries outside base_dn are never changed.
//
// # Tests
//
// The suite runs on a real slapd, with and without the overlays memberof and refint, for each class, and on a
// Samba domain controller. Samba returns ranges only on request, so the test of ranges rewrites requests on their way;
// other tests use answers as documented in [MS-ADTS] 3.1.1.3.1.3.3.
//
// # Its size
//
// The package has over 2,500 lines because it reads and writes two families of directories: OpenLDAP with four classes of
// groups, and Active Directory with its own ids, ranges and types. They share sessions, names and changes of members,
// so two packages would duplicate most of it.
package ldap
