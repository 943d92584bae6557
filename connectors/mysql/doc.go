// Package mysql reads and changes roles and their privileges in MariaDB (10.11 and later) and MySQL (8.0 and later).
// It finds out which of the two it talks to.
//
// A connection is a role. It is given membership in other roles ("role"), has members of its own ("user": an
// account that logs in; "member": any other role that was not read as a connection itself, as one outside of the
// scope), and privileges at every level that the servers have: everywhere ("global", whose one target is *.*), on
// a database, a table or view, a column, a function, a procedure, and in MariaDB a package. GRANT OPTION is a
// privilege of its level. ALL PRIVILEGES is none: it means something else after each upgrade, so a request names
// what it wants.
//
// # Names
//
// A user is user@host: alice@%, app@10.0.0.%. What stands before the last @ is the user, what stands after it the
// host, as the server keeps both; nothing is quoted, since no host has an @. A role of MariaDB has no host and is
// its name. A role of MySQL whose host is % and whose name has no @ is its name; any other is name@host.
//
// A database is its name. What is in a database is database.name or database.table.column; a part that has a dot
// or a backtick stands in backticks, doubled where one is meant: `my.db`.orders. Everything is spelled as the
// server's catalogue has it, and compared to the letter.
//
// On databases, and nowhere else, the servers take _ and % in a name for any character. A privilege on a database
// is given on the escaped name, so that it means that database alone. What another hand gave on a pattern is
// shown as the type database_pattern, in the server's own spelling. It can be revoked and not given.
//
// # How it works
//
// Reading is one query for the grant tables, which sees them at one moment, whatever the number of roles. Every
// session sets its own sql_mode and takes off the server's bounds on answers. Password hashes are never selected;
// MariaDB keeps them in the column in which a role's global privileges are, so the credential that the script for
// planning makes reads through a view (accounts_view) that leaves them out.
//
// The statements that change accounts commit by themselves. Operations that commute are joined (several
// privileges on an object, several accounts in one GRANT), and done one by one where the server refuses the whole,
// so that each has its own outcome. What is held already is not granted again, and what is not held is not
// revoked: the servers take that for an error, and MySQL with partial_revokes for a restriction. Objects are
// looked up before a grant, since both servers grant on databases that do not exist.
//
// MariaDB makes whoever creates a role its member with ADMIN, and lets nobody else grant it, not even root. That
// membership is left out of what is read, as is any other of the accounts in the two connection strings; these are
// never given anything either. Roles that were not made with the credential for applying have to be granted to it
// WITH ADMIN OPTION.
//
// A role owns nothing, but views, triggers, routines and events may run with its rights, and fail when it is gone:
// then its deletion is a conflict that names them. Deleting a role ends no session that has it switched on.
// Whether a role of a user's is switched on at login (default roles) is the user's affair and left alone.
//
// MariaDB writes the names of routines into its tables in another encoding than it reads them in, so that
// privileges on a routine whose name is not plain ASCII are gone after a restart; they are refused. mysql.db holds
// 64 characters of an escaped name, so that a long database name with many underscores cannot be given as a whole.
//
// # What was checked, and against what
//
// Everything about MariaDB is tested against a real server. For MySQL no server was at hand: its queries and
// statements, and what is made of their rows, are tested as texts against its reference manual (8.0 and 8.4), and
// by nothing else. These rest on the manual alone: that an account that is locked and whose password has expired
// is a role, besides those that have members; that an account with members that can log in is left alone; the
// comment of a role as its one attribute, from 8.0.21 on; dynamic privileges, and taking away the right to hand one
// on by revoking and granting it; taking away ADMIN in the same way, which may also take the role out of the
// member's default roles; that DROP ROLE refuses (4006) while something has the role as definer; that a role of
// mandatory_roles is every account's, and so never changed.
// With partial_revokes, a role may have less than is shown.
//
// # Its size
//
// The package has over 2,500 lines because it speaks two dialects, MariaDB's and MySQL's, whose catalogues, names and
// statements differ, over twelve types of targets.
package mysql
