// Package mysql reads and changes roles and their privileges in MariaDB (10.11 and later) and MySQL (8.0 and later).
// It finds out which of the two it talks to.
//
// A connection is a role. It is given membership in other roles ("role"), has members of its own ("user": an
// account that logs in; "member": any other role that wasn't read as a connection, such as one outside the scope), and
// privileges at every level that the servers have: everywhere ("global", whose only target is *.*), on a database, a
// table or view, a column, a function, a procedure, and in MariaDB a package. GRANT OPTION is a privilege of its
// level. ALL PRIVILEGES isn't supported, because its meaning changes with upgrades: a request lists privileges.
//
// # Names
//
// A user is user@host: alice@%, app@10.0.0.%. The last @ separates user and host, both spelled as in the server's
// catalogue. Nothing is quoted, since hosts can't contain an @. MariaDB's roles don't have hosts and are named plainly.
// A role of MySQL is named plainly if its host is % and its name doesn't contain an @; otherwise it is name@host.
//
// A database is named plainly. Objects in it are database.name or database.table.column. A part with a dot or a
// backtick is put in backticks, and backticks in it are doubled: `my.db`.orders. Names are spelled exactly as in the
// server's catalogue.
//
// In names of databases, and nowhere else, the servers treat _ and % as wildcards. Privileges on a database are granted
// on the escaped name, so that they cover only that database. Privileges that were granted on a pattern by hand are
// shown as the type database_pattern, in the server's spelling. They can be revoked but not granted.
//
// # How it works
//
// Reading takes one query of the grant tables at one moment, regardless of the number of roles. Every session sets its
// own sql_mode and lifts the server's limits on result sets. Password hashes are never selected. MariaDB keeps them in
// the same column as a role's global privileges, so the planning credential reads through a view (accounts_view) that
// leaves them out.
//
// Statements that change accounts commit immediately. Operations that commute are joined (several privileges on an
// object, several accounts in one GRANT). If the server refuses the joined statement, they are sent one by one, so
// that each has its own outcome. A privilege that is already held isn't granted again, and one that isn't held isn't
// revoked: the servers report that as an error, and MySQL with partial_revokes records a restriction. Objects are
// looked up before a grant, since both servers grant on databases that don't exist.
//
// MariaDB makes the creator of a role its member with ADMIN, and lets nobody else grant the role, not even root. That
// membership is left out of the state, as are all others of the accounts in the two connection strings. These accounts
// are never granted anything. Roles that were not created with the applying credential must be granted to it WITH
// ADMIN OPTION.
//
// Roles don't own anything, but views, triggers, routines and events can run with a role's privileges and fail without
// it. Its deletion is then a conflict that names them. Deleting a role doesn't end sessions that have enabled it.
// Default roles, which are enabled at login, are left to the user.
//
// MariaDB stores names of routines in another encoding than it reads them in, so privileges on a routine with a
// non-ASCII name are lost after a restart; they are refused. mysql.db holds 64 characters of an escaped name, so a long
// database name with many underscores can't be granted.
//
// # What was checked, and against what
//
// Everything about MariaDB is tested against a real server. For MySQL, a server was not available: its queries,
// statements and the decoding of rows are tested only as text against its reference manual (8.0 and 8.4). The
// following relies on the manual alone: a locked account with an expired password is a role, as is any account with
// members; an account with members that can log in isn't changed; a role's only attribute is its comment, from 8.0.21
// on; dynamic privileges, whose grant option is removed by revoking and granting them; ADMIN is removed the same way,
// which may also remove the role from the member's default roles; DROP ROLE is refused (4006) while the role is a
// definer; a role in mandatory_roles belongs to every account and is never changed.
// With partial_revokes, a role may hold less than is shown.
//
// # Its size
//
// The package has over 2,500 lines because it supports two dialects, MariaDB's and MySQL's, with different catalogues,
// names and statements for twelve types of targets.
package mysql
