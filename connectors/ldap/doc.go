// Package ldap reads and changes groups in an LDAP directory: OpenLDAP (2.4 and later) and Active Directory, and
// others that speak as one of them does.
//
// There is one type of connection, "group", whatever class a group has: to who asks for access, the staff of a
// directory is one list of groups. What a new group is follows from the config's template (create); groups that
// are there are read and changed by the classes that each has: groupOfNames, groupOfMembers and Active Directory's
// group (member), groupOfUniqueNames (uniqueMember), posixGroup (memberUid). The number of a posixGroup is given
// out here, from a range of the config, and stands in no payload: two groups of one number are one group to a host.
//
// # Members
//
// Every membership is an attribute of the group, and is shown there once: "user" is an account below user_base_dn,
// "group" a nested group below base_dn, which becomes a member of the connection (not of a posixGroup), so that
// only the connection's own entry is ever written. "foreign" is any other member, named by its DN, or in a
// posixGroup by the name of an account that the directory does not have: it can be seen and taken away, not given.
// Whoever has the group as primary one (gidNumber, primaryGroupID) is in it too; that is changed at the account.
//
// The name of an entry that is gone is nobody's: it is not shown and survives other changes. To revoke the
// membership by name takes it away, so that an account made anew under the name is not in the group.
//
// # Names
//
// A name is the value of an attribute (cn and uid, in Active Directory sAMAccountName), in lower case: directories
// do not tell cases apart. Two entries of one name are two connections with ids, and nothing is done to either
// until source_id says which is meant. An id is entryUUID or objectGUID; a change reaches the entry of that id or
// none, by its <GUID=...> in Active Directory, and by the assertion control (RFC 4528) where the server has that.
// Two spellings of one DN are one member (RFC 4514, RFC 4518).
//
// # Reading
//
// Everything comes by pages (RFC 2696), and what Active Directory gives in ranges (member;range=0-1499) is fetched
// to the end. A limit that was met, a referral, a group whose members cannot be seen, or accounts of which none can
// be seen end in an error or an incomplete state: never in fewer members. Members are looked up many at a time,
// since neither server tells who a DN is; where they are very many, all accounts are read instead. What a search of a
// domain leaves to other partitions of its forest is not asked for: one application is one domain.
//
// # Changing
//
// Members are added and deleted value by value, never replaced, and many in one modification; when the server
// refuses it, each goes by itself. A refusal that may come from another writer's change (there already, gone
// already, would be empty) is followed by a new look. A groupOfNames may not be empty: a placeholder that stands for
// nobody is swapped for the first member and for the last within the same modification. A deleted group is taken
// out of other groups first, since not every server does so.
//
// The groups of the domain itself (built in, with adminCount, critical system objects, relative ids below 1000)
// and those that countersign's own accounts are in are never changed, and nothing outside of base_dn.
//
// # Tests
//
// The suite runs on a real slapd, with and without the overlays memberof and refint, for each class, and on a
// Samba domain controller. Samba gives all values of a group at once, and parts only when asked: the test of
// ranges asks for parts on the way to it, beside tests on answers as [MS-ADTS] 3.1.1.3.1.3.3 has them.
//
// # Its size
//
// The package has over 2,500 lines because it reads and writes two families of directories: OpenLDAP with four classes of
// groups, and Active Directory with ids, ranges and types of its own. They share a session, the names and the way to
// change members, so two packages would need most of it twice.
package ldap
