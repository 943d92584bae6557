// Package casbin reads and changes an authorisation store that casbin's file adapter loads: a CSV policy
// file. It needs no server.
//
// A permission is a line "p, subject, object, action", a membership a line "g, member, parent". Casbin
// keeps users, roles and groups in one space of names and does not say which is which, so the store
// declares it, in sections that the matcher never looks at:
//
//	p2, sales_reader, role, Sales readers, Readers of sales, false    a role or group with its payload
//	p3, alice                                                         a user
//	p4, sales.orders                                                  an object
//
// They are ordinary rules of the model (see Model): an enforcer loads them, and SavePolicy writes them
// back. A subject without a declaration that has members is a role, any other one a user. What is only
// known by the line that a change takes away is declared before, so that nothing is forgotten.
//
// Each membership belongs to one connection: users to the role or group that they are in, a role's parents
// to the role, a group's roles to the group, a nested group to the group around it.
//
// Permissions of a user belong to no connection: they are left alone and not shown. So is what hangs on a
// user who has members, but such a user cannot be granted anything.
//
// Lines that the package does not know, comments and their order survive byte for byte. A file that is
// empty, ends within a line or has a malformed line is not known whole: reading says so, and nothing is
// written. The file is replaced by a rename under a lock (FILE.lock) that all countersign processes
// take. Somebody else who writes it is noticed by the file's identity, size and time, but for
// the instant before the rename. Casbin itself looks no more than ten memberships up.
package casbin
