// Package postgres reads and changes roles and their privileges in a PostgreSQL cluster (15 and later).
//
// A connection is a role. It is given membership in other roles ("role"), has members of its own ("user": a
// role that can log in and has no members; "member": any other role that was not read as a connection itself,
// as one outside of the scope), and privileges on objects of the
// database that the DSN names.
//
// Names of objects are exactly as the server's format('%I.%I') writes them: sales.orders, "We.ird"."Table".
// Role names are plain. A function is named as regprocedure writes it with an empty search_path:
// sales.total(integer). The type schema_tables is all tables and views of a schema, including those that are
// made later by the owner of the schema or of a table in it (ALTER DEFAULT PRIVILEGES FOR ROLE each of
// them); it counts as held only when all of that is in place.
//
// Reading is a handful of catalogue queries in one read-only snapshot, whatever the number of roles.
// Applying is one transaction, its statements grouped by object and sent together; when one fails, the
// batch is done again one operation after the other, each in a savepoint, so that only what fails is lost.
//
// Superusers, pg_ roles, the roles that managed services keep for themselves and the roles that we log in
// with are never touched. A role that owns something is deleted only when the request says reassign_to.
package postgres
