// Package casbin reads and changes the CSV policy file that casbin's file adapter loads. It needs no server.
//
// A permission is a line "p, subject, object, action", a membership is a line "g, member, parent". Casbin
// keeps users, roles and groups in one namespace without types, so the store declares them in sections
// that the matcher ignores:
//
//	p2, sales_reader, role, Sales readers, Readers of sales, false    a role or group with its payload
//	p3, alice                                                         a user
//	p4, sales.orders                                                  an object
//
// They are ordinary rules of the model (see Model): an enforcer loads them, and SavePolicy writes them
// back. An undeclared subject is a role if it has members, otherwise a user. Before a change removes the only
// line that mentions a subject or object, it adds a declaration, so that the name is kept.
//
// Each membership belongs to one connection: a user's to the role or group, a role's parents to the role, a
// group's roles to the group, a nested group's to the group around it.
//
// Permissions of a user belong to no connection, and neither do memberships in a user. They are never changed, and a
// state counts them, with the user, as not read. A user with members can't be granted anything.
//
// Unknown sections, comments and the order of lines are kept byte for byte. If a file is empty, lacks its last
// newline or has an invalid line, the read is incomplete and nothing is written. The file is replaced by a
// rename under a lock (FILE.lock) that all countersign processes take. Changes by other writers are detected by
// the file's identity, size and time, except in the instant before the rename. Casbin itself follows at most ten
// levels of memberships.
package casbin
